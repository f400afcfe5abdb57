"""docs/benchmarks.md and its charts, from the results of a full run."""

import sys

from .chart import Bar, Panel, bar_chart
from .report import number
from .shapes import GROUPS
from .subjects import FAMILIES, FLOOR, ROOT, STOCK

DOCS = ROOT / "docs"

HEAD = """\
# Benchmarks

<!-- Written by `benches/run --write-docs` from the results of `make bench`. Edit the harness, not this file. -->

What trochee costs, beside Prosody's own network backends and beside a bare C epoll loop that does nothing but echo, all
measured in one run on one machine. Speed is CPU time of the server process for a message, not messages in a second: it
is what a busy server runs out of, and it does not depend on how fast the load can ask. **Less is better everywhere.**
Read the ratios; the figures themselves belong to this machine.
"""

METHOD = """\
## How it is measured

`make bench` runs it again; [`benches/README.md`](../benches/README.md) says how to add a subject or a shape of load.

- Each sample is a fresh server process with one script, the same for every backend: `onincoming` writes back what it got.
  Stock backends are the unchanged modules of the installed Prosody, loaded in plain Lua; the garbage collector of every
  Lua server is set as Prosody sets it. There is no logging and no XML: the backend is the subject.
- Server and load are pinned to a core each, where there are two. The load is C, checks every byte, and never sleeps on
  its own core, so that no server pays for waking it.
- CPU time is read from the server's CPU clock at both ends of a window of {seconds:g} s after 0.3 s of warm-up: user and
  kernel, all threads. The kernel's part includes the loopback network, which is the larger part of the C loop's figure.
- Subjects of one shape run right after one another, {rounds} rounds, first place rotating; a figure is the median of the rounds.
- TLS: the context is the one that Prosody's `core.certmanager` makes by default; the client is OpenSSL with X25519 and
  AES-256-GCM for every subject. Certificates are self-signed, one in the chain. *n/a: no resumption*: every handshake
  with a ticket of the connection before was a full one.
- *n/a: 1024 descriptors*: select(2) cannot hold more.
"""


def write(results):
    """Writes the page and the charts. A partial run would make a page with holes, so it is refused."""
    if not results.complete():
        print("benches/run: the last results are not of a full run without failures; run `make bench` first", file=sys.stderr)
        return 1
    charts = DOCS / "benchmarks"
    charts.mkdir(parents=True, exist_ok=True)
    for group, (title, note) in GROUPS.items():
        (charts / f"{group}.svg").write_text(chart(results, group, title, note))
    (DOCS / "benchmarks.md").write_text("\n".join(page(results)) + "\n")
    if any(results.disturbed(shape.name, subject.name) for shape in results.shapes() for subject in results.subjects()):
        print("*** the page says that figures were disturbed: publish those of a quiet machine", file=sys.stderr)
    print("wrote docs/benchmarks.md and docs/benchmarks/*.svg")
    return 0


def columns(results, group):
    """(shape, metric) of a group: its columns in a table, its panels in a chart."""
    return [(shape, metric) for shape in results.shapes() for metric in shape.metrics
            if metric.compared and (metric.group or shape.group) == group]


def heading(shape, metric):
    several = sum(other.compared and other.group == metric.group for other in shape.metrics) > 1
    return f"{shape.title}, {metric.title}" if several else shape.title


def cell(results, subject, shape, metric):
    value = results.value(shape.name, subject.name, metric.key)
    if value is None:
        return results.absent(shape.name, subject.name)
    ratio = results.ratio(shape.name, subject.name, STOCK, metric.key)
    return f"{number(value, metric.digits)} ({ratio:.2f})" if ratio is not None else number(value, metric.digits)


def chart(results, group, title, note):
    panels = []
    for shape, metric in columns(results, group):
        bars = []
        for subject in results.subjects():
            value = results.value(shape.name, subject.name, metric.key)
            text = results.absent(shape.name, subject.name) if value is None else number(value, metric.digits)
            bars.append(Bar(subject.name, subject.family, value, text))
        panels.append(Panel(heading(shape, metric) + (f", {metric.unit}" if metric.unit else ""), bars))
    return bar_chart(title, note.split(". ")[0].rstrip(".") + ". Less is better.", panels, FAMILIES)


def markdown_table(rows):
    head, *body = rows
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|--:" * (len(head) - 1) + "|"
    for row in body:
        yield "| " + " | ".join(row) + " |"
    yield ""


def page(results):
    yield HEAD
    yield from budget(results)
    for group, (title, note) in GROUPS.items():
        yield f"## {title}\n"
        yield f"{note}\n"
        yield f"![{title}](benchmarks/{group}.svg)\n"
        shown = columns(results, group)
        unit = shown[0][1].unit
        yield from markdown_table(
            [[f"{unit} (of stock server_epoll)", *(heading(shape, metric) for shape, metric in shown)]]
            + [[subject.title, *(cell(results, subject, shape, metric) for shape, metric in shown)]
               for subject in results.subjects()])
        if group == "echo":
            yield from latency(results, [shape for shape, _ in shown])
    yield METHOD.format(**results.data)
    yield from machine(results)


def budget(results):
    yield "## The budget\n"
    rows = [["trochee on epoll", "is", ""]]
    for line, words, figure, kept in results.budget():
        rows.append([words, number(figure, 2 if line.against else 0), "kept" if kept else "**not kept**"])
    yield from markdown_table(rows)


def latency(results, shapes):
    yield "Time from sending a message to having it back, median and 99th percentile, in µs, with every connection always asking:\n"
    rows = [["", *(shape.title for shape in shapes)]]
    for subject in results.subjects():
        row = [subject.title]
        for shape in shapes:
            p50, p99 = (results.value(shape.name, subject.name, key) for key in ("p50_us", "p99_us"))
            row.append("n/a" if p50 is None else f"{number(p50, 0)} / {number(p99, 0)}")
        rows.append(row)
    yield from markdown_table(rows)


def machine(results):
    facts = results.data["machine"]
    virtual = ", virtual" if facts["hypervisor"] else ""
    pinned = "server and load pinned to one each" if facts["pinned"] else "shared by server and load"
    disturbed = [results.disturbed(shape.name, subject.name) for shape in results.shapes() for subject in results.subjects()
                 if results.value(shape.name, subject.name, "server_waited") is not None]
    spreads = [spread for shape in results.shapes() for subject in results.subjects() for metric in shape.metrics
               if metric.compared and (spread := results.spread(shape.name, subject.name, metric.key)) is not None]
    yield "## The machine\n"
    yield f"- {facts['processor']}{virtual}; {facts['cores']} cores, {pinned}"
    yield f"- {facts['system']}, Linux {facts['kernel']}"
    yield f"- Prosody {facts['prosody']}, {(facts['lua'] or 'Lua').split('  ')[0]}"
    yield f"- trochee {facts['trochee'] or 'without a commit'}, {facts['rust']}; C loop: {facts['c']}, -O2"
    yield f"- {facts['date']}; {results.data['rounds']} rounds; spread of the rounds ±{max(spreads, default=0) * 100:.0f} % at most"
    if any(disturbed):
        yield f"- {sum(disturbed)} of {len(disturbed)} figures were disturbed: another process held the server's core"
