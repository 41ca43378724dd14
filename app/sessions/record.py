"""A session as the store keeps it: JSON with two deadlines and the values."""

import json
from dataclasses import dataclass
from typing import Any

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Record:
    """Instants are Unix times in seconds.

    `expires_at` is the end of the absolute lifetime and never changes. `deadline` is when the session ends if nobody
    comes back: the same instant, or an earlier one where an idle timeout is set.
    """

    created_at: float
    expires_at: float
    deadline: float
    values: dict[str, Any]

    def encode(self) -> bytes:
        return to_json(
            {
                "created_at": self.created_at,
                "expires_at": self.expires_at,
                "deadline": self.deadline,
                "values": self.values,
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> "Record":
        """Read what `encode` wrote. Raises ValueError for anything else."""
        try:
            fields = json.loads(raw)
            record = cls(
                created_at=float(fields["created_at"]),
                expires_at=float(fields["expires_at"]),
                deadline=float(fields["deadline"]),
                values=fields["values"],
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"not a session record: {error!r}") from error
        if not isinstance(record.values, dict):
            raise ValueError("not a session record: its values are no object")
        return record

    def is_alive(self, now: float) -> bool:
        return now < self.deadline


def to_json(value: Any) -> bytes:
    """Encode as UTF-8 JSON. Raises TypeError, ValueError or RecursionError for what JSON cannot hold."""
    return _encoder.encode(value).encode()


def is_json(value: Any) -> bool:
    """Whether a value comes back from JSON equal to itself: a tuple, a set, NaN or an int as key would not."""
    try:
        return bool(json.loads(to_json(value)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal. Unlike `==`, it tells 1, 1.0 and True apart."""
    return one == other and _canonical(one) == _canonical(other)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
