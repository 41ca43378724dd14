"""Accessibility: axe-core on every state of the pages, and checks that axe does not have."""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.sessions.helpers import locked
from tests.skeleton.checks import SCHEMES, findings
from tests.skeleton.pages import STATES
from tests.skeleton.sample import (
    HOME,
    end_session_during_next_save,
    expect_status,
    sample_server,
    save,
    saved,
)
from tests.support import Server

pytestmark = pytest.mark.full

FORCED: tuple[Literal["none", "active"], ...] = ("none", "active")
PAGES = [HOME, "/sample/session", "/sample/two", "/sample/links", "/errors", "/errors/415"]
LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrente" * 3

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = sample_server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Open]:
    """Return a new visitor's empty page. Options are those of a browser context."""
    pages: list[Page] = []

    def open_page(**options: Any) -> Page:
        pages.append(browser.new_page(base_url=server.url, **options))
        pages[-1].set_default_timeout(10_000)
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(open_page: Open, server: Server, state: str) -> None:
    page = open_page()
    for _ in STATES[state](page, server):
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert findings(page) == [], scheme


def test_axe_finds_a_planted_mistake(open_page: Open) -> None:
    page = open_page(bypass_csp=True)
    page.goto(HOME)
    page.add_style_tag(content="label { color: silver }")
    assert [finding.partition(":")[0] for finding in findings(page)] == ["color-contrast"]


def test_screen_readers_announce_statuses_and_errors(open_page: Open, server: Server) -> None:
    """A screen reader announces only changes in a live region that existed before."""
    page = open_page()
    page.goto(HOME)
    regions = {role: page.get_by_role(role).element_handle() for role in ("status", "alert")}
    assert live_regions(page) == {"status": ("polite", ""), "alert": ("assertive", "")}
    save(page, "new")
    expect_status(page, "Saved")
    assert live_regions(page) == {"status": ("polite", "Saved"), "alert": ("assertive", "")}
    with locked(server.database):
        save(page, "newer")
        expect_status(page, "Saving…")
        assert live_regions(page)["status"] == ("polite", "Saving…")
    expect_status(page, "Saved")
    save(page, "x" * 70_000)
    expect(page.get_by_role("alert")).to_contain_text("too long")
    status, alert = live_regions(page)["status"], live_regions(page)["alert"]
    assert status == ("polite", "")
    assert alert[0] == "assertive"
    assert alert[1].startswith("“Text” is too long: 70,000 bytes")
    assert all(region.evaluate("element => element.isConnected") for region in regions.values())


