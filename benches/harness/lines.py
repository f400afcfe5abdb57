"""Line charts over time as SVG, in the manner of chart.py: one panel below the other, all with the same time."""

import math
from dataclasses import dataclass
from html import escape

from .chart import MARGIN, STYLE, WIDTH

LABELS = 58  # room for the scale
HEIGHT = 92  # of a panel's plot
GAP = 40  # between panels, with the title of the next

LINE_STYLE = """
  .line { fill: none; stroke-width: 1.2; stroke-linejoin: round; }
  .line.trochee { stroke: #c2410c; fill: none; } .line.stock { stroke: #4a7ab5; fill: none; }
  .bar { stroke: #8c959f; stroke-dasharray: 4 3; }
  .cycle { fill: #57606a; opacity: 0.08; }
  @media (prefers-color-scheme: dark) {
    .line.trochee { stroke: #f0883e; } .line.stock { stroke: #8fb8e8; }
    .bar { stroke: #9da7b3; }
    .cycle { fill: #9da7b3; opacity: 0.12; }
  }
"""


@dataclass(frozen=True)
class Plot:
    title: str
    family: str
    points: list  # (seconds, value), in order
    bar: float | None = None  # a line across: what is not to be exceeded
    logarithmic: bool = False


def line_chart(title, note, plots, end, bands):
    """`end`: seconds that all plots show; `bands`: (from, to) of spans to be shaded."""
    top = MARGIN + 62
    total = top + len(plots) * (HEIGHT + GAP) + 4
    width = WIDTH - 2 * MARGIN - LABELS
    left = MARGIN + LABELS

    def across(seconds):
        return left + width * min(max(seconds / end, 0), 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total:.0f}" width="{WIDTH}" height="{total:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}{LINE_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{total - 1:.0f}" rx="6"/>',
        f'<text class="title" x="{MARGIN}" y="{MARGIN + 12}">{escape(title)}</text>',
        f'<text class="quiet" x="{MARGIN}" y="{MARGIN + 31}">{escape(note)}</text>',
    ]
    for number, plot in enumerate(plots):
        y = top + number * (HEIGHT + GAP)
        lines.append(f'<text class="panel" x="{MARGIN}" y="{y - 8:.0f}">{escape(plot.title)}</text>')
        for begin, finish in bands:
            lines.append(f'<rect class="cycle" x="{across(begin):.1f}" y="{y:.0f}" '
                         f'width="{across(finish) - across(begin):.1f}" height="{HEIGHT}"/>')
        lines += draw(plot, y, across, left, width)
    y = total - GAP + 14
    for part in range(5):
        seconds = end * part / 4
        anchor = {0: "start", 4: "end"}.get(part, "middle")
        lines.append(f'<text class="quiet" x="{across(seconds):.0f}" y="{y:.0f}" text-anchor="{anchor}">{seconds / 60:.1f} min</text>')
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def draw(plot, y, across, left, width):
    values = [value for _, value in plot.points]
    most = max([*values, plot.bar or 0, 1e-9])
    least = max(min([value for value in values if value > 0], default=0.1), most / 1e5)
    low, high = (math.floor(math.log10(least)), math.ceil(math.log10(most) - 1e-9)) if plot.logarithmic else (0, most * 1.05)
    high = high if high > low else low + 1

    def up(value):
        value = math.log10(max(value, 10 ** low)) if plot.logarithmic else value
        return y + HEIGHT * (1 - (value - low) / (high - low))

    marks = [10 ** power for power in range(low, high + 1)] if plot.logarithmic else [0, most / 2, most]
    for mark in marks:
        yield f'<line class="axis" x1="{left}" x2="{left + width}" y1="{up(mark):.1f}" y2="{up(mark):.1f}"/>'
        yield f'<text class="quiet" x="{left - 6}" y="{up(mark) + 4:.1f}" text-anchor="end">{float(f"{mark:.3g}"):g}</text>'
    if plot.bar is not None:
        yield f'<line class="bar" x1="{left}" x2="{left + width}" y1="{up(plot.bar):.1f}" y2="{up(plot.bar):.1f}"/>'
    path = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in highest(plot.points, across))
    yield f'<polyline class="line {plot.family}" points="{path}"/>'


def highest(points, across):
    """Of what falls on one place, the highest value."""
    column, best = None, None
    for at, value in points:
        if column == int(across(at)):
            best = max(best, (at, value), key=lambda point: point[1])
            continue
        if best:
            yield best
        column, best = int(across(at)), (at, value)
    if best:
        yield best
