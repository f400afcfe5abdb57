"""A module that holds the loop is named in the log, with the line that it was at."""

import asyncio
import re

import pytest

from clients import online
from prosody_server import MODULES, ROOT

FOLDER = ROOT / "tests" / "prosody" / "modules"


def blocker_line(mark):
    lines = (FOLDER / "mod_blocker.lua").read_text().splitlines()
    return rf"mod_blocker\.lua:{next(n for n, line in enumerate(lines, 1) if line.endswith('-- ' + mark))}\b"


@pytest.mark.only_on("epoll", "13-epoll")
def test_a_module_that_holds_the_loop_is_named(make_server):
    async def flow(server):
        async with online(server, "romeo") as romeo:
            for what, pattern in {
                # LuaSocket waits within the handler of a stanza, which Prosody runs in a coroutine.
                "wait": rf"s: onincoming of conn\d+, FD \d+ \(127\.0\.0\.1, \d+, .*, which was at \S*{blocker_line('waits')} in \S+ '\S*accept'",
                "compute": rf"s: onincoming of conn\d+, FD \d+ \(127\.0\.0\.1, \d+, .*, which was at \S*{blocker_line('computes')}",
                # The second time at that place, so the log hears of it later, and the shell at once.
                "timer": None,
            }.items():
                romeo.send_message(mto=server.host, mbody=what)
                if pattern:
                    await asyncio.to_thread(server.wait_for_log, r"\twarn\tThe loop stood still for \d+\.\d\d " + pattern)
            # The traceback leads from there to the loop.
            text = server.log.read_text()
            assert re.search(rf"\n\t\S*{blocker_line('computes')}[\s\S]*?\n\tresumed by:\n[\s\S]*?server_trochee\.lua:\d+: in ", text), text
            for _ in range(100):
                held = await asyncio.to_thread(server.shell, "trochee", "slow")
                if "a timer's callback" in held:
                    break
                await asyncio.sleep(0.1)
            assert re.search(
                rf"^1\.\d\d s +\S+ \S+ +a timer's callback of mod_blocker, \S*mod_blocker\.lua:\d+, which was at \S*{blocker_line('waits')}", held, re.M
            ), held
            assert re.search(r"^slow_callbacks +[3-9]", await asyncio.to_thread(server.shell, "trochee", "info"), re.M)

    server = make_server(modules=[*MODULES, "blocker"], plugin_paths=[FOLDER])
    # The thread that looks must be one of the process that serves.
    server.start(daemonize=server.backend.version == "0.12")
    asyncio.run(flow(server))
    server.stop()
