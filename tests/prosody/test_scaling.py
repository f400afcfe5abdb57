"""The configuration of docs/scaling.md: HAProxy in front of two Prosody, each with a host of its own."""

import re
import signal
import socket

import pytest

from certificates import Authority
from haproxy import SOURCE, HAProxy
from prosody_server import MODULES, ROOT, RawStream, SecureStream, free_ports

# That each poller has the PROXY protocol is in the contract; stock has none.
pytestmark = pytest.mark.only_on("13-epoll")

CLIENT = "127.0.0.3"


def documented(folder, ports, servers):
    """The configuration of the document, with the addresses and ports that are free here."""
    text = re.search(r"```haproxy\n(.*?)```", (ROOT / "docs" / "scaling.md").read_text(), re.S).group(1)

    def replaced(pattern, new, times):
        nonlocal text
        text, count = re.subn(pattern, new, text)
        assert count == times, (pattern, count)

    replaced(r"/run/haproxy/admin\.sock mode 660", str(folder / "stats"), 1)
    for port, here in ports.items():
        replaced(rf"bind :{port}\n", f"bind 127.0.0.1:{here}\n", 1)
    for address, server in servers.items():
        here = {5222: server.c2s_port, 5223: server.c2s_tls_port, 5269: server.s2s_port}
        for port in here:
            replaced(rf"{address}:{port} ", f"127.0.0.1:{here[port]} ", 1)
    replaced(r"send-proxy-v2 (check|track)", rf"source {SOURCE} send-proxy-v2 \1", 6)
    # In a test there are neither so many descriptors nor so much time.
    replaced(r"maxconn 50000", "maxconn 500", 1)
    replaced(r"inter 3s", "inter 500ms", 2)
    replaced(r"inspect-delay 5s", "inspect-delay 1s", 3)
    return text


class Stream(SecureStream):
    """A client that comes from CLIENT."""

    def __init__(self, server, trust, port, tls):
        RawStream.__init__(self, server, port, CLIENT)
        if tls == "starttls":
            self.open()
            self.socket.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            self.expect(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.socket = trust.wrap_socket(self.socket, server_hostname=server.host)
        self.open()

    def answers(self):
        """Whether its server answers what it asks."""
        self.socket.sendall(b"<iq type='get' id='q'><query xmlns='jabber:iq:register'/></iq>")
        self.expect(b"id='q'")

    def is_ended(self):
        self.socket.settimeout(20)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


def _is_turned_away(server, port):
    """Nobody answers, and the connection ends."""
    try:
        with RawStream(server, port, CLIENT) as stream:
            stream.open()
    except OSError:
        return True
    return False


def test_each_host_has_a_server_and_one_of_them_is_killed(make_server, tmp_path):
    ca = Authority(tmp_path / "ca")
    servers = {}
    for address, host in (("192.0.2.11", "example.com"), ("192.0.2.12", "example.net")):
        server = servers[address] = make_server(
            host, host=host, tls=True, modules=[*MODULES, "register_ibr", "proxy_header"],
            plugin_paths=[ROOT / "tests" / "prosody" / "modules"],
            network_settings={"proxy_protocol_trusted": [SOURCE]}, allow_registration=True,
        )
        ca.issue(server.certs, [host])
    one, two = servers.values()
    ports = dict(zip((5222, 5269, 5223), free_ports(3)))
    c2s, s2s, c2s_tls = ports.values()
    trust = ca.trust()
    configuration = documented(tmp_path / "haproxy", ports, servers)
    with one, two, HAProxy(tmp_path / "haproxy", configuration, whole=True) as haproxy:
        for server in ("com-c2s/one", "net-c2s/two"):
            haproxy.wait_for(server, "UP")

        # By host, and by SNI; the certificate that the client verifies is that of its host.
        streams = {}
        for server in (one, two):
            streams[server.host] = Stream(server, trust, c2s, "starttls")
            with Stream(server, trust, c2s_tls, "direct"):
                pass
            server.wait_for_log(rf"client ip={CLIENT} server={server.c2s_port} ")
            server.wait_for_log(rf"client ip={CLIENT} server={server.c2s_tls_port} .* destination_port={c2s_tls} ")
            streams[server.host].answers()

            with RawStream(server, s2s, CLIENT) as other:
                other.socket.sendall(
                    f"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' to='{server.host}' "
                    f"from='other.example' xmlns:db='jabber:server:dialback' version='1.0'>".encode()
                )
                assert f"from='{server.host}'".encode() in other.expect(b"</stream:features>")

        # Who wants a host that nobody has.
        with socket.create_connection(("127.0.0.1", c2s), timeout=10) as stranger:
            stranger.sendall(b"<stream:stream xmlns='jabber:client' to='example.org' version='1.0'>")
            assert stranger.recv(1) == b""

        # Nobody new while it drains, and whoever is there stays.
        haproxy.ask("set server com-c2s/one state drain")
        haproxy.wait_for("com-c2s/one", "DRAIN")
        assert _is_turned_away(one, c2s)
        streams[one.host].answers()
        haproxy.ask("set server com-c2s/one state ready")
        haproxy.wait_for("com-c2s/one", "UP")

        # One is killed: its clients hear of it, those of the other do not.
        one.signal(signal.SIGKILL)
        assert streams[one.host].is_ended()
        haproxy.wait_for("com-c2s/one", "DOWN")
        assert _is_turned_away(one, c2s)
        streams[two.host].answers()
        with Stream(two, trust, c2s, "starttls") as another:
            another.answers()

        # And it returns.
        one.kill()
        one.start()
        haproxy.wait_for("com-c2s/one", "UP")
        with Stream(one, trust, c2s, "starttls") as again:
            again.answers()
        for stream in streams.values():
            stream.socket.close()
