"""The pages and what can be done on them. One handler a route, in the order in which a visitor meets them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from litestar import HttpMethod, MediaType, Request, Response, Router, post, put, route
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, InternalServerException
from litestar.params import FromPath
from litestar.response import Redirect, Stream, Template

from app.errors import MESSAGES, Refused, wants_fragment, wants_page
from app.sessions import Key, Session, SessionEnded, SessionManager, SessionTooLarge, StoreUnavailable
from app.settings import Settings

QUOTE = Key("quote", str, default="initial quote")
MAX_QUOTE_SIZE = 65_536  # bytes of UTF-8
PAGE = [HttpMethod.GET, HttpMethod.HEAD]
ABOUT_MAX_AGE = 60  # seconds; short, since the page names static files whose addresses change with the next version


@route("/", http_method=PAGE)
async def quote_page(session: NamedDependency[Session]) -> Template:
    """Show the quote. Reading a session, or its absence, stores nothing."""
    return Template("quote.html", context={"quote": session[QUOTE]})


@route("/session/quote", http_method=PAGE)
async def current_quote(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> Response[str | None]:
    """Tell a tab that is shown again what the quote is now, or with 304 that it is still what the tab was told last."""
    quote = session[QUOTE]
    etag = f'W/"{hashlib.sha256(quote.encode()).hexdigest()}"'
    if request.headers.get("if-none-match") == etag:
        return Response(None, status_code=304, headers={"ETag": etag})
    return Response(quote, media_type=MediaType.TEXT, headers={"ETag": etag})


@put("/session/quote/update")
async def update_quote(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> Response[Any]:
    """Store the quote that a script (text/plain) or htmx (the page's form) sends."""
    is_form = request.content_type[0] == "application/x-www-form-urlencoded"
    session[QUOTE] = await read_quote(request)
    if is_form:
        return Template("fragments/saved.html")
    return Response(session[QUOTE], media_type=MediaType.TEXT)


@post("/session/quote/update")
async def submit_quote(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> Redirect:
    """Store the quote that the page's form sends where there is no JavaScript."""
    session[QUOTE] = await read_quote(request, "application/x-www-form-urlencoded")
    return Redirect("/", status_code=303)


@route("/manage", http_method=PAGE)
async def manage_page(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> Template:
    """Show the session to its owner: everything about it but the token."""
    return Template(
        "manage.html",
        context={
            "exists": session.id is not None,
            "id": session.id,
            "created_at": _utc(session.created_at),
            "expires_at": _utc(session.expires_at),
            "store": type(sessions.store).__name__.removesuffix("Store"),
        },
    )


@post("/session/destroy", status_code=200)
async def destroy_session(
    request: Request[Any, Any, Any], session: NamedDependency[Session], settings: NamedDependency[Settings]
) -> Response[Any]:
    """End the session at once, then be slow to say so. The delay stands for the slow part of a real logout."""
    await session.destroy()
    if wants_fragment(request):
        body = slowly("<p>Done.</p>", settings.destroy_delay)
        return Stream(body, media_type=MediaType.HTML, headers={"HX-Trigger": "session-destroyed"})
    if wants_page(request):
        return Redirect("/manage", status_code=303)
    return Stream(slowly("Session destroyed.", settings.destroy_delay), media_type=MediaType.TEXT)


@route("/about", http_method=PAGE)
async def about_page() -> Template:
    """Explain the demo, to everybody alike and without a session: such a page may be cached, and fetched ahead."""
    return Template("about.html", headers={"Cache-Control": f"public, max-age={ABOUT_MAX_AGE}"})


@route("/health", http_method=PAGE)
async def health(sessions: NamedDependency[SessionManager]) -> Response[str]:
    """Say whether the store answers, to those who watch the app. Raises StoreUnavailable, which becomes a 503."""
    await sessions.check(limit=1.0)
    return Response("OK\n", media_type=MediaType.TEXT, headers={"Cache-Control": "no-store"})


@route("/errors", http_method=PAGE)
async def error_demo() -> Template:
    """List the errors, to see what each looks like. Only where LITESTAR_DEBUG=1, as the next."""
    return Template("errors.html", context={"statuses": {status: HTTPStatus(status).phrase for status in MESSAGES}})


@route("/errors/{status:int}", http_method=PAGE)
async def show_error(status: FromPath[int]) -> None:
    """Fail with this status, by the same exception as in earnest."""
    causes = {409: SessionEnded, 413: SessionTooLarge, 500: RuntimeError, 503: StoreUnavailable}
    raise causes[status]() if status in causes else HTTPException(status_code=status if status in MESSAGES else 404)


pages = Router(
    "/", route_handlers=[quote_page, current_quote, update_quote, submit_quote, manage_page, destroy_session]
)
without_session = Router("/", route_handlers=[about_page, health], opt={"no_session": True})
demo = Router("/", route_handlers=[error_demo, show_error], opt={"no_session": True})


async def read_quote(request: Request[Any, Any, Any], *media_types: str) -> str:
    """Return the quote that the body holds, with LF as line ending.

    Raises Refused: 400 for what is no text or has no field `quote`, 413 for too much of it, 415 for other media types.
    """
    media_type, options = request.content_type
    if media_type not in (media_types or ("text/plain", "application/x-www-form-urlencoded")):
        raise HTTPException(status_code=415)
    if options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise HTTPException(status_code=415)
    try:
        body = await request.body()
    except InternalServerException:  # how Litestar says that the client has hung up: nothing of ours has failed
        raise Refused(status_code=400, detail="The upload was not finished.") from None
    try:
        text = body.decode()
        if media_type == "application/x-www-form-urlencoded":
            fields = parse_qs(text, keep_blank_values=True, strict_parsing=False, errors="strict", max_num_fields=100)
            (text,) = fields["quote"]
    except UnicodeDecodeError:
        raise Refused(status_code=400, detail="The quote is no valid UTF-8. Nothing was saved.") from None
    except (ValueError, KeyError):
        raise Refused(status_code=400, detail="The form needs one field named quote. Nothing was saved.") from None
    if "\0" in text:
        raise Refused(status_code=400, detail="The quote holds U+0000, which no page can show. Nothing was saved.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # From here on, an error page can give the text back to whoever wrote it.
    request.state.submitted_quote = text
    if (size := len(text.encode())) > MAX_QUOTE_SIZE:
        detail = f"The quote is too long: {size:,} bytes, of {MAX_QUOTE_SIZE:,} at the most. Nothing was saved."
        raise Refused(status_code=413, detail=detail)
    return text


async def slowly(text: str, seconds: float) -> AsyncIterator[str]:
    await asyncio.sleep(seconds)
    yield text


def _utc(instant: float | None) -> datetime | None:
    return None if instant is None else datetime.fromtimestamp(instant, UTC)
