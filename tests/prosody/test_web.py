"""BOSH (XEP-0124, XEP-0206), WebSocket (RFC 7395) and file upload (XEP-0363), over HTTP."""

import asyncio
import base64
import contextlib
import hashlib
import io
import random
import re
import xml.etree.ElementTree as ET

import aiohttp
import pytest

from clients import PATIENCE, online
from prosody_server import PASSWORDS

pytestmark = pytest.mark.contract_item(101)

NS = {
    "client": "jabber:client",
    "bind": "urn:ietf:params:xml:ns:xmpp-bind",
    "sasl": "urn:ietf:params:xml:ns:xmpp-sasl",
    "stream": "http://etherx.jabber.org/streams",
    "body": "http://jabber.org/protocol/httpbind",
    "framing": "urn:ietf:params:xml:ns:xmpp-framing",
}


class WebSession:
    """What BOSH and WebSocket have in common: login, then stanzas. slixmpp speaks neither of the two."""

    def __init__(self, server, http, url=None):
        self.server = server
        self.http = http
        self.url = url or server.http_url
        self.stanzas = asyncio.Queue()

    async def expect(self, path):
        """The next element, which must match `path` (as in ElementTree) or hold what does."""
        async with asyncio.timeout(PATIENCE):
            element = await self.stanzas.get()
        if isinstance(element, Exception):
            raise element
        holder = ET.Element("holder")
        holder.append(element)
        found = holder.find(path, NS)
        if found is None:
            found = element.find(path, NS)
        assert found is not None, f"expected {path}, got {ET.tostring(element)}"
        return found

    async def log_in(self, user):
        await self.open()
        mechanisms = await self.expect("stream:features")
        names = [m.text for m in mechanisms.findall("sasl:mechanisms/sasl:mechanism", NS)]
        assert "PLAIN" in names, names
        secret = base64.b64encode(f"\0{user}\0{PASSWORDS[user]}".encode()).decode()
        await self.send(f"<auth xmlns='{NS['sasl']}' mechanism='PLAIN'>{secret}</auth>")
        await self.expect("sasl:success")
        await self.restart()
        await self.expect("stream:features")
        await self.send(
            f"<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='{NS['bind']}'><resource>web</resource></bind></iq>"
        )
        jid = (await self.expect("client:iq/bind:bind/bind:jid")).text
        assert jid == f"{user}@{self.server.host}/web"
        await self.send("<presence xmlns='jabber:client'/>")
        await self.expect("client:presence")  # one's own, sent to all of one's resources
        return jid

    async def converse(self, user, other):
        """Logs in as `user` and talks with `other`, a slixmpp client, both ways."""
        jid = await self.log_in(user)
        for n in range(20):
            await self.send(
                f"<message xmlns='jabber:client' type='chat' to='{other.boundjid.full}'><body>out {n}</body></message>"
            )
            other.send_message(mto=jid, mbody=f"in {n}", mtype="chat")
            body = await self.expect("client:message/client:body")
            assert body.text == f"in {n}"
        await other.messages.wait_for(lambda m: m["body"] == "out 19", "the last message")
        assert [m["body"] for m in other.messages.seen] == [f"out {n}" for n in range(20)]

        # Silence first, so that a poll of BOSH is being held when the message comes.
        await asyncio.sleep(0.5)
        other.send_message(mto=jid, mbody="after a silence", mtype="chat")
        assert (await self.expect("client:message/client:body")).text == "after a silence"


class Bosh(WebSession):
    """One request is always held by the server; what is sent travels in another one."""

    async def _request(self, attributes, payload=""):
        self.rid += 1
        rid = self.rid
        sid = f" sid='{self.sid}'" if self.sid else ""
        body = f"<body xmlns='{NS['body']}' rid='{rid}'{sid} {attributes}>{payload}</body>"
        url = f"{self.url}/http-bind"
        async with self.http.post(url, data=body, headers={"Content-Type": "text/xml; charset=utf-8"}) as response:
            assert response.status == 200, response.status
            answer = ET.fromstring(await response.read())
        assert answer.tag == f"{{{NS['body']}}}body"
        # The answers come over two connections; their order is that of the requests.
        self.answers[rid] = answer
        while self.next_answer in self.answers:
            for stanza in self.answers.pop(self.next_answer):
                self.stanzas.put_nowait(stanza)
            self.next_answer += 1
        return answer

    async def open(self):
        self.rid = random.randrange(1 << 40)
        self.sid = None
        self.answers = {}
        self.next_answer = self.rid + 1
        answer = await self._request(
            f"to='{self.server.host}' wait='20' hold='1' ver='1.6' xml:lang='en' "
            "xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'"
        )
        self.sid = answer.get("sid")
        assert self.sid
        assert int(answer.get("requests")) >= 2
        self.closed = False
        self.poller = asyncio.create_task(self._poll())

    async def _poll(self):
        try:
            while not self.closed:
                await self._request("")
        except Exception as e:
            self.stanzas.put_nowait(e)  # for whoever waits for a stanza

    # Two requests may be under way at once, the one of _poll and one of these. The answer to the second
    # comes as soon as _poll, which it releases, has asked again.
    async def send(self, stanza):
        await self._request("", stanza)

    async def restart(self):
        await self._request(f"to='{self.server.host}' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'")

    async def close(self):
        self.closed = True
        answer = await self._request("type='terminate'")
        assert answer.get("type") == "terminate"
        async with asyncio.timeout(PATIENCE):
            await self.poller  # it has been answered too
        assert self.stanzas.empty(), self.stanzas.get_nowait()


