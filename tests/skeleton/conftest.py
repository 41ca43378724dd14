"""Fixtures of the tests that use the sample app. They never use a page of the demo."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

from tests.skeleton.sample import HOME, sample_server
from tests.support import TLS, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the sample app, on SQLite, that is shared by the tests of a module."""
    server = sample_server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.close()
    # No test may cause an unexpected error in the server.
    provoked = re.findall(r"'/(?:sample/fail|errors)/5\d\d' failed", server.log)
    assert server.log.count("Traceback") == len(provoked), server.log


@pytest.fixture(scope="module")
def altered_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that records its requests and whose answers can be altered: see `altered_app.py`."""
    server = sample_server(tmp_path_factory.mktemp("server"), app="tests.skeleton.altered_app:app").start()
    yield server
    server.close()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def alter(altered_server: Server) -> Iterator[Callable[..., None]]:
    """Alter the server's answers from now on, and start the records again."""

    def alter(**alterations: Any) -> None:
        httpx.post(f"{altered_server.url}/alterations", json=alterations, verify=TLS)

    if altered_server.process and altered_server.process.poll() is not None:  # a test stopped it, and failed
        altered_server.start()
    alter(script="")
    yield alter
    if altered_server.process and altered_server.process.poll() is None:
        alter()


@pytest.fixture
def asked(altered_server: Server) -> Callable[[], list[str]]:
    """Return the requests since the answers were last altered: method, path, Sec-Purpose."""
    return lambda: httpx.get(f"{altered_server.url}/alterations", verify=TLS).json()["asked"]


@pytest.fixture
def answered(altered_server: Server) -> Callable[[], list[str]]:
    """Return the answers since then: status and path."""
    return lambda: httpx.get(f"{altered_server.url}/alterations", verify=TLS).json()["answered"]


@pytest.fixture
def complaints() -> list[str]:
    """The messages in the browser's console, as far as the driver reports them.

    A test that provokes an error empties it. Otherwise it has to be empty at the end.
    """
    return []


@pytest.fixture
def open_page(
    new_context: Callable[..., BrowserContext],
    altered_server: Server,
    alter: Callable[..., None],
    complaints: list[str],
) -> Iterator[Callable[..., Page]]:
    """Open a page as a new visitor, in each engine. `script` runs before the page's own scripts."""

    def open_page(path: str = HOME, script: str = "", **options: Any) -> Page:
        context = new_context(base_url=altered_server.url, **options)
        context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        if script:
            alter(script=script)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto(path)
        return page

    yield open_page
    assert complaints == []
