"""The rules of sessions as an HTTP client can observe them, over a real server, on every store."""

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import httpx
import pytest

from tests.support import BROWSER, DEFAULT, END, FORM, HOME, HTMX, TEXT, UPDATE, Server, shown_text, token_of

UNKNOWN = "A" * 43


def test_rule_1_reading_creates_no_session(server: Server, client: httpx.Client) -> None:
    rows = server.rows() if server.store.startswith("sqlite") else 0
    for path in (HOME, "/sample/saved", "/sample/session", "/sample/public", "/health", "/nope"):
        for method in ("GET", "HEAD", "OPTIONS"):
            assert "set-cookie" not in client.request(method, path).headers
    if server.store.startswith("sqlite"):
        assert server.rows() == rows


def test_rule_1_only_the_response_that_creates_a_session_sets_a_cookie(client: httpx.Client) -> None:
    assert "set-cookie" in client.put(UPDATE, content="a", headers=TEXT).headers
    assert "set-cookie" not in client.put(UPDATE, content="b", headers=TEXT).headers
    assert "set-cookie" not in client.get(HOME).headers
    assert "set-cookie" not in client.get("/nope").headers
    assert "set-cookie" in client.post(END).headers
    assert "set-cookie" not in client.post(END).headers


def test_rule_2_no_token_is_in_the_store_a_page_or_the_log(server: Server) -> None:
    client = server.visitor("x")
    token = token_of(client)
    for path in (HOME, "/sample/session", "/nope"):
        assert token not in client.get(path).text
    assert token not in server.log
    if server.store.startswith("sqlite"):
        for file in server.folder.glob("sessions.sqlite3*"):
            assert token.encode() not in file.read_bytes()
        with closing(sqlite3.connect(server.database)) as db:
            ids = {row[0] for row in db.execute("SELECT id FROM sessions")}
        assert hashlib.sha256(token.encode()).hexdigest() in ids


MALFORMED = [
    UNKNOWN,
    "",
    "garbage",
    "../../etc/passwd",
    "A" * 3000,
    "%00",
    "A" * 42,
    '"' + UNKNOWN + '"',
    "é" * 43,
    "\xff" * 43,
    "A=B; session=",
    "null",
    ";;;=;session",
    "A\tB",
]


@pytest.mark.parametrize("value", MALFORMED)
def test_rule_3_unknown_and_malformed_cookies_mean_no_session(client: httpx.Client, value: str) -> None:
    headers = {b"Cookie": f"session={value}".encode("latin-1")}
    response = client.get(HOME, headers=headers)
    assert response.status_code == 200
    assert shown_text(response.text) == DEFAULT
    assert "set-cookie" not in response.headers
    response = client.post(END, headers=headers)
    assert response.status_code == 200
    assert "set-cookie" not in response.headers, "the cookie may be that of a later session"
    response = client.put(UPDATE, content="a", headers=headers | {b"Content-Type": b"text/plain"})
    assert response.status_code == 200
    assert client.cookies["session"] not in (value, UNKNOWN)


@pytest.mark.parametrize(
    "cookies", ["session=x; {}; session=y", "a=b; {}", "{}; {}", "session=; {}", "session;{};;", "Session=x;{}"]
)
def test_rule_3_garbage_and_duplicate_cookies_do_no_harm(server: Server, cookies: str) -> None:
    client = server.visitor("mine")
    mine = f"session={client.cookies['session']}"
    client.cookies.clear()
    assert shown_text(client.get(HOME, headers={"Cookie": cookies.replace("{}", mine)}).text) == "mine"


def test_rule_3_a_crlf_in_a_cookie_injects_nothing(server: Server) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: session=a\r\nSet-Cookie: b=c\r\nConnection: close\r\n\r\n")
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"set-cookie" not in answer.lower()


def test_rule_7_the_save_happens_before_the_response(server: Server) -> None:
    client = server.visitor("first")
    with client.stream("PUT", UPDATE, content="second", headers=TEXT) as response:
        assert response.status_code == 200
        # The body of the answer has not been read yet.
        assert shown_text(server.client(token_of(client)).get(HOME).text) == "second"


