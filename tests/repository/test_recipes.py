"""The recipes of `docs/recipes.md`, followed to the letter in a copy of the project, with the demo and without it.

The words before a block of code say where it goes. They must end in one of these:

    Create `file`:
    At the end of `file`, add:
    In `file`, above `line`, add:       (or `below`; a part of the line is enough, if it occurs only once in the file)
    In `file`, replace `text` with:     (or `the line`)
    Copy `file` to `file`               (this one has no block)

Blocks of `sh` and `conf` are for the person who runs the app. A recipe that builds on another one says: This needs the
recipe “Its title”.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.settings import PROJECT
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer
from tests.repository.copies import copy_project, delete_demo, run
from tests.skeleton.sample import expect_status
from tests.support import HeldRequest, Server, wait_until

pytestmark = pytest.mark.full

RECIPES: dict[str, str] = {}  # by title, in their order
for recipe in re.split(r"^## ", (PROJECT / "docs/recipes.md").read_text(), flags=re.MULTILINE)[1:]:
    title, _, text = recipe.partition("\n")
    RECIPES[title] = text
REDIS, STORE = "Redis", "A store of your own"
BADGE, SAVED_BADGE = "Something of the session on every page", "A form that updates something elsewhere on the page"

PLACES = {
    "create": r"[Cc]reate `(?P<file>[^`]+)`:",
    "append": r"[Aa]t the end of `(?P<file>[^`]+)`, add:",
    "above": r"[Ii]n `(?P<file>[^`]+)`, above `(?P<line>[^`]+)`, add:",
    "below": r"[Ii]n `(?P<file>[^`]+)`, below `(?P<line>[^`]+)`, add:",
    "replace": r"[Ii]n `(?P<file>[^`]+)`, replace (?:the line )?`(?P<line>[^`]+)` with:",
}


@dataclass
class Step:
    place: str
    file: str
    line: str
    code: str


def blocks(recipe: str, *languages: str) -> list[tuple[str, str]]:
    """Return the code blocks in these languages, each with the text before it joined into one line."""
    parts = re.findall(r"(.*?)^```(\w+)\n(.*?)^```$", recipe, flags=re.MULTILINE | re.DOTALL)
    return [(" ".join(words.split()), code) for words, language, code in parts if language in languages]


def steps(recipe: str) -> list[Step]:
    found = []
    for source, file in re.findall(r"Copy `([^`]+)` to `([^`]+)`", " ".join(recipe.split())):
        found.append(Step("create", file, "", (PROJECT / source).read_text()))
    for words, code in blocks(recipe, "python", "html", "css"):
        matches = {place: re.search(f"{pattern}$", words) for place, pattern in PLACES.items()}
        place, match = next(((place, match) for place, match in matches.items() if match), ("", None))
        assert match, f"Nobody could tell where this goes: {words[-80:]!r}\n{code}"
        found.append(Step(place, match["file"], match.groupdict().get("line", ""), code))
    return found


def is_test(step: Step) -> bool:
    return step.file.startswith("tests/")


def follow(step: Step, project: Path) -> None:
    path = project / step.file
    if step.place == "create":
        assert not path.exists(), f"{step.file} exists already"
        path.write_text(step.code)
        return
    text = path.read_text()
    if step.place == "append":
        path.write_text(f"{text}\n\n{step.code}")
        return
    times = text.count(step.line)
    assert times == 1, f"`{step.line}` occurs {times} times in {step.file}, not once"
    if step.place == "replace":
        path.write_text(text.replace(step.line, step.code.strip()))
        return
    before, line, after = re.split(f"(.*{re.escape(step.line)}.*\n)", text)
    path.write_text(before + (step.code + line if step.place == "above" else line + step.code) + after)


def with_those_it_needs(title: str) -> list[str]:
    """Return the titles of a recipe and of those before it that it builds on."""
    text = " ".join(RECIPES[title].split())
    return [
        *(each for other in re.findall(r"needs the recipe “(.+?)”", text) for each in with_those_it_needs(other)),
        title,
    ]


def follow_all(titles: list[str], project: Path) -> None:
    for title in titles:
        for step in steps(RECIPES[title]):
            follow(step, project)


def run_tests(project: Path, titles: list[str], endings: set[str], **settings: str) -> None:
    """Run the tests of these recipes on the stores that need no server. The outcomes must be exactly `endings`."""
    files = [step.file for title in titles for step in steps(RECIPES[title]) if is_test(step)]
    report = run(project, "pytest", "-q", "-n0", "--continue-on-collection-errors", *files, **settings).stdout
    [summary] = re.findall(r"^\d+ .* in [\d.]+s.*$", report, flags=re.MULTILINE)
    assert set(re.findall(r"\d+ (passed|failed|skipped|error)", summary)) == endings, report


@pytest.fixture(params=["with the demo", "without the demo"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the project, to follow recipes in."""
    project = copy_project(tmp_path)
    if request.param == "without the demo":
        delete_demo(project)
    return project


