"""The processes that load the server, all of them tls_load."""

import json
import os
import subprocess
import threading
import time

from harness.measure import TLS_LOAD
from harness.subjects import BUILD


def _prepare(cores, nice=0):
    def prepare():
        if cores:
            os.sched_setaffinity(0, cores)
        if nice and os.geteuid() == 0:
            os.nice(nice)
    return prepare


def run_phase(server, phase, seconds, cores):
    """How many strangers came, and what became of them."""
    command = [BUILD / TLS_LOAD, phase.shape, getattr(server, phase.port), server.pid, *phase.arguments, seconds]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=_prepare(cores))
    reloads, begun = 0, time.monotonic()
    deadline = begun + seconds + 90
    try:
        while process.poll() is None:
            assert server.alive(), f"Prosody ended\n{server.everything_said()}"
            assert time.monotonic() < deadline, f"the load of {phase.name} does not end"
            if phase.reload_every and time.monotonic() > begun + phase.reload_every * reloads:
                server.reload()
                reloads += 1
            time.sleep(0.1)
        out, errors = process.communicate()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode:
        return {"strangers": 0, "refused": 0, "stuck": 0, "seconds": seconds, "failed": errors.strip().splitlines()[-1]}
    return {**json.loads(out), "reloads": reloads}


class Honest:
    """One that pings fifty times a second, and one that logs in once a second; see benches/tls/src/honest.rs. They share a core with the
    strangers and go before them, because the server is what is measured."""

    def __init__(self, server, cores):
        self.heard = []  # [what, seconds of CLOCK_MONOTONIC, milliseconds or why]
        self._process = subprocess.Popen([str(BUILD / TLS_LOAD), "honest", str(server.c2s_tls_port), str(server.pid)],
                                         stdout=subprocess.PIPE, text=True, preexec_fn=_prepare(cores, -10))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        for line in self._process.stdout:
            what, when, *rest = line.rstrip("\n").split(" ", 2)
            value = int(rest[0]) / 1000 if what in ("ping", "login") else " ".join(rest)
            self.heard.append([what, int(when) / 1e9, value])

    def await_online(self, limit=30):
        """Until it is, if it was not, since this was called; how long that took."""
        begun, deadline = time.monotonic(), time.monotonic() + limit
        while not any(what == "ping" and when > begun for what, when, _ in self.heard[-100:]):
            assert time.monotonic() < deadline, f"the honest client is not served for {limit} s: {self.heard[-3:]}"
            time.sleep(0.02)
        return time.monotonic() - begun

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._thread.join()
        return self.heard
