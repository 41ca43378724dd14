"""Every problem that stops the start is reported in one line with the remedy, also with several workers."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from app.settings import PROJECT
from tests.support import Server


def start(*options: str, project: Path = PROJECT, python: tuple[str, ...] = (), **environment: str) -> str:
    """Start the app, which must exit by itself. Return what it printed."""
    command = [sys.executable, *python, "-m", "uvicorn", "app.main:app", "--app-dir", str(project), *options]
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=30, check=False
    )
    several = "--workers" in options
    assert result.returncode != 0 or several, "with several workers uvicorn stops, but calls it a success"
    assert "Traceback" not in result.stderr
    return result.stderr


def packages_without(folder: Path, *hidden: str) -> str:
    """Fill the folder with everything that is installed here except these packages, and return it."""
    folder.mkdir()
    for path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for package in Path(path).iterdir():
            if package.name not in hidden:
                (folder / package.name).symlink_to(package)
    return str(folder)


both = pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--port", "0"], id="one"),
        pytest.param(["--port", "0", "--workers", "2"], id="two", marks=pytest.mark.full),
    ],
)


@both
def test_a_bad_setting_stops_the_start_and_is_named(options: list[str]) -> None:
    said = start(*options, SESSION_LIFETIME="forever")
    assert "Cannot start: SESSION_LIFETIME='forever'" in said
    assert "SESSION_LIFETIME=604800" in said


@both
def test_a_missing_database_folder_stops_the_start_and_is_named(options: list[str], tmp_path: Path) -> None:
    said = start(*options, SESSION_STORE=f"sqlite:///{tmp_path}/missing/s.sqlite3")
    assert "Cannot start: SESSION_STORE=" in said
    assert f"Try: mkdir -p {tmp_path}/missing" in said
    (tmp_path / "missing").mkdir(parents=True)
    Server(tmp_path, f"sqlite:///{tmp_path}/missing/s.sqlite3").start().close()  # the remedy names one


@pytest.mark.parametrize("folder", ["static", "templates"])
def test_a_missing_project_folder_stops_the_start_and_is_named(folder: str, tmp_path: Path) -> None:
    for name in {"app", "static", "templates"} - {folder}:
        shutil.copytree(PROJECT / name, tmp_path / name)
    said = start(project=tmp_path, SESSION_STORE="memory://")
    assert f"Cannot start: the folder {tmp_path}/{folder} is missing. Deploy the whole project" in said


@both
def test_a_missing_package_stops_the_start_and_is_named(options: list[str], tmp_path: Path) -> None:
    """This happens when somebody starts a uvicorn from outside the project's virtual environment."""
    packages = packages_without(tmp_path / "packages", "litestar", "jinja2")
    said = start(*options, python=("-S",), SESSION_STORE="memory://", PYTHONPATH=packages)
    assert f"Cannot start: {sys.executable} lacks jinja2, litestar." in said
    assert f"Try: {sys.executable} -m pip install -r requirements.txt\n" in said


@both
def test_a_missing_redis_package_stops_the_start_and_is_named(options: list[str], tmp_path: Path) -> None:
    packages = packages_without(tmp_path / "packages", "redis")
    said = start(*options, python=("-S",), SESSION_STORE="redis://127.0.0.1:1", PYTHONPATH=packages)
    assert "Cannot start: SESSION_STORE=redis://...: No module named 'redis'." in said
    assert "Try: pip install redis\n" in said


def test_the_start_checks_every_package_that_the_app_imports() -> None:
    """Except the drivers, which are checked where they are used, and uvicorn, which loads the app."""
    imported = set()
    for path in (PROJECT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    imported -= {*sys.stdlib_module_names, "app", "redis", "asyncpg"}
    assert set(re.findall(r'"([a-z0-9]+)"', (PROJECT / "app/installed.py").read_text())) == imported
    named = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert imported <= {re.split(r"[^a-z0-9-]", line)[0] for line in named}


@both
def test_a_port_in_use_stops_the_start(options: list[str]) -> None:
    """The message is uvicorn's. It contains the address only with one process."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = start("--port", port, *options[2:], SESSION_STORE="memory://")
    assert "address already in use" in said.lower()
