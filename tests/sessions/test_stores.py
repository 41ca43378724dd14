"""Every store keeps the contract: ours, and the example of one that somebody else might have written."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.sessions import Session, SessionManager, Store, open_store
from tests.folder_store import FolderStore
from tests.sessions.helpers import QUOTE
from tests.store_contract import StoreContract


class TestOurStores(StoreContract):
    @pytest.fixture
    async def store(self, store_url: str) -> AsyncIterator[Store]:
        store = open_store(store_url)
        yield store
        await store.close()


class TestTheExample(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderStore:
        return FolderStore(tmp_path)

    async def test_sessions_work_on_it(self, store: Store) -> None:
        sessions = SessionManager(store)
        session: Session = await sessions.start()
        session[QUOTE] = "in a file"
        await session.save()
        assert session.cookie
        assert dict(await sessions.start(session.cookie[0])) == {"quote": "in a file"}
