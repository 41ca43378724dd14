"""What belongs to a kept project: one version, a list of changes, and a build that takes only what it needs."""

import re

import app.sessions
from app.settings import PROJECT


def test_the_newest_changes_are_those_of_the_version() -> None:
    newest = re.findall(r"^## (.*)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest == app.sessions.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", newest)


def test_a_container_gets_what_the_dockerfile_copies_and_nothing_else() -> None:
    everything, *others = [
        line for line in (PROJECT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert everything == "*"
    copied = re.findall(r"^COPY (\S+) ", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert sorted(others) == sorted([*(f"!{name}" for name in copied), "**/__pycache__"])
