"""The run: phases over and over, then restarts, then the verdict."""

import argparse
import json
import os
import shutil
import time

from harness import machine, measure
from harness.subjects import BUILD
from prosody_server import BACKENDS

from . import page, verdict
from .load import Honest, run_phase
from .phases import PHASES
from .server import C2S_TIMEOUT, Sampler, Server

SOAK = BUILD.parent / "soak"

PAUSE = 1  # seconds after a phase
SETTLING = C2S_TIMEOUT + 2  # seconds after a cycle, until what is left is looked at
CYCLES = (6, 10)  # at least for a verdict, and at most
SHORTEST = 2  # seconds of a phase
RESTARTS = 3


def arguments():
    parser = argparse.ArgumentParser(prog="benches/soak/run", description=__doc__)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES", 20)),
                        help="how long, about (SOAK_MINUTES; default: 20)")
    parser.add_argument("--backend", choices=BACKENDS, default=os.environ.get("SOAK_BACKEND", "epoll"),
                        help="SOAK_BACKEND; default: epoll, which is trochee on Prosody 0.12")
    parser.add_argument("--phases", help="only these, comma-separated")
    parser.add_argument("--report", action="store_true", help="the report of the last run again")
    parser.add_argument("--write-docs", action="store_true", help="docs/soak.md and its pictures, from the last run")
    return parser.parse_args()


def plan(minutes, phases):
    """(cycles, seconds of a phase) that fit into the time."""
    whole = minutes * 60 - RESTARTS * 5
    cycles = max(CYCLES[0], min(CYCLES[1], int(whole / (SETTLING + len(phases) * (SHORTEST + PAUSE)))))
    return cycles, max(SHORTEST, (whole / cycles - SETTLING) / len(phases) - PAUSE)


def settled(server):
    """What is left of a cycle."""
    time.sleep(SETTLING)
    lua, sessions, handles = server.settle()
    return {"time": time.monotonic(), "resident": server.resident(), "descriptors": server.descriptors(), "lua": lua,
            "sessions": sessions, "handles": handles}


def soak(server, phases, cycles, seconds, cores):
    done, left = [], []
    for cycle in range(cycles):
        for phase in phases:
            begun = time.monotonic()
            result = run_phase(server, phase, seconds, cores)
            ended = time.monotonic()
            time.sleep(PAUSE)
            done.append({"cycle": cycle, "phase": phase.name, "begun": begun, "ended": ended, **result})
            said = [f"{result[what]} {what}" for what in ("strangers", "refused", "stuck") if result[what]]
            said += [f"FAILED: {result['failed']}"] if "failed" in result else []
            print(f"{cycle + 1}/{cycles} {phase.name}: {', '.join(said)}; {server.resident() / 2**20:.1f} MiB", flush=True)
        came = sum(phase["strangers"] for phase in done)
        left.append({"strangers": came, **settled(server)})
        print("{0}/{1}: left of {strangers} strangers: {resident} bytes, {descriptors} descriptors, Lua {lua} bytes, "
              "{sessions} sessions".format(cycle + 1, cycles, **left[-1]), flush=True)
    return done, left


def restart(server, honest):
    """Seconds until the honest client is served again."""
    begun = time.monotonic()
    server.stop()
    server.start()
    honest.await_online()
    took = time.monotonic() - begun
    print(f"restart: the honest client is served again after {took:.2f} s", flush=True)
    return {"begun": begun, "took": took}


def run(options):
    phases = [phase for phase in PHASES if not options.phases or phase.name in options.phases.split(",")]
    cycles, seconds = plan(options.minutes, phases)
    folder = SOAK / options.backend
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    measure.raise_descriptor_limit()
    measure.build()
    backend = BACKENDS[options.backend]
    pinned = machine.pinning() if not backend.io_threads else None
    own, load = ({pinned[0]}, {pinned[1]}) if pinned else (None, None)
    print(f"{options.backend}: {cycles} cycles of {len(phases)} phases of {seconds:.1f} s", flush=True)
    server = Server(folder / "prosody", backend, own).start()
    facts = {**machine.facts(), "backend": options.backend, "seconds": seconds, "cycles": cycles, "pinned": pinned is not None}
    try:
        honest, sampler = Honest(server, load), Sampler(server)
        try:
            honest.await_online()
            begun = time.monotonic()
            done, left = soak(server, phases, cycles, seconds, load)
            restarts = [restart(server, honest) for _ in range(RESTARTS)]
        finally:
            heard, samples = honest.stop(), sampler.stop()
        server.stop()
    finally:
        server.kill()
    results = {"facts": facts, "begun": begun, "ended": time.monotonic(), "phases": done, "left": left, "restarts": restarts, "honest": heard,
               "samples": samples, "lua": server.lua_lines(), "errors": server.errors}
    (folder / "results.json").write_text(json.dumps(results))
    return results


def main():
    options = arguments()
    if options.report or options.write_docs:
        results = json.loads((SOAK / options.backend / "results.json").read_text())
    else:
        results = run(options)
    judged = verdict.judge(results)
    page.write(results, judged, SOAK / options.backend)
    if options.write_docs:
        page.write_docs(results, judged)
    print(page.summary(results, judged))
    return 0 if judged.kept else 1