class WebSocket(WebSession):
    async def open(self):
        url = f"{self.url}/xmpp-websocket".replace("http", "ws", 1)
        self.socket = await self.http.ws_connect(url, protocols=["xmpp"])
        assert self.socket.protocol == "xmpp"
        self.reader = asyncio.create_task(self._read())
        await self.restart()

    async def _read(self):
        while (message := await self.socket.receive()).type == aiohttp.WSMsgType.TEXT:
            self.stanzas.put_nowait(ET.fromstring(message.data))
        return message

    async def restart(self):
        await self.send(f"<open xmlns='{NS['framing']}' to='{self.server.host}' version='1.0'/>")
        await self.expect("framing:open")

    async def send(self, stanza):
        await self.socket.send_str(stanza)

    async def close(self):
        await self.send(f"<close xmlns='{NS['framing']}'/>")
        await self.expect("framing:close")
        # The server ends the WebSocket properly (1000: normal closure) and then the connection.
        async with asyncio.timeout(PATIENCE):
            last = await self.reader
        assert (last.type, last.data) == (aiohttp.WSMsgType.CLOSE, 1000), last


def _web_flow(server, kind):
    async def flow():
        async with online(server, "juliet") as juliet, aiohttp.ClientSession() as http:
            session = kind(server, http)
            await session.converse("romeo", juliet)
            await session.close()

    asyncio.run(flow())


def test_bosh(server):
    _web_flow(server, Bosh)


def test_websocket(server):
    _web_flow(server, WebSocket)


def test_large_websocket_message(server):
    """One frame with a 64-bit length, that spans many reads."""
    large = "x" * 200_000

    async def flow():
        async with online(server, "juliet") as juliet, aiohttp.ClientSession() as http:
            session = WebSocket(server, http)
            jid = await session.log_in("romeo")
            await session.send(f"<message xmlns='jabber:client' to='{juliet.boundjid.full}'><body>{large}</body></message>")
            await juliet.messages.wait_for(lambda m: m["body"] == large, "the large message")
            juliet.send_message(mto=jid, mbody=large, mtype="chat")
            assert (await session.expect("client:message/client:body")).text == large
            await session.close()

    asyncio.run(flow())


SIZE = 20 * 1024 * 1024


def test_upload_and_download(server):
    content = random.Random("trochee").randbytes(SIZE)

    async def flow():
        async with online(server, "romeo", plugins=["xep_0363"]) as romeo, aiohttp.ClientSession() as http:
            url = await romeo.plugin["xep_0363"].upload_file(
                "aubade.bin", SIZE, "application/octet-stream",
                input_file=io.BytesIO(content), domain=f"files.{server.host}", timeout=30,
            )
            assert f":{server.http_port}/" in url
            if server.backend.ours:
                # Prosody gives its ports a read size of 4096. Nobody has chosen that.
                stats = await asyncio.to_thread(
                    server.shell, "> local it = require'net.server'.stats(); return 'read '..it.received_bytes // it.reads"
                )
                assert int(re.search(r"read (\d+)", stats).group(1)) > 8192, stats

            async with http.get(url) as response:
                assert response.status == 200
                assert response.content_length == SIZE
                assert await response.read() == content

            # A part, from the middle.
            async with http.get(url, headers={"Range": f"bytes={SIZE // 2}-"}) as response:
                assert response.status == 206
                assert await response.read() == content[SIZE // 2:]

    asyncio.run(flow())


def test_slow_download_disturbs_nobody(server):
    """A reader that pauses holds up neither the others nor its own file's end."""
    size = 8 * 1024 * 1024
    content = random.Random("slowly").randbytes(size)
    digest = hashlib.sha256(content).hexdigest()

    async def flow():
        async with online(server, "romeo", plugins=["xep_0363"]) as romeo, aiohttp.ClientSession() as http:
            url = await romeo.plugin["xep_0363"].upload_file(
                "nocturne.bin", size, "application/octet-stream",
                input_file=io.BytesIO(content), domain=f"files.{server.host}", timeout=30,
            )
            got = hashlib.sha256()
            async with http.get(url) as response:
                assert response.status == 200
                got.update(await response.content.readexactly(1 << 20))
                # aiohttp stops reading from the socket while nobody takes what it has.
                for _ in range(5):
                    assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) < 1
                    await asyncio.sleep(0.1)
                with contextlib.suppress(asyncio.IncompleteReadError):
                    async for chunk in response.content.iter_any():
                        got.update(chunk)
            assert got.hexdigest() == digest

    asyncio.run(flow())
