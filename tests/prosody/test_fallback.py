"""A takeover that cannot load trochee: Prosody's own backend serves, and one line in the log says why."""

import asyncio
import os
import shutil
import subprocess

import pytest

from prosody_server import BACKENDS, DIST
from test_takeover import Server, _talk


@pytest.fixture(params=["0.12", "13.0"])
def stock(request):
    return BACKENDS["stock-epoll" if request.param == "0.12" else "13-stock-epoll"]


@pytest.fixture
def tree(tmp_path):
    """A copy of the install tree, to be damaged."""
    shutil.copytree(DIST / "lua", tmp_path / "tree" / "lua")
    return tmp_path / "tree" / "lua"


def _cut(so, keep):
    size = so.stat().st_size
    os.truncate(so, keep(size))


def _other_architecture(so):
    """The number of another machine (elf(5)) in the header: aarch64's, or x86-64's where this is aarch64."""
    with so.open("r+b") as file:
        file.seek(18)
        ours = int.from_bytes(file.read(2), "little")
        file.seek(18)
        file.write((62 if ours == 183 else 183).to_bytes(2, "little"))


def _for_another_lua(so):
    """A module that needs what only Lua 5.1 has."""
    source = so.with_name("other.c")
    source.write_text("int lua_setfenv(void *, int); int luaopen_trochee(void *L) { return lua_setfenv(L, 1); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", so, source], check=True)


def _without(path):
    def remove(so):
        so.unlink()
        if path == "a folder":
            so.mkdir()

    return remove


DAMAGES = {
    "truncated by a page": (lambda so: _cut(so, lambda size: size - 4096), r"incomplete: \d+ of \d+ bytes"),
    "truncated by a byte": (lambda so: _cut(so, lambda size: size - 1), r"incomplete: \d+ of \d+ bytes"),
    "half of it": (lambda so: _cut(so, lambda size: size // 2), r"incomplete: \d+ of \d+ bytes"),
    "the header alone": (lambda so: _cut(so, lambda size: 64), r"incomplete: 64 of \d+ bytes"),
    "empty": (lambda so: _cut(so, lambda size: 0), "not a shared library"),
    "zeros": (lambda so: so.write_bytes(bytes(so.stat().st_size)), "not a shared library"),
    "missing": (_without("anything"), "No such file"),
    "a folder": (_without("a folder"), "not a shared library"),
    "another architecture": (_other_architecture, "built for another architecture"),
    "another Lua": (_for_another_lua, "undefined symbol: lua_setfenv"),
    "a Lua file is missing": (lambda so: (so.parent / "net" / "server_trochee.lua").unlink(), "net.server_trochee.* not found"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_prosody_serves_all_the_same(tmp_path, stock, tree, damage):
    act, reason = DAMAGES[damage]
    act(tree / "trochee.so")
    server = Server(tmp_path / "prosody", stock, {}, environment={"LUA_INIT": f"@{tree}/trochee/takeover.lua"})
    server.tolerated.append("trochee cannot be loaded, so Prosody's own backend serves")
    with server:
        asyncio.run(_talk(server))
        (said,) = server.log_lines(f"trochee cannot be loaded, so Prosody's own backend serves: (.*{reason}.*)")
        if damage != "a Lua file is missing":
            assert str(tree / "trochee.so") in said
        assert server.log_lines("Prosody is using the (.*) backend") == ["epoll"]
        assert not server.log_lines("is trochee")


@pytest.mark.parametrize("configuration", [{"network_backend": "event"}, {"network_backend": "select"}])
def test_each_name_is_stock_again(tmp_path, stock, tree, configuration):
    """luaevent, too, which Prosody asks for before it asks for the backend."""
    name = configuration["network_backend"]
    _cut(tree / "trochee.so", lambda size: size // 2)
    backend = BACKENDS[("13-" if stock.version == "13.0" else "") + f"stock-{name}"]
    server = Server(tmp_path / "prosody", backend, configuration, environment={"LUA_INIT": f"@{tree}/trochee/takeover.lua"})
    server.tolerated.append("trochee cannot be loaded")
    server.start()
    try:
        asyncio.run(_talk(server))
        assert len(server.log_lines("trochee cannot be loaded")) == 1
        server.check_log()
    finally:
        # Not asked to end: while nothing happens, select of 13.0 does not hear SIGTERM.
        server.kill()


def test_by_a_line_of_the_configuration(tmp_path, stock, tree):
    _cut(tree / "trochee.so", lambda size: size // 2)
    server = Server(tmp_path / "prosody", stock, {}, first_line=f'RunScript "{tree}/trochee/takeover.lua"')
    server.tolerated.append("trochee cannot be loaded")
    with server:
        asyncio.run(_talk(server))
        assert len(server.log_lines("trochee cannot be loaded")) == 1


def test_unreadable(tmp_path, stock, tree):
    """For the user of the service; root can read everything, so the server gives up what lets it."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("no setpriv here")
    so = tree / "trochee.so"
    so.chmod(0)

    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("prosody", "prosodyctl"):
        drop = "setpriv --bounding-set=-all" if os.geteuid() == 0 else ""
        (programs / name).write_text(f'#!/bin/sh\nexec {drop} {stock.command(name)} "$@"\n')
        (programs / name).chmod(0o755)

    class Powerless(type(stock)):
        def command(self, name):
            return programs / name

    backend = Powerless("powerless", stock.version, stock.network_backend, stock.poller, stock.waits_in)
    server = Server(tmp_path / "prosody", backend, {}, environment={"LUA_INIT": f"@{tree}/trochee/takeover.lua"})
    server.tolerated.append("trochee cannot be loaded")
    with server:
        (said,) = server.log_lines("trochee cannot be loaded, so Prosody's own backend serves: (.*)")
        assert f"{so}: Permission denied" in said


STOCK_LIBRARIES = {
    "net/server_epoll.lua": "return 'the stock backend'",
    "util/logger.lua": """
        return { init = function (name)
            return function (level, format, ...) print(name, level, format:format(...)) end
        end }
    """,
}


def test_another_lua(tmp_path):
    """Prosody's own libraries of Debian are for Lua 5.4 alone, so what it asks for is asked for here as it does it."""
    luajit = shutil.which("luajit")
    assert luajit, "luajit is missing: run scripts/setup first"
    for path, text in STOCK_LIBRARIES.items():
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    takeover = DIST / "lua" / "trochee" / "takeover.lua"

    def run(path, program):
        environment = {**os.environ, "LUA_INIT": f"@{takeover}", "LUA_PATH": path}
        return subprocess.run([luajit, "-e", program], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30)

    result = run(f"{tmp_path}/?.lua", "print(require 'net.server_epoll') print(require 'net.server_epoll')")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "trochee\terror\ttrochee cannot be loaded, so Prosody's own backend serves: it is made for Lua 5.4, and this is LuaJIT",
        "the stock backend",
        "the stock backend",
    ]
    # Any other program is none the wiser.
    other = run(f"{tmp_path}/none/?.lua", "print(pcall(require, 'util.poll'))")
    assert other.returncode == 0 and "module 'util.poll' not found" in other.stdout and "trochee" not in other.stderr, other
