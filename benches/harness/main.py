"""The run: rounds of shapes of subjects, interleaved, then the report."""

import argparse
import json
import os
import sys
import time
from fnmatch import fnmatch

from . import document, machine, measure, report
from .results import Results
from .shapes import SHAPES
from .subjects import BUILD, STOCK, SUBJECTS, why_missing

RESULTS = BUILD / "results.json"


def arguments():
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__, epilog="BENCH_ROUNDS (3), BENCH_SECONDS (2): "
                                     "how often and how long. BENCH_STRICT=1: exit with 1 when the budget is not kept.")
    parser.add_argument("--subjects", metavar="GLOB,…", help="only these, for example 'c-epoll,trochee-*'")
    parser.add_argument("--shapes", metavar="GLOB,…", help="only these, for example 'ping-pong-*'")
    parser.add_argument("--skip-missing", action="store_true", help="go on without the subjects that cannot be loaded")
    parser.add_argument("--list", action="store_true", help="list subjects and shapes")
    parser.add_argument("--report", action="store_true", help="print the last results again")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and its charts from the last results")
    return parser.parse_args()


def chosen(rows, globs):
    """The rows whose name fits, in the table's order; a glob that fits nothing is a mistake."""
    if not globs:
        return rows
    patterns = globs.split(",")
    for pattern in patterns:
        if not any(fnmatch(row.name, pattern) for row in rows):
            sys.exit(f"benches/run: nothing is named {pattern!r}; see --list")
    return [row for row in rows if any(fnmatch(row.name, pattern) for pattern in patterns)]


def present(subjects, skip_missing):
    """The subjects that can be loaded. A missing one is an error: a table without it would look like a full one."""
    found, missing = [], []
    for subject in subjects:
        reason = why_missing(subject)
        if reason:
            missing.append(f"{subject.name}: {reason}")
        else:
            found.append(subject)
    for line in missing:
        print(f"*** {'NOT MEASURED' if skip_missing else 'MISSING'}: {line}", file=sys.stderr)
    if missing and not skip_missing:
        sys.exit("benches/run: build trochee with `make build`, install Prosody and lua-event, or give --skip-missing")
    return found


def run(subjects, shapes, rounds, seconds):
    facts = machine.facts()
    samples, absent, failures = {}, {}, []
    descriptors = measure.raise_descriptor_limit()
    if facts["load_before"] > 0.5:
        print(f"*** the machine is busy (load {facts['load_before']:.1f}): ratios hold better than figures", file=sys.stderr)
    if not facts["pinned"]:
        print("*** a single core: server and load share it", file=sys.stderr)

    plan = []
    for shape in shapes:
        for subject in subjects:
            reason = measure.not_applicable(subject, shape)
            if not reason and shape.connections + measure.SPARE_DESCRIPTORS > descriptors:
                reason = f"not measured: only {descriptors} descriptors allowed here"
            if reason:
                absent.setdefault(shape.name, {})[subject.name] = reason
            else:
                plan.append((shape, subject))

    started = time.monotonic()
    for turn in range(rounds):
        if not sys.stderr.isatty():
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
        for shape in shapes:
            # All subjects of a shape run right after one another, so that noise hits them alike; who is first rotates.
            row = [subject for planned, subject in plan if planned is shape]
            for subject in order(row, turn, shape.repeats):
                progress(f"round {turn + 1} of {rounds}: {shape.name} {subject.name}")
                try:
                    figures = measure.take(subject, shape, seconds)
                    samples.setdefault(shape.name, {}).setdefault(subject.name, []).append(figures)
                except measure.Absent as reason:
                    absent.setdefault(shape.name, {})[subject.name] = str(reason)
                except measure.Failed as failure:
                    failures.append(f"{shape.name} {subject.name}: {failure}")
                    absent.setdefault(shape.name, {})[subject.name] = "FAILED"
    progress("")
    return {
        "machine": facts,
        "rounds": rounds,
        "seconds": seconds,
        "took": round(time.monotonic() - started),
        "subjects": [subject.name for subject in subjects],
        "shapes": [shape.name for shape in shapes],
        "samples": samples,
        "absent": absent,
        "failures": failures,
    }


def order(row, turn, repeats):
    """All of a row so many times, each time with another first."""
    for first in range(turn, turn + repeats):
        yield from (row[(first + place) % len(row)] for place in range(len(row)))


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def load_results():
    if not RESULTS.exists():
        sys.exit("benches/run: no results yet; run `make bench` first")
    return Results(json.loads(RESULTS.read_text()))


def main():
    options = arguments()
    if options.list:
        for kind, rows in (("subjects", SUBJECTS), ("shapes", SHAPES)):
            print(f"{kind}: {', '.join(row.name for row in rows)}")
        return 0
    if options.write_docs:
        return document.write(load_results())
    if options.report:
        results = load_results()
        print("\n".join(report.report(results)))
        return 0

    measure.build()
    subjects = present(chosen(SUBJECTS, options.subjects), options.skip_missing)
    shapes = chosen(SHAPES, options.shapes)
    data = run(subjects, shapes, int(os.environ.get("BENCH_ROUNDS", 3)), float(os.environ.get("BENCH_SECONDS", 2)))
    results = Results(data)
    data["summary"] = summary(results)
    RESULTS.write_text(json.dumps(data, indent=1) + "\n")

    print("\n".join(report.report(results)))
    for failure in data["failures"]:
        print(f"*** FAILED {failure}", file=sys.stderr)
    over = [words for _, words, _, kept in results.budget() if kept is False]
    strict = os.environ.get("BENCH_STRICT") == "1"
    return 1 if data["failures"] or (strict and over) else 0


def summary(results):
    """The medians and the budget as data, for whoever reads the file without this program."""
    return {
        "medians": {
            shape.name: {
                subject.name: {metric.key: value for metric in shape.metrics
                               if (value := results.value(shape.name, subject.name, metric.key)) is not None}
                for subject in results.subjects()
            }
            for shape in results.shapes()
        },
        "ratios_to": STOCK,
        "budget": [{"line": words, "figure": figure, "limit": budget.limit, "kept": kept}
                   for budget, words, figure, kept in results.budget()],
    }
