"""What an HTTP client sees of the demo."""

import re

import httpx
import pytest

from app.main import create_app
from app.sessions.records import digest
from app.settings import Settings
from tests.quote.server import UPDATE, QuoteServer
from tests.support import BROWSER, HTMX, TEXT, shown_text

ROUTES = ["/", "/manage", "/session/quote", "/about"]


@pytest.fixture(scope="module")
def store_kind() -> str:
    return "sqlite"  # these tests give the same result on every store


def test_the_quote_page_shows_the_default_text(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert shown_text(response.text) == "initial quote"
    assert 'name="quote"' in response.text
    assert ">Save</button>" in response.text
    assert '<a href="/manage">Manage session</a>' in response.text


def test_put_of_text_stores_it_and_returns_it(client: httpx.Client) -> None:
    response = client.put(UPDATE, content="Né un\r\njour".encode(), headers=TEXT)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "Né un\njour"
    assert shown_text(client.get("/").text) == "Né un\njour"


def test_put_of_a_form_returns_a_word_and_the_first_one_also_the_card(client: httpx.Client) -> None:
    response = client.put(UPDATE, data={"quote": "from htmx"}, headers=HTMX)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.text.startswith('Saved<hx-partial hx-target="#session"')
    assert card(response.text) == card(client.get("/").text)
    assert shown_text(client.get("/").text) == "from htmx"
    assert client.put(UPDATE, data={"quote": "again"}, headers=HTMX).text == "Saved"
    assert shown_text(client.get("/").text) == "again"


def test_post_of_a_form_leads_back_to_the_page(client: httpx.Client) -> None:
    response = client.post(UPDATE, data={"quote": "without script"}, headers=BROWSER)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert shown_text(client.get("/").text) == "without script"


@pytest.mark.parametrize("content", ["x" * 65_536, "é" * 32_768])
def test_a_quote_of_65536_bytes_passes_and_one_more_byte_is_refused(client: httpx.Client, content: str) -> None:
    assert client.put(UPDATE, content=content.encode(), headers=TEXT).status_code == 200
    refused = client.put(UPDATE, content=f"{content}x".encode(), headers=TEXT)
    assert refused.status_code == 413
    assert "65,536" in refused.text


def card(page: str) -> str:
    """Return the session card of a page."""
    (found,) = re.findall(r'<section id="session".*?</section>', page, re.DOTALL)
    return str(found)


def test_without_a_session_the_card_says_so_and_no_page_has_a_destroy_button(client: httpx.Client) -> None:
    pages = [client.get(path).text for path in ("/", "/manage")]
    for page in pages:
        assert "No session yet.</strong> Nothing is stored, and no cookie is set, until you save." in card(page)
        assert ">Destroy<" not in page
    assert card(pages[0]) == card(pages[1])
    assert '<a href="/">Back</a>' in pages[1]


def test_the_card_is_the_same_on_both_pages_and_shows_no_secret(server: QuoteServer) -> None:
    client = server.visitor("x")
    quote_page, manage_page = client.get("/").text, client.get("/manage").text
    shown = card(quote_page)
    assert shown == card(manage_page)
    token = client.cookies["session"]
    assert f">{digest(token)}</code>" in shown
    assert re.search(r'Began</dt><dd><time datetime="[-+:T\d]+" title="[^"]+ UTC">just now</time>', shown)
    assert re.search(r'Ends</dt><dd><time datetime="[-+:T\d]+" title="[^"]+ UTC">in 7 days</time>', shown)
    assert "Stored in</dt><dd>SQLite</dd>" in shown
    assert token not in quote_page + manage_page
    assert ">Destroy</button>" in manage_page
    assert ">Destroy<" not in quote_page


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_card_shows_the_cookies_real_name_and_flags(scheme: str) -> None:
    app = create_app(Settings(session_store="memory://", session_name="shop"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"{scheme}://test") as client:  # type: ignore[arg-type]
        response = await client.put(UPDATE, data={"quote": "x"})
    pair, *attributes = response.headers["set-cookie"].split("; ")
    name, _, value = pair.partition("=")
    flags = [each for each in attributes if not each.startswith("Max-Age=")]
    (shown,) = re.findall(r"<code>(\S+)</code>, (.*?)</dd>", card(response.text), re.DOTALL)
    assert shown[0] == name
    assert {flag.lower() for flag in shown[1].split(", ")} == {flag.lower() for flag in flags}
    assert value not in response.text


def test_the_card_says_that_the_session_it_showed_has_ended(server: QuoteServer) -> None:
    client = server.visitor("x")
    (address,) = re.findall(r'hx-get="([^"]+)"', card(client.get("/").text))
    assert "No session yet." not in card(client.get(address).text)
    client.post("/session/destroy")
    assert "It has ended." in card(client.get(address).text)
    assert "No session yet." in card(client.get("/manage").text)


@pytest.mark.parametrize(("path", "name"), [("/", "Quote"), ("/manage", "Session"), ("/about", "About")])
def test_the_navigation_marks_the_page_that_is_shown(client: httpx.Client, path: str, name: str) -> None:
    page = client.get(path).text
    assert re.findall(r'<a [^>]*aria-current="page">([^<]+)</a>', page) == [name]
    names = re.findall(r"<title>[^<]* · ([^<]+)</title>", page)
    assert re.findall(r'<header>\s*<a href="/">(?:<img[^>]*>)?([^<]+)</a>', page) == names


def test_destroy_ends_the_session(server: QuoteServer) -> None:
    client = server.visitor("x")
    response = client.post("/session/destroy")
    assert (response.status_code, response.text) == (200, "Session destroyed.")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert "session" not in client.cookies
    assert shown_text(client.get("/").text) == "initial quote"


def test_destroy_answers_htmx_with_a_fragment(server: QuoteServer) -> None:
    response = server.visitor("x").post("/session/destroy", headers=HTMX)
    assert (response.status_code, response.text) == (200, "<p>Done.</p>")
    assert response.headers["content-type"] == "text/html; charset=utf-8"


def test_destroy_sends_a_browser_back_to_the_page(server: QuoteServer) -> None:
    response = server.visitor("x").post("/session/destroy", headers=BROWSER)
    assert (response.status_code, response.headers["location"]) == (303, "/manage")


@pytest.mark.parametrize("headers", [{}, BROWSER, HTMX])
def test_destroy_without_a_session_succeeds_and_sets_no_cookie(client: httpx.Client, headers: dict[str, str]) -> None:
    response = client.post("/session/destroy", headers=headers)
    assert response.status_code in (200, 303)
    assert "set-cookie" not in response.headers


def test_get_cannot_destroy(server: QuoteServer) -> None:
    client = server.visitor("still here")
    assert client.get("/session/destroy").status_code == 405
    assert shown_text(client.get("/").text) == "still here"


@pytest.mark.parametrize("path", ROUTES)
def test_head_answers_like_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", UPDATE, "OPTIONS, POST, PUT"),
        ("DELETE", "/session/destroy", "OPTIONS, POST"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("PUT", "/manage", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_405_names_the_allowed_methods(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert response.status_code == 405
    assert ", ".join(sorted(response.headers["allow"].split(", "))) == allowed


@pytest.mark.parametrize("path", ROUTES)
def test_only_the_about_page_may_be_cached_and_prefetched(server: QuoteServer, path: str) -> None:
    for client in (server.client(), server.visitor("mine")):
        page = client.get(path)
        ahead = client.get(path, headers=BROWSER | {"Sec-Purpose": "prefetch"})
        if path == "/about":
            assert page.headers["cache-control"] == "public, max-age=60"
            assert ahead.status_code == 200
        else:
            assert page.headers["cache-control"] == "no-store"
            assert "cookie" in page.headers["vary"].lower()
            assert ahead.status_code == 503


def test_the_saved_quote_is_not_sent_to_a_tab_that_has_it(server: QuoteServer) -> None:
    visitor = server.visitor("one")
    first = visitor.get("/session/quote")
    assert (first.status_code, first.text) == (200, "one")
    assert first.headers["content-type"] == "text/plain; charset=utf-8"
    known = {"If-None-Match": first.headers["etag"]}
    again = visitor.get("/session/quote", headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    visitor.put(UPDATE, content="two", headers=TEXT)
    assert visitor.get("/session/quote", headers=known).text == "two"
    visitor.post("/session/destroy")
    assert visitor.get("/session/quote", headers=known).text == "initial quote"
