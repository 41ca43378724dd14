"""Tools for the tests: a server in its own process, and requests that a test can hold back."""

import http.client
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import httpx
import pytest

from app.settings import PROJECT
from tests.forks import ForkedProcess

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}
HTMX = {"HX-Request": "true", "HX-Request-Type": "partial", "Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
# The app that most tests serve: the skeleton with a few pages that keep a text in the session.
SAMPLE_APP = "tests.skeleton.sample_app:app"
HOME = "/sample"
UPDATE = "/sample/text"
END = "/sample/end"
DEFAULT = "initial text"

# The type of the fixture `client_with`.
ClientWith = Callable[..., Awaitable[httpx.AsyncClient]]

# Made once, because reading the certificate authorities takes 50 ms of CPU time, and each client would do it again.
TLS = httpx.create_ssl_context()

# Without these, Chromium contacts its maker's servers, and refuses to start as root in a container.
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def require(*programs: str) -> str:
    """Return the path of the first of these programs that is installed. If none is, skip the test; in CI, fail it."""
    for program in programs:
        if path := shutil.which(program):
            return path
    reason = f"needs {' or '.join(programs)}, which this machine lacks"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; in CI nothing may be skipped for that")
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# Bypass a proxy named in the environment: it does not lead back to this machine. Child processes inherit this setting.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"]))

# Processes that the tests start find `sitecustomize.py` there.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(PROJECT / "tests/deployed"), os.environ.get("PYTHONPATH")])
)

# pytest's own worker processes find it too, but the tests of FastAPI need pydantic.
if sys.modules.get("pydantic", sys) is None:
    del sys.modules["pydantic"]

# With a shared cache, mypy checks the project's dependencies once, not again in each copy of the project.
os.environ.setdefault("MYPY_CACHE_DIR", str(PROJECT / ".mypy_cache"))


@dataclass
class Server:
    """uvicorn with an app, as in a deployment: started in another folder, configured by its environment."""

    folder: Path
    store: str = ""
    app: str = SAMPLE_APP
    workers: int = 1
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    prepare: Callable[[], None] | None = None  # the new process calls it before it becomes the server
    forked: ClassVar[bool] = False  # the tests set it; the benchmarks measure a process of its own
    process: subprocess.Popen[bytes] | ForkedProcess | None = None
    clients: list[httpx.Client] = field(default_factory=list)
    update: ClassVar[str] = UPDATE  # where its visitors store their text

    def __post_init__(self) -> None:
        self.store = self.store or f"sqlite:///{self.database}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.folder / "sessions.sqlite3"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def wait_for_log(self, text: str) -> None:
        """Wait until the log holds a text. A logger with a queue writes after the response is sent."""
        wait_until(lambda: text in self.log, explain=lambda: f"the log does not hold {text!r}:\n{self.log}")

    def start(self) -> Self:
        """Start the server, and wait until all its workers serve."""
        path = self.folder / "server.log"
        logged = len(path.read_text()) if path.exists() else 0
        self.launch()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at once:\n{self.log}")
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()  # costs less than a request that fails
                httpx.get(f"{self.url}/health", timeout=6, verify=TLS)
            except (OSError, httpx.TransportError):
                time.sleep(0.05)
                continue
            if self.workers > 1:
                wait_until(lambda: self.log[logged:].count("startup complete") >= self.workers, 20)
            return self
        raise AssertionError(f"the server does not answer:\n{self.log}")

    def launch(self) -> None:
        arguments = [self.app, "--app-dir", str(PROJECT), "--port", str(self.port), "--workers", str(self.workers)]
        arguments += self.options
        environment = {**os.environ, "SESSION_STORE": self.store, **self.environment}
        if self.forked and not self.prepare:
            self.process = ForkedProcess("uvicorn", arguments, self.folder, environment, self.folder / "server.log")
            return
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *arguments],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self.prepare,
            )

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Send a signal to the whole process group, including the workers."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal_number)
            self.process.wait(timeout=20)
            wait_until(lambda: is_free(self.port))  # workers that were killed may be the last to go

    def close(self) -> None:
        self.stop()
        for client in self.clients:
            client.close()

    def client(self, token: str | None = None) -> httpx.Client:
        """Return the client of a new visitor: without a session, or with the session of this token."""
        client = httpx.Client(base_url=self.url, timeout=20, verify=TLS)
        self.clients.append(client)  # threads call this at the same time
        if token:
            client.cookies.set("session", token, domain="127.0.0.1")
        return client

    def visitor(self, text: str) -> httpx.Client:
        """Return a client that has a session with this text."""
        client = self.client()
        assert client.put(self.update, content=text.encode(), headers=TEXT).status_code == 200
        return client

    def rows(self) -> int:
        with closing(sqlite3.connect(self.database)) as db:
            (number,) = db.execute("SELECT count(*) FROM sessions").fetchone()
            return int(number)


class HeldRequest:
    """A request whose body stops after the first byte. `finish` sends the rest."""

    def __init__(
        self, server: Server, method: str, path: str, body: bytes, headers: dict[str, str], token: str | None = None
    ) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self.rest = body[1:]
        self.connection.putrequest(method, path)
        for name, value in headers.items():
            self.connection.putheader(name, value)
        if token:
            self.connection.putheader("Cookie", f"session={token}")
        self.connection.putheader("Content-Length", str(len(body)))
        self.connection.endheaders()
        self.connection.send(body[:1])
        # When the server has answered these, it has long started on the request above, and has loaded its session.
        for _ in range(3):
            httpx.get(f"{server.url}/health", timeout=20, verify=TLS)

    def finish(self) -> "Answer":
        self.connection.send(self.rest)
        response = self.connection.getresponse()
        answer = Answer(response.status, httpx.Headers(response.getheaders()), response.read().decode())
        self.connection.close()
        return answer

    def abort(self) -> None:
        self.connection.close()


@dataclass
class Answer:
    status: int
    headers: httpx.Headers
    text: str

    @property
    def set_cookie(self) -> str | None:
        cookie: str | None = self.headers.get("Set-Cookie")
        return cookie


def wait_until(
    condition: Callable[[], bool], seconds: float = 10, explain: Callable[[], str] = lambda: "waited in vain"
) -> None:
    """Wait until a condition is true. Raises AssertionError after this many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)


def token_of(client: httpx.Client) -> str:
    return client.cookies["session"]


def shown_text(page: str) -> str:
    """Return what a browser would show in the page's textarea."""
    import html

    _, _, rest = page.partition("<textarea")
    _, _, rest = rest.partition(">\n")  # HTML drops the first line break
    return html.unescape(rest.partition("</textarea>")[0])
