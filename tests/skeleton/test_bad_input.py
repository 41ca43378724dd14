"""Bad input gets a clear answer, stores nothing and loses nothing."""

import random
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support import BROWSER, FORM, HTMX, TEXT, UPDATE, HeldRequest, Server, shown_quote, token_of

LIMIT = 65_536


@pytest.fixture(scope="module")
def store_kind() -> str:
    return "sqlite"  # what is tested here is the same for every store


@pytest.fixture
def visitor(server: Server) -> Iterator[httpx.Client]:
    """A visitor whose quote must still be there after the test."""
    client = server.visitor("untouched")
    yield client
    assert shown_quote(client.get("/").text) == "untouched"


def requests_with(client: httpx.Client, content: bytes, headers: dict[str, str]) -> list[httpx.Response]:
    """Send a body in both ways that take this media type, as a visitor with a session and as a stranger."""
    methods = ["PUT"] if "text/plain" in headers["Content-Type"] else ["PUT", "POST"]
    return [client.request(method, UPDATE, content=content, headers=headers) for method in methods]


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (b"\xff\xfe", TEXT, 400, "UTF-8"),
        (b"\xed\xa0\x80", TEXT, 400, "UTF-8"),  # a lone surrogate
        (b"a\0b", TEXT, 400, "U+0000"),
        (b"x" * (LIMIT + 1), TEXT, 413, "65,536"),
        (b"\xc3\xa9" * (LIMIT // 2) + b"x", TEXT, 413, "65,536"),
        (b"x" * (512 * 1024 + 1), TEXT, 413, "too much"),
        (b"quote=%FF", FORM, 400, "UTF-8"),
        (b"quote=\xff", FORM, 400, "UTF-8"),
        (b"quote=a%00b", FORM, 400, "U+0000"),
        (b"", FORM, 400, "field"),
        (b"quotes=x", FORM, 400, "field"),
        (b"quote=x&quote=y", FORM, 400, "one field"),
        (b"a=b&" * 1000 + b"quote=x", FORM, 400, "field"),
        (b"quote=" + b"%C3%A9" * (LIMIT // 2) + b"x", FORM, 413, "65,536"),
        (b"{}", {"Content-Type": "application/json"}, 415, "text/plain"),
        (b"x", {"Content-Type": ""}, 415, "text/plain"),
        (b"x", {"Content-Type": "text/html"}, 415, "text/plain"),
        (b"x", {"Content-Type": "text/plain; charset=iso-8859-1"}, 415, "UTF-8"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "text/plain"),
        (b"x", {"Content-Type": "multipart/form-data"}, 415, "text/plain"),
        (b"x", {"Content-Type": ";;;=,/"}, 415, "text/plain"),
    ],
    ids=range(21),
)
def test_a_body_that_cannot_be_taken(
    client: httpx.Client, visitor: httpx.Client, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    for answers in (requests_with(client, content, headers), requests_with(visitor, content, headers)):
        for response in answers:
            assert response.status_code == status, response.text
            assert says in response.text
            assert "set-cookie" not in response.headers


def test_a_missing_content_type(visitor: httpx.Client) -> None:
    assert visitor.put(UPDATE, content=b"x").status_code == 415
    assert visitor.post(UPDATE).status_code == 415


def test_text_by_post_is_not_taken(visitor: httpx.Client) -> None:
    assert visitor.post(UPDATE, content=b"x", headers=TEXT).status_code == 415


@pytest.mark.parametrize(
    "text", ["x" * LIMIT, "é" * (LIMIT // 2), "€" * (LIMIT // 3), "😀" * (LIMIT // 4), "\n" * LIMIT]
)
@pytest.mark.parametrize("way", ["text", "form", "post"])
def test_a_quote_of_65536_bytes_passes(client: httpx.Client, text: str, way: str) -> None:
    if way == "text":
        response = client.put(UPDATE, content=text.encode(), headers=TEXT)
    elif way == "form":
        response = client.put(UPDATE, data={"quote": text}, headers=HTMX)
    else:
        response = client.post(UPDATE, data={"quote": text.replace("\n", "\r\n")}, headers=BROWSER)
    assert response.status_code in (200, 303), response.text
    assert shown_quote(client.get("/").text) == text


@pytest.mark.parametrize("announced", [True, False])
def test_20_megabytes_are_refused_without_a_broken_connection(visitor: httpx.Client, announced: bool) -> None:
    chunks = [b"x" * 1_000_000] * 20
    content = b"".join(chunks) if announced else iter(chunks)
    response = visitor.put(UPDATE, content=content, headers=TEXT)
    assert response.status_code == 413
    assert "too much" in response.text


def test_an_aborted_upload_saves_nothing_and_leaves_no_error_in_the_log(server: Server, visitor: httpx.Client) -> None:
    for token in (token_of(visitor), None):
        HeldRequest(server, "PUT", UPDATE, b"half of it", TEXT, token).abort()
    time.sleep(0.3)  # nothing tells when the server has given up
    assert "Traceback" not in server.log


@pytest.mark.parametrize("seed", range(5))
def test_noise_gets_an_answer_below_500(server: Server, seed: int) -> None:
    noise = random.Random(seed)  # noqa: S311 - for a test that can be repeated
    for _ in range(40):
        path = noise.choice(["/", "/manage", UPDATE, "/session/destroy", "/static/x", "/" + noise.randbytes(5).hex()])
        lines = [f"{noise.choice(['GET', 'PUT', 'POST', 'HEAD', 'OPTIONS'])} {path} HTTP/1.1\r\nHost: x".encode()]
        for name in (
            "Cookie",
            "Accept",
            "Content-Type",
            "Origin",
            "Sec-Fetch-Site",
            "HX-Request-Type",
            "X-Forwarded-Proto",
        ):
            if noise.random() < 0.6:
                value = bytes(
                    noise.choice(b"=;,/ session\"\\'%*text/html\xe9\xff-_") for _ in range(noise.randrange(40))
                )
                lines.append(name.encode() + b": " + value)
        lines += [b"Content-Length: 7", b"Connection: close", b"", b"quote=\xc3"]
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
            sock.sendall(b"\r\n".join(lines))
            answer = sock.makefile("rb").read()
        assert answer[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 3", b"HTTP/1.1 4"), answer
