"""The names in Prosody's documentation, on trochee: by LUA_INIT, by a line of configuration, by the command line; and without."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from clients import online
from prosody_server import BACKENDS, DIST, ROOT, Backend, Prosody, let_stock_settle

_EPOLL, _SELECT = BACKENDS["epoll"].waits_in, BACKENDS["select"].waits_in
TAKEOVER = DIST / "lua" / "trochee" / "takeover.lua"
TROCHEE = DIST / "bin" / "trochee"
DROP_IN = ROOT / "packaging" / "systemd" / "trochee.conf"
PACKAGED_UNIT = "/lib/systemd/system/prosody.service"

# What the configuration says, and what comes of it: the name, the poller, the call in which it waits.
CONFIGURATIONS = {
    "nothing": ({}, "epoll", "epoll", _EPOLL),
    "epoll": ({"network_backend": "epoll"}, "epoll", "epoll", _EPOLL),
    "event": ({"network_backend": "event"}, "event", "libevent epoll", _EPOLL),
    "use_libevent": ({"use_libevent": True}, "event", "libevent epoll", _EPOLL),
    "select": ({"network_backend": "select"}, "select", "select", _SELECT),
}


class Ours(Backend):
    """Named as one of Prosody's own, but trochee."""

    ours = True


class Server(Prosody):
    """With the environment and configuration of its test alone; `program` is started instead of prosody."""

    def __init__(self, folder, backend, options, *, environment=(), first_line="", program=None):
        super().__init__(folder, backend)
        del self.options["network_backend"]
        self.options.update(options)
        self.first_line = first_line
        self.own_environment = dict(environment)
        self.program = program

    @property
    def environment(self):
        inherited = {k: v for k, v in super().environment.items() if not k.startswith("LUA_")}
        return {**inherited, **self.own_environment}

    def write_config(self):
        super().write_config()
        self.config.write_text(f"{self.first_line}\n{self.config.read_text()}")

    def log_lines(self, pattern):
        return re.findall(pattern, self.log.read_text())


def _backend(version, waits_in, kind=Ours):
    return kind("taken over", version, "", None, waits_in)


def _wait(condition, what):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


async def _talk(server):
    async with online(server, "romeo") as romeo, online(server, "juliet") as juliet:
        romeo.send_message(mto=juliet.boundjid, mbody="what's in a name?", mtype="chat")
        await juliet.messages.wait_for(lambda m: m["body"] == "what's in a name?", "the message")


@pytest.fixture(params=["0.12", "13.0"])
def version(request):
    return request.param


@pytest.mark.parametrize(
    ("how", "configuration"),
    [*(("LUA_INIT", name) for name in CONFIGURATIONS), ("RunScript", "nothing"), ("RunScript", "event")],
)
def test_names(tmp_path, version, how, configuration):
    options, name, backend, waits_in = CONFIGURATIONS[configuration]
    server = Server(
        tmp_path, _backend(version, waits_in), options,
        environment={"LUA_INIT": f"@{TAKEOVER}"} if how == "LUA_INIT" else {},
        first_line=f'RunScript "{TAKEOVER}"' if how == "RunScript" else "",
    )
    with server:
        asyncio.run(_talk(server))
        assert server.log_lines(rf'The backend "(\w+)" is trochee ') == [name]
        assert server.log_lines("Prosody is using the (.*) backend") == [backend]
        # prosodyctl loads the backend in the same way.
        assert "romeo" not in server.shell("c2s", "show")
        about = server.ctl("about")
        assert about.returncode == 0 and f"Backend: {backend}\n" in about.stdout, about.stdout
        assert re.search(r"^trochee: +\t", about.stdout, re.M), about.stdout
        assert "is trochee" not in about.stdout, "prosodyctl prints what is logged at level info"


def test_neither_variable_nor_line_is_stock(tmp_path, version):
    stock = BACKENDS["stock-epoll"] if version == "0.12" else BACKENDS["13-stock-epoll"]
    with Server(tmp_path, stock, {}) as server:
        assert server.log_lines("Prosody is using the (.*) backend") == ["epoll"]
        assert not server.log_lines("trochee")
        # The line that is added now counts from the next start on, and says so, once.
        server.first_line = f'RunScript "{TAKEOVER}"'
        server.write_config()
        for times in (1, 2):
            let_stock_settle(stock)
            server.signal(signal.SIGHUP)
            _wait(lambda: len(server.log_lines("Received SIGHUP")) == times, "the reload")
            asyncio.run(_talk(server))
        assert len(server.log_lines("Prosody's backends will be trochee's after a restart")) == 1


