"""The pages in a real browser: Chromium against a real server."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from app.sessions.records import digest
from tests.sessions.test_faults import locked
from tests.support import UPDATE, HeldRequest, Server, wait_until


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    return start_server(environment={"DESTROY_DELAY": "1"})


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says. A test that provokes an error empties it; else it has to be empty at the end."""
    return []


@pytest.fixture
def visit(browser: Browser, server: Server, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Open the quote page as a new visitor."""
    contexts: list[BrowserContext] = []

    def visit(**options: object) -> Page:
        context = browser.new_context(base_url=server.url, **options)  # type: ignore[arg-type]
        context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto("/")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def save(page: Page, text: str) -> None:
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Save").click()


def end_session_during_next_save(page: Page, server: Server) -> None:
    """Destroy the page's session after the next save has loaded it and before the save's body is complete."""

    def hold(route: Route) -> None:
        request = route.request
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        body = request.post_data_buffer
        assert body
        token = token_in(page)
        held = HeldRequest(server, request.method, UPDATE, body, headers, token)
        with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
            assert db.execute("DELETE FROM sessions WHERE id = ?", (digest(token),)).rowcount == 1
        answer = held.finish()
        route.fulfill(status=answer.status, headers=dict(answer.headers), body=answer.text)

    page.route(f"**{UPDATE}", hold, times=1)


def status(page: Page) -> str:
    return page.get_by_role("status").inner_text()


def token_in(page: Page) -> str:
    return next(cookie["value"] for cookie in page.context.cookies() if cookie.get("name") == "session")


def test_save_and_reload(visit: Callable[..., Page]) -> None:
    page = visit()
    expect(page.get_by_label("Text")).to_have_value("initial quote")
    expect(page.get_by_role("status")).to_have_text("", use_inner_text=True)
    save(page, "\nTo be,\nor not </textarea> 😀 ")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    page.reload()
    expect(page.get_by_label("Text")).to_have_value("\nTo be,\nor not </textarea> 😀 ")


def test_the_cookie_is_out_of_reach_for_scripts(visit: Callable[..., Page]) -> None:
    page = visit()
    save(page, "x")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")


def test_the_quote_survives_a_restart_of_the_server(visit: Callable[..., Page], server: Server) -> None:
    page = visit()
    save(page, "still here")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    server.stop()
    server.start()
    page.reload()
    expect(page.get_by_label("Text")).to_have_value("still here")


def test_a_second_tab_shares_the_session(visit: Callable[..., Page]) -> None:
    page = visit()
    save(page, "from the first tab")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    second = page.context.new_page()
    second.goto("/")
    expect(second.get_by_label("Text")).to_have_value("from the first tab")
    save(second, "from the second tab")
    expect(second.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    page.reload()
    expect(page.get_by_label("Text")).to_have_value("from the second tab")


def test_while_it_saves_the_button_is_off_and_the_status_says_so(visit: Callable[..., Page], server: Server) -> None:
    page = visit()
    save(page, "first")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    button = page.get_by_role("button", name="Save")
    with locked(server.database):
        page.get_by_label("Text").fill("second")
        button.click()
        expect(button).to_be_disabled()
        expect(page.get_by_role("status")).to_have_text("Saving…", use_inner_text=True)
        assert "Saving…" in page.locator("main").aria_snapshot()
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    expect(button).to_be_enabled()
    expect(button).to_be_focused()
    assert "Saving…" not in page.locator("main").aria_snapshot()


def test_destroy(visit: Callable[..., Page]) -> None:
    page = visit()
    save(page, "x")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    token = token_in(page)
    page.get_by_role("link", name="Manage Session").click()
    expect(page.get_by_text(digest(token)[:12])).to_be_visible()
    button = page.get_by_role("button", name="Destroy")
    button.click()
    expect(button).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text("Destroying session…", use_inner_text=True)
    wait_until(lambda: page.context.cookies() == [])
    expect(page.get_by_role("status")).to_have_text("Destroying session…", use_inner_text=True)  # the slow part goes on
    expect(page.get_by_role("status")).to_have_text("Done.", use_inner_text=True)
    expect(page.get_by_text("You have no session.")).to_be_visible()
    expect(button).to_be_focused()
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_label("Text")).to_have_value("initial quote")


def test_everything_works_by_keyboard(visit: Callable[..., Page]) -> None:
    page = visit()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("typed")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url("/manage")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Back")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("status")).to_have_text("Done.", use_inner_text=True)
    expect(page.get_by_role("button", name="Destroy")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Text")).to_have_value("initial quote")


def test_three_presses_are_one_save(visit: Callable[..., Page], server: Server) -> None:
    page = visit()
    puts: list[str] = []
    page.on("request", lambda request: puts.append(request.url) if request.method == "PUT" else None)
    save(page, "first")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    with locked(server.database):
        page.get_by_label("Text").fill("second")
        page.evaluate("for (let i = 0; i < 3; i++) document.querySelector('form').requestSubmit()")
        time.sleep(0.3)
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    assert len(puts) == 2


def test_a_server_that_is_gone_is_announced_and_the_text_survives(
    visit: Callable[..., Page], server: Server, complaints: list[str]
) -> None:
    page = visit()
    server.stop()
    save(page, "written in vain?")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(page.get_by_label("Text")).to_have_value("written in vain?")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    complaints.clear()
    server.start()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    expect(page.get_by_role("alert")).to_have_text("")
    page.reload()
    expect(page.get_by_label("Text")).to_have_value("written in vain?")


def test_a_link_to_a_server_that_is_gone_leads_to_the_browsers_own_error(
    visit: Callable[..., Page], server: Server, complaints: list[str]
) -> None:
    page = visit()
    server.stop()
    page.get_by_role("link", name="Manage Session").click()
    # Not `wait_for_url`: to it, a navigation that fails is an error of the test, if it sees it happen.
    expect(page).to_have_url("chrome-error://chromewebdata/")
    server.start()
    page.reload()
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    complaints.clear()


def test_a_server_that_hangs_is_announced_and_the_text_survives(
    visit: Callable[..., Page], server: Server, complaints: list[str]
) -> None:
    import os
    import signal

    page = visit()
    assert server.process
    os.killpg(server.process.pid, signal.SIGSTOP)
    try:
        save(page, "patience")
        expect(page.get_by_role("alert")).to_contain_text("did not answer in time", timeout=10_000)
    finally:
        os.killpg(server.process.pid, signal.SIGCONT)
    expect(page.get_by_label("Text")).to_have_value("patience")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    complaints.clear()


def test_a_store_that_fails_is_announced_and_the_text_survives(
    visit: Callable[..., Page], server: Server, complaints: list[str]
) -> None:
    page = visit()
    with locked(server.database):
        save(page, "locked out")
        expect(page.get_by_role("alert")).to_contain_text("Nothing was saved", timeout=6_000)
    expect(page.get_by_label("Text")).to_have_value("locked out")
    assert status(page) == ""
    assert page.title().startswith("Quote")
    assert any("503" in complaint for complaint in complaints)
    complaints.clear()


def test_a_session_that_ended_meanwhile_is_announced_and_the_text_survives(
    visit: Callable[..., Page], server: Server, complaints: list[str]
) -> None:
    page = visit()
    save(page, "first")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    end_session_during_next_save(page, server)
    save(page, "second")
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    expect(page.get_by_label("Text")).to_have_value("second")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    assert any("409" in complaint for complaint in complaints)
    complaints.clear()


def test_a_quote_that_is_too_long_is_announced_and_survives(visit: Callable[..., Page], complaints: list[str]) -> None:
    page = visit()
    save(page, "x" * 70_000)
    expect(page.get_by_role("alert")).to_contain_text("The quote is too long: 70,000 bytes")
    expect(page.get_by_label("Text")).to_have_value("x" * 70_000)
    assert any("413" in complaint for complaint in complaints)
    complaints.clear()


def test_without_javascript_everything_works(visit: Callable[..., Page]) -> None:
    page = visit(java_script_enabled=False)
    save(page, "\nplain\nform")
    expect(page).to_have_url("/")
    expect(page.get_by_label("Text")).to_have_value("\nplain\nform")
    page.get_by_role("link", name="Manage Session").click()
    page.get_by_role("button", name="Destroy").click()
    expect(page).to_have_url("/manage")
    expect(page.get_by_text("You have no session.")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_label("Text")).to_have_value("initial quote")


def test_without_javascript_errors_are_announced_and_the_text_survives(
    visit: Callable[..., Page], server: Server, complaints: list[str]
) -> None:
    page = visit(java_script_enabled=False)
    save(page, "first")
    with locked(server.database):
        save(page, "second\nline")
        expect(page.get_by_role("alert")).to_contain_text("Nothing was saved")
        expect(page.get_by_label("Text")).to_have_value("second\nline")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_have_text("")
    expect(page.get_by_label("Text")).to_have_value("second\nline")
    save(page, "x" * 70_000)
    expect(page.get_by_role("alert")).to_contain_text("too long")
    expect(page.get_by_label("Text")).to_have_value("x" * 70_000)
    end_session_during_next_save(page, server)
    save(page, "third")
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    expect(page.get_by_label("Text")).to_have_value("third")
    complaints.clear()


def test_without_javascript_a_save_to_a_server_that_is_gone_can_be_sent_again(
    visit: Callable[..., Page], server: Server, complaints: list[str]
) -> None:
    page = visit(java_script_enabled=False)
    server.stop()
    page.get_by_label("Text").fill("kept by the browser")
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Save").click(no_wait_after=True)
    expect(page.get_by_label("Text")).to_have_count(0)  # the browser shows an error page of its own
    server.start()
    page.reload()
    expect(page.get_by_label("Text")).to_have_value("kept by the browser")
    complaints.clear()


@pytest.mark.parametrize("path", ["/", "/manage", "/about", "/nope"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_scrolls_sideways_at_320_pixels(
    visit: Callable[..., Page], path: str, scheme: str, complaints: list[str]
) -> None:
    page = visit(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    complaints.clear()  # for /nope, its 404
