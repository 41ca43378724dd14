"""The pages in real browsers, against a real server."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from app.sessions.records import digest
from tests.browsers import IN_CHROMIUM, engine_of, expect
from tests.sessions.helpers import locked
from tests.skeleton.sample import (
    HOME,
    UPDATE,
    expect_status,
    expect_text,
    save,
    saved,
    token_in,
)
from tests.support import Server, wait_until

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def server(altered_server: Server) -> Server:
    return altered_server


@pytest.fixture
def visit(open_page: Visit) -> Visit:
    """Open the page with a text as a new visitor."""
    return open_page


def status(page: Page) -> str:
    return page.get_by_role("status").inner_text()


def test_a_saved_text_survives_a_reload(visit: Visit) -> None:
    page = visit()
    expect_text(page, "initial text")
    expect_status(page, "")
    saved(page, "\nTo be,\nor not </textarea> 😀 ")
    page.reload()
    expect_text(page, "\nTo be,\nor not </textarea> 😀 ")


def test_scripts_cannot_read_the_cookie(visit: Visit) -> None:
    page = visit()
    saved(page, "x")
    assert page.evaluate("document.cookie") == ""
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")


@pytest.mark.full
@IN_CHROMIUM
def test_a_text_survives_a_restart_of_the_server(visit: Visit, server: Server) -> None:
    page = visit()
    saved(page, "still here")
    server.stop()
    server.start()
    page.reload()
    expect_text(page, "still here")


@IN_CHROMIUM
def test_a_second_tab_shares_the_session(visit: Visit) -> None:
    page = visit()
    saved(page, "from the first tab")
    second = page.context.new_page()
    second.goto(HOME)
    expect(second.get_by_label("Text")).to_have_value("from the first tab")
    save(second, "from the second tab")
    expect(second.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    page.reload()
    expect_text(page, "from the second tab")


@pytest.mark.full
def test_during_a_save_the_button_is_disabled_and_the_status_says_saving(visit: Visit, server: Server) -> None:
    page = visit()
    saved(page, "first")
    button = page.get_by_role("button", name="Save")
    with locked(server.database):
        page.get_by_label("Text").fill("second")
        button.click()
        expect(button).to_be_disabled()
        expect_status(page, "Saving…")
        assert "Saving…" in page.locator("main").inner_text()
    expect_status(page, "Saved")
    expect(button).to_be_enabled()
    expect(button).to_be_focused()
    assert "Saving…" not in page.locator("main").inner_text()


@pytest.mark.full
def test_the_focus_moves_to_main_if_its_element_is_replaced(visit: Visit) -> None:
    page = visit()
    saved(page, "x")
    page.get_by_role("link", name="Session page").click()
    expect(page.get_by_text(digest(token_in(page))[:12])).to_be_visible()
    button = page.get_by_role("button", name="End")
    button.press("Enter")
    expect(button).to_be_disabled()
    expect_status(page, "Ending…")
    wait_until(lambda: page.context.cookies() == [])
    if engine_of(page) == "chromium":  # the slow part is still running; in other engines this check may take as long
        expect_status(page, "Ending…")
    expect_status(page, "Done.")
    expect(page.get_by_text("You have no session.")).to_be_visible()
    expect(button).to_have_count(0)
    expect(page.get_by_role("main", name="Session")).to_be_focused()
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial text")


def test_everything_works_by_keyboard(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    expect(page.locator("header a")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("typed")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect_status(page, "Saved")
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url("/sample/session")
    expect(page.get_by_role("main", name="Session")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Back")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect_status(page, "Done.")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Back")).to_be_focused()
    page.keyboard.press("Enter")
    expect_text(page, "initial text")


@IN_CHROMIUM
def test_pressing_save_three_times_saves_once(visit: Visit, server: Server, asked: Callable[[], list[str]]) -> None:
    page = visit()
    saved(page, "first")
    with locked(server.database):
        page.get_by_label("Text").fill("second")
        page.evaluate("() => [1, 2, 3].forEach(() => document.querySelector('form').requestSubmit())")
        time.sleep(0.3)
    expect_status(page, "Saved")
    assert asked().count(f"PUT {UPDATE}") == 2


def test_a_server_that_is_gone_is_announced_and_the_text_survives(
    visit: Visit, server: Server, complaints: list[str]
) -> None:
    page = visit()
    server.stop()
    save(page, "written in vain?")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    expect_text(page, "written in vain?")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    complaints.clear()
    server.start()
    page.get_by_role("button", name="Save").click()
    expect_status(page, "Saved")
    expect(page.get_by_role("alert")).to_have_text("")
    page.reload()
    expect_text(page, "written in vain?")


@pytest.mark.full
def test_a_link_to_a_server_that_is_gone_leads_to_the_browsers_own_error(
    visit: Visit, server: Server, complaints: list[str]
) -> None:
    page = visit()
    server.stop()
    page.get_by_role("link", name="Session page").click()
    # Not `wait_for_url`, which fails the test if the navigation fails.
    expect(page.get_by_label("Text")).to_have_count(0)
    if engine_of(page) == "chromium":
        expect(page).to_have_url("chrome-error://chromewebdata/")
    server.start()
    page.reload()
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    complaints.clear()


@pytest.mark.full
@IN_CHROMIUM
def test_a_server_that_hangs_is_announced_and_the_text_survives(
    visit: Visit, server: Server, complaints: list[str]
) -> None:
    page = visit()
    assert server.process
    os.killpg(server.process.pid, signal.SIGSTOP)
    try:
        save(page, "patience")
        expect(page.get_by_role("alert")).to_contain_text("did not answer in time", timeout=10_000)
    finally:
        os.killpg(server.process.pid, signal.SIGCONT)
    expect_text(page, "patience")
    page.get_by_role("button", name="Save").click()
    expect_status(page, "Saved")
    complaints.clear()


@IN_CHROMIUM
def test_a_store_that_fails_is_announced_and_the_text_survives(
    visit: Visit, server: Server, complaints: list[str]
) -> None:
    page = visit()
    with locked(server.database):
        save(page, "locked out")
        expect(page.get_by_role("alert")).to_contain_text("may or may not have been saved", timeout=6_000)
    expect_text(page, "locked out")
    assert status(page) == ""
    assert page.title().startswith("Sample")
    complaints.clear()


@pytest.mark.full
@IN_CHROMIUM
def test_a_session_that_ended_meanwhile_is_announced_and_the_text_survives(
    visit: Visit, alter: Callable[..., None], complaints: list[str]
) -> None:
    page = visit()
    saved(page, "first")
    alter(end_session=[UPDATE])
    save(page, "second")
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    expect_text(page, "second")
    page.get_by_role("button", name="Save").click()
    expect_status(page, "Saved")
    complaints.clear()


@pytest.mark.full
@IN_CHROMIUM
def test_a_text_that_is_too_long_is_announced_and_survives(visit: Visit, complaints: list[str]) -> None:
    page = visit()
    save(page, "x" * 70_000)
    expect(page.get_by_role("alert")).to_contain_text("“Text” is too long: 70,000 bytes")
    expect_text(page, "x" * 70_000)
    complaints.clear()


def test_without_javascript_everything_works(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    save(page, "\nplain\nform")
    expect(page).to_have_url(HOME)
    expect_text(page, "\nplain\nform")
    page.get_by_role("link", name="Session page").click()
    page.get_by_role("button", name="End").click()
    expect(page).to_have_url("/sample/session")
    expect(page.get_by_text("You have no session.")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial text")


@pytest.mark.full
def test_without_javascript_errors_are_announced_and_the_text_survives(
    visit: Visit, server: Server, alter: Callable[..., None], complaints: list[str]
) -> None:
    page = visit(java_script_enabled=False)
    save(page, "first")
    expect_text(page, "first")
    with locked(server.database):
        save(page, "second\nline")
        expect(page.get_by_role("alert")).to_contain_text("may or may not have been saved")
        expect_text(page, "second\nline")
    page.get_by_role("button", name="Send again").click()
    expect(page).to_have_url(HOME)
    expect_text(page, "second\nline")
    save(page, "x" * 70_000)
    expect(page.get_by_role("alert")).to_contain_text("too long")
    expect_text(page, "x" * 70_000)
    alter(end_session=[UPDATE])
    save(page, "third", button="Send again")
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    expect_text(page, "third")
    complaints.clear()


@pytest.mark.full
@IN_CHROMIUM
def test_without_javascript_a_save_to_a_server_that_is_gone_can_be_sent_again(
    visit: Visit, server: Server, complaints: list[str]
) -> None:
    page = visit(java_script_enabled=False)
    server.stop()
    page.get_by_label("Text").fill("kept by the browser")
    page.get_by_role("button", name="Save").click(no_wait_after=True)
    expect(page.get_by_label("Text")).to_have_count(0)  # the browser shows an error page of its own
    server.start()
    page.reload()
    expect_text(page, "kept by the browser")
    complaints.clear()


@pytest.mark.parametrize("path", [HOME, "/sample/session", "/sample/two", "/errors", "/errors/409", "/nope"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.full
def test_nothing_scrolls_sideways_at_320_pixels(browser: Browser, server: Server, path: str, scheme: Any) -> None:
    page = browser.new_page(base_url=server.url, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.close()
