"""What changes how the bytes of a stream flow: resumption (XEP-0198), a client that is inactive (XEP-0352), rate limits."""

import asyncio
import base64
import re
import socket
import struct
import time

import pytest

from clients import online
from prosody_server import MODULES, PASSWORDS, RawStream

pytestmark = pytest.mark.contract_item(101)

# Where no more than the backend's methods is asked for, not its poller.
CALLS = ("epoll", "stock-epoll", "13-epoll", "13-stock-epoll")


class Client(RawStream):
    """Somebody who has logged in over a plain stream. What else the session is, the test says."""

    def __init__(self, server, user, password=None):
        super().__init__(server)
        self.open()
        secret = base64.b64encode(f"\0{user}\0{password or PASSWORDS[user]}".encode()).decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>")
        self.expect(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.open()

    def bind(self, resource=None):
        """The server chooses the resource if nobody does."""
        wish = f"<resource>{resource}</resource>" if resource else ""
        self.send(f"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{wish}</bind></iq>")
        self.jid = re.search(b"<jid>(.*)</jid>", self.expect(b"</iq>"))[1].decode()
        return self

    def send(self, text):
        self.socket.sendall(text.encode())

    def expect_bodies(self, wanted, timeout=10):
        """The messages that come next."""
        received = b"".join(self.expect(b"</message>", timeout) for _ in wanted)
        assert [body.decode() for body in re.findall(b"<body>(.*?)</body>", received)] == wanted
        return received

    def break_off(self):
        """The end without a word: RST, no FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.mark.parametrize("old", ["broken off", "still open"])
def test_resumption(server, old):
    """Stream management: a new connection goes on where the old one stopped, whether the server has missed that one or not."""

    async def flow():
        async with online(server, "romeo") as romeo:
            with Client(server, "juliet").bind() as first:
                first.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
                enabled = first.expect(b"/>").decode()
                previous = re.search(r"<enabled [^>]*\bid='([^']+)'", enabled)[1]
                romeo.send_message(mto=first.jid, mbody="before", mtype="chat")
                await asyncio.to_thread(first.expect_bodies, ["before"])
                if old == "broken off":
                    first.break_off()
                for n in range(50):
                    romeo.send_message(mto=first.jid, mbody=f"meanwhile {n}", mtype="chat")
                assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) > 0

                with Client(server, "juliet") as second:
                    second.send(f"<resume xmlns='urn:xmpp:sm:3' previd='{previous}' h='0'/>")
                    await asyncio.to_thread(second.expect, b"<resumed ")
                    # h='0': not even the first one has been acknowledged.
                    await asyncio.to_thread(second.expect_bodies, ["before", *(f"meanwhile {n}" for n in range(50))])
                    if old == "still open":
                        await asyncio.to_thread(_read_to_the_end, first)
                    romeo.send_message(mto=first.jid, mbody="after", mtype="chat")
                    await asyncio.to_thread(second.expect_bodies, ["after"])
                    second.send(f"<message type='chat' to='{romeo.boundjid.full}'><body>resumed</body></message>")
                    await romeo.messages.wait_for(lambda m: m["body"] == "resumed", "the answer")
                    # What has not been acknowledged would be delivered again, to the next test.
                    second.send("<a xmlns='urn:xmpp:sm:3' h='52'/></stream:stream>")
                    await asyncio.to_thread(second.expect, b"</stream:stream>")

    asyncio.run(flow())


def _read_to_the_end(stream):
    stream.socket.settimeout(10)
    while stream.socket.recv(65536):
        pass


@pytest.mark.only_on(*CALLS)
def test_inactive_client(make_server):
    """mod_csi_simple holds back what can wait, by pause_writes(), and sends all of it, in order, when something matters."""

    async def flow(server):
        async with online(server, "romeo") as romeo:
            with Client(server, "juliet").bind() as juliet:
                juliet.send("<inactive xmlns='urn:xmpp:csi:0'/>")
                await asyncio.to_thread(server.wait_for_log, r"Received\[c2s\]: <inactive ")
                for n in range(3):
                    romeo.send_presence(pto=juliet.jid, pstatus=f"can wait {n}")
                with pytest.raises(TimeoutError):
                    await asyncio.to_thread(juliet.expect, b"<presence", 1)
                romeo.send_message(mto=juliet.jid, mbody="matters", mtype="chat")
                received = await asyncio.to_thread(juliet.expect_bodies, ["matters"])
                assert re.findall(rb"can wait \d", received) == [b"can wait 0", b"can wait 1", b"can wait 2"], received

    with make_server(modules=[*MODULES, "csi_simple"]) as server:
        asyncio.run(flow(server))


@pytest.mark.only_on(*CALLS)
def test_rate_limit(make_server):
    """mod_limits slows down a client that sends too much, loses nothing of it, and disturbs nobody else."""
    lines = [f"{n} " + "x" * 950 for n in range(150)]

    async def flow(server):
        async with online(server, "romeo") as romeo:
            with Client(server, "juliet").bind() as juliet:
                start = time.monotonic()
                flood = "".join(f"<message to='{romeo.boundjid.full}'><body>{line}</body></message>" for line in lines)
                sending = asyncio.create_task(asyncio.to_thread(juliet.send, flood))
                assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) < 1
                await romeo.messages.wait_for(lambda m: m["body"] == lines[-1], "the last line")
                took = time.monotonic() - start
                await sending
                assert [m["body"] for m in romeo.messages.seen] == lines
                # 150 kB at 50 kB a second; a second's worth may come at once.
                assert 1.5 < took < 10, f"{took:.1f} s"

    with make_server(modules=[*MODULES, "limits"], limits={"c2s": {"rate": "50kb/s", "burst": "1s"}}) as server:
        asyncio.run(flow(server))
