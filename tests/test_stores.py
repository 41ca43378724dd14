"""Every store keeps the contract: ours, and a toy that somebody else might have written."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.sessions import Session, SessionManager, Store
from app.settings import open_store
from tests.store_contract import StoreContract


class TestOurStores(StoreContract):
    @pytest.fixture
    async def store(self, store_url: str) -> AsyncIterator[Store]:
        store = open_store(store_url)
        yield store
        await store.close()


class FolderStore:
    """A toy: one file a session. It is atomic only within one process, and knows nothing of failing disks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def load(self, session_id: str) -> bytes | None:
        path = self.folder / session_id
        return path.read_bytes() if path.exists() else None

    async def create(self, session_id: str, record: bytes, expires_at: float) -> bool:
        if await self.load(session_id) is not None:
            return False
        self._write(session_id, record, expires_at)
        return True

    async def replace(self, session_id: str, old: bytes, new: bytes, expires_at: float) -> bool:
        if await self.load(session_id) != old:
            return False
        self._write(session_id, new, expires_at)
        return True

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        found = await self.load(session_id)
        if found is None or (old is not None and found != old):
            return False
        (self.folder / session_id).unlink()
        (self.folder / f"{session_id}.expires").unlink()
        return True

    async def sweep(self, now: float, limit: int) -> list[str]:
        expired = [path.stem for path in self.folder.glob("*.expires") if float(path.read_text()) <= now][:limit]
        return [session_id for session_id in expired if await self.delete(session_id)]

    async def count(self) -> int:
        return len(list(self.folder.glob("*.expires")))

    async def close(self) -> None:
        pass

    def _write(self, session_id: str, record: bytes, expires_at: float) -> None:
        (self.folder / session_id).write_bytes(record)
        (self.folder / f"{session_id}.expires").write_text(str(expires_at))


class TestAToyStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderStore:
        return FolderStore(tmp_path)

    async def test_sessions_work_on_it(self, store: Store) -> None:
        sessions = SessionManager(store)
        session: Session = await sessions.start(None)
        session["quote"] = "in a file"
        await session.save()
        assert session.cookie
        assert dict(await sessions.start(session.cookie[0])) == {"quote": "in a file"}
