"""The quick test run covers every rule of sessions, and the full run leaves nothing out."""

import functools
import re
import subprocess
import sys

import pytest

from app.settings import PROJECT

pytestmark = pytest.mark.full

RULES = set(range(1, 25))  # the rules in the README's table


@functools.cache
def collected(*options: str) -> list[str]:
    """Return the tests that a run with these options would run."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n0", *options]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    return [line for line in done.stdout.splitlines() if "::" in line]


def test_the_quick_run_covers_every_rule() -> None:
    quick = collected()
    rules = {int(number) for number in re.findall(r"::test_rule_(\d+)_", "\n".join(quick))}
    assert rules >= RULES


def test_the_full_run_leaves_nothing_out() -> None:
    quick, full, marked = set(collected()), set(collected("--full")), set(collected("--full", "-m", "full"))
    assert quick < full
    assert quick | marked == full
    sources = "\n".join(path.read_text() for path in (PROJECT / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"^(?:async )?def (test_\w+)\(", sources, re.MULTILINE))
    assert defined <= {re.sub(r"\[.*", "", test).rpartition("::")[2] for test in full}
