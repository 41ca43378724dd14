"""Fixtures of the tests that use the sample app. They never use a page of the demo."""

import re
from collections.abc import Iterator

import pytest

from tests.skeleton.sample import sample_server
from tests.support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the sample app, on SQLite, that is shared by the tests of a module."""
    server = sample_server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.close()
    # Whatever a test does, it must never end in an error that nobody foresaw.
    provoked = re.findall(r"'/(?:sample/fail|errors)/5\d\d' failed", server.log)
    assert server.log.count("Traceback") == len(provoked), server.log
