"""Modules of others that touch connections, of Debian's prosody-modules: each does its work.

They are made for Prosody 0.12, and installed into its folder; 13.0 gets them, and nothing else of that folder, too. What does not
work there, or on neither, does not on Prosody's own backend either, and the test says so.
"""

import asyncio
import base64
import contextlib
import hashlib
import pathlib
import re
import socket
import socketserver
import ssl
import threading
from xml.etree import ElementTree

import aiohttp
import pytest

from certificates import Authority
from clients import Inbox, online
from prosody_server import MODULES, PASSWORDS, RawStream, SecureStream, free_ports
from test_s2s import S2S_PORT, two_addresses

# The stock ones are the control. That each poller serves is tested elsewhere.
pytestmark = [pytest.mark.only_on("epoll", "stock-epoll", "13-epoll", "13-stock-epoll"), pytest.mark.contract_item(102)]

INSTALLED = pathlib.Path("/usr/lib/prosody/modules")
OTHERS = ["auth_ccert", "http_upload", "ipcheck", "net_dovecotauth", "onions", "pubsub_mqtt", "s2s_idle_timeout", "sasl2"]

HOST = "localhost"
# The users of the one are vouched for by a CA, those of the other hand in certificates of their own.
CERTIFICATES_HOST = "mantua.localhost"
OWN_CERTIFICATES_HOST = "padua.localhost"

# What is logged for the faults of three modules
QUEUE = r"Traceback\[s2s\]: \S*/mod_s2s.lua:\d+: attempt to call a nil value \(field 'count'\)"
NO_INFO = r"\S*/mod_sasl2.lua:\d+: attempt to call a nil value \(method 'ssl_info'\)"
NOT_LOADED = r"client_certs_as_it_is.*: the permission mode 'user' has been renamed 'any'"


