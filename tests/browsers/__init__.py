"""The browsers of the tests: Chromium, Firefox and WebKit, all under the names of Playwright's API."""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Playwright
from playwright.sync_api import expect as expect_in_playwright

from tests.browsers import webkit
from tests.support import CHROMIUM_OPTIONS, require

ENGINES = ("chromium", "firefox", "webkit")
# For tests of behaviour that is the same in each engine. ALL_ENGINES=1 in the environment runs them in all engines.
IN_CHROMIUM = pytest.mark.parametrize(
    "browser_engine", ENGINES if os.environ.get("ALL_ENGINES") else ["chromium"], indirect=True
)


def expect(actual: Any) -> Any:
    """Playwright's `expect`, for a page or a locator of any engine."""
    if isinstance(actual, Page | Locator):
        return expect_in_playwright(actual)
    return webkit.Expectation(actual)


def engine_of(page: Page) -> str:
    if not isinstance(page, Page):
        return "webkit"
    assert page.context.browser
    return page.context.browser.browser_type.name


CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_WITHOUT_WINDOWS = ("chromium-headless-shell", *CHROMIUM)  # it needs a third of the CPU time per page


def launch_chromium(playwright: Playwright, path: str, page_cache: bool = True) -> Browser:
    """Chromium as people use it: with the cache for Back and Forward, which Playwright turns off by default.

    Without that cache, as on a machine with little memory, Back reloads the page and fills its form in.
    """
    return playwright.chromium.launch(
        executable_path=path,
        args=CHROMIUM_OPTIONS,
        ignore_default_args=["--disable-back-forward-cache"] if page_cache else None,
    )


def launch_firefox(playwright: Playwright, home: Path, **preferences: Any) -> Browser:
    """An unpatched Firefox. The channel selects WebDriver BiDi, which Firefox speaks without a driver.

    As root, Firefox starts only if the home folder belongs to root.
    """
    return playwright.firefox.launch(
        channel="moz-firefox",
        executable_path=require("firefox-esr", "firefox"),
        env={**os.environ, "HOME": str(home)},
        firefox_user_prefs=preferences,
    )
