"""A session as the store keeps it: JSON with its instants and its values."""

from typing import Annotated, Any

import msgspec

# Year 9999, the last that Python's dates know. It also keeps out infinity, which JSON cannot hold.
Instant = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]


class Record(msgspec.Struct, frozen=True):
    """Instants are Unix times in seconds.

    `expires_at` is the end of the absolute lifetime and never changes. `deadline` is when the session ends if nobody
    comes back: the same instant, or an earlier one where there is an idle timeout.
    """

    created_at: Instant
    expires_at: Instant
    deadline: Instant
    values: dict[str, Any]

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> "Record":
        """Read what `encode` wrote. Raises ValueError for anything else."""
        try:
            return _decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error

    def is_alive(self, now: float) -> bool:
        return now < self.deadline


_decoder = msgspec.json.Decoder(Record)


def is_json(value: Any) -> bool:
    """Whether a value comes back from JSON as it was. A tuple, a set, a date, NaN or a dict with int keys does not."""
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(value)) == value)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return False


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON. It tells 1, 1.0 and True apart, and ignores the order of keys."""
    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(other, order="sorted")
