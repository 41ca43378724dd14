"""One block of commands deletes the demo, and another demo can take its place: tested in copies of the project."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from app.settings import PROJECT
from tests.repository.copies import BLOCK, broken_links, copy_project, delete_demo, run
from tests.skeleton.sample import expect_status
from tests.support import Server

DEMO = ["app/quote", "templates/quote", "static/quote", "tests/quote"]
ABOUT_THIS_REPOSITORY = [
    "tests/repository",
    "benchmarks",
    "SECURITY.md",
    ".github/dependabot.yml",
    "docs/benchmarks.md",
    "docs/scale.md",
    "docs/experiments.md",
    "docs/first-page",
    "docs/from-sveltekit.md",
]
# Names of the demo: its package, its tests, its routes, its setting, its text.
NAMES = re.compile(r"app\.quote|tests\.quote|session/quote|session/destroy|/manage\b|DESTROY_DELAY|initial quote")
# Outside the demo's own folders, only these may name it.
MAY_NAME_IT = {".env.example", "CHANGELOG.md", "README.md", "app/main.py"}


def files_that_name_the_demo(project: Path) -> set[str]:
    """Return the files that name it, apart from those below `docs/`."""
    found = set()
    for path in project.rglob("*"):
        name = path.relative_to(project).as_posix()
        hidden = name.startswith(".") and not name.startswith((".ci/", ".github/", ".env.example"))
        if hidden or name.startswith(("docs/", "var/")) or "__pycache__" in name or not path.is_file():
            continue
        if NAMES.search(path.read_text(errors="replace")):
            found.add(name)
    return found


def test_only_a_few_files_outside_its_folders_name_the_demo() -> None:
    named = files_that_name_the_demo(PROJECT)
    assert {name for name in named if not name.startswith((*DEMO, *ABOUT_THIS_REPOSITORY))} <= MAY_NAME_IT
    main = (PROJECT / "app/main.py").read_text().splitlines()
    assert len([line for line in main if line.endswith("  # the demo")]) == 2


def test_the_block_is_short_and_runs_on_linux_and_on_macos() -> None:
    assert len(BLOCK.splitlines()) <= 15
    commands = {line.split()[0] for line in BLOCK.splitlines()}
    assert commands == {"rm", "mv", "sed"}
    assert "sed -i" not in BLOCK
    assert set(re.findall(r" (-\w+)", BLOCK)) == {"-rf", "-e"}


def test_no_page_that_stays_links_to_what_the_block_deletes() -> None:
    deleted = [PROJECT / name for name in (*DEMO, *ABOUT_THIS_REPOSITORY)]
    for page in (PROJECT / "docs").rglob("*.md"):
        if page not in deleted:
            for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
                path = (page.parent / target).resolve()
                assert not any(path.is_relative_to(each) for each in deleted), f"{page.name}: {target}"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy without the demo."""
    project = copy_project(tmp_path)
    delete_demo(project)
    return project


def serve(project: Path, folder: Path) -> Iterator[Server]:
    folder.mkdir()
    server = Server(folder, app="app.main:app", options=("--app-dir", str(project))).start()
    yield server
    server.close()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def server(project: Path, tmp_path: Path) -> Iterator[Server]:
    yield from serve(project, tmp_path / "server")


@pytest.mark.full
def test_the_block_deletes_the_demo_and_leaves_a_first_page(project: Path, server: Server) -> None:
    for name in [*DEMO, *ABOUT_THIS_REPOSITORY]:
        assert not (project / name).exists()
    assert files_that_name_the_demo(project) <= {"CHANGELOG.md", "README.md"}
    assert "demo" not in (project / ".env.example").read_text()
    assert broken_links(*(project / "docs").rglob("*.md")) == []
    assert len(broken_links(project / "README.md")) == 9  # the README says "nine"
    response = server.client().get("/")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<h1>Your note</h1>" in response.text


