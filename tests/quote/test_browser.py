"""The demo's pages in browsers. The tests of the skeleton check what all pages have in common."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page

from app.sessions.records import digest
from app.settings import PROJECT
from tests.browsers import IN_CHROMIUM, engine_of, expect
from tests.quote.pages import STATES, change_elsewhere, saved, show_again
from tests.quote.server import UPDATE, QuoteServer
from tests.skeleton.checks import SCHEMES, assert_light, findings
from tests.skeleton.sample import end_session_during_next_save, expect_status, expect_text, save, token_in
from tests.skeleton.sample import saved as save_here
from tests.skeleton.test_accessibility import surroundings
from tests.skeleton.test_navigation import wait_in
from tests.support import Server, wait_until

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = QuoteServer(tmp_path_factory.mktemp("server"), environment={"DESTROY_DELAY": "1"}).start()
    yield server
    server.close()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def complaints() -> list[str]:
    """The browser's console. It must be empty at the end, so a test that provokes an error empties it."""
    return []


@pytest.fixture
def visit(new_context: Callable[..., BrowserContext], server: Server, complaints: list[str]) -> Iterator[Visit]:
    """Open the quote page as a new visitor, in each engine."""

    def visit(**options: object) -> Page:
        return open_page(new_context(base_url=server.url, **options), complaints)

    yield visit
    assert complaints == []


@pytest.fixture
def visit_chromium(browser: Browser, server: Server, complaints: list[str]) -> Iterator[Visit]:
    """Open the quote page in Chromium, for features that Playwright has for no other browser."""
    with ExitStack() as stack:

        def visit(**options: Any) -> Page:
            context = browser.new_context(base_url=server.url, **options)
            stack.callback(context.close)
            return open_page(context, complaints)

        yield visit
    assert complaints == []


def open_page(context: BrowserContext, complaints: list[str]) -> Page:
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.goto("/")
    return page


@IN_CHROMIUM
def test_a_saved_text_survives_a_reload(visit: Visit) -> None:
    page = visit()
    expect_text(page, "initial quote")
    save(page, "\nTo be,\nor not </textarea> 😀 ")
    expect_status(page, "Saved")
    page.reload()
    expect_text(page, "\nTo be,\nor not </textarea> 😀 ")


def test_destroy_ends_the_session_and_shows_its_progress(visit: Visit) -> None:
    page = visit()
    save(page, "x")
    expect_status(page, "Saved")
    token = token_in(page)
    page.get_by_role("link", name="Manage session").click()
    expect(page.get_by_text(digest(token)[:12])).to_be_visible()
    button = page.get_by_role("button", name="Destroy")
    button.click()
    expect(button).to_be_disabled()
    expect_status(page, "Destroying session…")
    wait_until(lambda: page.context.cookies() == [])
    if engine_of(page) == "chromium":  # the slow part is still running; in other engines this check may take as long
        expect_status(page, "Destroying session…")
    expect_status(page, "Done.")
    expect(page.get_by_text("It has ended.")).to_be_visible()
    expect(button).to_have_count(0)
    expect(page.get_by_role("main", name="Session", exact=True)).to_be_focused()
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial quote")


def card(page: Page) -> Locator:
    return page.get_by_role("region", name="Your session")


def test_a_save_shows_the_session_without_a_reload_and_in_one_request(visit_chromium: Visit) -> None:
    page = visit_chromium()
    expect(card(page)).to_contain_text("No session yet. Nothing is stored, and no cookie is set, until you save.")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    save_here(page, "x")
    expect(card(page)).to_contain_text(digest(token_in(page)))
    expect(card(page).get_by_text("in 7 days")).to_have_attribute("title", re.compile("UTC$"))
    save_here(page, "y")
    page.wait_for_timeout(300)
    assert asked == ["PUT", "PUT"]


def test_a_refused_save_shows_that_the_session_has_ended(
    visit_chromium: Visit, server: Server, complaints: list[str]
) -> None:
    page = visit_chromium()
    save_here(page, "x")
    end_session_during_next_save(page, server, UPDATE)
    save(page, "y")
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    expect(card(page)).to_contain_text("It has ended.")
    save_here(page, "y")
    expect(card(page)).to_contain_text(digest(token_in(page)))
    complaints.clear()


