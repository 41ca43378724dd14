"""Proves that a store keeps the contract of `app/sessions/store.py`. For a store of your own:

class TestMyStore(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = MyStore(...)  # empty
        yield store
        await store.close()
"""

import asyncio
import hashlib
import time

import pytest

from app.sessions import Store

FAR = 4_000_000_000.0  # an instant in the year 2096


def id_of(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


A, B = id_of("a"), id_of("b")
EVERY_BYTE = bytes(range(256))


class StoreContract:
    """Subclass it with a fixture `store` that is an empty store."""

    async def test_a_missing_record_is_none(self, store: Store) -> None:
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

    async def test_replace_needs_the_bytes_that_are_there(self, store: Store) -> None:
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

    async def test_delete_is_true_for_the_one_who_removed_it(self, store: Store) -> None:
        await store.create(A, b"a", FAR)
        await store.create(B, b"b", FAR)
        assert await store.delete(A)
        assert not await store.delete(A)
        assert (await store.load(A), await store.load(B)) == (None, b"b")

    async def test_delete_can_name_the_bytes_that_must_be_there(self, store: Store) -> None:
        await store.create(A, b"new", FAR)
        assert not await store.delete(A, b"old")
        assert await store.load(A) == b"new"
        assert await store.delete(A, b"new")
        assert not await store.delete(A, b"new")

    async def test_of_many_who_create_one_wins(self, store: Store) -> None:
        results = await asyncio.gather(*(store.create(A, str(n).encode(), FAR) for n in range(20)))
        assert results.count(True) == 1
        assert await store.load(A) == str(results.index(True)).encode()

    async def test_of_many_who_replace_one_wins(self, store: Store) -> None:
        await store.create(A, b"old", FAR)
        results = await asyncio.gather(*(store.replace(A, b"old", str(n).encode(), FAR) for n in range(20)))
        assert results.count(True) == 1
        assert await store.load(A) == str(results.index(True)).encode()

    async def test_of_many_who_delete_one_wins(self, store: Store) -> None:
        await store.create(A, b"old", FAR)
        results = await asyncio.gather(*(store.delete(A) for _ in range(20)))
        assert results.count(True) == 1

    async def test_what_was_deleted_is_not_replaced(self, store: Store) -> None:
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

    async def test_count(self, store: Store) -> None:
        assert await store.count() == 0
        for n in range(5):
            await store.create(id_of(n), b"x", FAR)
        await store.delete(id_of(0))
        assert await store.count() == 4

    async def test_sweep_removes_what_has_expired_and_nothing_else(self, store: Store) -> None:
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
