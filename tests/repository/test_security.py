"""The tests that `docs/security.md` and the decision about owners name exist."""

import re

import pytest

from app.settings import PROJECT


@pytest.mark.parametrize("page", ["security.md", "decisions/8-owners.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    tests = "\n".join(path.read_text() for path in (PROJECT / "tests").rglob("*.py"))
    named = re.findall(r"`(test_\w+)`", (PROJECT / "docs" / page).read_text())
    assert named
    for name in named:
        assert f"def {name}(" in tests, name


def test_the_table_has_every_requirement_of_chapter_7() -> None:
    numbers = {1: 3, 2: 4, 3: 2, 4: 5, 5: 3, 6: 2}
    table = (PROJECT / "docs/security.md").read_text()
    for section, count in numbers.items():
        for number in range(1, count + 1):
            assert f"7.{section}.{number}" in table
