"""Sessions from the shell: `litestar sessions show|destroy|count|flush`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import click

from .manager import SessionManager
from .store import StoreUnavailable


@click.group("sessions")
def sessions_group() -> None:
    """Look after server-side sessions. An id is the one that the log shows."""


@sessions_group.command()
@click.argument("session_id")
@click.pass_obj
def show(env: Any, session_id: str) -> None:
    """Show since when and until when a session lives; never what is in it."""
    info = _run(env, lambda sessions: sessions.find(session_id))
    click.echo(f"id          {info.id}")
    click.echo(f"created_at  {_utc(info.created_at)}")
    click.echo(f"expires_at  {_utc(info.expires_at)}")
    click.echo(f"remaining   {info.remaining:.0f} s")


@sessions_group.command()
@click.argument("session_id")
@click.pass_obj
def destroy(env: Any, session_id: str) -> None:
    """End one session."""
    _run(env, lambda sessions: sessions.destroy(session_id))
    click.echo(f"destroyed {session_id}")


@sessions_group.command()
@click.pass_obj
def count(env: Any) -> None:
    """Count the sessions in the store, those included that expired and were not removed yet."""
    click.echo(_run(env, lambda sessions: sessions.count()))


@sessions_group.command()
@click.pass_obj
def flush(env: Any) -> None:
    """Remove the sessions that have expired. The running app does that by itself once a minute."""
    click.echo(f"removed {_run(env, lambda sessions: sessions.flush())}")


def _run(env: Any, operation: Callable[[SessionManager], Awaitable[Any]]) -> Any:
    async def within_lifespan() -> Any:
        async with env.app.lifespan():  # so that listeners hear of what happens here
            try:
                return await operation(env.app.state.sessions)
            except (LookupError, StoreUnavailable) as error:
                return click.ClickException(str(error))

    result = asyncio.run(within_lifespan())
    if isinstance(result, click.ClickException):
        raise result
    return result


def _utc(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(instant))
