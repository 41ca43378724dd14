"""No page shows what the session no longer holds. These tests try, in real browsers, every way to show an old page.

Most tests run twice: once with the protection, and once as a control, without it, where the page must be stale. If a
control is ever fresh, its test proves nothing any more.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page

from tests.browsers import CHROMIUM, IN_CHROMIUM, engine_of, expect
from tests.skeleton import sample
from tests.skeleton.sample import END, HOME, UPDATE, expect_status, expect_text, save, saved
from tests.support import BROWSER, HTMX, TEXT, Server, require, wait_until

Alter = Callable[..., None]
Visit = Callable[..., Page]

PAIR = pytest.mark.parametrize("control", [False, pytest.param(True, marks=pytest.mark.full)], ids=["fresh", "control"])


@pytest.fixture(scope="module")
def server(altered_server: Server) -> Server:
    return altered_server


@pytest.fixture(scope="module")
def chromium() -> str:
    """Chromium with windows that can lose and regain the focus, and with its cache for Back and Forward."""
    return require(*CHROMIUM)


@pytest.fixture
def visit(open_page: Visit) -> Visit:
    """Open the page with a text as a new visitor, and save the text "old"."""

    def visit(**options: Any) -> Page:
        page = open_page(**options)
        saved(page, "old")
        return page

    return visit


class Visitor:
    """A visitor who is asked whether to leave, and stays unless the test says otherwise."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.leaves = False
        self.questions: list[str] = []
        page.on("dialog", self.answer)

    def answer(self, dialog: Dialog) -> None:
        self.questions.append(dialog.type)
        if self.leaves:
            dialog.accept()
        else:
            dialog.dismiss()

    def is_asked(self) -> str:
        """Wait for the next question, and return its type."""
        wait_in(self.page, lambda: bool(self.questions))
        return self.questions.pop(0)


def change_elsewhere(page: Page, text: str) -> None:
    """Save another text in the same session, as a tab of the same visitor would."""
    assert page.context.request.put(UPDATE, data=text, headers=TEXT).status == 200


def go_natively(page: Page, path: str) -> None:
    """Follow a link without htmx, from inside the page, because only then does the browser use prefetched pages."""
    page.evaluate("path => { location.href = path }", path)
    page.wait_for_url(f"**{path}")


def wait_in(page: Page, condition: Callable[[], bool]) -> None:
    """Wait for an effect of the page's events."""
    for _ in range(250):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("waited in vain")


def deaf_to(*events: str) -> str:
    """A script that disables what our script does on these events."""
    return """{
        const { addEventListener } = EventTarget.prototype;
        EventTarget.prototype.addEventListener = function (type, ...rest) {
            if (!%s.includes(type)) addEventListener.call(this, type, ...rest);
        };
    }""" % list(events)  # noqa: UP031 (braces are JavaScript's here)


# Preloading by htmx


@PAIR
def test_a_link_that_is_pressed_before_and_during_a_destroy_shows_nothing_old(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]], control: bool
) -> None:
    page = visit()
    page.get_by_role("link", name="Session page").click()
    back = page.get_by_role("link", name="Back")
    expect(back).to_be_visible()
    if control:
        take_out_the_switch(page)
    alter()
    back.hover()
    back.click(button="right")  # presses without following the link
    page.get_by_role("button", name="End").click()
    expect_status(page, "Ending…")
    back.hover()
    back.click(button="right")
    expect_status(page, "Done.")
    assert asked().count("GET /sample") == (1 if control else 0)
    back.click()
    expect_text(page, "old" if control else "initial text")


@pytest.mark.full
@IN_CHROMIUM
def test_a_link_pressed_only_during_a_destroy_is_fresh_even_with_preloading(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]]
) -> None:
    """The session ends at once. In the original of this demo it ends only after the slow part."""
    page = visit()
    page.get_by_role("link", name="Session page").click()
    back = page.get_by_role("link", name="Back")
    expect(back).to_be_visible()
    take_out_the_switch(page)
    alter()
    page.get_by_role("button", name="End").click()
    expect_status(page, "Ending…")
    back.click(button="right")
    expect_status(page, "Done.")
    assert asked().count("GET /sample") == 1
    back.click()
    expect_text(page, "initial text")


