"""The app works, or says why not, with proxies, sockets, other apps on the host, and both event loops."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from app.settings import PROJECT
from tests.redis_servers import RedisServer
from tests.support import (
    DEFAULT,
    HOME,
    SAMPLE_APP,
    TEXT,
    UPDATE,
    Server,
    free_port,
    require,
    shown_text,
    token_of,
    wait_until,
)

StartServer = Callable[..., Server]

DEAD = "http://127.0.0.1:9"  # nothing listens on the discard port
PROXIES = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"), DEAD)
MEMORY_WARNING = "Sessions are in the memory of each worker"


def environment_with_proxies() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    return inherited | PROXIES


def save_and_read(client: httpx.Client, text: str) -> None:
    assert client.put(UPDATE, content=text, headers=TEXT).status_code == 200
    assert shown_text(client.get(HOME).text) == text


# A proxy in the environment of the app, of its health check, of CI and of the tests


@pytest.fixture
def behind_dead_proxies(start_server: StartServer) -> Server:
    return start_server(environment=PROXIES)


def test_the_app_needs_no_proxy(behind_dead_proxies: Server) -> None:
    save_and_read(behind_dead_proxies.client(), "kept")


def test_the_health_check_of_the_container_uses_no_proxy(behind_dead_proxies: Server) -> None:
    (check,) = re.findall(r"^HEALTHCHECK CMD (\[.*\])$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    _, *arguments = json.loads(check.replace(":8000", f":{behind_dead_proxies.port}"))
    subprocess.run([sys.executable, *arguments], env=environment_with_proxies(), check=True, timeout=30)


def test_ci_checks_the_app_without_a_proxy(behind_dead_proxies: Server) -> None:
    (program,) = re.findall(r"<<'PYTHON'\n(.*?)PYTHON\n", (PROJECT / ".ci/run").read_text(), re.DOTALL)
    command = [sys.executable, "-c", program.replace(":8000", f":{behind_dead_proxies.port}"), "/health"]
    environment = environment_with_proxies()
    result = subprocess.run(command, env=environment, check=True, timeout=30, capture_output=True, text=True)
    assert result.stdout.startswith("OK")


@pytest.mark.full
def test_the_tests_use_no_proxy(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(
        "import urllib.request\n"
        "from tests.skeleton.test_environments import save_and_read\n"
        "def test_inner(start_server):\n"
        "    server = start_server()\n"
        "    save_and_read(server.client(), 'kept')\n"
        "    urllib.request.urlopen(server.url, timeout=20).close()\n"
    )
    command = [sys.executable, "-m", "pytest", "--numprocesses=0", "--quiet", "-p", "tests.conftest"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(PROJECT), str(tmp_path / "test_inner.py")]
    environment = environment_with_proxies() | {"PYTHONPATH": str(PROJECT)}
    result = subprocess.run(
        command, env=environment, cwd=PROJECT, timeout=120, capture_output=True, text=True, check=False
    )
    assert "1 passed" in result.stdout, result.stdout


# In front of the app: a Unix socket, two proxies


@contextmanager
def socket_server(folder: Path, *options: str) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "uvicorn", SAMPLE_APP, "--app-dir", str(PROJECT)]
    command += ["--uds", str(folder / "app.sock"), *options]
    environment = {**os.environ, "SESSION_STORE": f"sqlite:///{folder}/sessions.sqlite3"}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until(lambda: "startup complete" in log.read_text(), 30)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(folder / "app.sock")), base_url="http://app") as client:
            yield client
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.full)])
def test_the_app_serves_on_a_unix_socket(tmp_path: Path, workers: str) -> None:
    with socket_server(tmp_path, "--workers", workers) as client:
        save_and_read(client, "kept")
        assert client.get("/health").text == "OK\n"


NGINX = """
daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{  # the outer one, where TLS would end
        listen 127.0.0.1:{outer};
        location / {{
            proxy_pass http://127.0.0.1:{inner};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-For 192.0.2.7;
        }}
    }}
    server {{
        listen 127.0.0.1:{inner};
        location / {{
            proxy_pass http://127.0.0.1:{app};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def test_the_app_works_behind_two_proxies(start_server: StartServer, tmp_path: Path) -> None:
    nginx = require("nginx", "/usr/sbin/nginx")
    server = start_server(environment={"FORWARDED_ALLOW_IPS": "127.0.0.1"})
    outer, inner = free_port(), free_port()
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, outer=outer, inner=inner, app=server.port))
    process = subprocess.Popen([nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")])
    try:
        client = httpx.Client(base_url=f"http://127.0.0.1:{outer}", timeout=20)
        wait_until(lambda: _answers(client), 20)
        headers = TEXT | {"Origin": f"https://127.0.0.1:{outer}"}
        response = client.put(UPDATE, content="kept", headers=headers)
        assert response.status_code == 200
        assert response.headers["Set-Cookie"].startswith("__Host-session=")
        server.wait_for_log('192.0.2.7:0 - "PUT')
        assert "A proxy sent" not in server.log
        client.close()
    finally:
        process.terminate()
        process.wait(20)


def _answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/health").status_code == 200
    return False


# Beside the app: another one on the same host and store


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.full)])
def test_two_apps_on_one_host_and_one_store_do_not_see_each_other(
    kind: str, start_server: StartServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = f"sqlite:///{tmp_path}/shared.sqlite3"
    if kind == "redis":
        redis: RedisServer = request.getfixturevalue("redis_server")
        redis.answers("FLUSHALL")
        store = redis.url
    shop, blog = (start_server(store=store, environment={"SESSION_NAME": name}) for name in ("shop", "blog"))
    with httpx.Client(timeout=20) as browser:  # cookies are the same for all ports of a host
        for server, text in ((shop, "shop"), (blog, "blog")):
            assert shown_text(browser.get(server.url + HOME).text) == DEFAULT
            assert browser.put(server.url + UPDATE, content=text, headers=TEXT).status_code == 200
        for server, text in ((shop, "shop"), (blog, "blog")):
            assert shown_text(browser.get(server.url + HOME).text) == text
        token = browser.cookies["shop"]
        assert browser.cookies["blog"] != token
    for name in ("shop", "blog"):
        stranger = {"Cookie": f"{name}={token}"}
        expected = {"shop": "shop", "blog": DEFAULT}[name]
        server = {"shop": shop, "blog": blog}[name]
        assert shown_text(httpx.get(server.url + HOME, headers=stranger, timeout=20).text) == expected
        command = [str(Path(sys.executable).parent / "litestar"), "--app", "app.main:app", "sessions", "count"]
        environment = {**os.environ, "SESSION_STORE": store, "SESSION_NAME": name}
        counted = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
        assert counted.stdout.strip() == "1"


# How the app is run


@pytest.mark.parametrize(
    "how",
    [("--workers", "2"), pytest.param("WEB_CONCURRENCY", marks=pytest.mark.full)],
    ids=["option", "environment"],
)
def test_memory_with_several_workers_logs_a_warning(how: tuple[str, ...] | str, tmp_path: Path) -> None:
    environment = {"WEB_CONCURRENCY": "2"} if isinstance(how, str) else {}
    log = log_of_a_start(tmp_path, () if isinstance(how, str) else how, environment, workers=2)
    (first, second) = [line for line in log.splitlines() if MEMORY_WARNING in line]
    assert "Remedy: use one worker" in first
    assert re.findall(r"\[\d+\]", first) != re.findall(r"\[\d+\]", second)


@pytest.mark.parametrize("options", [(), ("--workers", "1"), ("--reload",)], ids=["none", "one worker", "reload"])
def test_memory_with_one_worker_logs_no_warning(options: tuple[str, ...], tmp_path: Path) -> None:
    assert MEMORY_WARNING not in log_of_a_start(tmp_path, options, {}, workers=1)


@pytest.mark.full
def test_a_store_that_workers_share_logs_no_warning(tmp_path: Path) -> None:
    shared = {"SESSION_STORE": f"sqlite:///{tmp_path}/s.sqlite3"}
    assert "WARNING" not in log_of_a_start(tmp_path, ("--workers", "2"), shared, workers=2)


def log_of_a_start(folder: Path, options: tuple[str, ...], environment: dict[str, str], workers: int) -> str:
    """Start the app, wait until all workers run, stop it, and return its log."""
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--app-dir", str(PROJECT), "--port", "0", *options]
    inherited = {name: value for name, value in os.environ.items() if name != "WEB_CONCURRENCY"}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=inherited | {"SESSION_STORE": "memory://"} | environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_until(lambda: log.read_text().count("startup complete") >= workers, 60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
    return log.read_text()


@pytest.mark.full
def test_a_reload_keeps_the_session(start_server: StartServer, tmp_path: Path) -> None:
    changed = tmp_path / "watched" / "changed.py"
    changed.parent.mkdir()
    changed.touch()
    server = start_server(options=("--reload", "--reload-dir", str(changed.parent)))
    client = server.client()
    save_and_read(client, "kept")

    def reloads() -> bool:
        changed.touch()  # again and again: uvicorn may not have looked at the file yet
        return "Reloading..." in server.log

    wait_until(reloads, 30)
    wait_until(lambda: server.log.count("startup complete") >= 2, 60)
    assert shown_text(server.client(token_of(client)).get(HOME).text) == "kept"
    assert "Traceback" not in server.log


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.full)])
def test_the_app_runs_on_both_event_loops(
    kind: str, loop: str, start_server: StartServer, request: pytest.FixtureRequest
) -> None:
    store = "" if kind == "sqlite" else request.getfixturevalue("redis_server").url
    server = start_server(store=store, options=("--loop", loop))
    save_and_read(server.client(), "kept")
    server.stop()
    assert "Traceback" not in server.log
