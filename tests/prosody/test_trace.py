"""What happens on one connection, step by step, for a report of a defect."""

import asyncio
import itertools
import re

import pytest

from clients import online


@pytest.mark.only_on("threads", "13-epoll")
def test_a_connection_is_traced_until_it_ends(make_server):
    secret = "a pound of flesh"

    async def flow(server):
        async def shell(*command):
            return await asyncio.to_thread(server.shell, "trochee", *command)

        async def ids_of(*clients):
            rows = await shell("connections")
            return [re.search(rf"^(conn\d+) .* {client.boundjid.full} ", rows, re.M).group(1) for client in clients]

        numbers = itertools.count()

        async def talk(juliet, times):
            for n in itertools.islice(numbers, times):
                juliet.send_message(mto=romeo.boundjid.full, mbody=f"{secret} {n}")
                await romeo.messages.wait_for(lambda message, n=n: message["body"] == f"{secret} {n}", "the message")

        async with online(server, "romeo") as romeo:
            async with online(server, "juliet") as juliet:
                his, hers = await ids_of(romeo, juliet)
                await talk(juliet, 1)
                assert "trochee_trace" not in server.log.read_text()
                assert "OK" in await shell("trace", hers)
                await shell("trace", his)
                await talk(juliet, 2)
                assert "OK: 1 traces were ended" in await shell("untrace", his)
                await talk(juliet, 3)
                before = len(_of(server, his))
            await asyncio.to_thread(server.wait_for_log, rf"trochee_trace\tinfo\t{hers} \+\d+\.\d+ s: the trace ends: {hers} ended: closed ")
            assert len(_of(server, his)) == before, "he is traced no more"
        lines = _of(server, hers)
        assert re.match(r"the trace of FD \d+ \(127\.0\.0\.1, .*\) begins: \d+\.\d\d s old, \d+ bytes in, \d+ bytes out, 0 queued, no TLS$", lines[0]), lines
        assert sum(bool(re.match(r"received \d+ bytes", line)) for line in lines) >= 6, lines
        assert any(re.match(r"wrote \d+ bytes, \d+ are queued$", line) for line in lines), lines
        assert re.match(r"wrote \d+ bytes, \d+ are queued$", _of(server, his)[1]), _of(server, his)
        assert secret not in "".join(lines), "what is said is nobody's business"

    with make_server() as server:
        asyncio.run(flow(server))


def _of(server, conn):
    return re.findall(rf"\ttrochee_trace\tinfo\t{conn} \+\d+\.\d+ s: (.*)", server.log.read_text().replace(" trochee_trace\t", "\ttrochee_trace\t"))
