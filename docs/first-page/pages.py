"""The pages: a handler for each route."""

from typing import Any

from litestar import HttpMethod, MediaType, Request, Response, Router, route
from litestar.di import NamedDependency
from litestar.response import Redirect, Template

from app.errors import wants_fragment
from app.forms import Field, read_form
from app.sessions import Key, Session

NOTE = Key("note", str, default="")
NOTE_FIELD = Field("note", label="Note", max_size=1_000)  # bytes of UTF-8


@route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST], status_code=200)
async def first_page(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> Response[Any]:
    """Show the note, or store the one that the page's form sends: through htmx, or without JavaScript."""
    if request.method != "POST":
        return Template("first_page.html", context={"note": session[NOTE]})
    (session[NOTE],) = await read_form(request, NOTE_FIELD)
    if wants_fragment(request):
        return Response("Saved", media_type=MediaType.HTML)  # htmx puts it beside the button
    return Redirect("/", status_code=303)


def create_router() -> Router:
    """Return the routes of the pages."""
    return Router("/", route_handlers=[first_page])
