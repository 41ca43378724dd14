"""The demo's pages in browsers. What every page can do is tested with the skeleton."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from app.sessions.records import digest
from tests.browsers import engine_of, expect
from tests.quote.pages import STATES
from tests.quote.server import QuoteServer
from tests.skeleton.checks import SCHEMES, assert_light, findings
from tests.skeleton.sample import expect_status, expect_text, save, token_in
from tests.support import Server, wait_until

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = QuoteServer(tmp_path_factory.mktemp("server"), environment={"DESTROY_DELAY": "1"}).start()
    yield server
    server.close()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], server: Server) -> Iterator[Visit]:
    """Open the quote page as a new visitor. Nothing may be written to the browser's console."""
    complaints: list[str] = []

    def visit(**options: object) -> Page:
        context = new_context(base_url=server.url, **options)
        context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto("/")
        return page

    yield visit
    assert complaints == []


def test_save_and_reload(visit: Visit) -> None:
    page = visit()
    expect_text(page, "initial quote")
    save(page, "\nTo be,\nor not </textarea> 😀 ")
    expect_status(page, "Saved")
    page.reload()
    expect_text(page, "\nTo be,\nor not </textarea> 😀 ")


def test_destroy(visit: Visit) -> None:
    page = visit()
    save(page, "x")
    expect_status(page, "Saved")
    token = token_in(page)
    page.get_by_role("link", name="Manage Session").click()
    expect(page.get_by_text(digest(token)[:12])).to_be_visible()
    button = page.get_by_role("button", name="Destroy")
    button.click()
    expect(button).to_be_disabled()
    expect_status(page, "Destroying session…")
    wait_until(lambda: page.context.cookies() == [])
    if engine_of(page) == "chromium":  # the slow part goes on; asking another one may take as long
        expect_status(page, "Destroying session…")
    expect_status(page, "Done.")
    expect(page.get_by_text("You have no session.")).to_be_visible()
    expect(button).to_have_count(0)
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial quote")


def test_without_javascript_everything_works(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    save(page, "\nplain\nform")
    expect(page).to_have_url("/")
    expect_text(page, "\nplain\nform")
    page.get_by_role("link", name="Manage Session").click()
    page.get_by_role("button", name="Destroy").click()
    expect(page).to_have_url("/manage")
    expect(page.get_by_text("You have no session.")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial quote")


def test_a_boosted_link_to_the_quote_page_brings_its_stylesheet(visit: Visit) -> None:
    page = visit()
    page.goto("/manage")
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial quote")
    mark = page.evaluate("getComputedStyle(document.querySelector('h1'), '::before').content")
    assert mark.startswith('"“"')


@pytest.mark.parametrize("path", ["/", "/manage", "/about"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.full
def test_nothing_scrolls_sideways_at_320_pixels(browser: Browser, server: Server, path: str, scheme: Any) -> None:
    page = browser.new_page(base_url=server.url, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.close()


@pytest.mark.full
def test_a_first_load_is_light(browser: Browser, server: Server) -> None:
    for path, requests in [("/", 8), ("/manage", 6)]:
        context = browser.new_context(base_url=server.url)
        assert_light(context, path, requests)
        context.close()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.full
def test_axe_finds_nothing(browser: Browser, server: Server, state: str) -> None:
    page = browser.new_page(base_url=server.url)
    page.set_default_timeout(10_000)
    for _ in STATES[state](page, server):
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert findings(page) == [], scheme
    page.close()
