"""Copies of the project, to delete the demo from and to follow recipes in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from app.settings import PROJECT
from tests.support import require

README = (PROJECT / "README.md").read_text()
[BLOCK] = re.findall(r"^### Delete the demo\n[^#]*?^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def copy_project(folder: Path) -> Path:
    """Return a copy of the project, without what Git ignores, in this folder."""
    unneeded = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "var", "__pycache__", "node_modules")
    return shutil.copytree(PROJECT, folder / "project", ignore=unneeded)


def delete_demo(project: Path) -> None:
    """Run the README's block to the letter, as a shell would that stops at the first error."""
    subprocess.run([require("sh"), "-eu", "-c", BLOCK], cwd=project, check=True)


def broken_links(*pages: Path) -> list[str]:
    """Return the links of these pages to files that are missing, and to headings that no page has."""
    broken = []
    for page in pages:
        for link in re.findall(r"(?:\]\(|src=\"|srcset=\")(?!https?://)([^)\"]+)", page.read_text()):
            target, _, heading = link.partition("#")
            path = page.parent / target if target else page
            if not path.exists() or (heading and heading not in headings(path)):
                broken.append(f"{page.name}: {link}")
    return broken


def headings(page: Path) -> list[str]:
    """Return the headings of a page as GitHub writes them into links."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def run(project: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module in the project, with only these settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SESSION_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
