"""The picture at the top of the page: what an operator notices."""

from .chart import Bar, Panel, bar_chart
from .report import number
from .subjects import OURS, STOCK, THREADED

TITLE = "What an operator notices: the same Prosody on stock server_epoll and on trochee"
NOTE = "In brackets: of stock. What is called gc 200 is stock with the setting gc = { threshold = 200 }. Less is better."
FAMILIES = {"stock": "stock server_epoll", "trochee": "trochee, epoll"}

ROWS = ((STOCK, "stock", "stock"), (f"{STOCK}-gc200", "stock, gc 200", "stock"), (OURS, "trochee", "trochee"), (THREADED, "with 1 I/O thread", "trochee"))

# title, shape, metric, what the figure is multiplied by, its unit and digits
PANELS = (
    ("2000 users log in at once: until all are online", "storm", "full_ms", 1e-3, "s", 1),
    ("meanwhile, delay of a message, 99th percentile", "storm", "full_pair_p99_ms", 1, "ms", 0),
    ("time for a stanza, users in pairs", "stanzas", "wall_us", 1, "µs", 0),
    ("time for a stanza, users who do different things", "mixed", "wall_us", 1, "µs", 0),
    ("memory of a session, with Prosody's own part", "storm", "session_bytes", 1e-3, "kB", 0),
    ("memory of an idle TLS connection, network layer", "tls-idle-crowd", "silent_bytes", 1e-3, "kB", 1),
)


def picture(results):
    """None where a figure is missing."""
    panels = []
    for title, shape, key, factor, unit, digits in PANELS:
        values = {name: results.value(shape, name, key) for name, _, _ in ROWS}
        if None in values.values():
            return None
        bars = [Bar(label, family, values[name], f"{number(values[name] * factor, digits)} {unit} ({values[name] / values[STOCK]:.2f})")
                for name, label, family in ROWS]
        panels.append(Panel(title, bars))
    return bar_chart(TITLE, NOTE, panels, FAMILIES)
