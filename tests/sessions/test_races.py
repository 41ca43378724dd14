"""Deterministic races: a test holds back a request's body while something else happens to its session."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.stores import STORES, empty_store
from tests.support import (
    BROWSER,
    DEFAULT,
    END,
    FORM,
    HOME,
    HTMX,
    TEXT,
    UPDATE,
    HeldRequest,
    Server,
    shown_text,
    token_of,
)

APP = "tests.sessions.sample_app:app"


def test_rule_6_a_put_under_way_when_its_session_is_destroyed_gets_409(server: Server) -> None:
    client = server.visitor("old")
    token = token_of(client)
    held = HeldRequest(server, "PUT", UPDATE, b"from the grave", TEXT, token)
    assert client.post(END).status_code == 200
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (409, None)
    assert "session ended" in answer.text
    assert shown_text(server.client(token).get(HOME).text) == DEFAULT


@pytest.mark.parametrize(
    ("headers", "form"),
    [(FORM | BROWSER, "<form"), (FORM | HTMX, "<p>Your session ended"), (FORM, "Your session ended")],
)
def test_rule_6_a_form_under_way_when_its_session_is_destroyed_keeps_its_text(
    server: Server, headers: dict[str, str], form: str
) -> None:
    client = server.visitor("old")
    held = HeldRequest(server, "POST", UPDATE, b"text=my+words%0D%0Agoing+on", headers, token_of(client))
    client.post(END)
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (409, None)
    assert form in answer.text
    if form == "<form":
        assert shown_text(answer.text) == "my words\ngoing on"


def test_rule_5_a_put_under_way_when_the_same_key_is_written_wins(server: Server) -> None:
    client = server.visitor("old")
    held = HeldRequest(server, "PUT", UPDATE, b"later", TEXT, token_of(client))
    client.put(UPDATE, content="sooner", headers=TEXT)
    assert held.finish().status == 200
    assert shown_text(client.get(HOME).text) == "later"


@pytest.mark.full
def test_a_save_in_a_second_tab_during_a_slow_destroy_keeps_its_new_cookie(
    start_server: Callable[..., Server],
) -> None:
    server = start_server()
    client = server.visitor("old")
    old = token_of(client)
    started = time.monotonic()
    with client.stream("POST", f"{END}?delay=1.5") as destroying:
        head_after = time.monotonic() - started
        assert "Max-Age=0" in destroying.headers["set-cookie"]
        assert head_after < 1, "the deletion of the cookie is sent at once"
        # The second tab: its cookie jar is the same, and it still sends what the browser had when it was pressed.
        second = server.client(old)
        saved = second.put(UPDATE, content="new", headers=TEXT)
        assert saved.status_code == 200
        new = token_of(second)
        assert time.monotonic() - started < 1.5, "all this happened during the destroy"
        assert destroying.read() == b"Session ended."
    assert time.monotonic() - started >= 1.5
    assert new != old
    assert shown_text(server.client(new).get(HOME).text) == "new"


@pytest.fixture(scope="module", params=STORES[1:])  # all stores except memory, which other processes cannot see
def two_processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Server]]:
    """Two processes on one store. Their routes accept any key of the session."""
    folders = [tmp_path_factory.mktemp("process") for _ in range(2)]
    url = empty_store(request.param, request, folders[0])
    one, other = (Server(folder, url, app=APP).start() for folder in folders)
    yield one, other
    one.close()
    other.close()


def test_rule_5_two_processes_that_write_different_keys_keep_both_changes(two_processes: tuple[Server, Server]) -> None:
    one, other = two_processes
    client = one.visitor("start")
    held = HeldRequest(other, "PUT", "/keys/b", b"from the other", TEXT, token_of(client))
    assert client.put("/keys/a", content="from the one").status_code == 200
    assert held.finish().status == 200
    assert client.get("/keys").json() == {"text": "start", "a": "from the one", "b": "from the other"}


@pytest.mark.full
def test_rule_5_many_writes_of_different_keys_from_two_processes_lose_none(
    two_processes: tuple[Server, Server],
) -> None:
    token = token_of(two_processes[0].visitor("start"))

    def write(n: int) -> int:
        client = two_processes[n % 2].client(token)
        return max(client.put(f"/keys/{n}", content=f"{turn}").status_code for turn in range(10))

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(write, range(12))) == {200}
    shown = two_processes[0].client(token).get("/keys").json()
    assert shown == {"text": "start"} | {str(n): "9" for n in range(12)}


def test_rule_6_a_slow_request_that_only_reads_does_not_write(two_processes: tuple[Server, Server]) -> None:
    one, other = two_processes
    client = one.visitor("old")
    held = HeldRequest(other, "POST", "/slow-read", b"xx", {}, token_of(client))
    client.put(UPDATE, content="new", headers=TEXT)
    answer = held.finish()
    assert (answer.status, answer.text, answer.set_cookie) == (200, '{"text":"old"}', None)
    assert client.get("/keys").json() == {"text": "new"}
    held = HeldRequest(other, "POST", "/slow-read", b"xx", {}, token_of(client))
    client.post(END)
    answer = held.finish()
    assert (answer.status, answer.text, answer.set_cookie) == (200, '{"text":"new"}', None)
    assert client.get("/keys").json() == {}


def test_rule_8_two_concurrent_destroys_do_not_delete_the_next_sessions_cookie(
    two_processes: tuple[Server, Server],
) -> None:
    one, other = two_processes
    client = one.visitor("old")
    held = HeldRequest(other, "POST", "/slow-destroy", b"xx", {}, token_of(client))
    assert "set-cookie" in client.post(END).headers
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (200, None)


def test_rule_9_a_rotation_that_races_a_destroy_leaves_at_most_the_rotated_session(
    two_processes: tuple[Server, Server],
) -> None:
    """The second request finds the session gone, and does not revive it."""
    one, other = two_processes
    for _ in range(10):
        token = token_of(one.visitor("x"))
        with ThreadPoolExecutor(2) as pool:
            rotated = pool.submit(one.client(token).post, "/rotate")
            destroyed = pool.submit(other.client(token).post, END)
        assert destroyed.result().status_code == 200
        assert one.client(token).get("/keys").json() == {}
        if "set-cookie" in destroyed.result().headers:
            assert (rotated.result().status_code, rotated.result().headers.get("set-cookie")) in (
                (409, None),
                (200, None),
            )
        else:
            assert rotated.result().status_code == 200
            assert one.client(rotated.result().cookies["session"]).get("/keys").json() == {"text": "x"}


def test_rule_6_a_put_under_way_when_another_process_destroys_its_session_gets_409(
    two_processes: tuple[Server, Server],
) -> None:
    one, other = two_processes
    client = one.visitor("old")
    held = HeldRequest(other, "PUT", "/keys/a", b"too late", TEXT, token_of(client))
    client.post(END)
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (409, None)


def test_rule_6_a_put_under_way_when_its_session_is_rotated_gets_409(two_processes: tuple[Server, Server]) -> None:
    one, other = two_processes
    client = one.visitor("kept")
    old = token_of(client)
    held = HeldRequest(other, "PUT", "/keys/a", b"too late", TEXT, old)
    assert client.post("/rotate").status_code == 200
    assert token_of(client) != old
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (409, None)
    assert other.client(old).get("/keys").json() == {}
    assert client.get("/keys").json() == {"text": "kept"}


@pytest.mark.full
def test_24_concurrent_gets_never_undo_a_put(server: Server) -> None:
    client = server.visitor("start")
    token = token_of(client)
    with ThreadPoolExecutor(24) as pool:
        readers = [server.client(token) for _ in range(24)]
        for n in range(30):
            reads = [pool.submit(reader.get, HOME) for reader in readers]
            saved = client.put(UPDATE, content=f"round {n}", headers=TEXT)
            assert saved.status_code == 200
            for read in reads:
                assert read.result().status_code == 200
                assert "set-cookie" not in read.result().headers
            assert shown_text(client.get(HOME).text) == f"round {n}"


def test_40_concurrent_puts_all_succeed_and_one_of_them_wins(server: Server) -> None:
    client = server.visitor("start")
    token = token_of(client)
    writers = [server.client(token) for _ in range(40)]
    together = threading.Barrier(40)

    def write(n: int) -> httpx.Response:
        together.wait()
        return writers[n].put(UPDATE, content=f"writer {n}", headers=TEXT)

    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(write, range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert shown_text(client.get(HOME).text) in {f"writer {n}" for n in range(40)}
    assert shown_text(server.client(token).get(HOME).text) == shown_text(client.get(HOME).text)


@pytest.mark.full
def test_40_concurrent_puts_to_two_workers_all_succeed(start_server: Callable[..., Server]) -> None:
    server = start_server(workers=2)
    test_40_concurrent_puts_all_succeed_and_one_of_them_wins(server)
    test_24_concurrent_gets_never_undo_a_put(server)
