"""docs/benchmarks.md and its charts, from the results of a full run."""

import re
import sys

from . import overview
from .chart import Bar, Panel, bar_chart
from .measure import not_applicable
from .report import budgeted, number
from .shapes import GROUPS, SHAPES
from .subjects import FAMILIES, ROOT, STOCK, SUBJECTS

DOCS = ROOT / "docs"

HEAD = """\
# Benchmarks

<!-- Written by `benches/run --write-docs` from the results of `make bench`. Edit the harness, not this file. -->

What trochee costs, compared with Prosody's own network backends and with a bare C epoll loop that only echoes. Everything is
measured in one run on one machine. Speed is given as CPU time of the server process for a message, not as messages in a second: CPU
time is what a busy server runs out of, and it does not depend on how fast the load can ask. **Less is better everywhere.**
Read the ratios. The figures themselves are those of this machine.

![{overview}](benchmarks/overview.svg)
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
    """Writes the page and the charts; of a run of some shapes the sections of which it has all, into the page as it is."""
    if results.data["failures"]:
        print("benches/run: the last run had failures, and a page with holes is none", file=sys.stderr)
        return 1
    groups = [group for group in GROUPS if results.complete() or is_whole(results, group)]
    if not groups:
        print("benches/run: the last results have no section of the page whole; run `make bench`, or all shapes of a section", file=sys.stderr)
        return 1
    charts, file = DOCS / "benchmarks", DOCS / "benchmarks.md"
    charts.mkdir(parents=True, exist_ok=True)
    for group in groups:
        title, note = GROUPS[group]
        (charts / f"{group}.svg").write_text(chart(results, group, title, note))
    if picture := overview.picture(results):
        (charts / "overview.svg").write_text(picture)
    if results.complete():
        file.write_text("\n".join(page(results)) + "\n")
    else:
        file.write_text(with_sections(file.read_text(), {group: section(results, group, apart=True) for group in groups}))
    if any(disturbed(results, results.shapes())):
        print("*** the page says that figures were disturbed: publish those of a quiet machine", file=sys.stderr)
    print(f"wrote docs/benchmarks.md: {', '.join(groups)}")
    return 0


def is_whole(results, group):
    """Whether a run has each figure of a section."""
    shapes = [shape for shape in SHAPES if any((metric.group or shape.group) == group for metric in shape.metrics)]
    return all(results.samples(shape.name, subject.name) or results.absent(shape.name, subject.name) != "not measured"
               for shape in shapes for subject in SUBJECTS if not not_applicable(subject, shape))


def with_sections(page, sections):
    """The page with these sections in their places: each before the next one of the page that is there."""
    order = [title for title, _ in GROUPS.values()]
    parts = re.split(r"^(?=## )", page, flags=re.M)
    for group, lines in sections.items():
        title, text = GROUPS[group][0], "\n".join(lines) + "\n"
        parts = [part for part in parts if not part.startswith(f"## {title}\n")]
        behind = [f"## {other}\n" for other in [*order[order.index(title) + 1:], "How it is measured"]]
        at = next(number for number, part in enumerate(parts) if part.startswith(tuple(behind)))
        parts.insert(at, text)
    return "".join(parts)


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
    yield HEAD.format(overview=overview.TITLE)
    yield from budget(results)
    for group in GROUPS:
        yield from section(results, group)
    yield METHOD.format(**results.data)
    yield from machine(results)


def section(results, group, apart=False):
    title, note = GROUPS[group]
    yield f"## {title}\n"
    yield f"{note}\n"
    shown = columns(results, group)
    if apart:
        yield f"{when(results, {shape for shape, _ in shown})}\n"
    yield f"![{title}](benchmarks/{group}.svg)\n"
    subjects = rows_of(results, shown)
    units = {metric.unit for _, metric in shown}
    words = " ".join((*(units if len(units) == 1 else ()), *(["(of stock server_epoll)"] if has_stock(subjects) else ())))
    yield from markdown_table(
        [[words, *headings(shown)]]
        + [[subject.title, *(cell(results, subject, shape, metric) for shape, metric in shown)] for subject in subjects])
    more = columns(results, group, "shown")
    if more:
        # Headings name a metric where there are several.
        metrics = {f"{metric.title}, {metric.unit}".rstrip(", ") for _, metric in more}
        yield from markdown_table(
            [[metrics.pop() if len(metrics) == 1 else "", *headings(more)]]
            + [[subject.title, *(cell(results, subject, shape, metric) for shape, metric in more)] for subject in subjects])
    if group == "echo":
        yield from latency(results, [shape for shape, _ in shown])


def when(results, shapes):
    """Of a section that was measured apart from the rest: what the page says of the machine holds for it, but for this."""
    facts = results.data["machine"]
    words = [f"Measured apart from the rest of this page, on {facts['date']}, with trochee {facts['trochee'] or 'without a commit'}: "
             f"{results.data['rounds']} rounds, spread ±{spread(results, shapes) * 100:.0f} % at most."]
    if facts["load_before"] > 0.5:
        words.append(f"The load average was {facts['load_before']:.1f} before the run.")
    if any(figures := disturbed(results, shapes)):
        words.append(f"Another process held the server's core in {sum(figures)} of {len(figures)} cases.")
    return " ".join(words)


def disturbed(results, shapes):
    """Whether another process held the server's core, for each figure that may tell."""
    return [results.disturbed(shape.name, subject.name) for shape in shapes for subject in results.subjects()
            if results.value(shape.name, subject.name, "server_waited") is not None]


def spread(results, shapes):
    """The largest."""
    return max((found for shape in shapes for subject in results.subjects() for metric in shape.metrics
                if metric.compared and (found := results.spread(shape.name, subject.name, metric.key)) is not None), default=0)


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
    figures = disturbed(results, results.shapes())
    yield "## The machine\n"
    yield f"- {facts['processor']}{virtual}; {facts['cores']} cores, {pinned}"
    yield f"- {facts['system']}, Linux {facts['kernel']}"
    yield f"- Prosody {facts['prosody']}, {(facts['lua'] or 'Lua').split('  ')[0]}"
    yield f"- trochee {facts['trochee'] or 'without a commit'}, {facts['rust']}; C loop: {facts['c']}, -O2"
    yield f"- {facts['date']}; {results.data['rounds']} rounds; spread of the rounds ±{spread(results, results.shapes()) * 100:.0f} % at most"
    if facts["load_before"] > 0.5:
        yield f"- not a quiet machine: load average {facts['load_before']:.1f} before the run"
    if any(figures):
        yield f"- {sum(figures)} of {len(figures)} figures were disturbed: another process held the server's core"
