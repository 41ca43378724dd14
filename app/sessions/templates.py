"""Makes `session` a variable of every Jinja template, base templates and included ones too."""

from typing import Any

from jinja2.runtime import Context

from .litestar import provide_session


class SessionContext(Context):
    """A template's variables, with the session of the request among them."""

    def __init__(self, environment: Any, parent: dict[str, Any], *rest: Any, **options: Any) -> None:
        if "session" not in parent and (request := parent.get("request")):
            parent = {**parent, "session": provide_session(request.scope)}
        super().__init__(environment, parent, *rest, **options)


def add_session_to_templates(engine: Any) -> None:
    """Change a Litestar template engine, if it is Jinja's. Other engines have `request.session`."""
    environment: Any = getattr(engine, "engine", None)
    if hasattr(environment, "context_class"):
        environment.context_class = SessionContext
