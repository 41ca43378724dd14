"""What is deployed: the Procfile, the vendored files, the pinned requirements."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.settings import PROJECT
from tests.support import END, HOME, SAMPLE_APP, TEXT, UPDATE, free_port, shown_text, wait_until


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The app as a platform runs it: from the Procfile, with honcho, on the platform's port."""
    port = free_port()
    log = tmp_path / "platform.log"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "WEB_CONCURRENCY"},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(port),
        "SESSION_STORE": f"sqlite:///{tmp_path}/sessions.sqlite3",
        "FORWARDED_ALLOW_IPS": "*",
    }
    procfile = tmp_path / "Procfile"
    procfile.write_text((PROJECT / "Procfile").read_text().replace("app.main:app", SAMPLE_APP))
    honcho = shutil.which("honcho", path=environment["PATH"])
    assert honcho, "honcho is in requirements-dev.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [honcho, "--no-colour", "-f", str(procfile), "-d", str(PROJECT), "start", "web"],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
            return False

    wait_until(answers, 20)
    yield f"http://127.0.0.1:{port}", log
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=15)


def test_the_procfile_starts_two_workers_that_share_their_sessions(platform: tuple[str, Path]) -> None:
    url, log = platform
    wait_until(lambda: log.read_text().count("Started server process") == 2)
    with httpx.Client(base_url=url) as client:
        assert client.put(UPDATE, content="shared", headers=TEXT).status_code == 200
        for _ in range(20):
            client.headers["Connection"] = "close"  # a new connection each time, so that both workers get some
            assert shown_text(client.get(HOME).text) == "shared"
        assert client.post(END).text == "Session ended."
    # The platform's log contains the app's own lines, with time, process and logger.
    line = r"\d\d:\d\d:\d\d,\d{3} INFO \[\d+\] app.hooks: Session [0-9a-f]{64} was destroyed\n"
    wait_until(lambda: re.search(line, log.read_text()) is not None)


def test_behind_the_platforms_router_the_cookie_is_secure(platform: tuple[str, Path]) -> None:
    url, _ = platform
    response = httpx.put(url + UPDATE, content="x", headers=TEXT | {"X-Forwarded-Proto": "https"})
    assert response.headers["set-cookie"].startswith("__Host-session=")


def test_the_vendored_files_are_the_published_ones() -> None:
    script = (PROJECT / "scripts/fetch-htmx").read_text()
    hashes = dict(reversed(line.split("  ")) for line in re.findall(r"^[0-9a-f]{64}  .+$", script, re.MULTILINE))
    version = re.findall(r"^version=(.+)$", script, re.MULTILINE)[0]
    folder = PROJECT / "static/vendor" / f"htmx-{version}"
    assert {path.name for path in folder.iterdir()} == set(hashes) == {"htmx.min.js", "hx-preload.min.js", "LICENSE"}
    for name, expected in hashes.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    assert f"vendor/htmx-{version}/" in (PROJECT / "templates/base.html").read_text()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_with_hashes_and_name_no_registry(name: str) -> None:
    text = (PROJECT / name).read_text()
    assert "://" not in text
    pins = re.findall(r"^([a-z0-9-]+)==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(pins) == len(lines) > 20


def test_requirements_files_are_the_only_lock_files_and_no_python_version_is_pinned() -> None:
    for name in ("uv.lock", "poetry.lock", "Pipfile.lock", "Pipfile", ".python-version"):
        assert not (PROJECT / name).exists()


def test_sql_has_no_numbered_placeholders() -> None:
    """With a sequence of values, Python 3.12 warns of `?1`, 3.14 refuses it, and 3.11 accepts it silently."""
    for path in (PROJECT / "app").rglob("*.py"):
        assert not re.search(r"\?\d", path.read_text()), path.name
