"""What a page view and a save cost: this app, and the sessions that others have, beside a bare Litestar page.

    python -m benchmarks.compare [ROUNDS] [SECONDS] [goal]

With `goal`, it measures only the page view and the two variants that have a goal, so it can run more rounds.

Each round runs every variant once, in a new order. Ratios and differences are made within a round. The tables show the
median of the rounds with its 95 % interval.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks import load
from benchmarks.common import machine, memory_mib
from benchmarks.intervals import shown, verdict
from tests.postgres_server import PostgresServer
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SESSIONS, CONNECTIONS = 64, 32
GOAL = 1.25  # a page view without a session, relative to the bare page
ONLY_GOAL = "goal" in sys.argv

BARE, WITHOUT_LAYER = "bare Litestar page", "this app without its session layer"
MEASURED_FOR_GOAL = ("this app, memory", BARE)
LOADS: dict[str, tuple[load.Kind, bool]] = {  # the kind, and whether the visitors have a session
    "page view without a session": ("view", False),
    "page view with a session": ("view", True),
    "save": ("save", True),
}

Rounds = dict[str, list[load.Measurement]]


def start_servers(folder: Path, stack: ExitStack, prepare: Callable[[], None] | None) -> dict[str, QuoteServer]:
    """Start everything that is compared, each on the core that `prepare` moves it to."""
    redis = RedisServer(folder / "redis").start()
    stack.callback(redis.stop)
    postgres = PostgresServer(("-c", "fsync=on")).create()
    stack.callback(postgres.remove)

    def start(name: str, store: str, app: str = "app.main:app", **environment: str) -> QuoteServer:
        own = folder / name.replace(" ", "-")
        own.mkdir()
        options = ("--no-access-log", *(["--factory"] if app != "app.main:app" else []))
        server = QuoteServer(own, store, app, options=options, environment=environment, prepare=prepare)
        started = time.monotonic()
        server.start()
        stack.callback(server.close)
        print(f"{name}: first response after {time.monotonic() - started:.1f} s", file=sys.stderr)
        return server

    ours = {
        "memory": "memory://",
        "SQLite": f"sqlite:///{folder}/sessions.sqlite3",
        "Redis": redis.url,
        "PostgreSQL": postgres.url,
    }
    servers = {f"this app, {store}": start(f"this app, {store}", url) for store, url in ours.items()}
    page = servers["this app, memory"].client().get("/").text
    (folder / "templates").mkdir()
    (folder / "templates/page.html").write_text(page.replace("initial quote", "{{ quote }}"))
    templates = str(folder / "templates")
    servers[BARE] = start(BARE, "memory://", "benchmarks.peers:flat", PEER_TEMPLATES=templates)
    servers[WITHOUT_LAYER] = start(WITHOUT_LAYER, "memory://", "benchmarks.variants:bare")
    for peer, title in (("stock", "Litestar's own sessions"), ("starsessions", "Starlette with starsessions")):
        for store, url in (("memory", "memory://"), ("Redis", redis.url)):
            name = f"{title}, {store}"
            servers[name] = start(
                name, "memory://", f"benchmarks.peers:{peer}", PEER_TEMPLATES=templates, PEER_STORE=url
            )
    for name, server in servers.items():
        assert server.client().get("/").text == page or name == WITHOUT_LAYER, name
    return servers


def measure(servers: dict[str, QuoteServer]) -> dict[str, Rounds]:
    """Return the result of each round, for each load and variant."""
    tokens = {name: load.new_sessions(server, SESSIONS) for name, server in servers.items()}
    results: dict[str, Rounds] = {title: {name: [] for name in servers} for title in LOADS}
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS} ...", file=sys.stderr, flush=True)
        for title, (kind, with_session) in LOADS.items():
            for name in random.sample(list(servers), len(servers)):
                visitors = tokens[name] if with_session else []
                run = load.run(servers[name], kind, visitors, SECONDS, f"round {number}", CONNECTIONS)
                results[title][name].append(run)
    return results


def report(servers: dict[str, QuoteServer], results: dict[str, Rounds]) -> None:
    print(f"CPU per request, relative to the bare page\n\n| | {' | '.join(LOADS)} |\n|---{'|---' * len(LOADS)}|")
    for name in servers:
        cells = [
            shown([one.cpu / base.cpu for one, base in zip(rounds[name], rounds[BARE], strict=True)])
            for rounds in results.values()
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nCPU in µs; p50 and p99 of the latency in ms; memory of the process in MiB at the end\n")
    print(f"| | {' | '.join(LOADS)} | memory |\n|---{'|---' * len(LOADS)}|---|")
    for name, server in servers.items():
        cells = [
            f"{median(m.cpu for m in rounds[name]):.0f} µs, {median(m.p50 for m in rounds[name]):.1f}, "
            f"{median(m.p99 for m in rounds[name]):.1f}"
            for rounds in results.values()
        ]
        assert server.process
        print(f"| {name} | {' | '.join(cells)} | {memory_mib(server.process.pid):.0f} |")
    print("\nThe session's share: CPU over this app without its session layer, in µs and in bare page views\n")
    print(f"| | {' | '.join(LOADS)} |\n|---{'|---' * len(LOADS)}|")
    for name in [name for name in servers if name.startswith("this app, ")]:
        cells = []
        for rounds in results.values():
            over = [one.cpu - base.cpu for one, base in zip(rounds[name], rounds[WITHOUT_LAYER], strict=True)]
            pages = results["page view without a session"][BARE]
            shares = [extra / page.cpu for extra, page in zip(over, pages, strict=True)]
            cells.append(f"{shown(over, 0)} µs, {shown(shares)}")
        print(f"| {name} | {' | '.join(cells)} |")
    print()
    report_goal(results["page view without a session"])


def report_goal(rounds: Rounds) -> None:
    ratios = [one.cpu / base.cpu for one, base in zip(rounds["this app, memory"], rounds[BARE], strict=True)]
    print(f"A page view without a session, at most {GOAL} of the bare page: {shown(ratios)}, {verdict(ratios, GOAL)}")


def main() -> None:
    if ROUNDS < 6:
        sys.exit("This needs 6 rounds or more: there is no 95 % interval of fewer.")
    wrk = load.require_wrk()
    prepare = load.pin()
    print(f"{machine()}, wrk {wrk}\n")
    print(
        f"{ROUNDS} rounds of {SECONDS} s for each cell; median of the rounds, and its 95 % interval. {SESSIONS} "
        f"sessions, {CONNECTIONS} requests at once. One uvicorn process each, without access log, on one core; wrk and "
        "the databases on another. CPU time is that of the server process alone.\n"
    )
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        servers = start_servers(Path(name), stack, prepare)
        if ONLY_GOAL:
            del LOADS["page view with a session"], LOADS["save"]
            servers = {name: servers[name] for name in MEASURED_FOR_GOAL}
            report_goal(measure(servers)["page view without a session"])
        else:
            report(servers, measure(servers))


if __name__ == "__main__":
    main()
