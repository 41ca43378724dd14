"""The demo's pages and actions: one handler per route, in the order in which a visitor meets them."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from litestar import HttpMethod, MediaType, Request, Response, Router, post, put, route
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery
from litestar.response import Redirect, Stream, Template

from app.errors import wants_fragment, wants_page
from app.forms import PLAIN_TEXT, Field, read_form, read_text
from app.sessions import Key, Session
from app.sessions.litestar import SessionRequest

from .settings import read_destroy_delay

QUOTE = Key("quote", str, default="initial quote")
QUOTE_FIELD = Field("quote", label="Text", kind="textarea", max_size=65_536)  # bytes of UTF-8
PAGE = [HttpMethod.GET, HttpMethod.HEAD]
ABOUT_MAX_AGE = 60  # seconds; short, because the page links static files whose addresses change with each version


# Without `media_type`, Litestar guesses it from the template's name at each request.


@route("/", http_method=PAGE, media_type=MediaType.HTML)
async def quote_page(request: SessionRequest) -> Template:
    """Show the quote. Reading stores nothing, so a visitor without a session stays without one."""
    return Template("quote/quote.html", context={"quote": request.session[QUOTE]})


@route("/session/quote", http_method=PAGE)
async def current_quote(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> Response[str | None]:
    """Return the current quote to a tab that is shown again, or 304 if it is the quote that the tab last received."""
    quote = session[QUOTE]
    etag = f'W/"{hashlib.sha256(quote.encode()).hexdigest()}"'
    if request.headers.get("if-none-match") == etag:
        return Response(None, status_code=304, headers={"ETag": etag})
    return Response(quote, media_type=MediaType.TEXT, headers={"ETag": etag})


@put("/session/quote/update")
async def update_quote(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> Response[Any]:
    """Store the quote that a script (text/plain) or htmx (the page's form) sends."""
    if request.content_type[0] == PLAIN_TEXT:
        session[QUOTE] = await read_text(request, QUOTE_FIELD)
        return Response(session[QUOTE], media_type=MediaType.TEXT)
    is_first = QUOTE not in session
    (session[QUOTE],) = await read_form(request, QUOTE_FIELD)
    if is_first:
        await session.save()  # before the response, because its card shows the new session
        return Template("quote/saved.html")
    return Response("Saved", media_type=MediaType.HTML)  # htmx puts it beside the button


@post("/session/quote/update")
async def submit_quote(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> Redirect:
    """Store the quote that the page's form sends without JavaScript."""
    (session[QUOTE],) = await read_form(request, QUOTE_FIELD)
    return Redirect("/", status_code=303)


@route("/manage", http_method=PAGE, media_type=MediaType.HTML)
async def manage_page(destroy_delay: NamedDependency[float], ended: FromQuery[bool] = False) -> Template:
    """Show the session to its owner: everything about it except the token. `ended`: the card showed a session."""
    return Template("quote/manage.html", context={"ended": ended, "destroy_delay": destroy_delay})


@post("/session/destroy", status_code=200)
async def destroy_session(
    request: Request[Any, Any, Any], session: NamedDependency[Session], destroy_delay: NamedDependency[float]
) -> Response[Any]:
    """End the session at once, then answer slowly. The delay stands for the slow part of a real logout."""
    await session.destroy()
    if wants_fragment(request):
        body = slowly("<p>Done.</p>", destroy_delay)
        return Stream(body, media_type=MediaType.HTML, headers={"HX-Trigger": "session-destroyed"})
    if wants_page(request):
        return Redirect("/manage", status_code=303)
    return Stream(slowly("Session destroyed.", destroy_delay), media_type=MediaType.TEXT)


@route("/about", http_method=PAGE, media_type=MediaType.HTML, opt={"no_session": True})
async def about_page() -> Template:
    """Explain the demo. The page has no session and is the same for everybody, so it may be cached and prefetched."""
    return Template("quote/about.html", headers={"Cache-Control": f"public, max-age={ABOUT_MAX_AGE}"})


def create_router(environment: Mapping[str, str] = os.environ) -> Router:
    """Return the demo's routes. Raises BadSetting if DESTROY_DELAY cannot be used."""
    destroy_delay = read_destroy_delay(environment)
    return Router(
        "/",
        route_handlers=[
            quote_page,
            current_quote,
            update_quote,
            submit_quote,
            manage_page,
            destroy_session,
            about_page,
        ],
        dependencies={"destroy_delay": Provide(lambda: destroy_delay, sync_to_thread=False)},
    )


async def slowly(text: str, seconds: float) -> AsyncIterator[str]:
    await asyncio.sleep(seconds)
    yield text
