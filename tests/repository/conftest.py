"""Fixtures of the tests about this repository."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.quote.server import QuoteServer


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., QuoteServer]]:
    """Start servers of the app with the demo in it."""
    servers: list[QuoteServer] = []

    def start(**options: Any) -> QuoteServer:
        options.setdefault("folder", tmp_path_factory.mktemp("server"))
        servers.append(QuoteServer(**options))
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()
