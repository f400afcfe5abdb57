"""Bar charts as SVG, written by hand: no library, and a diff of a chart reads as a diff of its figures.

A chart carries its own background, so it is legible on a light and on a dark page, and follows the reader's setting.
"""

from dataclasses import dataclass
from html import escape

WIDTH = 760
MARGIN = 20
GAP = 28  # between panels
ROW = 22
BAR = 14
LABELS = 124  # room for the names of the subjects
VALUES = 62  # room for the figure behind the longest bar, at least
CHARACTER = 7  # of a figure

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f; }
  .title { font-size: 15px; font-weight: 600; }
  .panel { font-weight: 600; }
  .quiet { fill: #57606a; }
  .value { font-variant-numeric: tabular-nums; }
  .card { fill: #ffffff; stroke: #d0d7de; }
  .axis { stroke: #d0d7de; }
  .floor { fill: #8c959f; } .peer { fill: #8a9a5b; } .stock { fill: #8fb8e8; } .trochee { fill: #c2410c; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9da7b3; }
    .card { fill: #0d1117; stroke: #30363d; }
    .axis { stroke: #30363d; }
    .floor { fill: #6e7681; } .peer { fill: #7d8c4f; } .stock { fill: #4a7ab5; } .trochee { fill: #f0883e; }
  }
"""


@dataclass(frozen=True)
class Bar:
    label: str
    family: str
    value: float | None
    text: str  # the figure, or why there is none


@dataclass(frozen=True)
class Panel:
    title: str
    bars: list


def bar_chart(title, note, panels, families):
    """A chart of panels, two in a row; each has its own scale from zero. `families` names the colours."""
    across = 1 if len(panels) == 1 else 2
    width = (WIDTH - 2 * MARGIN - (across - 1) * GAP) / across
    height = 30 + ROW * max(len(panel.bars) for panel in panels)
    top = MARGIN + 64
    rows = -(-len(panels) // across)
    total = top + rows * height + (rows - 1) * GAP / 2 + MARGIN

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total:.0f}" width="{WIDTH}" height="{total:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{total - 1:.0f}" rx="6"/>',
        f'<text class="title" x="{MARGIN}" y="{MARGIN + 12}">{escape(title)}</text>',
        f'<text class="quiet" x="{MARGIN}" y="{MARGIN + 31}">{escape(note)}</text>',
    ]
    x = MARGIN
    for family, name in families.items():
        lines.append(f'<rect class="{family}" x="{x}" y="{MARGIN + 42}" width="10" height="10" rx="2"/>')
        lines.append(f'<text class="quiet" x="{x + 15}" y="{MARGIN + 51}">{escape(name)}</text>')
        x += 15 + 7 * len(name) + 18
    for i, panel in enumerate(panels):
        left = MARGIN + (i % across) * (width + GAP)
        lines += draw(panel, left, top + (i // across) * (height + GAP / 2), width)
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def draw(panel, x, y, width):
    start = x + LABELS
    widest = max((len(bar.text) for bar in panel.bars if bar.value is not None), default=0)
    room = width - LABELS - max(VALUES, CHARACTER * widest + 10)
    longest = max((bar.value for bar in panel.bars if bar.value is not None), default=0) or 1
    yield f'<text class="panel" x="{x:.0f}" y="{y + 16:.0f}">{escape(panel.title)}</text>'
    y += 24
    yield f'<line class="axis" x1="{start:.0f}" x2="{start:.0f}" y1="{y:.0f}" y2="{y + ROW * len(panel.bars):.0f}"/>'
    for i, bar in enumerate(panel.bars):
        middle = y + ROW * i + ROW / 2
        yield f'<text x="{start - 8:.0f}" y="{middle + 4:.0f}" text-anchor="end">{escape(bar.label)}</text>'
        length = 0
        if bar.value is not None:
            length = max(room * max(bar.value, 0) / longest, 1)
            yield (f'<rect class="{bar.family}" x="{start:.0f}" y="{middle - BAR / 2:.0f}" width="{length:.1f}" '
                   f'height="{BAR}" rx="2"/>')
        quiet = "quiet" if bar.value is None else "value"
        yield f'<text class="{quiet}" x="{start + length + 6:.0f}" y="{middle + 4:.0f}">{escape(bar.text)}</text>'