def take_out_the_switch(page: Page) -> None:
    page.evaluate("() => { document.body.removeAttribute('hx-preload:inherited'); htmx.process(document.body, true) }")


@pytest.mark.full
def test_a_public_page_is_preloaded_when_the_pointer_is_on_its_link(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]]
) -> None:
    """This holds even if htmx arrives before its extension and starts without it."""
    alter(slow=["/hx-preload.min.js"])
    page = visit()
    about = page.get_by_role("link", name="Public page")
    about.hover()
    wait_until(lambda: "GET /sample/public" in asked())
    about.click()
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    assert asked().count("GET /sample/public") == 1
    page.get_by_role("link", name="Back").click()
    expect_text(page, "old")


# Back, Forward and reload

SHOWN_AGAIN = ("focus", "visibilitychange")  # a page from the cache is also shown again
WITNESS = "addEventListener('pageshow', (event) => { if (event.persisted) sessionStorage.persisted = 'yes' });"


def traverse(page: Page, direction: str) -> None:
    """Go back or forward by the page's own timer, because Playwright would wait for a page that loads twice."""
    page.evaluate(f"setTimeout(() => history.{direction}())")


def let_firefox_keep_pages(page: Page, alter: Alter) -> None:
    """Firefox keeps no page for Back that has no-store. The other engines do."""
    if engine_of(page) == "firefox":
        alter(headers={"cache-control": None})


@PAIR
@pytest.mark.parametrize("direction", ["back", "forward"])
def test_a_page_from_the_back_forward_cache_is_reloaded(
    visit: Visit, alter: Alter, direction: str, control: bool
) -> None:
    page = visit(script=WITNESS + (deaf_to("pageshow", "pagehide", *SHOWN_AGAIN) if control else ""))
    let_firefox_keep_pages(page, alter)
    page.goto("/sample/public")
    page.goto(HOME)  # a page that has fetched nothing, because Chromium does not keep pages that have
    if direction == "back":
        page.goto("/sample/session")
    else:
        traverse(page, "back")
        expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    change_elsewhere(page, "new")
    traverse(page, direction)
    expect_text(page, "old" if control else "new")
    assert page.evaluate("sessionStorage.persisted") == "yes"


@pytest.mark.full
def test_a_page_from_the_back_forward_cache_is_hidden_until_it_is_reloaded(visit: Visit, alter: Alter) -> None:
    note = "if (event.persisted) sessionStorage.hidden = document.documentElement.hidden"
    seen = f"addEventListener('pageshow', (event) => {{ {note} }})"
    page = visit(script=WITNESS + seen)
    let_firefox_keep_pages(page, alter)
    page.goto("/sample/public")
    page.goto(HOME)
    page.goto("/sample/session")
    traverse(page, "back")
    expect_text(page, "old")
    assert page.evaluate("[sessionStorage.persisted, sessionStorage.hidden]") == ["yes", "true"]
    expect(page.locator("html")).to_be_visible()


@pytest.mark.full
@PAIR
def test_back_does_not_fill_in_an_old_text(visit: Visit, alter: Alter, control: bool) -> None:
    """Firefox has a second protection: it remembers no text of a page with no-store."""
    if control:
        alter(replace={' autocomplete="off"': ""}, headers={"cache-control": None})
    page = visit(page_cache=False)
    page.goto("/sample/session")
    change_elsewhere(page, "new")
    page.go_back()
    expect_text(page, "old" if control else "new")


