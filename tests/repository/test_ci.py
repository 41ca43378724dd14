"""CI does what the README says, here and on GitHub, and the project's name occurs in few places."""

import os
import re
from pathlib import Path

from app.settings import PROJECT

README = (PROJECT / "README.md").read_text()
WORKFLOW = (PROJECT / ".github/workflows/ci.yml").read_text()
LOCAL = (PROJECT / ".ci/run").read_text()


def test_the_workflow_runs_exactly_the_readmes_commands() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    in_workflow = re.findall(r"^ +(python3 -m venv .*?)(?: >\S+ 2>&1 &)?$", WORKFLOW, re.MULTILINE)
    assert in_workflow == commands
    (with_uv,) = re.findall(r"^uv venv .*$", README, re.MULTILINE)
    assert re.findall(r"^ +(uv venv .*) --help$", WORKFLOW, re.MULTILINE) == [with_uv]


def test_the_workflow_covers_every_python_that_the_project_supports() -> None:
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    versions = re.findall(r'"3\.(\d+)"', matrix)
    (lowest,) = re.findall(r'requires-python = ">=3\.(\d+)"', (PROJECT / "pyproject.toml").read_text())
    assert versions == [str(minor) for minor in range(int(lowest), 15)]


def test_the_workflow_and_ci_run_install_the_same_packages_and_run_the_same_checks() -> None:
    (line,) = re.findall(r"apt-get install --yes --no-install-recommends (.*)", WORKFLOW)
    assert set(line.split()) == set(re.findall(r"missing\+=\(([^)]+)\)", LOCAL)) - {"python3-venv"}
    pattern = r"\.venv/bin/(?:ruff|mypy|pyright|pytest --full).*"
    checks = re.findall(pattern, LOCAL)
    assert len(checks) == 5
    assert re.findall(pattern, WORKFLOW) == checks
    assert checks[-1] == ".venv/bin/pytest --full -m full"


def test_the_docs_name_the_programs_that_ci_installs() -> None:
    (line,) = re.findall(r"^apt-get install (.*)$", (PROJECT / "docs/working.md").read_text(), re.MULTILINE)
    (installed,) = re.findall(r"apt-get install --yes --no-install-recommends (.*)", WORKFLOW)
    assert set(line.split()) == set(installed.split()) - {"curl", "openssl"}  # which Debian has on most machines


def test_the_workflow_may_only_read_and_its_actions_are_pinned() -> None:
    assert re.findall(r"^permissions:\n((?:  .*\n)+)", WORKFLOW, re.MULTILINE) == ["  contents: read\n"]
    assert "persist-credentials: false" in WORKFLOW
    actions = re.findall(r"uses: (.*)", WORKFLOW)
    assert actions
    for action in actions:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action)


def test_the_projects_name_occurs_in_at_most_three_places() -> None:
    """The README's heading, the title of the pages and the name of the package, so it is quick to change."""
    (name,) = re.findall(r'^name = "(.*)"$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    pattern = re.compile(name.replace("-", "[ _-]"), re.IGNORECASE)
    places = []
    for folder, folders, files in os.walk(PROJECT):
        folders[:] = [name for name in folders if name in (".ci", ".github") or not name.startswith((".", "__", "var"))]
        for file in files:
            text = (Path(folder) / file).read_text(errors="replace")
            places += [file] * len(pattern.findall(text))
    assert "pyproject.toml" in places
    assert len(places) <= 3, places
