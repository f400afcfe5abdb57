"""A reload that finds a certificate damaged: what every kind of port then serves, and what the log says."""

import re
import ssl

import pytest

from certificates import Authority, der
from prosody_server import RawStream, SecureStream, free_ports
from test_tls import HOST, NAMES, OTHER_HOST, _reload

# Stock drops STARTTLS for the host, or its certificate for another host's; that is what differs here on purpose.
pytestmark = [pytest.mark.only_on("epoll", "threads", "13-epoll"), pytest.mark.contract_item(101)]


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("reload-ca"))


def _directory(file):
    file.unlink()
    file.mkdir()


def _truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _other_pair(file):
    """A renewal that is half done: what is in this file belongs to another pair."""
    file.write_bytes((file.parent.parent / f"other{file.suffix}").read_bytes())


# Not a truncated certificate: certmanager raises an error over it, in 0.12 and 13.0, and in prosodyctl too, which asks for the reload.
DAMAGES = {
    "directory for certificate": (".crt", _directory, r"localhost\.crt: error loading certificate \(Is a directory\)"),
    "empty certificate": (".crt", lambda file: file.write_text(""), r"localhost\.crt: error loading certificate \(.+\)"),
    "wrong certificate": (".crt", _other_pair, r"localhost\.crt and .*localhost\.key: private key does not match"),
    "no key": (".key", lambda file: file.unlink(), r"localhost\.key: error loading private key \(No such file or directory\)"),
    "directory for key": (".key", _directory, r"localhost\.key: error loading private key \(Is a directory\)"),
    "empty key": (".key", lambda file: file.write_text(""), r"localhost\.key: error loading private key \(.+\)"),
    "truncated key": (".key", _truncated, r"localhost\.key: error loading private key \(.+\)"),
    "wrong key": (".key", _other_pair, r"localhost\.crt and .*localhost\.key: private key does not match"),
}


def _served(server, s2s_port):
    """The certificates for both hosts and for clients that send no name, in each of the ways to connect."""
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    found = {}
    ports = {"c2s": server.c2s_tls_port, "s2s": s2s_port, "https": server.https_port}
    for name in (HOST, OTHER_HOST):
        with RawStream(server) as stream:
            stream.host = name
            stream.open()
            stream.socket.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            stream.expect(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            with trust.wrap_socket(stream.socket, server_hostname=name) as secure:
                found["starttls", name] = secure.getpeercert(True)
    for what, port in ports.items():
        for name in (HOST, OTHER_HOST, None):
            with SecureStream(server, trust, port, name) as stream:
                found[what, name] = stream.socket.getpeercert(True)
    return found


@pytest.fixture
def two_hosts(make_server, ca):
    (s2s_port,) = free_ports(1)
    server = make_server(tls=True, s2s_direct_tls_ports=[s2s_port])
    server.more_config = [f'VirtualHost "{OTHER_HOST}"']
    ca.issue(server.certs, NAMES)
    ca.issue(server.certs, [OTHER_HOST])
    ca.issue(server.folder, ["other"])
    return server, s2s_port


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged(two_hosts, ca, damage):
    server, s2s_port = two_hosts
    suffix, break_it, message = DAMAGES[damage]
    # certmanager says its part for each context of the host.
    server.tolerated = [r"(?i)certificate|TLS|creating context"]
    with server:
        # What a busy server has done long before a certificate is renewed.
        server.shell("> collectgarbage()")
        before = _served(server, s2s_port)
        break_it(server.certs / f"{HOST}{suffix}")
        for _ in range(2):
            said = _reload(server)
            assert len(re.findall(r"\terror\tKeeping the certificate .*" + message, said)) == 1, said
            assert "(null)" not in said
            assert _served(server, s2s_port) == before

        for file in (server.certs / f"{HOST}.crt", server.certs / f"{HOST}.key"):
            if file.is_dir():
                file.rmdir()
        new = der(ca.issue(server.certs, NAMES))
        said = _reload(server)
        assert "\terror\t" not in said
        after = _served(server, s2s_port)
        for way, certificate in after.items():
            # Without a name it is the certificate of either host.
            allowed = {HOST: {new}, OTHER_HOST: {before[way]}, None: {new, before["starttls", OTHER_HOST]}}[way[1]]
            assert certificate in allowed, way


def test_expired(two_hosts, ca):
    """It is the clients that judge; as on stock."""
    server, s2s_port = two_hosts
    with server:
        new = der(ca.issue(server.certs, NAMES, days=-1))
        _reload(server)
        served = _served(server, s2s_port)
        assert {certificate for (_, name), certificate in served.items() if name == HOST} == {new}


def _configure(server, pair):
    """The pair that both hosts and all ports have from now on, by the configuration alone."""
    server.options["ssl"] = {"certificate": pair, "key": pair.with_suffix(".key")}
    server.write_config()
    for name in (HOST, OTHER_HOST):
        # What was there before is half deleted.
        (server.certs / f"{name}.key").unlink()


def test_another_pair_is_configured(two_hosts, ca):
    """A certificate whose key is gone is no longer served once the configuration has another one for the same names."""
    server, s2s_port = two_hosts
    server.tolerated = [r"(?i)certificate|TLS|creating context"]
    pair = ca.issue(server.folder / "moved", [*NAMES, OTHER_HOST])
    with server:
        _configure(server, pair)
        # Prosody may reload a host before certmanager forgets what was in its folder: that host's turn comes with the next.
        _reload(server)
        said = _reload(server)
        assert "Keeping the certificate" not in said
        assert set(_served(server, s2s_port).values()) == {der(pair)}


@pytest.mark.parametrize("missing", [".crt", ".key"])
def test_what_is_configured_is_missing(two_hosts, ca, missing):
    server, s2s_port = two_hosts
    server.tolerated = [r"(?i)certificate|TLS|creating context"]
    pair = ca.issue(server.folder / "moved", [*NAMES, OTHER_HOST])
    with server:
        before = _served(server, s2s_port)
        pair.with_suffix(missing).unlink()
        _configure(server, pair)
        _reload(server)
        for _ in range(2):
            said = _reload(server)
            assert re.search(rf"\terror\tKeeping the certificate .*moved/localhost\{missing}: .*\(No such file or directory\)", said), said
            assert _served(server, s2s_port) == before
