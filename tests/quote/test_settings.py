"""The demo's own setting: a bad value stops the start, like any other setting."""

import os
import subprocess
import sys

import pytest

from app.quote.settings import read_destroy_delay
from app.settings import PROJECT, BadSetting


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1h", "61", "9" * 5000, "0x1"])
def test_the_error_for_a_bad_delay_names_it_and_a_good_value(value: str) -> None:
    with pytest.raises(BadSetting, match="A good value: DESTROY_DELAY=3") as refusal:
        read_destroy_delay({"DESTROY_DELAY": value})
    assert str(refusal.value).startswith("DESTROY_DELAY=")


@pytest.mark.parametrize(
    ("environment", "seconds"), [({}, 3.0), ({"DESTROY_DELAY": " "}, 3.0), ({"DESTROY_DELAY": "0.5"}, 0.5)]
)
def test_the_delay_is_three_seconds_unless_it_is_set(environment: dict[str, str], seconds: float) -> None:
    assert read_destroy_delay(environment) == seconds


def test_a_bad_delay_stops_the_start() -> None:
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--app-dir", str(PROJECT), "--port", "0"]
    environment = {**os.environ, "DESTROY_DELAY": "soon", "SESSION_STORE": "memory://"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 3
    assert "Cannot start: DESTROY_DELAY='soon'" in result.stderr
    assert "Traceback" not in result.stderr
