"""Bad input gets a clear error, stores nothing and loses nothing."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.skeleton import sample
from tests.skeleton.sample import HOME, UPDATE
from tests.support import BROWSER, FORM, HTMX, TEXT, HeldRequest, Server, shown_text, token_of

LIMIT = 65_536


@pytest.fixture
def visitor(server: Server) -> Iterator[httpx.Client]:
    """A visitor whose text must still be there after the test."""
    client = sample.visitor(server, "untouched")
    yield client
    assert shown_text(client.get(HOME).text) == "untouched"


def requests_with(client: httpx.Client, content: bytes, headers: dict[str, str]) -> list[httpx.Response]:
    """Send a body to both routes that accept this media type."""
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
        (b"x" * (512 * 1024 + 1), TEXT, 413, "512 KiB"),
        (b"text=%FF", FORM, 400, "UTF-8"),
        (b"text=\xff", FORM, 400, "UTF-8"),
        (b"text=a%00b", FORM, 400, "U+0000"),
        (b"", FORM, 400, "field"),
        (b"texts=x", FORM, 400, "field"),
        (b"text=x&text=y", FORM, 400, "one field"),
        (b"a=b&" * 1000 + b"text=x", FORM, 400, "field"),
        (b"text=" + b"%C3%A9" * (LIMIT // 2) + b"x", FORM, 413, "65,536"),
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
def test_a_bad_body_is_refused_with_a_reason(
    client: httpx.Client, visitor: httpx.Client, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    for answers in (requests_with(client, content, headers), requests_with(visitor, content, headers)):
        for response in answers:
            assert response.status_code == status, response.text
            assert says in response.text
            assert "set-cookie" not in response.headers


def test_a_missing_content_type_gets_415(visitor: httpx.Client) -> None:
    assert visitor.put(UPDATE, content=b"x").status_code == 415
    assert visitor.post(UPDATE).status_code == 415


def test_text_by_post_is_refused(visitor: httpx.Client) -> None:
    assert visitor.post(UPDATE, content=b"x", headers=TEXT).status_code == 415


@pytest.mark.parametrize(
    "text", ["x" * LIMIT, "é" * (LIMIT // 2), "€" * (LIMIT // 3), "😀" * (LIMIT // 4), "\n" * LIMIT]
)
@pytest.mark.parametrize("way", ["text", "form", "post"])
def test_a_text_of_65536_bytes_passes(client: httpx.Client, text: str, way: str) -> None:
    if way == "text":
        response = client.put(UPDATE, content=text.encode(), headers=TEXT)
    elif way == "form":
        response = client.put(UPDATE, data={"text": text}, headers=HTMX)
    else:
        response = client.post(UPDATE, data={"text": text.replace("\n", "\r\n")}, headers=BROWSER)
    assert response.status_code in (200, 303), response.text
    assert shown_text(client.get(HOME).text) == text


@pytest.mark.parametrize("announced", [True, False])
def test_20_megabytes_are_refused_without_a_broken_connection(visitor: httpx.Client, announced: bool) -> None:
    chunks = [b"x" * 1_000_000] * 20
    content = b"".join(chunks) if announced else iter(chunks)
    response = visitor.put(UPDATE, content=content, headers=TEXT)
    assert response.status_code == 413
    assert "512 KiB" in response.text


def test_an_aborted_upload_saves_nothing_and_leaves_no_error_in_the_log(server: Server, visitor: httpx.Client) -> None:
    for token in (token_of(visitor), None):
        for path in (UPDATE, "/sample/raw"):  # with the form helper and without
            method = "PUT" if path == UPDATE else "POST"
            HeldRequest(server, method, path, b"half of it", TEXT, token).abort()
    time.sleep(0.3)  # no event says when the server has given up
    assert "ERROR" not in server.log
    assert server.log.count('" 400') >= 4


@pytest.mark.parametrize("host", ["x:99999", "[::1", "x:port", "[::1]:-1"])
def test_an_invalid_host_header_is_not_a_server_error(client: httpx.Client, host: str) -> None:
    assert client.get(HOME, headers={"Host": host}).status_code in (200, 400)
    # This request lacks a parameter, which Litestar reports with the URL.
    assert client.get("/sample/number/1", headers={"Host": host}).status_code == 400
