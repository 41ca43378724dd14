"""What the session layer does around every request: plain ASGI, for any framework."""

import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import CrossOriginRefused, PrefetchRefused, SessionError
from .headers import is_cross_origin, read_headers
from .manager import SessionManager
from .proxy import ProxyWarning
from .session import Session
from .store import StoreUnavailable

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER = "5"  # seconds: when a visitor whose request got 503 may try again

logger = logging.getLogger(__name__)


class ErrorResponse(Protocol):
    """Sends the response to an error. `error.status_code` is the status that fits, if there is one; otherwise 500."""

    async def __call__(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None: ...


async def send_plain_text(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Answer with the first line of the error's documentation: for apps without error pages of their own."""
    status = getattr(error, "status_code", 500)
    log_bug(error, scope)
    text = "Internal Server Error" if status == 500 else (type(error).__doc__ or "").partition("\n")[0]
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    headers += [(b"retry-after", RETRY_AFTER.encode())] if status == 503 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})


def log_bug(error: Exception, scope: Scope) -> None:
    """Log an error that an app without error pages of its own would not log."""
    if getattr(error, "status_code", 500) == 500:
        logger.error("%s failed: %s", scope["path"], error, exc_info=error)


@dataclass
class SessionMiddleware:
    """Gives each request its session as `scope["session"]`, and saves it before the first byte of the response.

        app = SessionMiddleware(app, SessionManager(MemoryStore()))

    Starlette and FastAPI: `app.add_middleware(SessionMiddleware, sessions=sessions)`, then `request.session`. Run
    `async with sessions.running():` in the lifespan of the app. Litestar has `litestar.SessionPlugin`, which does all.

    Requests from other sites are refused on every route. `is_exempt(scope)` says which routes have no session.
    `error_response` answers what the layer refuses, and saves that fail. `host_finishes_errors` says that the framework
    calls `Session.finish_headers` for the error responses that it sends outside of this middleware.
    """

    app: ASGIApp
    sessions: SessionManager
    error_response: ErrorResponse = send_plain_text
    is_exempt: Callable[[Scope], bool] = lambda _: False
    host_finishes_errors: bool = False
    proxy_warning: ProxyWarning = field(default_factory=ProxyWarning)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or getattr(scope.get("session"), "name", None) == self.sessions.name:
            await self.app(scope, receive, send)  # the latter if an outer app has attached these sessions already
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
        session = await self.sessions.start(*headers[b"cookie"])
        scope["session"] = session
        try:
            serve = self._serve_http if scope["type"] == "http" else self._serve_websocket
            await serve(session, scope, receive, send)
        finally:
            if session.watched:
                session.report()

    async def _serve_http(self, session: Session, scope: Scope, receive: Receive, send: Send) -> None:
        response = SessionResponse(session, self.error_response, scope, receive, send)
        try:
            await self.app(scope, receive, response.send)
        except Exception as error:
            if response.was_replaced:
                return  # this is only what stopped the sender of the other response
            if self.host_finishes_errors or session.response_started:
                raise
            session.rollback(error)
            session.read_only = "the request has failed"
            is_ours = isinstance(error, SessionError | StoreUnavailable)
            if is_ours or session.cookie:
                # The framework would answer outside of this middleware: 500, and the visitor would lose the new token.
                await self.error_response(error, scope, receive, response.send_unsaved)
            if not is_ours:
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
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the server answers 403


@dataclass
class SessionResponse:
    """Sends a response after saving the session, or another response if that fails."""

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
                self.session.rollback(error)
                await self.error_response(error, self.scope, self.receive, self.send_unsaved)
                raise ResponseReplaced from error
            message["headers"] = self.session.finish_headers(message["headers"], self.scope)
        await self.send_on(message)

    async def send_unsaved(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = self.session.finish_headers(message["headers"], self.scope)
        await self.send_on(message)

    async def _save(self, status: int) -> None:
        """Save what the response confirms. A status from 500, and an exception, drop what was changed before."""
        session = self.session
        handed_in = self.scope["session"]
        if not isinstance(handed_in, Session):  # another Session is that of a mounted app, with a name of its own
            # The framework's own methods were called: Litestar's set_session or clear_session, in a middleware.
            session.end()
            session.update(handed_in if isinstance(handed_in, dict) else {})
            self.scope["session"] = session
        error = sys.exception()
        if status >= 500 or error not in (None, self.error_outside, session.rolled_back_for):
            session.rollback(error)
        await session.commit()


class ResponseReplaced(Exception):
    """Stops whoever is sending a response that must not be sent."""


def denial(send: Send) -> Send:
    """Return a `send` that refuses a WebSocket's handshake with the response that it is given."""

    async def send_denial(message: Message) -> None:
        await send({**message, "type": message["type"].replace("http.", "websocket.http.")})

    return send_denial