def live_regions(page: Page) -> dict[str, tuple[str, str]]:
    """Return the live regions of the accessibility tree: how urgent each is, and what it holds."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    by_id = {node["nodeId"]: node for node in nodes}

    def text(node: dict[str, Any]) -> str:
        if node["role"]["value"] == "StaticText":
            return str(node["name"]["value"])
        return "".join(text(by_id[child]) for child in node["childIds"] if child in by_id)

    found = {}
    for node in nodes:
        if (role := node.get("role", {}).get("value")) in ("status", "alert"):
            (live,) = [p["value"]["value"] for p in node["properties"] if p["name"] == "live"]
            found[role] = (live, text(node).strip())
    return found


def test_a_form_returned_without_javascript_shows_the_error_first(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(HOME)
    save(page, "x" * 70_000)
    text = page.get_by_label("Text")
    expect(page).to_have_title(re.compile("^Request Entity Too Large"))
    expect(text).to_be_focused()
    expect(text).to_have_accessible_description(re.compile("^“Text” is too long"))
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)


def test_the_focus_follows_a_boosted_link(open_page: Open) -> None:
    page = open_page()
    page.goto(HOME)
    for name, title in [("Session page", "Session"), ("Back", "Sample"), ("Session page", "Session")]:
        page.get_by_role("link", name=name).press("Enter")
        expect(page.get_by_role("main", name=title, exact=True)).to_be_focused()
    page.goto("/errors")
    page.get_by_role("link", name="404").press("Enter")
    expect(page.get_by_role("main", name="Not Found", exact=True)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the first page")).to_be_focused()


def test_an_error_leaves_the_focus_where_it_was(open_page: Open, server: Server) -> None:
    page = open_page()
    page.goto(HOME)
    saved(page, "first")
    end_session_during_next_save(page, server)
    save(page, "second")
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    expect(page.get_by_role("button", name="Save")).to_be_focused()
    page = open_page()
    page.goto("/errors")
    button = page.get_by_role("button", name="503")
    button.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Try again in a few seconds.")
    expect(button).to_be_focused()


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_cut_off_at_400_percent_zoom(open_page: Open, path: str) -> None:
    """A window of 1280 by 1024 pixels, enlarged four times (WCAG 1.4.10); then with more space in the text (1.4.12)."""
    page = open_page(viewport={"width": 320, "height": 256}, bypass_csp=True)
    page.goto(HOME)
    save(page, LONG_WORD)
    expect_status(page, "Saved")
    page.goto(path)
    for style in ("p {}", SPACED):
        page.add_style_tag(content=style)
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        assert page.evaluate(TEXT_OUT_OF_SIGHT) == []


SPACED = """
* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }
p { margin-bottom: 2em !important }
"""

# Returns the texts that reach beyond the window or beyond an element that cuts them off. A textarea may scroll.
TEXT_OUT_OF_SIGHT = """() => {
    const lost = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode, range = document.createRange();
        if (!text.data.trim() || text.parentElement.closest("textarea")) continue;
        range.selectNodeContents(text);
        for (const box of range.getClientRects()) {
            if (box.left < 0 || box.right > innerWidth) lost.push(text.data);
        }
        for (let element = text.parentElement; element; element = element.parentElement) {
            const cut = getComputedStyle(element).overflow !== "visible";
            if (cut && (element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight)
                && element !== document.documentElement) lost.push(text.data);
        }
    }
    return lost;
}"""


@pytest.mark.parametrize("path", PAGES)
def test_every_target_is_as_large_as_a_finger(open_page: Open, path: str) -> None:
    page = open_page(viewport={"width": 360, "height": 740})
    page.goto(path)
    for target in page.locator("a, button, textarea, input").filter(visible=True).all():
        box = target.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 44, target.inner_text()


@pytest.mark.parametrize("path", [HOME, "/sample/two", "/errors/415"])
def test_controls_and_focus_are_visible(open_page: Open, path: str) -> None:
    """In every colour scheme, and with forced colours, which also replace the backgrounds of buttons."""
    page = open_page()
    for scheme, forced in itertools.product(SCHEMES, FORCED):
        page.emulate_media(color_scheme=scheme, forced_colors=forced)
        page.goto(path)
        for control in page.locator("button, textarea, input").filter(visible=True).all():
            border = control.evaluate("e => getComputedStyle(e).borderWidth + getComputedStyle(e).borderStyle")
            assert border == "1pxsolid"
        for target in page.locator("a, button, textarea, input").filter(visible=True).all():
            before = surroundings(target)
            page.keyboard.press("Tab")
            expect(target).to_be_focused()
            assert surroundings(target) != before, (scheme, forced)


def surroundings(target: Locator) -> bytes:
    """Return a picture of the element with 8 pixels around it."""
    box = target.bounding_box()
    assert box
    return target.page.screenshot(
        clip={"x": box["x"] - 8, "y": box["y"] - 8, "width": box["width"] + 16, "height": box["height"] + 16}
    )


@pytest.mark.parametrize(("motion", "animations"), [("reduce", 0), ("no-preference", 1)])
def test_nothing_moves_if_the_visitor_prefers_reduced_motion(
    open_page: Open, server: Server, motion: Literal["reduce", "no-preference"], animations: int
) -> None:
    page = open_page(reduced_motion=motion)
    page.goto(HOME)
    with locked(server.database):
        save(page, "moving")
        expect_status(page, "Saving…")
        assert page.evaluate("document.getAnimations().length") == animations
