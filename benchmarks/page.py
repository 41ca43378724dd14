"""What a page view costs beside a bare Litestar page: the skeleton's share, and the session's.

    python -m benchmarks.page [ROUNDS] [SECONDS]

Bare: a Litestar app with one handler that renders the same HTML from one flat template, and nothing else. Each round
runs every variant once, in a new order. A ratio is taken within a round; the table shows the median of the rounds with
its 95 % interval. A goal counts as met only if the whole interval lies below it.
"""

import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks import load
from benchmarks.common import Interval, machine
from tests.quote.server import QuoteServer

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
CONNECTIONS = 32
GOAL = 1.25  # of a page view without a session


def main() -> None:
    load.require_wrk()
    prepare = load.pin()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        options = ("--no-access-log",)
        ours = QuoteServer(folder / "ours", "memory://", options=options)
        ours.folder.mkdir()
        ours.prepare = prepare
        ours.start()
        stack.callback(ours.close)
        page = ours.client().get("/").text
        (folder / "templates").mkdir()
        (folder / "templates" / "page.html").write_text(page.replace("initial quote", "{{ quote }}"))
        bare = QuoteServer(
            folder / "bare",
            "memory://",
            "benchmarks.variants:flat",
            options=(*options, "--factory"),
            environment={"FLAT_TEMPLATES": str(folder / "templates")},
        )
        bare.folder.mkdir()
        bare.prepare = prepare
        bare.start()
        stack.callback(bare.close)
        assert bare.client().get("/").text == page
        variants: dict[str, tuple[QuoteServer, list[str]]] = {"bare": (bare, []), "without a session": (ours, [])}
        figures: dict[str, list[float]] = {name: [] for name in variants}
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS} ...", file=sys.stderr)
            for name in random.sample(list(variants), len(variants)):
                server, tokens = variants[name]
                figures[name].append(load.run(server, "view", tokens, SECONDS, "", CONNECTIONS).cpu)
    print(machine())
    for name, values in figures.items():
        ratios = [value / base for value, base in zip(values, figures["bare"], strict=True)]
        print(f"| {name} | {Interval.of(values):.0f} | {Interval.of(ratios):.2f} | {Interval.of(ratios).verdict(GOAL)} |")


if __name__ == "__main__":
    main()
