"""The session layer around every request, as plain ASGI middleware for any framework."""

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import CrossOriginRefused, PrefetchRefused, SessionError
from .headers import is_cross_origin, read_headers
from .manager import SessionManager
from .proxy import ProxyWarning
from .session import Session
from .store import StoreUnavailable

# Prefix of a key in the scope, where the layer keeps its session: others may overwrite scope["session"].
KEPT = "session layer "
RETRY_AFTER = "5"  # seconds
REMOVE_STOCK = "Remove the other one, such as Starlette's own SessionMiddleware"

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class ErrorResponse(Protocol):
    """Sends the response to an error, with the status `error.status_code`, or 500 if the error has none."""

    async def __call__(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None: ...


async def send_plain_text(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Send the error's `public_message`, for apps without their own error pages."""
    status = getattr(error, "status_code", 500)
    log_bug(error, scope)
    text = getattr(error, "public_message", "Internal Server Error")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    headers += [(b"retry-after", RETRY_AFTER.encode())] if status == 503 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})


def log_bug(error: Exception, scope: Scope) -> None:
    """Log an unexpected error, one with status 500."""
    if getattr(error, "status_code", 500) == 500:
        logger.error("%s failed: %s", scope["path"], error, exc_info=error)


@dataclass
class SessionMiddleware:
    """Gives each request its session as `scope["session"]`, and saves it before the first byte of the response.

        app = SessionMiddleware(app, SessionManager(MemoryStore()))

    Starlette and FastAPI: `app.add_middleware(SessionMiddleware, sessions=sessions)`, then `request.session`. Run
    `async with sessions.running():` in the lifespan of the app. For Litestar, `litestar.SessionPlugin` does all this.

    The layer refuses requests from other sites on every route, WebSocket handshakes included. Other GETs, HEAD and
    OPTIONS pass. `is_exempt(scope)` says which routes have no session. `error_response` sends the response if the layer
    refuses a request or a save fails: `async def error_response(error, scope, receive, send)`, which sends the status
    `error.status_code`, or 500 without one, and may show `error.public_message`. Set `host_finishes_errors` if the
    framework calls `Session.finish_headers` for its own error responses.

    A request raises RuntimeError if another session middleware, such as Starlette's own, runs around this one.
    """

    app: ASGIApp
    sessions: SessionManager
    error_response: ErrorResponse = send_plain_text
    is_exempt: Callable[[Scope], bool] = lambda _: False
    host_finishes_errors: bool = False
    proxy_warning: ProxyWarning = field(default_factory=ProxyWarning)
    has_reported: bool = field(default=False, init=False)  # whether the log has named another session middleware

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept_at = f"{KEPT}{self.sessions.name}"
        if scope["type"] == "lifespan" or kept_at in scope:  # an outer app has attached these sessions
            await self.app(scope, receive, send)
            return
        headers = read_headers(scope, self.sessions.name)
        if is_cross_origin(scope, headers):
            await self._refuse(CrossOriginRefused(), scope, receive, send)
            return
        if self.is_exempt(scope):
            await self.app(scope, receive, send)
            return
        if scope.get("method") == "GET" and "prefetch" in " ".join(headers[b"sec-purpose"]):
            await self._refuse(PrefetchRefused(), scope, receive, send)
            return
        if headers[b"x-forwarded-proto"] or headers[b"forwarded"]:
            self.proxy_warning.check(scope, headers)
        if isinstance(scope.get("session"), dict) and not any(key.startswith(KEPT) for key in scope):
            raise RuntimeError(f"another session middleware runs around the session layer. {REMOVE_STOCK}")
        session = await self.sessions.start(*headers[b"cookie"])
        scope["session"] = scope[kept_at] = session
        try:
            serve = self._serve_http if scope["type"] == "http" else self._serve_websocket
            await serve(session, scope, receive, send)
        finally:
            if session.watched:
                session.report()
            if isinstance(scope.get("session"), dict) and "litestar_app" not in scope and not self.has_reported:
                self.has_reported = True
                message = "Another session middleware, inside the session layer, replaced request.session at %r. %s"
                logger.error(message, scope["path"], REMOVE_STOCK)

    async def _serve_http(self, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        response = SessionResponse(session, self.error_response, scope, receive, send)
        try:
            await self.app(scope, receive, response.send)
        except Exception as error:
            if response.was_replaced and session.response_started:
                return  # the error response was sent; this is only our ResponseReplaced
            if session.response_started:
                raise
            try:
                session.rollback(error)
                await session.commit()  # deletes the session that `end` has ended
            except StoreUnavailable as failure:
                error = failure
            is_ours = isinstance(error, SessionError | StoreUnavailable)
            if (is_ours or session.cookie) and not self.host_finishes_errors:
                # The framework would answer 500 to our errors too, and would not send the new cookie.
                await self.error_response(error, scope, receive, response.send_error)
                if is_ours:
                    return
            session.left_to_host = True
            session.read_only = "" if self.host_finishes_errors else "the request has failed"
            raise

    async def _serve_websocket(self, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        if session.failure:
            await self._refuse(session.failure, scope, receive, send)
            return
        session.read_only = "a WebSocket has the session as it was at the handshake"
        await self.app(scope, receive, send)

    async def _refuse(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.error_response(error, scope, receive, send)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await send_plain_text(error, scope, receive, denial(send))
        else:
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted, so the server answers 403


@dataclass
class SessionResponse:
    """Saves the session, then sends the response. If the save fails, sends an error response instead."""

    session: Session
    error_response: ErrorResponse
    scope: Scope
    receive: Receive
    send_on: Send
    was_replaced: bool = False
    error_outside: BaseException | None = field(default_factory=sys.exception)

    async def send(self, message: Message) -> None:
        if self.was_replaced:
            raise ResponseReplaced
        if message["type"] == "http.response.start":
            try:
                await self._save(message["status"])
            except Exception as error:
                self.was_replaced = True
                await self._replace(error)
                raise ResponseReplaced from error
            # Change a copy of the message: a cache inside the app may keep the message, and would replay the cookie.
            headers = self.session.finish_headers(message.get("headers", ()), self.scope)
            message = {**message, "headers": headers}
        await self.send_on(message)

    async def send_error(self, message: Message) -> None:
        """Send the response to an error, after saving what the app's error handler has changed."""
        if message["type"] == "http.response.start":
            if message["status"] < 500:
                await self.session.commit()
            headers = self.session.finish_headers(message.get("headers", ()), self.scope)
            message = {**message, "headers": headers}
        await self.send_on(message)

    async def _replace(self, error: Exception) -> None:
        self.session.rollback(error)
        try:
            await self.error_response(error, self.scope, self.receive, self.send_error)
        except Exception as failure:
            if self.session.response_started:
                raise
            logger.exception("The error page for %r failed", error)
            self.session.rollback(failure)
            await send_plain_text(error, self.scope, self.receive, self.send_error)

    async def _save(self, status: int) -> None:
        """Save the changes. Drop them instead if the status is 500 or more, or after an exception."""
        session = self.session
        if self.scope.get("session") is not session:
            session_of(self.scope, session.cookie_name)
        error = sys.exception()
        if status >= 500 or error not in (None, self.error_outside, session.rolled_back_for):
            session.rollback(error)
        await session.commit()


def session_of(scope: Any, name: str) -> Session | None:
    """Return the session of the layer with this name. First apply the changes made by the framework's own methods.

    In a middleware, Litestar's methods only overwrite `scope["session"]`: `set_session` with a dict, `clear_session`
    with a value that is not a mapping. After `clear_session` and then `set_session`, the scope looks as after
    `set_session` alone. So a dict always begins a new session with a new token. The session of another layer stays
    unchanged. Outside of Litestar, only another session middleware overwrites it.
    """
    session: Session | None = scope.get(f"{KEPT}{name}")
    put_there = scope.get("session", session)
    if session is None or put_there is session or "litestar_app" not in scope:
        return session
    if type(put_there) is dict or not isinstance(put_there, Mapping):
        session.end()
        session.update(put_there if isinstance(put_there, dict) else {})
        scope["session"] = session
    return session


class ResponseReplaced(Exception):
    """Stops the handler whose response was replaced by an error response."""


def denial(send: Send) -> Send:
    """Return a `send` that turns an HTTP response into the refusal of a WebSocket handshake."""

    async def send_denial(message: Message) -> None:
        await send({**message, "type": message["type"].replace("http.", "websocket.http.")})

    return send_denial