@pytest.mark.full
@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("mypy",),
        ("pyright", "--pythonpath", sys.executable),
        ("pytest", "-q"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_project_without_the_demo_passes_every_check(project: Path, command: tuple[str, ...]) -> None:
    outcome = run(project, *command)
    assert outcome.returncode == 0, outcome.stdout[-20_000:]


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    page = browser.new_page(base_url=server.url)
    page.set_default_timeout(10_000)
    yield page
    page.close()


def save_note(page: Page, text: str) -> None:
    page.get_by_label("Note").fill(text)
    page.get_by_role("button").click()


@pytest.mark.full
def test_the_first_page_works_in_a_browser(page: Page) -> None:
    page.goto("/")
    save_note(page, "kept")
    expect_status(page, "Saved")
    page.goto("/health")
    page.go_back()
    expect(page.get_by_label("Note")).to_have_value("kept")
    page.go_forward()
    expect(page.get_by_text("OK")).to_be_visible()
    page.go_back()

    save_note(page, "x" * 1001)
    expect(page.get_by_role("alert")).to_contain_text("“Note” is too long")
    expect(page.get_by_label("Note")).to_have_value("x" * 1001)

    page.context.set_offline(True)
    save_note(page, "typed while offline")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button").click()
    expect_status(page, "Saved")
    expect(page.get_by_role("alert")).to_be_empty()
    page.reload()
    expect(page.get_by_label("Note")).to_have_value("typed while offline")


@pytest.mark.full
def test_the_first_page_works_without_javascript(browser: Browser, server: Server) -> None:
    page = browser.new_page(base_url=server.url, java_script_enabled=False)
    page.goto("/")
    save_note(page, "kept")
    expect(page).to_have_url("/")
    expect(page.get_by_label("Note")).to_have_value("kept")
    save_note(page, "x" * 1001)
    expect(page.get_by_role("alert")).to_contain_text("“Note” is too long")
    expect(page.get_by_label("Note")).to_have_value("x" * 1001)
    save_note(page, "shorter")
    expect(page.get_by_label("Note")).to_have_value("shorter")
    page.close()


def put_another_in_its_place(project: Path) -> None:
    """Replace the demo with one that has the same pages and other names: a saying instead of a quote."""
    for folder in DEMO:
        shutil.copytree(project / folder, project / folder.replace("quote", "saying"))
        shutil.rmtree(project / folder)
        for path in sorted((project / folder.replace("quote", "saying")).rglob("*")):
            if path.is_file():
                text = path.read_text()
                for old, new in (("quote", "saying"), ("Quote", "Saying"), ("QUOTE", "SAYING"), ("destroy", "forget")):
                    text = text.replace(old, new)
                path.write_text(text.replace("session.forget()", "session.destroy()"))
                path.rename(path.with_name(path.name.replace("quote", "saying")))
    main = project / "app/main.py"
    main.write_text(main.read_text().replace("app.quote", "app.saying"))


@pytest.mark.full
def test_another_demo_can_take_its_place(browser: Browser, tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    put_another_in_its_place(project)
    for server in serve(project, tmp_path / "server"):
        page = browser.new_page(base_url=server.url)
        page.set_default_timeout(10_000)
        page.goto("/")
        text = page.locator("textarea[name=saying]")
        text.fill("kept")
        page.get_by_role("button", name="Save").click()
        expect_status(page, "Saved")

        text.fill("x" * 65_537)  # an error keeps the text
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("alert")).to_contain_text("is too long")
        expect(text).to_have_value("x" * 65_537)
        page.once("dialog", lambda dialog: dialog.accept())
        page.reload()
        expect(text).to_have_value("kept")

        headers = {
            "Content-Type": "text/plain; charset=utf-8"
        }  # a tab that is shown again shows what was saved elsewhere
        page.context.request.put("/session/saying/update", data="changed elsewhere", headers=headers)
        page.evaluate("for (const type of ['blur', 'focus']) window.dispatchEvent(new Event(type))")
        expect(text).to_have_value("changed elsewhere")
        page.get_by_role("link", name="Manage session").click()
        page.get_by_role("button", name="Destroy").click()
        page.get_by_role("link", name="Back").click()
        expect(text).to_have_value("initial saying")
        page.close()

        # Without JavaScript the error page gives the text back.
        client: httpx.Client = server.client()
        refused = client.post("/session/saying/update", data={"saying": "y" * 65_537}, headers={"Accept": "text/html"})
        assert refused.status_code == 413
        assert 'action="/session/saying/update"' in refused.text
        assert "y" * 65_537 in refused.text
