"""What happens around every request, in this order. The counterpart of SvelteKit's `hooks.server.js`."""

import asyncio
import logging
from typing import Any, cast

from litestar import Litestar, Request
from litestar.datastructures import Cookie, Headers
from litestar.enums import ScopeType
from litestar.events import listener
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from app.errors import UserFacingError, error_response
from app.sessions import Reason, Session, SessionManager, is_token

logger = logging.getLogger(__name__)


class CrossOriginGuard(ASGIMiddleware):
    """1. Refuse requests that another site makes a browser send with the visitor's cookie.

    The rules are those of Go 1.25's `http.CrossOriginProtection`. A client that sends neither header is no browser
    and has no visitor's cookie to abuse. Do not change state in a GET: those pass.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if cast("HTTPScope", scope)["method"] not in ("GET", "HEAD", "OPTIONS"):
            headers = Headers.from_scope(scope)
            origin = headers.get("origin")
            if site := headers.get("sec-fetch-site"):
                allowed = site in ("same-origin", "none")
            else:
                allowed = not origin or origin.partition("://")[2] == (headers.get("host") or None)
            if not allowed:
                raise UserFacingError(status_code=403, detail="This request came from another site and was refused.")
        await next_app(scope, receive, send)


class SessionHook(ASGIMiddleware):
    """2. Load the session before the handler, save it before the response.

    The handler finds it as `request.session`, or as its parameter `session`. Routes with `no_session=True`, or in a
    router with `opt={"no_session": True}`, never touch it.
    """

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = "no_session"

    def __init__(self, sessions: SessionManager) -> None:
        self.sessions = sessions
        self.warned = False

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        http = cast("HTTPScope", scope)
        secure = http["scheme"] == "https"
        if not secure:
            self.warn_of_untrusted_proxy(http)
        if http["method"] == "GET" and any("prefetch" in purpose for purpose in values_of(http, b"sec-purpose")):
            # By the time the visitor follows the link, the copy may show what the session no longer holds.
            raise UserFacingError(status_code=503, detail="This page is not served ahead of time.")

        # __Host- makes the browser refuse such a cookie from a subdomain or without https (RFC 6265bis, 4.1.3.2).
        name = "__Host-session" if secure else "session"
        session = scope["session"] = await self.sessions.start(find_token(http, name))
        failure: Exception | None = None

        async def save_first(message: Message) -> None:
            nonlocal failure
            if message["type"] == "http.response.start":
                if failure is None and keeps_changes(message["status"]):
                    try:
                        await session.save()
                    except Exception as error:
                        failure = error
                        raise  # and so stop whoever is sending a response that must not be sent
                add_session_headers(message, session, name, secure)
                session.closed = True
            await send(message)

        try:
            await next_app(scope, receive, save_first)
        except Exception:
            if failure is None:
                raise
            # Litestar believes that the response has started and would leave the visitor without any.
            request: Request[Any, Any, Any] = Request(scope)
            response = error_response(request, failure)
            await response.to_asgi_response(app=None, request=request)(scope, receive, save_first)

    def warn_of_untrusted_proxy(self, scope: HTTPScope) -> None:
        if not self.warned and "https" in values_of(scope, b"x-forwarded-proto"):
            self.warned = True
            logger.warning(
                "A proxy says X-Forwarded-Proto: https, but uvicorn does not trust its address, so cookies are sent "
                "without Secure. Remedy: set FORWARDED_ALLOW_IPS to the proxy's address."
            )


def provide_session(request: Request[Any, Any, Any]) -> Session:
    """Hand the very object that is `request.session` to a handler's parameter `session: NamedDependency[Session]`."""
    session: Session = request.scope["session"]  # type: ignore[assignment]
    return session


def values_of(scope: HTTPScope, name: bytes) -> list[str]:
    """Return a header's values. Litestar's `Headers` would decode all the others, at every request."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def find_token(scope: HTTPScope, name: str) -> str | None:
    """Return the value of that cookie: the first that could be a token, for garbage beside it does no harm."""
    pairs = [pair.strip(" \t").partition("=") for cookies in values_of(scope, b"cookie") for pair in cookies.split(";")]
    values = [value for key, _, value in pairs if key == name]
    return next(filter(is_token, values), values[0] if values else None)


def keeps_changes(status: int) -> bool:
    """Whether a response means that the handler did its work: not after an error, nor when it refused the body."""
    return status < 500 and status not in (400, 413, 415, 422)


def add_session_headers(message: Any, session: Session, name: str, secure: bool) -> None:
    """Keep the response out of every cache, and add the cookie if the session was created, rotated or ended."""
    headers = [(key, value) for key, value in message["headers"] if key != b"cache-control"]
    headers += [(b"cache-control", b"no-store"), (b"vary", b"Cookie")]
    if session.cookie is not None:
        value, max_age = session.cookie
        cookie = Cookie(key=name, value=value, max_age=max_age, path="/", secure=secure, httponly=True, samesite="lax")
        headers.append((b"set-cookie", cookie.to_header(header="").encode("latin-1")))
    message["headers"] = headers


async def add_security_headers(message: Any, scope: Scope) -> None:
    """3. Tell the browser what no page of ours ever needs. Runs for every response, errors included."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], *SECURITY_HEADERS, *(HSTS if scope["scheme"] == "https" else ())]


async def announce_ended_sessions(app: Litestar, session_ids: list[str], reason: Reason) -> None:
    """4. Tell the listeners of sessions that have ended, in this process and once."""
    listeners = app.event_emitter.listeners.get("session_destroyed")
    if not listeners:  # `emit` takes it for an error if nobody listens
        return
    for session_id in session_ids:
        app.emit("session_destroyed", session_id=session_id, reason=reason)
    # Litestar starts one listener in a turn of the event loop. If a sweep did not wait for that, the events would pile
    # up, and the app could not stop before each has been heard. (A listener that is no coroutine runs in a thread.)
    for _ in range(len(session_ids) * len(listeners)):
        await asyncio.sleep(0)


@listener("session_destroyed")
async def log_ended_session(session_id: str, reason: Reason) -> None:
    """An example of a listener. When a session was `rotated`, its data lives on under a new id.

    Register yours beside it in `main.py`, or add it to `app.event_emitter.listeners["session_destroyed"]`, a set, from
    which it can be discarded again.
    """
    logger.info("Session %s was %s", session_id, reason)


class HealthCheckFilter(logging.Filter):
    """Keeps the load balancer's questions out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        # uvicorn's arguments: the client's address, method, path with query, HTTP version, status
        return not (isinstance(record.args, tuple) and str(record.args[2]).partition("?")[0] == "/health")


SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        b"form-action 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    # Not `no-referrer`: it would turn the Origin of our own forms into `null`.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
HSTS = ((b"strict-transport-security", b"max-age=31536000"),)
