"""Maintenance: one version, a changelog, and a container image with only what it needs."""

import re

import app.sessions
from app.settings import PROJECT


def test_the_changelogs_newest_entry_is_for_the_current_version() -> None:
    newest = re.findall(r"^## (.*)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest == app.sessions.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", newest)


def test_a_container_gets_only_what_the_dockerfile_copies() -> None:
    everything, *others = [
        line for line in (PROJECT / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert everything == "*"
    copied = re.findall(r"^COPY (\S+) ", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert sorted(others) == sorted([*(f"!{name}" for name in copied), "**/__pycache__"])
