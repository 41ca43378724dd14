"""Sessions from the shell: `litestar sessions list|show|destroy|count|flush`."""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console

from .manager import SessionManager
from .store import StoreUnavailable

PROGRESS_AFTER = 1.0  # seconds

Operation = Callable[[SessionManager], Awaitable[Any]]


@click.group("sessions")
def sessions_group() -> None:
    """Manage server-side sessions. The log shows their ids."""


@sessions_group.command("list")
@click.argument("owner")
@click.pass_obj
def list_sessions(env: Any, owner: str) -> None:
    """List the sessions of an owner (a user id), the most recently seen first, without their values."""
    for session in _run(env, lambda sessions: sessions.list(owner)):
        click.echo(f"{session.id}  created {_utc(session.created_at)}  last seen {_utc(session.last_seen)}")


@sessions_group.command()
@click.argument("session_id")
@click.pass_obj
def show(env: Any, session_id: str) -> None:
    """Show when a session began and when it ends, without its values."""
    info = _run(env, lambda sessions: sessions.find(session_id))
    click.echo(f"id          {info.id}")
    click.echo(f"created_at  {_utc(info.created_at)}")
    click.echo(f"expires_at  {_utc(info.expires_at)}")
    click.echo(f"remaining   {info.remaining:.0f} s")


@sessions_group.command()
@click.argument("session_id", required=False)
@click.option("--owner", help="End all sessions of this owner (a user id).")
@click.pass_obj
def destroy(env: Any, session_id: str | None, owner: str | None) -> None:
    """End one session, or all sessions of an owner."""
    if owner is not None and session_id is None:
        with _progress("destroyed") as report:
            number = _run(env, lambda sessions: sessions.end_all(owner, on_progress=report))
        click.echo(f"destroyed {number}")
    elif session_id is not None and owner is None:
        _run(env, lambda sessions: sessions.destroy(session_id))
        click.echo(f"destroyed {session_id}")
    else:
        raise click.UsageError("Give either a session id or --owner.")


@sessions_group.command()
@click.pass_obj
def count(env: Any) -> None:
    """Count the sessions in the store, including expired ones that were not removed yet."""
    with _progress("counted", "No session was changed.") as report:
        number = _run(env, lambda sessions: sessions.count(report))
    click.echo(number)


@sessions_group.command()
@click.pass_obj
def flush(env: Any) -> None:
    """Remove the sessions that have expired. The running app does this once a minute."""
    with _progress("removed") as report:
        number = _run(env, lambda sessions: sessions.flush(report))
    click.echo(f"removed {number}")


def _run(env: Any, operation: Operation) -> Any:
    if not getattr(env.app.state.sessions.store, "shared", True):
        click.echo(
            "memory:// keeps sessions in the memory of each process, so this command sees none of the app's.", err=True
        )

    async def within_lifespan() -> Any:
        async with env.app.lifespan():  # so listeners learn of sessions that end here
            try:
                return await operation(env.app.state.sessions)
            except (LookupError, StoreUnavailable, OSError) as error:
                return click.ClickException(str(error))

    result = asyncio.run(within_lifespan())
    if isinstance(result, click.ClickException):
        raise result
    return result


@contextmanager
def _progress(verb: str, after_stop: str = "To continue, run the command again.") -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of sessions so far. On a terminal, show the number after a second.

    On Ctrl+C, say how many were done, and end with status 130, as shells expect.
    """
    done = 0
    status = Console(stderr=True).status(f"{verb} 0 sessions")
    timer = threading.Timer(PROGRESS_AFTER, status.start)  # a thread, because a store may keep the event loop busy
    timer.daemon = True

    def report(number: int) -> None:
        nonlocal done
        done = number
        status.update(f"{verb} {done:,} sessions")

    if sys.stdout.isatty() and sys.stderr.isatty():
        logging.disable(logging.INFO)  # a line for each session that ends would hide the progress
        timer.start()
    try:
        yield report
    except KeyboardInterrupt:
        click.echo(f"Stopped: {verb} {done} sessions so far. {after_stop}", err=True)
        raise SystemExit(130) from None
    finally:
        timer.cancel()
        status.stop()
        logging.disable(logging.NOTSET)


def _utc(instant: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(instant))
