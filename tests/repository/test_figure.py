"""The figure in docs/how-a-request-flows.md is true: its functions are called in that order."""

import asyncio
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from app.main import create_app
from app.settings import PROJECT, Settings
from tests.support import FORM

PAGE = (PROJECT / "docs/how-a-request-flows.md").read_text()


def figure() -> list[tuple[str, str]]:
    """Return the files and functions of the figure, from top to bottom."""
    (drawing,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    lines = re.findall(r"^[│├└ ]*(\w+\.py) +(.*?)(?:  .*)?$", drawing, re.MULTILINE)
    return [(file, function) for file, functions in lines for function in functions.split(", ")]


async def calls_of_a_save(store: Path) -> list[tuple[str, str]]:
    """Return the file and the function of each call into app/ during one save through the form."""
    app = create_app(Settings(session_store=f"sqlite:///{store}"))
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(f"{PROJECT}/app/"):
            calls.append((Path(frame.f_code.co_filename).name, frame.f_code.co_qualname))

    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for text in ("first", "second"):
            assert (
                await client.post("/session/quote/update", content=f"quote={text}", headers=FORM)
            ).has_redirect_location
        sys.setprofile(note)
        try:
            saved = await client.post("/session/quote/update", content="quote=third", headers=FORM)
        finally:
            sys.setprofile(None)
    assert saved.status_code == 303
    return calls


def test_the_functions_of_the_figure_are_called_in_its_order(tmp_path: Path) -> None:
    drawn = figure()
    assert len(drawn) >= 15
    called = iter(asyncio.run(calls_of_a_save(tmp_path / "sessions.sqlite3")))
    for step in drawn:
        assert step in called, f"{step} is not called, or not at this point"
