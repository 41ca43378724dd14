"""Rule 13: a proxy claims https, the server does not accept it, and the log says once what to do. Uses real servers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from app.settings import PROJECT
from tests.support import HOME, SAMPLE_APP, TEXT, UPDATE, Server, wait_until

TRUSTED = {"FORWARDED_ALLOW_IPS": "127.0.0.1"}
UNTRUSTED = {"FORWARDED_ALLOW_IPS": "10.0.0.1"}
SINGLE_VALUE = "let the proxy set X-Forwarded-Proto once, to the single value https"
TRUST = "make sure that FORWARDED_ALLOW_IPS has the proxy's address: the server sees this request come from 127.0.0.1"
TRUST_SOCKET = "set FORWARDED_ALLOW_IPS=*, because a proxy behind a Unix socket has no address"
Headers = list[tuple[str, str]]

CLAIMS: dict[str, Headers] = {
    "alone": [("X-Forwarded-Proto", "https")],
    "list": [("X-Forwarded-Proto", "https,http")],
    "list with blanks": [("X-Forwarded-Proto", "http , https")],
    "other case": [("X-Forwarded-Proto", "HTTPS")],
    "first of two headers": [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")],
    "Forwarded": [("Forwarded", "for=192.0.2.1;proto=https;by=203.0.113.43")],
    "Forwarded, quoted": [("Forwarded", 'for=192.0.2.1; Proto="HTTPS"')],
    "Forwarded, second": [("Forwarded", "for=192.0.2.1"), ("Forwarded", "proto=https")],
}
NO_CLAIMS: dict[str, Headers] = {
    "http": [("X-Forwarded-Proto", "http")],
    "Forwarded http": [("Forwarded", "for=192.0.2.1;proto=http")],
    "another word": [("X-Forwarded-Proto", "httpsx")],
    "empty": [("X-Forwarded-Proto", "")],
    "none": [],
}


def warnings(log: str) -> list[str]:
    return [line for line in log.splitlines() if "A proxy sent" in line]


def save(client: httpx.Client, headers: Headers) -> str:
    """Begin a session, and return the cookie."""
    response = client.put(UPDATE, content="a", headers=[*TEXT.items(), *headers])
    assert response.status_code == 200
    client.cookies.clear()
    return str(response.headers["set-cookie"])


@pytest.mark.parametrize("claim", CLAIMS)
def test_rule_13_a_claim_of_https_from_an_untrusted_proxy_is_logged_once(
    start_server: Callable[..., Server], claim: str
) -> None:
    server = start_server(store="memory://", environment=UNTRUSTED)
    client = server.client()
    for path in (HOME, "/sample/session", "/sample/saved", HOME):
        assert client.get(path, headers=CLAIMS[claim]).status_code == 200
    assert "Secure" not in save(client, CLAIMS[claim])
    (warning,) = warnings(server.log)
    assert CLAIMS[claim][0][1].split(";")[0].strip() in warning or claim == "Forwarded, second"
    assert TRUST in warning
    assert (SINGLE_VALUE in warning) == (claim != "alone")


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim != "alone"])
@pytest.mark.full
def test_rule_13_a_claim_that_the_server_does_not_understand_is_logged_with_the_remedy(
    start_server: Callable[..., Server], claim: str
) -> None:
    server = start_server(store="memory://", environment=TRUSTED)
    client = server.client()
    visitor = ("X-Forwarded-For", "192.0.2.7")
    for _ in range(2):
        assert "Secure" not in save(client, [*CLAIMS[claim], visitor])
    (warning,) = warnings(server.log)
    assert SINGLE_VALUE in warning
    assert "192.0.2.7" not in warning.partition("Remedy")[2], "the visitor is no proxy"
    assert "FORWARDED_ALLOW_IPS" not in warning, "the server trusts the proxy already"
    assert "Secure" in save(client, [("X-Forwarded-Proto", "https"), visitor]), "the remedy works"


@pytest.mark.full
def test_rule_13_the_remedy_for_an_untrusted_proxy_works(
    start_server: Callable[..., Server],
) -> None:
    server = start_server(store="memory://", environment=UNTRUSTED)
    save(server.client(), CLAIMS["list"])
    (warning,) = warnings(server.log)
    address = warning.rpartition("come from ")[2].rstrip(".")
    server = start_server(store="memory://", environment={"FORWARDED_ALLOW_IPS": address})
    assert "Secure" in save(server.client(), [("X-Forwarded-Proto", "https")])
    assert warnings(server.log) == []


@pytest.fixture(scope="module")
def trusting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), "memory://", environment=TRUSTED).start()
    yield server
    server.close()


def test_rule_13_without_a_rejected_claim_there_is_no_warning(trusting_server: Server) -> None:
    client = trusting_server.client()
    for headers in NO_CLAIMS.values():
        assert "Secure" not in save(client, headers)
    for headers in (CLAIMS["alone"], [("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "https")]):
        assert "Secure" in save(client, headers)
    assert "Secure" in save(client, [*CLAIMS["alone"], *CLAIMS["Forwarded"]])
    assert warnings(trusting_server.log) == []


@dataclass
class SocketServer:
    """uvicorn on a Unix socket, where a proxy has no address."""

    folder: Path
    allow: str = "127.0.0.1"
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> "SocketServer":
        command = [sys.executable, "-m", "uvicorn", SAMPLE_APP, "--app-dir", str(PROJECT)]
        command += ["--uds", str(self.folder / "app.sock")]
        environment = {**os.environ, "SESSION_STORE": "memory://", "FORWARDED_ALLOW_IPS": self.allow}
        with (self.folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log))
        wait_until(lambda: "running on" in self.log, 30)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.terminate()
            process.wait(20)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def save(self, headers: Headers) -> str:
        transport = httpx.HTTPTransport(uds=str(self.folder / "app.sock"))
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            return save(client, headers)


@pytest.mark.full
def test_rule_13_a_claim_over_a_unix_socket_is_logged_with_the_remedy(tmp_path: Path) -> None:
    with SocketServer(tmp_path) as server:
        for _ in range(2):
            assert "Secure" not in server.save(CLAIMS["alone"])
        (warning,) = warnings(server.log)
        assert TRUST_SOCKET in warning
        assert SINGLE_VALUE not in warning, "the proxy already does this"


@pytest.mark.parametrize("visitor", [[], [("X-Forwarded-For", "192.0.2.7")]])
@pytest.mark.full
def test_rule_13_the_remedy_for_a_unix_socket_works(tmp_path: Path, visitor: Headers) -> None:
    with SocketServer(tmp_path, allow="*") as server:
        assert "Secure" in server.save([*CLAIMS["alone"], *visitor])
        assert warnings(server.log) == []
        assert "Secure" not in server.save([*CLAIMS["list"], *visitor])
        (warning,) = warnings(server.log)
        assert SINGLE_VALUE in warning
        assert "192.0.2.7" not in warning


def test_rule_13_a_long_claim_does_not_fill_the_log(start_server: Callable[..., Server]) -> None:
    server = start_server(store="memory://", environment=TRUSTED)
    save(server.client(), [("X-Forwarded-Proto", "https," + "x" * 5000)])
    (warning,) = warnings(server.log)
    assert len(warning) < 700
