"""The transcript in `docs/experiments.md` is what curl shows."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app.settings import PROJECT
from tests.quote.server import QuoteServer
from tests.support import require

[TRANSCRIPT] = re.findall(
    r"```console\n(.*?)```", (PROJECT / "docs/experiments.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.full
@pytest.mark.parametrize("delay", ["0", "3"])
def test_a_save_that_comes_too_late_gets_409(
    start_server: Callable[..., QuoteServer], tmp_path: Path, delay: str
) -> None:
    require("curl")
    server = start_server(store="memory://", environment={"DESTROY_DELAY": delay})
    told = ""
    for command in re.findall(r"^\$ (.*)$", TRANSCRIPT, re.MULTILINE):
        script = command.replace("http://127.0.0.1:8000", server.url)
        run = subprocess.run([require("bash"), "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        told += f"$ {command}\n{run.stdout.rstrip()}\n"
    assert told == TRANSCRIPT
    assert "\n409\n" in TRANSCRIPT
