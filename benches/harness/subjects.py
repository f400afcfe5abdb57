"""What is measured: one row each. To add a subject, add a row."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches"
BUILD = ROOT / "target" / "bench"
PROSODY_SOURCEDIR = os.environ.get("PROSODY_SOURCEDIR", "/usr/lib/prosody")
LUA = os.environ.get("LUA", "lua5.4")

# Figures are read as ratios to these two.
FLOOR = "c-epoll"
STOCK = "server_epoll"
OURS = "trochee-epoll"  # whose budget is kept
THREADED = "trochee-epoll-io1"  # and this one's, in what its Lua thread does
RUST = "trochee-rust"  # and this one's, in what is the engine's own
LIBEVENT = "trochee-libevent"  # and this one's, beside OURS

SELECT_LIMIT = 1024  # FD_SETSIZE: select(2) cannot name a descriptor past it


@dataclass(frozen=True)
class Subject:
    name: str
    family: str  # which colour it has in a chart
    runs: tuple  # script name -> program; a script that is missing here is not applicable
    reports: str  # what the server must call itself, so that nothing else is measured under this name
    title: str = ""
    descriptors: int | None = None  # how many it can hold, if that is a property of its kind
    tls: bool = True
    environment: dict = field(default_factory=dict)
    arguments: tuple = ()  # behind those that each script is given

    def command(self, script):
        """The command line of this subject for a script, or None."""
        program = dict(self.runs).get(script)
        return program and list(program)


def lua(backend, in_prosody):
    """With `in_prosody`, as the backend of a real Prosody too."""
    scripts = tuple((script, (LUA, str(BENCHES / f"{script}.lua"), backend)) for script in ("echo_server", "timers"))
    prosody = ("prosody", ("prosody", "-F", "--config", str(BENCHES / "prosody" / "prosody.cfg.lua")))
    return (*scripts, prosody) if in_prosody else scripts


def stock(backend, reports, in_prosody=False, gc_threshold=None, **more):
    """`gc_threshold`: Prosody's setting, in the place of its default."""
    name, title = f"server_{backend}", f"stock server_{backend}"
    environment = {"PROSODY_SOURCEDIR": PROSODY_SOURCEDIR, "BENCH_BACKEND": backend}
    if gc_threshold:
        name, title = f"{name}-gc{gc_threshold}", f"{title}, gc threshold {gc_threshold}"
        environment["BENCH_GC_THRESHOLD"] = str(gc_threshold)
    return Subject(name, "stock", lua(backend, in_prosody), reports, title, environment=environment, **more)


def trochee(poller, io_threads=0, in_prosody=False, **more):
    dist = ROOT / "dist" / "lua"
    name, title = f"trochee-{poller}", f"trochee, {poller}"
    if io_threads:
        name, title = f"{name}-io{io_threads}", f"{title}, io_threads = {io_threads}"
    return Subject(name, "trochee", lua("trochee", in_prosody), poller, title,
                   environment={"LUA_PATH": f"{dist}/?.lua;;", "LUA_CPATH": f"{dist}/?.so;;", "TROCHEE_POLLER": poller,
                                "TROCHEE_IO_THREADS": str(io_threads), "BENCH_BACKEND": "trochee"},
                   **more)


def peer(name, title, program, family="peer", **more):
    """Another event loop's echo, one of peers/ or of peers/rust."""
    return Subject(name, family, (("echo_server", (str(BUILD / program),)),), "epoll", title, tls=False, **more)


def relay(name, family, title, *program):
    """See relays.py; the last argument of the program is its configuration."""
    return Subject(name, family, (("relay", program),), "", title)


SUBJECTS = [
    Subject(FLOOR, "floor", (("echo_server", (str(BUILD / "epoll_echo"),)),), "epoll", "bare C epoll loop", tls=False),
    stock("epoll", "epoll", in_prosody=True),
    # What trochee does about Lua's collector by itself, an operator can do in part.
    stock("epoll", "epoll", in_prosody=True, gc_threshold=200),
    stock("event", "libevent"),
    stock("select", "select", descriptors=SELECT_LIMIT),
    trochee("epoll", in_prosody=True),
    trochee("epoll", io_threads=1, in_prosody=True),
    trochee("poll"),
    trochee("select", descriptors=SELECT_LIMIT),
    trochee("libevent"),
    peer(RUST, "trochee, Rust front", "trochee_echo", family="trochee"),
    peer("trochee-rust-2", "trochee, Rust front, 2 threads", "trochee_echo", family="trochee", arguments=("2",)),
    peer("mio", "mio", "mio_echo"),
    peer("libuv", "libuv", "libuv_echo"),
    peer("tokio", "tokio", "tokio_echo"),
    peer("libevent", "libevent", "libevent_echo"),
    relay("stunnel", "stock", "stunnel", "stunnel4"),
    relay("haproxy", "stock", "HAProxy", "haproxy", "-db", "-f"),
    relay("nginx", "stock", "nginx stream", "nginx", "-c"),
    relay("trochee-relay", "trochee", "trochee relay", str(ROOT / "dist" / "bin" / "trochee"), "relay", "--config"),
]

FAMILIES = {"floor": "bare C loop", "peer": "other event loops", "stock": "stock Prosody, other relays", "trochee": "trochee"}


def why_missing(subject):
    """Why a subject cannot be measured on this machine, or None."""
    if subject.family == "floor":
        return None
    if subject.command("relay"):
        program = subject.command("relay")[0]
        return None if shutil.which(program) else f"{program} not found"
    if not subject.environment:
        program = Path(subject.command("echo_server")[0])
        return None if program.exists() else f"{program.name} could not be built; benches/setup installs what it stands on"
    backend = dict(subject.runs)["echo_server"][-1]
    test = f'dofile("{BENCHES}/backend.lua")("{backend}")'
    try:
        tried = subprocess.run([LUA, "-e", test], env={**os.environ, **subject.environment},
                               capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        return f"{LUA} not found"
    if tried.returncode == 0:
        return None
    return tried.stderr.strip().splitlines()[0].removeprefix(f"{LUA}: ")