@pytest.mark.full
@PAIR
def test_reload_does_not_fill_in_an_old_text(visit: Visit, alter: Alter, control: bool) -> None:
    if control:
        alter(replace={' autocomplete="off"': ""}, headers={"cache-control": None})
    page = visit()
    change_elsewhere(page, "new")
    page.reload()
    expect_text(page, "old" if control else "new")


@pytest.mark.full
def test_back_and_forward_between_boosted_pages_ask_the_server(visit: Visit) -> None:
    """No control: htmx keeps pages only with an extension that the project does not use."""
    page = visit()
    page.get_by_role("link", name="Session page").click()
    expect(page).to_have_url(re.compile("/sample/session$"))
    change_elsewhere(page, "new")
    page.go_back()
    expect_text(page, "new")
    page.go_forward()
    page.get_by_role("button", name="End").click()
    expect_status(page, "Done.")
    page.go_back()
    expect_text(page, "initial text")


# What browsers and content delivery networks fetch ahead of time

RULE = '{"%s": [{"urls": ["/sample"], "eagerness": "immediate"}]}'
SCRIPT_OFF = {'/app.js">': '/app.js" type="off">'}  # a prerendered page sends requests as soon as it is shown
WITHOUT_CSP = {"content-security-policy": None}
KINDS = pytest.mark.parametrize("kind", ["prefetch", "prerender"])


@pytest.mark.full
@PAIR
@KINDS
def test_speculation_rules_injected_into_the_page_have_no_effect(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]], complaints: list[str], kind: str, control: bool
) -> None:
    """Only the Content-Security-Policy prevents it: Sec-Purpose is hidden from the server."""
    page = visit()
    rules = {"</head>": f'<script type="speculationrules">{RULE % kind}</script></head>'}
    alter(ignore=["sec-purpose"], replace=rules | SCRIPT_OFF, headers=WITHOUT_CSP if control else {})
    page.goto("/sample/session")
    if control:
        wait_until(lambda: any(line.startswith("GET /sample prefetch") for line in asked()))
    else:
        page.wait_for_timeout(500)
    change_elsewhere(page, "new")
    go_natively(page, HOME)
    expect_text(page, "old" if control else "new")
    if not control:
        assert not any("prefetch" in line for line in asked())
        assert all("Content Security Policy" in complaint for complaint in complaints)
        complaints.clear()


@pytest.mark.full
@PAIR
@KINDS
def test_speculation_rules_injected_by_a_header_get_no_page(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]], complaints: list[str], kind: str, control: bool
) -> None:
    """The browser obeys these rules despite the Content-Security-Policy, but the server refuses the request."""
    page = visit()
    alter(
        answers={"/rules.json": [200, "application/speculationrules+json", RULE % kind]},
        headers={"speculation-rules": '"/rules.json"'},
        ignore=["sec-purpose"] if control else [],
        replace=SCRIPT_OFF,
    )
    page.goto("/sample/session")
    wait_until(lambda: any(line.startswith("GET /sample prefetch") for line in asked()))
    page.wait_for_timeout(300)  # time for the answer to arrive
    change_elsewhere(page, "new")
    go_natively(page, HOME)
    expect_text(page, "old" if control else "new")
    complaints.clear()  # the console's message about the 503


@pytest.mark.full
@PAIR
def test_a_prefetch_link_injected_into_the_page_gets_no_page(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]], complaints: list[str], control: bool
) -> None:
    """There are two protections: the server refuses, and Chromium does not use an answer with no-store."""
    page = visit()
    alter(
        replace={"</head>": '<link rel="prefetch" href="/sample"></head>'},
        ignore=["sec-purpose"] if control else [],
        headers={"cache-control": "max-age=60", "vary": None} if control else {},
    )
    page.goto("/sample/session")
    wait_until(lambda: "GET /sample prefetch" in asked())
    page.wait_for_timeout(300)
    change_elsewhere(page, "new")
    go_natively(page, HOME)
    expect_text(page, "old" if control else "new")
    assert all("503" in complaint for complaint in complaints)
    complaints.clear()


# Caches


