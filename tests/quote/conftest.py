"""Fixtures of the demo's tests."""

from collections.abc import Iterator

import pytest

from tests.quote.server import QuoteServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuoteServer]:
    """A server of the app on SQLite, shared by the tests of a module."""
    server = QuoteServer(tmp_path_factory.mktemp("server")).start()
    yield server
    server.close()
    assert "Traceback" not in server.log, server.log
