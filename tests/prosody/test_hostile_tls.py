"""TLS as somebody uses it who means no good: tickets that are shown elsewhere, and handshakes that shall begin again.

What the engine's own tests (crates/engine/tests/tls) do not see is which contexts Prosody makes, and for which names and ports.
"""

import ssl
import subprocess
import time

import pytest

from certificates import Authority
from prosody_server import SecureStream, free_ports
from test_tls import _reload

# What is asked here has nothing to do with the poller.
pytestmark = pytest.mark.only_on("epoll", "13-epoll", "threads", "stock-epoll", "13-stock-epoll")

HOST, OTHER_HOST = "localhost", "mantua.localhost"
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@pytest.fixture
def ca(tmp_path):
    return Authority(tmp_path / "ca")


class Visitor:
    """Somebody who comes again and again, and shows the same ticket."""

    def __init__(self, server, ca, version):
        self.server = server
        self.trust = ca.trust(version)
        self.session = None

    def visit(self, port, name=HOST, source="127.0.0.1", opens=True):
        """Whether the ticket was taken."""
        with SecureStream(self.server, self.trust, port, name, source, self.session) as stream:
            if opens:
                # In TLS 1.3 the ticket comes with the first data.
                stream.host = name
                stream.open()
            self.session = self.session or stream.socket.session
            return stream.socket.session_reused


@VERSIONS
def test_a_ticket_is_good_for_its_name_and_its_port(make_server, ca, version):
    """Ports have policies of their own: that for other servers asks for certificates, and the one for clients does not."""
    (s2s_port,) = free_ports(1)
    server = make_server(tls=True, s2s_direct_tls_ports=[s2s_port])
    server.more_config = [f'VirtualHost "{OTHER_HOST}"']
    ca.issue(server.certs, [HOST, f"rooms.{HOST}", f"files.{HOST}", f"proxy.{HOST}", f"component.{HOST}"])
    ca.issue(server.certs, [OTHER_HOST])
    # Stock gives out no tickets.
    ours = server.backend.ours
    with server:
        port = server.c2s_tls_port
        visitor = Visitor(server, ca, version)
        assert not visitor.visit(port)
        for source in ["127.0.0.1", "127.0.0.2", *["127.0.0.1"] * 20]:
            assert visitor.visit(port, source=source) == ours
        assert not visitor.visit(port, OTHER_HOST)
        assert not visitor.visit(s2s_port, opens=False)
        assert visitor.visit(port) == ours
        _reload(server)
        assert not visitor.visit(port)
        server.stop()
        server.start()
        assert not visitor.visit(port)


def test_no_handshake_begins_again(make_server, ca):
    server = make_server(tls=True)
    ca.issue(server.certs, [HOST])
    with server:
        client = subprocess.Popen(
            ["openssl", "s_client", "-tls1_2", "-connect", f"{server.address}:{server.c2s_tls_port}", "-servername", HOST],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        while "Extended master secret" not in client.stdout.readline():
            assert client.poll() is None
        time.sleep(0.2)
        # The letter is a command at the beginning of what is typed.
        _, said = client.communicate("R\n", timeout=20)
        assert "no renegotiation" in said, said
        SecureStream(server, ca.trust(), server.c2s_tls_port).socket.close()
