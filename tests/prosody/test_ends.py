"""The log says why each connection has ended, with its address and its session."""

import asyncio
import contextlib
import re
import socket
import ssl

import pytest

from certificates import Authority
from clients import online
from prosody_server import RawStream


def _connect(server, port, source="127.0.0.1"):
    peer = socket.create_connection((server.address, port), 10, (source, 0))
    peer.settimeout(20)
    return peer


def _until_closed(peer):
    with contextlib.suppress(ConnectionError):
        while peer.recv(4096):
            pass
    peer.close()


def _says(server, port, peer_port, reason, session):
    """Waits for the line about the end of the connection of this port."""
    address = re.escape(server.address)
    form = rf"{address} {peer_port}, {address} {port}; \d+\.\d\d s, \d+ bytes in, \d+ bytes out; "
    server.wait_for_log(rf"\tdebug\tconn\d+ ended: {reason}; {form}{session}\n")


@pytest.mark.only_on("threads", "13-epoll")
def test_ends(make_server, tmp_path):
    ca = Authority(tmp_path / "ca")
    server = make_server(tls=True, network_settings={"newcomer_data_timeout": 1, "ssl_handshake_timeout": 1})
    ca.issue(server.certs, [server.host])
    with server:
        plain, secure = server.c2s_port, server.c2s_tls_port
        unknown = r"\S+ \(c2s_unauthed\), c2s[0-9a-f]+"

        # Who fails to agree on TLS.
        def old():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            return context

        def unusual():
            context = ca.trust(ssl.TLSVersion.TLSv1_2)
            context.set_ciphers("AES128-GCM-SHA256")
            return context

        for reason, context in {
            "unsupported protocol": old(),
            "no shared cipher": unusual(),
            "tlsv1 alert unknown ca": ssl.create_default_context(),
        }.items():
            peer = _connect(server, secure)
            port = peer.getsockname()[1]
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                context.wrap_socket(peer, server_hostname=server.host).close()
            peer.close()
            _says(server, secure, port, f"TLS handshake: {reason}", "-")
            server.wait_for_log(rf"\tdebug\tTLS handshake with 127\.0\.0\.1 failed: {reason}\n")
        for reason, first in {"http request": b"GET / HTTP/1.1\r\n\r\n", "connection timeout": b""}.items():
            peer = _connect(server, secure)
            peer.sendall(first)
            port = peer.getsockname()[1]
            _until_closed(peer)
            _says(server, secure, port, f"TLS handshake: {reason}", "-")

        # Who says nothing, who leaves, and who is cut off.
        peer = _connect(server, plain)
        port = peer.getsockname()[1]
        _until_closed(peer)
        _says(server, plain, port, "nothing was sent in time", unknown)

        stream = RawStream(server)
        stream.open()
        port = stream.socket.getsockname()[1]
        stream.socket.close()
        _says(server, plain, port, "closed by the peer", unknown)

        stream = RawStream(server)
        stream.open()
        port = stream.socket.getsockname()[1]
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        stream.socket.close()
        _says(server, plain, port, "cut off by the peer", unknown)

        # A user, over TLS. Prosody has forgotten its name by then, but not the name of its lines.
        async def log_in():
            async with online(server, "romeo", tls="direct", trust=ca.trust()):
                shown = await asyncio.to_thread(server.shell, "trochee", "connections", "romeo@localhost/tests")
                return re.search(r"^(conn\d+) ", shown, re.M).group(1)

        conn = asyncio.run(log_in())
        server.wait_for_log(rf"\tdebug\t{conn} ended: ")
        log = server.log.read_text()
        address = rf"127\.0\.0\.1 \d+, 127\.0\.0\.1 {secure}"
        name = re.search(rf"\tdebug\t{conn} ended: closed .*; {address}; .*; \S+ \(c2s\S*\), (c2s[0-9a-f]+)\n", log).group(1)
        assert re.search(rf"\tdebug\tNew connection FD \d+ \(.*\) on server .*: {conn}\n", log), log
        assert re.search(rf"\tdebug\t{conn} has completed its TLS handshake: TLSv1\.3 with TLS_\S+, FD ", log), log
        assert re.search(rf" {name}\tinfo\tAuthenticated as romeo@localhost", log), log