def test_a_tab_that_is_shown_again_shows_what_another_tab_saved(visit_chromium: Visit) -> None:
    page = visit_chromium()
    other = page.context.new_page()
    other.goto("/")
    saved(other, "from the second tab")
    show_again(page)
    expect_text(page, "from the second tab")
    expect(card(page)).to_contain_text(digest(token_in(page)))


def test_the_card_stays_as_it_is_if_the_server_does_not_answer(visit_chromium: Visit, complaints: list[str]) -> None:
    page = visit_chromium()
    save_here(page, "x")
    before = page.locator("main").aria_snapshot()
    page.context.set_offline(True)
    show_again(page)
    wait_in(page, lambda: len(complaints) >= 2)
    page.wait_for_timeout(300)
    assert page.locator("main").aria_snapshot() == before
    complaints.clear()


@pytest.mark.full
def test_a_tab_that_is_shown_again_shows_that_the_shell_ended_its_session(
    visit_chromium: Visit, server: Server
) -> None:
    page = visit_chromium()
    save_here(page, "x")
    command = [sys.executable, "-m", "litestar", "--app", "app.main:app", "sessions", "destroy"]
    command.append(card(page).locator("code").first.inner_text())
    subprocess.run(command, cwd=PROJECT, env={**os.environ, "SESSION_STORE": server.store}, check=True)
    show_again(page)
    expect(card(page)).to_contain_text("It has ended.")
    expect_text(page, "initial quote")


@pytest.mark.full
def test_an_idle_page_sends_no_requests(visit_chromium: Visit) -> None:
    page = visit_chromium()
    page.clock.install()
    page.reload()
    save_here(page, "x")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward("01:00:00")
    page.wait_for_timeout(300)
    assert asked == []
    show_again(page)
    wait_in(page, lambda: len(asked) == 2)  # what is saved, and the card


def test_the_page_says_that_a_text_is_not_saved(visit: Visit) -> None:
    page = visit()
    text = page.get_by_label("Text")
    text.fill("y")
    expect_status(page, "Not saved")
    text.fill("initial quote")
    expect_status(page, "")
    save_here(page, "y")
    text.press("End")
    text.press("z")
    expect_status(page, "Not saved")


def test_the_choice_between_two_texts_is_visible_and_has_one_main_action(visit_chromium: Visit) -> None:
    page = visit_chromium(viewport={"width": 360, "height": 740})
    save_here(page, "short")
    page.get_by_label("Text").fill("mine\n" * 40)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    change_elsewhere(page, "another\n" * 40)
    for name in ("Keep mine", "Show the server’s"):
        expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    painted = "element => getComputedStyle(element).backgroundColor !== 'rgba(0, 0, 0, 0)'"
    buttons = page.get_by_role("button").all()
    assert [button.inner_text() for button in buttons if button.evaluate(painted)] == ["Keep mine"]
    page.get_by_role("button", name="Keep mine").click()
    expect_status(page, "Not saved")
    assert page.get_by_role("button", name="Save").evaluate(painted)


@pytest.mark.parametrize(("motion", "moves"), [("reduce", 0), ("no-preference", 1)])
@pytest.mark.full
def test_new_content_is_animated_only_if_the_visitor_allows_motion(
    visit_chromium: Visit, motion: str, moves: int
) -> None:
    page = visit_chromium(reduced_motion=motion)
    page.evaluate("""() => {
        window.moves = { arrive: 0, translate: 0 };
        const note = ({ animationName, propertyName }) => { window.moves[animationName ?? propertyName] = 1; };
        for (const type of ["animationstart", "transitionrun"]) addEventListener(type, note);
    }""")
    save_here(page, "x")
    page.get_by_label("Text").fill("mine")
    change_elsewhere(page)
    expect(page.get_by_role("button", name="Keep mine")).to_be_visible()
    page.wait_for_timeout(300)
    assert page.evaluate("[moves.arrive, moves.translate]") == [moves, moves]


