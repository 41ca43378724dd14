"""The examples of `docs/hosts.md` for error pages and tests work, after the examples that attach the layer."""

import re
import sys
from types import ModuleType
from typing import Any

import httpx
import pytest

from app.sessions import CrossOriginRefused
from app.settings import PROJECT

PAGE = (PROJECT / "docs/hosts.md").read_text()
ATTACHING = {"Litestar": "Litestar", "FastAPI": "FastAPI and Starlette"}


def examples(section: str) -> list[str]:
    """Return the Python code of a section."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    blocks: list[str] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return [block.replace("from sessions", "from app.sessions") for block in blocks]


@pytest.fixture
def module(host: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with the example that attaches the layer to the host."""
    module = ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)  # where Litestar looks for the types of handlers
    (attach,) = examples(ATTACHING[host])
    exec(attach, vars(module))  # noqa: S102
    return module


@pytest.mark.parametrize(("host", "example"), [("Litestar", 0), ("FastAPI", 1)])
async def test_the_example_of_an_error_page_answers_a_refusal(module: Any, example: int) -> None:
    exec(examples("Error pages")[example], vars(module))  # noqa: S102
    async with httpx.AsyncClient(transport=httpx.ASGITransport(module.app), base_url="http://127.0.0.1") as client:
        response = await client.post("/visits", headers={"Origin": "https://elsewhere.example"})
    assert (response.status_code, response.json()) == (403, {"detail": CrossOriginRefused.public_message})


@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`")
@pytest.mark.parametrize("host", ["Litestar", "FastAPI"])
def test_the_example_of_a_test_passes(host: str, module: Any) -> None:
    (example,) = examples("Testing your app")
    if host == "Litestar":
        from litestar.testing import TestClient

        example = example.replace("client.portal", "client.blocking_portal").replace("sessions.", "app.state.sessions.")
    else:
        from starlette.testclient import TestClient  # type: ignore[assignment]
    module.TestClient = TestClient
    exec(example, vars(module))  # noqa: S102
    module.test_a_user_comes_back()


@pytest.mark.parametrize("host", ["Litestar", "FastAPI"])
async def test_logging_out_everywhere_as_the_page_says_deletes_the_cookie(module: Any) -> None:
    (row,) = re.findall(r"^\| log out everywhere, here too \| (.*) \|$", PAGE, re.MULTILINE)
    end_all, destroy, *_ = re.findall(r"`(await [^`]*)`", row)
    manager = getattr(module, "sessions", None) or module.app.state.sessions
    session, elsewhere = await manager.start(), await manager.start()
    for each in (session, elsewhere):
        each.owner = "ada"
        await each.save()
    names: dict[str, Any] = {"sessions": manager, "owner": "ada", "session": session}
    exec(f"async def log_out():\n    {end_all}\n    {destroy}", names)  # noqa: S102
    await names["log_out"]()
    assert session.cookie == ("", 0)
    assert await manager.list("ada") == []
