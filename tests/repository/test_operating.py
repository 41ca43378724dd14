"""docs/deploying.md, docs/operating.md and the Dockerfile are true: the tests run their snippets."""

import json
import os
import re
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from app.settings import PROJECT
from tests.postgres_server import PostgresServer
from tests.quote.server import UPDATE, QuoteServer
from tests.redis_servers import RedisServer
from tests.support import BROWSER, TEXT, free_port, require, shown_text, token_of, wait_until

StartServer = Callable[..., QuoteServer]

pytestmark = pytest.mark.full

DEPLOYING = (PROJECT / "docs/deploying.md").read_text()
OPERATING = (PROJECT / "docs/operating.md").read_text()
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
UVICORN = str(Path(sys.executable).parent / "uvicorn")
LINE = (
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>INFO|WARNING|ERROR) \[\d+\] (?P<logger>[a-z_.]+): (?P<event>\S.*)"
)


def snippet(page: str, language: str, start: str = "") -> str:
    """Return the page's first block in this language that starts with this text."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return next(block for block in blocks if block.startswith(start))


@contextmanager
def running(
    command: list[str], url: str, folder: Path, environment: dict[str, str], trust: ssl.SSLContext | bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program. Yield when it answers at the URL; afterwards end it as a service manager does."""
    log = folder / f"{Path(command[0]).name}.log"
    names = ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
    inherited = {name: value for name, value in os.environ.items() if name in names}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=inherited | environment, stdout=out, stderr=out)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(url, verify=trust).status_code < 500
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, 20)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


# The log


def messages_of_the_app() -> Iterator[str]:
    for path in (PROJECT / "app").rglob("*.py"):
        for call in re.findall(r"logger\.(?:info|warning|error|exception)\(\s*((?:\"[^\"]*\"\s*)+)", path.read_text()):
            yield re.sub(r"%[\w.]+", "…", "".join(re.findall(r'"([^"]*)"', call)))


def test_every_log_message_is_explained() -> None:
    messages = list(messages_of_the_app())
    assert len(messages) >= 7
    explained = re.findall(r"^\| `([^`]*)` \| (?:ERROR|WARNING|INFO) \|", OPERATING, re.MULTILINE)
    for message in messages:
        assert any(re.match(re.escape(line).replace("…", ".*"), message) for line in explained), message


@pytest.mark.parametrize("workers", [1, 2])
def test_an_incident_is_one_readable_line(start_server: StartServer, workers: int) -> None:
    """With several processes, each may log one line."""
    server = start_server(workers=workers)
    visitor = server.visitor("x")
    gone = server.visitor("to be destroyed")
    assert gone.post("/session/destroy").status_code == 200
    for _ in range(10):
        client = server.client()
        client.get("/", headers={"Cookie": "session=garbage"})
    hidden = server.folder / "hidden"
    server.database.rename(hidden)
    server.database.mkdir()
    assert {visitor.get("/").status_code for _ in range(10)} == {503}
    server.database.rmdir()
    hidden.rename(server.database)
    assert shown_text(visitor.get("/").text) == "x"
    server.stop()

    lines = server.log.splitlines()
    if workers > 1:  # uvicorn's parent process does not load the app, so it has its own format
        lines = [line for line in lines if not re.match(r"INFO:  |ERROR:  ", line)]
    events = [re.fullmatch(LINE, line) for line in lines]
    assert all(events), server.log
    told = [f"{event['level']} {event['logger']}: {event['event']}" for event in events if event]
    for incident in (
        "ERROR app.sessions.records: The session store fails",
        "WARNING app.sessions.manager: A cookie opened no session",
        "INFO app.hooks: Session ",
    ):
        assert 1 <= sum(line.startswith(incident) for line in told) <= workers, incident
    assert any(re.search(r'uvicorn.access: \S+ - "GET / HTTP/1.1" 503', line) for line in told)
    assert "/health" not in server.log


# Three ways to deploy


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    pem, key = tmp_path / "test.pem", tmp_path / "test.key"
    command = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True)
    return pem, key


