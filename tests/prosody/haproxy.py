"""HAProxy of Debian, in front of Prosody."""

import pathlib
import shutil
import socket
import subprocess
import time

import pytest

# From where it connects to the servers behind it, which trust that address. Nobody else here has it.
SOURCE = "127.0.0.2"

BASE = """\
global
    stats socket {folder}/stats level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    unique-id-format client-%ci-%cp
"""


class HAProxy:
    """One process with this configuration, behind the usual beginning unless it is the `whole`."""

    def __init__(self, folder, configuration, whole=False):
        if not (program := shutil.which("haproxy", path="/usr/sbin:/usr/bin")):
            pytest.skip("SKIP: there is no haproxy here; scripts/setup installs it")
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "haproxy.cfg"
        beginning = "" if whole else BASE.format(folder=self.folder)
        self.file.write_text(beginning + configuration)
        self.output = self.folder / "haproxy.log"
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                [program, "-db", "-f", self.file], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )

    def ask(self, command):
        """What the administrator's socket answers."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(self.folder / "stats"))
            asking.sendall(command.encode() + b"\n")
            answer = b""
            while data := asking.recv(65536):
                answer += data
        return answer.decode()

    def states(self):
        """UP, DOWN and so on of each server, by backend/server."""
        lines = self.ask("show stat").splitlines()
        names = lines[0].lstrip("# ").split(",")
        rows = (dict(zip(names, line.split(","))) for line in lines[1:] if line)
        return {f"{row['pxname']}/{row['svname']}": row["status"] for row in rows}

    def wait_for(self, server, state):
        """Until the health checks say so of that server."""
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self.output.read_text()
            try:
                states = self.states()
            except OSError as error:
                states = error
            else:
                if states.get(server, "").startswith(state):
                    return
            assert time.monotonic() < deadline, f"{server} is not {state}: {states}\n{self.output.read_text()}"
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
