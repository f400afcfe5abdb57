"""Real clients: slixmpp people and components."""

import asyncio
import contextlib

import slixmpp

from prosody_server import COMPONENT_SECRET, PASSWORDS

# What the server owes comes within milliseconds; this only ends a wait that is lost.
PATIENCE = 15


class Inbox:
    """What a client has received of one kind of event, and a way to wait for what is wanted."""

    def __init__(self, client, event):
        self.event = event
        self.seen = []
        self._more = asyncio.Event()
        client.add_event_handler(event, self._add)

    def _add(self, stanza):
        self.seen.append(stanza)
        self._more.set()

    async def wait_for(self, wanted, what):
        """The first one, come already or yet to come, for which wanted(stanza) is true."""
        try:
            async with asyncio.timeout(PATIENCE):
                checked = 0
                while True:
                    for stanza in self.seen[checked:]:
                        if wanted(stanza):
                            return stanza
                    checked = len(self.seen)
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come; {self.event}: {[str(s) for s in self.seen]}") from None


async def _begin(client, address, port):
    """Connects and waits for the session; a failure says which."""
    started = asyncio.get_running_loop().create_future()

    def settle(outcome):
        def handler(event=None):
            if not started.done():
                started.set_result((outcome, event))
        return handler

    client.add_event_handler("session_start", settle("session"))
    client.add_event_handler("failed_all_auth", settle("authentication failed"))
    client.add_event_handler("connection_failed", settle("connection failed"))
    client.add_event_handler("disconnected", settle("disconnected"))
    client.connect(address, port)
    async with asyncio.timeout(PATIENCE):
        outcome, detail = await started
    assert outcome == "session", f"{client.boundjid}: {outcome}: {detail}"


async def _end(client):
    async with asyncio.timeout(PATIENCE):
        await client.disconnect(wait=2)


@contextlib.asynccontextmanager
async def online(
    server, user, resource="tests", plugins=(), *, password=None, mechanism=None, tls=None, trust=None, host=None
):
    """A slixmpp client of `user`, logged in and available; logged out at the end of the block.

    `tls` is "starttls" or "direct", with `trust`, an ssl.SSLContext; left out, there is no TLS.
    """
    jid = f"{user}@{host or server.host}/{resource}"
    client = slixmpp.ClientXMPP(jid, password or PASSWORDS[user])
    client.enable_direct_tls = tls == "direct"
    client.enable_starttls = tls == "starttls"
    client.enable_plaintext = tls is None
    if tls:
        client.ssl_context = trust
    login = client.plugin["feature_mechanisms"]
    login.unencrypted_scram = login.unencrypted_plain = tls is None
    login.use_mech = mechanism
    for plugin in ("xep_0030", "xep_0199", *plugins):
        client.register_plugin(plugin)
    client.messages = Inbox(client, "message")
    client.presences = Inbox(client, "presence")
    await _begin(client, server.address, server.c2s_tls_port if tls == "direct" else server.c2s_port)
    try:
        client.send_presence()
        yield client
    finally:
        await _end(client)


@contextlib.asynccontextmanager
async def component(server):
    """slixmpp as the external component component.<host>."""
    client = slixmpp.ComponentXMPP(f"component.{server.host}", COMPONENT_SECRET, server.address, server.component_port)
    client.messages = Inbox(client, "message")
    await _begin(client, server.address, server.component_port)
    try:
        yield client
    finally:
        await _end(client)
