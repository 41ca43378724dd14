"""Helpers for the tests that use the sample app: its addresses, its visitors, and actions on its pages."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, Route

from app.sessions.records import digest
from tests.browsers import expect
from tests.support import DEFAULT as DEFAULT
from tests.support import END as END
from tests.support import HOME as HOME
from tests.support import SAMPLE_APP, HeldRequest, Server
from tests.support import UPDATE as UPDATE


def sample_server(folder: Path, **options: Any) -> Server:
    """Return a server of the sample app, not started yet."""
    return Server(folder, **{"app": SAMPLE_APP, **options})


def visitor(server: Server, text: str) -> httpx.Client:
    """Return a client that has a session with this text."""
    return server.visitor(text)


def save(page: Page, text: str, button: str = "Save") -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name=button, exact=True).click()


def saved(page: Page, text: str) -> None:
    """Save this text, and wait for the server to confirm that."""
    save(page, text)
    expect_status(page, "Saved")


def expect_text(page: Page, text: str) -> None:
    expect(page.get_by_label("Text", exact=True)).to_have_value(text)


def expect_status(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_have_text(text, use_inner_text=True)


def token_in(page: Page) -> str:
    return next(cookie["value"] for cookie in page.context.cookies() if cookie.get("name") == "session")


def end_session_during_next_save(page: Page, server: Server, update: str = UPDATE) -> None:
    """Destroy the page's session after the next save has loaded it and before the save's body is complete."""

    def hold(route: Route) -> None:
        request = route.request
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        body = request.post_data_buffer
        assert body
        token = token_in(page)
        held = HeldRequest(server, request.method, update, body, headers, token)
        with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
            assert db.execute("DELETE FROM sessions WHERE id = ?", (digest(token),)).rowcount == 1
        answer = held.finish()
        route.fulfill(status=answer.status, headers=dict(answer.headers), body=answer.text)

    page.route(f"**{update}", hold, times=1)
