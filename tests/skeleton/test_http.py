"""What an HTTP client sees: every route of the app, over a real server, on every store."""

import re
from collections.abc import Callable

import httpx
import pytest

from app.settings import PROJECT
from tests.support import BROWSER, FORM, HTMX, TEXT, UPDATE, Server, shown_quote

PAGES = ["/", "/manage"]


@pytest.fixture(scope="module")
def store_kind() -> str:
    return "sqlite"  # what is tested here is the same for every store


def test_the_quote_page_shows_the_default_text(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert shown_quote(response.text) == "initial quote"
    assert 'name="quote"' in response.text
    assert ">Save</button>" in response.text
    assert '<a href="/manage">Manage Session</a>' in response.text


def test_put_of_text_stores_it_and_answers_with_what_was_stored(client: httpx.Client) -> None:
    response = client.put(UPDATE, content="Né un\r\njour".encode(), headers=TEXT)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "Né un\njour"
    assert shown_quote(client.get("/").text) == "Né un\njour"


def test_put_of_a_form_answers_with_a_fragment(client: httpx.Client) -> None:
    response = client.put(UPDATE, data={"quote": "from htmx"}, headers=HTMX)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text == "Saved"
    assert shown_quote(client.get("/").text) == "from htmx"


def test_post_of_a_form_leads_back_to_the_page(client: httpx.Client) -> None:
    response = client.post(UPDATE, data={"quote": "without script"}, headers=BROWSER)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert shown_quote(client.get("/").text) == "without script"


def test_the_manage_page_of_a_visitor_without_a_session(client: httpx.Client) -> None:
    response = client.get("/manage")
    assert response.status_code == 200
    assert '<a href="/">&lt; Back</a>' in response.text
    assert ">Destroy</button>" in response.text
    assert "You have no session." in response.text


def test_the_manage_page_shows_the_session_to_its_owner(server: Server) -> None:
    client = server.visitor("x")
    page = client.get("/manage").text
    assert re.search(r"<code title=[^>]+>[0-9a-f]{12}…</code>", page)
    assert re.search(r"Created</dt>\s*<dd><time datetime=", page)
    assert re.search(r"Expires</dt>\s*<dd><time datetime=", page)
    assert any(f"<dd>{name}</dd>" in page for name in ("Memory", "SQLite", "Redis"))
    assert client.cookies["session"] not in page


def test_destroy_ends_the_session(server: Server) -> None:
    client = server.visitor("x")
    response = client.post("/session/destroy")
    assert (response.status_code, response.text) == (200, "Session destroyed.")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert "session" not in client.cookies
    assert shown_quote(client.get("/").text) == "initial quote"


def test_destroy_answers_htmx_with_a_fragment(server: Server) -> None:
    response = server.visitor("x").post("/session/destroy", headers=HTMX)
    assert (response.status_code, response.text) == (200, "<p>Done.</p>")
    assert response.headers["content-type"] == "text/html; charset=utf-8"


def test_destroy_sends_a_browser_back_to_the_page(server: Server) -> None:
    response = server.visitor("x").post("/session/destroy", headers=BROWSER)
    assert (response.status_code, response.headers["location"]) == (303, "/manage")


@pytest.mark.parametrize("headers", [{}, BROWSER, HTMX])
def test_destroy_without_a_session_succeeds_and_sets_no_cookie(client: httpx.Client, headers: dict[str, str]) -> None:
    response = client.post("/session/destroy", headers=headers)
    assert response.status_code in (200, 303)
    assert "set-cookie" not in response.headers


def test_health_answers(client: httpx.Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.text) == (200, "OK\n")


def test_health_leaves_no_trace_in_the_log(server: Server) -> None:
    client = server.client()
    client.get("/health")
    client.head("/health?from=balancer")
    client.get("/manage?seen")
    assert "/health" not in server.log
    assert "/manage?seen" in server.log


@pytest.mark.parametrize("path", [*PAGES, "/session/quote", "/about", "/health"])
def test_head_answers_like_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", UPDATE, "OPTIONS, POST, PUT"),
        ("GET", "/session/destroy", "OPTIONS, POST"),
        ("DELETE", "/session/destroy", "OPTIONS, POST"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("PUT", "/manage", "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert response.status_code == 405
    assert ", ".join(sorted(response.headers["allow"].split(", "))) == allowed


def test_get_cannot_destroy(server: Server) -> None:
    client = server.visitor("still here")
    client.get("/session/destroy")
    assert shown_quote(client.get("/").text) == "still here"


@pytest.mark.parametrize(
    "path", ["/nope", "/nope/../..%2f", "/schema", "/static/", "/static/0/app.css", "/favicon.ico", "/%00", "/%ff"]
)
def test_there_is_nothing_at_other_addresses(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


ERRORS: list[tuple[int, Callable[[httpx.Client, dict[str, str]], httpx.Response]]] = [
    (400, lambda client, headers: client.post(UPDATE, content=b"nothing=1", headers=FORM | headers)),
    (403, lambda client, headers: client.post(UPDATE, headers=FORM | headers | {"Sec-Fetch-Site": "cross-site"})),
    (404, lambda client, headers: client.get("/nope", headers=headers)),
    (405, lambda client, headers: client.get(UPDATE, headers=headers)),
    (413, lambda client, headers: client.post(UPDATE, content=b"quote=" + b"x" * 70_000, headers=FORM | headers)),
    (413, lambda client, headers: client.post(UPDATE, content=b"quote=" + b"x" * 600_000, headers=FORM | headers)),
    (415, lambda client, headers: client.post(UPDATE, content=b"{}", headers={"Content-Type": "text/json"} | headers)),
]


@pytest.mark.parametrize(("status", "cause"), ERRORS)
def test_errors_are_pages_fragments_or_text_as_the_client_can_show(
    client: httpx.Client, status: int, cause: Callable[[httpx.Client, dict[str, str]], httpx.Response]
) -> None:
    page = cause(client, BROWSER)
    boosted = cause(client, HTMX | {"HX-Request-Type": "full"})
    fragment = cause(client, HTMX)
    text = cause(client, {})
    assert {page.status_code, boosted.status_code, fragment.status_code, text.status_code} == {status}
    for whole in (page, boosted):
        assert whole.headers["content-type"] == "text/html; charset=utf-8"
        assert whole.text.startswith("<!doctype html>")
    assert fragment.headers["content-type"] == "text/html; charset=utf-8"
    assert re.fullmatch(r"<p>[^<]+</p>", fragment.text)
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"[^<{]+\n", text.text)
    for response in (page, boosted, fragment, text):
        assert response.headers["cache-control"] == "no-store"
        assert "accept" in response.headers["vary"].lower()


def test_a_form_that_was_too_long_comes_back_with_its_text(client: httpx.Client) -> None:
    quote = "\n</textarea>é" * 8000
    response = client.post(UPDATE, data={"quote": quote}, headers=BROWSER)
    assert response.status_code == 413
    assert shown_quote(response.text) == quote
    assert "The quote is too long" in response.text


@pytest.mark.parametrize(
    "accept", ["", "garbage", "text/html;q=x", ";;,,=", "*/*", "text/html;q=0.1;q=2,*", "a/b;c=d;e"]
)
def test_no_accept_header_can_break_an_answer(client: httpx.Client, accept: str) -> None:
    assert client.get("/nope", headers={"Accept": accept}).status_code == 404
    assert client.post("/session/destroy", headers={"Accept": accept}).status_code in (200, 303)


def test_static_files_are_cached_for_a_year(client: httpx.Client) -> None:
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get("/").text)
    assert len(names) == 5
    for name in names:
        for method in ("GET", "HEAD"):
            response = client.request(method, name, headers={"Cookie": "session=" + "A" * 43})
            assert response.status_code == 200
            assert response.headers["cache-control"] == "max-age=31536000, public, immutable"
            assert "cookie" not in response.headers.get("vary", "").lower()
            assert "set-cookie" not in response.headers


def test_static_files_are_compressed_for_who_can_read_that(client: httpx.Client) -> None:
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get("/").text):
        content = (PROJECT / "static" / name.split("/", 3)[3]).read_bytes()
        for accepted in ("gzip, deflate, br", "identity", ""):
            response = client.get(name, headers={"Accept-Encoding": accepted})
            assert response.content == content
            compressed = "gzip" in accepted and len(content) > 500
            assert (response.headers.get("content-encoding") == "gzip") == compressed
            assert (response.num_bytes_downloaded < len(content)) == compressed
            if compressed:
                assert response.headers["vary"] == "Accept-Encoding"


def test_pages_are_not_compressed(client: httpx.Client) -> None:
    """Compression would tell, by the length, what of a visitor's text is also elsewhere on the page (BREACH)."""
    for path in PAGES:
        response = client.get(path, headers=BROWSER | {"Accept-Encoding": "gzip, br"})
        assert "content-encoding" not in response.headers


def test_static_files_do_not_leave_their_folder(client: httpx.Client) -> None:
    base = re.findall(r'"(/static/[^/]+)/app.css"', client.get("/").text)[0]
    for path in ("/../app/main.py", "/%2e%2e/app/main.py", "/..%2fapp%2fmain.py", "//etc/passwd", "/vendor"):
        assert client.get(base + path).status_code == 404
