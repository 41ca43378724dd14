"""Make pictures of the pages, in light and dark, on a desktop and on a phone that is 360 pixels wide.

.venv/bin/python -m scripts.screenshots                 the few that the README shows, into docs/screenshots
.venv/bin/python -m scripts.screenshots FOLDER [WORD]   every state, or those whose name has this word in it

Needs Chromium. The letters are those of the machine: on Debian, fonts-urw-base35 and fonts-inter come near to what most
visitors see.
"""

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.settings import PROJECT
from tests.support import Server, require
from tests.test_browser import CHROMIUM_OPTIONS, save
from tests.test_faults import locked

QUOTE = "We know what we are,\nbut know not what we may be."
FOR_THE_README = ["quote-light-desktop", "quote-dark-desktop", "manage-light-phone", "quote-error-dark-phone"]
LOOKS = ("light", "dark", "forced")  # the last is what Windows' contrast themes do
SIZES = {"desktop": (1280, 800, 1), "phone": (360, 740, 2)}  # width and height in CSS pixels, pixels for each

State = Callable[[Page, Server], Iterator[None]]
states: dict[str, State] = {}


def state(function: State) -> State:
    """Register what brings a page into a state, and yields when the picture is to be taken."""
    states[function.__name__.replace("_", "-")] = function
    return function


def saved(page: Page) -> None:
    page.goto("/")
    save(page, QUOTE)
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
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
    page.goto("/")
    save(page, "")
    page.reload()
    yield


@state
def quote_focus(page: Page, _: Server) -> Iterator[None]:
    saved(page)
    page.keyboard.press("Shift+Tab")
    yield


@state
def quote_long(page: Page, _: Server) -> Iterator[None]:
    page.goto("/")
    save(page, f"{QUOTE}\n\n" * 20)
    page.reload()
    yield


@state
def quote_saving(page: Page, server: Server) -> Iterator[None]:
    page.goto("/")
    with locked(server.database):
        save(page, QUOTE)
        page.wait_for_timeout(600)
        yield


@state
def quote_error(page: Page, server: Server) -> Iterator[None]:
    saved(page)
    with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")  # the save has to wait; meanwhile its session is destroyed
        save(page, f"{QUOTE}\n\nOphelia")
        page.wait_for_timeout(300)
        db.execute("DELETE FROM sessions")
        db.execute("COMMIT")
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
def quote_error_noscript(page: Page, _: Server) -> Iterator[None]:
    page.goto("/")
    save(page, "To be, or not to be? " * 4000)
    expect(page.get_by_role("alert")).to_contain_text("too long")
    yield


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
    page.wait_for_timeout(600)
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
def errors(page: Page, _: Server) -> Iterator[None]:
    page.goto("/errors")
    page.get_by_role("button", name="409").click()
    expect(page.get_by_role("alert")).to_contain_text("Your session ended")
    yield


def error(status: int) -> State:
    def show(page: Page, _: Server) -> Iterator[None]:
        page.goto(f"/errors/{status}")
        yield

    return show


states |= {f"error-{status}": error(status) for status in (400, 403, 404, 405, 409, 413, 415, 500, 503)}


def take_pictures(browser: Browser, server: Server, folder: Path, wanted: Callable[[str], bool]) -> None:
    pictures = [
        (f"{name}-{look}-{size}", make, look, SIZES[size])
        for name, make in states.items()
        for look in LOOKS
        for size in SIZES
    ]
    for name, make, look, (width, height, scale) in pictures:
        if not wanted(name):
            continue
        context = browser.new_context(
            base_url=server.url,
            viewport={"width": width, "height": height},
            device_scale_factor=scale,
            color_scheme="dark" if look == "dark" else "light",
            forced_colors="active" if look == "forced" else "none",
            java_script_enabled="noscript" not in name,
        )
        page = context.new_page()
        for _ in make(page, server):
            page.screenshot(path=folder / f"{name}.png")
        context.close()


def main() -> None:
    folder, word = PROJECT / "docs/screenshots", ""
    if len(sys.argv) > 1:
        folder, word = Path(sys.argv[1]), "".join(sys.argv[2:])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        server = Server(Path(place), environment={"DESTROY_DELAY": "2", "LITESTAR_DEBUG": "1"}).start()
        browser = playwright.chromium.launch(executable_path=require("chromium"), args=CHROMIUM_OPTIONS)
        try:
            everything = len(sys.argv) > 1
            take_pictures(browser, server, folder, lambda name: word in name if everything else name in FOR_THE_README)
        finally:
            browser.close()
            server.close()


if __name__ == "__main__":
    main()
