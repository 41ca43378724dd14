"""The weight of a page: Chromium counts the bytes that arrive over the network."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.skeleton.checks import Load, assert_light
from tests.skeleton.sample import HOME, expect_status, save
from tests.support import Server


@pytest.fixture
def visitor(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=server.url)
    yield context
    context.close()


@pytest.mark.parametrize("path", [HOME, "/sample/session", "/errors/404"])
@pytest.mark.full
def test_a_first_load_is_light_and_a_second_is_one_request(visitor: BrowserContext, path: str) -> None:
    assert_light(visitor, path, requests=6)


def test_a_boosted_link_and_a_save_take_one_request_each(visitor: BrowserContext) -> None:
    page = visitor.new_page()
    page.goto(HOME, wait_until="networkidle")
    load = Load(page)
    save(page, "light")
    expect_status(page, "Saved")
    page.get_by_role("link", name="Session page").click()
    expect(page.get_by_role("heading")).to_have_text("Your session")
    page.wait_for_load_state("networkidle")
    assert [path for path, _ in load.fetched] == ["/sample/text", "/sample/session"]
    assert sum(size for _, size in load.fetched) <= 6_000, load.fetched
