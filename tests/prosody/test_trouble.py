"""`trochee stats` and the statistics socket where the server is no easy one: a daemon, one that was killed, a crowd, readers that do not read."""

import contextlib
import json
import resource
import signal
import socket
import subprocess
import time

import pytest

from prosody_server import DIST, RawStream
from terminal import PATIENCE

TROCHEE = DIST / "bin" / "trochee"

CROWD = 1000


def _socket(server):
    return server.folder / "data" / "trochee.sock"


def _known(server):
    answer = subprocess.run(
        [TROCHEE, "stats", "--json", "--socket", _socket(server)], capture_output=True, text=True, timeout=PATIENCE,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def _until(is_so, what):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.only_on("13-epoll")
def test_a_daemon_and_what_a_killed_one_leaves(make_server):
    server = make_server().start(daemonize=True)
    with RawStream(server) as stream:
        stream.open()
        known = _known(server)
        assert any(one["service"] == "c2s" and one["open"] >= 1 for one in known["listeners"]), known["listeners"]
        assert len(known["threads"]) == 1 + server.backend.io_threads
        assert known["histograms"]["turn_seconds"]["counts"][-1] > 0
        # The module is loaded anew, and the socket is there again.
        server.shell("module", "reload", "trochee", "*")
        _until(lambda: _socket(server).exists(), "no socket")
        _until(lambda: any(one["service"] == "c2s" for one in _known(server)["connections"]), "no connections")
    server.signal(signal.SIGKILL)
    server.wait()
    assert _socket(server).exists()
    refused = subprocess.run([TROCHEE, "stats", "--socket", _socket(server)], capture_output=True, text=True, timeout=PATIENCE)
    assert refused.returncode == 1 and "no server answers at" in refused.stderr, refused
    # The next one takes it over.
    with server:
        assert _known(server)["uptime"] < 60


@pytest.mark.only_on("threads")
def test_a_crowd_and_readers_that_do_not_read(make_server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * CROWD:
        pytest.skip(f"the limit of descriptors is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with make_server(limits={}, network_settings={"max_newcomers": 2 * CROWD}) as server, contextlib.ExitStack() as stack:
            stream = stack.enter_context(RawStream(server))
            for _ in range(CROWD):
                stack.enter_context(socket.create_connection((server.address, server.c2s_port), 10))
            # Those who ask for much and take nothing.
            for _ in range(3):
                reader = stack.enter_context(socket.socket(socket.AF_UNIX))
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                reader.connect(str(_socket(server)))
                reader.sendall(b"json 1000\n" * 20)
            _until(lambda: _known(server)["connection_count"] >= CROWD, "the crowd is not there")
            known = _known(server)
            assert known["stages"]["accepted"] >= CROWD and known["addresses"][0]["connections"] >= CROWD
            c2s, = [one for one in known["listeners"] if one.get("port") == server.c2s_port]
            assert c2s["open"] >= CROWD <= c2s["accepted"]
            # Everybody is served meanwhile.
            stream.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