def _base64(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def plugin_paths(tmp_path):
    """A folder with these modules alone: where they are installed, the modules of Prosody 0.12 itself are, too."""
    folder = tmp_path / "modules"
    folder.mkdir()
    for name in OTHERS:
        (folder / f"mod_{name}").symlink_to(INSTALLED / f"mod_{name}")
    # In neither version it loads: both have renamed a permission of ad-hoc commands. With that word changed it does.
    as_it_is = INSTALLED / "mod_client_certs" / "mod_client_certs.lua"
    (folder / "mod_client_certs_as_it_is.lua").symlink_to(as_it_is)
    text = as_it_is.read_text()
    assert text.count('adhoc_handler, "user")') == 1
    (folder / "mod_client_certs.lua").write_text(text.replace('adhoc_handler, "user")', 'adhoc_handler, "any")'))
    return [folder]


@pytest.fixture
def server(make_server, ca, plugin_paths):
    """One Prosody with what can be loaded together."""
    dovecot, mqtt = free_ports(2)
    server = make_server(
        tls=True, plugin_paths=plugin_paths,
        modules=[*MODULES, "ipcheck", "sasl2", "net_dovecotauth", "pubsub_mqtt"],
        dovecotauth_ports=[dovecot], dovecotauth_host=HOST,
        pubsub_mqtt_ports=[mqtt],
        # Clients are asked for certificates, and may have none.
        c2s_ssl={"cafile": ca.file, "verify": ["peer", "client_once"]},
    )
    server.dovecot_port, server.mqtt_port = dovecot, mqtt
    server.more_config = [
        f'VirtualHost "{CERTIFICATES_HOST}"',
        '\tauthentication = "ccert"',
        '\tmodules_disabled = { "sasl2" }',
        f'VirtualHost "{OWN_CERTIFICATES_HOST}"',
        '\tmodules_enabled = { "client_certs", "client_certs_as_it_is" }',
        '\tmodules_disabled = { "sasl2" }',
        f'Component "upload.{HOST}" "http_upload"',
        f'\thttp_host = "{HOST}"',
        f'Component "pubsub.{HOST}" "pubsub"',
        '\tmodules_enabled = { "pubsub_mqtt" }',
        "\tautocreate_on_publish = true",
        f'\tadmins = {{ "romeo@{HOST}" }}',
    ]
    ca.issue(server.certs, [HOST, f"upload.{HOST}", f"pubsub.{HOST}"])
    for host in (CERTIFICATES_HOST, OWN_CERTIFICATES_HOST):
        ca.issue(server.certs, [host])
    # mod_pubsub_mqtt does not expect to be told, at the end, that its listening socket is closed; stock does so too. The second
    # line belongs to the first.
    server.tolerated = [r"Error calling ondisconnect: \S*/mod_pubsub_mqtt.lua:150:", "^\tstack traceback:$", NOT_LOADED]
    with server:
        yield server


def _trust(ca, certificate=None):
    context = ca.trust()
    if certificate:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def test_modules_of_one_server(server, ca, tmp_path, record_property):
    stranger = Authority(tmp_path / "stranger", "Mantua CA")
    asyncio.run(_ipcheck(server))
    asyncio.run(_auth_ccert(server, ca, stranger, tmp_path))
    asyncio.run(_client_certs(server, ca, tmp_path))
    asyncio.run(_upload(server, ca))
    asyncio.run(_mqtt(server))
    _sasl2(server, ca, record_property)
    _dovecot(server)


async def _ipcheck(server):
    """mod_ipcheck (XEP-0279): what the server sees as our address."""
    async with online(server, "romeo") as romeo:
        for version, path in ((0, "{urn:xmpp:sic:0}ip"), (1, "{urn:xmpp:sic:1}address/{urn:xmpp:sic:1}ip")):
            iq = romeo.make_iq_get()
            iq.append(ElementTree.Element(f"{{urn:xmpp:sic:{version}}}{'address' if version else 'ip'}"))
            answer = await iq.send(timeout=10)
            assert answer.xml.findtext(path) == "127.0.0.1", str(answer)
        # Its name for the port is none of server_epoll's, so that there it leaves the port out.
        port = answer.xml.findtext("{urn:xmpp:sic:1}address/{urn:xmpp:sic:1}port")
        assert port in (None, str(romeo.socket.getsockname()[1])), str(answer)


async def _auth_ccert(server, ca, stranger, folder):
    """mod_auth_ccert: who is who is in the certificate, if a CA vouches for it."""
    name = [f"juliet@{CERTIFICATES_HOST}"]
    for issuer, welcome in ((ca, True), (stranger, False)):
        certificate = issuer.issue(folder, name, kind="otherName:1.3.6.1.5.5.7.8.5;UTF8")
        by_certificate = dict(trust=_trust(ca, certificate), mechanism="EXTERNAL", host=CERTIFICATES_HOST, tls="starttls")
        if welcome:
            async with online(server, "juliet", **by_certificate) as juliet:
                assert await juliet.plugin["xep_0199"].ping(CERTIFICATES_HOST, timeout=5) > 0
        else:
            # 13.0 refuses it in the handshake.
            with pytest.raises(AssertionError, match="authentication failed|alert unknown ca"):
                async with online(server, "juliet", **by_certificate):
                    pass


async def _client_certs(server, ca, folder):
    """mod_client_certs (XEP-0257): login by a certificate that the user has handed in, until it is revoked.

    Handing it in is not here: der2pem of util.x509, of both versions, raises on Lua 5.4 for most certificates.
    """
    assert re.search(NOT_LOADED, server.log.read_text()), server.everything_said()
    jid, host = f"juliet@{OWN_CERTIFICATES_HOST}", OWN_CERTIFICATES_HOST
    result = server.ctl("register", "juliet", host, PASSWORDS["juliet"])
    assert result.returncode == 0, result.stdout
    known, unknown = (
        ca.issue(folder / name, [jid], kind="otherName:1.3.6.1.5.5.7.8.5;UTF8") for name in ("known", "unknown")
    )
    _hand_in(server, "juliet", host, known)

    def by_certificate(certificate):
        return online(server, "juliet", trust=_trust(ca, certificate), mechanism="EXTERNAL", host=host, tls="starttls")

    with pytest.raises(AssertionError, match="authentication failed"):
        async with by_certificate(unknown):
            pass
    async with by_certificate(known) as juliet:
        errors = Inbox(juliet, "stream_error")
        gone = juliet.disconnected
        iq = juliet.make_iq_set()
        iq.append(ElementTree.fromstring("<revoke xmlns='urn:xmpp:saslcert:1'><name>key</name></revoke>"))
        iq.send(timeout=10)
        async with asyncio.timeout(10):
            await gone
        assert [e["text"] for e in errors.seen] == ["This client side certificate has been revoked."]
    with pytest.raises(AssertionError, match="authentication failed"):
        async with by_certificate(known):
            pass


def _hand_in(server, user, host, certificate):
    """Leaves the certificate where the module keeps them."""
    pem = certificate.read_text()
    digest = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    store = server.folder / "data" / host.replace(".", "%2e") / "client_certs"
    store.mkdir(parents=True)
    (store / f"{user}.dat").write_text(f'return {{ key = {{ name = "key", pem = [[\n{pem}]], digest = "{digest}" }} }}\n')


async def _upload(server, ca):
    """mod_http_upload, the predecessor of Prosody's own: it insists on https."""
    content = bytes(range(256)) * 3000
    async with (
        online(server, "romeo", plugins=["xep_0363"]) as romeo,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=ca.trust())) as http,
    ):
        slot = await romeo.plugin["xep_0363"].request_slot(f"upload.{HOST}", "letter.bin", len(content), timeout=10)
        url = slot["http_upload_slot"]["put"]["url"]
        assert url.startswith(f"{server.https_url}/"), url
        async with http.put(url, data=content) as response:
            assert response.status == 201
        async with http.get(url) as response:
            assert response.status == 200 and await response.read() == content


