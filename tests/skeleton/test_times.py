"""Times in words."""

import re
import time

import pytest

from app.times import relative, when

HOUR, DAY = 3_600, 86_400


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (7 * DAY - 0.1, "in 7 days"),
        (DAY, "in 1 day"),
        (90 * DAY, "in 3 months"),
        (3_650 * DAY, "in 10 years"),
        (1.4 * HOUR, "in 1 hour"),
        (59 * 60 + 40, "in 1 hour"),
        (29, "in less than a minute"),
        (0, "just now"),
        (-29, "just now"),
        (-31, "1 minute ago"),
        (-2 * HOUR, "2 hours ago"),
    ],
)
def test_a_time_is_shown_in_words(seconds: float, said: str) -> None:
    assert relative(seconds) == said


def test_the_exact_time_is_in_the_title() -> None:
    assert when(1_700_000_000) == (
        '<time datetime="2023-11-14T22:13:20+00:00" title="14 November 2023, 22:13:20 UTC">'
        f"{relative(1_700_000_000 - time.time())}</time>"
    )
    assert re.search(">in 7 days<", when(time.time() + 7 * DAY))
