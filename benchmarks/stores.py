"""What each store costs the app: CPU time per request, relative to Redis, one request and 32 requests at a time.

python -m benchmarks.stores [rounds] [seconds] [goals]

With `goals`, it measures only the cases that have a goal, so it can run more rounds in the same time.
"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import asyncpg  # type: ignore[import-untyped]

from benchmarks import load
from benchmarks.common import machine
from benchmarks.intervals import shown, verdict
from tests.postgres_server import PgBouncer, PostgresServer
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 31
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SESSIONS = 64
GOALS: dict[tuple[load.Kind, int], float] = {("view", 32): 1.2, ("save", 32): 1.4}  # PostgreSQL relative to Redis
ONLY_GOALS = "goals" in sys.argv
ONE_AT_A_TIME: list[tuple[load.Kind, int]] = [("view", 1), ("save", 1)]
LOADS = list(GOALS) if ONLY_GOALS else [*ONE_AT_A_TIME, *GOALS]

Rounds = dict[str, list[load.Measurement]]


def servers(folder: Path, stack: ExitStack) -> tuple[dict[str, QuoteServer], str]:
    """Start the app on each store, on a core of its own. Also return the version of PostgreSQL."""
    redis = RedisServer(folder / "redis").start()
    stack.callback(redis.stop)
    postgres = PostgresServer(("-c", "fsync=on")).create()
    stack.callback(postgres.remove)
    bouncer = PgBouncer(postgres, pool_size=20).start()
    stack.callback(bouncer.remove)
    urls = {
        "SQLite": f"sqlite:///{folder}/sessions.sqlite3",
        "Redis": redis.url,
        "PostgreSQL": postgres.url,
        "PostgreSQL through PgBouncer": bouncer.url,
    }
    if ONLY_GOALS:
        urls = {name: urls[name] for name in ("Redis", "PostgreSQL")}
    prepare = load.pin()
    apps = {name: QuoteServer(folder / name, url, options=("--no-access-log",)) for name, url in urls.items()}
    for app in apps.values():
        app.folder.mkdir()
        app.prepare = prepare
        app.start()
        stack.callback(app.close)
    return apps, postgres.sql("SHOW server_version").split()[0]


def report(results: dict[tuple[load.Kind, int], Rounds]) -> None:
    names = list(next(iter(results.values())))
    titles = [f"{'page view' if kind == 'view' else 'save'}, {number} at once" for kind, number in results]
    print(f"CPU of the app per request, relative to Redis\n\n| | {' | '.join(titles)} |\n|---{'|---' * len(titles)}|")
    for name in names:
        cells = []
        for rounds in results.values():
            pairs = zip(rounds[name], rounds["Redis"], strict=True)
            cells.append("1" if name == "Redis" else shown([one.cpu / redis.cpu for one, redis in pairs]))
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nCPU in µs; p50 of the latency in ms\n\n| | {' | '.join(titles)} |\n|---{'|---' * len(titles)}|")
    for name in names:
        cells = [
            f"{median(one.cpu for one in rounds[name]):.0f} µs, {median(one.p50 for one in rounds[name]):.1f}"
            for rounds in results.values()
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    for key, goal in GOALS.items():
        pairs = zip(results[key]["PostgreSQL"], results[key]["Redis"], strict=True)
        ratios = [one.cpu / redis.cpu for one, redis in pairs]
        print(f"\n{key[0]}, {key[1]} at once, at most {goal}: {verdict(ratios, goal)}")


def main() -> None:
    if ROUNDS < 6:
        sys.exit("This needs 6 rounds or more: there is no 95 % interval of fewer.")
    wrk = load.require_wrk()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        apps, postgres_version = servers(Path(name), stack)
        print(f"{machine()}, asyncpg {asyncpg.__version__}, PostgreSQL {postgres_version}, wrk {wrk}\n")
        print(
            f"{ROUNDS} rounds of {SECONDS} s for each cell, all stores in turn in each round (A B C D, A B C D, ...). "
            f"Ratios are made within a round; median of the rounds, and its 95 % interval. {SESSIONS} sessions. One "
            "uvicorn process for each store, without access log, on one core; wrk and the databases on another. CPU "
            "time is that of the app's process alone. PostgreSQL syncs each commit to the disk.\n"
        )
        tokens = {store: load.new_sessions(app, SESSIONS) for store, app in apps.items()}
        results: dict[tuple[load.Kind, int], Rounds] = {key: {store: [] for store in apps} for key in LOADS}
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS} ...", file=sys.stderr, flush=True)
            for kind, connections in LOADS:
                for store, app in apps.items():
                    run = load.run(app, kind, tokens[store], SECONDS, f"round {number}", connections)
                    results[kind, connections][store].append(run)
        report(results)


if __name__ == "__main__":
    main()
