"""An example of a store of your own: a folder, for one machine and any number of processes. See docs/recipes.md."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from app.sessions.store import TIMEOUT


class FolderStore:
    """One file per record. Its modification time is the record's deadline.

    An `OSError` may pass: the caller treats it as a failed store.
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
            if found is None or old not in (None, found):
                return False
            (self.folder / session_id).unlink()
        await asyncio.to_thread(self._sync)  # a power cut must not bring the file back
        return True

    async def sweep(self, now: float, limit: int) -> list[str]:
        async with self._locked():
            expired = [path for path in self.folder.glob("[!.]*") if path.stat().st_mtime <= now][:limit]
            for path in expired:
                path.unlink()
            return [path.name for path in expired]

    async def count(self) -> int:
        return len(list(self.folder.glob("[0-9a-f]*")))  # without the lists of owners

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read(self, session_id: str) -> bytes | None:
        path = self.folder / session_id
        return path.read_bytes() if path.exists() else None

    def _write(self, session_id: str, record: bytes, deadline: float) -> bool:
        draft = self.folder / ".draft"
        draft.write_bytes(record)
        os.utime(draft, (deadline, deadline))
        draft.replace(self.folder / session_id)
        return True

    def _sync(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Keep all other processes and calls out. Closing the file releases the lock in any case."""
        with (self.folder / ".lock").open("w") as lock:
            async with asyncio.timeout(TIMEOUT):
                while not _try_lock(lock):
                    await asyncio.sleep(0.005)  # other requests are served meanwhile
            yield


def _try_lock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
