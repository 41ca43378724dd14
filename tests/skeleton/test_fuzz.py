"""No request, however malformed, gets a 500. `scripts/fuzz.py` sends more of them."""

from pathlib import Path

import pytest

from tests.fuzzer import Fuzzer, routes_of
from tests.skeleton.sample import sample_server
from tests.skeleton.sample_app import app
from tests.support import Server

pytestmark = pytest.mark.full

REQUESTS = 4_000


def test_no_request_gets_a_500_and_every_route_is_reached(server: Server) -> None:
    fuzzer = Fuzzer(server.port, routes_of(app), seed=1)
    fuzzer.run(REQUESTS)
    assert fuzzer.failures == []
    assert [route for route in fuzzer.routes if not fuzzer.reached[route]] == []
    assert "ERROR" not in server.log, server.log[-3000:]
    assert server.client().get("/health").status_code == 200


def test_the_fuzzer_finds_a_null_byte_in_the_name_of_a_static_file(tmp_path: Path) -> None:
    """A control, without the fix in `app/static_files.py`."""
    server = sample_server(tmp_path, app="tests.skeleton.unfixed_app:app").start()
    try:
        fuzzer = Fuzzer(server.port, [route for route in routes_of(app) if route[1].startswith("/static/")], seed=1)
        fuzzer.run(200)
    finally:
        server.close()
    assert any(b"%00" in request for request, _ in fuzzer.failures)
