"""What a page costs to load: counted by Chromium, by what arrives over the wire."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.skeleton.test_browser import save
from tests.support import Server


class Load:
    """Counts what a page fetches. `fetched` has the path and the bytes of every answer that came from the server."""

    def __init__(self, page: Page) -> None:
        self.paths: dict[str, str] = {}
        self.cached: set[str] = set()
        self.fetched: list[tuple[str, int]] = []
        devtools = page.context.new_cdp_session(page)
        devtools.send("Network.enable")
        devtools.on("Network.requestWillBeSent", lambda event: self.paths.update({event["requestId"]: path_of(event)}))
        devtools.on("Network.requestServedFromCache", lambda event: self.cached.add(event["requestId"]))
        devtools.on("Network.responseReceived", self.response_received)
        devtools.on("Network.loadingFinished", self.loading_finished)

    def response_received(self, event: dict[str, Any]) -> None:
        if event["response"].get("fromDiskCache"):
            self.cached.add(event["requestId"])

    def loading_finished(self, event: dict[str, Any]) -> None:
        if event["requestId"] not in self.cached:
            self.fetched.append((self.paths[event["requestId"]], int(event["encodedDataLength"])))


def path_of(event: dict[str, Any]) -> str:
    return "/" + str(event["request"]["url"]).split("/", 3)[3]


@pytest.fixture
def visitor(browser: Browser, start_server: Callable[..., Server]) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=start_server().url)
    yield context
    context.close()


@pytest.mark.parametrize("path", ["/", "/manage"])
def test_a_first_load_is_light_and_a_second_is_one_request(visitor: BrowserContext, path: str) -> None:
    page = visitor.new_page()
    first = Load(page)
    page.goto(path, wait_until="networkidle")
    fetched = dict(first.fetched)
    fetched.setdefault(page.locator("link[rel=icon]").get_attribute("href") or "", 1_000)  # some Chromiums do not ask
    assert len(first.fetched) >= 5, "the page, its style and its scripts"
    assert len(fetched) <= 6
    assert sum(fetched.values()) <= 30_000

    again = visitor.new_page()
    second = Load(again)
    again.goto(path, wait_until="networkidle")
    assert [fetched for fetched, _ in second.fetched] == [path]


def test_from_page_to_page_and_to_save_is_one_request_each(visitor: BrowserContext) -> None:
    page = visitor.new_page()
    page.goto("/", wait_until="networkidle")
    load = Load(page)
    save(page, "light")
    expect(page.get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    page.get_by_role("link", name="Manage Session").click()
    expect(page.get_by_role("heading")).to_have_text("Your session")
    page.wait_for_load_state("networkidle")
    assert [path for path, _ in load.fetched] == ["/session/quote/update", "/manage"]
    assert sum(size for _, size in load.fetched) <= 6_000, load.fetched
