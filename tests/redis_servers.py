"""Redis for the tests: a server, or a cluster of three primaries and three replicas, started here on free ports."""

import asyncio
import os
import socket
import struct
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import free_port, require, wait_until


@dataclass
class RedisServer:
    """A redis-server process that keeps nothing on disk."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> "RedisServer":
        self.folder.mkdir(exist_ok=True)
        program = require(os.environ.get("REDIS_SERVER", "redis-server"))  # valkey-server works too
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "redis.log"), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(lambda: self.answers("PING") == "PONG")
        return self

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def answers(self, *command: str) -> str:
        """Send a command with redis-cli and return what it prints."""
        arguments = [require("redis-cli"), "-p", str(self.port), *command]
        return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False).stdout.strip()

    def commands(self) -> dict[str, int]:
        """Return the number of commands by kind, except those inside scripts and those that open connections."""
        lines = [line.split(":") for line in self.answers("INFO", "commandstats").splitlines() if ":" in line]
        counts = {name.removeprefix("cmdstat_"): int(stats.split(",")[0].split("=")[1]) for name, stats in lines}
        own = {"info", "config|resetstat", "client|setinfo", "client|setname", "hello", "ping", "select", "command"}
        return {name: count for name, count in counts.items() if name not in own}


class RedisCluster:
    """Three primaries and three replicas."""

    def __init__(self, folder: Path) -> None:
        options = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
        )
        self.servers = [RedisServer(folder / str(n), options, port) for n, port in enumerate(cluster_ports(6))]

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.servers[0].port}"

    def start(self) -> "RedisCluster":
        for server in self.servers:
            server.start()
        addresses = [f"127.0.0.1:{server.port}" for server in self.servers]
        created = self.servers[0].answers("--cluster", "create", *addresses, "--cluster-replicas", "1", "--cluster-yes")
        assert "[OK] All 16384 slots covered" in created, created
        wait_until(lambda: all("cluster_state:ok" in server.answers("CLUSTER", "INFO") for server in self.servers), 30)
        wait_until(lambda: sum("role:slave" in s.answers("INFO", "replication") for s in self.servers) == 3, 30)
        wait_until(
            lambda: all("master_link_status:down" not in s.answers("INFO", "replication") for s in self.servers), 30
        )
        return self

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def flush(self) -> None:
        for server in self.servers:
            server.answers("FLUSHALL")

    def primary_of(self, key: str) -> RedisServer:
        slot = int(self.servers[0].answers("CLUSTER", "KEYSLOT", key))
        for server in self.servers:
            for line in server.answers("CLUSTER", "NODES").splitlines():
                _, _, flags, *rest = line.split()
                ranges = [part.split("-") for part in rest[5:] if part[0].isdigit()]
                if "myself" in flags and "master" in flags and any(int(r[0]) <= slot <= int(r[-1]) for r in ranges):
                    return server
        raise AssertionError(f"no primary for slot {slot}")


def start_cluster_of_one(
    folder: Path, announced_port: int, options: tuple[str, ...] = (), port: int | None = None
) -> RedisServer:
    """Start a cluster of one primary that announces another port to its clients, such as that of a proxy."""
    names = ("--cluster-announce-ip", "--cluster-announce-port", "--cluster-announce-tls-port")
    values = ("127.0.0.1", str(announced_port), str(announced_port))
    announced = [text for pair in zip(names, values, strict=True) for text in pair]
    server = RedisServer(
        folder, ("--cluster-enabled", "yes", *announced, *options), port or cluster_ports(1)[0]
    ).start()
    assert server.answers("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == "OK"
    wait_until(lambda: "cluster_state:ok" in server.answers("CLUSTER", "INFO"))
    return server


class Proxy:
    """Stands between the app and a server, and acts as a proxy, a firewall or a network that fails.

    It can lose an answer, change what is sent, send new connections to another server, and end the connections that
    exist: `reset`, `close`, or `forget`, as a firewall does. What is sent over a forgotten connection goes nowhere.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self._port = port
        self.lose_answer_to: bytes | None = None
        self.changes: dict[bytes, bytes] = {}  # in both directions; old and new of the same length
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._connections: list[ProxiedConnection] = []

    @property
    def port(self) -> int:
        assert self._server
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        await self.close()

    async def reset(self) -> None:
        """End all connections with a TCP reset."""
        for connection in self._connections:
            linger = struct.pack("ii", 1, 0)  # makes `close` send a reset
            if not connection.client.is_closing():
                connection.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.client.transport.abort()
        await self.close()

    async def close(self) -> None:
        for connection in self._connections:
            await connection.end()
        self._connections.clear()

    async def forget(self) -> None:
        for connection in self._connections:
            connection.is_forgotten = True

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            client.close()
            return
        connection = ProxiedConnection(client, server)
        self._connections.append(connection)

        async def questions() -> None:
            while data := await reader.read(65_536):
                if self.lose_answer_to and self.lose_answer_to in data:
                    connection.loses_answers, self.lose_answer_to = True, None
                if not connection.is_forgotten:
                    server.write(self._changed(data))
            server.close()

        async def answers() -> None:
            while (data := await server_reader.read(65_536)) and not connection.loses_answers:
                if not connection.is_forgotten:
                    client.write(self._changed(data))
            client.close()

        await asyncio.gather(questions(), answers(), return_exceptions=True)

    def _changed(self, data: bytes) -> bytes:
        for old, new in self.changes.items():
            data = data.replace(old, new)
        return data


@dataclass
class ProxiedConnection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    loses_answers: bool = False
    is_forgotten: bool = False

    async def end(self) -> None:
        for writer in (self.client, self.server):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def cluster_ports(number: int) -> list[int]:
    """Return free ports. The port of the cluster bus, 10,000 above each, is free as well."""
    ports: list[int] = []
    deadline = time.monotonic() + 10
    while len(ports) < number:
        assert time.monotonic() < deadline
        port = free_port()
        if port + 10_000 > 65_535:
            port -= 20_000
        if port not in ports and all(_is_free(candidate) for candidate in (port, port + 10_000)):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
