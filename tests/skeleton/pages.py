"""The states of the skeleton's own pages, for the tests that look at all of them and for `scripts/screenshots.py`."""

from collections.abc import Callable, Iterator

from playwright.sync_api import Page, expect

from app.errors import MESSAGES
from tests.support import Server

# Brings a page into a state and yields, as long as the page is in it. The server needs LITESTAR_DEBUG=1.
State = Callable[[Page, Server], Iterator[None]]


def errors(page: Page, _: Server) -> Iterator[None]:
    page.goto("/errors")
    page.get_by_role("button", name="409").click()
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    yield


def error_with_form(page: Page, _: Server) -> Iterator[None]:
    """A form of the sample app that failed without JavaScript: text, password and a hidden field."""
    page.route("**/*.js", lambda route: route.abort())
    page.goto("/sample/links")
    page.get_by_label("Bare").fill("To be, or not to be,\nthat is the question.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    yield


def error_page(status: int) -> State:
    def show(page: Page, _: Server) -> Iterator[None]:
        page.goto(f"/errors/{status}")
        expect(page.get_by_text(f"{status} ")).to_be_visible()
        yield

    return show


STATES: dict[str, State] = {"errors": errors, "error-with-form": error_with_form} | {
    f"error-{status}": error_page(status) for status in MESSAGES
}
APP = "tests.skeleton.sample_app:app"
FOR_THE_README: list[str] = []
ENVIRONMENT = {"LITESTAR_DEBUG": "1"}
