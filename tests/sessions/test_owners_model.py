"""Sessions and owners against a plain Python model, in any order of operations that hypothesis thinks of."""

import asyncio
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from app.sessions import Key, Session, SessionManager, open_store
from app.sessions.records import SEEN_INTERVAL, digest

T = TypeVar("T")

LIFETIME, IDLE_TIMEOUT = 10_000, 2_000
OWNERS = st.sampled_from(["ada", "bob", ""])
KEYS = st.sampled_from([Key(name, object) for name in "abc"])
VALUES: st.SearchStrategy[Any] = st.sampled_from([None, 1, "x", [1, 2], {"k": []}])


@dataclass
class Model:
    """What a session is."""

    owner: str | None
    expires_at: float
    deadline: float
    last_seen: float | None
    values: dict[str, Any] = field(default_factory=dict)

    def move(self, now: float) -> None:
        self.deadline = min(self.expires_at, now + IDLE_TIMEOUT)

    def visit(self, now: float) -> None:
        seen = self.owner is not None and now - (self.last_seen or 0) >= SEEN_INTERVAL
        if seen or min(self.expires_at, now + IDLE_TIMEOUT) - self.deadline > IDLE_TIMEOUT / 10:
            self.move(now)
        if seen:
            self.last_seen = now


class Machine(RuleBasedStateMachine):
    url = ""
    tokens = Bundle("tokens")
    number = count()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.now, self.clock = 1_800_000_000.0, time.time
        time.time = lambda: self.now
        self.model: dict[str, Model] = {}

    @initialize()
    def start(self) -> None:
        # Each example begins with an empty store: a file or a table of its own.
        url = self.url or f"sqlite:///{tempfile.mkdtemp()}/sessions.sqlite3"
        store = open_store(url, name=f"example{next(self.number)}")
        self.sessions = SessionManager(store, lifetime=LIFETIME, idle_timeout=IDLE_TIMEOUT)

    def teardown(self) -> None:
        if hasattr(self, "sessions"):
            self.run(self.sessions.store.close())
        self.runner.close()
        time.time = self.clock

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def visit(self, token: str) -> tuple[Session, Model | None]:
        session, model = self.run(self.sessions.start(token)), self.model.get(token)
        if model:
            model.visit(self.now)
        return session, model

    def new_model(self, owner: str | None, values: dict[str, Any]) -> Model:
        seen = None if owner is None else self.now
        return Model(owner, self.now + LIFETIME, self.now + IDLE_TIMEOUT, seen, values)

    def adopt(self, session: Session, model: Model) -> str:
        assert session.cookie
        self.model[session.cookie[0]] = model
        return session.cookie[0]

    @rule(target=tokens, owner=st.none() | OWNERS, value=VALUES)
    def first_save(self, owner: str | None, value: Any) -> str:
        session = self.run(self.sessions.start())
        session.owner = owner
        session[Key("a", object)] = value
        self.run(session.save())
        return self.adopt(session, self.new_model(owner, {"a": value}))

    @rule(target=tokens, token=tokens, owner=OWNERS, rotates=st.booleans())
    def log_in(self, token: str, owner: str, rotates: bool) -> Any:
        session, model = self.visit(token)
        before = model.owner if model else None
        session.owner = owner
        if rotates:
            self.run(session.rotate())
        self.run(session.save())
        if model and before == owner and not rotates:
            return multiple()
        self.model.pop(token, None)
        if model is None or before not in (None, owner):
            return self.adopt(session, self.new_model(owner, {}))
        model.owner, model.last_seen = owner, self.now
        return self.adopt(session, model)

    @rule(token=tokens, key=KEYS, value=VALUES)
    def save(self, token: str, key: Key[Any], value: Any) -> None:
        session, model = self.visit(token)
        if model is None:
            assert session.id is None
            return
        changes = str(key) not in model.values or model.values[str(key)] != value
        session[key] = value
        self.run(session.save())
        assert session.cookie is None
        model.values[str(key)] = value
        if changes:
            model.move(self.now)

    @rule(target=tokens, token=consumes(tokens))
    def rotate(self, token: str) -> Any:
        session, model = self.visit(token)
        self.run(session.rotate())
        if model is None:
            return multiple()
        del self.model[token]
        if model.owner is not None:
            model.last_seen = self.now
        return self.adopt(session, model)

    @rule(token=tokens)
    def log_out(self, token: str) -> None:
        session, _ = self.visit(token)
        self.run(session.destroy())
        self.model.pop(token, None)

    @rule(owner=OWNERS, kept=st.none() | tokens)
    def end_all(self, owner: str, kept: str | None) -> None:
        mine = [token for token, model in self.model.items() if model.owner == owner and token != kept]
        for token in mine:
            del self.model[token]
        assert self.run(self.sessions.end_all(owner, keep=digest(kept) if kept else None)) == len(mine)

    @rule(seconds=st.sampled_from([1.0, 150.0, 299.0, 301.0, 1_000.0, 1_999.0, 5_000.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.model = {token: model for token, model in self.model.items() if model.deadline > self.now}
        self.run(self.sessions.flush())

    @rule(token=tokens)
    def look(self, token: str) -> None:
        session, model = self.visit(token)
        assert (session.owner, dict(session)) == ((model.owner, model.values) if model else (None, {}))

    @invariant()
    def lists_and_count_are_those_of_the_model(self) -> None:
        if not hasattr(self, "sessions"):
            return
        for owner in ("ada", "bob", ""):
            mine = [(digest(token), model) for token, model in self.model.items() if model.owner == owner]
            found = self.run(self.sessions.list(owner))
            shown = {(each.id, each.expires_at, each.last_seen, str(dict(each))) for each in found}
            assert shown == {(key, model.expires_at, model.last_seen, str(model.values)) for key, model in mine}
        assert self.run(self.sessions.count()) == len(self.model)


# Redis expires records by its own clock, which the model cannot move.
@pytest.mark.parametrize(("kind", "examples"), [("memory", 150), ("sqlite", 25), ("postgres", 8)])
@pytest.mark.full
def test_rule_22_sessions_and_owners_behave_like_the_model(
    kind: str, examples: int, request: pytest.FixtureRequest
) -> None:
    url = {"memory": "memory://", "sqlite": ""}.get(kind) or request.getfixturevalue("postgres_server").url

    class Chosen(Machine):
        pass

    Chosen.url = url
    Chosen.TestCase.settings = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    Chosen.TestCase("runTest").debug()
