"""One sample: start a fresh server, put a load on it, read what it cost, end it."""

import json
import os
import resource
import select
import shutil
import socket
import subprocess
from pathlib import Path

from . import prosody, relays
from .machine import pinning
from .subjects import BENCHES, BUILD, ROOT

SPARE_DESCRIPTORS = 100  # what a process holds besides its connections

TLS_LOAD = "tls_load"  # the package, and its program

# Kinds of certificates that shapes may ask for: how `openssl req` makes the key.
CERTIFICATES = {
    "rsa2048": ("-newkey", "rsa:2048"),
    "p256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
}


class Failed(Exception):
    """A sample that could not be taken, and why."""


class Absent(Exception):
    """What a subject turned out not to do."""


# What the programs of peers/ stand on beside the C library. They are built where that is installed.
LIBRARIES = {"libuv_echo": "-luv", "libevent_echo": "-levent_core"}


def build():
    BUILD.mkdir(parents=True, exist_ok=True)
    for source in sorted((BENCHES / "peers").glob("*.c")):
        library, program = LIBRARIES.get(source.stem), BUILD / source.stem
        command = [os.environ.get("CC", "gcc"), "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), *([library] if library else [])]
        if subprocess.run(command, check=not library).returncode:
            program.unlink(missing_ok=True)
    subprocess.run([cargo(), "build", "--release", "--package", TLS_LOAD], cwd=ROOT, check=True)
    shutil.copy(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / TLS_LOAD, BUILD)
    build_rust_peers()
    for name, key in CERTIFICATES.items():
        path = certificate(name)
        if not path.with_suffix(".crt").exists():
            subprocess.run(["openssl", "req", "-x509", *key, "-nodes", "-keyout", f"{path}.key", "-out", f"{path}.crt",
                            "-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                           check=True, stderr=subprocess.DEVNULL)


def build_rust_peers():
    """They are a workspace of their own, in the same target folder: what they have in common with trochee is built once."""
    folder = BENCHES / "peers" / "rust"
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    done = subprocess.run([cargo(), "build", "--release", "--locked", "--target-dir", str(target)], cwd=folder)
    for source in (folder / "src" / "bin").glob("*.rs"):
        (BUILD / source.stem).unlink(missing_ok=True)
        if done.returncode == 0:
            shutil.copy(target / "release" / source.stem, BUILD)


def cargo():
    """As in scripts/lib.sh: rustup puts it where the login shell finds it."""
    return shutil.which("cargo") or str(Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin" / "cargo")


def certificate(name):
    """The path of a certificate and its key, without .crt and .key."""
    return BUILD / name


def raise_descriptor_limit():
    """Children inherit it. Returns what there is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, core, **more):
    pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=pin, **more)


def await_ready(server, subject, port):
    """Waits for "ready PORT BACKEND"."""
    heard, _, _ = select.select([server.stdout], [], [], 10)
    line = server.stdout.readline() if heard else ""
    if not line.startswith(f"ready {port} "):
        server.kill()
        raise Failed("server did not start: " + (server.communicate()[1].strip().splitlines() or ["no word"])[0])
    check_identity(subject, line.split(" ", 2)[2].strip())


def await_relay(server, port):
    if not relays.listens(server, port):
        server.kill()
        raise Failed("the relay does not listen: " + (server.communicate()[1].strip().splitlines() or ["no word"])[-1])


def check_identity(subject, reported):
    if subject.reports not in reported.split():
        raise Failed(f"server reports backend {reported!r}, not {subject.reports!r}")


def finish(process, what, limit):
    """The line of JSON that a process prints as its result."""
    try:
        out, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"{what} took more than {limit} s") from None
    if process.returncode != 0:
        raise Failed(f"{what}: {(errors.strip().splitlines() or [f'exit code {process.returncode}'])[-1]}")
    return json.loads(out)


def not_applicable(subject, shape):
    """Why a subject has no place in a shape, or None."""
    if not subject.command(shape.script) or (shape.certificate and not subject.tls):
        return "n/a"
    if subject.descriptors and shape.connections + SPARE_DESCRIPTORS > subject.descriptors:
        return f"n/a: {subject.descriptors} descriptors"
    return None


def take(subject, shape, seconds):
    """One sample of a subject in a shape: the figures by key. Raises Failed or Absent."""
    server_core, load_core = not shape.shared and pinning() or (None, None)
    port = free_port()
    environment = {**os.environ, **subject.environment}
    command, echo = subject.command(shape.script), None
    if shape.script == "prosody":
        environment.update(prosody.environment(subject, port, shape.service, certificate(shape.certificate)))
    elif shape.script == "relay":
        behind = free_port()
        echo = start([str(BUILD / "epoll_echo"), str(behind)], None)
        command = relays.command(subject, command, port, behind, certificate(shape.certificate))
    else:
        command += [shape.argument.format(port=port), *([str(certificate(shape.certificate))] if shape.certificate else []), *subject.arguments]
    server = start(command, server_core, env=environment)
    load = None
    try:
        if not shape.load:
            figures = finish(server, "the script", 120)
            check_identity(subject, figures.pop("backend"))
            return figures
        if echo:
            await_relay(server, port)
        else:
            await_ready(server, subject, port)
        name, *numbers = shape.load
        arguments = [name, port, server.pid, *(str(number).format(seconds=seconds) for number in numbers)]
        load = start([str(BUILD / shape.program), *map(str, arguments)], load_core)
        figures = finish(load, "the load", 180 + 2 * seconds)
        if "absent" in figures:
            raise Absent(figures["absent"])
        return figures
    except Failed as failure:
        if server.poll() is not None and shape.load:
            last = (server.stderr.read().strip().splitlines() or [""])[-1]
            raise Failed(f"{failure} (server ended with {server.returncode}: {last})") from None
        raise
    finally:
        if echo:
            server.terminate()  # nginx takes its workers along
            server.communicate()
        for process in (load, server, echo):
            if process and process.poll() is None:
                process.kill()
            if process:
                process.communicate()
