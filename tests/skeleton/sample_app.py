"""The app with its own pages below /sample, so the tests of the skeleton depend on no other pages.

The texts are kept in the session. `/sample` is the page most tests use; the others show one thing each.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from jinja2 import ChoiceLoader, FileSystemLoader
from litestar import HttpMethod, Litestar, MediaType, Request, Response, Router, get, post, put, route
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.params import FromPath, FromQuery, JSONBody, Parameter
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Stream, Template

from app.error_pages import error_pages
from app.errors import wants_fragment, wants_page
from app.forms import Field, read_form, read_text
from app.main import configure_logging, create_app
from app.sessions import Key, Session, SessionEnded, SessionTooLarge, StoreUnavailable
from app.settings import Settings

DEFAULT = "initial text"
TEXT = Key("text", str, default=DEFAULT)
TITLE = Key("title", str, default="")
TEXT_FIELD = Field("text", label="Text", kind="textarea", max_size=65_536)
TITLE_FIELD = Field("title", label="Title", max_size=200)
NAME = Field("name", label="Name")
PASSWORD = Field("password", label="Password", kind="password")
TICKET = Field("ticket", label="Ticket", kind="hidden")
REMEMBER = Field("remember", label="Remember me", default="")
PAGE = [HttpMethod.GET, HttpMethod.HEAD]
END_DELAY = 1.0  # seconds between the end of a session and the answer's body

AnyRequest = Request[Any, Any, Any]


@route("/", http_method=PAGE)
async def text_page(session: NamedDependency[Session], seconds: FromQuery[int] = 0) -> Template:
    await asyncio.sleep(seconds)
    return Template("sample/text.html", context={"text": session[TEXT]})


@route("/saved", http_method=PAGE)
async def saved_text(request: AnyRequest, session: NamedDependency[Session]) -> Response[str | None]:
    return saved(request, session[TEXT])


@put("/text")
async def update_text(request: AnyRequest, session: NamedDependency[Session]) -> Response[Any]:
    if request.content_type[0] == "text/plain":
        session[TEXT] = await read_text(request, TEXT_FIELD)
        return Response(session[TEXT], media_type=MediaType.TEXT)
    (session[TEXT],) = await read_form(request, TEXT_FIELD)
    return Response("Saved", media_type=MediaType.HTML)


@post("/text")
async def submit_text(request: AnyRequest, session: NamedDependency[Session]) -> Redirect:
    (session[TEXT],) = await read_form(request, TEXT_FIELD)
    return Redirect("/sample", status_code=303)


@route("/session", http_method=PAGE)
async def session_page(session: NamedDependency[Session]) -> Template:
    return Template("sample/session.html", context={"id": session.id})


@post("/end", status_code=200)
async def end_session(
    request: AnyRequest, session: NamedDependency[Session], delay: FromQuery[float] = 0
) -> Response[Any]:
    """End the session at once, but answer a page slowly. Other clients get a slow answer with `?delay=1`."""
    await session.destroy()
    if wants_fragment(request):
        headers = {"HX-Trigger": "session-ended"}
        return Stream(slowly("<p>Done.</p>", END_DELAY), media_type=MediaType.HTML, headers=headers)
    if wants_page(request):
        return Redirect("/sample/session", status_code=303)
    return Stream(slowly("Session ended.", delay), media_type=MediaType.TEXT)


@route("/public", http_method=PAGE, opt={"no_session": True})
async def public_page() -> Template:
    return Template("sample/public.html", headers={"Cache-Control": "public, max-age=60"})


@get("/two")
async def two_fields_page(session: NamedDependency[Session]) -> Template:
    context = {"text": session[TEXT], "title": session[TITLE]}
    return Template("sample/two.html", context=context)


@get("/saved-title")
async def saved_title(request: AnyRequest, session: NamedDependency[Session]) -> Response[str | None]:
    return saved(request, session[TITLE])


@put("/title")
async def update_title(request: AnyRequest, session: NamedDependency[Session]) -> Response[str]:
    (session[TITLE],) = await read_form(request, TITLE_FIELD)
    return Response("Saved", media_type=MediaType.HTML)


@get("/files", opt={"no_session": True})
async def page_with_files() -> Template:
    """A page with its own stylesheet and script."""
    return Template("sample/files.html")


@get("/extra.css", opt={"no_session": True}, media_type="text/css")
async def extra_css() -> str:
    return "h1 { color: rgb(1, 2, 3) }"


@get("/extra.js", opt={"no_session": True}, media_type="text/javascript")
async def extra_js() -> str:
    return "document.documentElement.dataset.extra = 'loaded'"


@get("/links", opt={"no_session": True})
async def links_page(seconds: FromQuery[int] = 0) -> Template:
    """Links and forms whose answers are not pages, and elements without an error place."""
    await asyncio.sleep(seconds)
    return Template("sample/links.html")


@get("/long", opt={"no_session": True})
async def long_page() -> Template:
    return Template("sample/long.html")


@get("/slow", opt={"no_session": True})
async def slow_page(seconds: FromQuery[int] = 0) -> Template:
    await asyncio.sleep(seconds)
    return Template("sample/public.html")


@route("/export.csv", http_method=[HttpMethod.GET, HttpMethod.POST], opt={"no_session": True})
async def export(request: AnyRequest) -> Response[str]:
    headers = {"Content-Disposition": 'attachment; filename="export.csv"'}
    return Response(f"{request.method},1\n", status_code=200, media_type="text/csv", headers=headers)


@get("/plain", opt={"no_session": True}, media_type=MediaType.TEXT)
async def plain_text() -> str:
    return "<b>only text</b>"


@post("/fail/{status:int}", status_code=200)
async def fail(request: AnyRequest, session: NamedDependency[Session], status: FromPath[int]) -> None:
    """Read a form, change the session, then fail."""
    await read_form(request, TEXT_FIELD)
    session[TEXT] = "changed by a request that failed"
    causes = {409: SessionEnded, 413: SessionTooLarge, 500: RuntimeError, 503: StoreUnavailable}
    raise causes[status]() if status in causes else HTTPException(status_code=status)


@post("/login", status_code=200, media_type=MediaType.TEXT)
async def log_in(request: AnyRequest) -> str:
    name, password, ticket, remember = await read_form(request, NAME, PASSWORD, TICKET, REMEMBER)
    if password != "secret":
        raise HTTPException(status_code=422)
    return f"{name} {ticket} {remember}"


@get("/number/{number:int}", media_type=MediaType.TEXT)
async def number(
    number: Annotated[int, Parameter(ge=1)], letters: FromQuery[str], limit: FromQuery[int | None] = None
) -> str:
    return f"{number} {letters} {limit}"


@post("/number")
async def body_number(data: JSONBody[dict[str, int]]) -> dict[str, int]:
    return data


@post("/raw")
async def raw(request: AnyRequest) -> None:
    """A handler that reads its body without the form helper."""
    await request.body()


@post("/forbidden")
async def forbidden(request: AnyRequest, session: NamedDependency[Session]) -> None:
    await read_form(request, TEXT_FIELD)
    session[TEXT] = "changed by a request that was not allowed"
    raise PermissionDeniedException


async def slowly(text: str, seconds: float) -> AsyncIterator[str]:
    await asyncio.sleep(seconds)
    yield text


def saved(request: AnyRequest, text: str) -> Response[str | None]:
    etag = f'W/"{hashlib.sha256(text.encode()).hexdigest()}"'
    if request.headers.get("if-none-match") == etag:
        return Response(None, status_code=304, headers={"ETag": etag})
    return Response(text, media_type=MediaType.TEXT, headers={"ETag": etag})


ROUTES = [
    text_page,
    saved_text,
    update_text,
    submit_text,
    session_page,
    end_session,
    public_page,
    two_fields_page,
    saved_title,
    update_title,
    page_with_files,
    extra_css,
    extra_js,
    links_page,
    long_page,
    slow_page,
    export,
    plain_text,
    fail,
    log_in,
    number,
    body_number,
    raw,
    forbidden,
]


def create_sample_app() -> Litestar:
    app = create_app(Settings.from_environment())
    app.register(Router("/sample", route_handlers=ROUTES))
    if not app.debug:
        app.register(error_pages)
    assert isinstance(app.template_engine, JinjaTemplateEngine)
    engine = app.template_engine.engine
    assert engine.loader
    engine.loader = ChoiceLoader([engine.loader, FileSystemLoader(Path(__file__).parent / "templates")])
    configure_logging()  # again, because Litestar has changed it for this app
    return app


app = create_sample_app()
