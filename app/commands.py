"""Sessions from the shell: `litestar sessions show|destroy|count|flush`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import click
from litestar import Litestar
from litestar.plugins import CLIPlugin

from app.sessions import SessionManager, StoreUnavailable


class LitestarEnv(Protocol):
    """What Litestar's command line hands to its commands."""

    app: Litestar


class SessionCommands(CLIPlugin):
    """Takes the place of Litestar's own group of that name, which knows only Litestar's own sessions."""

    def on_cli_init(self, cli: click.Group) -> None:
        cli.add_command(sessions_group)


@click.group("sessions")
def sessions_group() -> None:
    """Look after server-side sessions. Their ids are those of the log and of the page "Your session"."""


@sessions_group.command()
@click.argument("session_id")
@click.pass_obj
def show(env: LitestarEnv, session_id: str) -> None:
    """Show since when and until when a session lives; never what is in it."""

    async def show(sessions: SessionManager) -> str:
        info = await sessions.find(session_id)
        if info is None:
            raise LookupError(f"there is no session {session_id}")
        return (
            f"id          {info.id}\n"
            f"created_at  {_utc(info.created_at)}\n"
            f"expires_at  {_utc(info.expires_at)}\n"
            f"remaining   {info.remaining:.0f} s"
        )

    _run(env.app, show)


@sessions_group.command()
@click.argument("session_id")
@click.pass_obj
def destroy(env: LitestarEnv, session_id: str) -> None:
    """End one session."""

    async def destroy(sessions: SessionManager) -> str:
        await sessions.destroy(session_id)
        return f"destroyed {session_id}"

    _run(env.app, destroy)


@sessions_group.command()
@click.pass_obj
def count(env: LitestarEnv) -> None:
    """Count the sessions in the store, those included that expired and were not removed yet."""

    async def count(sessions: SessionManager) -> str:
        return str(await sessions.ask(sessions.store.count(), seconds=60))

    _run(env.app, count)


@sessions_group.command()
@click.pass_obj
def flush(env: LitestarEnv) -> None:
    """Remove the sessions that have expired. The running app does that by itself once a minute."""

    async def flush(sessions: SessionManager) -> str:
        return f"removed {await sessions.flush()}"

    _run(env.app, flush)


def _run(app: Litestar, operation: Callable[[SessionManager], Awaitable[str]]) -> None:
    async def within_lifespan() -> str | Exception:
        async with app.lifespan():  # so that listeners hear of what happens here
            try:
                return await operation(app.state.sessions)
            except (LookupError, StoreUnavailable) as error:
                return error

    result = asyncio.run(within_lifespan())
    if isinstance(result, Exception):
        raise click.ClickException(str(result))
    click.echo(result)


def _utc(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(instant))
