"""Runs wrk for some seconds, and measures what the load costs the server."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from benchmarks.common import cpu_seconds_of_group
from tests.quote.server import QuoteServer
from tests.support import token_of

Kind = Literal["view", "save", "mixed"]

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Measurement:
    """The result of one run of wrk. `cpu` is the server's, in microseconds per request; p50 and p99 in milliseconds."""

    cpu: float
    per_second: float
    p50: float
    p99: float


def run(
    server: QuoteServer, kind: Kind, tokens: Sequence[str], seconds: int, label: str, connections: int
) -> Measurement:
    """Load the server. Raises AssertionError if a request failed, because the figures would then mean nothing."""
    assert server.process
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), server.url]
    before = cpu_seconds_of_group(server.process.pid)
    done = subprocess.run([*command, "--", kind, label, *tokens], capture_output=True, text=True, check=True)
    used = _cpu_when_idle(server.process.pid) - before
    (result,) = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    sent, answered, failed, microseconds = map(int, result[:4])
    assert not failed, f"{failed} of {sent} requests failed\n{done.stdout}{server.log[-2000:]}"
    # wrk sent the last requests, which cost as much as the others, but did not wait for their answers.
    return Measurement(used / sent * 1e6, answered / microseconds * 1e6, float(result[4]), float(result[5]))


def _cpu_when_idle(pid: int) -> float:
    before, used = -1.0, cpu_seconds_of_group(pid)
    for _ in range(50):
        if used == before:
            break
        time.sleep(0.05)
        before, used = used, cpu_seconds_of_group(pid)
    return used


def pin() -> Callable[[], None] | None:
    """Keep this process, and all that it starts, on one core; return what moves a server to another one.

    None, and nothing is pinned, where there is one core only.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None
    os.sched_setaffinity(0, {cores[0]})
    return lambda: os.sched_setaffinity(0, {cores[1]})


def require_wrk() -> str:
    """Return wrk's version. Ends the program if there is none."""
    if not shutil.which("wrk"):
        sys.exit("This needs wrk. On Debian and Ubuntu: apt-get install wrk")
    return subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split()[1]


def new_sessions(server: QuoteServer, number: int) -> list[str]:
    """Return the tokens of this many new sessions. If the server has no sessions, make up tokens of the same length."""
    tokens = []
    for n in range(number):
        client = server.visitor(f"the quote of visitor {n}")
        tokens.append(token_of(client) if "session" in client.cookies else secrets.token_urlsafe(32))
        client.close()
    return tokens


def spread(values: Sequence[float]) -> str:
    """Return the median with the lowest and the highest value."""
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"
