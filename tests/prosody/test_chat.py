"""Two people, a room, a component, and a crowd at the door."""

import asyncio
import contextlib

import pytest

from clients import Inbox, component, online
from prosody_server import RawStream

pytestmark = pytest.mark.contract_item(101)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "PLAIN"])
def test_login(server, mechanism):
    async def flow():
        async with online(server, "romeo", mechanism=mechanism) as romeo:
            assert romeo.boundjid.full == f"romeo@{server.host}/tests"
            # A round trip through the authenticated stream.
            assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) > 0

    asyncio.run(flow())


def test_wrong_password_is_refused(server):
    async def flow():
        with pytest.raises(AssertionError, match="authentication failed"):
            async with online(server, "romeo", password="capulet"):
                pass

    asyncio.run(flow())


async def _stored_roster(client):
    """What the server stored, not what the client remembers: a client that tells no version is sent all."""
    client.client_roster.version = ""
    return (await client.get_roster())["roster"]["items"]


def test_roster_and_presence(server):
    async def flow():
        async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
            romeo_jid, juliet_jid = romeo.boundjid.bare, juliet.boundjid.bare

            await romeo.update_roster(juliet_jid, name="Juliet", groups=["Verona"])
            # slixmpp answers a request with consent and a request of its own, so one is enough for both.
            romeo.send_presence_subscription(pto=juliet_jid)
            await juliet.presences.wait_for(
                lambda p: p["type"] == "available" and p["from"] == romeo.boundjid, "Romeo's presence"
            )
            await romeo.presences.wait_for(
                lambda p: p["type"] == "available" and p["from"] == juliet.boundjid, "Juliet's presence"
            )

            juliet.send_presence(pshow="away", pstatus="on the balcony")
            away = await romeo.presences.wait_for(lambda p: p["type"] == "away", "Juliet's being away")
            assert away["status"] == "on the balcony"

            items = await _stored_roster(romeo)
            assert items[juliet_jid]["subscription"] == "both"
            assert items[juliet_jid]["name"] == "Juliet"
            assert items[juliet_jid]["groups"] == ["Verona"]
            items = await _stored_roster(juliet)
            assert items[romeo_jid]["subscription"] == "both"

            await romeo.del_roster_item(juliet_jid)
            assert juliet_jid not in await _stored_roster(romeo)
            items = await _stored_roster(juliet)
            assert items[romeo_jid]["subscription"] == "none"
            await juliet.del_roster_item(romeo_jid)

    asyncio.run(flow())


def test_presence_of_a_lost_connection(server):
    """The other learns of a connection that just ended, without a word of XMPP."""

    async def flow():
        async with online(server, "romeo") as romeo:
            async with online(server, "romeo", "other") as other:
                await romeo.presences.wait_for(
                    lambda p: p["type"] == "available" and p["from"] == other.boundjid, "the other's presence"
                )
                jid = other.boundjid
                other.abort()
                await romeo.presences.wait_for(
                    lambda p: p["type"] == "unavailable" and p["from"] == jid, "the other's end"
                )

    asyncio.run(flow())


def test_messages_both_ways(server):
    many = 300
    # Prosody takes stanzas of up to 256 kB from clients; this one spans many reads and writes.
    large = "Wherefore art thou Romeo? ♥ " * 8000

    async def flow():
        async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
            async def talk(sender, receiver):
                for n in range(many):
                    sender.send_message(mto=receiver.boundjid, mbody=f"line {n}", mtype="chat")
                sender.send_message(mto=receiver.boundjid, mbody=large, mtype="chat")
                sender.send_message(mto=receiver.boundjid, mbody="exit", mtype="chat")
                await receiver.messages.wait_for(lambda m: m["body"] == "exit", "the last line")
                bodies = [m["body"] for m in receiver.messages.seen if m["from"] == sender.boundjid]
                assert bodies == [f"line {n}" for n in range(many)] + [large, "exit"]

            await asyncio.gather(talk(romeo, juliet), talk(juliet, romeo))

    asyncio.run(flow())


def test_room(server):
    room = f"balcony@rooms.{server.host}"

    async def flow():
        plugins = ["xep_0045"]
        async with online(server, "romeo", plugins=plugins) as romeo, online(server, "juliet", plugins=plugins) as juliet:
            entrances = Inbox(romeo, f"muc::{room}::presence")
            await romeo.plugin["xep_0045"].join_muc_wait(room, "Romeo", timeout=10)
            # A new room is locked until its owner has accepted how it is configured.
            form = await romeo.plugin["xep_0045"].get_room_config(room)
            await romeo.plugin["xep_0045"].set_room_config(room, form)
            _, _, occupants, _ = await juliet.plugin["xep_0045"].join_muc_wait(room, "Juliet", timeout=10)
            assert "Romeo" in {p["muc"]["nick"] for p in occupants}
            await entrances.wait_for(lambda p: p["from"] == f"{room}/Juliet", "Juliet's entrance")

            for n in range(20):
                romeo.send_message(mto=room, mbody=f"Romeo {n}", mtype="groupchat")
                juliet.send_message(mto=room, mbody=f"Juliet {n}", mtype="groupchat")
            for client in (romeo, juliet):
                for who in ("Romeo", "Juliet"):
                    await client.messages.wait_for(
                        lambda m, last=f"{who} 19": m["type"] == "groupchat" and m["body"] == last, f"{who}'s last line"
                    )
                    lines = [m["body"] for m in client.messages.seen if m["body"] and m["from"] == f"{room}/{who}"]
                    assert lines == [f"{who} {n}" for n in range(20)]

            juliet.plugin["xep_0045"].leave_muc(room, "Juliet")
            await entrances.wait_for(
                lambda p: p["from"] == f"{room}/Juliet" and p["type"] == "unavailable", "Juliet's exit"
            )

    asyncio.run(flow())


def test_component(server):
    async def flow():
        async with component(server) as nurse, online(server, "juliet") as juliet:
            nurse.add_event_handler("message", lambda m: m.reply(m["body"].upper()).send())
            juliet.send_message(mto=f"errand@{nurse.boundjid.bare}", mbody="what news", mtype="chat")
            reply = await juliet.messages.wait_for(lambda m: m["from"].domain == nurse.boundjid.domain, "the reply")
            assert reply["body"] == "WHAT NEWS"
            assert reply["from"] == f"errand@{nurse.boundjid.bare}"

    asyncio.run(flow())


def test_a_crowd_arrives_at_once(server):
    """Connections made faster than the server accepts them are all served, and all forgotten when they leave."""
    crowd = 200
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(RawStream(server)) for _ in range(crowd)]
        for stream in streams:
            stream.open()
    # Another one still gets in.
    with RawStream(server) as stream:
        stream.open()
