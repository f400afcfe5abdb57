"""The section "trochee" of Prosody's shell."""

import asyncio
import contextlib
import re
import socket
import time

import pytest

from clients import component, online
from prosody_server import RawStream


def _until(look, wanted):
    deadline = time.monotonic() + 20
    while wanted not in (seen := look()):
        assert time.monotonic() < deadline, seen


@pytest.mark.only_on("threads", "13-epoll")
def test_what_the_shell_knows(make_server):
    async def flow(server):
        async def shell(*command):
            return await asyncio.to_thread(server.shell, "trochee", *command)

        async with online(server, "romeo") as romeo, component(server):
            with RawStream(server) as stranger:
                await asyncio.to_thread(stranger.open)
                shown = await shell("info")
                assert re.search(r"^trochee \d+\.\d+\.\d+, poller epoll, \d I/O threads$", shown, re.M), shown
                # The stranger and the shell itself.
                assert re.search(r"^connections: 0 accepted, 0 proxied, 0 secured, 2 opened, [2-9] established$", shown, re.M), shown
                assert re.search(r"^authenticated +2 +Connections that have authenticated", shown, re.M), shown

                assert re.search(r"^turn_seconds +[1-9]\d* +\d+ \w+ +<= \d+ \w+ +<= ", shown, re.M), shown
                listeners = await shell("listeners")
                # Romeo and the stranger; the test has looked whether the server answers, too.
                assert re.search(rf"^c2s +\S+ +{server.c2s_port} +2 +[3-9] +0$", listeners, re.M), listeners

                rows = (await shell("connections")).splitlines()
                assert rows[0].split() == [
                    "id", "stage", "address", "port", "TLS", "age", "idle", "queued", "received", "sent", "reads",
                    "RTT", "resent", "unacked", "session",
                ]
                mine = [row for row in rows if f"{romeo.boundjid.full} (c2s)" in row]
                assert len(mine) == 1 and "established" in mine[0] and re.search(r" c2s .* \d+\.\d ms +\d+ +\d+ B ", mine[0]), rows
                assert any("component.localhost (component)" in row for row in rows), rows
                port = stranger.socket.getsockname()[1]
                found = await shell("connections", f"127.0.0.1:{port}")
                assert "c2s_unauthed" in found and "opened" in found and "OK: 1 connections" in found, found
                assert romeo.boundjid.full not in found

                addresses = await shell("addresses")
                assert re.search(r"^127\.0\.0\.1 +3 +1 ", addresses, re.M), addresses

                # Closed by its id, it is gone for its client, too.
                number = re.search(rf"^(\S+) .*127\.0\.0\.1:{port} ", found, re.M).group(1)
                assert "OK: Closed" in await shell("close", number)
                assert await asyncio.to_thread(stranger.socket.recv, 100) == b""
            refused = await asyncio.to_thread(server.ctl, "shell", "trochee", "close", "nobody")
            assert "there is no connection nobody" in refused.stdout, refused.stdout

            # A ban ends what is there, refuses what comes, and can be taken back.
            loopback, other = (server.address, server.c2s_port), "127.0.0.9"
            with socket.create_connection(loopback, 10, (other, 0)) as there:
                there.sendall(b" ")
                await asyncio.to_thread(_until, lambda: server.shell("trochee", "connections", f"{other}:"), "1 connections")
                assert "1 connections were changed" in await shell("limit", f"{other}/32", "1000")
                assert f"{other} is banned for 1 min, and 1 connections were closed" in await shell("ban", other, "100")
                assert await asyncio.to_thread(there.recv, 1) == b""
            with socket.create_connection(loopback, 10, (other, 0)) as refused:
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.to_thread(refused.recv, 1) == b""
            assert re.search(rf"^{other} +\S+ \w+ +1$", await shell("bans"), re.M)
            await shell("unban", other)
            with socket.create_connection(loopback, 10, (other, 0)) as back:
                back.sendall(b" ")
                await asyncio.to_thread(_until, lambda: server.shell("trochee", "connections", f"{other}:"), "1 connections")
            wrong = await asyncio.to_thread(server.ctl, "shell", "trochee", "ban", "somewhere")
            assert '"somewhere" is neither an address nor a network' in wrong.stdout, wrong.stdout

            # What the shell is told to do holds the loop, and is named with the file that did it.
            busy = "> local since = os.clock() while os.clock() - since < 0.5 do end return 1"
            await asyncio.to_thread(server.shell, busy)
            held = await shell("slow")
            assert re.search(r"^\d+\.\d\d s +\S+ \S+ +onincoming of conn\d+, FD .*\.lua:\d+, which was at ", held, re.M), held
            assert "The loop stood still for" in server.log.read_text()

            assert "OK: Commands about the network layer" in await shell("help")
            listed = await asyncio.to_thread(server.shell, "help", "trochee")
            if server.backend.version != "0.12":
                assert "trochee connections <filter>" in listed, listed

            # What went wrong has its reason and address.
            with socket.create_connection((server.address, server.c2s_port), 10) as silent:
                silent.settimeout(20)
                assert await asyncio.to_thread(silent.recv, 1) == b""
                port = silent.getsockname()[1]
            errors = await shell("errors", str(port))
            assert re.search(rf"127\.0\.0\.1, {port}, .*nothing was sent in time", errors), errors

    with make_server(network_settings={"newcomer_data_timeout": 2}) as server:
        asyncio.run(flow(server))
