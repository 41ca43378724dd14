"""Every state of the demo's pages, for the tests that look at all of them and for `scripts/screenshots.py`."""

from collections.abc import Iterator

from playwright.sync_api import Page, expect

from tests.quote.server import UPDATE
from tests.sessions.helpers import locked
from tests.skeleton.pages import State
from tests.skeleton.sample import end_session_during_next_save, expect_status, save
from tests.support import Server

QUOTE = "We know what we are,\nbut know not what we may be."

FOR_THE_README = ["quote-light-desktop", "quote-dark-desktop", "quote-error-dark-phone"]
ENVIRONMENT = {"DESTROY_DELAY": "1"}
STATES: dict[str, State] = {}


def state(function: State) -> State:
    """Register a function that brings a page into a state and yields, as long as the page is in it.

    The server needs a DESTROY_DELAY of a second or more, which it has by default, and keeps its sessions in SQLite.
    """
    STATES[function.__name__.replace("_", "-")] = function
    return function


def saved(page: Page, text: str = QUOTE) -> None:
    page.goto("/")
    save(page, text)
    expect_status(page, "Saved")
    page.mouse.move(0, 0)


@state
def first_visit(page: Page, _: Server) -> Iterator[None]:
    page.goto("/")
    yield


@state
def quote(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    yield


@state
def quote_empty(page: Page, _: Server) -> Iterator[None]:
    saved(page, "")
    page.reload()
    yield


@state
def quote_focus(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    page.keyboard.press("Shift+Tab")
    yield


@state
def quote_long(page: Page, _: Server) -> Iterator[None]:
    saved(page, f"{QUOTE}\n\n" * 20)
    page.reload()
    yield


@state
def quote_unsaved(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    page.get_by_label("Text").fill(f"{QUOTE}\n\nOphelia")
    expect_status(page, "Not saved")
    yield


@state
def quote_refused(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    save(page, "To be, or not to be? " * 4000)
    expect(page.get_by_role("alert")).to_contain_text("too long")
    yield


@state
def quote_without_cookies(page: Page, _: Server) -> Iterator[None]:
    page.add_init_script("Object.defineProperty(document, 'cookie', { get: () => '', set: () => {} })")
    page.goto("/")
    save(page, QUOTE)
    expect(page.get_by_role("alert")).to_contain_text("refuses cookies")
    yield


@state
def quote_saving(page: Page, server: Server) -> Iterator[None]:
    page.goto("/")
    with locked(server.database):
        save(page, QUOTE)
        expect(page.get_by_role("status")).to_have_text("Saving…", use_inner_text=True)
        yield


@state
def quote_error(page: Page, server: Server) -> Iterator[None]:
    saved(page)
    end_session_during_next_save(page, server, UPDATE)
    save(page, f"{QUOTE}\n\nOphelia")
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    yield


@state
def quote_unreachable(page: Page, _: Server) -> Iterator[None]:
    page.goto("/")
    page.context.set_offline(True)
    save(page, QUOTE)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    yield


@state
def quote_error_without_script(page: Page, _: Server) -> Iterator[None]:
    page.route("**/*.js", lambda route: route.abort())
    page.goto("/")
    save(page, "To be, or not to be? " * 4000)
    expect(page.get_by_role("alert")).to_contain_text("too long")
    yield


@state
def quote_updated(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    change_elsewhere(page)
    expect(page.get_by_role("status")).to_contain_text("Updated")
    yield


@state
def quote_changed(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    page.get_by_label("Text").fill(f"{QUOTE}\n\nOphelia")
    change_elsewhere(page)
    expect(page.get_by_role("button", name="Keep mine")).to_be_visible()
    yield


def change_elsewhere(page: Page, text: str = "The rest is silence.") -> None:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    page.context.request.put("/session/quote/update", data=text, headers=headers)
    show_again(page)


def show_again(page: Page) -> None:
    page.evaluate("() => ['blur', 'focus'].forEach((type) => window.dispatchEvent(new Event(type)))")


@state
def manage(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    page.goto("/manage")
    yield


@state
def manage_destroying(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    page.goto("/manage")
    page.get_by_role("button", name="Destroy").click()
    expect(page.get_by_role("status")).to_have_text("Destroying session…", use_inner_text=True)
    expect(page.get_by_text("It has ended.")).to_be_visible()  # the session ends at once; only the answer is slow
    yield


@state
def manage_done(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    page.goto("/manage")
    page.get_by_role("button", name="Destroy").click()
    expect(page.get_by_role("status")).to_have_text("Done.", use_inner_text=True)
    yield


@state
def manage_without_session(page: Page, _: Server) -> Iterator[None]:
    page.goto("/manage")
    yield


@state
def manage_ended(page: Page, _: Server) -> Iterator[None]:
    """The session was ended elsewhere. The tab learns this when it is shown again."""
    saved(page)
    page.goto("/manage")
    page.context.request.post("/session/destroy")
    show_again(page)
    expect(page.get_by_text("It has ended.")).to_be_visible()
    yield


@state
def about(page: Page, _: Server) -> Iterator[None]:
    page.goto("/about")
    yield
