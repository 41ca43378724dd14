"""How to test pages of your own: `client_with` makes a client whose session holds what you choose."""

from typing import Any

import httpx
from litestar import Litestar, Request, get
from litestar.di import NamedDependency

from app.main import create_app
from app.sessions import Session
from app.settings import Settings
from tests.support import BROWSER, HTMX, ClientWith


async def test_the_page_shows_what_the_session_holds(client_with: ClientWith) -> None:
    client = await client_with(quote="Chosen by the test.")
    response = await client.get("/")
    assert "Chosen by the test." in response.text


async def test_htmx_gets_a_fragment_and_a_browser_gets_an_error_page(client_with: ClientWith) -> None:
    client = await client_with(quote="Chosen by the test.")
    saved = await client.put("/session/quote/update", data={"quote": "New."}, headers=HTMX)
    assert (saved.status_code, saved.text) == (200, "Saved")
    refused = await client.post("/session/quote/update", data={"quote": "x" * 65_537}, headers=BROWSER)
    assert refused.status_code == 413
    assert "“Text” is too long" in refused.text


async def test_a_client_without_values_has_no_session(client_with: ClientWith) -> None:
    client = await client_with()
    assert "initial quote" in (await client.get("/")).text


async def test_the_parameter_session_and_request_session_are_the_same_object() -> None:
    @get("/same")
    async def same(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> bool:
        return request.session is session

    app: Litestar = create_app(Settings(session_store="memory://"))
    app.register(same)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:  # type: ignore[arg-type]
        assert (await client.get("/same")).json() is True
