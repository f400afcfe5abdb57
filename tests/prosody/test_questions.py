"""The table "Questions" of docs/monitoring.md: each row's trouble is made on a real Prosody, and the answer is where the row says.

What is asked is read from the table: its words of the log, its command of the shell, its counters and gauges, its list of trochee top.
"""

import asyncio
import base64
import json
import re
import shutil
import socket
import ssl
import subprocess
import time

import pytest

from certificates import Authority
from clients import online
from prosody_server import DIST, MODULES, PASSWORDS, ROOT, RawStream, SecureStream
from terminal import PATIENCE, Terminal
from test_slow import blocker_line

PAGE = ROOT / "docs" / "monitoring.md"

TROCHEE = DIST / "bin" / "trochee"


def _until(find):
    """What it finds, once that is something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := find()):
        assert time.monotonic() < deadline, find
        time.sleep(0.05)
    return found


class Row:
    """A row of the table, beside a server that can be asked."""

    def __init__(self, cells):
        self.question, self.log, self.shell, self.numbers, self.top = cells

    def at(self, server, terminal):
        self.server, self.terminal, self.expected = server, terminal, []
        return self

    def logged(self, **words):
        """All that the cell has of the log will be there, with these words in the place of those in capitals."""
        spans = re.findall("`([^`]+)`", self.log)
        assert spans, self.log
        for span in spans:
            pattern = re.escape(span).replace("…", ".*")
            word_for = lambda word: words.get(word.group().lower(), ".*")
            self.expected.append(re.sub(r"\b[A-Z]{4,}\b", word_for, pattern))

    def asked(self, pattern, **words):
        """The command of the shell answers with this."""
        command = re.search("`prosodyctl shell ([^`]+)`", self.shell).group(1)
        command = re.sub(r"\b[A-Z]{4,}\b", lambda word: words[word.group().lower()], command)
        return _until(lambda: re.search(pattern, self.server.shell(*command.split()), re.M))

    def counted(self):
        """The numbers that the row names."""
        answer = subprocess.run(
            [TROCHEE, "stats", "--json", "--socket", self.server.folder / "data" / "trochee.sock"],
            capture_output=True, text=True, timeout=PATIENCE, check=True,
        )
        known = json.loads(answer.stdout)
        names = re.findall("`([^`]+)`", self.numbers)
        assert names, self.numbers
        return {name: {**known["counters"], **known["gauges"]}[name] for name in names}

    def grows(self, before):
        """Each of the row's numbers becomes more than it was."""
        _until(lambda: all(value > before[name] for name, value in self.counted().items()))

    def seen(self, pattern):
        """trochee top has it, after the keys that the row names."""
        self.terminal.press("1", *re.findall("`([^`]+)`", self.top))
        shown = self.terminal.wait_for(pattern)
        # The next row begins with the first order.
        if "`s`" in self.top:
            self.terminal.press(*["s"] * 5)
        return shown


