"""Tests that a store keeps the contract of `app/sessions/store.py`. For a store of your own:

class TestMyStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MyStore(...)  # empty
        yield store
        await store.close()

Override more fixtures to run more tests. Tests that need a missing fixture are skipped:

    another     opens a further store on the same records, as another process would
    named       opens a store for an app with another SESSION_NAME, on the same server
    hang        makes the store's server hang while a `with` block runs
    disconnect  cuts all connections to the server

If the server removes expired records by itself, so that `sweep` has nothing to do, set `expires_by_itself = True`.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress

import pytest

from app.sessions import Store, StoreUnavailable
from app.sessions.store import OTHER_PREFIX, TIMEOUT

FAR = 4_000_000_000.0  # an instant in the year 2096
FAILURE = (StoreUnavailable, OSError)
# What SESSION_NAME allows: [a-z][a-z0-9_]{0,30}. Two of these differ only in their last character.
NAMES = ["session", "a", "z9", "x_", "user", "order", "table", "sessions", "n" * 30 + "1", "n" * 30 + "2"]


def id_of(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


A, B = id_of("a"), id_of("b")
OTHER = f"{OTHER_PREFIX}{A}"  # the id of a record that is not a session
EVERY_BYTE = bytes(range(256))


class StoreContract:
    """Subclass it with a fixture `store` that is an empty store."""

    expires_by_itself = False
    cold_stores = 12  # the number of stores opened at once

    @pytest.fixture
    def another(self) -> Callable[[], Store]:
        pytest.skip("this store does not say how to open it a second time")

    @pytest.fixture
    def named(self) -> Callable[[str], Store]:
        pytest.skip("this store does not say how to open it under another name")

    @pytest.fixture
    def hang(self) -> Callable[[], AbstractContextManager[None]]:
        pytest.skip("this store does not say how to make it hang")

    @pytest.fixture
    def disconnect(self) -> Callable[[], None]:
        pytest.skip("this store does not say how to cut its connections")

    # What each operation does

    async def test_loading_a_missing_record_returns_none(self, store: Store) -> None:
        assert await store.load(A) is None

    @pytest.mark.parametrize(
        "record", [b"x", EVERY_BYTE, b"\x00" * 10, b"x" * 1_048_576], ids=["x", "all", "nul", "MiB"]
    )
    async def test_a_record_comes_back_byte_for_byte(self, store: Store, record: bytes) -> None:
        assert await store.create(A, record, FAR)
        assert await store.load(A) == record
        assert await store.replace(A, record, record[::-1] + b"!", FAR)
        assert await store.load(A) == record[::-1] + b"!"

    async def test_create_never_overwrites(self, store: Store) -> None:
        assert await store.create(A, b"first", FAR)
        assert not await store.create(A, b"second", FAR)
        assert await store.load(A) == b"first"

    async def test_replace_succeeds_only_if_the_stored_bytes_match(self, store: Store) -> None:
        await store.create(A, b"one", FAR)
        assert not await store.replace(A, b"other", b"two", FAR)
        assert await store.load(A) == b"one"
        assert await store.replace(A, b"one", b"two", FAR)
        assert not await store.replace(A, b"one", b"three", FAR)
        assert await store.load(A) == b"two"

    async def test_replace_creates_nothing(self, store: Store) -> None:
        assert not await store.replace(A, b"", b"new", FAR)
        assert not await store.replace(A, b"old", b"new", FAR)
        assert await store.load(A) is None

    async def test_delete_is_true_only_for_the_call_that_removed_the_record(self, store: Store) -> None:
        await store.create(A, b"a", FAR)
        await store.create(B, b"b", FAR)
        assert await store.delete(A)
        assert not await store.delete(A)
        assert (await store.load(A), await store.load(B)) == (None, b"b")

    async def test_delete_can_require_that_the_stored_bytes_match(self, store: Store) -> None:
        await store.create(A, b"new", FAR)
        assert not await store.delete(A, b"old")
        assert await store.load(A) == b"new"
        assert await store.delete(A, b"new")
        assert not await store.delete(A, b"new")

    async def test_of_many_concurrent_creates_one_wins(self, store: Store) -> None:
        results = await asyncio.gather(*(store.create(A, str(n).encode(), FAR) for n in range(20)))
        assert results.count(True) == 1
        assert await store.load(A) == str(results.index(True)).encode()

    async def test_of_many_concurrent_replaces_one_wins(self, store: Store) -> None:
        await store.create(A, b"old", FAR)
        results = await asyncio.gather(*(store.replace(A, b"old", str(n).encode(), FAR) for n in range(20)))
        assert results.count(True) == 1
        assert await store.load(A) == str(results.index(True)).encode()

    async def test_of_many_concurrent_deletes_one_wins(self, store: Store) -> None:
        await store.create(A, b"old", FAR)
        results = await asyncio.gather(*(store.delete(A) for _ in range(20)))
        assert results.count(True) == 1

    async def test_a_deleted_record_is_not_replaced(self, store: Store) -> None:
        for n in range(20):
            await store.create(id_of(n), b"old", FAR)
            await asyncio.gather(store.replace(id_of(n), b"old", b"new", FAR), store.delete(id_of(n)))
            assert await store.load(id_of(n)) is None

    async def test_no_increment_is_lost(self, store: Store) -> None:
        await store.create(A, b"0", FAR)

        async def increment() -> None:
            while True:
                old = await store.load(A)
                assert old is not None
                if await store.replace(A, old, str(int(old) + 1).encode(), FAR):
                    return

        await asyncio.gather(*(increment() for _ in range(25)))
        assert await store.load(A) == b"25"

    async def test_count_leaves_out_deleted_records(self, store: Store) -> None:
        assert await store.count() == 0
        for n in range(5):
            await store.create(id_of(n), b"x", FAR)
        await store.delete(id_of(0))
        assert await store.count() == 4

    async def test_a_record_that_is_not_a_session_is_not_counted(self, store: Store) -> None:
        """All methods except `count` treat it like a session."""
        await store.create(A, b"session", FAR)
        assert await store.create(OTHER, b"one", FAR)
        assert not await store.create(OTHER, b"another", FAR)
        assert (await store.count(), await store.load(A), await store.load(OTHER)) == (1, b"session", b"one")
        assert not await store.replace(OTHER, b"other", b"two", FAR)
        assert await store.replace(OTHER, b"one", b"two", FAR)
        assert not await store.delete(OTHER, b"one")
        assert await store.delete(OTHER, b"two")
        assert (await store.count(), await store.load(OTHER)) == (1, None)

    async def test_a_record_that_is_not_a_session_expires_like_one(self, store: Store) -> None:
        await store.create(OTHER, b"x", time.time() + 1)
        await asyncio.sleep(1.1)
        assert await store.sweep(time.time(), 10) == ([] if self.expires_by_itself else [OTHER])
        assert await store.load(OTHER) is None

    async def test_sweep_removes_only_expired_records(self, store: Store) -> None:
        now = time.time()
        for n in range(7):
            await store.create(id_of(n), b"x", now + 1)
        await store.create(A, b"living", FAR)
        await store.create(B, b"prolonged", now + 1)
        await store.replace(B, b"prolonged", b"prolonged!", FAR)
        await asyncio.sleep(1.1)
        swept: list[str] = []
        while batch := await store.sweep(time.time(), 3):
            assert len(batch) <= 3
            swept += batch
        assert set(swept) <= {id_of(n) for n in range(7)}
        assert len(swept) == len(set(swept)), "each is reported once"
        assert (await store.load(A), await store.load(B), await store.count()) == (b"living", b"prolonged!", 2)

    async def test_a_closed_store_opens_again(self, store: Store) -> None:
        await store.create(A, b"x", FAR)
        await store.close()
        await store.close()
        assert await store.load(A) == b"x"

    # Instants

    async def test_a_sweep_never_removes_a_record_with_5_seconds_left(self, store: Store) -> None:
        """Try many instants, because a column that is too narrow holds some of them correctly."""
        for offset in range(0, 300, 7):
            await store.create(id_of(offset), b"x", FAR + offset + 5)
            assert await store.sweep(FAR + offset, 100) == []
            assert await store.load(id_of(offset)) == b"x"
            assert await store.delete(id_of(offset))

    async def test_a_deadline_is_kept_to_the_millisecond(self, store: Store) -> None:
        """Also test `replace`, which may use a separate statement when the deadline changes."""
        if self.expires_by_itself:
            pytest.skip("the records expire by themselves, in the year 2096")
        for offset in (0.0, 0.001, 0.499, 0.999, 1234.567):
            deadline = FAR + offset
            await store.create(A, b"x", deadline)
            await store.create(B, b"y", FAR + 9999)
            assert await store.replace(B, b"y", b"z", deadline)
            assert await store.sweep(deadline - 0.001, 100) == []
            assert sorted(await store.sweep(deadline + 0.001, 100)) == sorted([A, B])

    async def test_a_sweep_keeps_its_limit(self, store: Store) -> None:
        if self.expires_by_itself:
            pytest.skip("the records expire by themselves")
        for n in range(25):
            await store.create(id_of(n), b"x", FAR + n)
        sizes = [len(await store.sweep(FAR + 19, 6)) for _ in range(5)]
        assert sizes == [6, 6, 6, 2, 0]
        assert await store.count() == 5

    # Many at once

    async def test_many_new_stores_can_be_opened_at_once(self, another: Callable[[], Store]) -> None:
        """Workers on several machines do this right after a deployment, when there is no table or folder yet."""
        stores = [another() for _ in range(self.cold_stores)]
        created = await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n, store in enumerate(stores)))
        assert created == [True] * len(stores)
        for n, store in enumerate(stores):
            assert await store.load(id_of(len(stores) - 1 - n)) == b"x"
            await store.close()

    async def test_many_concurrent_sweeps_return_each_id_once(self, another: Callable[[], Store]) -> None:
        stores = [another() for _ in range(4)]
        for n in range(120):
            await stores[0].create(id_of(n), b"x", time.time() + (1000 if n % 4 == 0 else -1))

        async def sweep(store: Store) -> list[str]:
            swept: list[str] = []
            while batch := await store.sweep(time.time(), 7):
                assert len(batch) <= 7
                swept += batch
            return swept

        swept = [session_id for batch in await asyncio.gather(*map(sweep, stores)) for session_id in batch]
        assert len(swept) == len(set(swept)), "each is reported once"
        if not self.expires_by_itself:
            assert len(swept) == 90
        assert await stores[0].count() == 30
        for store in stores:
            await store.close()

    async def test_stores_in_two_processes_lose_no_increment(self, another: Callable[[], Store]) -> None:
        stores = [another() for _ in range(4)]
        await stores[0].create(A, b"0", FAR)

        async def increment(store: Store) -> None:
            while True:
                old = await store.load(A)
                assert old is not None
                if await store.replace(A, old, str(int(old) + 1).encode(), FAR):
                    return

        await asyncio.gather(*(increment(stores[n % 4]) for n in range(24)))
        assert await stores[0].load(A) == b"24"
        for store in stores:
            await store.close()

    async def test_stores_with_different_names_are_separate(self, named: Callable[[str], Store]) -> None:
        stores = {name: named(name) for name in NAMES}
        for name, store in stores.items():
            assert await store.create(A, name.encode(), FAR)
        for name, store in stores.items():
            assert (await store.load(A), await store.count()) == (name.encode(), 1)
            assert await store.delete(A)
            await store.close()

    # Failures

    async def test_a_cancelled_call_leaves_nothing_behind(self, store: Store) -> None:
        """Nothing stays locked, and no other call receives its answer. The test cancels at later and later moments."""
        await store.create(A, b"0", FAR)
        await store.create(B, b"b", FAR)
        for n in range(60):
            current = await store.load(A)
            assert current is not None
            new = str(n).encode()
            calls: list[Awaitable[object]] = [
                store.load(A),
                store.replace(A, current, new, FAR),
                store.delete(B, b"other"),
            ]
            tasks = [asyncio.ensure_future(call) for call in calls]
            if n < 30:
                for _ in range(n):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep((n - 30) / 5000)
            for task in tasks:
                task.cancel()
            assert await store.load(B) == b"b"
            await asyncio.gather(*tasks, return_exceptions=True)
            # The server may need a moment to finish or undo the cancelled calls, but not long.
            while not await store.replace(A, found := await store.load(A) or b"", found, FAR):
                pass
            assert found in (current, new)
            assert await store.load(id_of("missing")) is None

    async def test_a_store_that_hangs_answers_within_the_limit(
        self, store: Store, hang: Callable[[], AbstractContextManager[None]]
    ) -> None:
        await store.create(A, b"old", FAR)

        async def measure(call: Awaitable[object]) -> float:
            started = time.monotonic()
            with suppress(*FAILURE):
                await call
            return time.monotonic() - started

        with hang():
            for _ in range(2):  # the second time, no connection is open
                calls = [store.load(A), store.replace(A, b"new", b"new", FAR), store.delete(B), store.sweep(0, 10)]
                took = await asyncio.gather(*map(measure, [*calls, store.create(B, b"b", FAR)]))
                assert max(took) < TIMEOUT + 1
        await self.recovers(store)
        await store.delete(B)
        assert await store.load(A) == b"old"

    async def test_concurrent_calls_to_a_store_that_hangs_do_not_wait_for_each_other(
        self, store: Store, hang: Callable[[], AbstractContextManager[None]]
    ) -> None:
        await store.create(A, b"old", FAR)
        with hang():
            started = time.monotonic()
            calls = [store.load(A) if n % 2 else store.delete(id_of(n)) for n in range(100)]
            await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - started < TIMEOUT + 1
        await self.recovers(store)

    async def test_the_store_reconnects(self, store: Store, disconnect: Callable[[], None]) -> None:
        await store.create(A, b"x", FAR)
        await asyncio.gather(*(store.load(A) for _ in range(20)))
        disconnect()
        await self.recovers(store)
        assert await store.replace(A, b"x", b"y", FAR)
        assert await store.load(A) == b"y"

    async def recovers(self, store: Store) -> None:
        """Wait until the store works again. The test does not open a new store."""
        for _ in range(50):
            with suppress(*FAILURE):
                await store.load(A)
                await store.delete(id_of("missing"))
                return
            await asyncio.sleep(0.2)
        pytest.fail("the store does not recover")
