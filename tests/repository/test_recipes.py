"""The recipes of `docs/recipes.md`, followed to the letter in a copy of the project.

What stands in front of a block of code says where it goes. It has to end in one of these, or nobody could follow it:

    Create `file`:
    At the end of `file`, add:
    In `file`, above `line`, add:       (or `below`; a part of the line will do, if it stands nowhere else in the file)
    In `file`, replace `text` with:     (or `the line`)
    Copy `file` to `file`               (this one has no block)

Blocks of `sh` and `conf` are for the person who runs the app.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.settings import PROJECT
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer
from tests.support import BROWSER, token_of

pytestmark = pytest.mark.full

RECIPES = re.split(r"^## ", (PROJECT / "docs/recipes.md").read_text(), flags=re.MULTILINE)[1:]
VALUE, NEW_PAGE, LOGIN, LOGOUT, GUARD, REDIS, STORE = RECIPES

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
    """Return the blocks in these languages, each with the words in front of it, put on one line."""
    parts = re.findall(r"(.*?)^```(\w+)\n(.*?)^```$", recipe, flags=re.MULTILINE | re.DOTALL)
    return [(" ".join(words.split()), code) for words, language, code in parts if language in languages]


def steps(recipe: str) -> list[Step]:
    found = []
    for source, file in re.findall(r"Copy `([^`]+)` to `([^`]+)`", " ".join(recipe.split())):
        found.append(Step("create", file, "", (PROJECT / source).read_text()))
    for words, code in blocks(recipe, "python", "html"):
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
        assert not path.exists(), f"{step.file} is there already"
        path.write_text(step.code)
        return
    text = path.read_text()
    if step.place == "append":
        path.write_text(f"{text}\n\n{step.code}")
        return
    times = text.count(step.line)
    assert times == 1, f"`{step.line}` stands in {step.file} {times} times, not once"
    if step.place == "replace":
        path.write_text(text.replace(step.line, step.code.strip()))
        return
    before, line, after = re.split(f"(.*{re.escape(step.line)}.*\n)", text)
    path.write_text(before + (step.code + line if step.place == "above" else line + step.code) + after)


def run(project: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module in the project, with no settings but these."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SESSION_")} | settings
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def run_tests(project: Path, recipes: list[str], endings: set[str], **settings: str) -> None:
    """Run the tests of these recipes, on the stores that need no server of their own. All have to end like this."""
    files = [step.file for recipe in recipes for step in steps(recipe) if is_test(step)]
    without = "not [redis and not [cluster and not [postgres"
    command = ("pytest", "-q", "-n0", "--continue-on-collection-errors", "-k", without, *files)
    report = run(project, *command, **settings).stdout
    [summary] = re.findall(r"^\d+ .* in [\d.]+s.*$", report, flags=re.MULTILINE)
    found = set(re.findall(r"\d+ (passed|failed|skipped|error)", summary))
    if STORE in recipes and "passed" in found:
        found.discard("skipped")  # what the suite can prove only with more fixtures
    assert found == endings, report


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, to follow recipes in."""
    unneeded = shutil.ignore_patterns(".*", "var", "node_modules")
    return shutil.copytree(PROJECT, tmp_path / "project", ignore=unneeded)


@pytest.fixture
def finished_project(project: Path) -> Path:
    """A copy in which all recipes were followed, one after the other."""
    for recipe in RECIPES:
        for step in steps(recipe):
            follow(step, project)
    return project