def test_rule_8_the_cookie_is_deleted_with_the_attributes_it_was_set_with(client: httpx.Client) -> None:
    created = client.put(UPDATE, content="a", headers=TEXT).headers["set-cookie"]
    deleted = client.post(END).headers["set-cookie"]

    def attributes(header: str) -> set[str]:
        return {
            part.strip().lower() for part in header.split(";")[1:] if not part.strip().lower().startswith("max-age")
        }

    assert attributes(deleted) == attributes(created) == {"httponly", "samesite=lax", "path=/"}
    assert re.fullmatch(r'session="";.*Max-Age=0;.*', deleted)


def test_rule_8_a_destroyed_token_is_dead(server: Server) -> None:
    client = server.visitor("secret")
    token = token_of(client)
    client.post(END)
    assert shown_text(server.client(token).get(HOME).text) == DEFAULT


def test_rule_13_the_cookie_has_the_right_name_and_flags_on_http(client: httpx.Client) -> None:
    header = client.put(UPDATE, content="a", headers=TEXT).headers["set-cookie"]
    assert re.fullmatch(r"session=[\w-]{43}; HttpOnly; Max-Age=604800; Path=/; SameSite=lax", header, re.IGNORECASE)


def test_rule_13_the_cookie_has_the_right_name_and_flags_on_https(client: httpx.Client) -> None:
    https = {"X-Forwarded-Proto": "https"}  # uvicorn trusts it from 127.0.0.1
    response = client.put(UPDATE, content="a", headers=TEXT | https)
    header = response.headers["set-cookie"]
    assert re.fullmatch(
        r"__Host-session=[\w-]{43}; HttpOnly; Max-Age=604800; Path=/; SameSite=lax; Secure", header, re.IGNORECASE
    )
    value = re.findall(r"=([\w-]{43});", header)[0]
    secure = https | {"Cookie": f"__Host-session={value}"}
    assert shown_text(client.get(HOME, headers=secure).text) == "a"
    assert shown_text(client.get(HOME, headers=https | {"Cookie": f"session={value}"}).text) == DEFAULT
    deleted = client.post(END, headers=secure).headers["set-cookie"]
    assert re.fullmatch(r'__Host-session="";.*Max-Age=0;.*Secure', deleted)


def test_rule_13_a_proxy_that_is_not_trusted_is_reported_once(start_server: Callable[..., Server]) -> None:
    server = start_server(store="memory://", environment={"FORWARDED_ALLOW_IPS": "10.0.0.1"})
    for _ in range(3):
        assert server.client().get(HOME, headers={"X-Forwarded-Proto": "https"}).status_code == 200
    server.wait_for_log("FORWARDED_ALLOW_IPS")
    assert server.log.count("FORWARDED_ALLOW_IPS") == 1


@pytest.mark.parametrize("path", [HOME, "/sample/session"])
@pytest.mark.parametrize("with_session", [True, False])
def test_rule_14_responses_that_depend_on_the_session_are_not_cached(
    server: Server, path: str, with_session: bool
) -> None:
    client = server.visitor("a") if with_session else server.client()
    for headers in ({}, BROWSER, HTMX):
        response = client.get(path, headers=headers)
        assert response.headers["cache-control"] == "no-store"
        assert "cookie" in response.headers["vary"].lower()


def test_rule_14_responses_to_writes_are_not_cached(client: httpx.Client) -> None:
    for response in (
        client.put(UPDATE, content="a", headers=TEXT),
        client.put(UPDATE, data={"text": "a"}, headers=HTMX),
        client.post(UPDATE, data={"text": "a"}, headers=BROWSER),
        client.post(END),
        client.put(UPDATE, content=b"\xff", headers=TEXT),
    ):
        assert response.headers["cache-control"] == "no-store"
        assert "cookie" in response.headers["vary"].lower()


def test_rule_10_an_expired_session_is_not_served(start_server: Callable[..., Server]) -> None:
    server = start_server(environment={"SESSION_LIFETIME": "1"})
    token = token_of(server.visitor("short-lived"))
    time.sleep(1.1)
    late = server.client(token)
    assert shown_text(late.get(HOME).text) == DEFAULT
    assert late.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert token_of(late) != token


def test_a_refused_body_saves_nothing(server: Server) -> None:
    client = server.visitor("kept")
    for content, headers in [(b"\xff", TEXT), (b"a\0b", TEXT), (b"x" * 65_537, TEXT), (b"nothing=1", FORM)]:
        assert client.put(UPDATE, content=content, headers=headers).status_code in (400, 413)
    assert shown_text(client.get(HOME).text) == "kept"
