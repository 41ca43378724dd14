"""What sessions cost: the app without any, with Litestar's own, and as it is, on each store.

python -m benchmarks.compare [rounds] [seconds]
"""

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, median

from benchmarks import load
from benchmarks.common import machine, memory_mib
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer
from tests.support import shown_text

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SESSIONS, CONNECTIONS = 64, 32

LOADS: dict[str, tuple[load.Kind, bool]] = {  # the kind, and whether the visitors have a session
    "page view with a session": ("view", True),
    "page view without": ("view", False),
    "save": ("save", True),
    "mixed": ("mixed", True),
}


def servers(folder: Path, redis: RedisServer, prepare: Callable[[], None] | None) -> dict[str, QuoteServer]:
    """Start all that is compared: bare first and last, so that what gets slower meanwhile does not favour anybody."""
    stock = {"memory": "memory://", "file": f"file://{folder}/stock-files", "Redis": redis.url}
    ours = {"memory": "memory://", "SQLite": f"sqlite:///{folder}/sessions.sqlite3", "Redis": redis.url}
    options = ("--no-access-log",)
    factory = (*options, "--factory")
    variants = {"bare": QuoteServer(folder / "bare", "memory://", "benchmarks.variants:bare", options=factory)}
    for name, url in stock.items():
        variants[f"stock, {name}"] = QuoteServer(
            folder / f"stock-{name}",
            "memory://",
            "benchmarks.variants:stock",
            options=factory,
            environment={"STOCK_STORE": url},
        )
    for name, url in ours.items():
        variants[f"ours, {name}"] = QuoteServer(folder / f"ours-{name}", url, options=options)
    variants["bare, again"] = QuoteServer(folder / "again", "memory://", "benchmarks.variants:bare", options=factory)
    for server in variants.values():
        server.folder.mkdir()
        server.prepare = prepare
        server.start()
    return variants


def measure(
    variants: dict[str, QuoteServer], tokens: dict[str, list[str]]
) -> dict[str, dict[str, list[load.Measurement]]]:
    """Return for each load and each variant what each round showed."""
    results: dict[str, dict[str, list[load.Measurement]]] = {}
    for title, (kind, with_session) in LOADS.items():
        rounds: dict[str, list[load.Measurement]] = {name: [] for name in variants}
        for number in range(ROUNDS):
            print(f"{title}, round {number + 1} of {ROUNDS} ...", file=sys.stderr)
            for name, server in variants.items():
                visitors = tokens[name] if with_session else []
                rounds[name].append(load.run(server, kind, visitors, SECONDS, f"round {number}", CONNECTIONS))
        results[title] = rounds
        for name, server in variants.items():
            if kind == "save":  # what was saved is there
                shown = shown_text(server.client(tokens[name][0]).get("/").text)
                assert shown.startswith(f"round {ROUNDS - 1}, text "), shown
    return results


def report(variants: dict[str, QuoteServer], results: dict[str, dict[str, list[load.Measurement]]]) -> None:
    titles = " | ".join(LOADS)
    print(f"CPU time of the server per request, as a ratio to bare\n\n| | {titles} |\n|---{'|---' * len(LOADS)}|")
    for name in variants:
        cells = []
        for rounds in results.values():
            bare = [
                mean((one.cpu, other.cpu)) for one, other in zip(rounds["bare"], rounds["bare, again"], strict=True)
            ]
            cells.append(load.spread([one.cpu / base for one, base in zip(rounds[name], bare, strict=True)]))
        print(f"| {name} | {' | '.join(cells)} |")

    print("\nCPU in microseconds; p50 and p99 of the latency in milliseconds; resident memory in MiB at the end\n")
    print(f"| | {titles} | memory |\n|---{'|---' * len(LOADS)}|---|")
    for name, server in variants.items():
        cells = []
        for rounds in results.values():
            cpu, p50, p99 = (
                median(values) for values in zip(*((m.cpu, m.p50, m.p99) for m in rounds[name]), strict=True)
            )
            cells.append(f"{cpu:.0f} µs, {p50:.1f}, {p99:.1f}")
        assert server.process
        print(f"| {name} | {' | '.join(cells)} | {memory_mib(server.process.pid):.0f} |")


def main() -> None:
    wrk = load.require_wrk()
    prepare = load.pin()
    print(f"{machine()}, wrk {wrk}\n")
    cores = "on one core; wrk and redis-server on another" if prepare else "all on the one core there is"
    print(
        f"{ROUNDS} rounds of {SECONDS} s, in each round every variant once (A B C, A B C, ...); median "
        f"(lowest–highest) of the rounds; {SESSIONS} sessions, {CONNECTIONS} connections. One uvicorn process each, "
        f"without access log, {cores}. CPU time is that of the server process alone. Bare: the same app with a dict in "
        "place of the session and no session hook; two processes, which show the noise; the ratios are to the mean of "
        "both. Stock: the same app with Litestar's server-side sessions, which write on each view, with a session or "
        "without. Mixed: 9 views, 1 save.\n"
    )
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        redis = RedisServer(folder / "redis").start()
        stack.callback(redis.stop)
        variants = servers(folder, redis, prepare)
        for server in variants.values():
            stack.callback(server.close)
        tokens = {variant: load.new_sessions(server, SESSIONS) for variant, server in variants.items()}
        report(variants, measure(variants, tokens))


if __name__ == "__main__":
    main()
