"""Settings: a bad one stops the start with a message that names the variable and a good value."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.main import create_app
from app.sessions import open_store
from app.settings import PROJECT, BadSetting, Settings

BAD = [
    ("SESSION_LIFETIME", "abc"),
    ("SESSION_LIFETIME", "0"),
    ("SESSION_LIFETIME", "-1"),
    ("SESSION_LIFETIME", "1.5"),
    ("SESSION_LIFETIME", "1_000"),
    ("SESSION_LIFETIME", "1 week"),
    ("SESSION_LIFETIME", "9" * 5000),
    ("SESSION_LIFETIME", "\udcff"),  # a byte that is not UTF-8
    ("SESSION_IDLE_TIMEOUT", "soon"),
    ("SESSION_IDLE_TIMEOUT", "0"),
    ("SESSION_NAME", "Session"),
    ("SESSION_NAME", "1session"),
    ("SESSION_NAME", "a-b"),
    ("SESSION_NAME", "a" * 32),
    ("SESSION_NAME", "a;b"),
    ("SESSION_STORE", "mysql://localhost"),
    ("SESSION_STORE", "sqlite://"),
    ("SESSION_STORE", "sqlite:///"),
    ("SESSION_STORE", "sqlite:///no/such/folder/sessions.sqlite3"),
    ("SESSION_STORE", "sqlite:////no/such/folder/sessions.sqlite3"),
    ("SESSION_STORE", "sqlite:////proc/sessions.sqlite3"),
    ("SESSION_STORE", f"sqlite:///{PROJECT}"),
    ("SESSION_STORE", f"sqlite:///{__file__}"),
    ("SESSION_STORE", "memory"),
    ("SESSION_STORE", "redis://"),
    ("SESSION_STORE", "redis://localhost:port"),
    ("SESSION_STORE", "redis://localhost/name"),
    ("SESSION_STORE", "redis://localhost/0?no_such_option=1"),
    ("SESSION_STORE", "redis+cluster://localhost/1"),
    ("SESSION_STORE", "redis+sentinel://localhost"),
]


def load(environment: dict[str, str]) -> Settings:
    settings = Settings.from_environment(environment)
    create_app(settings)
    return settings


@pytest.mark.parametrize(("name", "value"), BAD)
def test_the_error_for_a_bad_setting_names_it_and_a_good_value(name: str, value: str) -> None:
    before = Path(__file__).read_bytes()
    with pytest.raises(BadSetting) as refusal:
        load({name: value})
    message = str(refusal.value)
    assert message.startswith(name)
    assert re.search("ood value|Try: mkdir -p|Name a file|name another file|must be writable", message)
    assert len(message) < 700 or len(value) > 700
    assert Path(__file__).read_bytes() == before


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@localhost/name",
        "redis://:s3/cret@localhost:6379/0",
        "redis://localhost/0?password=s3cret&no_such_option=1",
        "redis://localhost/0?password=s3cret&socket_timeout=x",
        "redis:/:s3cret@localhost",
        "mysql://me:s3cret@localhost",
    ],
)
def test_the_error_for_a_bad_address_shows_no_password(url: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        load({"SESSION_STORE": url})
    assert "s3cret" not in str(refusal.value)
    assert "cret@" not in str(refusal.value)


def test_variables_of_other_programs_are_ignored() -> None:
    """The name and value of a variable may be any bytes."""
    assert Settings.from_environment({"OTHER\udcff": "\udcff"}) == Settings()


def test_unset_and_empty_settings_have_their_defaults() -> None:
    expected = Settings("sqlite:///var/sessions.sqlite3", "session", 604_800, None)
    assert Settings.from_environment({}) == expected
    empty = {"SESSION_STORE": "", "SESSION_NAME": "", "SESSION_LIFETIME": " ", "SESSION_IDLE_TIMEOUT": ""}
    assert Settings.from_environment(empty) == expected


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    settings = load(
        {
            "SESSION_STORE": f"sqlite:///{tmp_path}/s.sqlite3",
            "SESSION_NAME": "shop_2",
            "SESSION_LIFETIME": "60",
            "SESSION_IDLE_TIMEOUT": "30",
        }
    )
    assert settings == Settings(f"sqlite:///{tmp_path}/s.sqlite3", "shop_2", 60, 30)


def test_the_example_lists_every_setting_with_its_default() -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    given = dict(line.lstrip("# ").split("=", 1) for line in lines if "=" in line and " " not in line.lstrip("# "))
    assert set(given) >= {"SESSION_STORE", "SESSION_NAME", "SESSION_LIFETIME", "SESSION_IDLE_TIMEOUT"}
    assert Settings.from_environment(given) == Settings()


def test_only_the_owner_of_the_database_file_may_read_it(tmp_path: Path) -> None:
    open_store(f"sqlite:///{tmp_path}/s.sqlite3")
    assert (tmp_path / "s.sqlite3").stat().st_mode & 0o777 == 0o600


def test_an_unwritable_database_folder_stops_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    tmp_path.chmod(0o755)
    program = (
        "import os, sqlite3, sys; sys.path.insert(0, sys.argv[1]); from app.sessions import open_store, BadStoreURL\n"
        "import app.sessions.sqlite\n"
        "if os.getuid() == 0: os.setuid(65534)\n"  # root may write everywhere
        "try: open_store(sys.argv[2])\n"
        "except BadStoreURL as error: print(error)"
    )
    url = f"sqlite:///{folder}/s.sqlite3"
    for parent in tmp_path.parents:
        if os.getuid() == 0 and parent.stat().st_mode & 0o777 == 0o700:
            parent.chmod(0o755)  # pytest's own folders
    command = [sys.executable, "-c", program, str(PROJECT), url]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert "sqlite:///" in result.stdout, result.stderr
    assert "writable" in result.stdout
