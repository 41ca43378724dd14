"""The list of errors, which only developers see."""

import html
import re
from collections.abc import Callable
from http import HTTPStatus

import httpx
import pytest

from app.errors import MESSAGES, SESSION_MESSAGES
from app.sessions import SessionEnded, StoreUnavailable
from tests.support import BROWSER, HTMX, Server


@pytest.mark.parametrize("debug", ["", "0"])
def test_the_list_of_errors_is_absent_by_default(start_server: Callable[..., Server], debug: str) -> None:
    client = start_server(app="app.main:app", environment={"LITESTAR_DEBUG": debug}).client()
    for path in ("/errors", "/errors/404", "/errors/500"):
        response = client.get(path, headers=BROWSER)
        assert response.status_code == 404
        assert "There is no page at this address." in response.text


def test_debug_mode_adds_the_list_of_errors(start_server: Callable[..., Server]) -> None:
    client = start_server(app="app.main:app", environment={"LITESTAR_DEBUG": "1"}).client()
    assert "What can go wrong" in client.get("/errors", headers=BROWSER).text
    assert client.get("/errors/500", headers=BROWSER).status_code == 500


def test_each_error_page_matches_the_real_error_and_has_no_stack_trace(client: httpx.Client) -> None:
    links = re.findall(r'href="/errors/(\d+)"', client.get("/errors", headers=BROWSER).text)
    assert set(links) >= {"400", "403", "404", "405", "409", "413", "415", "500", "503"}
    shown = {error.status_code: SESSION_MESSAGES[error] for error in (SessionEnded, StoreUnavailable)}
    for status in map(int, links):
        page, fragment, text = (client.get(f"/errors/{status}", headers=headers) for headers in (BROWSER, HTMX, {}))
        assert {page.status_code, fragment.status_code, text.status_code} == {status}
        message, _ = shown.get(status, MESSAGES[status])
        assert f"<h1>{message}".rstrip(".") in html.unescape(page.text), "the sentence comes first"
        assert f"{status} {HTTPStatus(status).phrase}" in page.text.partition("</h1>")[2]
        for sentence in shown.get(status, MESSAGES[status]):
            assert sentence in html.unescape(page.text)
            assert sentence in html.unescape(fragment.text)
            assert sentence in text.text
        for response in (page, fragment, text):
            assert "saved" not in response.text, "the page has no form"
            assert response.headers["cache-control"] == "no-store"
            assert ("retry-after" in response.headers) == (status == 503)
            for trace in ("Traceback", "Error(", "RuntimeError", "error_pages.py", "line "):
                assert trace not in response.text


@pytest.mark.parametrize("status", ["200", "418", "42", "-1", "9" * 30, "x"])
def test_other_statuses_get_404(client: httpx.Client, status: str) -> None:
    assert client.get(f"/errors/{status}", headers=BROWSER).status_code == 404
