"""The kinds of session stores, for tests that run on each of them."""

from pathlib import Path

import pytest

from tests.postgres_server import PostgresServer
from tests.redis_servers import RedisCluster, RedisServer

EMBEDDED = ["memory", "sqlite"]  # they need no server
# Parameters of a fixture or test. Stores that need a server take part only in the full run.
STORES = [*EMBEDDED, *(pytest.param(kind, marks=pytest.mark.full) for kind in ("redis", "cluster", "postgres"))]


def empty_store(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the address of an empty store. Starts what it needs."""
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.answers("FLUSHALL")
        return server.url
    if kind == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        cluster.flush()
        return cluster.url
    if kind == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        postgres.empty()
        return postgres.url
    return "memory://" if kind == "memory" else f"sqlite:///{folder}/sessions.sqlite3"
