"""The README is true: its code stands in the app as quoted, its links lead somewhere, its tests exist."""

import re

from app.settings import PROJECT

README = (PROJECT / "README.md").read_text()


def test_the_code_in_the_readme_is_the_apps_own() -> None:
    source = "\n".join(path.read_text() for folder in ("app", "tests") for path in (PROJECT / folder).rglob("*.py"))
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        for function in block.strip().split("\n\n\n"):
            assert function.strip() in source


def test_the_links_in_the_readme_and_the_decisions_lead_somewhere() -> None:
    for page in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_promise_of_the_readme_has_its_tests() -> None:
    names = set(re.findall(r"def (test_\w+)", "\n".join(path.read_text() for path in PROJECT.glob("tests/*.py"))))
    promised = re.findall(r"`(test_\w+_)\*`", README)
    assert len(promised) >= 16
    for prefix in promised:
        assert any(name.startswith(prefix) for name in names), prefix
