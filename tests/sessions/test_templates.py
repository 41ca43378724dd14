"""Rule 23: templates read `session` everywhere. The layout shows the visitor's name and cart, if they are known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from jinja2 import StrictUndefined
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.template import TemplateConfig
from litestar.types import ASGIApp, Receive, Scope, Send

from app.sessions import Key, Session, SessionError, StoreUnavailable
from tests.sessions.helpers import ALL_CALLS, JSON, BrokenStore, Site, site
from tests.support import BROWSER, TEXT, UPDATE, Server

USER = Key("user", str)
CART = Key("cart", list[str], default=[])
FLASH = Key("flash", JSON)

LAYOUT = """<!doctype html>
<title>{% block title %}{% endblock %}</title>
<header>
{%- if session.available -%}
  {% include "badge.html" %}
{%- endif -%}
</header>
<main>{% block main %}{% endblock %}</main>
</html>
"""
BADGE = """
{%- if "user" in session %}Hello {{ session.user }}
{%- else %}Log in{% endif %}, cart: {{ session.get("cart", [])|length }}
"""
FILES = {
    "layout.html": LAYOUT,
    "badge.html": BADGE,
    "page.html": '{% extends "layout.html" %}{% block main %}The page{% endblock %}',
    "error.html": '{% extends "layout.html" %}{% block main %}Error {{ status }}{% endblock %}',
    "flash.html": '{% extends "layout.html" %}{% block main %}{{ session.pop("flash", "no flash") }}{% endblock %}',
    "own.html": "{{ session }}",
}
GREETED = "<header>Hello Ada, cart: 2</header>"
ANONYMOUS = "<header>Log in, cart: 0</header>"
NEITHER = "<header></header>"


def error_page(_: Request[Any, Any, Any], error: Exception) -> Template:
    status = getattr(error, "status_code", 500)
    return Template("error.html", context={"status": status}, status_code=status)


@get("/page")
async def page() -> Template:
    return Template("page.html")


@get("/public", no_session=True)
async def public_page() -> Template:
    return Template("page.html", headers={"Cache-Control": "public, max-age=60"})


@get("/denied")
async def denied() -> None:
    raise HTTPException(status_code=403)


@get("/public-denied", no_session=True)
async def public_denied() -> None:
    raise HTTPException(status_code=403)


@get("/crash")
async def crash() -> None:
    raise ZeroDivisionError


@post("/change", status_code=200)
async def change(session: NamedDependency[Session]) -> Template:
    session[USER] = "Eve"
    session[CART].append("tea")
    return Template("page.html")


@post("/change-and-fail", status_code=200)
async def change_and_fail(session: NamedDependency[Session]) -> Template:
    session[USER] = "Eve"
    raise HTTPException(status_code=400)


@get("/no-template")
async def no_template() -> str:
    return "text"


@get("/own")
async def own_variable() -> Template:
    return Template("own.html", context={"session": "the handler's own"})


@get("/flash")
async def show_flash() -> Template:
    return Template("flash.html")


HANDLERS = (
    page,
    public_page,
    denied,
    public_denied,
    crash,
    change,
    change_and_fail,
    no_template,
    own_variable,
    show_flash,
)


@pytest.fixture
def templates(tmp_path: Path) -> TemplateConfig[JinjaTemplateEngine]:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    def be_strict(engine: JinjaTemplateEngine) -> None:
        engine.engine.undefined = StrictUndefined

    return TemplateConfig(directory=tmp_path, engine=JinjaTemplateEngine, engine_callback=be_strict)


def a_site(templates: TemplateConfig[JinjaTemplateEngine], store: BrokenStore | None = None, **options: Any) -> Any:
    errors = [HTTPException, SessionError, StoreUnavailable, Exception]
    options.setdefault("exception_handlers", dict.fromkeys(errors, error_page))
    return site(*HANDLERS, store=store or BrokenStore(), template_config=templates, **options)


async def ada(app: Site) -> httpx.AsyncClient:
    return await app.visitor(user="Ada", cart=["a", "b"])


def is_kept_out_of_caches(response: httpx.Response) -> bool:
    return response.headers.get("cache-control") == "no-store" and "Cookie" in response.headers.get("vary", "")


PAGES = [
    ("GET", "/page", 200),
    ("GET", "/denied", 403),
    ("GET", "/crash", 500),
    ("GET", "/nowhere", 404),
    ("POST", "/page", 405),
    ("POST", "/nowhere", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), PAGES)
async def test_rule_23_the_base_template_can_read_the_session(
    templates: Any, method: str, path: str, status: int
) -> None:
    async with a_site(templates) as app:
        for client, header in ((await ada(app), GREETED), (await app.visitor(), ANONYMOUS)):
            response = await client.request(method, path)
            assert response.status_code == status
            assert header in response.text
            assert response.text.endswith("</html>")
            assert is_kept_out_of_caches(response)
            assert "set-cookie" not in response.headers
        assert await app.sessions.store.count() == 1, "reading creates nothing"


@pytest.mark.parametrize(("path", "status"), [("/public", 200), ("/public-denied", 403)])
@pytest.mark.parametrize("store_is", ["up", "down"])
async def test_rule_23_a_page_without_a_session_shows_neither_login_nor_visitor(
    templates: Any, path: str, status: int, store_is: str
) -> None:
    store = BrokenStore()
    async with a_site(templates, store) as app:
        client = await ada(app)
        store.broken = ALL_CALLS if store_is == "down" else ()
        response = await client.get(path)
        assert response.status_code == status
        assert NEITHER in response.text
        if status == 200:
            assert response.headers["cache-control"] == "public, max-age=60"
            assert "vary" not in response.headers


@pytest.mark.parametrize(("method", "path", "status"), PAGES)
async def test_rule_23_error_pages_are_complete_while_the_store_is_down(
    templates: Any, method: str, path: str, status: int
) -> None:
    store = BrokenStore()
    async with a_site(templates, store) as app:
        with_cookie, without = await ada(app), await app.visitor()
        store.broken = ALL_CALLS
        response = await with_cookie.request(method, path)
        assert response.status_code == (503 if path == "/page" and method == "GET" else status)
        assert NEITHER in response.text, "the page shows neither a name nor a cart"
        assert f"Error {response.status_code}" in response.text
        assert response.text.endswith("</html>"), "the page is complete"
        assert is_kept_out_of_caches(response)
        assert "set-cookie" not in response.headers, "the cookie is kept"
        response = await without.request(method, path)
        assert (response.status_code, ANONYMOUS in response.text) == (status, True)
        store.broken = ()
        assert GREETED in (await with_cookie.get("/page")).text


async def test_rule_23_a_page_that_does_not_read_the_session_is_served_while_the_store_is_down(templates: Any) -> None:
    store = BrokenStore()
    async with a_site(templates, store) as app:
        client = await ada(app)
        store.broken = ALL_CALLS
        assert (await client.get("/no-template")).status_code == 200


@pytest.mark.parametrize("broken", ["replace", "create"])
async def test_rule_23_a_save_that_fails_replaces_the_rendered_page(templates: Any, broken: str) -> None:
    store = BrokenStore()
    async with a_site(templates, store) as app:
        client = await (ada(app) if broken == "replace" else app.visitor())
        store.broken = (broken,)
        response = await client.post("/change")
        assert response.status_code == 503
        assert "Error 503" in response.text
        assert NEITHER in response.text
        assert "Eve" not in response.text
        assert response.text.endswith("</html>")


async def test_rule_23_templates_read_unsaved_changes_but_error_pages_only_stored_values(templates: Any) -> None:
    async with a_site(templates) as app:
        client = await ada(app)
        assert "Hello Ada, cart: 2" in (await client.post("/change-and-fail")).text
        assert "Hello Eve, cart: 3" in (await client.post("/change")).text
        assert "Hello Eve, cart: 3" in (await client.get("/page")).text


async def test_rule_23_the_page_for_a_cross_site_request_shows_neither_login_nor_visitor(templates: Any) -> None:
    async with a_site(templates) as app:
        response = await (await ada(app)).post("/change", headers={"Sec-Fetch-Site": "cross-site"})
        assert (response.status_code, NEITHER in response.text) == (403, True)


async def test_rule_23_a_handlers_own_variable_named_session_wins(templates: Any) -> None:
    async with a_site(templates) as app:
        assert (await (await ada(app)).get("/own")).text == "the handler&#39;s own"


async def test_rule_23_a_template_may_pop_a_flash_message_even_on_a_404_page(templates: Any) -> None:
    def flash_page(_: Request[Any, Any, Any], error: Exception) -> Template:
        return Template("flash.html", status_code=getattr(error, "status_code", 500))

    async with a_site(templates, exception_handlers={HTTPException: flash_page}) as app:
        for path, status in (("/flash", 200), ("/denied", 403), ("/nowhere", 404)):
            client = await app.visitor(user="Ada", cart=["a", "b"], flash="Saved.")
            for expected in ("Saved.", "no flash"):
                response = await client.get(path)
                assert (response.status_code, expected in response.text) == (status, True)
                assert GREETED in response.text


async def test_rule_23_templates_see_that_a_middleware_cleared_the_session(templates: Any) -> None:
    from litestar.connection import ASGIConnection

    def log_out(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            connection: Any = ASGIConnection(scope, receive, send)
            connection.clear_session()
            await app(scope, receive, send)

        return call

    async with a_site(templates, middleware=[log_out]) as app:
        response = await (await ada(app)).get("/page")
        assert (response.status_code, ANONYMOUS in response.text) == (200, True)
        assert "Max-Age=0" in response.headers["set-cookie"]


async def test_rule_23_without_error_pages_of_its_own_an_app_still_answers_503(templates: Any) -> None:
    store = BrokenStore()
    async with a_site(templates, store, exception_handlers={}) as app:
        client = await ada(app)
        store.broken = ALL_CALLS
        response = await client.get("/page")
        assert response.status_code == 503
        assert "it is broken" not in response.text
        assert is_kept_out_of_caches(response)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
async def test_rule_14_responses_to_unknown_addresses_are_not_cached(method: str) -> None:
    async with site(page) as app:
        for client in (await app.visitor(kept=1), await app.visitor()):
            for path in ("/nowhere", "/page"):
                response: Response[Any] | httpx.Response = await client.request(method, path)
                assert isinstance(response, httpx.Response)
                if path == "/page" and method == "GET":
                    continue
                assert response.status_code == (404 if path == "/nowhere" else 405)
                assert is_kept_out_of_caches(response)
                assert "set-cookie" not in response.headers


def test_rule_23_on_a_real_server_the_error_pages_are_complete(start_server: Callable[..., Server]) -> None:
    """The whole project, with a store that a test can make fail."""
    server = start_server(app="tests.sessions.templates_app:app", store="memory://")
    client = server.client()
    assert client.put(UPDATE, content="a", headers=TEXT).status_code == 200
    assert client.put("/name/Ada").status_code == 200
    for method, path, status in (("GET", "/greeting", 200), ("GET", "/nowhere", 404), ("PATCH", "/greeting", 405)):
        response = client.request(method, path, headers=BROWSER)
        assert (response.status_code, "Hello Ada" in response.text) == (status, True)
        assert is_kept_out_of_caches(response)
    assert client.post("/break-the-store").status_code == 200
    for method, path, status in (("GET", "/greeting", 503), ("GET", "/nowhere", 404), ("PATCH", "/greeting", 405)):
        response = client.request(method, path, headers=BROWSER)
        assert response.status_code == status
        assert "Hello" not in response.text
        assert "Log in" not in response.text
        assert response.text.rstrip().endswith("</html>")
        assert is_kept_out_of_caches(response)
    assert server.client().get("/greeting", headers=BROWSER).status_code == 200
    assert "Traceback" not in server.log
