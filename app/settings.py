"""The settings. The app reads them from the environment when it starts, and does not start if one is invalid."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from app.sessions.options import NAME_RULE, Name, Seconds

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_STORE = "sqlite:///var/sessions.sqlite3"
RULES = {"SESSION_NAME": NAME_RULE}
GOOD_VALUES = {
    "SESSION_NAME": "session",
    "SESSION_LIFETIME": "604800",
    "SESSION_IDLE_TIMEOUT": "1800",
}


class BadSetting(ValueError):
    """A setting that cannot be used. The message names the variable and shows a value that works."""


class Settings(msgspec.Struct, frozen=True, rename="upper"):
    """The settings. Environment variables have the same names in capitals. `.env.example` explains them."""

    session_store: str = DEFAULT_STORE
    session_name: Name = "session"
    session_lifetime: Seconds = 604_800
    session_idle_timeout: Seconds | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings. An empty variable counts as not set. Raises BadSetting."""
        names = [field.encode_name for field in msgspec.structs.fields(cls)]
        given = {name: environment[name].strip() for name in names if environment.get(name, "").strip()}
        for name in GOOD_VALUES:
            if not given.get(name, "").isascii():  # msgspec cannot read a byte that is not UTF-8
                raise cls._refusal(name, given[name], "Expected ASCII characters")
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:  # "Expected `int` >= 1 - at `$.SESSION_LIFETIME`"
            problem, _, name = str(error).rstrip("`").partition(" - at `$.")
            raise cls._refusal(name, given[name], problem) from error

    @staticmethod
    def _refusal(name: str, value: str, problem: str) -> BadSetting:
        good = f"{RULES.get(name, 'It is in seconds.')} A good value: {name}={GOOD_VALUES[name]}"
        return BadSetting(f"{name}={value!r} cannot be used: {problem}. {good}")
