"""Times as people say them, for templates: `{{ session.expires_at | when }}` shows "in 7 days"."""

import time
from datetime import UTC, datetime

from markupsafe import Markup

UNITS = {"year": 31_557_600, "month": 2_629_800, "day": 86_400, "hour": 3_600, "minute": 60}  # seconds
ELEMENT = Markup('<time datetime="{}" title="{}">{}</time>')


def when(instant: float) -> Markup:
    """Return a `<time>` element for a Unix time in seconds: how far away it is, with the exact UTC time as title."""
    exact = datetime.fromtimestamp(instant, UTC)
    return ELEMENT.format(
        exact.isoformat(timespec="seconds"), f"{exact:%-d %B %Y, %H:%M:%S} UTC", relative(instant - time.time())
    )


def relative(seconds: float) -> str:
    """Say how far away a time is: "in 7 days", "3 hours ago". `seconds` is negative in the past."""
    for unit, size in UNITS.items():
        if (number := round(abs(seconds) / size)) >= 1:
            amount = f"{number} {unit}{'s' if number > 1 else ''}"
            return f"in {amount}" if seconds > 0 else f"{amount} ago"
    return "in less than a minute" if seconds > 0 else "just now"