@pytest.fixture
def redis_servers(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A Redis with the recipe's settings, and one without them."""
    [(_, configuration)] = blocks(RECIPES[REDIS], "conf")
    options = tuple(word for line in configuration.splitlines() for word in f"--{line}".split())
    servers = RedisServer(tmp_path / "good", options), RedisServer(tmp_path / "bad")
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_is_short_touches_at_most_three_files_and_adds_a_test(title: str) -> None:
    assert len(RECIPES[title].strip().splitlines()) <= 100
    files = {step.file for step in steps(RECIPES[title])}
    assert len([file for file in files if not file.startswith("tests/")]) <= 3
    assert len([file for file in files if file.startswith("tests/")]) == 1


def test_the_error_names_an_instruction_that_cannot_be_followed(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    for line, times in (("no such line", 0), ("import", "[1-9][0-9]+")):
        with pytest.raises(AssertionError, match=f"`{line}` occurs {times} times in app/main.py, not once"):
            follow(Step("above", "app/main.py", line, ""), project)
    with pytest.raises(AssertionError, match=r"app/main\.py exists already"):
        follow(Step("create", "app/main.py", "", ""), project)
    with pytest.raises(AssertionError, match="Nobody could tell where this goes: 'Put this somewhere:'"):
        steps("Put this somewhere:\n\n```python\npass\n```\n")


def test_the_tests_of_the_recipes_fail_before_the_recipes_are_followed(
    project: Path, redis_servers: tuple[RedisServer, RedisServer]
) -> None:
    _, bad_redis = redis_servers
    for step in [step for recipe in RECIPES.values() for step in steps(recipe) if is_test(step)]:
        follow(step, project)
    run_tests(project, list(RECIPES), {"failed", "error"}, SESSION_STORE=bad_redis.url)  # some cannot be imported


@pytest.mark.parametrize("title", [title for title in RECIPES if title != REDIS])
def test_the_test_of_a_recipe_passes_after_the_recipe_is_followed(project: Path, title: str) -> None:
    titles = with_those_it_needs(title)
    follow_all(titles, project)
    run_tests(project, titles, {"passed", "skipped"} if title == STORE else {"passed"})


def test_the_code_of_all_recipes_passes_formatter_linter_and_type_checkers(project: Path) -> None:
    follow_all(list(RECIPES), project)
    files = {step.file for recipe in RECIPES.values() for step in steps(recipe)}
    changed = sorted(file for file in files if re.fullmatch(r"app/.*\.py", file))
    pyright = ("pyright", "--pythonpath", sys.executable, *changed)
    for command in (("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy",), pyright):
        outcome = run(project, *command)
        assert outcome.returncode == 0, outcome.stdout
    run_tests(project, [title for title in RECIPES if title != REDIS], {"passed", "skipped"})


def test_all_recipes_together_work_in_real_processes(project: Path, tmp_path: Path) -> None:
    """Two workers share the folder, the sessions survive a restart, and a missing folder counts as a failed store."""
    follow_all(list(RECIPES), project)
    folder = tmp_path / "sessions"
    options = ("--app-dir", str(project))
    server = Server(tmp_path, f"folder:///{folder}", app="app.main:app", workers=2, options=options).start()
    try:
        client = server.client()
        assert client.post("/author", data={"author": "Ada"}).status_code == 303
        assert client.post("/files", files={"file": b"Mine.\n"}).status_code == 303
        server.stop()
        server.start()
        assert "Hello, Ada!" in client.get("/").text
        assert 'value="Ada"' in client.get("/author").text
        assert client.get("/files/notes.txt").text == "Mine.\n"
        assert client.post("/report").status_code == 303
        wait_until(lambda: client.get("/report").text == "The report is ready.")  # the task needs the folder

        folder.rename(tmp_path / "away")
        assert client.get("/").status_code == 503
        (tmp_path / "away").rename(folder)
        assert 'value="Ada"' in client.get("/author").text
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log


def serve(project: Path, folder: Path) -> Iterator[Server]:
    server = Server(folder, app="app.main:app", options=("--app-dir", str(project))).start()
    yield server
    server.close()
    assert "Traceback" not in server.log, server.log


def save_author(page: Page, name: str) -> None:
    page.get_by_role("textbox", name="Author").fill(name)
    page.get_by_role("button").click()


def test_the_badge_follows_a_save_and_stays_after_a_link_back_and_an_error(
    project: Path, browser: Browser, tmp_path: Path
) -> None:
    follow_all(with_those_it_needs(SAVED_BADGE), project)
    for server in serve(project, tmp_path):
        page = browser.new_page(base_url=server.url)
        badge = page.locator("#badge")
        page.goto("/author")
        for name in ("Ada", "Grace"):
            save_author(page, name)
            expect_status(page, "Saved")
            expect(badge).to_have_text(f"Hello, {name}!")
            page.get_by_role("link", name="Back").click()
            expect(page).to_have_url("/")
            expect(badge).to_have_text(f"Hello, {name}!")
            page.go_back()
            expect(page.get_by_role("textbox", name="Author")).to_have_value(name)
            expect(badge).to_have_text(f"Hello, {name}!")
            save_author(page, " ")
            expect(page.get_by_role("alert")).to_contain_text("The name is empty.")
            expect(page.get_by_role("textbox", name="Author")).to_have_value(" ")
            expect(badge).to_have_text(f"Hello, {name}!")
        page.close()


def test_a_form_without_hx_post_updates_the_badge_and_has_the_costs_that_the_recipe_names(
    project: Path, browser: Browser, tmp_path: Path
) -> None:
    follow_all(["A value in the session, with a form", BADGE], project)
    template = project / "templates/author.html"
    text = template.read_text()
    template.write_text(text.replace(' hx-post="/author" hx-target="find .result"', ""))
    assert template.read_text() != text
    for server in serve(project, tmp_path):
        page = browser.new_page(base_url=server.url)
        page.goto("/author")
        page.evaluate("window.notReloaded = true")
        before = page.evaluate("history.length")
        save_author(page, "Ada")
        expect(page.locator("#badge")).to_have_text("Hello, Ada!")
        expect_status(page, "")
        assert page.evaluate("history.length") == before + 1
        save_author(page, " ")
        expect(page.get_by_role("alert").get_by_role("heading")).to_have_text("The name is empty.")
        expect(page.get_by_role("textbox", name="Author")).to_have_value(" ")
        expect(page.locator("#badge")).to_have_text("Hello, Ada!")
        assert page.evaluate("window.notReloaded")
        page.close()


def test_an_interrupted_upload_is_not_a_server_error(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    follow_all(["A download and an upload"], project)
    server = Server(tmp_path, app="app.main:app", options=("--app-dir", str(project))).start()
    try:
        start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        for sent in (start, start + b"half of it"):
            HeldRequest(server, "POST", "/files", sent + b"." * 100, headers).abort()
        for body in (b"", start, b"--x--", b"no form at all"):
            response = server.client().post("/files", content=body, headers=headers)
            assert response.status_code == 400, body
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log


def test_the_redis_recipe_works_and_sessions_survive_restarts(
    tmp_path: Path, start_server: Callable[..., QuoteServer], redis_servers: tuple[RedisServer, RedisServer]
) -> None:
    """Sessions survive a restart of the app and of Redis, and the recipe's own test passes on this Redis."""
    redis, _ = redis_servers
    [(_, command)] = blocks(RECIPES[REDIS], "sh")
    [address] = re.findall(r"SESSION_STORE=(\S+)", command)
    url = address.replace("localhost:6379", f"127.0.0.1:{redis.port}")
    app = start_server(store=url)
    visitor = app.visitor("Mine.")
    app.stop()
    redis.stop()
    redis.start()
    app.start()
    assert "Mine." in visitor.get("/").text
    project = copy_project(tmp_path)
    follow_all([REDIS], project)
    run_tests(project, [REDIS], {"passed"}, SESSION_STORE=url)
