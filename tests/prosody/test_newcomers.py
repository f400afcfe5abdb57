"""Connections that do not say who they are end in time, and all that have said so stay: c2s, s2s and components."""

import asyncio
import contextlib
import re
import socket
import time

import aiohttp
import pytest

from clients import component, online
from prosody_server import MODULES, ROOT, RawStream
from test_s2s import S2S_PORT, two_addresses
from test_web import WebSocket

# What a login may take on a busy machine.
WHOLE = 6


def counted(server, what):
    shown = server.shell(f"> return 'is ' .. tostring({what})")
    return int(re.search(r"is (\d+)", shown).group(1))


async def ends(stream, timeout):
    """Until the server has ended this stream."""
    async with asyncio.timeout(timeout):
        while await asyncio.get_running_loop().sock_recv(stream, 4096):
            pass


@pytest.mark.only_on("threads", "13-epoll")
def test_strangers_end_and_all_others_stay(make_server):
    verona, mantua = two_addresses()
    settings = {"newcomer_data_timeout": 1, "newcomer_timeout": WHOLE}

    async def flow(here, there):
        begun = time.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            romeo = await stack.enter_async_context(online(here, "romeo"))
            juliet = await stack.enter_async_context(online(there, "juliet"))
            bot = await stack.enter_async_context(component(here))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            socket_user = WebSocket(here, http)
            await socket_user.log_in("juliet")

            async def exchange(number):
                for sender, receiver in ((romeo, juliet), (juliet, romeo), (romeo, bot)):
                    sender.send_message(mto=receiver.boundjid, mbody=f"{number}", mtype="chat")
                for receiver in (juliet, romeo, bot):
                    await receiver.messages.wait_for(lambda m: m["body"] == f"{number}", f"message {number}")

            await exchange(1)
            silent = [
                socket.create_connection((verona, port), 10)
                for port in (here.c2s_port, here.s2s_port, here.component_port)
            ]
            unknown = stack.enter_context(RawStream(here))
            await asyncio.to_thread(unknown.open)
            for stream in (*silent, unknown.socket):
                stream.setblocking(False)
                stack.callback(stream.close)

            await asyncio.gather(*(ends(stream, 20) for stream in silent))
            await ends(unknown.socket, WHOLE + 20)
            await asyncio.sleep(max(0, begun + WHOLE + 1 - time.monotonic()))
            await exchange(2)

            stats = "require'net.server'.stats()"
            assert await asyncio.to_thread(counted, here, f"{stats}.newcomers_late") == 4
            # Romeo, the other server, the component, Juliet over WebSocket.
            assert await asyncio.to_thread(counted, here, f"{stats}.authenticated") == 4

    with make_server("verona", host=verona, address=verona, s2s_port=S2S_PORT, network_settings=settings) as here:
        with make_server("mantua", host=mantua, address=mantua, s2s_port=S2S_PORT) as there:
            asyncio.run(flow(here, there))
        log = here.log.read_text()
        # No second connection took the place of one that had ended.
        assert log.count(f"{mantua}->{verona} is now authenticated") == 1, log
        assert "newcomer_data_timeout = 1" in log


@pytest.mark.only_on("threads", "epoll", "13-epoll")
def test_who_asks_for_nothing_over_http_ends(make_server):
    """A client of HTTP is a stranger until its request is complete, and the user of a WebSocket until it has logged in."""
    settings = {"newcomer_data_timeout": 1, "newcomer_timeout": WHOLE, "newcomer_bytes": 1000}
    server = make_server(
        modules=[*MODULES, "length"], plugin_paths=[ROOT / "tests" / "prosody" / "modules"], network_settings=settings,
    )
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def answered(stream):
        """A request, and the beginning of its answer."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(stream, request)
        async with asyncio.timeout(20):
            answer = await loop.sock_recv(stream, 65536)
        assert b" 404 " in answer

    async def drip(stream):
        """A byte now and then, for as long as the server takes it."""
        loop, sent = asyncio.get_running_loop(), 0
        with contextlib.suppress(ConnectionError):
            while sent < 200:
                await loop.sock_sendall(stream, request[sent % 5 : sent % 5 + 1])
                sent += 1
                await asyncio.sleep(0.2)
        return sent

    async def flow():
        async with contextlib.AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            known, silent, begun, slow = (socket.create_connection((server.address, server.http_port), 10) for _ in range(4))
            for stream in known, silent, begun, slow:
                stream.setblocking(False)
                stack.callback(stream.close)
            await answered(known)
            stranger = WebSocket(server, http)
            await stranger.open()
            user = WebSocket(server, http)
            await user.log_in("juliet")
            async with http.post(f"{server.http_url}/length", data=b"x" * 200_000) as response:
                assert await response.text() == "200000"
            await asyncio.get_running_loop().sock_sendall(begun, request[:1])
            dripping = asyncio.create_task(drip(slow))
            await asyncio.gather(ends(silent, 20), ends(begun, 20))
            assert await dripping < 200
            async with asyncio.timeout(WHOLE + 20):
                last = await stranger.reader
            assert last.type != aiohttp.WSMsgType.TEXT
            # Those who have asked, or logged in, are still there.
            await answered(known)
            await user.send("<iq xmlns='jabber:client' type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>")
            await user.expect("client:iq")
            stats = "require'net.server'.stats()"
            assert await asyncio.to_thread(counted, server, f"{stats}.newcomers_late") == 4
            assert await asyncio.to_thread(counted, server, f"{stats}.newcomers_over_budget") == 0
            assert await asyncio.to_thread(counted, server, f"{stats}.authenticated") == 1

    with server:
        asyncio.run(flow())
        log = server.log.read_text()
        assert "Stranger" not in log
        assert re.search(r"a connection from .* was ended: nothing was sent in time \(newcomer_data_timeout = 1\)", log), log


@pytest.mark.only_on("epoll", "13-epoll")
def test_without_the_module_nobody_is_asked(make_server):
    """Listed in modules_disabled it is not loaded, and a silent connection stays."""
    with make_server(modules_disabled=["trochee"], network_settings={"newcomer_data_timeout": 1}) as server:
        with socket.create_connection((server.address, server.c2s_port), 10) as stream:
            stream.settimeout(2.5)
            with pytest.raises(TimeoutError):
                stream.recv(1)
        assert "mod_trochee" not in server.shell("module", "list")


@pytest.mark.only_on("epoll", "13-epoll", "stock-epoll", "13-stock-epoll")
def test_the_module_comes_and_goes(make_server):
    """It is loaded with trochee and with nothing else, can be loaded again, and leaves nothing behind."""
    with make_server(network_settings={"newcomer_data_timeout": 1}) as server:
        listed = server.shell("module", "list")
        assert ("trochee" in listed) == server.backend.ours, listed
        if not server.backend.ours:
            return
        server.shell("module", "reload", "trochee", "*")
        with socket.create_connection((server.address, server.c2s_port), 10) as stream:
            stream.settimeout(10)
            assert stream.recv(1) == b""
        with socket.create_connection((server.address, server.c2s_port), 10) as stream:
            server.shell("module", "unload", "trochee", "*")
            stream.settimeout(2.5)
            with pytest.raises(TimeoutError):
                stream.recv(1)
