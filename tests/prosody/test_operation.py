"""What an operator does with a server: look inside, change its configuration, detach it, end it."""

import asyncio
import contextlib
import dataclasses
import re
import signal
import socket
import time

import pytest

from clients import Inbox, online
from prosody_server import Backend, Prosody, RawStream, let_stock_settle

# "within two seconds", from the signal to the end of the process
END_WITHIN = 2


async def _in_thread(function, *args):
    """Runs what waits without letting the clients of this loop wait."""
    return await asyncio.to_thread(function, *args)


def test_shell(server):
    """The admin socket is a UNIX stream socket, at both ends of which the backend is ours."""

    async def flow():
        async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
            shown = await _in_thread(server.shell, "c2s", "show")
            for client in (romeo, juliet):
                assert client.boundjid.full in shown, shown
            assert re.search(r"\b2 c2s sessions\b|\b2 sessions\b", shown), shown

            ports = await _in_thread(server.shell, "port", "list")
            assert re.search(rf"^c2s: .*:{server.c2s_port}\b", ports, re.M), ports

            # Longer than one read of the socket.
            assert len(await _in_thread(server.shell, "help", "c2s")) > 100
            text = await _in_thread(server.shell, "> return ('trochee '):rep(20000)")
            assert text.count("trochee ") == 20000

            # Ends a session from the other side of the server.
            errors = Inbox(juliet, "stream_error")
            gone = juliet.disconnected
            await _in_thread(server.shell, "c2s", "close", juliet.boundjid.full, "curfew")
            async with asyncio.timeout(10):
                await gone
            assert [e["text"] for e in errors.seen] == ["curfew"]
            assert juliet.boundjid.full not in await _in_thread(server.shell, "c2s", "show")

    asyncio.run(flow())


def test_prosodyctl(server):
    """It loads the backend too, and shows it; what it has to say of the configuration is not about that."""
    about = server.ctl("about")
    assert about.returncode == 0, about.stdout
    backend = f"trochee {server.backend.poller}" if server.backend.ours else server.backend.network_backend
    assert re.search(rf"^Backend:\s+(\S+ )?{re.escape(backend)}\b", about.stdout, re.M), about.stdout
    for what in ("config", "disabled", "features"):
        checked = server.ctl("check", what)
        assert not re.search("traceback|error:|trochee", checked.stdout, re.I), checked.stdout


def test_port_closed_at_run_time(make_server):
    with make_server() as server:
        with RawStream(server) as stream:
            stream.open()
            server.shell("port", "close", str(server.c2s_port))
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((server.address, server.c2s_port), 5)
            # Those who are inside stay; the server answers them.
            stream.socket.sendall(b"</stream:stream>")
            stream.expect(b"</stream:stream>")


def test_reload(make_server):
    """SIGHUP: the backend takes the new network_settings, and nobody is disturbed."""

    async def flow(server):
        async with online(server, "romeo") as romeo:
            with RawStream(server) as stream:
                stream.open()
                with pytest.raises(TimeoutError):
                    await _in_thread(stream.expect, b" ", 2.5)

            server.options["network_settings"]["read_timeout"] = 1
            server.write_config()
            let_stock_settle(server.backend)
            server.signal(signal.SIGHUP)
            await asyncio.sleep(1)
            assert "Received SIGHUP" in server.log.read_text()

            # Prosody sends a space to a client that has been silent for read_timeout.
            with RawStream(server) as stream:
                stream.open()
                assert await _in_thread(stream.expect, b" ", 5) == b" "
            assert await romeo.plugin["xep_0199"].ping(server.host, timeout=5) > 0

    with make_server() as server:
        asyncio.run(flow(server))


# Reading a parameter of Lua's collector is setting it.
COLLECTOR = (
    "> local function get(what) local is = collectgarbage(what, 0); collectgarbage(what, is); return is end "
    "return ('pause %d speed %d'):format(get 'setpause', get 'setstepmul')"
)


