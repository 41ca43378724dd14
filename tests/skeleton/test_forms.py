"""If a request fails, the visitor gets the text back in a form that can send it again."""

import html
import http.client
import re
from typing import Any

import httpx
import pytest

from tests.skeleton.sample import HOME, UPDATE
from tests.support import BROWSER, FORM, HTMX, TEXT, Server, shown_text


def form_in(page: str) -> dict[str, str]:
    """Return the fields of the form on an error page, as a browser would send them."""
    (form,) = re.findall(r"<form(.*?)</form>", page, re.DOTALL)
    fields = dict(re.findall(r'name="([^"]+)" (?:type="password"|value="([^"]*)")', form))
    fields |= dict(re.findall(r'<textarea[^>]* name="([^"]+)"[^>]*>\n(.*?)</textarea>', form, re.DOTALL))
    return {name: html.unescape(text) for name, text in fields.items()}


@pytest.mark.parametrize("status", [400, 409, 413, 422, 500, 503])
def test_a_text_comes_back_after_every_kind_of_failure(client: httpx.Client, status: int) -> None:
    text = "\nfirst </textarea> & 😀\n"
    path = f"/sample/fail/{status}?from=%22here%22&x=1"
    response = client.post(path, data={"text": text}, headers=BROWSER)
    assert response.status_code == status
    assert form_in(response.text) == {"text": text}
    assert f'<form method="post" action="{html.escape(path)}"' in response.text


def test_the_form_that_comes_back_sends_the_text_again(client: httpx.Client) -> None:
    refused = client.post(UPDATE, data={"text": "x" * 70_000}, headers=BROWSER)
    assert (refused.status_code, "too long: 70,000 bytes" in refused.text) == (413, True)
    fields = form_in(refused.text)
    assert fields == {"text": "x" * 70_000}
    assert client.post(UPDATE, data={"text": fields["text"][:10]}, headers=BROWSER).status_code == 303
    assert shown_text(client.get(HOME).text) == "x" * 10


def test_u_0000_is_shown_as_u_fffd_and_the_page_says_so(client: httpx.Client) -> None:
    response = client.post(UPDATE, data={"text": "a\0b\0"}, headers=BROWSER)
    assert response.status_code == 400
    assert form_in(response.text) == {"text": "a\ufffdb\ufffd"}
    assert "Each U+0000 is shown below as \ufffd." in response.text
    assert "\0" not in response.text
    other = client.post(UPDATE, data={"text": "x" * 70_000}, headers=BROWSER)
    assert "shown below as" not in other.text


def test_a_text_sent_by_put_comes_back_in_a_form_that_uses_put(client: httpx.Client) -> None:
    response = client.put(UPDATE, content=b"x" * 70_000, headers=BROWSER | TEXT)
    assert response.status_code == 413
    assert f'method="post" action="{UPDATE}" autocomplete="off" hx-put="{UPDATE}"' in response.text


def test_every_declared_field_except_passwords_comes_back(client: httpx.Client) -> None:
    sent = {
        "name": 'Ada "the" <first>',
        "password": "wrong-secret\n",
        "ticket": "17",
        "remember": "on",
        "other": "undeclared",
    }
    response = client.post("/sample/login", data=sent, headers=BROWSER)
    assert response.status_code == 422
    assert form_in(response.text) == {"name": 'Ada "the" <first>', "password": "", "ticket": "17", "remember": "on"}
    assert "wrong-secret" not in response.text
    assert '<input type="hidden" name="ticket" value="17">' in response.text
    assert 'type="password"' in response.text


def test_a_field_with_a_default_may_be_absent(client: httpx.Client) -> None:
    sent = {"name": "ada", "password": "secret", "ticket": "17"}
    assert client.post("/sample/login", data=sent).text == "ada 17 "
    assert client.post("/sample/login", data=sent | {"remember": "on"}).text == "ada 17 on"
    assert client.post("/sample/login", data=sent | {"remember": ["on", "on"]}).status_code == 400


def test_a_cross_origin_request_gets_no_text_back(client: httpx.Client) -> None:
    response = client.post(
        "/sample/fail/409", data={"text": "chosen elsewhere"}, headers=BROWSER | {"Sec-Fetch-Site": "cross-site"}
    )
    assert response.status_code == 403
    assert "<form" not in response.text
    assert "chosen elsewhere" not in response.text


@pytest.mark.parametrize("path", ["//sample/fail/409", "///sample//fail/409", "//evil.example/%2e%2e/sample/fail/409"])
def test_the_form_that_comes_back_cannot_be_made_to_send_elsewhere(server: Server, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)  # httpx would change the path
    connection.request("POST", path, "text=mine", BROWSER | FORM)
    page = connection.getresponse().read().decode()
    connection.close()
    assert "<main" in page
    for action in re.findall(r'action="([^"]*)"', page):
        assert re.match(r"/[^/]", action), action


@pytest.mark.parametrize(
    ("body", "headers", "says"),
    [
        (b"text=x" + b"&y=1" * 200, FORM, "more than 100 fields"),
        (b"x" * 600_000, FORM, "The limit is 512 KiB"),
        (b"text=%FF", FORM, "not valid UTF-8"),
        (b"text=a&text=b", FORM, "one field named text"),
        (b"--x--", {"Content-Type": "multipart/form-data; boundary=x"}, "multipart/form-data"),
    ],
)
def test_text_that_could_not_be_read_does_not_come_back(
    client: httpx.Client, body: bytes, headers: dict[str, str], says: str
) -> None:
    response = client.post(UPDATE, content=body, headers=BROWSER | headers)
    assert response.status_code in (400, 413, 415)
    assert says in response.text
    assert "<form" not in response.text


def test_htmx_gets_only_the_text_of_the_error(client: httpx.Client) -> None:
    data: dict[str, Any] = {"text": "mine"}
    response = client.post("/sample/fail/503", data=data, headers=HTMX)
    assert response.text == (
        "<p>The server cannot use its session store right now. What you sent may or may not have been saved. "
        "Try again in a few seconds.</p>"
    )