def table():
    section = PAGE.read_text().split("\n## Questions\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [Row([cell.strip() for cell in cells]) for cells in rows[2:]]


def _connect(server, source, port=None):
    return socket.create_connection((server.address, port or server.c2s_port), 10, source_address=(source, 0))


# --- the troubles ---------------------------------------------------------------------------------


def flood(row):
    before, peers = row.counted(), []
    for _ in range(60):
        try:
            peers.append(_connect(row.server, "127.0.0.66"))
        except ConnectionResetError:
            pass
    row.logged(address=r"127\.0\.0\.66")
    row.asked(r"^127\.0\.0\.66 +[1-9]\d +[1-9]\d ")
    row.grows(before)
    row.seen(r"^127\.0\.0\.66 +[1-9]\d +[1-9]\d ")
    for peer in peers:
        peer.close()


def blocked_loop(row):
    before = row.counted()
    row.server.talk("wait")
    row.logged(line=blocker_line("waits"))
    row.asked(rf"onincoming of .* which was at \S*{blocker_line('waits')}")
    row.grows(before)
    row.seen(r"onincoming of conn")


def _crowd(row):
    """While the loop stands still, more clients than may wait ask for a handshake. How many were refused."""
    before = row.counted()
    context = ssl.create_default_context()
    peers = [_connect(row.server, "127.0.0.1", row.server.c2s_tls_port) for _ in range(8)]
    _until(lambda: row.counted()["places"] >= before["places"] + 8)
    row.server.talk("wait")
    time.sleep(0.1)
    for peer in peers:
        client = context.wrap_bio(ssl.MemoryBIO(), hello := ssl.MemoryBIO(), server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        peer.sendall(hello.read())
    refused = row.counted()["refused_handshakes"] - before["refused_handshakes"]
    for peer in peers:
        peer.close()
    return refused


def fullness(row):
    # On a machine that is busy they may come too late.
    _until(lambda: _crowd(row))
    row.logged()
    found = row.counted()
    assert found["descriptors_allowed"] > found["descriptors"] > found["places"] >= 2
    assert found["places_allowed"] > found["places"]
    assert found["waiting_handshakes_allowed"] == 1
    row.asked(r"^descriptors +[1-9]\d* ")
    row.seen(r"^used: descriptors \d+/\S+, places \d+/\S+, queued \d+ B/\S+ [GM]B, handshakes \d+/1$")


def slow_reader(row):
    """Juliet is sent more than she reads."""
    reader = row.server.reader
    for number in range(70):
        row.server.talk(str(number) + "x" * 100_000, reader.jid)
    _until(lambda: row.counted()["queued_memory_bytes"] > 100_000)
    found = row.asked(r"^.* (\d+) kB +\d+ \w+ +\d+ \w+ .* juliet@localhost/slow \(c2s\)$", filter="juliet")
    assert int(found.group(1)) > 100, found
    row.seen(r"by queued, .*\n.*queued.*\n\w+ +127\.0\.0\.1 +c2s .* \d\S* [kM]B .*juliet")
    reader.socket.close()
    _until(lambda: row.counted()["queued_memory_bytes"] < 100_000)


def versions(row):
    before = row.counted()
    trust = row.server.trust
    for version, port in ((ssl.TLSVersion.TLSv1_2, None), (ssl.TLSVersion.TLSv1_3, row.server.c2s_tls_port)):
        with SecureStream(row.server, trust.trust(version), port) as stream:
            stream.open()
    # TLS 1.2 has its session when the handshake is over.
    context = trust.trust(ssl.TLSVersion.TLSv1_2)
    session = None
    for _ in range(2):
        plain = _connect(row.server, "127.0.0.1", row.server.c2s_tls_port)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as secured:
            session, is_reused = secured.session, secured.session_reused
    assert is_reused
    row.grows(before)
    with SecureStream(row.server, trust.trust(ssl.TLSVersion.TLSv1_3), row.server.c2s_tls_port) as stream:
        stream.open()
        row.asked(r"^\w+ +opened .* c2s_direct_tls +TLSv1\.3 ")
        row.seen(r"; TLS \S+, \S+ of it resumed, ")


def failed_client(row):
    """It does not trust the certificate."""
    before = row.counted()
    plain = _connect(row.server, "127.0.0.77", row.server.c2s_tls_port)
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    row.logged(address=r"127\.0\.0\.77", reason=".*unknown ca")
    row.asked(r"127\.0\.0\.77.*unknown ca", address="127.0.0.77")
    row.grows(before)
    row.seen(r"127\.0\.0\.77.*unknown ca")


TROUBLES = {
    "Who floods me?": flood,
    "Why does the loop stand still, and whose fault is it?": blocked_loop,
    "How full are descriptors, places, queues, and handshakes?": fullness,
    "Which connections are slow, and why?": slow_reader,
    "Which versions of TLS do clients have, and how many resume?": versions,
    "Why did this client fail?": failed_client,
}


@pytest.mark.only_on("epoll")
def test_every_question_has_its_trouble():
    questions = [row.question for row in table()]
    assert questions == list(TROUBLES)


# --- the server -----------------------------------------------------------------------------------


class Reader(RawStream):
    """Juliet, who has logged in and reads nothing more."""

    jid = "juliet@localhost/slow"

    def __init__(self, server):
        super().__init__(server)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.open()
        login = base64.b64encode(b"\0juliet\0" + PASSWORDS["juliet"].encode()).decode()
        self.socket.sendall(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{login}</auth>".encode())
        self.expect(b"<success")
        self.expect(b">")
        self.open()
        self.socket.sendall(
            b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>slow</resource></bind></iq>"
        )
        self.expect(self.jid.encode())


@pytest.mark.only_on("epoll", "13-epoll")
def test_where_the_answers_are(make_server, tmp_path):
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed: run 'make setup'")
    server = make_server(
        tls=True, modules=[*MODULES, "blocker"], plugin_paths=[ROOT / "tests" / "prosody" / "modules"],
        network_settings={
            "exempt_addresses": ["127.0.0.1"], "connection_burst_per_address": 20, "connection_rate_per_address": 1,
            "max_waiting_handshakes": 1,
        },
    )
    server.trust = Authority(tmp_path / "ca")
    server.trust.issue(server.certs, [server.host])

    async def flow(terminal):
        loop = asyncio.get_running_loop()
        async with online(server, "romeo") as romeo:
            def talk(text, to=server.host):
                loop.call_soon_threadsafe(lambda: romeo.send_message(mto=to, mbody=text, mtype="chat"))

            server.talk = talk
            await asyncio.to_thread(all_rows, terminal)

    def all_rows(terminal):
        terminal.run(f"{TROCHEE} top --interval 0.3 --socket {server.folder / 'data' / 'trochee.sock'}")
        terminal.wait_for(r"^trochee top: ")
        rows = [row.at(server, terminal) for row in table()]
        for row in rows:
            TROUBLES[row.question](row)
        # What is told once in ten seconds has come meanwhile, mostly.
        for row in rows:
            for pattern in row.expected:
                server.wait_for_log(pattern)

    with server, Terminal(tmp_path, columns=120) as terminal, Reader(server) as server.reader:
        asyncio.run(flow(terminal))
