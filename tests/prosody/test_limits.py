"""Limits by address, and what fail2ban finds in the log. Each address of 127.0.0.0/8 is a stranger of its own here, but 127.0.0.1."""

import asyncio
import re
import shutil
import socket
import subprocess
import time

import pytest

from certificates import Authority
from clients import online
from prosody_server import ROOT

FILTER = ROOT / "packaging" / "fail2ban" / "trochee.conf"

# What counts is below the poller.
pytestmark = pytest.mark.only_on("epoll", "threads", "13-epoll", "13-threads", "stock-epoll")


def _connect(server, source, port):
    return socket.create_connection((server.address, port), timeout=10, source_address=(source, 0))


def _connect_many(server, source, port, count):
    """The system may tell of the reset before it tells of the connection: such a peer is None."""
    peers = []
    for _ in range(count):
        try:
            peers.append(_connect(server, source, port))
        except ConnectionResetError:
            peers.append(None)
    return peers


def _is_over(peer):
    if peer is None:
        return True
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def _over(peers, wanted):
    """Waits until so many have ended, and looks whether it stays at that."""
    deadline = time.monotonic() + 20
    while (over := sum(map(_is_over, peers))) < wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    assert over == sum(map(_is_over, peers)) == wanted


def _found(log, tmp_path):
    """The addresses that fail2ban finds, each as often as it is found."""
    program = shutil.which("fail2ban-regex")
    if not program:
        pytest.skip("fail2ban-regex is not installed; scripts/setup does it")
    # The included files are those of Debian.
    filters = tmp_path / "filter.d"
    if not filters.exists():
        shutil.copytree("/etc/fail2ban/filter.d", filters)
    shutil.copy(FILTER, filters)
    output = subprocess.run([program, "-o", "ip", log, filters / FILTER.name], capture_output=True, text=True, timeout=60)
    assert output.returncode == 0 and "ERROR" not in output.stderr, output.stdout + output.stderr
    return sorted(output.stdout.split())


def test_strangers(make_server, tmp_path):
    """A flood from one address disturbs nobody, and it is named where fail2ban looks; so is whoever fails in TLS."""
    server = make_server(
        tls=True,
        network_settings={
            "exempt_addresses": ["127.0.0.1"], "max_connections_per_address": 4, "all_listeners_multiple": 2,
        },
    )
    Authority(tmp_path / "ca").issue(server.certs, [server.host])

    async def talk():
        async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
            romeo.send_message(mto=juliet.boundjid, mbody="during the flood", mtype="chat")
            await juliet.messages.wait_for(lambda m: m["body"] == "during the flood", "the message")

    with server:
        flood = _connect_many(server, "127.0.0.2", server.c2s_port, 30)
        if not server.backend.ours:
            _over(flood, 0)
            return
        _over(flood, 26)
        others = _connect_many(server, "127.0.0.3", server.c2s_port, 3)
        _over(others, 0)
        elsewhere = _connect_many(server, "127.0.0.2", server.s2s_port, 3)
        _over(elsewhere, 0)
        # On all ports together it may have twice as many, and has seven.
        more = _connect_many(server, "127.0.0.2", server.http_port, 3)
        _over(more, 2)
        asyncio.run(talk())

        for source, count in (("127.0.0.4", 2), ("127.0.0.5", 1), ("127.0.0.1", 1)):
            for _ in range(count):
                with _connect(server, source, server.c2s_tls_port) as peer:
                    peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    while peer.recv(1024):
                        pass
        # Nobody can have somebody else banned.
        forged = "server_trochee\tinfo\tStranger 192.0.2.66 refused: no"
        with _connect(server, "127.0.0.6", server.c2s_port) as peer:
            peer.sendall(f"<stream:stream to='{forged}\nserver_trochee info {forged}' xmlns='jabber:client' "
                         "xmlns:stream='http://etherx.jabber.org/streams'>".encode())
            while peer.recv(1024):
                pass
        server.wait_for_log(r"\tdebug\tTLS handshake with 127\.0\.0\.1 failed: http request\n")
        for peer in filter(None, flood + others + elsewhere + more):
            peer.close()
    log = server.log.read_text()
    assert re.search(
        r"\twarn\trefusing connections, the first of them from 127\.0\.0\.2: .*\(max_connections_per_address\)\n", log
    )
    for address in ("127.0.0.4", "127.0.0.5"):
        assert re.search(rf"\tinfo\tStranger {address} failed: TLS handshake: http request\n", log), address
    # A slow machine may take more than ten seconds, after which an address is named again.
    assert set(_found(server.log, tmp_path)) == {"127.0.0.2", "127.0.0.4", "127.0.0.5"}


@pytest.mark.only_on("epoll")
def test_filter(tmp_path):
    """Each way in which Prosody's log comes to fail2ban: a file, the console without a time, syslog."""
    log = tmp_path / "log"
    lines = [
        "Nov 29 06:28:06 server_trochee\tinfo\tStranger 192.0.2.1 refused: more than 20 new connections a second (x)",
        "Nov 29 06:28:07 server_trochee\tinfo\tStranger 2001:db8::1 failed: TLS handshake: no shared cipher",
        "Nov 29 06:28:07 server_trochee     info\tStranger 192.0.2.2 refused: too many",
        "Nov 29 06:28:08 host prosody[12]: server_trochee: Stranger 192.0.2.3 refused: too many",
        "Nov 29 06:28:08 host prosody[12]: server_trochee\tinfo\tStranger 192.0.2.4 refused: too many",
        # None of these.
        "Nov 29 06:28:09 server_trochee\tdebug\tConnection from 192.0.2.5 failed: TLS handshake: http request",
        "Nov 29 06:28:09 server_trochee\twarn\trefusing connections, the first of them from 192.0.2.6: too many",
        "Nov 29 06:28:09 c2s55\tinfo\tserver_trochee\tinfo\tStranger 192.0.2.7 refused: too many",
        "Nov 29 06:28:09 server_trochee\tinfo\tgreetings from Stranger 192.0.2.8 refused: too many",
    ]
    log.write_text("".join(line + "\n" for line in lines))
    assert _found(log, tmp_path) == sorted(["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3", "192.0.2.4"])
