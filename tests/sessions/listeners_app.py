"""The project with listeners that misbehave, for uvicorn."""

import asyncio

from litestar import get
from litestar.events import listener

from tests.skeleton.sample_app import create_sample_app

STARTED: list[str] = []


@get("/started", no_session=True)
async def started() -> list[str]:
    return STARTED


@listener("session_destroyed")
async def hang(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
    STARTED.append("hang")
    await asyncio.Event().wait()


@listener("session_destroyed")
async def resist(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
    STARTED.append("resist")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


@listener("session_destroyed")
async def cancel(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
    STARTED.append("cancel")
    raise asyncio.CancelledError


@listener("session_destroyed")
async def fail(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
    STARTED.append("fail")
    raise RuntimeError("the listener's own")


app = create_sample_app()
app.register(started)
app.event_emitter.listeners["session_destroyed"].update({hang, resist, cancel, fail})
