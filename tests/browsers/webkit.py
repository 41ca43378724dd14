"""WebKitGTK, Safari's engine, under Playwright's names.

Playwright cannot drive WebKitGTK; its WebDriver can. The classes here have the methods of Playwright that the tests
use, and `test_browsers.py` checks that the names are the same. Missing features raise `NotImplementedError`;
`limits.py` lists the tests that need them.
"""

# ruff: noqa: ARG002 - Playwright's signatures have parameters that this driver ignores

import os
import re
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar
from urllib.parse import urljoin

import httpx

from tests.support import TLS, require

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement
    from selenium.webdriver.webkitgtk.webdriver import WebDriver

T = TypeVar("T")
MAX_HISTORY = 60  # entries; WebKit keeps 100 for each window, and then drops the oldest
POLL = 0.05  # seconds between two checks of a page

# The elements that a chain of steps leads to, as in `page.get_by_role("form").get_by_label("Text")`.
FIND = r"""
const IMPLICIT = {
    banner: "header", blockquote: "blockquote", button: "button", form: "form", heading: "h1, h2, h3, h4, h5, h6",
    link: "a[href]", main: "main", region: "section", textbox: "textarea, input:not([type])",
};
const squeeze = (text) => text.replace(/\s+/g, " ").trim();
const holds = (text, wanted, exact) =>
    exact ? squeeze(text) === wanted : squeeze(text).toLowerCase().includes(wanted.toLowerCase());
const nameOf = (element) => element.getAttribute("aria-label")
    ?? ([...(element.labels ?? [])].map((label) => label.textContent).join(" ") || element.textContent);
const isShown = (element) =>
    element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
const hasRole = (element, role) => element.hasAttribute("role")
    ? element.getAttribute("role") === role : element.matches(IMPLICIT[role] ?? "none");
const BY = {
    css: ({ css, text }) => (element) =>
        element.matches(css) && (text === null || holds(element.textContent, text, false)),
    label: ({ name, exact }) => (element) => element.matches("textarea, input") && holds(nameOf(element), name, exact),
    role: ({ role, name, exact }) => (element) =>
        hasRole(element, role) && isShown(element) && (name === null || holds(nameOf(element), name, exact)),
    text: ({ name, exact }) => (element) => holds(element.textContent, name, exact)
        && ![...element.children].some((child) => holds(child.textContent, name, exact)),
};
const find = (steps) => {
    let found = [document];
    for (const step of steps) {
        const inside = found.flatMap((root) => [...root.querySelectorAll("*")]).filter(BY[step.by](step));
        found = inside.filter((element) => !step.has || find(step.has).some((other) => element.contains(other)));
    }
    return found;
};
const found = find(arguments[0]);
"""
STATES = """return found.map((element) => ({
    shown: isShown(element), text: element.textContent, innerText: element.innerText, value: element.value,
    focused: element === document.activeElement, disabled: Boolean(element.disabled),
}));"""
FILL = """
const { prototype } = found[0].constructor;
found[0].focus();
Object.getOwnPropertyDescriptor(prototype, "value").set.call(found[0], arguments[1]);
for (const type of ["input", "change"]) found[0].dispatchEvent(new Event(type, { bubbles: true }));
"""


class Partial:
    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"{type(self).__name__}.{name}: add it, or list the test in tests/browsers/limits.py")


@contextmanager
def display() -> Iterator[str]:
    """A screen for one test session."""
    readable, writable = os.pipe()
    command = [require("Xvfb"), "-displayfd", str(writable), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writable], stderr=subprocess.DEVNULL) as process:
        os.close(writable)
        with os.fdopen(readable) as number:
            name = f":{number.readline().strip()}"
        yield name
        process.terminate()