@pytest.mark.only_on("epoll", "stock-epoll", "13-epoll", "13-stock-epoll")
def test_collector(make_server):
    """Prosody's defaults are 105 (which Lua rounds) and 500; a reload can take ours back; an operator's own `gc` is left alone."""

    def expect(server, what):
        deadline = time.monotonic() + 10
        while what not in (said := server.shell(COLLECTOR)):
            assert time.monotonic() < deadline, f"{said!r}, not {what}"

    with make_server() as server:
        expect(server, "pause 200 speed 16" if server.backend.ours else "pause 104 speed 500")
        server.options["network_settings"]["gc_headroom"] = False
        server.write_config()
        let_stock_settle(server.backend)
        server.signal(signal.SIGHUP)
        expect(server, "pause 104 speed 500")

    with make_server(gc={"mode": "incremental", "threshold": 160, "speed": 400}) as server:
        expect(server, "pause 160 speed 400")


def _goodbye(stream):
    """A client that is told that the server goes, and says goodbye as it should."""
    told = stream.expect(b"</stream:stream>", 5)
    assert b"<system-shutdown" in told, told
    stream.socket.settimeout(5)
    with contextlib.suppress(ConnectionError):  # when the server did not wait for it
        stream.socket.sendall(b"</stream:stream>")
        assert stream.socket.recv(1) == b"", "not closed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_end(make_server, number):
    async def flow(server):
        async with online(server, "romeo") as romeo:
            errors = Inbox(romeo, "stream_error")
            gone = romeo.disconnected
            with RawStream(server) as stream:
                stream.open()
                let_stock_settle(server.backend)
                start = time.monotonic()
                server.signal(number)
                await _in_thread(_goodbye, stream)
                await _in_thread(server.wait)
                took = time.monotonic() - start
            async with asyncio.timeout(5):
                await gone
            told = [e["condition"] for e in errors.seen]
            # A stock backend closes over what the client has sent meanwhile, and that reset may overtake the
            # farewell: no promise of the control.
            if server.backend.ours:
                assert told == ["system-shutdown"]
            assert took < END_WITHIN, f"{took:.2f} s"

    server = make_server().start()
    asyncio.run(flow(server))
    server.check_end()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.address, server.c2s_port), 5)


def test_restart_on_the_same_ports(make_server):
    """The ports are free again at once, although the server closed first and the kernel still remembers."""
    server = make_server()
    with contextlib.ExitStack() as clients:
        for _ in range(2):
            with server:
                for _ in range(5):
                    clients.enter_context(RawStream(server)).open()


def test_daemon(make_server):
    """Prosody forks after it has loaded the backend and bound its ports."""

    async def flow(server):
        async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
            romeo.send_message(mto=juliet.boundjid, mbody="from a daemon", mtype="chat")
            await juliet.messages.wait_for(lambda m: m["body"] == "from a daemon", "the message")
            shown = await _in_thread(server.shell, "c2s", "show")
            assert romeo.boundjid.full in shown, shown

    server = make_server().start(daemonize=True)
    status = server.ctl("status")
    assert status.returncode == 0 and str(server.pid) in status.stdout, status.stdout
    asyncio.run(flow(server))
    server.stop()


# That 0.12 itself knows nothing of it is why the stock one of 0.12 is not here.
@pytest.mark.only_on("epoll", "13-epoll", "13-stock-epoll")
def test_socket_activation(backend, tmp_path):
    """systemd has bound the port, and starts Prosody when somebody connects. That one cannot bind it again."""

    class Activated(Backend):
        def command(self, name):
            return tmp_path / name if name == "prosody" else super().command(name)

    server = Prosody(tmp_path / "server", Activated(*dataclasses.astuple(backend)))
    script = tmp_path / "prosody"
    script.write_text(
        "#!/bin/sh\nexec systemd-socket-activate -E PATH -E LUA_PATH -E LUA_CPATH "
        f"-l {server.address}:{server.c2s_port} {backend.command('prosody')} \"$@\"\n"
    )
    script.chmod(0o755)
    with server:
        with RawStream(server) as stream:
            stream.open()
        ports = server.shell("port", "list")
        assert re.search(rf"^c2s: .*:{server.c2s_port}\b", ports, re.M), ports
