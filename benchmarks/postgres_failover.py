"""A PostgreSQL primary is killed under load, and its replica promoted: how long do saves fail, and what is lost?

python -m benchmarks.postgres_failover [trials]

First with PostgreSQL's defaults, where a commit does not wait for the replica; then with `synchronous_standby_names`.
The replica receives nothing in the last 200 ms before the kill, as over a slow network.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.common import machine
from tests.postgres_server import PostgresServer
from tests.quote.server import UPDATE, QuoteServer
from tests.support import TEXT, shown_text, wait_until

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
VISITORS = 16
BEHIND = 0.2  # seconds


@dataclass(frozen=True)
class Outcome:
    seconds: float  # until all visitors could save again
    saves: int  # that were acknowledged before the kill
    older: int  # sessions that lost an acknowledged save
    logouts: int  # that were acknowledged before the kill
    alive: int  # sessions that were ended and are alive again


def trial(folder: Path, waits: bool) -> Outcome:
    primary = PostgresServer(("-c", "wal_level=replica", "-c", "fsync=on")).create()
    replica = primary.replica()
    if waits:
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.sql("SELECT pg_reload_conf()")
        wait_until(lambda: primary.sql("SELECT sync_state FROM pg_stat_replication") == "sync")
    sender = int(primary.sql("SELECT pid FROM pg_stat_replication"))
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
    url = primary.url.replace(f"127.0.0.1:{primary.port}", hosts) + "?target_session_attrs=read-write"
    server = QuoteServer(folder, url).start()
    clients = [server.visitor("0") for _ in range(VISITORS)]
    leavers = [server.visitor("leaves") for _ in range(200)]
    cookies = [leaver.cookies["session"] for leaver in leavers]
    acknowledged, ended = [0] * VISITORS, []
    back: dict[int, float] = {}
    died, over = threading.Event(), threading.Event()

    def save(n: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            dead = died.is_set()
            if not dead:
                if clients[n].put(UPDATE, content=str(number), headers=TEXT).status_code == 200 and not died.is_set():
                    acknowledged[n] = number
                continue
            with suppress(httpx.TransportError):
                shown = clients[n].get("/")  # what is left, before it is overwritten
                if shown.status_code == 200 and n not in left:
                    left[n] = int(shown_text(shown.text))
                if n in left and clients[n].put(UPDATE, content=str(number), headers=TEXT).status_code == 200:
                    back.setdefault(n, time.monotonic())
            time.sleep(0.02)

    def log_out() -> None:
        for leaver, cookie in zip(leavers, cookies, strict=True):
            if died.is_set():
                return
            if leaver.post("/session/destroy").status_code == 200 and not died.is_set():
                ended.append(cookie)

    left: dict[int, int] = {}
    with ThreadPoolExecutor(VISITORS + 1) as pool:
        for n in range(VISITORS):
            pool.submit(save, n)
        leaving = pool.submit(log_out)
        time.sleep(2)
        os.kill(sender, signal.SIGSTOP)
        time.sleep(BEHIND)
        moment = time.monotonic()
        died.set()
        primary.kill()
        leaving.result()
        replica.sql("SELECT pg_promote()")
        with suppress(AssertionError):
            wait_until(lambda: len(back) == VISITORS, 60)
        over.set()
    alive = sum(shown_text(server.client(cookie).get("/").text) == "leaves" for cookie in ended)
    server.close()
    replica.remove()
    older = sum(left[n] < acknowledged[n] for n in left)
    return Outcome(max(back.values()) - moment, sum(acknowledged), older, len(ended), alive)


def main() -> None:
    print(f"{machine()}, PostgreSQL; {VISITORS} visitors who save without a pause, one who ends sessions\n")
    print("| commits wait for the replica | trial | seconds until all saved again | saves acknowledged ", end="")
    print("| sessions older than that | sessions ended | of these alive again |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for waits in (False, True):
            for number in range(1, TRIALS + 1):
                folder = Path(name) / f"{waits} {number}"
                folder.mkdir()
                it = trial(folder, waits)
                print(
                    f"| {'yes' if waits else 'no'} | {number} | {it.seconds:.1f} | {it.saves:,} "
                    f"| {it.older} of {VISITORS} | {it.logouts} | {it.alive} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
