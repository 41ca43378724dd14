"""The project with a layout that greets by name, and a store that can be made to fail, for uvicorn."""

from typing import Any

from jinja2 import ChoiceLoader, DictLoader
from litestar import get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Template

from app.sessions import Key, Session, SessionManager
from tests.sessions.helpers import ALL_CALLS, BrokenStore
from tests.skeleton.sample_app import create_sample_app

NAME = Key("name", str)
GREETING = (
    '{% if session.available %}{% if "name" in session %}Hello {{ session.name }}{% else %}Log in{% endif %}{% endif %}'
)


@get("/greeting")
async def greet() -> Template:
    texts = {"status": 200, "title": "Greeting", "message": "", "remedy": ""}
    return Template("error.html", context={**texts, "submission": None})


@put("/name/{name:str}")
async def set_name(session: NamedDependency[Session], name: FromPath[str]) -> str:
    session[NAME] = name
    return name


@post("/break-the-store", status_code=200, no_session=True)
async def break_the_store(sessions: NamedDependency[SessionManager]) -> str:
    assert isinstance(sessions.store, BrokenStore)
    sessions.store.broken = ALL_CALLS
    return "broken"


app = create_sample_app()
app.state.sessions.store = BrokenStore()
for handler in (greet, set_name, break_the_store):
    app.register(handler)
templates: Any = app.template_engine
environment = templates.engine
base, _, _ = environment.loader.get_source(environment, "base.html")
with_greeting = base.replace("<main", f"<header>{GREETING}</header><main", 1)
environment.loader = ChoiceLoader([DictLoader({"base.html": with_greeting}), environment.loader])