class Browser(Partial):
    """One process for all visitors. Each visitor gets its own windows, and deletes all cookies at the end."""

    def __init__(self, display: str, home: Path, *flags: str) -> None:
        from selenium import webdriver  # imported here, because it takes half a second that the quick run can save

        options = webdriver.WebKitGTKOptions()
        options.binary_location = str(next(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser")))
        for flag in ("--automation", *flags):
            options.add_argument(flag)
        options.set_capability("unhandledPromptBehavior", "ignore")
        environment = {**os.environ, "DISPLAY": display, "HOME": str(home)}
        service = webdriver.WebKitGTKService(require("WebKitWebDriver"), env=environment)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of selenium, by selenium
            self.driver: WebDriver = webdriver.WebKitGTK(options=options, service=service)
        self.first_window = self.driver.current_window_handle
        self.window = self.first_window
        self.used_windows: list[str] = []  # a new one costs a new process and half a second of CPU time

    def show(self, window: str) -> None:
        """Send the commands that follow to this window."""
        if window != self.window:
            self.driver.switch_to.window(window)
            self.window = window

    def open_window(self) -> str:
        if self.used_windows:
            return self.used_windows.pop()
        self.show(self.first_window)
        self.driver.switch_to.new_window("window")
        self.window = self.driver.current_window_handle
        return self.window

    def new_context(self, *, base_url: str) -> "BrowserContext":
        return BrowserContext(self, base_url)

    def close(self) -> None:
        self.driver.quit()


class BrowserContext(Partial):
    def __init__(self, browser: Browser, base_url: str) -> None:
        self.browser = browser
        self.base_url = base_url
        self.pages: list[Page] = []
        self.request = Requests(self)

    def on(self, event: str, f: Callable[..., object]) -> None:
        """Do nothing: the driver reports neither console messages nor errors of a page."""

    def new_page(self) -> "Page":
        self.pages.append(Page(self, self.browser.open_window()))
        return self.pages[-1]

    def cookies(self) -> list[dict[str, Any]]:
        cookies: list[dict[str, Any]] = self.pages[0].run(lambda driver: driver.get_cookies())
        return cookies

    def close(self) -> None:
        page = self.pages[0]
        page.on("dialog", lambda dialog: dialog.accept())
        if not page.url.startswith(self.base_url):
            page.goto("/health")
        page.run(lambda driver: driver.delete_all_cookies())
        page.evaluate("sessionStorage.clear()")
        for other in self.pages[1:]:
            other.close()
        if page.evaluate("history.length") < MAX_HISTORY:
            self.browser.used_windows.append(page.window)
        else:
            page.close()


class Requests:
    """Sends requests with the browser's cookies."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context

    def send(self, method: str, path: str, data: str, headers: dict[str, str] | None) -> "Answer":
        cookies = {cookie["name"]: cookie["value"] for cookie in self.context.cookies()}
        url = urljoin(self.context.base_url, path)
        with httpx.Client(cookies=cookies, verify=TLS) as client:
            response = client.request(method, url, content=data, headers=headers)
        if "max-age=0" in response.headers.get("set-cookie", "").lower():
            self.context.pages[0].run(lambda driver: driver.delete_all_cookies())
        return Answer(response.status_code)

    def post(self, url: str, data: str = "", headers: dict[str, str] | None = None) -> "Answer":
        return self.send("POST", url, data, headers)

    def put(self, url: str, data: str = "", headers: dict[str, str] | None = None) -> "Answer":
        return self.send("PUT", url, data, headers)


class Answer:
    def __init__(self, status: int) -> None:
        self.status = status


class Dialog:
    type = "confirm"  # the driver answers `beforeunload` by itself, always with yes

    def __init__(self, driver: "WebDriver") -> None:
        self.driver = driver

    def accept(self) -> None:
        self.driver.switch_to.alert.accept()

    def dismiss(self) -> None:
        self.driver.switch_to.alert.dismiss()


class Steps(Partial):
    """The methods of a page and a locator that find elements."""

    page: "Page"
    steps: tuple[dict[str, Any], ...]

    def step(self, by: str, **step: Any) -> "Locator":
        return Locator(self.page, (*self.steps, {"by": by, **step}))

    def get_by_role(self, role: str, name: str | None = None, exact: bool = False) -> "Locator":
        return self.step("role", role=role, name=name, exact=exact)

    def get_by_label(self, text: str, exact: bool = False) -> "Locator":
        return self.step("label", name=text, exact=exact)

    def get_by_text(self, text: str, exact: bool = False) -> "Locator":
        return self.step("text", name=text, exact=exact)

    def locator(self, selector: str, has_text: str | None = None, has: "Locator | None" = None) -> "Locator":
        return self.step("css", css=selector, text=has_text, has=list(has.steps) if has else None)


class Page(Steps):
    steps = ()

    def __init__(self, context: BrowserContext, window: str) -> None:
        self.page = self
        self.context = context
        self.window = window
        self.timeout = 10.0
        self.answers: list[Callable[[Dialog], object]] = []
        self.keyboard = Keyboard(self)

    def run(self, command: Callable[["WebDriver"], Any]) -> Any:
        """Run a command in this page's window. If a dialog is open, answer it first."""
        from selenium.common.exceptions import UnexpectedAlertPresentException

        driver = self.context.browser.driver
        while True:
            try:
                self.context.browser.show(self.window)
                return command(driver)
            except UnexpectedAlertPresentException:
                dialog = Dialog(driver)
                if not self.answers:
                    dialog.dismiss()
                for answer in self.answers:
                    answer(dialog)

    def on(self, event: str, f: Callable[[Any], object]) -> None:
        if event != "dialog":
            raise NotImplementedError(event)
        self.answers = [f]

    def set_default_timeout(self, timeout: float) -> None:
        self.timeout = timeout / 1000

    def evaluate(self, expression: str, arg: Any = None) -> Any:
        script = f"const value = ({expression}); return typeof value === 'function' ? value(arguments[0]) : value;"
        return self.run(lambda driver: driver.execute_script(script, arg))

    def goto(self, url: str) -> None:
        self.run(lambda driver: driver.get(urljoin(self.context.base_url, url)))

    def reload(self) -> None:
        self.run(lambda driver: driver.refresh())

    def go_back(self, wait_until: str = "load") -> None:
        self.run(lambda driver: driver.back())

    def go_forward(self, wait_until: str = "load") -> None:
        self.run(lambda driver: driver.forward())

    def close(self) -> None:
        self.run(lambda driver: driver.close())

    @property
    def url(self) -> str:
        return str(self.run(lambda driver: driver.current_url))

    def title(self) -> str:
        return str(self.run(lambda driver: driver.title))

    def wait_for_timeout(self, timeout: float) -> None:
        """Wait, and answer dialogs meanwhile."""
        end = time.monotonic() + timeout / 1000
        while (left := end - time.monotonic()) > 0:
            self.run(lambda driver: driver.current_url)
            time.sleep(min(left, 0.05))

    def wait_for_url(self, url: str) -> None:
        path = url.removeprefix("**")
        poll(lambda: self.url, lambda now: now.endswith(path), self.timeout, f"the address {url}")


class Keyboard(Partial):
    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, key: str) -> None:
        from selenium.webdriver import ActionChains, Keys

        *modifiers, last = (getattr(Keys, part.upper(), part.lower()) for part in key.split("+"))

        def press(driver: "WebDriver") -> None:
            chain = ActionChains(driver)
            for modifier in modifiers:
                chain.key_down(modifier)
            chain.send_keys(last)
            for modifier in modifiers:
                chain.key_up(modifier)
            chain.perform()

        self.page.run(press)

    def type(self, text: str) -> None:
        from selenium.webdriver import ActionChains

        self.page.run(lambda driver: ActionChains(driver).send_keys(text).perform())


class Locator(Steps):
    def __init__(self, page: Page, steps: tuple[dict[str, Any], ...]) -> None:
        self.page = page
        self.steps = steps

    def script(self, script: str, *arguments: Any) -> Any:
        return self.page.run(lambda driver: driver.execute_script(FIND + script, list(self.steps), *arguments))

    def states(self) -> list[dict[str, Any]]:
        states: list[dict[str, Any]] = self.script(STATES)
        return states

    def wait(self, ready: Callable[[dict[str, Any]], bool] = lambda state: state["shown"]) -> dict[str, Any]:
        """Wait for exactly one element that is ready. Returns its state."""
        states = poll(self.states, lambda now: len(now) == 1 and ready(now[0]), self.page.timeout, f"one {self.steps}")
        return states[0]

    def element(self) -> "WebElement":
        self.wait(lambda state: state["shown"] and not state["disabled"])
        element: WebElement = self.script("return found[0];")
        return element

    def click(self, button: str = "left", no_wait_after: bool = False) -> None:
        """Click. The right button is released elsewhere: the driver's own right click would follow a link."""
        from selenium.webdriver import ActionChains

        element = self.element()
        if button == "left":
            self.page.run(lambda _: element.click())
        else:
            self.page.run(
                lambda driver: ActionChains(driver).click_and_hold(element).move_by_offset(0, 200).release().perform()
            )

    def hover(self) -> None:
        from selenium.webdriver import ActionChains

        element = self.element()
        self.page.run(lambda driver: ActionChains(driver).move_to_element(element).perform())

    def press(self, key: str) -> None:
        self.wait()
        self.script("found[0].focus();")
        self.page.keyboard.press(key)

    def fill(self, value: str) -> None:
        """Replace the text by a script, because the driver mistypes line breaks and question marks."""
        self.wait(lambda state: state["shown"] and not state["disabled"])
        self.script(FILL, value)

    def input_value(self) -> str:
        return str(self.wait()["value"])

    def inner_text(self) -> str:
        return str(self.wait(lambda _: True)["innerText"])

    def count(self) -> int:
        return len(self.states())


class Expectation(Partial):
    """Playwright's `expect` for the classes above."""

    def __init__(self, actual: Page | Locator) -> None:
        self.actual = actual

    def of_one(self, good: Callable[[dict[str, Any]], bool], what: str, timeout: float | None) -> None:
        assert isinstance(self.actual, Locator)
        seconds = 5 if timeout is None else timeout / 1000
        poll(self.actual.states, lambda now: len(now) == 1 and good(now[0]), seconds, f"{self.actual.steps} {what}")

    def to_be_visible(self, visible: bool = True, timeout: float | None = None) -> None:
        if visible:
            self.of_one(lambda state: bool(state["shown"]), "shown", timeout)
        else:
            self.to_be_hidden(timeout)

    def to_be_hidden(self, timeout: float | None = None) -> None:
        assert isinstance(self.actual, Locator)
        seconds = 5 if timeout is None else timeout / 1000
        poll(
            self.actual.states,
            lambda now: not any(state["shown"] for state in now),
            seconds,
            f"{self.actual.steps} hidden",
        )

    def to_have_count(self, count: int) -> None:
        assert isinstance(self.actual, Locator)
        poll(self.actual.count, lambda now: now == count, 5, f"{count} of {self.actual.steps}")

    def to_have_text(self, expected: str, use_inner_text: bool = False, timeout: float | None = None) -> None:
        part = "innerText" if use_inner_text else "text"
        self.of_one(lambda state: squeeze(state[part]) == squeeze(expected), f"with text {expected!r}", timeout)

    def to_contain_text(self, expected: str, timeout: float | None = None) -> None:
        self.of_one(lambda state: squeeze(expected) in squeeze(state["text"]), f"with {expected!r} in it", timeout)

    def to_have_value(self, value: str, timeout: float | None = None) -> None:
        self.of_one(lambda state: state["value"] == value, f"with value {value[:100]!r}", timeout)

    def to_be_focused(self, timeout: float | None = None) -> None:
        self.of_one(lambda state: bool(state["focused"]), "focused", timeout)

    def to_be_disabled(self, timeout: float | None = None) -> None:
        self.of_one(lambda state: bool(state["disabled"]), "disabled", timeout)

    def to_be_enabled(self, timeout: float | None = None) -> None:
        self.of_one(lambda state: not state["disabled"], "enabled", timeout)

    def to_have_css(self, name: str, value: str) -> None:
        assert isinstance(self.actual, Locator)
        script = "return found.map((element) => getComputedStyle(element)[arguments[1]]);"
        locator = self.actual
        poll(lambda: locator.script(script, name), lambda now: now == [value], 5, f"{name}: {value}")

    def to_have_url(self, url_or_reg_exp: str | re.Pattern[str]) -> None:
        assert isinstance(self.actual, Page)
        page, wanted = self.actual, url_or_reg_exp
        if isinstance(wanted, re.Pattern):
            poll(lambda: page.url, lambda now: wanted.search(now) is not None, 5, f"the address {wanted.pattern}")
        else:
            poll(
                lambda: page.url, lambda now: now == urljoin(page.context.base_url, wanted), 5, f"the address {wanted}"
            )


def squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def poll(look: Callable[[], T], good: Callable[[T], bool], seconds: float, what: str) -> T:
    """Check repeatedly until the result is good, and return it."""
    from selenium.common.exceptions import JavascriptException, NoSuchElementException, StaleElementReferenceException

    deadline = time.monotonic() + seconds
    seen: object = None
    while time.monotonic() < deadline:
        try:
            now = look()
            if good(now):
                return now
            seen = now
        except (JavascriptException, NoSuchElementException, StaleElementReferenceException) as error:
            seen = error  # the page is on its way
        time.sleep(POLL)
    raise AssertionError(f"waited in vain for {what}; last seen: {str(seen)[:1000]}")


class Processes:
    """The browsers of a test session: one for each set of flags, started at its first use."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.stack = ExitStack()
        self.browsers: dict[tuple[str, ...], Browser] = {}
        self.display: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def browser(self, *flags: str) -> Browser:
        if flags not in self.browsers:
            require("WebKitWebDriver")
            self.display = self.display or self.stack.enter_context(display())
            browser = Browser(self.display, self.home, *flags)
            self.stack.callback(browser.close)
            self.browsers[flags] = browser
        return self.browsers[flags]
