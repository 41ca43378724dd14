"""The median of several rounds, with a confidence interval."""

from math import comb
from statistics import median


def interval(values: list[float]) -> tuple[float, float, float]:
    """Return the median and its 95 % interval, from order statistics, which assume no distribution of the values."""
    ordered, number = sorted(values), len(values)
    rank, outside = 0, 0.5**number
    while outside <= 0.025 and rank < number // 2:
        rank += 1
        outside += comb(number, rank) * 0.5**number
    return median(ordered), ordered[max(rank - 1, 0)], ordered[-max(rank, 1)]


def verdict(values: list[float], goal: float) -> str:
    """Say whether the median is at most the goal: "met" only if the whole interval is."""
    _, low, high = interval(values)
    return "met" if high <= goal else "missed" if low > goal else "unresolved"


def shown(values: list[float], digits: int = 2) -> str:
    middle, low, high = interval(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
