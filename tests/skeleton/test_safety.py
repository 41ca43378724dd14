"""Cross-origin requests, security headers, and what a speculative request gets."""

import httpx
import pytest

from tests.skeleton import sample
from tests.skeleton.sample import END, HOME, UPDATE
from tests.support import BROWSER, TEXT, Server, shown_text

CSP = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
}


def host(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "SAME-ORIGIN"}, False),
        ({"Sec-Fetch-Site": "anything"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://HOST"}, False),
        ({"Origin": "http://HOST"}, True),
        ({"Origin": "https://HOST"}, True),  # as in Go, because Host does not show the scheme
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "garbage"}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": "http://HOST.evil.example"}, False),
        ({"Sec-Fetch-Site": "", "Origin": "https://evil.example"}, False),
        ({"Referer": "https://evil.example/"}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_the_cross_origin_check_follows_gos_rules(
    server: Server, client: httpx.Client, headers: dict[str, str], passes: bool, method: str
) -> None:
    headers = {name: value.replace("HOST", host(server)) for name, value in headers.items()}
    path = {"PUT": UPDATE, "POST": END, "DELETE": END}[method]
    response = client.request(method, path, headers=headers | (TEXT if method == "PUT" else {}))
    expected = {"PUT": 200, "POST": 200, "DELETE": 405}[method]
    if method == "DELETE":
        passes = True  # no such route exists, so there is nothing to guard
    assert response.status_code == (expected if passes else 403)
    if not passes:
        assert "set-cookie" not in response.headers
        assert "another site" in response.text


def test_a_cross_site_request_changes_nothing(server: Server) -> None:
    client = sample.visitor(server, "mine")
    evil = {"Sec-Fetch-Site": "cross-site"}
    assert client.put(UPDATE, content="evil", headers=TEXT | evil).status_code == 403
    assert client.post(UPDATE, data={"text": "evil"}, headers=evil).status_code == 403
    assert client.post(END, headers=evil).status_code == 403
    assert shown_text(client.get(HOME, headers=evil).text) == "mine", "links from elsewhere work"


def every_kind_of_response(client: httpx.Client) -> list[httpx.Response]:
    static = client.get(HOME).text.partition('href="/static/')[2].partition('"')[0]
    return [
        client.get(HOME),
        client.get("/sample/session", headers=BROWSER),
        client.get("/health"),
        client.get("/nope"),
        client.get(UPDATE),
        client.get(f"/static/{static}"),
        client.put(UPDATE, content="a", headers=TEXT),
        client.put(UPDATE, content=b"\xff", headers=TEXT),
        client.put(UPDATE, content=b"x" * 600_000, headers=TEXT),
        client.post(UPDATE, headers={"Sec-Fetch-Site": "cross-site"}),
        client.post(UPDATE, data={"text": "a"}),
        client.post(END),
        client.options(HOME),
    ]


def test_every_response_has_the_security_headers(client: httpx.Client) -> None:
    responses = every_kind_of_response(client)
    assert {r.status_code for r in responses} >= {200, 204, 303, 400, 403, 404, 405, 413}
    for response in responses:
        headers = response.headers
        assert set(headers["content-security-policy"].split("; ")) == CSP
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "strict-transport-security" not in headers


def test_https_adds_hsts(client: httpx.Client) -> None:
    client.headers["X-Forwarded-Proto"] = "https"
    for response in every_kind_of_response(client):
        assert response.headers["strict-transport-security"] == "max-age=31536000"


def test_no_page_has_inline_code(client: httpx.Client) -> None:
    for path in (HOME, "/sample/session", "/sample/public", "/sample/two", "/errors", "/errors/409", "/nope"):
        page = client.get(path, headers=BROWSER).text
        for inline in ("<style", " style=", "<script>", " onclick=", "javascript:", "hx-on", "js:"):
            assert inline not in page


def test_every_page_turns_preloading_off_on_its_body(client: httpx.Client) -> None:
    for path in (HOME, "/sample/session", "/sample/public", "/sample/two", "/errors", "/errors/409", "/nope"):
        page = client.get(path, headers=BROWSER).text
        assert '<body hx-boost:inherited="true" hx-preload:inherited="false"' in page