@pytest.mark.full
def test_everything_can_be_reached_by_keyboard(visit_chromium: Visit) -> None:
    page = visit_chromium()
    saved(page, "x")
    page.reload()
    home = page.title().partition(" · ")[2]  # the name of the app
    names = [home, "Quote", "Session", "About", "Text", "Save", "Manage session"]
    assert [tab(page) for _ in names] == names
    page.keyboard.press("Enter")
    expect(page.get_by_role("main", name="Session", exact=True)).to_be_focused()
    assert tab(page) == "Destroy"
    show_again(page)
    page.wait_for_timeout(300)
    assert page.evaluate(FOCUSED) == "Destroy", "the button was replaced, but keeps the focus"
    assert tab(page) == "Back"


FOCUSED = "(document.activeElement.labels?.[0] ?? document.activeElement).textContent"


def tab(page: Page) -> str:
    """Press Tab. Return the name of what has the focus then."""
    page.keyboard.press("Tab")
    return str(page.evaluate(FOCUSED))


def test_the_card_follows_the_session(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_text("No session yet.")).to_be_visible()
    save(page, "x")
    expect_status(page, "Saved")
    expect(page.get_by_text(digest(token_in(page)))).to_be_visible()
    page.get_by_label("Text").fill("mine")
    expect_status(page, "Not saved")
    change_elsewhere(page)
    page.get_by_role("button", name="Show the server’s").click()
    expect_text(page, "The rest is silence.")
    page.context.request.post("/session/destroy")
    show_again(page)
    expect(page.get_by_text("It has ended.")).to_be_visible()
    expect_text(page, "initial quote")


def test_without_javascript_everything_works(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    save(page, "\nplain\nform")
    expect(page).to_have_url("/")
    expect_text(page, "\nplain\nform")
    page.get_by_role("link", name="Manage session").click()
    page.get_by_role("button", name="Destroy").click()
    expect(page).to_have_url("/manage")
    expect(page.get_by_text("No session yet.")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial quote")


@IN_CHROMIUM
def test_a_boosted_link_to_the_quote_page_loads_its_stylesheet(visit: Visit) -> None:
    page = visit()
    page.goto("/manage")
    page.get_by_role("link", name="Back").click()
    expect_text(page, "initial quote")
    mark = page.evaluate("getComputedStyle(document.querySelector('h1'), '::before').content")
    assert mark.startswith('"“"')


@pytest.mark.parametrize("path", ["/", "/manage", "/about"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.full
def test_nothing_scrolls_sideways_at_320_pixels(visit_chromium: Visit, path: str, scheme: str) -> None:
    page = visit_chromium(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    for _ in ("without a session", "with one"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        saved(page)


@pytest.mark.parametrize("path", ["/", "/manage"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.full
def test_controls_and_focus_are_visible_with_forced_colors(visit_chromium: Visit, path: str, scheme: str) -> None:
    page = visit_chromium(color_scheme=scheme, forced_colors="active")
    saved(page)
    page.goto(path)
    for button in page.get_by_role("button").all():
        assert button.evaluate("e => getComputedStyle(e).borderWidth + getComputedStyle(e).borderStyle") == "1pxsolid"
    for target in page.locator("a, button, textarea").all():
        before = surroundings(target)
        page.keyboard.press("Tab")
        expect(target).to_be_focused()
        assert surroundings(target) != before


@pytest.mark.parametrize("path", ["/", "/manage"])
def test_every_target_is_as_large_as_a_finger(visit_chromium: Visit, path: str) -> None:
    page = visit_chromium(viewport={"width": 360, "height": 740})
    saved(page)
    page.goto(path)
    for target in page.locator("a, button, textarea").all():
        box = target.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 44, target.inner_text()


@pytest.mark.full
def test_a_first_load_is_light(browser: Browser, server: Server) -> None:
    for path in ("/", "/manage", "/about"):
        context = browser.new_context(base_url=server.url)
        assert_light(context, path, requests=8)
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
