"""TLS wherever Prosody has it: STARTTLS, direct TLS, https, s2s, outgoing https, with certificates made on the spot."""

import asyncio
import contextlib
import functools
import hashlib
import io
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from xml.etree import ElementTree

import aiohttp
import aiohttp.web
import pytest

from certificates import Authority, der
from clients import Inbox, online
from prosody_server import MODULES, ROOT, PASSWORDS, Prosody, RawStream, SecureStream, free_ports, let_stock_settle, lua
from test_s2s import S2S_PORT, two_addresses
from test_web import Bosh, WebSocket

pytestmark = pytest.mark.contract_item(101)

HOST = "localhost"
OTHER_HOST = "mantua.localhost"
NAMES = [HOST, f"rooms.{HOST}", f"files.{HOST}", f"proxy.{HOST}", f"component.{HOST}"]

BOTH_WAYS = pytest.mark.parametrize("tls", ["starttls", "direct"])
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


async def _in_thread(function, *args):
    """Runs what waits without letting the clients of this loop wait."""
    return await asyncio.to_thread(function, *args)


def _web(ca):
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=ca.trust()))


def _port(server, tls):
    return server.c2s_tls_port if tls == "direct" else None


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """A CA that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Mantua CA")


@pytest.fixture(scope="session")
def shared_tls_server(backend, ca, tmp_path_factory):
    """One Prosody per backend for all tests that leave it as they found it: two hosts, the ALPN port, the fetcher."""
    (multiplex,) = free_ports(1)
    server = Prosody(
        tmp_path_factory.mktemp(f"{backend.name}-tls"), backend, tls=True,
        modules=[*MODULES, "net_multiplex", "fetch"],
        plugin_paths=[ROOT / "tests" / "prosody" / "modules"],
        ssl_ports=[multiplex],
        ssl={"cafile": ca.file},
    )
    server.multiplex_port = multiplex
    server.more_config = [f'VirtualHost "{OTHER_HOST}"']
    ca.issue(server.certs, NAMES)
    ca.issue(server.certs, [OTHER_HOST], "RSA")
    with server:
        result = server.ctl("register", "nurse", OTHER_HOST, PASSWORDS["juliet"])
        assert result.returncode == 0, result.stdout
        yield server


@pytest.fixture
def server(shared_tls_server):
    yield shared_tls_server
    assert shared_tls_server.alive(), f"Prosody ended\n{shared_tls_server.everything_said()}"


# --- clients ----------------------------------------------------------------------------------------


@BOTH_WAYS
@VERSIONS
def test_login(server, ca, tls, version):
    """A client that verifies the certificate and the name in it."""

    async def flow():
        async with online(server, "romeo", tls=tls, trust=ca.trust(version)) as romeo:
            assert romeo.socket.version() == version.name.replace("_", ".")
            assert romeo.socket.getpeercert(True) == der(server.certs / f"{HOST}.crt")
            assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) > 0

            # 0.12 knows tls-unique alone, which TLS 1.3 has not, and which trochee cannot tell; 13.0 knows tls-exporter, but
            # only for TLS 1.3 (test_channel_binding.py).
            offered = romeo.plugin["feature_mechanisms"].mech_list
            assert "SCRAM-SHA-1" in offered
            plus = {name for name in offered if name.endswith("-PLUS")}
            unique = version == ssl.TLSVersion.TLSv1_2 and not server.backend.ours
            exporter = version == ssl.TLSVersion.TLSv1_3 and server.backend.version == "13.0"
            assert bool(plus) == (unique or exporter), plus

    asyncio.run(flow())


@BOTH_WAYS
def test_client_that_does_not_trust(server, stranger, tls):
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer|self-signed certificate"):
        SecureStream(server, stranger.trust(), _port(server, tls))
    # That disturbs nobody: the shared server's log is checked for errors at its end.


@BOTH_WAYS
def test_certificate_of_each_host(server, ca, tls):
    """Direct TLS finds the host by SNI, STARTTLS by the stream's `to`. The other host's key is RSA."""

    async def flow():
        async with online(server, "nurse", password=PASSWORDS["juliet"], host=OTHER_HOST, tls=tls, trust=ca.trust()) as nurse:
            assert nurse.socket.getpeercert(True) == der(server.certs / f"{OTHER_HOST}.crt")
            assert await nurse.plugin["xep_0199"].ping(OTHER_HOST, timeout=5) > 0

    asyncio.run(flow())


def test_unknown_name_is_refused(server, ca):
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        SecureStream(server, ca.trust(), server.c2s_tls_port, "padua.localhost")


def test_chat_between_starttls_and_direct_tls(server, ca):
    many = 300
    large = "Wherefore art thou Romeo? ♥ " * 8000  # many records of TLS

    async def flow():
        async with (
            online(server, "romeo", tls="starttls", trust=ca.trust()) as romeo,
            online(server, "juliet", tls="direct", trust=ca.trust()) as juliet,
        ):
            async def talk(sender, receiver):
                for n in range(many):
                    sender.send_message(mto=receiver.boundjid, mbody=f"line {n}", mtype="chat")
                sender.send_message(mto=receiver.boundjid, mbody=large, mtype="chat")
                await receiver.messages.wait_for(lambda m: m["body"] == large, "the last line")
                assert [m["body"] for m in receiver.messages.seen] == [f"line {n}" for n in range(many)] + [large]

            await asyncio.gather(talk(romeo, juliet), talk(juliet, romeo))

    asyncio.run(flow())


def test_openssl_client(server, ca):
    """TLS 1.3 and a verified chain with OpenSSL's own client, by STARTTLS and direct TLS."""
    for port, options in (
        (server.c2s_port, ("-starttls", "xmpp", "-xmpphost", HOST)),
        (server.c2s_tls_port, ("-alpn", "xmpp-client")),
        (server.https_port, ("-alpn", "http/1.1")),
    ):
        result = subprocess.run(
            [
                "openssl", "s_client", "-brief", "-connect", f"{server.address}:{port}", "-servername", HOST,
                "-CAfile", ca.file, "-verify_return_error", "-verify_hostname", HOST, *options,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
        )
        assert result.returncode == 0, result.stdout
        assert "Protocol version: TLSv1.3" in result.stdout, result.stdout
        assert "Verification: OK" in result.stdout, result.stdout


def _tool(name, *arguments, **options):
    """What a client from the system prints, both streams; it must end well."""
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed; scripts/setup installs it")
    result = subprocess.run(
        [name, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **options,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@BOTH_WAYS
@VERSIONS
def test_gnutls_client(server, ca, tls, version):
    """GnuTLS verifies chain and name, and resumes its session in a second connection."""
    number = version.name[-3:].replace("_", ".")
    options = ["--starttls-proto=xmpp"] if tls == "starttls" else ["--alpn=xmpp-client"]
    said = _tool(
        "gnutls-cli", f"--port={_port(server, tls) or server.c2s_port}", f"--x509cafile={ca.file}", *options,
        f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{number}", "--waitresumption", "--resume", HOST, stdin=subprocess.DEVNULL,
    )
    assert f"Description: (TLS{number}-X.509)-" in said, said
    assert "Status: The certificate is trusted." in said, said
    if server.backend.ours:
        assert "This is a resumed session" in said, said


@BOTH_WAYS
def test_go_client(server, ca, tls):
    """go-sendxmpp, on Go's crypto/tls: verifies, logs in, and sends."""

    async def flow():
        async with online(server, "juliet", tls="starttls", trust=ca.trust()) as juliet:
            said = await _in_thread(functools.partial(
                _tool, "go-sendxmpp", "--debug", *(["--tls"] if tls == "direct" else []),
                "-u", f"romeo@{HOST}", "-p", PASSWORDS["romeo"],
                "-j", f"{HOST}:{_port(server, tls) or server.c2s_port}", juliet.boundjid.bare,
                input="from Go", env={**os.environ, "SSL_CERT_FILE": str(ca.file)},
            ))
            await juliet.messages.wait_for(lambda m: m["body"] == "from Go", f"the message; the client said: {said}")

    asyncio.run(flow())


def test_scan_shows_no_weakness(server, ca):
    """sslscan tries what nobody should offer any more. Stock as Prosody configures it passes, too."""
    said = _tool("sslscan", "--xml=-", f"--sni-name={HOST}", f"{HOST}:{server.c2s_tls_port}", stdin=subprocess.DEVNULL)
    test = ElementTree.fromstring(said).find("ssltest")
    protocols = {p.get("type") + p.get("version"): p.get("enabled") for p in test.iter("protocol")}
    assert protocols == {"ssl2": "0", "ssl3": "0", "tls1.0": "0", "tls1.1": "0", "tls1.2": "1", "tls1.3": "1"}
    bleeding = [t.get("vulnerable") for t in test.iter("heartbleed")]
    assert bleeding == ["0", "0"], said
    renegotiation = test.find("renegotiation")
    assert renegotiation.get("supported") == "0" or not server.backend.ours and renegotiation.get("secure") == "1", said
    ciphers = {(c.get("sslversion"), c.get("cipher"), int(c.get("bits"))) for c in test.iter("cipher")}
    assert {version for version, _, _ in ciphers} == {"TLSv1.2", "TLSv1.3"}, ciphers
    assert min(bits for _, _, bits in ciphers) >= 128, ciphers
    if server.backend.ours:
        assert all(re.match(r"TLS_|ECDHE-.*(GCM|POLY1305)", name) for _, name, _ in ciphers), ciphers


# --- the web ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Bosh, WebSocket])
def test_web_session(server, ca, kind):
    async def flow():
        async with online(server, "juliet", tls="starttls", trust=ca.trust()) as juliet, _web(ca) as http:
            session = kind(server, http, server.https_url)
            await session.converse("romeo", juliet)
            await session.close()

    asyncio.run(flow())


def test_upload_and_download(server, ca):
    size = 8 * 1024 * 1024
    content = random.Random("tls").randbytes(size)

    async def flow():
        async with online(server, "romeo", plugins=["xep_0363"], tls="direct", trust=ca.trust()) as romeo, _web(ca) as http:
            slot = await romeo.plugin["xep_0363"].request_slot(f"files.{HOST}", "aubade.bin", size, "application/octet-stream")
            put = slot["http_upload_slot"]["put"]
            assert put["url"].startswith(f"{server.https_url}/"), put["url"]
            headers = {header["name"]: header["value"] for header in put["headers"]}
            headers["Content-Type"] = "application/octet-stream"
            # From a file, so that the body comes in pieces.
            async with http.put(put["url"], data=io.BytesIO(content), headers=headers) as response:
                assert response.status == 201, await response.text()
            url = slot["http_upload_slot"]["get"]["url"]
            async with http.get(url) as response:
                assert response.status == 200
                assert await response.read() == content

            # A reader that pauses holds up nobody.
            got = hashlib.sha256()
            async with http.get(url) as response:
                got.update(await response.content.readexactly(1 << 20))
                for _ in range(5):
                    assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) < 1
                    await asyncio.sleep(0.1)
                async for chunk in response.content.iter_any():
                    got.update(chunk)
            assert got.hexdigest() == hashlib.sha256(content).hexdigest()

    asyncio.run(flow())


def test_one_port_for_xmpp_and_https(server, ca):
    """mod_net_multiplex finds the service by ALPN."""
    for offered, chosen in ((["xmpp-client"], "xmpp-client"), (["h2", "http/1.1"], "http/1.1")):
        trust = ca.trust()
        trust.set_alpn_protocols(offered)
        with SecureStream(server, trust, server.multiplex_port) as stream:
            assert stream.socket.selected_alpn_protocol() == chosen
            if chosen == "xmpp-client":
                stream.open()
            else:
                stream.socket.sendall(f"GET /http-bind HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                assert stream.expect(b"\r\n").startswith(b"HTTP/1.1 200 ")

    # Without ALPN, by what comes first.
    with SecureStream(server, ca.trust(), server.multiplex_port) as stream:
        assert stream.socket.selected_alpn_protocol() is None
        stream.open()


@contextlib.asynccontextmanager
async def _https_server(certificate):
    """aiohttp's server with a certificate and the key beside it: the URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    app = aiohttp.web.Application()

    async def answer(_):
        return aiohttp.web.Response(text="thus with a kiss " * 20000)

    app.router.add_get("/", answer)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    try:
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://{HOST}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("case", ["trusted", "unknown CA", "other name"])
def test_prosody_fetches_https(server, ca, stranger, tmp_path, case):
    """net.http, the client that modules use, through a module of these tests."""
    authority = stranger if case == "unknown CA" else ca
    certificate = authority.issue(tmp_path, ["padua.localhost" if case == "other name" else HOST])
    expected = {
        "trusted": "200 " + "thus with a kiss " * 20000,
        # net.http of 0.12 looks at the certificate after the handshake, which in 13.0 fails already.
        "unknown CA": "0 certificate-chain-invalid" if server.backend.version == "0.12" else "0 certificate verify failed",
        "other name": "0 certificate-verify-failed",
    }

    def fetch(url):
        with urllib.request.urlopen(f"{server.http_url}/fetch?{url}", timeout=20) as response:
            return response.read().decode()

    async def flow():
        async with _https_server(certificate) as url:
            assert await _in_thread(fetch, url) == expected[case]

    asyncio.run(flow())


# --- the admin shell --------------------------------------------------------------------------------


def test_shell(server, ca):
    async def flow():
        async with (
            online(server, "romeo", tls="starttls", trust=ca.trust(ssl.TLSVersion.TLSv1_2)) as romeo,
            online(server, "juliet", tls="direct", trust=ca.trust(ssl.TLSVersion.TLSv1_3)) as juliet,
        ):
            shown = await _in_thread(server.shell, "c2s", "show")
            for client in (romeo, juliet):
                line = next(line for line in shown.splitlines() if client.boundjid.full in line)
                assert client.socket.version() in line, shown
            shown = await _in_thread(server.shell, "c2s", "show_tls")
            for client in (romeo, juliet):
                # Both sides know the cipher by OpenSSL's name for it.
                line = next(line for line in shown.splitlines() if client.boundjid.full in line)
                assert client.socket.cipher()[0] in line, shown

    asyncio.run(flow())


def all_columns(server):
    """The names of what the lists of sessions can show."""
    shown = server.shell("help columns")
    return re.findall(r"^\|?\s*([a-z0-9_]+)\s+\| ", shown, re.M)


@pytest.mark.parametrize("kind", [Bosh, WebSocket])
def test_shell_with_all_columns(server, ca, kind):
    """What the shell can tell of sessions by STARTTLS, by direct TLS and over https, a function for each column."""

    async def flow():
        async with (
            online(server, "romeo", tls="starttls", trust=ca.trust()) as romeo,
            online(server, "juliet", tls="direct", trust=ca.trust()) as juliet,
            _web(ca) as http,
        ):
            session = kind(server, http, server.https_url)
            await session.log_in("romeo")
            await session.expect("client:presence")  # that of romeo's other session
            columns = await _in_thread(all_columns, server)
            assert {"port", "encryption", "sni", "alpn", "cert"} <= set(columns), columns
            # What asks something that this kind of connection does not have is an error of the command.
            shown = await _in_thread(server.shell, f"c2s:show(nil, '{' '.join(columns)}')")
            assert re.search(r"\b3 (c2s )?sessions\b", shown), shown

            shown = await _in_thread(server.shell, "c2s:show(nil, 'port sni encryption')")
            rows = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines()]
            for client, port in ((romeo, server.c2s_port), (juliet, server.c2s_tls_port)):
                assert [str(port), HOST, client.socket.cipher()[0]] in rows, shown
            await session.close()

    asyncio.run(flow())


# --- new certificates -------------------------------------------------------------------------------


def _served(server, trust):
    """The certificates that new connections get, in each of the ways to connect."""
    found = {}
    for what, port in (("starttls", None), ("direct", server.c2s_tls_port), ("https", server.https_port)):
        with SecureStream(server, trust, port, HOST) as stream:
            found[what] = stream.socket.getpeercert(True)
    return found


def _served_without_name(server, ca):
    """The same for clients that send no SNI, and so get the port's own certificate."""
    trust = ca.trust()
    trust.check_hostname = False
    found = {}
    for what, port in (("direct", server.c2s_tls_port), ("https", server.https_port)):
        with SecureStream(server, trust, port, None) as stream:
            found[what] = stream.socket.getpeercert(True)
    return found


def _reload(server):
    """`prosodyctl reload`, until Prosody is done with it."""
    seen = len(server.log.read_text())
    let_stock_settle(server.backend)
    result = server.ctl("reload")
    assert result.returncode == 0, result.stdout
    deadline = time.monotonic() + 10
    while "Reloading configuration file" not in server.log.read_text()[seen:]:
        assert time.monotonic() < deadline, server.everything_said()
        time.sleep(0.05)
    # Whoever gets an answer gets it after the handlers of config-reloaded.
    server.shell("> return 1")
    return server.log.read_text()[seen:]


def test_new_certificate(make_server, ca):
    async def flow(server):
        async with (
            online(server, "romeo", tls="starttls", trust=ca.trust()) as romeo,
            online(server, "juliet", tls="direct", trust=ca.trust()) as juliet,
        ):
            old = der(server.certs / f"{HOST}.crt")
            served = await _in_thread(_served, server, ca.trust())
            assert set(served.values()) == {old}
            # RSA instead of ECDSA: everything about it is new.
            new = der(ca.issue(server.certs, NAMES, "RSA"))
            assert new != old
            await _in_thread(_reload, server)

            served = await _in_thread(_served, server, ca.trust())
            assert set(served.values()) == {new}
            # The port's own certificate stays the old one on stock: its set_sslctx changes what nothing reads.
            served = await _in_thread(_served_without_name, server, ca)
            assert set(served.values()) == ({new} if server.backend.ours else {old})

            # Those who are inside stay.
            romeo.send_message(mto=juliet.boundjid, mbody="still here", mtype="chat")
            await juliet.messages.wait_for(lambda m: m["body"] == "still here", "the message")
            juliet.send_message(mto=romeo.boundjid, mbody="me too", mtype="chat")
            await romeo.messages.wait_for(lambda m: m["body"] == "me too", "the answer")

    server = make_server(tls=True)
    ca.issue(server.certs, NAMES)
    with server:
        asyncio.run(flow(server))


def _break_empty(server, ca):
    (server.certs / f"{HOST}.crt").write_text("")


def _break_text(server, ca):
    (server.certs / f"{HOST}.crt").write_text("This is no certificate.\n")


def _break_key(server, ca):
    """A renewal that is half done: the new certificate, the old key."""
    key = server.certs / f"{HOST}.key"
    before = key.read_bytes()
    ca.issue(server.certs, NAMES)
    key.write_bytes(before)


# Stock epoll can go on with a handshake of which it has closed the connection, when the server ends.
STOCK_FAULTS = ["Top-level error, please report", r"\terror\t$", "stack traceback:"]


@pytest.mark.parametrize("damage", [_break_empty, _break_text, _break_key], ids=["empty", "text", "wrong key"])
def test_broken_certificate_at_reload(make_server, ca, damage):
    server = make_server(tls=True)
    server.tolerated = [r"(?i)certificate|TLS|creating context", *([] if server.backend.ours else STOCK_FAULTS)]
    old = der(ca.issue(server.certs, NAMES))
    with server:
        # What a busy server has done long before a certificate is renewed.
        server.shell("> collectgarbage()")
        damage(server, ca)
        said = _reload(server)
        assert re.search(r"\terror\t.*(certificate|SSL|TLS)", said), said
        if server.backend.ours:
            assert set(_served(server, ca.trust()).values()) == {old}
        else:
            # mod_tls of 0.12 is left without a context. The ports for direct TLS keep theirs.
            with pytest.raises((AssertionError, ConnectionError, TimeoutError)):
                SecureStream(server, ca.trust())
        # Mended: that is taken up too.
        new = der(ca.issue(server.certs, NAMES))
        _reload(server)
        assert set(_served(server, ca.trust()).values()) == {new}


def test_key_that_cannot_be_used_costs_its_own_context_alone(make_server, ca):
    """Ed448, which stock serves and rustls does not: on a host of its own, and on a port of its own."""
    (port,) = free_ports(1)
    server = make_server(tls=True, https_ports=[], modules=[*MODULES, "http"])
    ca.issue(server.certs, NAMES)
    elsewhere = server.folder / "elsewhere"
    odd = ca.issue(elsewhere, [OTHER_HOST], "Ed448")
    files = {"certificate": odd, "key": odd.with_suffix(".key")}
    server.options |= {"https_ports": [port], "https_ssl": files}
    server.more_config = [
        f'VirtualHost "{OTHER_HOST}"',
        f"ssl = {lua(files)}",
    ]
    server.tolerated = [r"keys of the kind Ed448", r"keys of the kind ed448"]
    with server:
        SecureStream(server, ca.trust()).socket.close()
        SecureStream(server, ca.trust(), server.c2s_tls_port).socket.close()
        with contextlib.closing(socket.socket()) as https:
            bound = https.connect_ex((server.address, port)) == 0
        assert bound != server.backend.ours
        said = server.log.read_text()
        if server.backend.ours:
            # Prosody's own words about the file, and about the port that is not bound for it.
            assert re.search(rf"error\tSSL/TLS: Failed to load '{odd.with_suffix('.key')}': .*kind ed448.*for {OTHER_HOST}", said)
            assert re.search(r"error\tError binding encrypted port for https: .*kind Ed448", said)
        with RawStream(server) as stream:
            stream.host = OTHER_HOST
            assert (b"urn:ietf:params:xml:ns:xmpp-tls" in stream.open()) != server.backend.ours


# --- servers ----------------------------------------------------------------------------------------

VERONA, MANTUA = "verona.test", "mantua.test"


def _two_servers(make_server, folder, authorities, **options):
    """Servers of two names, each with a certificate by an authority that it trusts, that find each other by a table.

    unbound has no answer but that table for anything below "test", so no name server is asked.
    """
    addresses = dict(zip((VERONA, MANTUA), two_addresses()))
    table = folder / "hosts"
    table.write_text("".join(f"{address} {name}\n" for name, address in addresses.items()))
    made = []
    for (name, address), authority in zip(addresses.items(), authorities):
        server = make_server(
            name, host=name, address=address, s2s_port=S2S_PORT, tls=True,
            unbound={"hoststxt": table, "resolvconf": False},
            ssl={"cafile": authority.file},
            s2s_require_encryption=True, **options,
        )
        authority.issue(server.certs, [name, f"files.{name}", f"rooms.{name}", f"proxy.{name}", f"component.{name}"])
        made.append(server)
    return made


async def _talk_over(here, there, authorities):
    """Messages both ways over TLS; then what the shell says of the other's certificate."""
    async with (
        online(here, "romeo", tls="starttls", trust=authorities[0].trust()) as romeo,
        online(there, "juliet", tls="direct", trust=authorities[-1].trust()) as juliet,
    ):
        for sender, receiver in ((romeo, juliet), (juliet, romeo)):
            for n in range(50):
                sender.send_message(mto=receiver.boundjid, mbody=f"over {n}", mtype="chat")
                if n == 0:
                    # Prosody's s2s connection that is logged in by EXTERNAL, and has not begun its new stream, sends at once, and
                    # what waited for the connection after that: only when it stands it keeps the order.
                    await receiver.messages.wait_for(lambda m: m["body"] == "over 0", "the first message")
            await receiver.messages.wait_for(lambda m: m["body"] == "over 49", "the last message")
            assert [m["body"] for m in receiver.messages.seen] == [f"over {n}" for n in range(50)]
        assert await romeo.plugin["xep_0199"].ping(juliet.boundjid, timeout=10) > 0

        shown = await _in_thread(here.shell, "s2s", "show_tls")
        for arrow in ("-->", "<--"):
            line = next((line for line in shown.splitlines() if arrow in line), "")
            assert "TLSv1.3" in line and "TLS_" in line, shown
        columns = ["dir", *await _in_thread(all_columns, here)]
        shown = await _in_thread(here.shell, "s2s", "show", there.host, " ".join(columns))
        assert "-->" in shown and "<--" in shown, shown
        return await _in_thread(here.shell, f"s2s:showcert('{there.host}')")


@pytest.mark.parametrize("trust", ["dialback", "EXTERNAL"])
def test_s2s(make_server, ca, stranger, tmp_path, trust):
    """Each server trusts the other's certificate, or is left with dialback because it does not."""
    if trust == "EXTERNAL":
        authorities = [ca, ca]
        options = {"s2s_secure_auth": True, "modules": [m for m in MODULES if m != "dialback"]}
    else:
        authorities = [ca, stranger]
        options = {"s2s_secure_auth": False}
    verona, mantua = _two_servers(make_server, tmp_path, authorities, **options)
    with verona as here, mantua as there:
        card = asyncio.run(_talk_over(here, there, authorities))
        for server, other in ((here, there), (there, here)):
            log = server.log.read_text()
            assert f"connection {server.host}->{other.host} is now authenticated for {other.host}" in log
            assert f"connection {other.host}->{server.host} is now authenticated for {other.host}" in log
            assert ("verified dialback key... it is valid" in log) == (trust == "dialback")
            assert ("Accepting SASL EXTERNAL identity from" in log) == (trust == "EXTERNAL")

        # What verona thinks of mantua's certificate, in OpenSSL's words.
        assert f"Valid for {MANTUA}: Yes" in card, card
        assert f'commonName: "{MANTUA}"' in card, card
        digest = hashlib.sha1(der(there.certs / f"{MANTUA}.crt")).hexdigest().upper()
        assert ":".join(re.findall("..", digest)) in card, card
        if trust == "EXTERNAL":
            assert "Trusted certificate: Yes" in card, card
        else:
            assert "Trusted certificate: No" in card, card
            # Stock sends the root too, where it has it: OpenSSL completes a chain from what it trusts.
            assert re.search("unable to get local issuer certificate|self-signed certificate in certificate chain", card), card


def test_s2s_by_direct_tls(make_server, ca, tmp_path):
    """XEP-0368: SRV records name the port for direct TLS, and there is no other."""
    verona, mantua = _two_servers(
        make_server, tmp_path, [ca, ca], s2s_secure_auth=True, modules=[m for m in MODULES if m != "dialback"],
    )
    for server, other in ((verona, mantua), (mantua, verona)):
        (port,) = free_ports(1, server.address)
        server.options["s2s_ports"] = []
        server.options["s2s_direct_tls_ports"] = [port]
        record = f"_xmpps-server._tcp.{server.host}. 60 IN SRV 0 0 {port} {server.host}."
        other.options["unbound"]["options"] = {"local-data:": record}
    with verona as here, mantua as there:
        asyncio.run(_talk_over(here, there, [ca]))
        for server, other in ((here, there), (there, here)):
            log = server.log.read_text()
            assert f"connection {server.host}->{other.host} is now authenticated for {other.host}" in log
            assert "Proceeding with TLS on s2sout" not in log


@pytest.mark.parametrize("fault", ["unknown CA", "expired", "signed by a pinned certificate"])
def test_s2s_with_a_bad_certificate(make_server, ca, stranger, tmp_path, fault):
    """s2s_secure_auth: a certificate that cannot be verified ends the connection, and the message comes back."""
    # mod_s2s tells them apart by OpenSSL's words.
    reason = "has expired$" if fault == "expired" else "is not trusted$"

    async def flow(here, there):
        async with online(here, "romeo", tls="starttls", trust=ca.trust()) as romeo:
            errors = Inbox(romeo, "message_error")
            romeo.send_message(mto=f"juliet@{MANTUA}", mbody="art thou there", mtype="chat")
            bounce = await errors.wait_for(lambda m: True, "the error")
            assert bounce["from"] == f"juliet@{MANTUA}"
            assert re.search(reason, bounce["error"]["text"]), bounce

    verona, mantua = _two_servers(
        make_server, tmp_path, [ca, stranger if fault == "unknown CA" else ca], s2s_secure_auth=True,
    )
    if fault == "expired":
        ca.issue(mantua.certs, [MANTUA], days=-1)
    elif fault == "signed by a pinned certificate":
        # Whoever has a peer's own certificate as cafile trusts that peer, and not whom it signs.
        pinned = Authority(tmp_path / "pinned", "pinned.example", entitled=False)
        pinned.issue(mantua.certs, [MANTUA])
        verona.options["ssl"] = {"cafile": pinned.file}
    with verona as here, mantua as there:
        asyncio.run(flow(here, there))
        assert "is now authenticated" not in here.log.read_text()
