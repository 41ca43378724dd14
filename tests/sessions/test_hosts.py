"""The HTTP rules, on three hosts of the session layer: see `hosts/`. `docs/hosts.md` has the table of the results."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request, Response

from app.sessions import SessionManager, SessionMiddleware
from app.sessions.memory import MemoryStore
from app.settings import PROJECT
from tests.sessions import test_websockets
from tests.sessions.hosts.servers import HOST_PARAMS, HOSTS, Host
from tests.support import HeldRequest, token_of, wait_until

UNKNOWN = "A" * 43
HTTPS = {"X-Forwarded-Proto": "https"}  # uvicorn trusts it from 127.0.0.1

Test = Callable[..., None]
CANNOT: dict[str, dict[str, int]] = {}  # for a test and a host: the note in docs/hosts.md


def cannot(host: str, note: int) -> Callable[[Test], Test]:
    """Mark a test that must fail on a host. The note in docs/hosts.md with this number says why."""

    def mark(test: Test) -> Test:
        CANNOT[test.__name__] = {host: note}
        return test

    return mark


@pytest.fixture(scope="module", params=HOST_PARAMS)
def running_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("host"), name=request.param)
    try:
        host.start()
        yield host
    finally:
        host.close()


@pytest.fixture
def host(running_host: Host, request: pytest.FixtureRequest) -> Iterator[Host]:
    if note := CANNOT.get(request.function.__name__, {}).get(running_host.name):
        request.applymarker(pytest.mark.xfail(strict=True, reason=f"docs/hosts.md, note {note}"))
    for file in ("calls", "ends", "late"):
        (running_host.folder / file).unlink(missing_ok=True)
    yield running_host
    for file in ("store-is-down", "store-cannot-write"):
        (running_host.folder / file).unlink(missing_ok=True)


@pytest.fixture
def client(host: Host) -> httpx.Client:
    """A visitor without a session."""
    return host.client()


def hold(host: Host, client: httpx.Client, name: str, value: str) -> HeldRequest:
    """Begin to set a value, and stop before the end."""
    return HeldRequest(host, "PUT", f"/values/{name}", f'"{value}"'.encode(), {}, token_of(client))


def session_id(client: httpx.Client) -> str:
    return hashlib.sha256(token_of(client).encode()).hexdigest()


# What a session is, and when there is one


def test_rule_1_reading_creates_nothing(host: Host, client: httpx.Client) -> None:
    for path in ("/values", "/id", "/public", "/nope"):
        assert "set-cookie" not in client.get(path).headers
    assert "create" not in host.lines("calls")


def test_rule_1_only_the_response_that_creates_a_session_sets_a_cookie(client: httpx.Client) -> None:
    assert "set-cookie" in client.put("/values/a", json=1).headers
    assert "set-cookie" not in client.put("/values/a", json=2).headers
    assert "set-cookie" not in client.get("/values").headers


def test_rule_2_the_id_is_the_hash_of_the_token_and_the_log_has_no_token(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.get("/id").text == session_id(client)
    assert token_of(client) not in host.log


@pytest.mark.parametrize("value", [UNKNOWN, "", "garbage", "A" * 3000, "null", '"' + UNKNOWN + '"', "é" * 43])
def test_rule_3_an_unknown_cookie_means_no_session(host: Host, value: str) -> None:
    client = host.client()
    headers = {b"Cookie": f"session={value}".encode("latin-1")}
    response = client.get("/values", headers=headers)
    assert (response.status_code, response.json()) == (200, {})
    assert "set-cookie" not in response.headers
    client.put("/values/a", json=1, headers=headers)
    assert token_of(client) != value


def test_rule_3_of_several_cookies_the_one_that_the_store_knows_wins(host: Host) -> None:
    token = token_of(host.visitor_with(a=1))
    unknown = "; ".join(f"session={letter * 43}" for letter in "ABC")
    assert host.client().get("/values", headers={"Cookie": f"{unknown}; session={token}"}).json() == {"a": 1}
    assert host.client().get("/values", headers={"Cookie": f"{unknown}; session=x; session={token}"}).json() == {"a": 1}
    too_late = f"{unknown}; session={'D' * 43}; session={token}"
    assert host.client().get("/values", headers={"Cookie": too_late}).json() == {}


def test_rule_4_a_nested_change_is_saved_without_a_flag(host: Host) -> None:
    client = host.visitor_with(list=["a"])
    assert client.post("/values/list", json="b").status_code == 200
    assert host.values(client) == {"list": ["a", "b"]}


def test_rule_4_only_a_value_with_another_json_text_is_written(host: Host) -> None:
    client = host.visitor_with(a=1)
    writes = host.lines("calls").count("replace")
    client.put("/values/a", json=1)
    assert host.lines("calls").count("replace") == writes
    for number in (1.0, True):
        client.put("/values/a", json=number)
        writes += 1
        assert host.lines("calls").count("replace") == writes


def test_rule_4_objects_that_were_read_stay_connected_across_a_rotation(host: Host) -> None:
    client = host.visitor_with(cart=["a"])
    client.post("/do/cart-rotate-append")
    assert host.values(client) == {"cart": ["a", "b"]}


def test_rule_5_requests_that_change_different_keys_both_keep_their_change(host: Host) -> None:
    client = host.visitor_with(a=1, gone=1)
    held = hold(host, client, "slow", "x")
    client.put("/values/fast", json="y")
    client.delete("/values/gone")
    assert held.finish().status == 200
    assert host.values(client) == {"a": 1, "slow": "x", "fast": "y"}


def test_rule_5_of_two_changes_to_a_key_the_later_save_wins(host: Host) -> None:
    client = host.visitor_with(a=1)
    held = hold(host, client, "a", "slow")
    client.put("/values/a", json="fast")
    held.finish()
    assert host.values(client) == {"a": "slow"}


@pytest.mark.parametrize("end", ["destroy", "rotate"])
def test_rule_6_a_save_to_an_ended_session_gets_a_409_without_a_cookie(host: Host, end: str) -> None:
    client = host.visitor_with(a=1)
    held = hold(host, client, "a", "late")
    client.post(f"/do/{end}")
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (409, None)
    assert host.values(client) == ({} if end == "destroy" else {"a": 1})


def test_rule_6_a_late_explicit_save_gets_a_409_too(host: Host) -> None:
    client = host.visitor_with(a=1)
    response = client.post("/do/save-too-late")
    assert response.status_code == 409
    assert "set-cookie" not in response.headers
    assert host.values(client) == {}


# What is saved, and when


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_rule_7_a_returned_response_keeps_its_changes_below_500(host: Host, status: int) -> None:
    client = host.visitor_with(a=1)
    assert client.post(f"/returned/{status}").status_code == status
    assert host.values(client) == ({"a": 1} if status == 500 else {"a": 1, "changed": True})


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_rule_7_an_exception_drops_what_was_changed_before_it(host: Host, status: int) -> None:
    client = host.visitor_with(a=1)
    assert client.post(f"/raised/{status}").status_code == status
    assert host.values(client) == {"a": 1}


@cannot("FastAPI", 2)
def test_rule_7_an_exception_drops_changes_even_through_other_middleware(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.post("/wrapped/raised/403").status_code == 403
    assert host.values(client) == {"a": 1}


def test_rule_7_a_crash_drops_the_changes_and_reveals_nothing(host: Host) -> None:
    client = host.visitor_with(a=1)
    response = client.post("/do/crash")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert host.values(client) == {"a": 1}


@cannot("FastAPI", 1)
def test_rule_7_what_an_exception_handler_changes_is_kept(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.post("/do/refuse").status_code == 400
    assert host.values(client) == {"a": 1, "flash": "That did not work."}


def test_rule_7_what_an_exception_handler_changes_after_a_rollback_is_kept(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.post("/do/refuse-with-rollback").status_code == 400
    assert host.values(client) == {"a": 1, "flash": "That did not work."}


@cannot("FastAPI", 3)
def test_rule_7_what_a_handler_of_all_exceptions_changes_is_kept(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.post("/crash-and-flash").status_code == 400
    assert host.values(client) == {"a": 1, "flash": "That did not work."}


def test_rule_7_the_save_comes_before_the_first_byte(host: Host) -> None:
    client = host.visitor_with(a=1)
    with client.stream("PUT", "/values/a", json=2) as response:
        assert response.status_code == 200
        assert host.values(client) == {"a": 2}


def test_rule_7_an_explicit_save_before_a_crash_is_final_and_its_cookie_is_sent(
    host: Host, client: httpx.Client
) -> None:
    response = client.post("/do/save-and-crash")
    assert response.status_code == 500
    assert "set-cookie" in response.headers
    assert host.values(client) == {"changed": True}


@pytest.mark.parametrize("name", ["destroy", "destroy-and-crash"])
def test_rule_8_destroy_ends_the_session_and_deletes_the_cookie(host: Host, name: str) -> None:
    client = host.visitor_with(a=1)
    token = token_of(client)
    response = client.post(f"/do/{name}")
    assert response.status_code == (200 if name == "destroy" else 500)
    assert re.fullmatch(r'session=""; HttpOnly; Max-Age=0; Path=/; SameSite=lax', response.headers["set-cookie"])
    assert host.client(token).get("/values").json() == {}


def test_rule_8_destroy_without_a_session_sets_no_cookie(client: httpx.Client) -> None:
    assert "set-cookie" not in client.post("/do/destroy").headers


def test_rule_8_a_write_after_destroy_starts_a_new_session(host: Host) -> None:
    client = host.visitor_with(a=1)
    before = token_of(client)
    assert len(client.post("/do/destroy-and-write").headers.get_list("set-cookie")) == 1
    assert token_of(client) != before
    assert host.values(client) == {"new": True}


def test_clear_keeps_the_session(host: Host) -> None:
    client = host.visitor_with(a=1)
    response = client.post("/do/clear")
    assert "set-cookie" not in response.headers
    assert host.values(client) == {}
    assert client.get("/id").text == session_id(client)


@pytest.mark.parametrize("name", ["rotate", "rotate-and-crash"])
def test_rule_9_rotate_moves_the_data_to_a_new_token_even_if_the_handler_crashes(host: Host, name: str) -> None:
    client = host.visitor_with(a=1)
    before = token_of(client)
    response = client.post(f"/do/{name}")
    assert response.status_code == (200 if name == "rotate" else 500)
    assert token_of(client) != before
    assert host.values(client) == {"a": 1}
    assert host.client(before).get("/values").json() == {}


def test_rule_9_without_a_session_there_is_nothing_to_rotate(client: httpx.Client) -> None:
    assert "set-cookie" not in client.post("/do/rotate").headers


# What the store and the network do


def test_rule_12_while_the_store_is_down_a_visitor_with_a_cookie_gets_503(host: Host) -> None:
    client = host.visitor_with(a=1)
    (host.folder / "store-is-down").touch()
    for response in (client.get("/values"), client.put("/values/a", json=2), client.post("/do/destroy")):
        assert response.status_code == 503
        assert response.headers["retry-after"]
        assert response.headers["cache-control"] == "no-store"
        assert "set-cookie" not in response.headers
    (host.folder / "store-is-down").unlink()
    assert client.get("/values").json() == {"a": 1}


def test_rule_12_while_the_store_is_down_requests_that_do_not_need_it_are_served(
    host: Host, client: httpx.Client
) -> None:
    visitor = host.visitor_with(a=1)
    (host.folder / "store-is-down").touch()
    assert client.get("/values").status_code == 200
    assert visitor.get("/public").status_code == 200
    assert client.put("/values/a", json=1).status_code == 503


def test_rule_12_a_save_that_fails_replaces_the_response(host: Host) -> None:
    client = host.visitor_with(a=1)
    (host.folder / "store-cannot-write").touch()
    response = client.put("/values/a", json=2)
    assert response.status_code == 503
    assert "done" not in response.text
    (host.folder / "store-cannot-write").unlink()
    assert client.get("/values").json() == {"a": 1}


def test_rule_13_the_cookie_has_the_right_name_and_flags_on_http_and_https(client: httpx.Client) -> None:
    attributes = r"HttpOnly; Max-Age=604800; Path=/; SameSite=lax"
    header = client.put("/values/a", json=1).headers["set-cookie"]
    assert re.fullmatch(rf"session=[\w-]{{43}}; {attributes}", header)
    header = client.put("/values/a", json=1, headers=HTTPS).headers["set-cookie"]
    assert re.fullmatch(rf"__Host-session=[\w-]{{43}}; {attributes}; Secure", header)


def test_rule_13_a_rejected_claim_of_https_is_logged_once(host: Host, client: httpx.Client) -> None:
    for _ in range(3):
        client.get("/values", headers={"X-Forwarded-Proto": "https, http"})
    host.wait_for_log("cookies are sent without Secure")
    assert host.log.count("cookies are sent without Secure") == 1


def test_rule_14_responses_that_depend_on_the_session_are_not_cached(host: Host) -> None:
    for client in (host.client(), host.visitor_with(a=1)):
        for response in (client.get("/values"), client.put("/values/a", json=3), client.post("/raised/403")):
            assert response.headers.get_list("cache-control") == ["no-store"]
            assert "cookie" in response.headers["vary"].lower()
        assert client.get("/nope").headers["cache-control"] == "no-store"
        assert "cookie" not in client.get("/public").headers.get("vary", "").lower()


@cannot("Litestar", 7)
def test_rule_14_a_response_that_cors_allows_another_site_to_read_is_not_cached(host: Host) -> None:
    response = host.visitor_with(a=1).get("/values", headers={"Origin": "https://front.example"})
    assert response.headers["cache-control"] == "no-store"
    assert "cookie" in response.headers["vary"].lower()


@cannot("FastAPI", 3)
def test_rule_14_the_response_to_a_crash_is_not_cached(host: Host) -> None:
    assert host.visitor_with(a=1).post("/do/crash").headers["cache-control"] == "no-store"


def test_rule_15_each_request_makes_the_expected_calls_to_the_store(host: Host) -> None:
    client = host.visitor_with(a=1)

    def calls_of(method: str, path: str, client: httpx.Client = client, **options: Any) -> list[str]:
        (host.folder / "calls").unlink(missing_ok=True)
        assert client.request(method, path, **options).status_code == 200
        return host.lines("calls")

    assert calls_of("GET", "/values") == ["load"]
    assert calls_of("GET", "/values", host.client()) == []
    assert calls_of("GET", "/public") == []
    assert calls_of("PUT", "/values/a", host.client(), json=1) == ["create"]
    assert calls_of("PUT", "/values/a", json=2) == ["load", "replace"]
    assert calls_of("POST", "/do/destroy") == ["load", "delete"]


def test_rule_16_listeners_hear_once_of_each_session_that_ends(host: Host) -> None:
    client = host.visitor_with(a=1)
    first = session_id(client)
    client.post("/do/rotate")
    second = session_id(client)
    client.post("/do/destroy")

    def heard() -> list[str]:
        return [line for line in host.lines("ends") if line.partition(" ")[0] in (first, second)]

    wait_until(lambda: len(heard()) >= 2)
    assert heard() == [f"{first} rotated {second}", f"{second} destroyed None"]


@cannot("FastAPI", 4)
def test_rule_17_the_commands_exist(host: Host) -> None:
    assert host.run_command("sessions", "count").strip() == "0"


# What goes into a session


def test_rule_18_assigning_a_value_that_is_not_json_raises_an_error(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.post("/do/assign-a-set").status_code == 500
    assert host.values(client) == {"a": 1}


def test_rule_18_the_log_says_why_an_assignment_failed(host: Host) -> None:
    host.visitor_with(a=1).post("/do/assign-a-set")
    host.wait_for_log("session['bad']: JSON has no set; store a sorted list")


def test_rule_18_a_nested_value_that_is_not_json_fails_at_the_save_and_the_log_says_why(host: Host) -> None:
    client = host.visitor_with(a=1)
    response = client.post("/do/nest-a-bad-key")
    assert response.status_code == 500
    assert "done" not in response.text
    host.wait_for_log("session['bad']: key 1 of a dict must be a string")
    assert host.values(client) == {"a": 1}


def test_rule_18_a_session_of_more_than_1_mib_gets_413(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.post("/do/grow").status_code == 413
    assert host.values(client) == {"a": 1}


@pytest.mark.parametrize("place", ["stream", "background"])
def test_rule_19_an_assignment_after_the_response_has_begun_raises_an_error_with_the_remedy(
    host: Host, place: str
) -> None:
    client = host.visitor_with(a=1)
    client.request("GET" if place == "stream" else "POST", f"/{place}/assign")
    wait_until(lambda: host.lines("late") != [])
    (line,) = host.lines("late")
    assert line.startswith("SessionReadOnly: session['late'] cannot be changed: the response has started.")
    assert f"async with sessions.edit({session_id(client)!r}) as session" in line
    assert host.values(client) == {"a": 1}


@pytest.mark.parametrize("place", ["stream", "background"])
def test_rule_19_a_nested_change_that_comes_too_late_is_logged(host: Host, place: str) -> None:
    client = host.visitor_with(list=["a"])
    client.request("GET" if place == "stream" else "POST", f"/{place}/nested")
    report = "A change inside session['list'] came too late to be saved."
    line = f"{report} Save it with: async with sessions.edit({session_id(client)!r})"
    wait_until(lambda: line in host.log)
    assert host.values(client) == {"list": ["a"]}


def test_rule_19_a_background_task_changes_the_session_with_edit(host: Host) -> None:
    client = host.visitor_with(a=1)
    client.post("/background/edit")
    wait_until(lambda: host.values(client) == {"a": 1, "edited": True})


def test_rule_19_no_change_by_a_handler_of_all_exceptions_is_lost_silently(host: Host) -> None:
    client = host.visitor_with(a=1)
    client.post("/crash-and-flash")
    if host.values(client) == {"a": 1}:
        host.wait_for_log("session['flash'] cannot be changed")


@cannot("FastAPI", 1)
def test_rule_19_no_change_by_an_exception_handler_is_lost_silently(host: Host) -> None:
    client = host.visitor_with(a=1)
    logged = len(host.log)
    client.post("/do/refuse")
    assert "flash" in host.values(client) or "session['flash']" in host.log[logged:]


@cannot("FastAPI", 5)
@pytest.mark.parametrize("call", ["clear", "clear-and-crash"])
def test_rule_20_clear_session_ends_it_before_the_first_byte(host: Host, call: str) -> None:
    client = host.visitor_with(a=1)
    token = token_of(client)
    response = client.post(f"/litestar/{call}")
    assert response.status_code == (500 if "crash" in call else 200)
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert host.client(token).get("/values").json() == {}


@cannot("FastAPI", 5)
def test_rule_20_set_session_replaces_the_content(host: Host) -> None:
    client = host.visitor_with(a=1)
    token = token_of(client)
    client.post("/litestar/set-and-crash")
    assert host.values(client) == {"a": 1}
    client.post("/litestar/set")
    assert host.values(client) == {"user": "ada"}
    client.post("/litestar/clear-and-set")
    assert host.values(client) == {"user": "ada"}
    assert token_of(client) != token
    assert host.client(token).get("/values").json() == {}


@cannot("FastAPI", 6)
def test_rule_23_a_template_reads_the_session(host: Host) -> None:
    client = host.visitor_with(user="ada")
    assert client.get("/template").text == "Hello ada"
    assert host.client().get("/template").text == "Hello nobody"


def test_rule_24_a_changed_default_of_a_key_is_stored(host: Host, client: httpx.Client) -> None:
    client.post("/do/add-to-cart")
    client.post("/do/add-to-cart")
    assert host.values(client) == {"cart": ["tea", "tea"]}


# Safety, and the addresses without a session


@pytest.mark.parametrize("path", ["/values/a", "/public", "/nope"])
def test_a_cross_origin_request_is_refused(host: Host, path: str) -> None:
    client = host.visitor_with(a=1)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        response = client.put(path, json=2, headers=headers)
        if path == "/values/a":
            assert response.status_code == 403
        else:
            assert response.status_code in (403, 404, 405)
    assert host.values(client) == {"a": 1}
    same = {"Sec-Fetch-Site": "same-origin", "Origin": host.url}
    assert client.put("/values/a", json=2, headers=same).status_code == 200


def test_a_prefetch_of_a_page_with_a_session_is_refused(client: httpx.Client) -> None:
    assert client.get("/values", headers={"Sec-Purpose": "prefetch"}).status_code == 503
    assert client.get("/public", headers={"Sec-Purpose": "prefetch"}).status_code == 200


def test_a_route_without_a_session_has_none(host: Host) -> None:
    client = host.visitor_with(a=1)
    assert client.get("/public").text.strip('"') == "available: False"


# The documentation

HOSTS_PAGE = (PROJECT / "docs/hosts.md").read_text()
RULES = set(range(1, 25))


def rules_of(module: ModuleType) -> set[int]:
    """Return the rules that the tests of a module are named after."""
    return {int(number) for number in re.findall(r"\btest_rule_(\d+)_", " ".join(vars(module)))}


def test_the_table_agrees_with_the_tests() -> None:
    rows = re.findall(r"^\| (\d+)\. [^|]* \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", HOSTS_PAGE, re.MULTILINE)
    shown = {
        (int(rule), host): set()
        if cell == "holds"
        else {int(note) for note in cell.removeprefix("except ").split(", ")}
        for rule, *cells in rows
        for host, cell in zip(HOSTS, cells, strict=True)
    }
    tested = rules_of(sys.modules[__name__]) | rules_of(test_websockets)
    expected: dict[tuple[int, str], set[int]] = {(rule, host): set() for rule in tested for host in HOSTS}
    for test, notes in CANNOT.items():
        (rule,) = re.findall(r"^test_rule_(\d+)_", test)
        for host, note in notes.items():
            expected[int(rule), host].add(note)
    assert shown == expected


def test_the_page_names_every_rule_and_explains_every_note() -> None:
    (elsewhere,) = re.findall(r"^Rules (.*) do not depend on the host", HOSTS_PAGE, re.MULTILINE)
    others = {int(rule) for rule in re.findall(r"(\d+) \(", elsewhere)}
    tested = rules_of(sys.modules[__name__]) | rules_of(test_websockets)
    assert others.isdisjoint(tested)
    assert others | tested == RULES
    notes = re.findall(r"^(\d+)\. ", HOSTS_PAGE.partition("\nNotes:\n")[2], re.MULTILINE)
    used = {note for notes in CANNOT.values() for note in notes.values()}
    assert [int(note) for note in notes] == sorted(used)


@pytest.mark.parametrize("section", ["Litestar", "FastAPI and Starlette"])
async def test_the_example_of_the_page_counts_visits(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(rf"^## {section}\n.*?```python\n(.*?)```", HOSTS_PAGE, re.MULTILINE | re.DOTALL)
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)  # where Litestar looks for the types of handlers
    exec(example.replace("from sessions", "from app.sessions"), vars(module))  # noqa: S102
    transport = httpx.ASGITransport(module.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.post("/visits")).json() == {"visits": 1}
        assert (await client.post("/visits")).json() == {"visits": 2}


async def test_rule_7_middleware_outside_the_layer_does_not_hide_exceptions_from_it() -> None:
    """This is what note 2 advises."""
    app = FastAPI()
    app.add_middleware(SessionMiddleware, sessions=SessionManager(MemoryStore()))

    @app.middleware("http")
    async def other_middleware(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return await call_next(request)

    @app.post("/raised")
    async def change_and_raise(request: Request) -> None:
        request.session["changed"] = True
        raise HTTPException(403)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        response = await client.post("/raised")
    assert response.status_code == 403
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("name", ["Litestar", "FastAPI"])
def test_the_fresh_hosts_cannot_import_this_project_or_unneeded_packages(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    host = Host(tmp_path_factory.mktemp("host"), name=name)
    missing = {"Litestar": ["redis", "asyncpg"], "FastAPI": ["litestar", "click", "redis", "jinja2", "asyncpg"]}[name]
    code = f"""
import importlib.util
print([name for name in {["app", "tests", *missing]} if importlib.util.find_spec(name)])
"""
    environment = {**os.environ, "PYTHONPATH": str(host.packages)}
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=host.folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
