"""An example of a store of your own: a folder, for one machine and any number of processes. See docs/recipes.md."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.sessions.store import TIMEOUT


class FolderStore:
    """One file a session, whose modification time is the instant at which it expires.

    An `OSError` may pass: it counts as a store that fails.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder

    async def load(self, session_id: str) -> bytes | None:
        async with self._locked():
            return self._read(session_id)

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        async with self._locked():
            return self._read(session_id) is None and self._write(session_id, record, deadline)

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        async with self._locked():
            return self._read(session_id) == old and self._write(session_id, new, deadline)

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        async with self._locked():
            found = self._read(session_id)
            if removed := found is not None and old in (None, found):
                (self.folder / session_id).unlink()
            return removed

    async def sweep(self, now: float, limit: int) -> list[str]:
        async with self._locked():
            expired = [path for path in self.folder.glob("[!.]*") if path.stat().st_mtime <= now][:limit]
            for path in expired:
                path.unlink()
            return [path.name for path in expired]

    async def count(self) -> int:
        return len(list(self.folder.glob("[!.]*")))

    async def close(self) -> None:
        """Nothing stays open."""

    def _read(self, session_id: str) -> bytes | None:
        path = self.folder / session_id
        return path.read_bytes() if path.exists() else None

    def _write(self, session_id: str, record: bytes, deadline: float) -> bool:
        draft = self.folder / ".draft"
        draft.write_bytes(record)
        os.utime(draft, (deadline, deadline))
        draft.replace(self.folder / session_id)
        return True

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Keep everybody else out. Waiting for that is a thread's task, so that other requests are served."""
        with (self.folder / ".lock").open("w") as lock:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            yield
