"""scripts/run, which is `make run` after the build."""

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import time
import types
import urllib.request

import pytest

from clients import online
from prosody_server import ROOT, RawStream, free_ports, let_stock_settle

PORTS = ("C2S_PORT", "C2S_TLS_PORT", "HTTP_PORT", "HTTPS_PORT", "COMPONENT_PORT", "PROXY65_PORT", "S2S_PORT")


class Run:
    def __init__(self, folder, backend=None, **variables):
        self.ports = dict(zip(PORTS, map(str, free_ports(len(PORTS)))))
        self.run_dir = folder / "run"
        self.output = folder / "output"
        inherited = {k: v for k, v in os.environ.items() if k not in ("BACKEND", "PROSODY_CONFIG", "PROSODY_VERSION", "TROCHEE_POLLER")}
        env = {**inherited, "RUN_DIR": str(self.run_dir), **self.ports, **variables}
        if backend:
            env["BACKEND"] = backend
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                [ROOT / "scripts" / "run"], env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                # A process group to send Ctrl-C to, which a test run in the background would have ignored.
                start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def server(self):
        return types.SimpleNamespace(
            host="localhost", address="127.0.0.1",
            c2s_port=int(self.ports["C2S_PORT"]), c2s_tls_port=int(self.ports["C2S_TLS_PORT"]),
        )

    def said(self):
        return self.output.read_text(errors="replace")

    def wait_for(self, text, timeout=30):
        deadline = time.monotonic() + timeout
        while not re.search(text, self.said(), re.M):
            assert self.process.poll() is None, f"ended: {self.said()}"
            assert time.monotonic() < deadline, f"no {text}: {self.said()}"
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()  # Prosody goes with it
            self.process.wait()


def _variables(backend):
    """What chooses it."""
    return {
        "backend": backend.poller if backend.ours else f"stock-{backend.network_backend}",
        "PROSODY_VERSION": backend.version,
    }


# Ctrl-C reaches the whole process group; what a supervisor sends reaches the script alone.
@pytest.mark.parametrize("end", ["Ctrl-C", "SIGTERM"])
def test_demo(backend, tmp_path, end):
    async def talk(server):
        async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
            romeo.send_message(mto=juliet.boundjid, mbody="hello", mtype="chat")
            await juliet.messages.wait_for(lambda m: m["body"] == "hello", "the message")

    with Run(tmp_path, **_variables(backend)) as run:
        run.wait_for("^Ctrl-C ends it")
        said = run.said()
        in_use = re.search(r"its network backend is (.*)", said).group(1)
        assert (backend.poller or backend.network_backend) in in_use
        assert ("trochee" in in_use) == backend.ours
        for port in run.ports.values():
            assert port in said
        run.wait_for("Activated service 'c2s'")  # the log follows
        assert f"welcome to Prosody version {backend.version}" in run.said(), run.said()
        asyncio.run(talk(run.server))
        if "::1" in said:  # this machine has IPv6, and so has the demo
            with RawStream(types.SimpleNamespace(**{**vars(run.server), "address": "::1"})) as stream:
                stream.open()

        with RawStream(run.server) as stream:
            stream.open()
            let_stock_settle(backend)
            start = time.monotonic()
            if end == "Ctrl-C":
                os.killpg(run.process.pid, signal.SIGINT)
            else:
                run.process.terminate()
            assert b"<system-shutdown" in stream.expect(b"</stream:stream>", 5)
            stream.socket.sendall(b"</stream:stream>")
            assert run.process.wait(15) == 0, run.said()
            took = time.monotonic() - start
        assert took < 2, f"{took:.2f} s\n{run.said()}"
        assert "Received SIGTERM" in run.said(), "the log did not go on to the end"


def test_demo_with_tls(backend, tmp_path):
    """A client that trusts the CA that the demo names; a second run has the same certificate."""

    async def talk(server, trust):
        async with (
            online(server, "romeo", tls="starttls", trust=trust) as romeo,
            online(server, "juliet", tls="direct", trust=trust) as juliet,
        ):
            romeo.send_message(mto=juliet.boundjid, mbody="hello", mtype="chat")
            await juliet.messages.wait_for(lambda m: m["body"] == "hello", "the message")
            return romeo.socket.getpeercert()["serialNumber"]

    serials = set()
    for _ in range(2):
        with Run(tmp_path, **_variables(backend)) as run:
            run.wait_for("^Ctrl-C ends it")
            ca = run.run_dir / "ca.pem"
            assert f"-CAfile {ca}" in run.said() and f"--cacert {ca}" in run.said()
            trust = ssl.create_default_context(cafile=ca)
            serials.add(asyncio.run(talk(run.server, trust)))
            url = f"https://localhost:{run.ports['HTTPS_PORT']}/http-bind"
            with urllib.request.urlopen(url, context=trust, timeout=10) as response:
                assert response.status == 200
            let_stock_settle(backend)
            run.process.terminate()
            assert run.process.wait(15) == 0, run.said()
    assert len(serials) == 1
    # What could sign for other names is gone, and the key is for its owner alone.
    assert not list(run.run_dir.rglob("ca.key"))
    assert (run.run_dir / "certs" / "localhost.key").stat().st_mode & 0o077 == 0


def test_client_that_does_not_answer_can_not_hold_up_the_end(backend, tmp_path):
    with Run(tmp_path, **_variables(backend)) as run:
        run.wait_for("^Ctrl-C ends it")
        with RawStream(run.server) as stream:
            stream.open()
            let_stock_settle(backend)
            start = time.monotonic()
            run.process.terminate()
            run.process.wait(15)
            took = time.monotonic() - start
            assert b"<system-shutdown" in stream.expect(b"</stream:stream>", 5)
        assert took < 2, f"{took:.2f} s\n{run.said()}"


@pytest.mark.parametrize("variable", PORTS)
def test_port_in_use(tmp_path, variable):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        # The message comes before anything is started, whichever the backend; this one needs no build.
        with Run(tmp_path, "stock-epoll", **{variable: port}) as run:
            assert run.process.wait(15) != 0
            assert re.search(rf"port {port} .*\b{variable}\b", run.said()), run.said()
            assert not (run.run_dir / "prosody.log").exists()


def test_unknown_backend(tmp_path):
    with Run(tmp_path, "kqueue") as run:
        assert run.process.wait(15) != 0
        for name in ("kqueue", "epoll", "poll", "select"):
            assert name in run.said()


def test_unknown_version(tmp_path):
    with Run(tmp_path, "stock-epoll", PROSODY_VERSION="0.9") as run:
        assert run.process.wait(15) != 0
        assert "0.9" in run.said() and "0.12" in run.said() and "13.0" in run.said()


def test_own_configuration(backend, make_server, tmp_path):
    server = make_server()
    server.write_config()
    server.register()
    server.log.unlink(missing_ok=True)
    with Run(tmp_path, PROSODY_CONFIG=str(server.config), PROSODY_VERSION=backend.version) as run:
        deadline = time.monotonic() + 20
        while True:
            try:
                with RawStream(server) as stream:
                    stream.open()
                break
            except OSError:
                assert run.process.poll() is None and time.monotonic() < deadline, run.said()
                time.sleep(0.1)

        async def flow():
            async with online(server, "romeo") as romeo:
                assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) > 0

        asyncio.run(flow())
        run.process.terminate()
        assert run.process.wait(15) == 0
        log = server.log.read_text()
        assert re.search(rf"is using the .*{backend.poller or backend.network_backend}.* backend", log)
