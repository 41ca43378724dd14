"""How the cost of a request grows: with the sessions in the store, their size, their keys, requests at once, workers.

python -m benchmarks.growth [rounds] [most sessions in the store]

Prints tables, and draws `growth.svg` beside this file.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks import load
from benchmarks.common import FAR, fill_redis, fill_sqlite, machine, padding, token
from benchmarks.growth_plot import Panel, draw
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer
from tests.support import shown_text, wait_until

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
MOST = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
SECONDS, CONNECTIONS, VISITORS = 1, 32, 512
STORES = ("memory", "SQLite", "Redis")
KINDS: dict[load.Kind, str] = {"view": "page view", "save": "save"}


@dataclass(frozen=True)
class Case:
    """One column of a table for one store: what to start, and how to load it."""

    store: str
    sessions: int = 1_000
    size: int = 100  # bytes
    keys: int = 1
    connections: int = CONNECTIONS
    workers: int = 1

    @property
    def setup(self) -> "Case":
        """The part of the case that decides which server it needs."""
        return replace(self, connections=0)

    def tokens(self) -> list[str]:
        """Visitors spread over all sessions, so no cache holds only theirs."""
        return [token(n * self.sessions // VISITORS) for n in range(VISITORS)]


@dataclass
class Machinery:
    """Starts what a table needs, and stops it afterwards."""

    folder: Path
    redis: RedisServer
    prepare: Callable[[], None] | None
    servers: dict[Case, QuoteServer] = field(default_factory=dict)

    def server(self, case: Case) -> QuoteServer:
        if case.setup not in self.servers:
            self.servers[case.setup] = self._start(case)
        return self.servers[case.setup]

    def stop(self) -> None:
        for server in self.servers.values():
            server.close()
        self.servers.clear()
        self.redis.answers("FLUSHALL")

    def _start(self, case: Case) -> QuoteServer:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        more, numbers = padding(case.size, case.keys), range(case.sessions)
        # Several workers need several cores, so they share those of the load.
        server = QuoteServer(folder, workers=case.workers, prepare=self.prepare if case.workers == 1 else free)
        server.options = ("--no-access-log",)
        if case.store in ("bare", "memory"):
            server.app = f"benchmarks.variants:{'bare' if case.store == 'bare' else 'filled'}"
            server.options += ("--factory",)
            server.environment["FILL"] = f"{case.sessions} {case.size} {case.keys}"
            server.store = "memory://"
        elif case.store == "SQLite":
            fill_sqlite(server.database, numbers, FAR, more)
        else:
            database = len(self.servers)
            fill_redis(self.redis, numbers, FAR, more, database)
            server.store = self.redis.url.removesuffix("0") + str(database)
        server.launch()
        wait_until(lambda: "startup complete" in server.log, 300)
        if case.store != "bare":
            last = case.sessions - 1
            assert shown_text(server.client(token(last)).get("/").text) == f"the quote of visitor {last}"
        return server


def free() -> None:
    """Let a process run on every core."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


Results = dict[Case, list[load.Measurement]]


def measure(machinery: Machinery, cases: list[Case], kind: load.Kind) -> Results:
    """Return the result of each round for each case. The rounds alternate: A B C, A B C, ..."""
    results: Results = {case: [] for case in cases}
    for number in range(ROUNDS):
        for case, measurements in results.items():
            server = machinery.server(case)
            tokens = case.tokens()
            measurements.append(load.run(server, kind, tokens, SECONDS, f"round {number}", case.connections))
    return results


def ratios(results: Results, case: Case, first: Case) -> list[float]:
    return [one.cpu / other.cpu for one, other in zip(results[case], results[first], strict=True)]


def table(machinery: Machinery, title: str, name: str, values: list[int], stores: tuple[str, ...]) -> list[Panel]:
    """Measure and print one table. Return the figures to draw."""
    print(f"## {title}\n")
    print(f"| | {' | '.join(f'{value:,}' for value in values)} |\n|---{'|---' * len(values)}|")
    panels = []
    lines = []
    for kind, what in KINDS.items():
        print(f"{title}, {what} ...", file=sys.stderr)
        rows = {store: [replace(CASE, store=store, **{name: value}) for value in values] for store in stores}
        results = measure(machinery, [case for row in rows.values() for case in row], kind)
        panel = Panel(title, what, values)
        for store, row in rows.items():
            columns = [ratios(results, case, row[0]) for case in row]
            print(f"| {what}, {store} | {' | '.join(load.spread(column) for column in columns)} |", flush=True)
            panel.lines[store] = [median(column) for column in columns]
            cells = []
            for case in row:
                cpu, p50, p99, per_second = (
                    median(column)
                    for column in zip(*((m.cpu, m.p50, m.p99, m.per_second) for m in results[case]), strict=True)
                )
                cells.append(f"{cpu:.0f} µs, {p50:.1f}, {p99:.1f}, {per_second:,.0f}")
            lines.append(f"| {what}, {store} | {' | '.join(cells)} |")
        panels.append(panel)
    print("\nCPU, p50 and p99 in milliseconds, requests a second:\n")
    print(f"| | {' | '.join(f'{value:,}' for value in values)} |\n|---{'|---' * len(values)}|")
    print("\n".join(lines) + "\n", flush=True)
    machinery.stop()
    return panels


CASE = Case("")


def main() -> None:
    wrk = load.require_wrk()
    prepare = load.pin()
    cores = "on one core; wrk and redis-server on another" if prepare else "all on the one core there is"
    print(f"{machine()}, wrk {wrk}\n")
    print(
        f"{ROUNDS} rounds of {SECONDS} s, in each round every cell of a table once; CPU time of the server per "
        "request, as a ratio to the first column; median (lowest–highest) of the rounds. "
        f"Where a table says nothing else: {CASE.sessions:,} sessions of {CASE.size} bytes beside the quote, in "
        f"{CASE.keys} key, {VISITORS} of them in use, {CONNECTIONS} requests at once, one uvicorn process, without "
        f"access log, {cores}. Several workers run on all cores, as wrk does then. Bare: no sessions.\n"
    )
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        redis = RedisServer(Path(name) / "redis").start()
        stack.callback(redis.stop)
        machinery = Machinery(Path(name), redis, prepare)
        stack.callback(machinery.stop)
        sessions = [number for number in (1_000, 100_000, 1_000_000) if number <= MOST]
        panels = table(machinery, "Sessions in the store", "sessions", sessions, STORES)
        panels += table(machinery, "Bytes in a session", "size", [100, 10_000, 65_536], STORES)
        panels += table(machinery, "Keys in a session", "keys", [1, 100], STORES)
        panels += table(machinery, "Requests at once", "connections", [1, 32, 256], ("bare", *STORES))
        table(machinery, "Workers", "workers", [1, 2], ("bare", "SQLite", "Redis"))
    Path(__file__).with_suffix(".svg").write_text(draw(panels))


if __name__ == "__main__":
    main()
