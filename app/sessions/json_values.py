"""Says what is wrong with a value that JSON cannot hold."""

import dataclasses
import math
from typing import Any

from .errors import InvalidValue

MAX_BITS = 14_000  # of an int; Python converts at most 4,300 digits to text

REMEDIES = {
    "tuple": "; store a list",
    "set": "; store a sorted list",
    "datetime": "; store value.isoformat()",
    "date": "; store value.isoformat()",
    "bytes": "; store text",
    "Decimal": "; store str(value)",
    "UUID": "; store str(value)",
}


def invalid_value(key: str, value: Any) -> InvalidValue:
    """Return the error for a value that JSON cannot hold or would change."""
    path = f"session[{str(key)!r}]"
    try:
        problem = _problem(value, path)
    except RecursionError:
        problem = f"{path}: it contains itself, or is nested too deeply"
    return InvalidValue(problem or f"{path}: JSON cannot hold this {type(value).__name__}, or would change it")


def _problem(value: Any, path: str) -> str | None:
    """Return the path of the first part that is not JSON, and the reason. Return None if no part is at fault."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path}: {value} is not a JSON number"
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"{path}: the number is too long for JSON; store hex(value)"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return f"{path}: it has half of a surrogate pair, which is not a character"
    if isinstance(value, list):
        problems = (_problem(item, f"{path}[{index}]") for index, item in enumerate(value))
        return next(filter(None, problems), None)
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                return f"{path}: key {name!r} of a dict must be a string"
            if problem := _problem(name, f"{path}, key {name!r}") or _problem(item, f"{path}[{name!r}]"):
                return problem
        return None
    if value is None or isinstance(value, str | int | float):
        return None
    kind = type(value).__name__
    if dataclasses.is_dataclass(value):
        return f"{path}: JSON has no {kind}; store dataclasses.asdict(value)"
    return f"{path}: JSON has no {kind}{REMEDIES.get(kind, '; store a dict, list, text or number')}"
