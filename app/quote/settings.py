"""The demo's own setting."""

from collections.abc import Mapping

from app.settings import BadSetting


def read_destroy_delay(environment: Mapping[str, str]) -> float:
    """Return DESTROY_DELAY in seconds. Raises BadSetting."""
    value = environment.get("DESTROY_DELAY", "").strip() or "3"
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 60:
        problem = "It is a number of seconds from 0 to 60. A good value: DESTROY_DELAY=3"
        raise BadSetting(f"DESTROY_DELAY={value!r} cannot be used. {problem}")
    return seconds
