"""A primary of a Redis Cluster is killed under load: how long until saves succeed again, and how many are lost?

python -m benchmarks.failover [trials]
"""

import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from app.sessions.records import digest
from benchmarks.common import machine
from tests.quote.server import UPDATE, QuoteServer
from tests.redis_servers import RedisCluster
from tests.support import TEXT, shown_text, token_of

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
VISITORS = 16


def time_to_recover(folder: Path) -> tuple[float, int]:
    """Return the seconds until all visitors on the dead primary's slots could save again, and the number of saves."""
    cluster = RedisCluster(folder).start()
    server = QuoteServer(folder, cluster.url).start()
    clients = [server.visitor("0") for _ in range(VISITORS)]
    killed = cluster.primary_of(f"session:{digest(token_of(clients[0]))}")
    affected = [n for n in range(VISITORS) if cluster.primary_of(f"session:{digest(token_of(clients[n]))}") is killed]
    acknowledged = [0] * VISITORS
    back: dict[int, float] = {}
    died, over = threading.Event(), threading.Event()

    def save(n: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            dead = died.is_set()
            try:
                ok = clients[n].put(UPDATE, content=str(number), headers=TEXT).status_code == 200
            except httpx.TransportError:
                ok = False
            if ok:
                acknowledged[n] += 1
                if dead and n in affected:
                    back.setdefault(n, time.monotonic())
            else:
                time.sleep(0.02)

    with ThreadPoolExecutor(VISITORS) as pool:
        saving = [pool.submit(save, n) for n in range(VISITORS)]
        time.sleep(2)
        killed.stop()
        moment = time.monotonic()
        died.set()
        while len(back) < len(affected) and time.monotonic() < moment + 60:
            time.sleep(0.01)
        over.set()
        for done in saving:
            done.result()
    seconds = max(back.values()) - moment
    server.close()
    cluster.stop()
    return seconds, sum(acknowledged)


def lost_at_the_kill(folder: Path) -> tuple[int, int]:
    """Return how many sessions were saved before the kill, and how many of them came back with an older text."""
    cluster = RedisCluster(folder).start()
    server = QuoteServer(folder, cluster.url).start()
    clients = [server.visitor("0") for _ in range(VISITORS)]
    keys = [f"session:{digest(token_of(client))}" for client in clients]
    killed = cluster.primary_of(keys[0])
    affected = [n for n in range(VISITORS) if cluster.primary_of(keys[n]) is killed]
    last = dict.fromkeys(affected, 0)

    def save(n: int) -> None:
        number = 0
        while True:
            number += 1
            try:
                if clients[n].put(UPDATE, content=str(number), headers=TEXT).status_code != 200:
                    return
            except httpx.TransportError:
                return
            last[n] = number

    with ThreadPoolExecutor(VISITORS) as pool:
        saving = [pool.submit(save, n) for n in affected]
        time.sleep(2)
        killed.stop()
        for done in saving:
            done.result()
    lost = 0
    for n in affected:
        deadline = time.monotonic() + 60
        while (response := clients[n].get("/")).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        lost += int(shown_text(response.text)) < last[n] if response.status_code == 200 else 1
    server.close()
    cluster.stop()
    return len(affected), lost


def main() -> None:
    print(f"{machine()}; cluster-node-timeout 1 s, {VISITORS} visitors who save without a pause\n")
    print("| trial | seconds until all saved again | saves acknowledged | sessions at the kill | older after it |")
    print("|---|---|---|---|---|")
    for number in range(1, TRIALS + 1):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            seconds, total = time_to_recover(Path(one))
            affected, lost = lost_at_the_kill(Path(other))
            print(f"| {number} | {seconds:.1f} | {total:,} | {affected} | {lost} |", flush=True)


if __name__ == "__main__":
    main()
