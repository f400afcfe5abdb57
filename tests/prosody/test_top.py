"""`trochee top` and `trochee stats`, of a real Prosody with clients on it, in a real terminal."""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

from clients import online
from prosody_server import DIST, ROOT, RawStream
from terminal import PATIENCE, Terminal

TROCHEE = DIST / "bin" / "trochee"

# Written from the screen of a test that is run with TROCHEE_PICTURES=1.
PICTURE = ROOT / "docs" / "pictures" / "top.svg"


def _socket(server):
    return server.folder / "data" / "trochee.sock"


def _stats(server, *arguments):
    return subprocess.run(
        [TROCHEE, "stats", "--socket", _socket(server), *arguments], capture_output=True, text=True, timeout=PATIENCE,
    )


def _until(is_so, what):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _runs(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextlib.asynccontextmanager
async def _under_load(server):
    """Romeo and Juliet talk, and some who have not logged in are there."""
    async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
        async def talk():
            while True:
                romeo.send_message(mto=juliet.boundjid, mbody="good night " * 20, mtype="chat")
                await asyncio.sleep(0.02)

        with contextlib.ExitStack() as strangers:
            for number in range(9, 20):
                stranger = strangers.enter_context(RawStream(server, source=f"127.0.0.{number}"))
                await asyncio.to_thread(stranger.open)
            talking = asyncio.create_task(talk())
            try:
                yield
            finally:
                talking.cancel()


@pytest.mark.only_on("threads", "13-epoll")
def test_top(make_server, tmp_path):
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed: run 'make setup'")
    server = make_server()

    def look(terminal):
        top = f"{TROCHEE} top --interval 0.3 --socket {_socket(server)}"
        terminal.run(f"{top}; echo status $?; stty -a")
        shown = terminal.wait_for(r"romeo@lo")
        version = re.escape(server.backend.version)
        assert re.match(rf"trochee top: Prosody {version}\S*, poller epoll, up \S+ ", shown), shown
        assert max(map(len, shown.splitlines())) <= 80, shown
        # Three clients at least: the two, and the stranger.
        assert re.search(r"^connections \d+: 0 accepted, 0 proxied, 0 secured, 1[12] opened, [2-9] established$", shown, re.M), shown
        shown = terminal.wait_for(r"^in [1-9]\d* \w+/s, out [1-9]\d* ")
        assert re.search(r"^half/99 % up to: turns \d+ \S+/\d+ ", shown, re.M), shown
        assert re.search(r"^busy \d", shown, re.M) and re.search(r"^used: descriptors \d+/\S+, places \d+/", shown, re.M), shown
        if os.environ.get("TROCHEE_PICTURES"):
            time.sleep(3)
            PICTURE.write_text(terminal.picture())
        terminal.press("s")
        terminal.wait_for(r"by queued, ")
        terminal.type("/127.0.0.9")
        terminal.press("Enter")
        shown = terminal.wait_for(r'only rows with "127\.0\.0\.9"')
        assert "romeo@lo" not in shown and re.search(r"127\.0\.0\.9 +c2s +opene", shown), shown
        terminal.press("Escape")
        terminal.wait_for(r"romeo@lo")
        terminal.press("Tab")
        terminal.wait_for(r"^127\.0\.0\.1 +2 ")
        terminal.press("?")
        terminal.wait_for(r"another order of the list")
        terminal.press("?", "1")
        terminal.wait_for(r"romeo@lo")

    async def flow(terminal):
        async with _under_load(server):
            await asyncio.to_thread(look, terminal)

    def is_restored(terminal, status):
        terminal.wait_for(rf"^status {status}$")
        # Not the word "echo", which is in the command's own line.
        shown = terminal.wait_for(r"(?<!-)\bicanon\b")
        assert "trochee top:" not in shown, shown

    with Terminal(tmp_path) as terminal:
        with server:
            asyncio.run(flow(terminal))
        # It waits for the next one, which counts anew.
        terminal.wait_for(r"^reconnecting: ")
        assert not _socket(server).exists()
        with server:
            terminal.wait_for(lambda shown: "reconnecting" not in shown and re.search(r"^busy \d", shown, re.M))
            terminal.press("q")
            is_restored(terminal, 0)
            for end in ("C-c", signal.SIGTERM):
                terminal.run("clear")
                terminal.run(f"{TROCHEE} top --socket {_socket(server)}; echo status $?; stty -a")
                terminal.wait_for(r"trochee top: Prosody")
                if end == "C-c":
                    terminal.press(end)
                else:
                    os.kill(terminal.children()[0], end)
                is_restored(terminal, 0)
        terminal.run("clear")
        terminal.run(f"{TROCHEE} top --socket {_socket(server)}; echo status $?")
        shown = terminal.wait_for(r"^status 1$")
        assert "no server answers at" in shown.replace("\n", " "), shown
        # An ssh that is cut off takes it along.
        with server:
            terminal.run("clear")
            terminal.run(f"{TROCHEE} top --socket {_socket(server)}")
            terminal.wait_for(r"trochee top: Prosody")
            top, = terminal.children()
            terminal.close()
            _until(lambda: not _runs(top), "top outlives its terminal")


@pytest.mark.only_on("threads", "13-epoll")
def test_stats(make_server):
    with make_server() as server:
        mode = _socket(server).stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
        with RawStream(server) as stream:
            stream.open()
            known = json.loads(_stats(server, "--json").stdout)
            assert known["serves"].startswith(f"Prosody {server.backend.version}") and known["poller"] == "epoll"
            port = stream.socket.getsockname()[1]
            mine = [one for one in known["connections"] if one.get("port") == port]
            assert len(mine) == 1 and mine[0]["service"] == "c2s" and mine[0]["session"] == "localhost (c2s_unauthed)", known
            assert len(known["threads"]) == 1 + server.backend.io_threads
            assert known["stages"]["opened"] >= 1
            shown = _stats(server)
            assert shown.returncode == 0 and re.search(r"^accepted +[1-9]", shown.stdout, re.M), shown
            assert re.search(r"^descriptors +\d+/\d+$", shown.stdout, re.M), shown
            assert re.search(r"^turn_seconds +[1-9]\d* +half up to \S+ \S+, 99 % up to ", shown.stdout, re.M), shown
            assert re.search(rf"^listener c2s at \S+ {server.c2s_port}: [1-9]\d* connections, ", shown.stdout, re.M), shown
            mine = [one for one in known["listeners"] if one.get("port") == server.c2s_port]
            assert mine[0]["service"] == "c2s" and mine[0]["open"] >= 1, known["listeners"]
            assert sum(known["tallies"]["closed_connections"].values()) >= 0
        # The same names as mod_http_openmetrics has, and every counter of them.
        metrics = _stats(server, "--openmetrics").stdout
        for name in known["counters"]:
            name = re.sub("_nanoseconds$", "_seconds", name)
            assert re.search(rf"^prosody_mod_trochee__{name}_total \d", metrics, re.M), (name, metrics)
        for name, found in known["histograms"].items():
            assert len(found["counts"]) == len(found["bounds"]) + 1
            assert re.search(rf'^prosody_mod_trochee__{name}_bucket\{{le="\+Inf"\}} \d', metrics, re.M), (name, metrics)
        assert 'prosody_mod_trochee__listener_accepted_total{service="c2s",' in metrics, metrics
        # Nonsense, an endless line and too many clients disturb nobody.
        path = str(_socket(server))

        def ask(request):
            with socket.socket(socket.AF_UNIX) as asker:
                asker.settimeout(PATIENCE)
                asker.connect(path)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    asker.sendall(request)
                    return asker.recv(65536)

        assert b"a request is: json" in ask(b"\0\xff all \n")
        assert ask(b"x" * 100_000) in (b"", None)
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                other = stack.enter_context(socket.socket(socket.AF_UNIX))
                other.connect(path)
            _until(lambda: b"8 others" in (ask(b"json\n") or b""), "the ninth is served")
        _until(lambda: b"counters" in (ask(b"json\n") or b""), "nobody is served any more")
        # Elsewhere, or not at all, at a reload.
        server.options["network_settings"] = {**server.options["network_settings"], "stats_socket": "elsewhere.sock"}
        server.write_config()
        server.signal(signal.SIGHUP)
        _until(lambda: (server.folder / "data" / "elsewhere.sock").exists(), "no new socket")
        _until(lambda: not _socket(server).exists(), "the old socket is there")
        server.options["network_settings"]["stats_socket"] = False
        server.write_config()
        server.signal(signal.SIGHUP)
        _until(lambda: not (server.folder / "data" / "elsewhere.sock").exists(), "the socket is there")
        refused = _stats(server)
        assert refused.returncode == 1 and "no server answers" in refused.stderr


@pytest.mark.only_on("epoll")
def test_a_socket_is_not_taken_from_whoever_serves_it(make_server, tmp_path):
    path = tmp_path / "it.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        server = make_server(network_settings={"stats_socket": str(path)})
        with server:
            server.wait_for_log(r"\twarn\tnetwork_settings\.stats_socket: .*it\.sock: another program serves it\n")
    assert path.exists()
    # What a killed server has left is taken over.
    with make_server("second", network_settings={"stats_socket": str(path)}):
        assert subprocess.run([TROCHEE, "stats", "--socket", path], capture_output=True).returncode == 0
    assert not path.exists()