def test_the_systemd_unit_and_the_nginx_site_work_together(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    nginx = require("nginx", "/usr/sbin/nginx")
    app_port, port, plain_port = free_port(), free_port(), free_port()

    unit = dict(re.findall(r"^(\w+)=(.*)$", snippet(DEPLOYING, "ini", "[Unit]"), re.MULTILINE))
    name, _, store = unit["Environment"].partition("=")
    command = unit["ExecStart"].replace("/srv/app/.venv/bin/uvicorn", UVICORN).replace("8000", str(app_port)).split()
    command += ["--app-dir", str(PROJECT)]
    environment = {name: store.replace("/var/lib/app", str(tmp_path))}

    pem, key = certificate
    site = snippet(DEPLOYING, "nginx")
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 80": f"listen 127.0.0.1:{plain_port}",
        "127.0.0.1:8000": f"127.0.0.1:{app_port}",
        "/etc/ssl/example.org.pem": str(pem),
        "/etc/ssl/example.org.key": str(key),
    }.items():
        assert old in site
        site = site.replace(old, new)
    configuration = tmp_path / "nginx.conf"
    folders = "".join(
        f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration.write_text(
        f"daemon off; pid {tmp_path}/pid; events {{}} http {{ access_log off; {folders}\n{site}\n}}\n"
    )
    proxy = [nginx, "-e", str(tmp_path / "nginx-error.log"), "-c", str(configuration)]

    url = f"https://127.0.0.1:{port}"
    trust = ssl.create_default_context(cafile=pem)
    trust.check_hostname = False
    with (
        running(command, f"http://127.0.0.1:{app_port}/health", tmp_path, environment),
        running(proxy, f"{url}/health", tmp_path, {}, trust),
        httpx.Client(base_url=url, verify=trust) as client,
    ):
        saved = client.put(UPDATE, content="over TLS", headers=TEXT)
        assert re.match("__Host-session=.*; Secure", saved.headers["set-cookie"])
        assert saved.headers["strict-transport-security"] == "max-age=31536000"
        assert shown_text(client.get("/").text) == "over TLS"

        old_browser = {"Accept": BROWSER["Accept"], "Origin": url}
        assert client.post(UPDATE, data={"quote": "a form"}, headers=old_browser).status_code == 303
        assert client.post(UPDATE, data={"quote": "x"}, headers={"Origin": "https://evil.example"}).status_code == 403

        started = time.monotonic()
        with client.stream("POST", "/session/destroy") as destroyed:
            assert 'session=""' in destroyed.headers["set-cookie"]
            assert time.monotonic() - started < 1.5, "the cookie is deleted at once"
            assert destroyed.read() == b"Session destroyed."
            assert time.monotonic() - started > 2.5

        redirect = httpx.get(f"http://127.0.0.1:{plain_port}/manage", headers={"Host": "example.org"})
        assert (redirect.status_code, redirect.headers["location"]) == (301, "https://example.org/manage")
    assert "X-Forwarded-Proto" not in (tmp_path / "uvicorn.log").read_text()


def test_the_container_has_all_that_its_command_needs(tmp_path: Path) -> None:
    for source, target in re.findall(r"^COPY (\S+) (\S+)$", DOCKERFILE, re.MULTILINE):
        if (PROJECT / source).is_dir():
            shutil.copytree(PROJECT / source, tmp_path / target)
    (tmp_path / "var").mkdir()
    port = str(free_port())
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    (workers,) = re.findall(r"^ENV (WEB_CONCURRENCY)=2$", DOCKERFILE, re.MULTILINE)
    arguments = json.loads(command.replace("8000", port))
    url = f"http://127.0.0.1:{port}"
    program = [UVICORN, *arguments[1:]]
    with running(program, f"{url}/health", tmp_path, {workers: "2"}) as process:
        assert httpx.put(url + UPDATE, content="x", headers=TEXT).status_code == 200
        assert (tmp_path / "var/sessions.sqlite3").exists()
        # The health check is exactly that of the image.
        (check,) = re.findall(r"^HEALTHCHECK CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
        python, *rest = json.loads(check.replace("8000", port))
        assert python == "python"
        assert subprocess.run([sys.executable, *rest], check=False, timeout=10).returncode == 0
    assert process.returncode == 0
    assert subprocess.run([sys.executable, *rest], check=False, timeout=10, capture_output=True).returncode != 0


def test_all_ways_to_deploy_leave_the_same_time_to_stop() -> None:
    procfile = (PROJECT / "Procfile").read_text()
    (seconds,) = set(re.findall(r'--timeout-graceful-shutdown[", ]+(\d+)', procfile + DOCKERFILE + DEPLOYING))
    (systemd,) = re.findall(r"TimeoutStopSec=(\d+)", DEPLOYING)
    (docker,) = re.findall(r"--stop-timeout (\d+)", DEPLOYING)
    assert int(seconds) < int(systemd)
    assert int(seconds) < int(docker)


# Backups


def shell(commands: str) -> None:
    subprocess.run(["bash", "-ec", commands], check=True, timeout=60)


def test_a_backup_made_while_saves_go_on_can_be_restored(start_server: StartServer, tmp_path: Path) -> None:
    require("sqlite3")
    server = start_server()
    visitors = [server.visitor("0") for _ in range(4)]
    tokens = [token_of(visitor) for visitor in visitors]
    acknowledged = [0] * len(visitors)
    over = False

    def save_on_and_on(number: int) -> None:
        while not over:
            quote = str(acknowledged[number] + 1)
            assert visitors[number].put(UPDATE, content=quote, headers=TEXT).status_code == 200
            acknowledged[number] += 1

    def here(commands: str) -> str:
        assert "/var/lib/app" in commands
        commands = commands.replace("/var/lib/app", str(server.folder)).replace("/var/backups", str(tmp_path))
        return commands.replace("-o app -g app ", "")  # such a user may be missing

    with ThreadPoolExecutor(len(visitors)) as pool:
        saving = [pool.submit(save_on_and_on, number) for number in range(len(visitors))]
        wait_until(lambda: min(acknowledged) > 5)
        before = list(acknowledged)
        shell(here(snippet(OPERATING, "sh", "umask")))
        after = [count + 1 for count in acknowledged]  # each may have one more that is stored but not confirmed yet
        wait_until(lambda: min(acknowledged) > max(after) + 5)
        over = True
        for result in saving:
            result.result()

    backup = tmp_path / "sessions.sqlite3"
    assert backup.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with pytest.raises(subprocess.CalledProcessError):
        shell(here(snippet(OPERATING, "sh", "umask")))  # it does not overwrite

    stop, *restore, start = snippet(OPERATING, "sh", "systemctl stop").splitlines()
    assert (stop, start) == ("systemctl stop app", "systemctl start app")
    server.stop(signal.SIGKILL)  # the hardest case: the last saves are still in the file beside it
    assert (server.folder / "sessions.sqlite3-wal").stat().st_size > 0
    shell(here("\n".join(restore)))
    server.start()
    for token, least, most in zip(tokens, before, after, strict=True):
        assert least <= int(shown_text(server.client(token).get("/").text)) <= most


def test_the_shrinking_command_works_while_the_app_runs(start_server: StartServer) -> None:
    require("sqlite3")
    server = start_server()
    visitor = server.visitor("kept")
    with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
        db.execute("PRAGMA busy_timeout = 5000")
        rows = [(f"{n:064}", b"x" * 2000, 1.0) for n in range(2000)]
        db.executemany("INSERT INTO sessions (id, record, expires_at) VALUES (?, ?, ?)", rows)
        db.execute("DELETE FROM sessions WHERE expires_at = 1.0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    grown = server.database.stat().st_size
    assert grown > 4_000_000
    shell(snippet(OPERATING, "sh", "sqlite3").replace("/var/lib/app", str(server.folder)))
    assert server.database.stat().st_size < grown / 10
    assert visitor.put(UPDATE, content="saved", headers=TEXT).status_code == 200
    assert shown_text(visitor.get("/").text) == "saved"
    assert "The session store fails" not in server.log


@pytest.mark.parametrize("variable", ["DATABASE_URL", "REDIS_URL"])
def test_the_address_that_a_platform_gives_becomes_the_store(
    variable: str, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    postgres_server.empty()
    redis_server.answers("FLUSHALL")
    url = (
        postgres_server.url.replace("postgresql://", "postgres://") if variable == "DATABASE_URL" else redis_server.url
    )
    assignment = f'SESSION_STORE="${variable}"'
    assert f"`{assignment}`" in DEPLOYING
    command = [require("sh"), "-c", f"{assignment} {Path(sys.executable).parent}/litestar sessions count"]
    environment = {**os.environ, variable: url}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr
    if variable == "DATABASE_URL":
        assert postgres_server.sql("SELECT count(*) FROM sessions") == "0", "the table is there, so it was this store"
