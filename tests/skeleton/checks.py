"""Checks for every page: accessibility and weight."""

from importlib.resources import files
from typing import Any, Literal

from playwright.sync_api import BrowserContext, Page

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def findings(page: Page) -> list[str]:
    """Return what axe-core finds or cannot decide, including its best practices and the rule on the size of targets."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)  # through the debugger, so the page's policy on scripts stays as it is
    results = page.evaluate("axe.run(document, {rules: {'target-size': {enabled: true}}})")
    rules = results["violations"] + results["incomplete"]
    return [f"{rule['id']}: {node['html']}" for rule in rules for node in rule["nodes"]]


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


def assert_light(visitor: BrowserContext, path: str, requests: int) -> None:
    """Assert that a first load takes at most 30 KB in this many requests, and a second load no static file."""
    page = visitor.new_page()
    first = Load(page)
    page.goto(path, wait_until="networkidle")
    fetched = dict(first.fetched)
    fetched.setdefault(
        page.locator("link[rel=icon]").get_attribute("href") or "", 1_000
    )  # some versions of Chromium do not request it
    assert len(first.fetched) >= 5, "the page, its style and its scripts"
    assert len(fetched) <= requests
    assert sum(fetched.values()) <= 30_000

    again = visitor.new_page()
    second = Load(again)
    again.goto(path, wait_until="networkidle")
    assert {fetched for fetched, _ in second.fetched} <= {path}