@pytest.mark.full
@PAIR
def test_the_browsers_cache_keeps_no_page(visit: Visit, alter: Alter, control: bool) -> None:
    page = visit()
    alter(headers={"cache-control": "max-age=60", "vary": None} if control else {})
    page.goto(HOME)
    page.goto("/sample/public")
    change_elsewhere(page, "new")
    go_natively(page, HOME)
    expect_text(page, "old" if control else "new")


NOBODY = "no-store"
ANYBODY_FOR_A_MINUTE = "public, max-age=60"
CACHEABLE_BY: dict[tuple[str, str], str] = {
    ("GET", HOME): NOBODY,
    ("GET", "/sample/saved"): NOBODY,
    ("PUT", UPDATE): NOBODY,
    ("POST", UPDATE): NOBODY,
    ("GET", "/sample/session"): NOBODY,
    ("POST", END): NOBODY,
    ("GET", "/sample/public"): ANYBODY_FOR_A_MINUTE,
    ("GET", "/health"): NOBODY,
}
WITHOUT_SESSION = ["/sample/public", "/health"]


@pytest.mark.parametrize(("method", "path"), CACHEABLE_BY)
def test_every_route_says_who_may_cache_its_responses(server: Server, method: str, path: str) -> None:
    """A shared cache obeys these headers. No control: it would need such a cache, and would test only that cache."""
    data = {"text": "mine"} if method in ("PUT", "POST") else None
    for visitor in (server.client(), sample.visitor(server, "mine"), server.client("A" * 43)):
        for client in ({}, BROWSER, HTMX, HTMX | {"HX-Request-Type": "full"}):
            for verb in (method, "HEAD") if method == "GET" else (method,):
                with visitor.stream(verb, path, headers=client, data=data) as response:
                    assert response.status_code in (200, 303)
                    assert response.headers["cache-control"] == CACHEABLE_BY[method, path]
                    varies = response.headers.get("vary", "").lower()
                    assert ("cookie" in varies) == (path not in WITHOUT_SESSION)
                    assert method != "GET" or "set-cookie" not in response.headers


@pytest.mark.parametrize("path", ["/nope", "/static/nope.js", UPDATE, END])
def test_errors_are_not_cached(server: Server, path: str) -> None:
    for client in ({}, BROWSER, HTMX):
        response = sample.visitor(server, "mine").get(path, headers=client)
        assert response.status_code in (404, 405)
        assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("purpose", ["prefetch", "prefetch;prerender", "prefetch;anonymous-client-ip"])
def test_only_pages_with_a_session_refuse_a_prefetch(server: Server, purpose: str) -> None:
    for visitor in (server.client(), sample.visitor(server, "mine")):
        for method, path in CACHEABLE_BY:
            if method == "GET":
                response = visitor.get(path, headers=BROWSER | {"Sec-Purpose": purpose})
                assert response.status_code == (200 if path in WITHOUT_SESSION else 503)
                assert path in WITHOUT_SESSION or response.headers["cache-control"] == NOBODY


# A tab that is shown again


