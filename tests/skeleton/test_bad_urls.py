"""If SESSION_STORE is wrong, the app says so at the start in one line that names good values and shows no secret."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from app.main import create_app
from app.sessions.urls import EXAMPLES, POSTGRES, REDIS, SCHEMES
from app.settings import PROJECT, BadSetting, Settings

SECRET = "s3cretWord"
SERVERS = (*REDIS, *POSTGRES)
# A password of digits before the character looks like a port.
PASSWORDS = [f"{before}{character}{SECRET}" for character in "@#?/:" for before in ("", "12", SECRET)]
PASSWORDS += [f"{SECRET}%ff", f"{SECRET}\n", f"{SECRET}\udcff"]
PARTS = {
    "host": ["a..b", "a" * 64, "-", "a b", "[::1", "[x]", ":1:2", "a\nb"],
    "port": ["0", "65536", "-1", "port", "9" * 20],
    "user": ["a@b", "a/b", "a#b", "a?b", "%ff"],
    "path": ["%00", "%ff", "0#fragment", "a\u2028b", "a\0b"],
}
TEMPLATES = {
    "host": "{scheme}me:{secret}@{part}/0",
    "port": "{scheme}me:{secret}@localhost:{part}/0",
    "user": "{scheme}{part}:{secret}@localhost/0",
    "path": "{scheme}me:{secret}@localhost/{part}",
}
QUERIES = [SECRET, f"{SECRET}=1", "=", "&", "port=1", "host=other", f"user={SECRET}&user={SECRET}", "db=x&db=y"]
REDIS_QUERIES = ["db=x", "max_connections=0", "socket_timeout=soon", "protocol=4", "socket_keepalive=maybe"]
TLS_QUERIES = ["ssl_cert_reqs=CERT_NONE", "ssl_ca_certs=/no/such/file", "ssl_check_hostname=x", "ssl_min_version=1"]
POSTGRES_QUERIES = ["sslmode=maybe", "sslcert=/no/such/file", "sslmode=verify-full&sslrootcert=/no/such/file"]
POSTGRES_QUERIES += ["target_session_attrs=fast", "ssl_min_protocol_version=1", "sslnegotiation=x", "passwort=x"]
NO_URLS = ["true", "1", "memory", "redis", "localhost:6379", "/var/lib/app.sqlite3", "sqlite:var/x", "redis:/localhost"]
NO_URLS += [
    "://",
    "{}",
    "MEMORY://",
    "REDIS://localhost",
    "redis+sentinel://localhost",
    "postgresql+asyncpg://localhost",
]
NO_URLS += [
    f"mysql://me:{SECRET}@localhost",
    SECRET,
    f"{SECRET}://x",
    f"redis:/:{SECRET}@localhost",
    f"{SECRET} redis://",
]


def bad_urls() -> Iterator[str]:
    """Return URLs that no server can have, and those that a client library would misread."""
    yield from NO_URLS
    for scheme in SERVERS:
        for kind, parts in PARTS.items():
            yield from (TEMPLATES[kind].format(scheme=scheme, secret=SECRET, part=part) for part in parts)
        for password in PASSWORDS:
            if scheme in REDIS or ":" not in password:  # asyncpg reads a colon as it is meant
                yield f"{scheme}me:{password}@localhost/0"
        queries = QUERIES + (POSTGRES_QUERIES if scheme in POSTGRES else REDIS_QUERIES)
        queries += TLS_QUERIES if scheme in ("rediss://", "valkeys://", "rediss+cluster://") else []
        yield from (f"{scheme}me:{SECRET}@localhost/0?{query}" for query in queries)
    for scheme in POSTGRES:  # which has no way to send U+0000
        yield f"{scheme}%00:{SECRET}@localhost/0"
        yield f"{scheme}me:{SECRET}%00@localhost/0"
    for part in ("x", "/", f"me:{SECRET}@localhost/x"):
        yield f"memory://{part}"
    for path in (
        "",
        ".",
        "/",
        "/dev/null",
        "/proc/x",
        f"{'a' * 300}",
        "no/such/folder",
        ":memory:",
        "a\nb",
        "a\0b",
        "\udcff",
    ):
        yield f"sqlite:///{path}"
    yield f"sqlite://me:{SECRET}@localhost/x"
    yield "sqlite:///var/sessions.sqlite3?timeout=5"


def problem_with(message: str) -> str:
    """Return the faults of a message."""
    if not message.startswith("SESSION_STORE="):
        return "it does not name the variable"
    if not message.isprintable():
        return "it is more than one line"
    if EXAMPLES not in message:
        return "it names no good values"
    return "it shows a part of a secret" if "cret" in message else ""


@pytest.mark.parametrize("scheme", ["", *SCHEMES])
def test_an_unusable_url_stops_the_start(scheme: str) -> None:
    urls = [url for url in bad_urls() if (url.startswith(scheme) if scheme else not url.startswith(SCHEMES))]
    assert urls
    accepted, problems = [], []
    for url in urls:
        try:
            create_app(Settings(session_store=url))
        except BadSetting as error:
            if problem := problem_with(str(error)):
                problems.append((url, problem, str(error)))
        else:
            accepted.append(url)
    assert (accepted, problems) == ([], [])


@pytest.mark.parametrize("scheme", SERVERS)
@pytest.mark.full
def test_a_password_that_is_percent_encoded_is_accepted(scheme: str) -> None:
    for encoded in ("%40", "%23", "%3F", "%2F", "%3A"):
        for before in ("", "12", SECRET):
            create_app(Settings(session_store=f"{scheme}me:{before}{encoded}{SECRET}@localhost:6379/0"))


def make_tables(path: Path, schema: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(schema)


def make_socket(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "garbage": (lambda path: path.write_bytes(bytes(range(1, 111))), "It belongs to something else"),
    "text": (lambda path: path.write_text("some notes\n"), "It belongs to something else"),
    "half a header": (lambda path: path.write_bytes(b"SQLite format 3\0"), "It belongs to something else"),
    "tables of another program": (lambda path: make_tables(path, "CREATE TABLE sessions (a)"), "Its tables"),
    "a view": (lambda path: make_tables(path, "CREATE VIEW sessions AS SELECT 1 AS expires_at"), "Its tables"),
    "a pipe": (os.mkfifo, "It is not a regular file"),
    "a socket": (make_socket, "It is not a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), "It is not a regular file"),
    "a folder": (lambda path: path.mkdir(), "It is a directory"),
}


DATABASES = ("tables of another program", "a view")


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_cannot_be_used_stops_the_start_and_is_not_overwritten(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    make, remedy = FILES[kind]
    make(Path("database"))
    path = tmp_path / "database"
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(BadSetting) as error:
        create_app(Settings(session_store=f"sqlite:///{path}"))
    assert not problem_with(str(error.value))
    assert remedy in str(error.value)
    if kind not in DATABASES:  # the journal mode changes in these
        assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_is_a_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSetting, match=f"{tmp_path}/file is a file"):
        create_app(Settings(session_store=f"sqlite:///{tmp_path}/file/folder/database"))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "url",
    [
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=CERT_NONE",
        f"redis+cluster://me:{SECRET}#x@localhost",
        f"postgresql://me:12/{SECRET}@localhost/app",
        f"sqlite:///{__file__}",
        SECRET,
    ],
    ids=["option", "cluster", "postgres", "file", "no url"],
)
@pytest.mark.full
def test_each_worker_prints_the_error_once_and_the_parent_exits(url: str, workers: int) -> None:
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--app-dir", str(PROJECT), "--port", "0"]
    environment = {**os.environ, "SESSION_STORE": url}
    process = subprocess.Popen(
        [*command, "--workers", str(workers)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, said = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    lines = [line for line in said.splitlines() if "Cannot start" in line]
    # The parent may stop a worker before it prints the error, and a restarted worker would print it again.
    assert 1 <= len(lines) <= workers, said
    for line in lines:
        prefix, _, message = line.partition("Cannot start: ")
        assert (prefix, problem_with(message)) == ("", "")
    assert "Traceback" not in said
    assert SECRET not in said
    assert process.returncode == (3 if workers == 1 else 0)
