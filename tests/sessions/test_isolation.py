"""What each part of the app imports, and what the session layer needs."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Litestar
from litestar.template import TemplateConfig

from app.sessions.litestar import SessionPlugin
from app.settings import PROJECT
from tests.sessions.hosts.servers import run_python

APP = PROJECT / "app"
LAYER = APP / "sessions"


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in APP.rglob("*.py")}


def imports_of(path: Path) -> list[str]:
    """Return the full names of what a file imports, also inside functions and under `TYPE_CHECKING`."""
    package = module_name(path.parent / "__init__.py").split(".")
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            # `from package import module` imports the module, `from module import name` only the module.
            names = [f"{source}.{alias.name}" for alias in node.names]
            found += [name if name in MODULES else source for name in names]
    return found


def graph() -> dict[str, set[str]]:
    """Return for each module of the app those that it imports."""
    return {name: {other for other in imports_of(path) if other in MODULES} for name, path in MODULES.items()}


def rank(module: str) -> int:
    """Return how far up a module is: a module imports from its own part, and from those below."""
    if module == "app.main":
        return 3
    if module == "app" or not (APP / module.split(".")[1]).is_dir():
        return 1
    return 0 if module.split(".")[1] == "sessions" else 2  # a package with pages, such as the demo


def test_there_are_no_circular_imports() -> None:
    assert tuple(TopologicalSorter(graph()).static_order())  # raises CycleError, which names the cycle


def test_imports_go_one_way_from_main_to_pages_to_skeleton_to_session_layer() -> None:
    for module, others in graph().items():
        for other in others:
            assert rank(other) <= rank(module), f"{module} imports {other}"
    assert {rank(module) for module in MODULES} >= {0, 1, 3}


def third_party(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)} - sys.stdlib_module_names - {"app"}


def test_the_layer_imports_nothing_around_it_and_never_its_own_package_by_name() -> None:
    for path in LAYER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level < 2, f"{path.name}: from {'.' * node.level}{node.module or ''}"
                assert (node.module or "").partition(".")[0] != "app" or node.level, path.name
            if isinstance(node, ast.Import):
                assert "app" not in [alias.name.partition(".")[0] for alias in node.names], path.name


def test_each_third_party_package_is_imported_by_one_part_of_the_layer() -> None:
    """The part is a module, or one with helpers that only it imports: `redis.py` and `redis_connection.py`."""
    importers: dict[str, set[str]] = {}
    for path in LAYER.glob("*.py"):
        for package in third_party(path) - {"msgspec"}:
            importers.setdefault(package, set()).add(path.stem)
    for package, module in {"click": "commands", "jinja2": "templates"}.items():
        assert importers[package] == {module}
    parts = {package: {module.partition("_")[0] for module in modules} for package, modules in importers.items()}
    assert (parts["litestar"], parts["redis"], parts["asyncpg"]) == ({"litestar"}, {"redis"}, {"postgres"})
    for package, modules in parts.items():
        assert len(modules) == 1, f"{package} is imported by {modules}"


def test_only_a_store_imports_its_helper_modules() -> None:
    for module, others in graph().items():
        for other in others:
            owner, _, helper = other.removeprefix("app.sessions.").partition("_")
            if helper and owner in ("redis", "postgres", "sqlite"):
                assert module.startswith(f"app.sessions.{owner}"), f"{module} imports {other}"


def test_only_urls_py_imports_a_store() -> None:
    stores = {f"app.sessions.{name}" for name in ("memory", "sqlite", "redis", "postgres")}
    assert {module for module, others in graph().items() if others & stores} == {"app.sessions.urls"}


def test_the_middleware_needs_the_standard_library_and_its_own_package() -> None:
    assert third_party(LAYER / "middleware.py") == set()


def test_no_file_of_the_layer_has_more_than_250_lines() -> None:
    for path in LAYER.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 250, path.name


def test_the_layer_needs_only_msgspec(tmp_path: Path) -> None:
    code = """
import sys
from app.sessions import BadStoreURL, Key, Session, SessionManager, SessionMiddleware, open_store

foreign = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"app", "__main__"}
print(*sorted(foreign))
open_store("memory://")
for name in ("litestar", "click", "jinja2", "redis"):
    try:
        __import__(name)
    except ImportError:
        continue
    print(name, "is there")
try:
    open_store("redis://localhost")
except BadStoreURL as error:
    print(error)
"""
    loaded, *rest = run_python(tmp_path, code, "msgspec").splitlines()
    assert set(loaded.split()) <= {"msgspec", "sitecustomize"}
    assert rest == ["redis://...: No module named 'redis'. Try: pip install redis"]


def test_a_template_engine_other_than_jinja_needs_no_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)  # an import of it fails
    monkeypatch.delitem(sys.modules, "app.sessions.templates", raising=False)
    engine: Any = SimpleNamespace(engine=object(), register_template_callable=lambda *_: None)
    Litestar(plugins=[SessionPlugin("memory://")], template_config=TemplateConfig(instance=engine))