class Tab:
    """A page that another page can hide, and that can be shown again."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.engine = engine_of(page)
        if self.engine == "webkit":  # without a window manager, its windows never lose the focus
            return
        if self.engine == "chromium":
            # Without this, every page counts as visible all the time.
            session = page.context.new_cdp_session(page)
            session.send("Emulation.setFocusEmulationEnabled", {"enabled": False})
        self.other = page.context.new_page()
        self.show()

    def hide(self) -> None:
        if self.engine == "webkit":
            self.tell("blur")
            return
        self.other.bring_to_front()
        wait_in(self.page, lambda: not self.page.evaluate("document.hasFocus()"))

    def show(self) -> None:
        if self.engine == "webkit":
            self.tell("focus")
            return
        self.page.bring_to_front()
        wait_in(self.page, lambda: bool(self.page.evaluate("document.hasFocus()")))

    def tell(self, event: str) -> None:
        self.page.evaluate("type => window.dispatchEvent(new Event(type))", event)


@PAIR
def test_a_tab_that_is_shown_again_shows_what_was_saved_elsewhere(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]], control: bool
) -> None:
    page = visit(script=deaf_to(*SHOWN_AGAIN) if control else "")
    tab = Tab(page)
    tab.hide()
    change_elsewhere(page, "new")
    alter()
    tab.show()
    page.wait_for_timeout(500)
    expect_text(page, "old" if control else "new")
    assert asked() == ([] if control else ["GET /sample/saved"])
    if not control:
        message = "Updated to what the server has now."
        expect_status(page, message)
        page.get_by_role("link", name="Session page").click()  # and nothing is unsaved
        expect(page).to_have_url(re.compile("/sample/session$"))


@pytest.mark.full
def test_a_tab_that_is_shown_again_sends_one_conditional_request(
    visit: Visit, alter: Alter, answered: Callable[[], list[str]]
) -> None:
    page = visit()
    tab = Tab(page)
    page.wait_for_timeout(300)
    alter()
    for answer in ("200", "304") if tab.engine == "webkit" else ("304", "304"):  # the other pages have been shown once
        tab.hide()
        tab.show()
        page.wait_for_timeout(300)
        assert answered() == [f"{answer} /sample/saved"]
        alter()
    expect_text(page, "old")
    expect_status(page, "Saved")


@pytest.mark.full
@IN_CHROMIUM
def test_a_tab_that_is_shown_again_shows_an_earlier_text_that_was_saved_again_elsewhere(
    visit: Visit, answered: Callable[[], list[str]]
) -> None:
    page = visit()
    tab = Tab(page)
    tab.hide()
    tab.show()
    wait_in(page, lambda: any("/sample/saved" in answer for answer in answered()))
    page.wait_for_timeout(300)
    saved(page, "new")
    tab.hide()
    change_elsewhere(page, "old")
    tab.show()
    expect_text(page, "old")


@pytest.mark.parametrize("told", [["visibilitychange"], ["visibilitychange", "focus"], ["focus", "visibilitychange"]])
@pytest.mark.full
@IN_CHROMIUM
def test_a_page_that_becomes_visible_again_sends_one_request(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]], told: list[str]
) -> None:
    """Headless browsers take the focus from a page but never hide it, so here the test does the hiding."""
    page = visit()
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }) }"
    tell = "types => types.forEach((type) => (type === 'focus' ? window : document).dispatchEvent(new Event(type)))"
    page.evaluate(hide, True)
    page.evaluate(tell, ["visibilitychange"])
    change_elsewhere(page, "new")
    alter()
    page.evaluate(hide, False)
    page.evaluate(tell, told)
    expect_text(page, "new")
    page.wait_for_timeout(200)
    assert asked() == ["GET /sample/saved"]


@pytest.mark.full
def test_a_tab_that_is_shown_again_shows_that_its_session_was_destroyed(visit: Visit) -> None:
    page = visit()
    tab = Tab(page)
    tab.hide()
    page.context.request.post(END)
    tab.show()
    expect_text(page, "initial text")


@pytest.mark.parametrize("choice", ["Keep mine", "Show the server’s"])
def test_typed_text_is_kept_and_the_visitor_chooses(visit: Visit, choice: str) -> None:
    page = visit()
    visitor = Visitor(page)
    tab = Tab(page)
    page.get_by_label("Text").fill("typed")
    tab.hide()
    change_elsewhere(page, "\nnew  <b> ")
    tab.show()
    notice = page.get_by_role("region", name="The server has another text")
    expect(notice.get_by_role("alert")).to_contain_text("not saved")
    expect(notice.get_by_role("blockquote")).to_have_text("\nnew  <b> ", use_inner_text=False)
    expect_text(page, "typed")
    expect(page.get_by_role("textbox", name="Text")).to_be_focused()  # a visitor who is typing can go on
    for _ in range(2 if choice == "Keep mine" else 1):
        page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name=choice)).to_be_focused()
    page.keyboard.press("Enter")
    expect(notice).to_be_hidden()
    expect(page.get_by_role("textbox", name="Text")).to_be_focused()
    expect_text(page, "typed" if choice == "Keep mine" else "\nnew  <b> ")
    tab.hide()
    tab.show()
    page.wait_for_timeout(300)
    expect(notice).to_be_hidden()  # the visitor need not choose twice
    page.get_by_role("link", name="Session page").click()
    if choice == "Keep mine":
        assert visitor.is_asked() == "confirm"
    else:
        expect(page).to_have_url(re.compile("/sample/session$"))
        assert visitor.questions == []


@pytest.mark.full
@IN_CHROMIUM
def test_saving_also_answers_the_choice(visit: Visit) -> None:
    page = visit()
    tab = Tab(page)
    page.get_by_label("Text").fill("typed")
    tab.hide()
    change_elsewhere(page, "new")
    tab.show()
    notice = page.get_by_role("region", name="The server has another text")
    expect(notice).to_be_visible()
    saved(page, "typed")
    expect(notice).to_be_hidden()
    page.reload()
    expect_text(page, "typed")


@pytest.mark.full
@IN_CHROMIUM
def test_text_typed_here_counts_as_saved_if_another_tab_saved_the_same(visit: Visit) -> None:
    page = visit()
    visitor = Visitor(page)
    tab = Tab(page)
    page.get_by_label("Text").fill("the same")
    tab.hide()
    change_elsewhere(page, "the same")
    tab.show()
    page.wait_for_timeout(300)
    expect(page.locator(".changed")).to_be_hidden()
    page.get_by_role("link", name="Session page").click()
    expect(page).to_have_url(re.compile("/sample/session$"))
    assert visitor.questions == []


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("reason", ["offline", "failing"])
@pytest.mark.full
@IN_CHROMIUM
def test_a_tab_that_is_shown_again_ignores_a_failed_request(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]], complaints: list[str], reason: str, typed: bool
) -> None:
    page = visit()
    tab = Tab(page)
    if typed:
        page.get_by_label("Text").fill("typed")
    text = page.get_by_label("Text").input_value()
    tab.hide()
    change_elsewhere(page, "new")
    if reason == "offline":
        page.context.set_offline(True)
    else:
        alter(answers={"/sample/saved": [503, "text/plain", "The server cannot use its session store right now."]})
    before = page.locator("main").inner_text()
    tab.show()
    if reason == "failing":
        wait_in(page, lambda: "GET /sample/saved" in asked())
    page.wait_for_timeout(500)
    if engine_of(page) == "chromium":  # the browser reports each failed request; our script reports nothing
        assert ["Failed to load resource" in complaint for complaint in complaints] == [True]
    assert page.locator("main").inner_text() == before
    expect_text(page, text)
    if reason == "offline":
        page.context.set_offline(False)
    alter()
    complaints.clear()
    tab.hide()
    tab.show()
    if typed:
        expect(page.get_by_role("region", name="The server has another text")).to_be_visible()
    else:
        expect_text(page, "new")


@pytest.mark.full
@IN_CHROMIUM
def test_a_response_that_is_older_than_a_save_is_not_shown(
    visit: Visit, alter: Alter, asked: Callable[[], list[str]]
) -> None:
    page = visit()
    tab = Tab(page)
    tab.hide()
    change_elsewhere(page, "elsewhere")
    alter(hold=["/sample/saved"])
    tab.show()
    wait_in(page, lambda: "GET /sample/saved" in asked())
    saved(page, "saved here")
    alter()
    page.wait_for_timeout(300)
    expect_text(page, "saved here")


@PAIR
def test_a_session_page_that_is_shown_again_shows_that_the_session_ended(visit: Visit, control: bool) -> None:
    page = visit(script=deaf_to(*SHOWN_AGAIN) if control else "")
    page.get_by_role("link", name="Session page").click()
    expect(page.get_by_text("Its id is")).to_be_visible()
    tab = Tab(page)
    tab.hide()
    page.context.request.post(END)
    tab.show()
    page.wait_for_timeout(500)
    expect(page.get_by_text("Its id is")).to_be_visible(visible=control)
    expect(page.get_by_text("You have no session.")).to_be_visible(visible=not control)


@pytest.mark.parametrize("reason", ["offline", "failing"])
@pytest.mark.full
@IN_CHROMIUM
def test_a_session_page_that_is_shown_again_ignores_a_failed_request(
    visit: Visit, alter: Alter, complaints: list[str], reason: str
) -> None:
    page = visit()
    page.get_by_role("link", name="Session page").click()
    expect(page.get_by_text("Its id is")).to_be_visible()
    before = page.locator("main").inner_text()
    tab = Tab(page)
    tab.hide()
    if reason == "offline":
        page.context.set_offline(True)
    else:
        alter(answers={"/sample/session": [503, "text/html", "<p>The server cannot use its session store.</p>"]})
    tab.show()
    page.wait_for_timeout(500)
    assert page.locator("main").inner_text() == before
    complaints.clear()


# Unsaved text

# The page asks by `confirm`; where the browser itself loads another page, it asks, after `beforeunload`.
WAYS_OUT = {"confirm": ["link", "preloaded link", "back"], "beforeunload": ["plain link", "reload", "close"]}
ASKED_BY = pytest.mark.parametrize("question", WAYS_OUT)


def leave(page: Page, way: str) -> None:
    """Start to leave in one of these ways. A timer in the page does it where Playwright would wait for the new page."""
    if way == "link":
        page.get_by_role("link", name="Session page").click()
    elif way == "preloaded link":
        page.get_by_role("link", name="Public page").click()
    elif way == "close":
        page.close(run_before_unload=True)
    else:
        code = {
            "back": "history.back()",
            "plain link": "location.assign('/sample/session')",
            "reload": "location.reload()",
        }[way]
        page.evaluate(f"setTimeout(() => {code}, 50)")  # evaluate() has answered by then


@ASKED_BY
def test_a_visitor_who_leaves_unsaved_text_is_asked_and_may_stay(visit: Visit, question: str) -> None:
    page = visit()
    visitor = Visitor(page)
    put_a_boosted_page_before(page)
    page.get_by_label("Text").fill("typed")
    where = "[location.pathname, document.title.split(' ')[0]]"
    for way in [way for way in WAYS_OUT[question] for _ in range(2)]:
        leave(page, way)
        assert visitor.is_asked() == question, way
        page.wait_for_timeout(50)
        wait_in(page, lambda: page.evaluate(where) == [HOME, "Sample"])
        expect_text(page, "typed")


@pytest.mark.full
@ASKED_BY
def test_a_visitor_who_leaves_unsaved_text_is_asked_once_and_may_leave(visit: Visit, question: str) -> None:
    page = visit()
    visitor = Visitor(page)
    visitor.leaves = True
    for way in WAYS_OUT[question]:
        put_a_boosted_page_before(page)
        page.get_by_label("Text").fill("typed")
        if way == "close":
            with page.expect_event("close"):
                leave(page, way)
            return
        leave(page, way)
        assert visitor.is_asked() == question, way
        if way != "reload":
            expect(page.get_by_label("Text")).to_have_count(0)
            page.goto(HOME)
        expect_text(page, "old")
        assert visitor.questions == [], f"{way}: once is enough"


@pytest.mark.full
@ASKED_BY
def test_a_visitor_without_unsaved_text_may_leave_unasked(visit: Visit, question: str) -> None:
    page = visit()
    visitor = Visitor(page)
    for way in WAYS_OUT[question]:
        put_a_boosted_page_before(page)
        saved(page, "typed\nand saved")
        saved(page, "saved again ")
        page.get_by_label("Text").fill("typed and taken back")
        page.get_by_label("Text").fill("saved again ")
        if question == "confirm":
            leave(page, way)
        else:
            with page.expect_event("close" if way == "close" else "load"):
                leave(page, way)
        if way != "close":
            expect(page.get_by_label("Text")).to_have_count(1 if way == "reload" else 0)
        assert visitor.questions == [], way


def put_a_boosted_page_before(page: Page) -> None:
    """Open the page with a text. The previous page in the tab's history is one that htmx swaps in."""
    page.goto(HOME)
    page.get_by_role("link", name="Session page").click()
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_label("Text")).to_be_visible()


