"""Type checkers find the mistakes in the use of a session, and nothing else: rule 24."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import PROJECT

MISTAKES = "tests/sessions/mistakes.py"
CORRECT = "tests/sessions/correct_uses.py"
pytestmark = pytest.mark.full

Reports = dict[str, set[int]]  # the lines that are reported, per file


def run_mypy() -> Reports:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "app", MISTAKES, CORRECT]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    reports: Reports = {}
    for path, line in re.findall(r"^(\S+?):(\d+): error:", done.stdout, re.MULTILINE):
        reports.setdefault(path, set()).add(int(line))
    return reports


def run_pyright() -> Reports:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(
        [*command, "app", MISTAKES, CORRECT], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr + done.stdout
    reports: Reports = {}
    for report in json.loads(done.stdout)["generalDiagnostics"]:
        path = str(Path(report["file"]).relative_to(PROJECT))
        reports.setdefault(path, set()).add(report["range"]["start"]["line"] + 1)
    return reports


@pytest.fixture(scope="module", params=[run_mypy, run_pyright])
def reports(request: pytest.FixtureRequest) -> Reports:
    found: Reports = request.param()
    return found


def test_rule_24_type_checkers_report_each_mistake(reports: Reports) -> None:
    lines = (PROJECT / MISTAKES).read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# mistake")}
    assert len(marked) > 40
    assert reports[MISTAKES] == marked


def test_rule_24_type_checkers_find_nothing_in_the_app_or_in_correct_uses(reports: Reports) -> None:
    assert reports.keys() == {MISTAKES}


def test_rule_24_the_layer_is_marked_as_typed() -> None:
    assert (PROJECT / "app/sessions/py.typed").exists()
