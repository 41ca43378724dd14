"""Rule 22 under races and crashes: every request is stopped before and after each of its calls to the store."""

from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sessions import Session, SessionEnded, SessionManager, open_store
from app.sessions.memory import MemoryStore
from app.sessions.owners import OwnerList
from tests.sessions.helpers import VALUE, stored
from tests.sessions.stepping import SteppedStore, Walk, listed, living


class Devices:
    """One owner with three sessions: one that acts, another, and one to be kept."""

    number = count()

    def __init__(self, store: Any) -> None:
        self.owner = f"user {next(self.number)}"
        self.store = SteppedStore(store)
        self.sessions = SessionManager(self.store)

    async def log_in(self, acting_owner: str | None = "") -> "Devices":
        owner = self.owner if acting_owner == "" else acting_owner
        acting, other, kept = [
            await stored(self.sessions, owner=each, value=1) for each in (owner, self.owner, self.owner)
        ]
        self.acting, self.other, self.kept = [await self.sessions.start(token) for token in (acting, other, kept)]
        assert self.acting.id
        assert self.other.id
        assert self.kept.id
        self.acting_id, self.other_id, self.kept_id = self.acting.id, self.other.id, self.kept.id
        return self

    async def living(self) -> set[str]:
        return set(await living(self.sessions, self.store))

    async def end_others(self) -> int:
        return await self.sessions.end_all(self.owner, keep=self.kept_id)

    def walks(self, action: "Action", first_is_end_all: bool) -> list[Walk]:
        """Return `action` on the acting session and `end_others`, in the order in which they begin."""
        walks = [Walk(lambda: action(self.acting)), Walk(self.end_others)]
        return walks[::-1] if first_is_end_all else walks

    async def assert_all_living_sessions_are_listed(self) -> None:
        mine = set()
        for session_id in await self.living():
            if (await self.sessions.find(session_id)).owner == self.owner:
                mine.add(session_id)
        assert await listed(self.sessions, self.owner) == mine


async def rotate(session: Session) -> None:
    await session.rotate()


async def save(session: Session) -> None:
    session[VALUE] = 2
    await session.save()


async def rotate_and_save(session: Session) -> None:
    await session.rotate()
    await save(session)


async def destroy(session: Session) -> None:
    await session.destroy()


ACTIONS = [rotate, save, rotate_and_save, destroy]
Action = Callable[[Session], Coroutine[Any, Any, None]]


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Any]:
    store = open_store(store_url)
    yield store
    await store.close()


@pytest.mark.parametrize("then", ["goes on", "crashes"])
@pytest.mark.parametrize("action", ACTIONS)
async def test_rule_22_end_all_is_safe_while_another_request_is_paused(store: Any, action: Action, then: str) -> None:
    """(a) and (b): nothing survives, wherever the other request is, and whether it goes on or crashes."""
    for point in count(1):
        devices = await Devices(store).log_in()
        walk = Walk(lambda devices=devices: action(devices.acting))  # type: ignore[misc]
        stopped = await walk.go(point)
        await devices.assert_all_living_sessions_are_listed()
        await devices.end_others()
        if stopped:
            assert await devices.living() == {devices.kept_id}, "(a) when it returns, all others are dead"
            await (walk.finish() if then == "goes on" else walk.crash())
            assert await devices.living() == {devices.kept_id}, f"(b) from point {point}, a successor is alive"
        await devices.assert_all_living_sessions_are_listed()
        await devices.sessions.end_all(devices.owner)
        assert await listed(devices.sessions, devices.owner) == set()
        if not stopped:
            return


@pytest.mark.parametrize("action", ACTIONS)
async def test_rule_22_another_request_is_safe_while_end_all_is_paused(store: Any, action: Action) -> None:
    for point in count(1):
        devices = await Devices(store).log_in()
        walk = Walk(devices.end_others)
        stopped = await walk.go(point)
        acting = Walk(lambda devices=devices: action(devices.acting))  # type: ignore[misc]
        outcome = await acting.finish()
        assert outcome is None or isinstance(outcome, SessionEnded)
        await devices.assert_all_living_sessions_are_listed()
        await walk.finish()
        successors = await devices.living() - {devices.kept_id}
        assert successors == set(), f"stopped at point {point}"
        if not stopped:
            return


@pytest.mark.full
@pytest.mark.parametrize("action", [rotate, destroy])
async def test_rule_22_both_are_safe_when_paused_at_every_pair_of_points(store: Any, action: Action) -> None:
    """One goes to its point, the other to its point, the first to its end. Then the same with the roles exchanged."""
    for first_is_end_all in (False, True):
        for first_point in count(1):
            for second_point in count(1):
                devices = await Devices(store).log_in()
                first, second = devices.walks(action, first_is_end_all)
                first_stopped = await first.go(first_point)
                second_stopped = await second.go(second_point)
                await devices.assert_all_living_sessions_are_listed()
                await first.finish()
                await devices.assert_all_living_sessions_are_listed()
                await second.finish()
                assert await devices.living() == {devices.kept_id}, (first_point, second_point)
                if not second_stopped:
                    break
            if not first_stopped:
                break


