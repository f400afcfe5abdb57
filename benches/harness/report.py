"""The terminal's view of the results."""

from .subjects import FLOOR, STOCK


def number(value, digits):
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def budgeted(figure):
    """A figure beside its limit, with the decimals that its size needs."""
    return number(figure, 2 if figure < 100 else 0)


def percent(value):
    return "" if value is None else f"±{value * 100:.0f} %"


def columns(rows, indent="  "):
    """Left-aligned first column, the others right-aligned."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    for row in rows:
        first, *rest = row
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:]))]
        yield indent + "  ".join(cells).rstrip()


def table(results, shape, metric):
    others = [other for other in shape.metrics if not other.compared and other.group in ("", metric.group)]
    yield f"{shape.name}: {metric.title}" + (f", {metric.unit}" if metric.unit else "")
    rows = [["", metric.unit, "spread", "× stock", "× C", *(other.title for other in others), "server busy"]]
    for subject in results.subjects():
        value = results.value(shape.name, subject.name, metric.key)
        if value is None:
            reason = results.absent(shape.name, subject.name)
            if reason != "n/a":
                rows.append([subject.name, reason])
            continue
        busy = results.value(shape.name, subject.name, "server_busy")
        rows.append([
            subject.name,
            number(value, metric.digits),
            percent(results.spread(shape.name, subject.name, metric.key)),
            number(results.ratio(shape.name, subject.name, STOCK, metric.key), 2),
            number(results.ratio(shape.name, subject.name, FLOOR, metric.key), 2),
            *(number(results.value(shape.name, subject.name, other.key), other.digits) for other in others),
            "" if busy is None else f"{busy * 100:.0f} %" + (" !" if results.disturbed(shape.name, subject.name) else ""),
        ])
    # A reason in words must not widen the column of figures.
    reasons = {row[0]: row[1] for row in rows[1:] if len(row) == 2}
    lines = list(columns([row if len(row) > 2 else [row[0], ""] for row in rows]))
    for line, row in zip(lines, rows):
        yield f"  {row[0].ljust(max(len(r[0]) for r in rows))}  {reasons[row[0]]}" if row[0] in reasons else line
    yield ""


def budget(results):
    yield "budget (trochee-epoll)"
    rows = []
    for _, words, figure, kept in results.budget():
        state = "not measured" if figure is None else f"{budgeted(figure)} {'ok' if kept else 'OVER BUDGET'}"
        rows.append(f"  {words}: {state}")
    yield from rows


def report(results):
    for shape in results.shapes():
        for metric in shape.metrics:
            if metric.compared:
                yield from table(results, shape, metric)
    if any(results.disturbed(shape.name, subject.name) for shape in results.shapes() for subject in results.subjects()):
        yield "! another process held the server's core for more than 5 % of the window: measure on a quiet machine"
        yield ""
    yield from budget(results)
