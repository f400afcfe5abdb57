"""What a run found, in words and pictures."""

import math

from harness.chart import Bar, Panel, bar_chart
from harness.lines import Plot, line_chart
from harness.subjects import FAMILIES, ROOT

from .phases import PHASES
from .verdict import LIMIT_MS, NOISE, PER, warm_up

DOCS = ROOT / "docs"

HEAD = """\
# A soak

<!-- Written by `benches/soak/run --write-docs` from the results of `make soak`. Edit benches/soak/, not this file. -->

Strangers of all kinds come to a real Prosody, as many as it serves, and an honest client pings it fifty times a second meanwhile.
Nothing may grow with the number of strangers, and the honest client may not notice them.
[benches/soak/README.md](../benches/soak/README.md) says how it is done and how the verdict is made.
"""

WHAT = {
    "resident": ("Resident memory", "KiB", 1024),
    "lua": ("Lua's live memory", "KiB", 1024),
    "descriptors": ("Descriptors", "", 1),
    "sessions": ("Prosody's sessions", "", 1),
}


def family(results):
    return "stock" if "stock" in results["facts"]["backend"] else "trochee"


def title_of(phase):
    return {p.name: p.title for p in PHASES}.get(phase, phase)


def strangers(results):
    return sum(done["strangers"] for done in results["phases"])


def over_time(results):
    """The chart of everything over time."""
    begin, end = results["begun"], results["ended"]
    kind = family(results)

    def shown(points):
        return [(at - begin, value) for at, value in points if begin <= at <= end]
    pings = sorted((when, value) for what, when, value in results["honest"] if what == "ping")
    plots = [
        Plot("Resident memory, MiB", kind, shown((at, size / 2**20) for at, size, _ in results["samples"])),
        Plot("Descriptors", kind, shown((at, number) for at, _, number in results["samples"])),
        Plot("Memory of Lua's objects and garbage, MiB", kind,
             shown((at, size / 2**20) for at, word, size, *_ in results["lua"] if word == "running")),
        Plot("Prosody's sessions", kind, shown((at, sessions) for at, word, _, sessions, *_ in results["lua"] if word == "running")),
        Plot("Delay of a timer in Lua, ms: the longest in each half second", kind,
             shown((at, max(late * 1000, 0.1)) for at, word, *_, late in results["lua"] if word == "running"), logarithmic=True),
        Plot("Honest client: delay of a ping, ms, and what 99 of 100 may take", kind, shown(pings), LIMIT_MS, logarithmic=True),
    ]
    bands = []
    for cycle in range(1, results["facts"]["cycles"], 2):
        spans = [done for done in results["phases"] if done["cycle"] == cycle]
        if spans:
            bands.append((spans[0]["begun"] - begin, results["left"][cycle]["time"] - begin))
    return line_chart(f"{strangers(results):,} strangers: {FAMILIES[kind].split(',')[0]}, backend {results['facts']['backend']}",
                      "Every other cycle of all phases is shaded; the restarts are at the end.", plots, end - begin, bands)


def by_phase(results, judged):
    """The chart of the honest client."""
    kind = family(results)

    def panel(title, values):
        return Panel(title, [Bar(name, kind, None if math.isnan(value) else value, "n/a" if math.isnan(value) else f"{value:.1f}")
                             for name, value in values])
    return bar_chart("Delays of honest clients, by what the strangers do", "milliseconds; less is better", [
        panel("ping: median", [(d.phase, d.p50) for d in judged.delays]),
        panel("ping: 99 of 100", [(d.phase, d.p99) for d in judged.delays]),
        panel("login: median", [(d.phase, d.login_p50) for d in judged.delays]),
        panel("login: longest", [(d.phase, d.login_longest) for d in judged.delays]),
    ], {kind: FAMILIES[kind]})


def summary(results, judged):
    """In Markdown, without pictures."""
    facts = results["facts"]
    lines = [f"**{'Kept' if judged.kept else 'NOT kept'}**: {strangers(results):,} strangers in "
             f"{(results['ended'] - results['begun']) / 60:.1f} minutes, {facts['cycles']} cycles of "
             f"{len(judged.delays)} phases of {facts['seconds']:.1f} s; the first {warm_up(facts['cycles'])} of them are warm-up.", ""]
    lines += [f"- {complaint}" for complaint in judged.complaints]
    lines += ["", f"| growth for {PER:,} strangers | measured | ± two standard errors | allowed beside those |", "| --- | ---: | ---: | ---: |"]
    for growth in judged.growths:
        name, unit, scale = WHAT[growth.what]
        lines.append(f"| {name}{', ' + unit if unit else ''} | {growth.slope / scale:.2f} | {2 * growth.error / scale:.2f} "
                     f"| {NOISE[growth.what] / scale:g} |")
    lines += ["", "| phase | what strangers do | strangers | refused | ping: median, ms | 99 of 100 | longest | login: median | longest |",
              "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for d in judged.delays:
        done = [phase for phase in results["phases"] if phase["phase"] == d.phase]
        lines.append(f"| {d.phase} | {title_of(d.phase)} | {sum(p['strangers'] for p in done):,} | {sum(p['refused'] for p in done):,} "
                     f"| {d.p50:.1f} | {d.p99:.1f} | {d.longest:.0f} | {d.login_p50:.0f} | {d.login_longest:.0f} |")
    restarts = ", ".join(f"{restart['took']:.1f} s" for restart in results["restarts"])
    lines += ["", f"Without service at each restart, with all that Prosody itself takes to end and start: {restarts or 'none was made'}."]
    return "\n".join(lines)


def machine(results):
    facts = results["facts"]
    virtual = ", virtual" if facts["hypervisor"] else ""
    pinned = ("the server on one, the strangers and the honest clients on the other"
              if facts["pinned"] else "shared by server and load")
    return "\n".join([
        "## The machine\n",
        f"- {facts['processor']}{virtual}; {facts['cores']} cores, {pinned}",
        f"- {facts['system']}, Linux {facts['kernel']}",
        f"- Prosody {facts['prosody']} for backends of 0.12; {(facts['lua'] or 'Lua').split('  ')[0]}",
        f"- trochee {facts['trochee'] or 'without a commit'}; {facts['date']}; load average before the run {facts['load_before']:.1f}",
    ])


def pictures(results, judged):
    return {"time": over_time(results), "delays": by_phase(results, judged)}


def write(results, judged, folder):
    for name, picture in pictures(results, judged).items():
        (folder / f"{name}.svg").write_text(picture)
    images = "![over time](time.svg)\n\n![delays](delays.svg)"
    (folder / "report.md").write_text(f"# Soak: {results['facts']['backend']}\n\n{summary(results, judged)}\n\n{images}\n\n{machine(results)}\n")
    print(f"wrote {folder}/report.md and pictures beside it")


def write_docs(results, judged):
    (DOCS / "soak").mkdir(exist_ok=True)
    for name, picture in pictures(results, judged).items():
        (DOCS / "soak" / f"{name}.svg").write_text(picture)
    parts = [HEAD, summary(results, judged), "", "![Memory, descriptors and delays over time](soak/time.svg)", "",
             "![Delays of honest clients by phase](soak/delays.svg)", "", machine(results)]
    (DOCS / "soak.md").write_text("\n".join(parts) + "\n")
    print("wrote docs/soak.md and docs/soak/*.svg")
