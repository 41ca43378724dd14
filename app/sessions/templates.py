"""Makes `session` a variable in every Jinja template, including base templates and included templates."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment
from jinja2.runtime import Context


def add_session_to_templates(environment: Environment, session_of: Callable[[Any], Any]) -> None:
    """Give each template the session of its request, which is `session_of(scope)`."""

    class SessionContext(Context):
        def __init__(self, environment: Any, parent: Any, name: Any, blocks: Any, globals: Any = None) -> None:  # noqa: A002
            if "session" not in parent and (request := parent.get("request")):
                parent = {**parent, "session": session_of(request.scope)}
            super().__init__(environment, parent, name, blocks, globals)

    environment.context_class = SessionContext