@pytest.fixture
def redis_servers(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A Redis that is set up as the recipe says, and one that is not."""
    [(_, configuration)] = blocks(REDIS, "conf")
    options = tuple(word for line in configuration.splitlines() for word in f"--{line}".split())
    servers = RedisServer(tmp_path / "good", options), RedisServer(tmp_path / "bad")
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


def test_a_recipe_fits_a_screen_touches_three_files_at_the_most_and_adds_a_test() -> None:
    for recipe in RECIPES:
        assert len(recipe.strip().splitlines()) <= 60, recipe
        files = {step.file for step in steps(recipe)}
        assert len([file for file in files if not file.startswith("tests/")]) <= 3
        assert len([file for file in files if file.startswith("tests/")]) == 1


def test_an_instruction_that_cannot_be_followed_is_named(project: Path) -> None:
    for line, times in (("no such line", 0), ("import", "[1-9][0-9]+")):
        with pytest.raises(AssertionError, match=f"`{line}` stands in app/routes.py {times} times, not once"):
            follow(Step("above", "app/routes.py", line, ""), project)
    with pytest.raises(AssertionError, match=r"app/routes\.py is there already"):
        follow(Step("create", "app/routes.py", "", ""), project)
    with pytest.raises(AssertionError, match="Nobody could tell where this goes: 'Put this somewhere:'"):
        steps("Put this somewhere:\n\n```python\npass\n```\n")


def test_the_tests_of_the_recipes_fail_as_long_as_nothing_is_done(
    project: Path, redis_servers: tuple[RedisServer, RedisServer]
) -> None:
    _, bad_redis = redis_servers
    for step in [step for recipe in RECIPES for step in steps(recipe) if is_test(step)]:
        follow(step, project)
    run_tests(project, RECIPES, {"failed", "error"}, SESSION_STORE=bad_redis.url)  # the store's cannot be imported


@pytest.mark.parametrize(
    "recipes",
    [[VALUE], [NEW_PAGE], [LOGIN, LOGOUT, GUARD], [STORE]],
    ids=["value", "page", "login", "store"],
)
def test_the_tests_of_a_recipe_pass_when_it_is_done(project: Path, recipes: list[str]) -> None:
    for step in [step for recipe in recipes for step in steps(recipe)]:
        follow(step, project)
    run_tests(project, recipes, {"passed"})


def test_what_the_recipes_leave_behind_is_in_good_order(finished_project: Path) -> None:
    files = {step.file for recipe in RECIPES for step in steps(recipe) if step.file.endswith(".py")}
    for command in (("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy", *files)):
        outcome = run(finished_project, *command)
        assert outcome.returncode == 0, outcome.stdout


def test_all_recipes_together_in_real_processes(finished_project: Path, tmp_path: Path) -> None:
    """Two workers share the folder; the sessions outlive them; a folder that is gone is a store that fails."""
    folder = tmp_path / "sessions"
    options = ("--app-dir", str(finished_project))
    server = QuoteServer(tmp_path, f"folder:///{folder}", workers=2, options=options).start()
    try:
        client = server.visitor("Mine.")
        planted = token_of(client)
        assert client.get("/members").headers["location"] == "/login"
        ada = {"name": "ada", "password": "lovelace"}
        wrong = client.post("/login", data=ada | {"password": ""}, headers=BROWSER)
        assert (wrong.status_code, "<h1>Log in</h1>" in wrong.text, token_of(client)) == (403, True, planted)
        assert "Try again." in wrong.text
        assert client.post("/login", data=ada, headers=BROWSER).headers["location"] == "/login"
        assert client.post("/session/author/update", data={"author": "Shakespeare"}).status_code == 303

        server.stop()
        server.start()
        pages = {path: client.get(path).text for path in ("/", "/login", "/members", "/numbers", "/manage")}
        assert "Mine." in pages["/"]
        assert "Shakespeare" in pages["/"]
        assert "Hello, ada" in pages["/login"]
        assert "ada" in pages["/members"]
        assert "<dd>5</dd>" in pages["/numbers"]
        assert "Folder" in pages["/manage"]
        assert server.client(planted).get("/members").status_code == 303

        folder.rename(tmp_path / "away")
        assert client.get("/").status_code == 503
        (tmp_path / "away").rename(folder)
        assert client.post("/logout").status_code == 303
        assert client.get("/members").status_code == 303
        assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
    finally:
        server.close()
    assert "Traceback" not in server.log, server.log


def test_redis(
    project: Path, start_server: Callable[..., QuoteServer], redis_servers: tuple[RedisServer, RedisServer]
) -> None:
    """Sessions outlive the app and Redis; the recipe's own test is content with this one."""
    redis, _ = redis_servers
    [(_, command)] = blocks(REDIS, "sh")
    [address] = re.findall(r"SESSION_STORE=(\S+)", command)
    url = address.replace("localhost:6379", f"127.0.0.1:{redis.port}")
    app = start_server(store=url)
    visitor = app.visitor("Mine.")
    app.stop()
    redis.stop()
    redis.start()
    app.start()
    assert "Mine." in visitor.get("/").text
    for step in steps(REDIS):
        follow(step, project)
    run_tests(project, [REDIS], {"passed"}, SESSION_STORE=url)
