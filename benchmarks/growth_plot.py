"""Draws `growth.svg`: small multiples of ratios. Its colours can be read on white and on black."""

from dataclasses import dataclass, field
from html import escape
from math import ceil, floor, log2

COLOURS = {"bare": "#7d8590", "memory": "#0b8f6a", "SQLite": "#2f7de1", "Redis": "#d9632b"}
TEXT, GRID = "#7d8590", "#7d859055"
WIDTH, HEIGHT, LEFT, TOP, GAP_X, GAP_Y = 175, 130, 50, 104, 30, 84  # size of a panel, and its margins


@dataclass
class Panel:
    """One plot: for each store the ratios at each of the values."""

    title: str
    row: str
    values: list[int]
    lines: dict[str, list[float]] = field(default_factory=dict)


def draw(panels: list[Panel]) -> str:
    """Return the SVG: a column for each title, a row for each kind of load."""
    titles, rows = list(dict.fromkeys(p.title for p in panels)), list(dict.fromkeys(p.row for p in panels))
    ratios = [log2(ratio) for panel in panels for line in panel.lines.values() for ratio in line]
    low, high = floor(min(*ratios, -1)), ceil(max(*ratios, 1))
    width = LEFT + len(titles) * (WIDTH + GAP_X)
    height = TOP + len(rows) * (HEIGHT + GAP_Y) - 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12">',
        "<title>CPU time of the server per request, as a ratio to the leftmost point of each plot</title>",
        *legend(sorted({store for panel in panels for store in panel.lines}, key=list(COLOURS).index)),
    ]
    for number, row in enumerate(rows):
        parts.append(text(0, TOP - 32 + number * (HEIGHT + GAP_Y), row.capitalize(), "start", bold=True))
    for panel in panels:
        x = LEFT + titles.index(panel.title) * (WIDTH + GAP_X)
        y = TOP + rows.index(panel.row) * (HEIGHT + GAP_Y)
        parts += [f'<g transform="translate({x} {y})">', *plot(panel, low, high, scale=x == LEFT), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def legend(stores: list[str]) -> list[str]:
    parts = [text(0, 16, "CPU time per request, as a ratio to the leftmost point of each plot", "start")]
    for number, store in enumerate(stores):
        x = number * 90
        parts.append(f'<line x1="{x}" y1="34" x2="{x + 22}" y2="34" stroke="{COLOURS[store]}" stroke-width="2.5"/>')
        parts.append(text(x + 28, 38, store, "start"))
    return parts


def plot(panel: Panel, low: int, high: int, *, scale: bool) -> list[str]:
    def y(ratio: float) -> float:
        return HEIGHT * (high - log2(ratio)) / (high - low)

    step = WIDTH / (len(panel.values) - 1) if len(panel.values) > 1 else 0.0
    parts = [text(0, -10, panel.title, "start")]
    for power in range(low, high + 1):
        dash = "" if power == 0 else ' stroke-dasharray="2 3"'
        at = y(2.0**power)
        parts.append(f'<line x1="0" y1="{at:.1f}" x2="{WIDTH}" y2="{at:.1f}" stroke="{GRID}"{dash}/>')
        if scale:
            parts.append(text(-6, at + 4, f"×{2.0**power:g}", "end"))
    for number, value in enumerate(map(short, panel.values)):
        anchor = "start" if number == 0 else "end" if number == len(panel.values) - 1 else "middle"
        parts.append(text(number * step, HEIGHT + 17, value, anchor))
    for store, line in panel.lines.items():
        points = [(number * step, y(ratio)) for number, ratio in enumerate(line)]
        path = " ".join(f"{x:.1f},{at:.1f}" for x, at in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[store]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{at:.1f}" r="3" fill="{COLOURS[store]}"/>' for x, at in points]
    return parts


def short(value: int) -> str:
    """Return a number with a short unit prefix, such as 100 k, because there is little room."""
    if value < 1_000:
        return str(value)
    return f"{value // 1_000} k" if value < 1_000_000 else f"{value // 1_000_000} M"


def text(x: float, y: float, content: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{TEXT}" text-anchor="{anchor}"{weight}>{escape(content)}</text>'
