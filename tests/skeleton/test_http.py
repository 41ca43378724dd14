"""What an HTTP client sees of the skeleton: pages, errors, static files, over a real server."""

import html
import re
from collections.abc import Callable
from http import HTTPStatus

import httpx
import pytest

from app.settings import PROJECT
from tests.skeleton.sample import END, HOME, UPDATE
from tests.support import BROWSER, FORM, HTMX, Server

PAGES = [HOME, f"{HOME}/session"]


def test_health_answers(client: httpx.Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.text) == (200, "OK\n")


def test_health_leaves_no_trace_in_the_log(server: Server) -> None:
    client = server.client()
    client.get("/health")
    client.head("/health?from=balancer")
    client.get("/nope?seen")
    assert "/health" not in server.log
    server.wait_for_log("/nope?seen")


@pytest.mark.parametrize("path", [*PAGES, "/sample/saved", "/sample/public", "/health"])
def test_head_answers_like_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", UPDATE, "OPTIONS, POST, PUT"),
        ("DELETE", END, "OPTIONS, POST"),
        ("PUT", HOME, "GET, HEAD, OPTIONS"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_405_names_the_allowed_methods(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert response.status_code == 405
    assert ", ".join(sorted(response.headers["allow"].split(", "))) == allowed


@pytest.mark.parametrize(
    "path", ["/nope", "/nope/../..%2f", "/schema", "/static/", "/static/0/app.css", "/favicon.ico", "/%00", "/%ff"]
)
def test_unknown_addresses_get_404(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


ERRORS: list[tuple[int, Callable[[httpx.Client, dict[str, str]], httpx.Response]]] = [
    (400, lambda client, headers: client.post(UPDATE, content=b"nothing=1", headers=FORM | headers)),
    (403, lambda client, headers: client.post(UPDATE, headers=FORM | headers | {"Sec-Fetch-Site": "cross-site"})),
    (404, lambda client, headers: client.get("/nope", headers=headers)),
    (405, lambda client, headers: client.get(UPDATE, headers=headers)),
    (413, lambda client, headers: client.post(UPDATE, content=b"text=" + b"x" * 70_000, headers=FORM | headers)),
    (413, lambda client, headers: client.post(UPDATE, content=b"text=" + b"x" * 600_000, headers=FORM | headers)),
    (415, lambda client, headers: client.post(UPDATE, content=b"{}", headers={"Content-Type": "text/json"} | headers)),
]


@pytest.mark.parametrize(("status", "cause"), ERRORS)
def test_each_client_gets_errors_in_a_form_that_it_can_show(
    client: httpx.Client, status: int, cause: Callable[[httpx.Client, dict[str, str]], httpx.Response]
) -> None:
    page = cause(client, BROWSER)
    boosted = cause(client, HTMX | {"HX-Request-Type": "full"})
    fragment = cause(client, HTMX)
    text = cause(client, {})
    assert {page.status_code, boosted.status_code, fragment.status_code, text.status_code} == {status}
    for whole in (page, boosted):
        assert whole.headers["content-type"] == "text/html; charset=utf-8"
        assert whole.text.startswith("<!doctype html>")
    assert fragment.headers["content-type"] == "text/html; charset=utf-8"
    assert re.fullmatch(r"<p>[^<]+</p>", fragment.text)
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"[^<{]+\n", text.text)
    for response in (page, boosted, fragment, text):
        assert response.headers["cache-control"] == "no-store"
        assert "accept" in response.headers["vary"].lower()


@pytest.mark.parametrize(
    "accept", ["", "garbage", "text/html;q=x", ";;,,=", "*/*", "text/html;q=0.1;q=2,*", "a/b;c=d;e", "a/b;q=1e999"]
)
def test_a_strange_accept_header_causes_no_error(client: httpx.Client, accept: str) -> None:
    assert client.get("/nope", headers={"Accept": accept}).status_code == 404
    assert client.post(END, headers={"Accept": accept}).status_code in (200, 303)


def test_static_files_are_cached_for_a_year(client: httpx.Client) -> None:
    names = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get(HOME).text))
    assert len(names) == 5
    for name in names:
        for method in ("GET", "HEAD"):
            response = client.request(method, name, headers={"Cookie": "session=" + "A" * 43})
            assert response.status_code == 200
            assert response.headers["cache-control"] == "max-age=31536000, public, immutable"
            assert "cookie" not in response.headers.get("vary", "").lower()
            assert "set-cookie" not in response.headers
            assert not {"content-disposition", "etag", "last-modified"} & response.headers.keys(), (
                "these headers are not needed"
            )


