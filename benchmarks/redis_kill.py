"""A Redis server is killed with `kill -9` under load and started again: which confirmed saves are missing?

python -m benchmarks.redis_kill [trials]

This does not show a power cut: data that Redis has written but not yet synced to the disk survives only a kill.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from app.sessions import Store, StoreUnavailable, open_store
from benchmarks.common import FAR, machine
from tests.redis_servers import RedisServer
from tests.store_contract import id_of

TRIALS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
VISITORS, LEAVERS, SECONDS = 16, 200, 1.5

Outcome = dict[str, int]


async def save(store: Store, n: int, confirmed: dict[int, int], until: float) -> None:
    with suppress(StoreUnavailable, OSError):
        await store.create(id_of(n), b"0", FAR)
        confirmed[n] = 0
        while time.monotonic() < until and await store.replace(
            id_of(n), b"%d" % confirmed[n], b"%d" % (confirmed[n] + 1), FAR
        ):
            confirmed[n] += 1


async def end_sessions(store: Store, ended: set[int]) -> None:
    with suppress(StoreUnavailable, OSError):
        for n in range(LEAVERS):
            if await store.delete(id_of(f"leaver {n}")):
                ended.add(n)
            await asyncio.sleep(0.005)


async def trial(folder: Path, appendonly: str) -> Outcome:
    server = RedisServer(folder, ("--appendonly", appendonly)).start()
    store, confirmed, ended = open_store(server.url), dict[int, int](), set[int]()
    for n in range(LEAVERS):
        await store.create(id_of(f"leaver {n}"), b"x", FAR)
    until = time.monotonic() + SECONDS + 10
    tasks = [asyncio.create_task(save(store, n, confirmed, until)) for n in range(VISITORS)]
    tasks.append(asyncio.create_task(end_sessions(store, ended)))
    await asyncio.sleep(SECONDS)
    server.stop()  # kill -9
    await asyncio.gather(*tasks)
    server.start()
    found = {n: await store.load(id_of(n)) for n in range(VISITORS)}
    alive = [n for n in ended if await store.load(id_of(f"leaver {n}")) is not None]
    await store.close()
    server.stop()
    return {
        "saves": sum(confirmed.values()),
        "missing": sum(record is None for record in found.values()),
        "older": sum(int(record) < confirmed[n] for n, record in found.items() if record is not None),
        "ended": len(ended),
        "alive": len(alive),
    }


async def run() -> None:
    print("| appendonly | trial | saves confirmed | sessions missing | older | sessions ended | of these alive again |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for appendonly in ("yes", "no"):
            for number in range(1, TRIALS + 1):
                it = await trial(Path(name) / f"{appendonly}{number}", appendonly)
                print(
                    f"| {appendonly} | {number} | {it['saves']:,} | {it['missing']} of {VISITORS} | {it['older']} "
                    f"| {it['ended']} | {it['alive']} |",
                    flush=True,
                )


if __name__ == "__main__":
    print(f"{machine()}\n")
    asyncio.run(run())
