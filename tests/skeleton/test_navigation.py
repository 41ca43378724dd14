"""Links, Back and Forward, downloads and errors in a real browser: what static/app.js adds to htmx."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Dialog, Page

from tests.browsers import CHROMIUM, IN_CHROMIUM, expect, launch_firefox
from tests.sessions.helpers import locked
from tests.skeleton.sample import END, HOME, UPDATE, expect_status, expect_text, save, saved
from tests.support import CHROMIUM_OPTIONS, TEXT, Server, require

Visit = Callable[..., Page]
Alter = Callable[..., None]
Asked = Callable[[], list[str]]
LINKS = "/sample/links"
UNCACHED = {"cache-control": "no-store"}  # so that each visit to the public page asks the server


@pytest.fixture(scope="module")
def server(altered_server: Server) -> Server:
    return altered_server


@pytest.fixture
def visit(open_page: Visit, complaints: list[str]) -> Iterator[Visit]:
    """Open a page as a new visitor. Ignores the console, because many of these tests provoke errors."""
    yield open_page
    complaints.clear()


def follow(page: Page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()


class Hold:
    """Holds back the answers for a path: `hold("/path")`, `hold.wait(page)` for the request, `hold.release(page)`."""

    def __init__(self, alter: Alter, asked: Asked) -> None:
        self.alter = alter
        self.asked = asked
        self.path = ""
        alter(headers=UNCACHED)

    def __call__(self, path: str) -> None:
        self.path = path
        self.alter(headers=UNCACHED, hold=[path])

    def wait(self, page: Page) -> None:
        wait_in(page, lambda: f"GET {self.path}" in self.asked())

    def release(self, page: Page) -> None:
        """Release the answers, and give the page time to do something wrong."""
        self.alter(headers=UNCACHED)
        page.wait_for_timeout(400)


@pytest.fixture
def hold(alter: Alter, asked: Asked) -> Hold:
    return Hold(alter, asked)


def wait_in(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(250):
        if condition():
            return
        page.wait_for_timeout(20)
    raise AssertionError("waited in vain")


def stays(page: Page) -> list[str]:
    """Answer each question with no. Returns a list to which each question is added."""
    questions: list[str] = []

    def answer(dialog: Dialog) -> None:
        questions.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", answer)
    return questions


def show_again(page: Page) -> None:
    page.evaluate("() => ['blur', 'focus'].forEach((type) => window.dispatchEvent(new Event(type)))")


def mark(page: Page) -> Callable[[], bool]:
    """Return a function that says whether the page was reloaded since this call."""
    page.evaluate("window.marked = true")
    return lambda: page.evaluate("window.marked ?? null") is None


# The last navigation wins


def test_a_late_answer_does_not_replace_the_page_that_was_opened_later(visit: Visit, hold: Hold) -> None:
    page = visit()
    hold("/sample/session")
    follow(page, "Session page")
    hold.wait(page)
    follow(page, "Public page")
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    hold.release(page)
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    assert page.url.endswith("/sample/public")


def test_back_wins_over_a_link_that_was_followed_before(visit: Visit, hold: Hold) -> None:
    page = visit("/sample/public")
    follow(page, "Back")
    expect_text(page, "initial text")
    hold("/sample/session")
    follow(page, "Session page")
    hold.wait(page)
    page.evaluate("history.back()")
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    hold.release(page)
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    assert page.url.endswith("/sample/public")


@pytest.mark.full
def test_a_link_wins_over_a_late_back(visit: Visit, hold: Hold) -> None:
    page = visit("/sample/public")
    follow(page, "Back")
    expect_text(page, "initial text")
    hold("/sample/public")
    page.evaluate("history.back()")
    hold.wait(page)
    follow(page, "Session page")
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    hold.release(page)
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    assert page.url.endswith("/sample/session")


@pytest.mark.full
def test_a_reload_wins_over_a_link_that_was_followed_before(visit: Visit) -> None:
    page = visit(LINKS)
    page.evaluate("() => document.addEventListener('htmx:after:swap', () => { sessionStorage.swapped = 'yes' })")
    follow(page, "Slow page")  # the answer comes while the page reloads
    page.wait_for_timeout(200)
    reload_slowly(page, LINKS, seconds=3)
    page.wait_for_timeout(4_000)
    expect(page.get_by_role("heading", name="Links")).to_be_visible()
    assert LINKS in page.url
    assert page.evaluate("sessionStorage.swapped ?? null") is None


def reload_slowly(page: Page, path: str, seconds: int) -> None:
    """Reload the page with a slow answer, so the page has time to do something wrong."""
    page.evaluate(f"history.replaceState(history.state, '', '{path}?seconds={seconds}')")
    page.evaluate("setTimeout(() => location.reload())")


@pytest.mark.full
@IN_CHROMIUM
def test_pressing_a_link_twice_follows_it_once(visit: Visit, hold: Hold) -> None:
    page = visit()
    hold("/sample/session")
    follow(page, "Session page")
    follow(page, "Session page")
    hold.wait(page)
    hold.release(page)
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()


@pytest.mark.full
def test_a_reload_during_a_save_writes_nothing(visit: Visit, server: Server) -> None:
    page = visit()
    page.evaluate("""() => {
        new MutationObserver(() => { sessionStorage.alert = document.querySelector(".error").textContent; })
            .observe(document.querySelector(".error"), { childList: true, characterData: true, subtree: true });
    }""")
    page.on("dialog", lambda dialog: dialog.accept())
    with locked(server.database):
        save(page, "under way")
        expect_status(page, "Saving…")
        reload_slowly(page, HOME, seconds=1)
        page.wait_for_timeout(1_500)
    expect_text(page, "initial text")
    assert page.evaluate("sessionStorage.alert ?? ''") == ""


@pytest.mark.full
def test_an_address_that_is_typed_wins_over_a_link_that_was_followed_before(visit: Visit, hold: Hold) -> None:
    page = visit(LINKS)
    hold("/sample/session")
    follow(page, "Session page")
    hold.wait(page)
    page.evaluate("setTimeout(() => location.assign('/sample/slow?seconds=1'))")  # like the address bar
    page.wait_for_timeout(2_000)
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    hold.release(page)
    assert "/sample/slow" in page.url


@pytest.mark.full
def test_back_to_a_long_page_restores_the_scroll_position(visit: Visit) -> None:
    page = visit("/sample/long")
    page.evaluate("scrollTo(0, 1500)")
    page.evaluate("document.querySelector('nav a').click()")
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    wait_in(page, lambda: page.evaluate("scrollY") == 0)
    for _ in range(2):
        page.evaluate("history.back()")
        expect(page.get_by_role("heading", name="A long page")).to_be_visible()
        wait_in(page, lambda: page.evaluate("scrollY") == 1500)
        page.evaluate("history.forward()")
        expect(page.get_by_role("heading", name="Public page")).to_be_visible()


# Unsaved text


def test_text_typed_while_a_link_loads_is_not_replaced_without_asking(visit: Visit, hold: Hold) -> None:
    page = visit()
    questions = stays(page)
    hold("/sample/session")
    follow(page, "Session page")
    hold.wait(page)
    page.get_by_label("Text", exact=True).fill("typed meanwhile")
    hold.release(page)
    wait_in(page, lambda: bool(questions))
    expect_text(page, "typed meanwhile")
    assert page.url.endswith(HOME)
    assert questions == ["confirm"]


@pytest.mark.full
def test_text_typed_while_back_loads_is_not_replaced_without_asking(visit: Visit, hold: Hold) -> None:
    page = visit("/sample/public")
    follow(page, "Back")
    expect_text(page, "initial text")
    questions = stays(page)
    hold("/sample/public")
    page.evaluate("history.back()")
    hold.wait(page)
    page.get_by_label("Text", exact=True).fill("typed meanwhile")
    hold.release(page)
    wait_in(page, lambda: bool(questions))
    expect_text(page, "typed meanwhile")
    wait_in(page, lambda: page.url.endswith(HOME))


@pytest.mark.full
def test_cancelling_forward_leaves_back_as_it_was(visit: Visit) -> None:
    page = visit("/sample/public")
    follow(page, "Back")
    expect_text(page, "initial text")
    follow(page, "Session page")
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    page.evaluate("history.back()")
    expect_text(page, "initial text")
    questions = stays(page)
    page.get_by_label("Text", exact=True).fill("typed")
    page.evaluate("history.forward()")
    wait_in(page, lambda: questions == ["confirm"])
    wait_in(page, lambda: page.url.endswith(HOME))
    expect_text(page, "typed")
    saved(page, "typed")
    page.evaluate("history.back()")
    expect(page.get_by_role("heading", name="Public page")).to_be_visible()
    page.evaluate("history.forward()")
    expect_text(page, "typed")
    page.evaluate("history.forward()")
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    assert questions == ["confirm"]


@pytest.mark.full
@IN_CHROMIUM
def test_each_field_of_a_page_is_guarded_and_refreshed(visit: Visit) -> None:
    page = visit("/sample/two")
    title = page.get_by_role("textbox", name="Title")
    title.fill("typed")
    questions = stays(page)
    follow(page, "Session page")
    wait_in(page, lambda: questions == ["confirm"])
    page.get_by_role("button", name="Save title").click()
    expect(page.get_by_role("form", name="title").get_by_role("status")).to_have_text("Saved", use_inner_text=True)
    page.get_by_role("textbox", name="Text").fill("typed too")
    follow(page, "Session page")
    wait_in(page, lambda: len(questions) == 2)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    page.context.request.put(UPDATE, data="new text", headers=TEXT)
    page.context.request.put("/sample/title", data="title=new+title", headers=form)
    show_again(page)
    expect(title).to_have_value("new title")
    expect(page.get_by_role("region", name="The server has another text")).to_contain_text("new text")
    expect(page.get_by_role("textbox", name="Text")).to_have_value("typed too")
    title.fill("typed again")
    page.context.request.put("/sample/title", data="title=newer", headers=form)
    show_again(page)
    expect(
        page.get_by_role("form", name="title").get_by_role("region", name="The server has another title")
    ).to_be_visible()


# Files


def test_a_boosted_link_downloads_a_file(visit: Visit) -> None:
    page = visit(LINKS)
    loaded_anew = mark(page)
    with page.expect_download() as download:
        follow(page, "Export")
    assert download.value.suggested_filename == "export.csv"
    assert Path(download.value.path()).read_text() == "GET,1\n"
    expect(page.get_by_role("heading", name="Links")).to_be_visible()
    assert not loaded_anew()


@pytest.mark.full
def test_a_boosted_form_downloads_a_file_and_is_sent_once(visit: Visit, asked: Asked) -> None:
    page = visit(LINKS)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export by form").click()
    assert download.value.suggested_filename == "export.csv"
    assert Path(download.value.path()).read_text() == "POST,1\n"
    expect(page.get_by_role("heading", name="Links")).to_be_visible()
    assert asked().count("POST /sample/export.csv") == 1


@pytest.mark.full
@IN_CHROMIUM
@pytest.mark.parametrize("also", ["", 'filename="export.csv"; '])
def test_a_file_from_a_boosted_form_keeps_a_name_with_special_characters(visit: Visit, also: str) -> None:
    page = visit(LINKS)
    disposition = (
        f"attachment; {also}filename*=utf-8''%C3%89t%C3%A9%202026.csv"  # in the form that Litestar's File writes
    )
    headers = {"Content-Type": "text/csv", "Content-Disposition": disposition}
    page.route("**/export.csv", lambda route: route.fulfill(headers=headers, body="POST,1\n"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Export by form").click()
    assert download.value.suggested_filename == "Été 2026.csv"


@pytest.mark.full
@IN_CHROMIUM
def test_a_boosted_link_to_plain_text_shows_it_as_text(visit: Visit) -> None:
    page = visit(LINKS)
    follow(page, "Plain text")
    page.wait_for_url("**/sample/plain")
    expect(page.locator("pre")).to_have_text("<b>only text</b>")


@pytest.mark.full
def test_a_page_that_names_files_of_its_own_is_loaded_in_full(visit: Visit) -> None:
    page = visit()
    loaded_anew = mark(page)
    follow(page, "Session page")
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    assert not loaded_anew(), "this page names no new files"
    follow(page, "Back")
    follow(page, "Page with files")
    expect(page.get_by_role("heading", name="A page with files of its own")).to_have_css("color", "rgb(1, 2, 3)")
    assert page.evaluate("document.documentElement.dataset.extra") == "loaded"
    assert loaded_anew()
    follow(page, "Back")
    expect_text(page, "initial text")
    page.evaluate("history.back()")
    expect(page.get_by_role("heading", name="A page with files of its own")).to_have_css("color", "rgb(1, 2, 3)")


def test_after_a_deployment_the_next_navigation_loads_the_new_files(visit: Visit, alter: Alter) -> None:
    """After a deployment, the files have new addresses."""
    page = visit()
    saved(page, "kept")
    loaded_anew = mark(page)
    alter(replace={"/app.css": "/app.css?new", "/app.js": "/app.js?new"})
    follow(page, "Session page")
    expect(page.get_by_role("heading", name="Your session")).to_be_visible()
    wait_in(page, loaded_anew)
    assert page.url.endswith("/sample/session")
    assert page.locator("link[href$='app.css?new']").count() == 1


# Errors


@IN_CHROMIUM
def test_an_error_never_replaces_content(visit: Visit) -> None:
    page = visit(LINKS)
    for button, text in [
        ("Buy", "The server cannot accept what was sent."),
        ("Select", "There is no page at this address."),
    ]:
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("alert")).to_contain_text(text)
        expect(page.get_by_text("The cart")).to_be_visible()
        expect(page.get_by_role("heading")).to_have_count(1)
        assert page.title().startswith("Links")


@pytest.mark.full
@IN_CHROMIUM
def test_a_form_without_an_error_place_gets_one(visit: Visit) -> None:
    page = visit(LINKS)
    page.get_by_role("button", name="Submit").click()
    alert = page.locator("form", has_text="No place").get_by_role("alert")
    expect(alert).to_contain_text("The server cannot accept what was sent.")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_have_count(1)


@pytest.mark.full
@IN_CHROMIUM
def test_an_error_page_of_a_boosted_link_is_a_whole_page(visit: Visit) -> None:
    page = visit(LINKS)
    follow(page, "Nowhere")
    expect(page.get_by_role("heading", name="There is no page at this address.")).to_be_visible()
    expect(page.get_by_role("heading", name="Links")).to_have_count(0)
    assert page.url.endswith("/sample/nope")


@pytest.mark.full
@IN_CHROMIUM
def test_a_boosted_form_that_fails_comes_back_with_its_text(visit: Visit) -> None:
    page = visit(LINKS)
    page.get_by_label("Bare").fill("typed\ntext")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_role("heading", name="Your session ended in the meantime")).to_be_visible()
    expect_text(page, "typed\ntext")
    assert page.url.endswith(LINKS), "a reload must not go to an address without GET"


@pytest.mark.full
@pytest.mark.parametrize("label", ["Bare", "No place"])
@IN_CHROMIUM
def test_a_plain_form_says_that_the_server_cannot_be_reached(visit: Visit, label: str) -> None:
    page = visit(LINKS)
    page.get_by_label(label).fill("typed")
    page.context.set_offline(True)
    page.get_by_role("button", name="Send" if label == "Bare" else "Submit", exact=True).click()
    alert = page.locator("form", has=page.get_by_label(label)).get_by_role("alert")
    expect(alert).to_have_text("The server cannot be reached. Try again in a moment.")
    expect(page.get_by_label(label)).to_have_value("typed")


# A browser that refuses cookies


@pytest.fixture
def page_without_cookies(
    request: pytest.FixtureRequest, browser_engine: str, server: Server, tmp_path: Path
) -> Iterator[Page]:
    with ExitStack() as stack:
        if browser_engine == "webkit":
            browser = request.getfixturevalue("webkit_processes").browser("--cookies-policy=never")
            context = browser.new_context(base_url=server.url)
        elif browser_engine == "firefox":
            playwright = request.getfixturevalue("playwright")
            refuse = {"network.cookie.cookieBehavior": 2}
            browser = stack.enter_context(launch_firefox(playwright, tmp_path, **refuse))
            context = browser.new_context(base_url=server.url)
        else:
            profile = tmp_path / "Default"
            profile.mkdir()
            refuse_all = {"profile": {"default_content_setting_values": {"cookies": 2}}}
            (profile / "Preferences").write_text(json.dumps(refuse_all))
            context = request.getfixturevalue("playwright").chromium.launch_persistent_context(
                tmp_path,
                executable_path=require(*CHROMIUM),
                args=CHROMIUM_OPTIONS,
                base_url=server.url,
            )
        yield context.new_page()
        context.close()


def test_the_page_says_that_the_browser_refuses_cookies(page_without_cookies: Page) -> None:
    page = page_without_cookies
    page.goto(HOME)
    save(page, "typed")
    expect(page.get_by_role("alert")).to_contain_text("Your browser refuses cookies")
    expect_status(page, "")
    show_again(page)
    page.wait_for_timeout(300)
    expect_text(page, "typed")
    expect(page.get_by_role("alert")).to_contain_text("Your browser refuses cookies")
    questions = stays(page)
    follow(page, "Session page")
    wait_in(page, lambda: questions == ["confirm"])


@pytest.mark.full
@IN_CHROMIUM
def test_a_session_that_ended_elsewhere_is_not_mistaken_for_refused_cookies(visit: Visit) -> None:
    page = visit()
    saved(page, "kept")
    page.context.request.post(END)
    show_again(page)
    expect_text(page, "initial text")
