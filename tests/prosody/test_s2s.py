"""Two servers that find each other, and trust each other by dialback (XEP-0220)."""

import asyncio
import contextlib
import re

import pytest

from clients import Inbox, online
from prosody_server import reserve_port

pytestmark = pytest.mark.contract_item(101)

# Where a server is looked for when nothing else says so. Domains that are IP addresses need no name server.
S2S_PORT = 5269


def two_addresses():
    """127.0.0.2 and 127.0.0.3, or a pair further up when somebody uses their port."""
    for network in range(250):
        pair = [f"127.0.{network}.2", f"127.0.{network}.3"]
        with contextlib.suppress(OSError):
            for address in pair:
                reserve_port(address, S2S_PORT)
            return pair
    raise AssertionError(f"port {S2S_PORT} is taken everywhere on loopback")


def test_dialback_between_two_servers(make_server):
    verona, mantua = two_addresses()

    async def flow(here, there):
        async with online(here, "romeo") as romeo, online(there, "juliet") as juliet:
            for n in range(50):
                romeo.send_message(mto=juliet.boundjid, mbody=f"over {n}", mtype="chat")
            await juliet.messages.wait_for(lambda m: m["body"] == "over 49", "the last message over")
            assert [m["body"] for m in juliet.messages.seen] == [f"over {n}" for n in range(50)]

            for n in range(50):
                juliet.send_message(mto=romeo.boundjid, mbody=f"back {n}", mtype="chat")
            await romeo.messages.wait_for(lambda m: m["body"] == "back 49", "the last message back")
            assert [m["body"] for m in romeo.messages.seen] == [f"back {n}" for n in range(50)]

            # Presence and the answer to a question travel the same way.
            romeo.send_presence_subscription(pto=juliet.boundjid.bare)
            await romeo.presences.wait_for(
                lambda p: p["type"] == "available" and p["from"] == juliet.boundjid, "Juliet's presence"
            )
            assert await romeo.plugin["xep_0199"].ping(juliet.boundjid, timeout=10) > 0

            for server, other in ((here, there), (there, here)):
                # One connection each way, on both servers.
                shown = server.shell("s2s", "show")
                for arrow in ("-->", "<--"):
                    line = rf"^.*{re.escape(server.host)}\b.*{arrow}.*{re.escape(other.host)}\b"
                    assert re.search(line, shown, re.M), shown

    with make_server("verona", host=verona, address=verona, s2s_port=S2S_PORT) as here:
        with make_server("mantua", host=mantua, address=mantua, s2s_port=S2S_PORT) as there:
            asyncio.run(flow(here, there))
            for server, other in ((here, there), (there, here)):
                log = server.log.read_text()
                assert "verified dialback key... it is valid" in log
                assert f"connection {server.host}->{other.host} is now authenticated for {other.host}" in log
                assert f"connection {other.host}->{server.host} is now authenticated for {other.host}" in log


def test_server_that_is_not_there(make_server):
    """A refused connection comes back as an error to who has written."""
    verona, mantua = two_addresses()

    async def flow(here):
        async with online(here, "romeo") as romeo:
            errors = Inbox(romeo, "message_error")
            romeo.send_message(mto=f"juliet@{mantua}", mbody="art thou there", mtype="chat")
            bounce = await errors.wait_for(lambda m: True, "the error")
            assert bounce["from"] == f"juliet@{mantua}"
            assert bounce["error"]["condition"] == "remote-server-not-found"

    with make_server("verona", host=verona, address=verona, s2s_port=S2S_PORT) as here:
        asyncio.run(flow(here))
