"""Compares two checkouts of the project, round by round: CPU time per request inside the app, without a server.

    python -m benchmarks.versions ../other-checkout [ROUNDS]

Each round runs the other checkout and then this one, in a process of its own, and keeps the fastest of 25 batches of 60
requests. The table shows the median of the rounds, with the lowest and the highest.
"""

import asyncio
import gc
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCHES, REQUESTS = 25, 60
LOADS = ("view", "without", "save")
FORM = (b"content-type", b"application/x-www-form-urlencoded")


async def ask(app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> Any:
    answer: list[tuple[bytes, bytes]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message
            answer.extend(message["headers"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), *headers],
        "state": {},
    }
    await app(scope, receive, send)
    return dict(answer)


async def measure() -> dict[str, float]:
    """Return CPU microseconds per request, for each store and load. Uses the app of the current folder."""
    sys.path.insert(0, os.getcwd())
    from app.main import create_app
    from app.settings import Settings

    logging.disable(logging.CRITICAL)
    figures = {}
    urls = {"memory": "memory://", "SQLite": f"sqlite:///{tempfile.mkdtemp()}/sessions.sqlite3"}
    for store, url in urls.items():
        app = create_app(Settings(session_store=url))
        async with app.lifespan():
            answer = await ask(app, "PUT", "/session/quote/update", [FORM], b"quote=first")
            cookie = (b"cookie", answer[b"set-cookie"].partition(b";")[0])
            for load in LOADS:
                times = []
                for batch in range(BATCHES):
                    gc.collect()
                    started = time.process_time()
                    for number in range(REQUESTS):
                        if load == "save":
                            body = f"quote=text {batch} {number}".encode()
                            await ask(app, "PUT", "/session/quote/update", [cookie, FORM], body)
                        else:
                            await ask(app, "GET", "/", [cookie] if load == "view" else [])
                    times.append((time.process_time() - started) / REQUESTS * 1e6)
                figures[f"{store}, {load}"] = min(times)
    return figures


def run(checkout: Path) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "measure"]
    output = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def shown(values: list[float], digits: int = 0) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def main() -> None:
    other, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 5
    here = Path(__file__).resolve().parent.parent
    pairs = [(run(other), run(here)) for _ in range(rounds)]
    print(f"{rounds} rounds\n\n| | other, µs | here, µs | ratio |\n|---|---|---|---|")
    for name in pairs[0][0]:
        before, after = [one[name] for one, _ in pairs], [two[name] for _, two in pairs]
        ratios = [two[name] / one[name] for one, two in pairs]
        print(f"| {name} | {shown(before)} | {shown(after)} | {shown(ratios, 2)} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        print(json.dumps(asyncio.run(measure())))
    else:
        main()
