"""The app with the demo in it, served by a real uvicorn."""

from dataclasses import dataclass
from typing import ClassVar

from tests.support import Server

UPDATE = "/session/quote/update"
DEFAULT = "initial quote"


@dataclass
class QuoteServer(Server):
    """Its visitors have a session with a quote. Destroy is quick unless the environment says otherwise."""

    app: str = "app.main:app"
    update: ClassVar[str] = UPDATE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environment = {"DESTROY_DELAY": "0", **self.environment}
