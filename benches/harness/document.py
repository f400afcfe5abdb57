"""docs/benchmarks.md and its charts, from the results of a full run."""

import sys

from .chart import Bar, Panel, bar_chart
from .report import budgeted, number
from .shapes import GROUPS
from .subjects import FAMILIES, FLOOR, ROOT, STOCK

DOCS = ROOT / "docs"

HEAD = """\
# Benchmarks

<!-- Written by `benches/run --write-docs` from the results of `make bench`. Edit the harness, not this file. -->

What trochee costs, compared with Prosody's own network backends and with a bare C epoll loop that only echoes. Everything is
measured in one run on one machine. Speed is given as CPU time of the server process for a message, not as messages in a second: CPU
time is what a busy server runs out of, and it does not depend on how fast the load can ask. **Less is better everywhere.**
Read the ratios. The figures themselves are those of this machine.
"""

METHOD = """\
## How it is measured

`make bench` runs it again; [`benches/README.md`](../benches/README.md) says how to add a subject or a shape of load.

- Each sample is a fresh server process with one script, the same for every backend: `onincoming` writes back what it got.
  Stock backends are the unchanged modules of the installed Prosody, loaded in plain Lua. The garbage collector of every Lua
  server is set as Prosody sets it. trochee then lets it work less often ([gc_headroom](settings.md#the-collector)), as it does in
  Prosody. The rows "gc threshold 200" show how much of this an operator can have on stock. There is no logging and no XML, because the
  backend is what is measured.
- Server and load are pinned to one core each, where there are two. The load is written in C, over TLS in Rust. It checks every byte,
  and never sleeps on its own core, so that no server pays for waking it.
- CPU time is read from the server's CPU clock at both ends of a window of {seconds:g} s after 0.3 s of warm-up: user and
  kernel, all threads. The kernel's part includes the loopback network, which is the larger part of the C loop's figure.
- Subjects of one shape run right after one another, {rounds} rounds, first place rotating; a figure is the median of all samples, one a
  round, of the echo with 50 and 400 connections and over TLS four.
- TLS: the context is the one that Prosody's `core.certmanager` makes by default; the client, rustls, offers X25519 and
  AES-256-GCM to every subject. Certificates are self-signed, one in the chain. *n/a: no resumption* means that every handshake with a
  ticket of the connection before was a full one.
- The Lua thread's share is what the kernel has counted for the process's main thread, exact to a tick of its scheduler.
- A real Prosody, and the relays: server and load share both cores. Prosody has its own defaults, garbage collection included, except
  for a queue of 4096 connections that wait to be accepted. Accounts are stored hashed, and clients log in by SCRAM-SHA-1. The table has
  the load's own CPU per login, because it is spent on the same two cores.
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


def columns(results, group, kind="compared"):
    """(shape, metric) of a group: its columns in a table, its panels in a chart. Of `kind` "shown": those of its second table."""
    return [(shape, metric) for shape in results.shapes() for metric in shape.metrics
            if getattr(metric, kind) and (metric.group or shape.group) == group]


def rows_of(results, columns):
    """The subjects that have a place in one of the columns."""
    return [subject for subject in results.subjects()
            if any(results.samples(shape.name, subject.name) or results.absent(shape.name, subject.name) != "n/a"
                   for shape, _ in columns)]


def headings(columns):
    """A column is named by its shape, by its metric, or by both: by what it does not share with all others. Units follow where
    they differ."""
    shapes, metrics, units = ({part(column) for column in columns} for part in (
        lambda column: column[0].title, lambda column: column[1].title, lambda column: column[1].unit))
    for shape, metric in columns:
        parts = [shape.title] if len(shapes) > 1 or len(metrics) == 1 else []
        parts += [metric.title] if len(metrics) > 1 else []
        yield ", ".join(parts) + (f", {metric.unit}" if len(units) > 1 and metric.unit else "")


def cell(results, subject, shape, metric):
    value = results.value(shape.name, subject.name, metric.key)
    if value is None:
        return results.absent(shape.name, subject.name)
    ratio = results.ratio(shape.name, subject.name, STOCK, metric.key) if metric.compared else None
    return f"{number(value, metric.digits)} ({ratio:.2f})" if ratio is not None else number(value, metric.digits)


def chart(results, group, title, note):
    panels = []
    shown = columns(results, group)
    units = {metric.unit for _, metric in shown}
    for (shape, metric), head in zip(shown, headings(shown)):
        bars = []
        for subject in rows_of(results, shown):
            value = results.value(shape.name, subject.name, metric.key)
            text = results.absent(shape.name, subject.name) if value is None else number(value, metric.digits)
            bars.append(Bar(subject.name, subject.family, value, text))
        panels.append(Panel(head + (f", {metric.unit}" if len(units) == 1 and metric.unit else ""), bars))
    return bar_chart(title, note.split(". ")[0].rstrip(".") + ". Less is better.", panels, FAMILIES)


def markdown_table(rows):
    head, *body = rows
    yield "| " + " | ".join(head) + " |"
    yield "|---" + "|--:" * (len(head) - 1) + "|"
    for row in body:
        yield "| " + " | ".join(row) + " |"
    yield ""


def has_stock(subjects):
    return any(subject.name == STOCK for subject in subjects)


def page(results):
    yield HEAD
    yield from budget(results)
    for group, (title, note) in GROUPS.items():
        yield f"## {title}\n"
        yield f"{note}\n"
        yield f"![{title}](benchmarks/{group}.svg)\n"
        shown = columns(results, group)
        subjects = rows_of(results, shown)
        units = {metric.unit for _, metric in shown}
        words = " ".join((*(units if len(units) == 1 else ()), *(["(of stock server_epoll)"] if has_stock(subjects) else ())))
        yield from markdown_table(
            [[words, *headings(shown)]]
            + [[subject.title, *(cell(results, subject, shape, metric) for shape, metric in shown)] for subject in subjects])
        more = columns(results, group, "shown")
        if more:
            yield from markdown_table(
                [["", *headings(more)]]
                + [[subject.title, *(cell(results, subject, shape, metric) for shape, metric in more)] for subject in subjects])
        if group == "echo":
            yield from latency(results, [shape for shape, _ in shown])
    yield METHOD.format(**results.data)
    yield from machine(results)


def budget(results):
    yield "## The budget\n"
    rows = [["trochee on epoll", "is", ""]]
    for _, words, figure, kept in results.budget():
        rows.append([words, budgeted(figure), "kept" if kept else "**not kept**"])
    yield from markdown_table(rows)


def latency(results, shapes):
    yield "Time from sending a message to having it back, median and 99th percentile, in µs, with every connection always asking:\n"
    rows = [["", *(shape.title for shape in shapes)]]
    for subject in rows_of(results, [(shape, None) for shape in shapes]):
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
    if facts["load_before"] > 0.5:
        yield f"- not a quiet machine: load average {facts['load_before']:.1f} before the run"
    if any(disturbed):
        yield f"- {sum(disturbed)} of {len(disturbed)} figures were disturbed: another process held the server's core"
