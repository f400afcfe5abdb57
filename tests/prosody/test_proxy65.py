"""A file from one client to another through the SOCKS5 proxy of the server (XEP-0065)."""

import asyncio
import hashlib
import random

import pytest

from clients import PATIENCE, online

pytestmark = pytest.mark.contract_item(101)

SIZE = 12 * 1024 * 1024


def test_transfer(server):
    content = random.Random("trochee").randbytes(SIZE)

    async def flow():
        plugins = ["xep_0065"]
        async with online(server, "romeo", plugins=plugins) as romeo, online(server, "juliet", plugins=plugins) as juliet:
            juliet.plugin["xep_0065"].auto_accept = True
            got = hashlib.sha256()
            size = 0
            finished = asyncio.Event()

            def take(data):
                nonlocal size
                got.update(data)
                size += len(data)

            juliet.add_event_handler("socks5_data", take)
            juliet.add_event_handler("socks5_closed", lambda _: finished.set())

            # Finds the proxy by service discovery, offers it to Juliet, connects to it and activates it.
            stream = await romeo.plugin["xep_0065"].handshake(juliet.boundjid, timeout=10)
            assert stream is not None, "no connection to the proxy"
            proxies = await romeo.plugin["xep_0065"].discover_proxies()
            assert list(proxies.values()) == [(server.address, str(server.proxy65_port))]
            stream.transport.write(content)
            stream.transport.close()  # after what was written

            async with asyncio.timeout(4 * PATIENCE):
                await finished.wait()
            assert size == SIZE
            assert got.hexdigest() == hashlib.sha256(content).hexdigest()

    asyncio.run(flow())
