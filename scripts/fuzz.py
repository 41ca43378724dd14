"""Send many malformed requests to the app, and print those that got a 500. The tests send fewer of them.

.venv/bin/python -m scripts.fuzz [REQUESTS] [SEED]
"""

import sys
import tempfile
from pathlib import Path

from app.main import app
from tests.fuzzer import Fuzzer, routes_of
from tests.support import Server

requests, seed = [*map(int, sys.argv[1:]), *(100_000, 0)[len(sys.argv) - 1 :]]
with tempfile.TemporaryDirectory() as folder:
    server = Server(Path(folder)).start()
    fuzzer = Fuzzer(server.port, routes_of(app), seed)
    fuzzer.run(requests, lambda number: print(number, end="\r") if number % 1_000 == 0 else None)
    server.close()
for route in fuzzer.routes:
    print(f"{fuzzer.reached[route]:8} {' '.join(route)}")
for request, answer in fuzzer.failures:
    print(f"\n{request!r}\n{answer!r}")
sys.exit(bool(fuzzer.failures))