@pytest.mark.full
@pytest.mark.parametrize("first_is_end_all", [False, True])
@pytest.mark.parametrize("action", [rotate, destroy])
async def test_rule_22_both_are_safe_when_they_alternate_at_every_three_points(
    action: Action, first_is_end_all: bool
) -> None:
    """Run one to its first point, the other to its only point, the first to its second point, the other to its end.

    For example: a rotation has listed its successor, `end_all` has not found it, the rotation stores it and removes the
    old session, and `end_all` goes on. It has to look for the successor after the old session.
    """
    store = MemoryStore()
    for first_point in count(1):
        for other_point in count(1):
            for steps in count(1):
                devices = await Devices(store).log_in()
                one, other = devices.walks(action, first_is_end_all)
                one_stopped = await one.go(first_point)
                other_stopped = await other.go(other_point)
                one_stopped_again = one_stopped and await one.go(steps)
                await other.finish()
                await devices.assert_all_living_sessions_are_listed()
                if not first_is_end_all:
                    assert await devices.living() == {devices.kept_id}, (first_point, other_point, steps)
                await one.finish()
                assert await devices.living() == {devices.kept_id}, (first_point, other_point, steps)
                await devices.sessions.end_all(devices.owner)
                if not one_stopped_again:
                    break
            if not other_stopped:
                break
        if not one_stopped:
            break


@pytest.mark.parametrize("then", ["goes on", "crashes"])
@pytest.mark.parametrize("before", ["nothing", "a session without an owner"])
async def test_rule_22_a_login_counts_as_before_or_after_end_all_and_is_always_listed(
    store: Any, before: str, then: str
) -> None:
    for point in count(1):
        devices = await Devices(store).log_in(acting_owner=None)
        session = devices.acting if before != "nothing" else await devices.sessions.start()

        async def log_in(session: Session = session, owner: str = devices.owner) -> None:
            session.owner = owner
            await session.rotate()
            await session.save()

        walk = Walk(log_in)
        stopped = await walk.go(point)
        await devices.assert_all_living_sessions_are_listed()
        await devices.end_others()
        await devices.assert_all_living_sessions_are_listed()
        if stopped:
            await (walk.finish() if then == "goes on" else walk.crash())
        await devices.assert_all_living_sessions_are_listed()
        await devices.sessions.end_all(devices.owner)
        assert await listed(devices.sessions, devices.owner) == set()
        assert (await devices.living()) <= {devices.acting_id}, "only the session without an owner may be left"
        if not stopped:
            return


async def test_rule_22_end_all_that_crashes_can_be_repeated(store: Any) -> None:
    for point in count(1):
        devices = await Devices(store).log_in()
        walk = Walk(devices.end_others)
        stopped = await walk.go(point)
        await walk.crash()
        await devices.assert_all_living_sessions_are_listed()
        await devices.end_others()
        assert await devices.living() == {devices.kept_id}
        if not stopped:
            return


async def test_rule_22_the_kept_session_survives_its_own_rotation(store: Any) -> None:
    for point in count(1):
        devices = await Devices(store).log_in()
        walk = Walk(devices.kept.rotate)
        await walk.go(point)
        text = await store.load(OwnerList(devices.kept._records, devices.owner).id)
        if devices.kept_id.encode() not in text:
            assert await devices.end_others() == 3, "the rotation is over, so the id to keep names no session"
            return
        assert await devices.end_others() == 2
        assert await walk.finish() is None
        assert await devices.living() == {devices.kept.id}
        await devices.assert_all_living_sessions_are_listed()


async def test_rule_16_a_rotation_that_end_all_prevents_is_counted_and_announced_once(store: Any) -> None:
    for point in count(1):
        devices = await Devices(store).log_in()
        heard: list[tuple[str, str, str | None]] = []

        async def hear(*event: Any, heard: list[Any] = heard) -> None:
            heard.append(event)

        devices.sessions.events.listeners.append(hear)
        walk = Walk(devices.acting.rotate)
        stopped = await walk.go(point)
        alive = await devices.living()
        assert await devices.end_others() == len(alive - {devices.kept_id})
        outcome = await walk.finish()
        await devices.sessions.events.wait(5)
        ended = [session_id for session_id, _, _ in heard]
        assert len(ended) == len(set(ended)), "each end is announced once"
        assert {devices.acting_id, devices.other_id} <= set(ended)
        for _, reason, new_id in heard:
            assert reason == "destroyed" or new_id in ended, "a listener that follows the rotation hears of its end"
        if not stopped:
            return
        if devices.acting.id is None:
            assert isinstance(outcome, SessionEnded)
            assert devices.acting.cookie is None


STEPS = st.lists(st.integers(0, 3), max_size=60)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.sampled_from(ACTIONS), st.sampled_from(ACTIONS), st.booleans())
@pytest.mark.full
async def test_rule_22_any_interleaving_of_four_requests_is_safe(
    steps: list[int], one: Action, other: Action, crash: bool
) -> None:
    devices = await Devices(MemoryStore()).log_in()
    twin = await devices.sessions.start()
    twin.stored = devices.acting.stored  # a second request of the same visitor
    walks = [
        Walk(lambda: one(devices.acting)),
        Walk(lambda: other(twin)),
        Walk(devices.end_others),
        Walk(lambda: rotate_and_save(devices.other)),
    ]
    for step in steps:
        if not walks[step].task.done():
            await walks[step].go()
            await devices.assert_all_living_sessions_are_listed()
    await walks[2].finish()
    assert await devices.living() == {devices.kept_id}
    for walk in walks:
        await (walk.crash() if crash else walk.finish())
    assert await devices.living() == {devices.kept_id}
    await devices.assert_all_living_sessions_are_listed()