def test_without_libevent_it_falls_back(tmp_path, version):
    """Prosody's own words, by whoever finds out, and the reason."""
    broken = tmp_path / "lib"
    broken.mkdir()
    for name in ("libevent_core-2.1.so.7", "libevent-2.1.so.7"):
        (broken / name).touch()
    server = Server(
        tmp_path / "prosody", _backend(version, _EPOLL), {"network_backend": "event"},
        environment={"LUA_INIT": f"@{TAKEOVER}", "LD_LIBRARY_PATH": str(broken)},
    )
    server.tolerated.append("libevent not found, falling back to epoll")
    with server:
        asyncio.run(_talk(server))
        (reason,) = server.log_lines(r"libevent not found, falling back to epoll \((.*)\)")
        assert "install libevent-core-2.1-7" in reason and "file too short" in reason, reason
        assert server.log_lines("Prosody is using the (.*) backend") == ["epoll"]


def test_settings_reach_it_through_event(tmp_path):
    """net/server.lua hands them over as those of libevent; a bad one is named."""
    server = Server(
        tmp_path, _backend("0.12", _EPOLL), {"network_backend": "event", "network_settings": {"read_timeout": "soon"}},
        environment={"LUA_INIT": f"@{TAKEOVER}"},
    )
    server.tolerated.append("network_settings.read_timeout must be")
    with server:
        assert server.log_lines("network_settings.read_timeout must be .*") == [
            "network_settings.read_timeout must be a number of seconds, not a string; keeping 840"
        ]


@pytest.mark.parametrize(
    ("arguments", "options", "waits_in", "said"),
    [
        ("", {"network_backend": "event"}, _EPOLL, "libevent epoll"),
        ("--backend select", {"network_backend": "event"}, _SELECT, "select"),
        ("--own-names", {"network_backend": "trochee"}, _EPOLL, "trochee epoll"),
        ("--own-names --backend select", {"network_backend": "trochee"}, _SELECT, "trochee select"),
    ],
)
def test_command_line(tmp_path, version, arguments, options, waits_in, said):
    """`trochee prosody` and `trochee prosodyctl` are Prosody's own processes: the same number, the same end."""
    prosody = _backend(version, waits_in).command("prosody")
    if version == "0.12":
        prosody = shutil.which(prosody)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("prosody", "prosodyctl"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {TROCHEE} {name} {arguments} --prosody {prosody} -- "$@"\n')
        program.chmod(0o755)

    class Launched(Ours):
        def command(self, name):
            return programs / name

    with Server(tmp_path / "prosody", _backend(version, waits_in, Launched), options) as server:
        assert server.log_lines("Prosody is using the (.*) backend") == [said]
        if "--own-names" not in arguments:
            (line,) = server.log_lines('The backend "event" is trochee .*')
            assert ("TROCHEE_POLLER: select" in line) == ("select" in arguments), line
        status = server.ctl("status")
        assert status.returncode == 0, status.stdout
        assert server.ctl("passwd", f"nobody@{server.host}").returncode == 1


def _environment_of(drop_in):
    """As systemd.exec(5) has it: the whole assignment is quoted, and in it a backslash or a specifier would mean something."""
    (line,) = (line for line in drop_in.read_text().splitlines() if line.startswith("Environment="))
    assignment = re.fullmatch(r'Environment="(\w+=[^"\\%]*)"', line)
    assert assignment, line
    return dict([assignment.group(1).split("=", 1)])


def test_drop_in(tmp_path, version):
    """The environment that it gives to the service, but for the folder."""
    environment = {k: v.replace("/usr/local/lib/trochee/lua", str(DIST / "lua")) for k, v in _environment_of(DROP_IN).items()}
    assert str(DIST) in environment["LUA_INIT"], environment
    with Server(tmp_path, _backend(version, _EPOLL), {}, environment=environment) as server:
        asyncio.run(_talk(server))


def test_drop_in_without_an_installation(tmp_path, version):
    """What an installation that was removed by hand leaves behind does not keep Prosody from starting."""
    stock = BACKENDS["stock-epoll"] if version == "0.12" else BACKENDS["13-stock-epoll"]
    environment = {k: v.replace("/usr/local", str(tmp_path)) for k, v in _environment_of(DROP_IN).items()}
    with Server(tmp_path / "prosody", stock, {}, environment=environment) as server:
        asyncio.run(_talk(server))
        said = [line for line in server.console.read_text().splitlines() if "trochee" in line]
        assert len(said) == 1 and "cannot be loaded" in said[0] and "No such file" in said[0], said


def test_systemd_accepts_the_drop_in(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    shutil.copy(PACKAGED_UNIT, tmp_path)
    (tmp_path / "prosody.service.d").mkdir()
    shutil.copy(DROP_IN, tmp_path / "prosody.service.d")
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "prosody.service"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    complaints = [line for line in result.stdout.splitlines() if "trochee.conf" in line]
    assert result.returncode == 0 and not complaints, result.stdout