@pytest.mark.full
@IN_CHROMIUM
def test_text_whose_save_failed_counts_as_unsaved(visit: Visit, alter: Alter, complaints: list[str]) -> None:
    page = visit()
    visitor = Visitor(page)
    alter(answers={UPDATE: [503, "text/html", "<p>The server cannot use its session store right now.</p>"]})
    page.get_by_label("Text").fill("typed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot use its session store")
    page.get_by_role("link", name="Session page").click()
    assert visitor.is_asked() == "confirm"
    expect_text(page, "typed")
    complaints.clear()


@pytest.mark.full
@IN_CHROMIUM
def test_text_on_an_error_page_counts_as_unsaved_until_it_is_saved(
    visit: Visit, alter: Alter, complaints: list[str]
) -> None:
    """This happens when a text is sent before the scripts have arrived, and is too long."""
    page = visit()
    alter(replace={"<script ": '<script type="off" '})
    page.goto(HOME)
    page.get_by_label("Text").fill("x" * 70_000)
    alter()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("too long")
    visitor = Visitor(page)
    tab = Tab(page)
    tab.hide()
    tab.show()
    page.wait_for_timeout(300)
    expect_text(page, "x" * 70_000)
    expect(page.locator(".changed")).to_be_hidden()  # nothing has changed elsewhere
    page.get_by_role("link", name="To the first page").click()
    assert visitor.is_asked() == "confirm"
    expect_text(page, "x" * 70_000)
    page.get_by_label("Text").fill("shorter")
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("heading", name="Your text")).to_be_visible()
    expect_text(page, "shorter")
    assert visitor.questions == [], "text that is being sent counts as saved"
    complaints.clear()