def test_static_files_are_compressed_if_the_client_accepts_that(client: httpx.Client) -> None:
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get(HOME).text):
        content = (PROJECT / "static" / name.split("/", 3)[3]).read_bytes()
        for accepted in ("gzip, deflate, br", "identity", "", "gzip;q=0", "br, gzip; q=0.000, *"):
            response = client.get(name, headers={"Accept-Encoding": accepted})
            assert response.content == content
            compressed = accepted.startswith("gzip,") and len(content) > 500
            assert (response.headers.get("content-encoding") == "gzip") == compressed
            assert (response.num_bytes_downloaded < len(content)) == compressed
            if compressed:
                assert response.headers["vary"] == "Accept-Encoding"


def test_pages_are_not_compressed(client: httpx.Client) -> None:
    """With compression, the length reveals whether a guess matches text elsewhere on the page (BREACH)."""
    for path in PAGES:
        response = client.get(path, headers=BROWSER | {"Accept-Encoding": "gzip, br"})
        assert "content-encoding" not in response.headers


def test_no_path_leads_out_of_the_static_folder(client: httpx.Client) -> None:
    base = re.findall(r'"(/static/[^/]+)/app.css"', client.get(HOME).text)[0]
    for path in ("/../app/main.py", "/%2e%2e/app/main.py", "/..%2fapp%2fmain.py", "//etc/passwd", "/vendor"):
        assert client.get(base + path).status_code == 404


@pytest.mark.parametrize("name", ["%00", "a%00b", "x" * 300, "vendor/" * 2000, "app.css/x", "%ff", "..%2f" * 50])
def test_an_impossible_static_file_name_gets_404(client: httpx.Client, name: str) -> None:
    base = re.findall(r'"(/static/[^/]+)/app.css"', client.get(HOME).text)[0]
    assert client.get(f"{base}/{name}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        (
            "GET",
            "/sample/number/0?letters=a",
            None,
            "The value of number is not valid: expected a whole number of at least 1.",
        ),
        ("GET", "/sample/number/1?letters=a&limit=b", None, "The value of limit is not valid: expected a whole number"),
        ("GET", "/sample/number/1", None, "The query parameter letters is missing."),
        ("POST", "/sample/number", {"count": "many"}, "expected a whole number, got text"),
        ("POST", "/sample/raw", "x" * 700_000, "The limit is 512 KiB."),
    ],
)
def test_an_error_names_the_wrong_value_or_the_limit(
    client: httpx.Client, method: str, path: str, body: object, says: str
) -> None:
    for headers in (BROWSER, HTMX, {}):
        response = client.request(method, path, json=body, headers=headers)
        assert response.status_code in (400, 413)
        assert says in response.text.replace("&#39;", "'")
        assert "saved" not in response.text, "the page has no form"


def test_a_guards_403_does_not_mention_another_site(client: httpx.Client) -> None:
    response = client.post("/sample/forbidden", data={"text": "mine"}, headers=BROWSER)
    assert response.status_code == 403
    assert "another site" not in response.text
    assert "mine" not in response.text, "a refused request gets no text back"


@pytest.mark.parametrize("status", [500, 503])
def test_the_error_page_does_not_claim_to_know_whether_a_text_was_saved(client: httpx.Client, status: int) -> None:
    response = client.post(f"/sample/fail/{status}", data={"text": "mine"}, headers=BROWSER)
    assert response.status_code == status
    assert "may or may not have been saved" in response.text


@pytest.mark.parametrize("status", [400, 401, 402, 418, 422, 429, 501, 507])
def test_any_status_gets_a_page(client: httpx.Client, status: int) -> None:
    response = client.post(f"/sample/fail/{status}", data={"text": "mine"}, headers=BROWSER)
    assert response.status_code == status
    assert f"{status} {HTTPStatus(status).phrase}</p>" in html.unescape(response.text)
