"""During development an edited template shows at the next request. In production this costs nothing."""

import os
import shutil
from pathlib import Path

import httpx
import pytest

from app import main
from app.settings import Settings
from tests.support import BROWSER


@pytest.mark.parametrize(("debug", "shown"), [("1", "An edited page."), ("", "There is no page at this address.")])
async def test_an_edited_template_shows_at_the_next_request_with_litestar_debug(
    debug: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates = shutil.copytree(main.TEMPLATES, tmp_path / "templates")
    monkeypatch.setattr(main, "TEMPLATES", templates)
    monkeypatch.setenv("LITESTAR_DEBUG", debug)
    app = main.create_app(Settings(session_store="memory://"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:  # type: ignore[arg-type]
        assert "There is no page at this address." in (await client.get("/nothing", headers=BROWSER)).text
        page = templates / "error.html"
        page.write_text('{% extends "base.html" %}{% block main %}An edited page.{% endblock %}')
        os.utime(page, (0, 0))  # a different time than before, even with a coarse file system clock
        assert shown in (await client.get("/nothing", headers=BROWSER)).text