@pytest.mark.full
def test_going_back_does_not_ask_again_about_abandoned_text(visit: Visit) -> None:
    page = visit(script=WITNESS)
    page.goto("/sample/public")
    page.goto(HOME)
    visitor = Visitor(page)
    visitor.leaves = True
    page.get_by_label("Text").fill("typed")
    page.goto("/sample/public")
    assert visitor.is_asked() == "beforeunload"
    page.go_back(wait_until="commit")
    expect_text(page, "old")
    assert page.evaluate("sessionStorage.persisted") == "yes"
    assert visitor.questions == []


# Without JavaScript

KEEPS_PAGES_FOR_BACK = ["chromium", "webkit"]  # whatever no-store says; docs/stale-pages.md names them


@pytest.mark.full
def test_without_javascript_back_may_show_a_page_of_a_session_that_has_ended(
    open_page: Visit, browser_engine: str
) -> None:
    """docs/stale-pages.md names this limit. Only a script can reload such a page."""
    page = open_page(java_script_enabled=False)
    save(page, "old")
    expect_text(page, "old")
    page.get_by_role("link", name="Session page").click()
    page.get_by_role("button", name="End").click()
    expect(page.get_by_text("You have no session.")).to_be_visible()
    for _ in range(5):
        page.go_back(wait_until="commit")
        page.wait_for_timeout(300)
        if page.get_by_label("Text").count():
            break
    expect_text(page, "old" if browser_engine in KEEPS_PAGES_FOR_BACK else "initial text")
    page.reload()
    expect_text(page, "initial text")
