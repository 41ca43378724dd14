"""Refuses requests whose Host header cannot be part of a URL."""

from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from app.errors import UserFacingError


class HostCheck(ASGIMiddleware):
    """Answer 400 to a Host such as `[::1` or `x:99999`.

    Otherwise `request.url` raises ValueError for it, in handlers and where Litestar reports a missing parameter.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        # Litestar's `Headers` would decode all the others too, at every request.
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        try:
            for host in hosts:
                _ = urlsplit(f"//{host}").port  # raises if it is not a port
        except ValueError:
            raise UserFacingError(status_code=400, detail="The Host header of this request is not valid.") from None
        await next_app(scope, receive, send)
