"""The recipes of `docs/recipes-login.md`, followed to the letter in a copy of the project, in their order."""

import re
import sys
from pathlib import Path

import pytest

from app.settings import PROJECT
from tests.repository.copies import copy_project, delete_demo, run
from tests.repository.test_recipes import Step, follow, is_test, steps

pytestmark = pytest.mark.full

TEXT = (PROJECT / "docs/recipes-login.md").read_text()
RECIPES = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
MAX_PYTHON = 45  # lines, without blank lines and without the test


def code_of(recipe: str, ending: str) -> list[Step]:
    return [step for step in steps(recipe) if step.file.endswith(ending) and not is_test(step)]


def run_tests(project: Path, recipes: list[str], endings: set[str]) -> None:
    """Run the tests of these recipes. The outcomes must be exactly `endings`."""
    files = [step.file for recipe in recipes for step in steps(recipe) if is_test(step)]
    report = run(project, "pytest", "-q", "-n0", "--continue-on-collection-errors", *files).stdout
    [summary] = re.findall(r"^\d+ .* in [\d.]+s.*$", report, flags=re.MULTILINE)
    assert set(re.findall(r"\d+ (passed|failed|skipped|error)", summary)) == endings, report


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return copy_project(tmp_path)


def test_a_recipe_is_short_and_adds_one_test() -> None:
    for recipe in RECIPES:
        lines = [line for step in code_of(recipe, ".py") for line in step.code.splitlines() if line.strip()]
        assert len(lines) <= MAX_PYTHON, f"{recipe[:20]}: {len(lines)}"
        assert len({step.file for step in code_of(recipe, ".html")}) <= 1
        assert len([step for step in steps(recipe) if is_test(step)]) == 1


def test_the_test_of_a_recipe_fails_before_the_recipe_is_followed(project: Path) -> None:
    for step in [step for recipe in RECIPES for step in steps(recipe) if is_test(step)]:
        follow(step, project)
    run_tests(project, RECIPES, {"failed", "error"})


def test_the_test_of_a_recipe_passes_after_it_and_the_earlier_ones_are_followed(project: Path) -> None:
    for recipe in RECIPES:
        for step in steps(recipe):
            follow(step, project)
        run_tests(project, [recipe], {"passed"})
    run_tests(project, RECIPES, {"passed"})


def test_all_tests_pass_in_a_project_without_the_demo(project: Path) -> None:
    delete_demo(project)
    for step in [step for recipe in RECIPES for step in steps(recipe)]:
        follow(step, project)
    run_tests(project, RECIPES, {"passed"})


def test_the_code_of_the_recipes_passes_formatter_linter_and_type_checkers(project: Path) -> None:
    for step in [step for recipe in RECIPES for step in steps(recipe)]:
        follow(step, project)
    files = {step.file for recipe in RECIPES for step in steps(recipe) if step.file.endswith(".py")}
    pyright = ("pyright", "--pythonpath", sys.executable, *(file for file in files if file.startswith("app/")))
    for command in (("ruff", "format", "--check", "."), ("ruff", "check", "."), ("mypy", *files), pyright):
        outcome = run(project, *command)
        assert outcome.returncode == 0, outcome.stdout
