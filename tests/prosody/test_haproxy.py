"""HAProxy of Debian in front of Prosody: Prosody sees the clients and not HAProxy."""

import re
import time
import urllib.request

import pytest

from certificates import Authority
from haproxy import SOURCE, HAProxy
from prosody_server import MODULES, ROOT, Prosody, RawStream, SecureStream, free_ports

# Stock has no PROXY protocol; that each poller has it is in the contract.
pytestmark = pytest.mark.only_on("epoll", "threads", "13-epoll")

CLIENT, ANOTHER = "127.0.0.3", "127.0.0.4"

CONFIGURATION = """\
listen plain-v1
    bind 127.0.0.1:{plain_v1}
    server p 127.0.0.1:{c2s} source {source} send-proxy check inter 300ms
listen plain-v2
    bind 127.0.0.1:{plain_v2}
    server p 127.0.0.1:{c2s} source {source} send-proxy-v2 check inter 300ms
listen passed-through
    bind 127.0.0.1:{passed}
    server p 127.0.0.1:{c2s_tls} source {source} send-proxy-v2
listen terminated
    bind 127.0.0.1:{terminated} ssl crt {certificate} alpn xmpp-client
    server p 127.0.0.1:{c2s} source {source} send-proxy-v2 proxy-v2-options ssl,ssl-cipher,authority,unique-id,crc32c
listen web
    bind 127.0.0.1:{web}
    server p 127.0.0.1:{http} source {source} send-proxy-v2
"""


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def shared_proxied(backend, ca, tmp_path_factory):
    """A Prosody, HAProxy in front of it, and the ports of HAProxy."""
    folder = tmp_path_factory.mktemp(f"{backend.name}-proxied")
    server = Prosody(
        folder / "prosody", backend, tls=True,
        modules=[*MODULES, "limits", "register_ibr", "register_limits", "proxy_header"],
        plugin_paths=[ROOT / "tests" / "prosody" / "modules"],
        network_settings={"proxy_protocol_trusted": [SOURCE]},
        allow_registration=True,
        registration_throttle_max=1,
        registration_throttle_period=3600,
        limits={"c2s": {"rate": "4kb/s", "burst": "1s"}},
    )
    certificate = ca.issue(server.certs, ["localhost"])
    both = folder / "both.pem"
    both.write_text(certificate.read_text() + certificate.with_suffix(".key").read_text())
    names = ("plain_v1", "plain_v2", "passed", "terminated", "web")
    ports = dict(zip(names, free_ports(len(names))))
    with server, HAProxy(folder / "haproxy", CONFIGURATION.format(
        **ports, c2s=server.c2s_port, c2s_tls=server.c2s_tls_port, http=server.http_port, source=SOURCE, certificate=both,
    )) as haproxy:
        haproxy.wait_for("plain-v1/p", "UP")
        haproxy.wait_for("plain-v2/p", "UP")
        yield server, ports


def _register(stream, name):
    stream.socket.sendall(
        f"<iq type='set' id='{name}'><query xmlns='jabber:iq:register'><username>{name}</username>"
        f"<password>secret</password></query></iq>".encode()
    )
    answer = stream.expect(f"id='{name}'".encode())
    answer += stream.expect(b">")
    return re.search(rb"type='(\w+)'", answer[answer.rindex(b"<iq"):]).group(1)


def test_prosody_sees_the_clients(shared_proxied, ca):
    server, ports = shared_proxied
    for port in (ports["plain_v1"], ports["plain_v2"]):
        with RawStream(server, port, CLIENT) as stream:
            stream.open()
            mine = stream.socket.getsockname()[1]
            server.wait_for_log(
                rf"client ip={CLIENT} server={server.c2s_port} proxy_ip={SOURCE} source_ip={CLIENT} destination_port={port} "
            )
            server.wait_for_log(rf"New connection FD \d+ \({CLIENT}, {mine}, 127\.0\.0\.1, {port}\)")
            stream.socket.sendall(b"</stream:stream>")
            stream.expect(b"</stream:stream>")
    server.wait_for_log(rf"c2s stream for {CLIENT} closed", times=2)

    # TLS that ends at Prosody, direct and by STARTTLS
    with SecureStream(server, ca.trust(), ports["passed"], source=CLIENT) as stream:
        stream.open()
    server.wait_for_log(rf"client ip={CLIENT} server={server.c2s_tls_port} ")
    with RawStream(server, ports["plain_v2"], CLIENT) as stream:
        stream.open()
        stream.socket.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        stream.expect(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        stream.socket = ca.trust().wrap_socket(stream.socket, server_hostname="localhost")
        stream.open()

    # TLS that ends at HAProxy, which tells of it
    trust = ca.trust()
    trust.set_alpn_protocols(["xmpp-client"])
    with SecureStream(server, trust, ports["terminated"], source=CLIENT) as stream:
        stream.open()
        client = rf"client-{CLIENT}-{stream.socket.getsockname()[1]}"
        server.wait_for_log(rf"authority=localhost alpn=xmpp-client unique_id={client} tls=TLSv1\.3,TLS_AES_")

    # HTTP
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/http-bind", timeout=10) as answer:
        assert answer.status == 200
    body = "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' to='localhost' wait='1' hold='0' ver='1.6'/>"
    request = urllib.request.Request(f"http://127.0.0.1:{ports['web']}/http-bind", body.encode(), {"Host": f"localhost:{server.http_port}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert b"sid=" in answer.read()
    # HTTP clients of this library have no address of their own choice; it is not HAProxy's, which is the point.
    server.wait_for_log(r"BOSH session created for request from 127\.0\.0\.1")
    said = server.log.read_text()
    assert f"from {SOURCE}" not in said
    # Who comes without HAProxy is nobody's client.
    with RawStream(server) as stream:
        stream.open()
    assert re.search(rf"client ip=127\.0\.0\.1 server={server.c2s_port}\n", server.log.read_text())


def test_modules_that_go_by_addresses_count_the_clients(shared_proxied):
    server, ports = shared_proxied
    with RawStream(server, ports["plain_v2"], CLIENT) as first, RawStream(server, ports["plain_v1"], CLIENT) as second:
        with RawStream(server, ports["plain_v2"], ANOTHER) as other:
            for stream in (first, second, other):
                stream.open()
            assert _register(first, "benvolio") == b"result"
            assert _register(second, "mercutio") == b"error", "a second account from one address"
            assert _register(other, "tybalt") == b"result", "an account from another address"
            # mod_limits holds the client, by what it lets through: some seconds' worth.
            other.socket.sendall(b" " * 12_000)
            began = time.monotonic()
            other.socket.sendall(b"<iq type='get' id='end'><query xmlns='jabber:iq:register'/></iq>")
            other.expect(b"id='end'")
            assert time.monotonic() - began > 1


def test_who_is_trusted_has_to_send_a_header(shared_proxied):
    server, _ = shared_proxied
    with RawStream(server, source=SOURCE) as stream, pytest.raises(ConnectionError):
        stream.open()
    server.wait_for_log(rf"{SOURCE}:\d+: no PROXY header; the connection was closed.*proxy_protocol_trusted")
    # And a client cannot choose its address: to Prosody its header is no XML.
    with RawStream(server, source=CLIENT) as stream:
        stream.socket.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 1 5222\r\n")
        stream.expect(b"not-well-formed")
    assert "(192.0.2.7" not in server.log.read_text()
