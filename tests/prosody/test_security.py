"""What docs/security.md says that strangers can make us spend, where it takes a Prosody to see it."""

import pathlib
import re
import time

import pytest

from certificates import Authority
from prosody_server import ROOT, SecureStream

STREAMS = 150


def at_most(resource, what):
    """The number that the document promises."""
    tables = (ROOT / "docs" / "security.md").read_text().split("\n### ")
    table = next(text for text in tables if text.startswith(f"{resource}\n"))
    row = re.search(rf"^\| [^|]* \| {re.escape(what)} \| ([\d,]+)", table, re.M)
    assert row, f"docs/security.md has no row of {resource}: {what}"
    return int(row[1].replace(",", ""))


def _resident(server):
    """Bytes of the process, once its garbage is collected; the shell needs something, too, which is there before and after."""
    server.shell("> collectgarbage() or collectgarbage()")
    rollup = pathlib.Path(f"/proc/{server.pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+)", rollup, re.M)[1]) * 1024


@pytest.mark.only_on("epoll", "13-epoll", "threads")
def test_what_an_open_stream_holds(make_server, tmp_path):
    ca = Authority(tmp_path / "ca")
    server = make_server(tls=True)
    ca.issue(server.certs, ["localhost"])
    trust = ca.trust()

    def open_streams(count):
        streams = [SecureStream(server, trust, server.c2s_tls_port) for _ in range(count)]
        for stream in streams:
            stream.open()
        return streams

    with server:
        # What the first ones cost is not theirs; many would leave room in the heap that those after them fill.
        for stream in open_streams(10):
            stream.socket.close()
        time.sleep(0.5)
        before = _resident(server)
        streams = open_streams(STREAMS)
        held = (_resident(server) - before) / STREAMS
        for stream in streams:
            stream.socket.close()
    print(f"an open stream holds {held:.0f} bytes")
    assert held <= at_most("Memory", "opens a stream over TLS")
