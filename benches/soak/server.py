"""The Prosody under test, and what can be seen of it from outside."""

import os
import re
import signal
import threading
import time
from pathlib import Path

from certificates import Authority
from harness.prosody import account
from prosody_server import MODULES, Prosody

ACCOUNTS = 500
SETTLE_TIMEOUT = 20

# Prosody keeps the session of a stranger until this timer has run, whether the connection has ended or not; its default is 300. So
# this is how long it takes until what strangers have left is gone.
C2S_TIMEOUT = 15

# Error lines that belong to what is done here.
TOLERATED = ()


class Server(Prosody):
    """With the accounts u0, u1, … that tls_load has the password of. The log has warnings and errors only: a million strangers would
    be gigabytes at level debug."""

    def __init__(self, folder, backend, cores=None, modules=(), **options):
        super().__init__(
            folder, backend, tls=True, modules=[*MODULES, "soak", *modules], log={"warn": Path(folder) / "prosody.log"},
            plugin_paths=[Path(__file__).parent / "prosody"], soak_folder=folder,
            c2s_timeout=C2S_TIMEOUT, **options,
        )
        self.cores = cores
        self.errors = []
        self.folder.mkdir(parents=True, exist_ok=True)
        Authority(self.folder / "ca").issue(self.certs, [self.host])

    def register(self):
        accounts = self.folder / "data" / self.host / "accounts"
        if accounts.exists():
            return  # of an earlier life
        accounts.mkdir(parents=True)
        text = account()
        for number in range(ACCOUNTS):
            (accounts / f"u{number}.dat").write_text(text)

    def start(self, **more):
        own = os.sched_getaffinity(0)
        try:
            if self.cores:
                os.sched_setaffinity(0, self.cores)  # the process inherits it
            return super().start(**more)
        finally:
            os.sched_setaffinity(0, own)

    def check_log(self):
        """At the end of each life. What is wrong belongs into the report, and does not end the run."""
        lines = [*self.log.read_text(errors="replace").splitlines(), *self.console.read_text(errors="replace").splitlines()]
        self.errors += [line for line in lines if re.search(r"\terror\t|traceback|panicked", line, re.I)
                        and not any(re.search(pattern, line) for pattern in TOLERATED)]

    def reload(self):
        self.signal(signal.SIGHUP)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self):
        """Bytes. Exact, where statm is off by what each core has not yet added up."""
        return int(re.search(r"^Rss:\s+(\d+)", Path(f"/proc/{self.pid}/smaps_rollup").read_text(), re.M)[1]) * 1024

    def lua_lines(self):
        """[time, word, bytes, sessions, handles, late] for each line of mod_soak, of all lives of the server."""
        path = self.folder / "lua.txt"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [[float(t), word, int(size), int(sessions), int(handles), float(late)]
                for t, word, size, sessions, handles, late in lines]

    def settle(self):
        """Collects the garbage, and says what is left: (Lua's bytes, sessions, handles)."""
        def settled():
            return [line for line in self.lua_lines() if line[1] == "settled"]
        before = len(settled())
        (self.folder / "settle").touch()
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while len(settled()) == before:
            assert self.alive(), f"Prosody ended\n{self.everything_said()}"
            assert time.monotonic() < deadline, f"Prosody does not answer\n{self.everything_said()}"
            time.sleep(0.1)
        return settled()[-1][2:5]


class Sampler:
    """Memory and descriptors, twice a second."""

    PERIOD = 0.5

    def __init__(self, server):
        self.server = server
        self.samples = []  # [time, resident bytes, descriptors]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.wait(self.PERIOD):
            try:
                self.samples.append([time.monotonic(), self.server.resident(), self.server.descriptors()])
            except (OSError, TypeError):
                pass  # between two lives of the server

    def stop(self):
        self._end.set()
        self._thread.join()
        return self.samples
