"""Rule 21: a WebSocket has the session as it was at the handshake. With a real client, on three hosts.

The project's requirements do not serve WebSockets: for that, uvicorn needs the package `websockets`.
"""

import json
from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection

from tests.sessions.hosts.servers import HOST_PARAMS, Host
from tests.support import token_of


@pytest.fixture(scope="module", params=HOST_PARAMS)
def running_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("host"), name=request.param)
    try:
        host.start()
        yield host
    finally:
        host.close()


@pytest.fixture
def host(running_host: Host) -> Iterator[Host]:
    yield running_host
    (running_host.folder / "store-is-down").unlink(missing_ok=True)


def open_socket(host: Host, client: httpx.Client | None = None, **headers: str) -> ClientConnection:
    if client:
        headers["Cookie"] = f"session={token_of(client)}"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return connect(f"ws://127.0.0.1:{host.port}/ws", additional_headers=names, proxy=None)


def ask(socket: Connection, message: str) -> str:
    socket.send(message)
    return str(socket.recv(timeout=20))


def test_rule_21_a_socket_reads_the_session(host: Host) -> None:
    with open_socket(host, host.visitor_with(a=1)) as socket:
        assert json.loads(ask(socket, "values")) == {"a": 1}
    with open_socket(host) as socket:
        assert json.loads(ask(socket, "values")) == {}


def test_rule_21_a_write_is_refused_and_the_error_names_the_remedy(host: Host) -> None:
    client = host.visitor_with(a=1)
    with open_socket(host, client) as socket:
        error = ask(socket, "write")
    assert error.startswith("SessionReadOnly: session['written'] cannot be changed: a WebSocket has the session as it")
    assert f"async with sessions.edit({client.get('/id').text!r}) as session" in error
    assert host.values(client) == {"a": 1}


def test_rule_21_a_socket_changes_the_session_with_edit(host: Host) -> None:
    client = host.visitor_with(a=1)
    with open_socket(host, client) as socket:
        assert ask(socket, "edit") == "done"
        assert host.values(client) == {"a": 1, "edited": True}
        assert json.loads(ask(socket, "values")) == {"a": 1}, "as it was at the handshake"
        assert json.loads(ask(socket, "find")) == {"a": 1, "edited": True}


def test_rule_21_find_tells_a_socket_that_its_session_has_ended(host: Host) -> None:
    client = host.visitor_with(a=1)
    with open_socket(host, client) as socket:
        client.post("/do/destroy")
        assert json.loads(ask(socket, "values")) == {"a": 1}
        assert ask(socket, "find").startswith("LookupError")
        assert ask(socket, "edit").startswith("LookupError")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "{url}", "Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_rule_21_a_handshake_from_another_origin_is_refused(host: Host, headers: dict[str, str]) -> None:
    headers = {name: value.replace("{url}", host.url) for name, value in headers.items()}
    for client in (host.visitor_with(a=1), None):
        with pytest.raises(InvalidStatus) as refusal:
            open_socket(host, client, **headers)
        assert refusal.value.response.status_code == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": "{url}"}, {"Origin": "{url}", "Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}]
)
def test_rule_21_a_handshake_from_the_same_origin_passes(host: Host, headers: dict[str, str]) -> None:
    headers = {name: value.replace("{url}", host.url) for name, value in headers.items()}
    with open_socket(host, host.visitor_with(a=1), **headers) as socket:
        assert json.loads(ask(socket, "values")) == {"a": 1}


def test_rule_21_while_the_store_is_down_only_a_handshake_with_a_cookie_gets_503(host: Host) -> None:
    client = host.visitor_with(a=1)
    (host.folder / "store-is-down").touch()
    with pytest.raises(InvalidStatus) as refusal:
        open_socket(host, client)
    assert refusal.value.response.status_code == 503
    assert refusal.value.response.headers["retry-after"]
    with open_socket(host) as socket:
        assert json.loads(ask(socket, "values")) == {}


def test_rule_21_a_socket_that_is_open_notices_that_the_store_is_down(host: Host) -> None:
    with open_socket(host, host.visitor_with(a=1)) as socket:
        (host.folder / "store-is-down").touch()
        assert ask(socket, "edit").startswith("StoreUnavailable")
        assert json.loads(ask(socket, "values")) == {"a": 1}
