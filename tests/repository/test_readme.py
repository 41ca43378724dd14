"""The README is true: its code stands in the app as quoted, its links lead somewhere, its tests exist."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from app.settings import PROJECT
from tests.quote.server import QuoteServer
from tests.support import require

README = (PROJECT / "README.md").read_text()
TOKEN = re.compile(r"(?<=session=)[\w-]{43}(?=;)")


def test_the_code_in_the_readme_is_the_apps_own() -> None:
    source = "\n".join(path.read_text() for folder in ("app", "tests") for path in (PROJECT / folder).rglob("*.py"))
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        for function in block.strip().split("\n\n\n"):
            assert function.strip() in source


def test_the_links_in_the_readme_and_the_decisions_lead_somewhere() -> None:
    for page in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]:
        for target in re.findall(r"(?:\]\(|src=\"|srcset=\")(?!https?://|#)([^)#\"]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_promise_of_the_readme_has_its_tests() -> None:
    sources = (path.read_text() for path in (PROJECT / "tests").rglob("*.py"))
    names = set(re.findall(r"def (test_\w+)", "\n".join(sources)))
    promised = re.findall(r"`(test_\w+_)\*`", README)
    assert len(promised) >= 16
    for prefix in promised:
        assert any(name.startswith(prefix) for name in names), prefix


def test_the_transcript_of_the_readme_is_what_curl_shows(
    start_server: Callable[..., QuoteServer], tmp_path: Path
) -> None:
    """Every command is run, in order, and has to print what stands below it; a token may be any token."""
    require("curl")
    server = start_server(store="memory://")
    (transcript,) = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    told = ""
    for command in re.findall(r"^\$ (.*)$", transcript, re.MULTILINE):
        script = command.replace("http://127.0.0.1:8000", server.url)
        run = subprocess.run([require("bash"), "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=20)
        told += f"$ {command}\n{run.stdout.rstrip()}\n"
    assert TOKEN.sub("TOKEN", told.replace("\r", "")) == TOKEN.sub("TOKEN", transcript)
    assert transcript.count("\nset-cookie:") == 2


def test_every_flag_of_the_procfile_is_explained_in_the_readme() -> None:
    flags = re.findall(r"--[a-z-]+", (PROJECT / "Procfile").read_text())
    assert len(flags) == 5
    for flag in flags:
        assert f"`{flag}" in README
