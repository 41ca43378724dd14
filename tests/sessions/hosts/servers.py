"""Starts the hosts, each in an environment that has only the packages it needs."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement

from app.settings import PROJECT
from tests.support import Server

HOSTS = ["this app", "Litestar", "FastAPI"]
HOST_PARAMS = [HOSTS[0], *(pytest.param(name, marks=pytest.mark.full) for name in HOSTS[1:])]
HERE = Path(__file__).parent
FILES = ["actions.py", "litestar_routes.py", "litestar_app.py", "fastapi_app.py"]


@dataclass
class Host(Server):
    """A server that runs one of the hosts. `folder` also holds the files that its store writes and obeys."""

    name: str = "this app"
    packages: Path = field(init=False)

    def __post_init__(self) -> None:
        self.store = "memory://"
        self.packages = self.folder / "packages"
        self.app = {"Litestar": "litestar_app:app", "FastAPI": "fastapi_app:app"}.get(
            self.name, "tests.sessions.hosts.this_app:app"
        )
        if self.name != "this app":
            copy_layer(self.folder)
            for file in FILES:
                source = (HERE / file).read_text().replace("app.sessions", "sessions")
                (self.folder / file).write_text(source.replace("tests.sessions.hosts.", ""))
        server = ["uvicorn", "websockets", "httptools", "uvloop"]
        if self.name == "FastAPI":
            link_packages(self.packages, "fastapi", "msgspec", *server, leave_out="click")
            link_packages(self.folder / "server-only", "click")
        elif self.name == "Litestar":
            link_packages(self.packages, "litestar", "jinja2", *server)
            (self.folder / "server-only").mkdir()

    def launch(self) -> None:
        if self.name == "this app":
            super().launch()
            return
        command = [sys.executable, "-S", str(HERE / "serve.py"), self.app, str(self.port)]
        command.append(str(self.folder / "server-only"))
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )

    def run_command(self, *arguments: str) -> str:
        """Run Litestar's command line in the environment of the host. Return what it prints."""
        command = [sys.executable, *(() if self.name == "this app" else ("-S",)), "-m", "litestar", "--app", self.app]
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _environment(self) -> dict[str, str]:
        path = str(PROJECT) if self.name == "this app" else str(self.packages)
        return {**os.environ, "PYTHONPATH": path, "SESSION_STORE": self.store, **self.environment}

    def visitor_with(self, **values: Any) -> httpx.Client:
        """Return a client whose session holds these values."""
        client = self.client()
        for name, value in values.items():
            assert client.put(f"/values/{name}", json=value).status_code == 200
        return client

    def values(self, client: httpx.Client) -> Any:
        """Return what the store holds for the client, seen by another client with the same cookies."""
        with httpx.Client(base_url=self.url, cookies=client.cookies, timeout=20) as other:
            return other.get("/values").json()

    def lines(self, file: str) -> list[str]:
        """Return the lines of a file that the host writes."""
        path = self.folder / file
        return path.read_text().splitlines() if path.exists() else []


def copy_layer(folder: Path) -> None:
    """Copy the session layer into a folder, under another name."""
    shutil.copytree(PROJECT / "app/sessions", folder / "sessions", ignore=shutil.ignore_patterns("__pycache__"))


def link_packages(folder: Path, *names: str, leave_out: str = "") -> None:
    """Fill a folder with links to these distributions and to all that they depend on, except `leave_out`."""
    folder.mkdir()
    for found in with_dependencies(*names, leave_out=leave_out):
        for path in found.files or ():
            top = path.parts[0]
            link = folder / top
            if top not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))


def with_dependencies(*names: str, leave_out: str) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found and name != leave_out:
            found[name] = distribution(name)
            requirements = [Requirement(line) for line in found[name].requires or ()]
            waiting += [each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    return list(found.values())


def run_python(folder: Path, code: str, *packages: str) -> str:
    """Run code in an environment that holds only these packages and what they depend on. Return what it prints."""
    link_packages(folder / "packages", *packages)
    command = [sys.executable, "-S", "-c", code]
    path = os.pathsep.join([str(folder / "packages"), str(PROJECT)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
