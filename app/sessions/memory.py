"""Sessions in the memory of one process: for tests and experiments. They end with the process."""

from .store import OTHER_PREFIX


class MemoryStore:
    """A dict. Between two awaits nothing else runs, so every method is one atomic step."""

    shared = False  # each process has sessions of its own

    def __init__(self) -> None:
        self._records: dict[str, tuple[bytes, float]] = {}

    async def load(self, session_id: str) -> bytes | None:
        record, _ = self._records.get(session_id, (None, 0.0))
        return record

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        return self._records.setdefault(session_id, entry := (record, deadline)) is entry

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        if await self.load(session_id) != old:
            return False
        self._records[session_id] = (new, deadline)
        return True

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        if old is not None and await self.load(session_id) != old:
            return False
        return self._records.pop(session_id, None) is not None

    async def sweep(self, now: float, limit: int) -> list[str]:
        expired = [session_id for session_id, (_, deadline) in self._records.items() if deadline <= now][:limit]
        for session_id in expired:
            del self._records[session_id]
        return expired

    async def count(self) -> int:
        return sum(not session_id.startswith(OTHER_PREFIX) for session_id in self._records)

    async def close(self) -> None:
        """Keep the sessions: the same store may be used again."""
