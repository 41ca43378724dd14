"""README and docs are true: the app contains the code that they quote, their links work, and their tests exist."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from litestar import Litestar

from app.sessions.litestar import SessionPlugin
from app.settings import PROJECT
from tests.quote.server import QuoteServer
from tests.repository.copies import broken_links
from tests.support import require

README = (PROJECT / "README.md").read_text()
FLOW = (PROJECT / "docs/how-a-request-flows.md").read_text()
DEPLOYING = (PROJECT / "docs/deploying.md").read_text()
WORKING = (PROJECT / "docs/working.md").read_text()
PAGES = [PROJECT / "README.md", PROJECT / "SECURITY.md", *(PROJECT / "docs").rglob("*.md")]
TOKEN = re.compile(r"(?<=session=)[\w-]{43}(?=;)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def words(text: str) -> int:
    """Count the words outside of code blocks. Those in tables count."""
    return len(CODE_BLOCK.sub("", text).split())


def test_the_readme_is_short() -> None:
    assert words(README) <= 1_300


def test_the_reading_path_takes_as_long_as_the_readme_says() -> None:
    """At 200 words a minute: the section on the pattern, the promises, and the files that the path names."""
    [path] = re.findall(r"^\*\*To learn the pattern\*\*.*?(?=\n\n)", README, re.MULTILINE | re.DOTALL)
    [minutes] = re.findall(r"about (\d+) minutes", path)
    files = re.findall(r"\]\(([^)#]+)\)", path)
    assert len(files) == 5
    sections = re.findall(r"^## (?:The pattern|Promises)\n.*?(?=^## )", README, re.MULTILINE | re.DOTALL)
    assert len(sections) == 2
    texts = [*sections, *((PROJECT / file).read_text() for file in files)]
    assert sum(len(text.split()) for text in texts) / 200 == pytest.approx(int(minutes), abs=3)


def test_the_code_in_the_docs_occurs_in_the_app_or_the_tests() -> None:
    source = "\n".join(path.read_text() for folder in ("app", "tests") for path in (PROJECT / folder).rglob("*.py"))
    for page in (README, WORKING):
        blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        assert blocks
        for block in blocks:
            for function in block.strip().split("\n\n\n"):
                assert function.strip() in source


def test_every_line_that_attaches_the_layer_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for page in PAGES for line in re.findall(r"SessionPlugin\(\"[^`\]\n]*\)(?=[`\]])", page.read_text())]
    lines = [line for line in lines if "..." not in line]
    assert len(lines) >= 4
    for line in lines:
        names = {"SessionPlugin": SessionPlugin, "Path": Path, "__file__": str(tmp_path / "main.py")}
        plugin = eval(line, names)  # noqa: S307 - it is our own
        assert Litestar(plugins=[plugin]).state.sessions is plugin.sessions


def test_every_link_leads_somewhere() -> None:
    assert broken_links(*PAGES) == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [PROJECT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
            ahead += [(page.parent / target).resolve() for target in targets]
    assert reached >= {page for page in PAGES if page.parent.name != "decisions"}


def test_the_readme_promises_every_rule_and_every_rule_has_tests() -> None:
    names = set(
        re.findall(r"def (test_\w+)", "\n".join(path.read_text() for path in (PROJECT / "tests").rglob("*.py")))
    )
    rules = {int(number) for name in names for number in re.findall(r"^test_rule_(\d+)_", name)}
    promised = re.findall(r"^\| (\d+) \| .* \| `test_rule_(\d+)_\*` \|$", README, re.MULTILINE)
    assert [(int(number), int(test)) for number, test in promised] == [(rule, rule) for rule in sorted(rules)]
    assert rules == set(range(1, 25))


def test_the_transcript_is_what_curl_shows(start_server: Callable[..., QuoteServer], tmp_path: Path) -> None:
    """Run every command in order. It must print what the transcript shows; tokens may differ."""
    require("curl")
    server = start_server(store="memory://")
    (transcript,) = re.findall(r"```console\n(.*?)```", FLOW, re.DOTALL)
    told = ""
    for command in re.findall(r"^\$ (.*)$", transcript, re.MULTILINE):
        script = command.replace("http://127.0.0.1:8000", server.url)
        run = subprocess.run([require("bash"), "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=20)
        told += f"$ {command}\n{run.stdout.rstrip()}\n"
    assert TOKEN.sub("TOKEN", told.replace("\r", "")) == TOKEN.sub("TOKEN", transcript)
    assert transcript.count("\nset-cookie:") == 2


def test_every_flag_of_the_procfile_is_explained() -> None:
    flags = re.findall(r"--[a-z-]+", (PROJECT / "Procfile").read_text())
    assert len(flags) == 5
    for flag in flags:
        assert f"`{flag}" in DEPLOYING
