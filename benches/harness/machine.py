"""Where it was measured: what a reader needs to weigh the figures, and which cores to use."""

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from .subjects import LUA, PROSODY_SOURCEDIR, ROOT


def said(*command, line=0):
    """A line of what a command prints, or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
        return (done.stdout + done.stderr).strip().splitlines()[line] if done.returncode == 0 else None
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def contents(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def processor():
    for line in (contents("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def system():
    for line in (contents("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.system()


def prosody():
    version = contents(f"{PROSODY_SOURCEDIR}/prosody.version") or "unknown"
    package = said("dpkg-query", "-W", "-f=${Version}", "prosody")
    return f"{version} (Debian package {package})" if package and package.startswith(version) else version


def commit():
    """Which trochee this is. A "+" says that the work tree had changes on top of it."""
    name = said("git", "describe", "--always", "--tags")
    return name and name + ("+" if said("git", "status", "--porcelain") else "")


def facts():
    cores = len(os.sched_getaffinity(0))
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": cores,
        "pinned": pinning() is not None,
        "hypervisor": "hypervisor" in (contents("/proc/cpuinfo") or ""),
        "system": system(),
        "kernel": platform.release().split("-")[0],  # the rest names whoever built it
        "prosody": prosody(),
        "lua": said(LUA, "-v"),
        "rust": said("rustc", "--version"),
        "c": said("gcc", "--version"),
        "trochee": commit(),
        "load_before": os.getloadavg()[0],
    }


def pinning():
    """(core of the server, core of the load): two that share no execution units, or None on a single core."""
    cores = sorted(os.sched_getaffinity(0))
    load = cores[0]
    siblings = contents(f"/sys/devices/system/cpu/cpu{load}/topology/thread_siblings_list") or str(load)
    shared = set()
    for part in siblings.split(","):
        first, _, last = part.partition("-")
        shared.update(range(int(first), int(last or first) + 1))
    free = [core for core in cores if core not in shared] or cores[1:]
    return (free[-1], load) if free else None