async def _mqtt(server):
    """mod_pubsub_mqtt: what is published over MQTT 3.1.1 reaches a subscriber over XMPP.

    The other way round the module raises before it writes: its own rawset(self, packet) lacks a value.
    """
    node, service = "capulets", f"pubsub.{HOST}"
    async with online(server, "romeo", plugins=["xep_0060"]) as romeo:
        events = Inbox(romeo, "pubsub_publish")
        await romeo.plugin["xep_0060"].create_node(service, node, timeout=10)
        await romeo.plugin["xep_0060"].subscribe(service, node, timeout=10)

        reader, writer = await asyncio.open_connection(server.address, server.mqtt_port)
        async with asyncio.timeout(15):
            # CONNECT: level 4, clean session, keep-alive 60 s, no name. The module reads two bytes too few of it, and skips
            # them, two zeros, as a packet of no kind.
            writer.write(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
            assert await reader.readexactly(4) == b"\x20\x02\x00\x00"  # CONNACK, accepted
            topic, payload = f"{service}/utf8/{node}".encode(), b"Tybalt is near"
            packet = len(topic).to_bytes(2, "big") + topic + payload
            # In pieces, as a network may deliver it.
            for piece in (b"\x30", bytes([len(packet)]) + packet[:7], packet[7:]):
                writer.write(piece)
                await writer.drain()
            event = await events.wait_for(lambda m: True, "the item")
            assert payload.decode() in str(event), str(event)
            writer.write(b"\xc0\x00")  # PINGREQ
            assert await reader.readexactly(2) == b"\xd0\x00"
            writer.write(b"\xe0\x00")  # DISCONNECT: the module closes
            assert await reader.read() == b""
        writer.close()


def _sasl2(server, ca, record_property):
    """mod_sasl2 (XEP-0388): login over TLS, without a new stream."""
    with contextlib.ExitStack() as streams:
        stream = streams.enter_context(SecureStream(server, _trust(ca)))
        if not server.backend.ours and server.backend.version == "0.12":
            server.tolerated += [rf"Traceback\[c2s\]: {NO_INFO}", "^\tstack traceback:$"]
            with pytest.raises(TimeoutError):
                stream.open(timeout=1)
            assert re.search(NO_INFO, server.log.read_text()), server.everything_said()
            record_property("stock bug", "mod_sasl2 asks a connection with TLS for ssl_info()")
            stream = streams.enter_context(RawStream(server))
        stream.open()
        stream.socket.sendall(
            f"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>"
            f"{_base64(chr(0) + 'romeo' + chr(0) + PASSWORDS['romeo'])}</initial-response></authenticate>".encode()
        )
        success = stream.expect(b"</success>")
        assert b"<authorization-identifier>romeo@localhost" in success, success
        stream.expect(b"</stream:features>")
        stream.socket.sendall(b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        assert b"<jid>romeo@localhost/" in stream.expect(b"</iq>")


def _dovecot(server):
    """mod_net_dovecotauth: Dovecot's authentication protocol, as a mail server speaks it."""
    with socket.create_connection((server.address, server.dovecot_port), timeout=10) as connection:
        lines = connection.makefile("r")
        greeting = list(iter(lines.readline, "DONE\n"))
        assert greeting[0] == "VERSION\t1\t1\n" and "MECH\tPLAIN\tplaintext\n" in greeting, greeting
        connection.sendall(b"VERSION\t1\t1\nCPID\t1\n")
        for number, password, answer in ((1, PASSWORDS["romeo"], "OK\t1\tuser=romeo"), (2, "wrong", "FAIL\t2\t")):
            secret = _base64(f"\0romeo\0{password}")
            connection.sendall(f"AUTH\t{number}\tPLAIN\tservice=smtp\tresp={secret}\n".encode())
            assert lines.readline().startswith(answer)


class Socks5(socketserver.ThreadingTCPServer):
    """A SOCKS5 server (RFC 1928) that knows one name and where it is."""

    daemon_threads = True

    def __init__(self, name, target):
        self.name, self.target, self.asked = name, target, []
        super().__init__(("127.0.0.1", 0), self.Handler)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            assert self.rfile.read(3) == b"\x05\x01\x00"
            self.wfile.write(b"\x05\x00")
            assert self.rfile.read(4) == b"\x05\x01\x00\x03"
            name = self.rfile.read(self.rfile.read(1)[0]).decode()
            port = int.from_bytes(self.rfile.read(2), "big")
            self.server.asked.append((name, port))
            if name != self.server.name:
                return
            with socket.create_connection(self.server.target) as far:
                self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
                back = threading.Thread(target=self.pump, args=(far, self.connection), daemon=True)
                back.start()
                self.pump(self.connection, far)
                back.join()

        @staticmethod
        def pump(source, sink):
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(data)
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)


def test_onions_and_s2s_idle_timeout(make_server, plugin_paths):
    """mod_onions reaches a server through SOCKS5; mod_s2s_idle_timeout closes what is idle, both ways."""
    verona, mantua = two_addresses()

    async def flow(here, there):
        async with online(here, "romeo") as romeo, online(there, "juliet") as juliet:
            bounces = Inbox(romeo, "message_error")

            async def over(first, last, attempt):
                if here.backend.version != "0.12":
                    # The module's queue is not the one that 13.0 takes stanzas from: what opens the connection is not
                    # sent, and comes back in the end.
                    romeo.send_message(mto=juliet.boundjid, mbody="lost", mtype="chat")
                    await asyncio.to_thread(here.wait_for_log, QUEUE, attempt)
                for n in range(first, last):
                    romeo.send_message(mto=juliet.boundjid, mbody=f"over {n}", mtype="chat")
                await juliet.messages.wait_for(lambda m: m["body"] == f"over {last - 1}", "the last message over")

            await over(0, 20, 1)
            juliet.send_message(mto=romeo.boundjid, mbody="back", mtype="chat")
            await romeo.messages.wait_for(lambda m: m["body"] == "back", "the message back")
            for pair in (f"{verona}->{mantua}", f"{mantua}->{verona}"):
                await asyncio.to_thread(there.wait_for_log, f"Closing idle connection {re.escape(pair)}")
                await asyncio.to_thread(here.wait_for_log, f"s2s stream {re.escape(pair)} closed")
            if here.backend.version != "0.12":
                assert (await bounces.wait_for(lambda m: True, "the error"))["from"] == juliet.boundjid
            # It is up again when it is needed.
            await over(20, 40, 2)
            assert [m["body"] for m in juliet.messages.seen] == [f"over {n}" for n in range(40)]

    with Socks5("mantua.onion", (mantua, S2S_PORT)) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        with make_server(
            "verona", host=verona, address=verona, s2s_port=S2S_PORT,
            modules=[*MODULES, "onions"], plugin_paths=plugin_paths,
            onions_socks5_port=proxy.server_address[1], onions_map={mantua: "mantua.onion"},
        ) as here, make_server(
            "mantua", host=mantua, address=mantua, s2s_port=S2S_PORT,
            modules=[*MODULES, "s2s_idle_timeout"], plugin_paths=plugin_paths, s2s_idle_timeout=2,
        ) as there:
            if here.backend.version != "0.12":
                here.tolerated = [QUEUE, "^\tstack traceback:$"]
            asyncio.run(flow(here, there))
            assert here.log.read_text().count("SOCKS5 done, handing over listening") == len(proxy.asked)
        assert set(proxy.asked) == {("mantua.onion", 5269)} and len(proxy.asked) >= 2
        proxy.shutdown()
