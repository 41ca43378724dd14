"""Tells load balancers and monitors whether the app can serve sessions."""

from litestar import HttpMethod, MediaType, Response, route
from litestar.di import NamedDependency

from app.sessions import SessionManager


@route("/health", http_method=[HttpMethod.GET, HttpMethod.HEAD], opt={"no_session": True})
async def health(sessions: NamedDependency[SessionManager]) -> Response[str]:
    """Say whether the store answers within a second. Raises StoreUnavailable, which becomes a 503."""
    await sessions.check(limit=1.0)
    return Response("OK\n", media_type=MediaType.TEXT, headers={"Cache-Control": "no-store"})
