"""A real Prosody in a folder of its own: configuration, start, stop, and what its log says."""

import collections
import contextlib
import dataclasses
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"

PASSWORDS = {"romeo": "montague", "juliet": "capulet"}
COMPONENT_SECRET = "verona"

# Serving, stopping and being told take fractions of a second; these only end a wait that is lost.
START_TIMEOUT = 20
STOP_TIMEOUT = 15


@dataclasses.dataclass(frozen=True)
class Backend:
    """A network backend in a version of Prosody: what the configuration says, and how the running process shows it."""

    name: str
    version: str
    network_backend: str
    poller: str | None
    # The system call in which the idle process sits, which is how the kernel tells pollers apart.
    waits_in: frozenset[str]
    io_threads: int = 0

    @property
    def ours(self):
        return self.network_backend == "trochee"

    def command(self, name):
        """`prosody` or `prosodyctl` of this version."""
        return name if self.version == "0.12" else PROSODY_13 / name


# Where scripts/setup has unpacked it; 0.12 is installed.
PROSODY_13 = ROOT / ".prosody" / "13.0" / "usr" / "bin"

_EPOLL = frozenset({"epoll_wait", "epoll_pwait", "epoll_pwait2"})
_POLL = frozenset({"poll", "ppoll"})
_SELECT = frozenset({"select", "pselect6"})

BACKENDS = {
    prefix + name: Backend(prefix + name, version, *rest)
    for prefix, version in (("", "0.12"), ("13-", "13.0"))
    for name, *rest in (
        ("epoll", "trochee", "epoll", _EPOLL),
        ("poll", "trochee", "poll", _POLL),
        ("select", "trochee", "select", _SELECT),
        ("libevent", "trochee", "libevent", _EPOLL),
        ("threads", "trochee", "epoll", _EPOLL, 2),
        # Prosody's own: the control that shows whether a failure is ours or the test's.
        ("stock-epoll", "epoll", None, _EPOLL),
        ("stock-event", "event", None, _EPOLL),
        ("stock-select", "select", None, _SELECT),
    )
}

# Numbers of the calls above, by machine (Linux, asm/unistd.h); aarch64 has only the newer ones.
_SYSCALLS = {
    "x86_64": {
        7: "poll", 23: "select", 232: "epoll_wait", 270: "pselect6",
        271: "ppoll", 281: "epoll_pwait", 441: "epoll_pwait2",
    },
    "aarch64": {22: "epoll_pwait", 72: "pselect6", 73: "ppoll", 441: "epoll_pwait2"},
}

# Error-level lines that are no fault of the network backend. Each needs its reason.
TOLERATED = ()


def let_stock_settle(backend):
    """To be called before a signal that follows upon traffic.

    The stock backends of 0.12 let the handler of a signal interrupt Lua anywhere. In the middle of a flush, what
    the handler writes is lost (in about every second run of test_end); in the middle of another callback the
    handler raises and the signal comes to nothing. A moment of quiet makes the control reliable. Ours gets none.
    """
    if not backend.ours:
        time.sleep(0.3)


# The last ones that were reserved: more than any test needs, two sockets each.
_reserved = collections.deque(maxlen=200)


def _hold(address, number):
    """A socket that is bound to this port and never listens; an OSError if the port is not free."""
    holder = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        if holder.family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        holder.bind((address, number))
    except OSError:
        holder.close()
        raise
    # Only now: before, it would have allowed us a port that another has reserved in this way.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return holder


def _has_ipv6():
    try:
        _hold("::1", 0).close()
    except OSError:
        return False
    return True


_HAS_IPV6 = _has_ipv6()


def reserve_port(address="127.0.0.1", number=0):
    """A free port, chosen by the system, that nobody else is given; or the one of this number, an OSError if it is not free.

    What reserves it is a socket that is bound to it and never listens. Prosody can have it all the same, as both allow the port to
    be used again (SO_REUSEADDR); whoever asks the system for any port, by bind() or connect(), gets another one, and whoever
    asks for this one alone is refused. So tests, runs and their clients go on side by side.

    A port of 127.0.0.1 that the system chooses is reserved on ::1 too, for "localhost" is both: a client of another test that came
    to ::1 may have it there.
    """
    for _ in range(100):
        holder = _hold(address, number)
        port = holder.getsockname()[1]
        if (address, number) == ("127.0.0.1", 0) and _HAS_IPV6:
            try:
                _reserved.append(_hold("::1", port))
            except OSError:
                holder.close()
                continue
        _reserved.append(holder)
        return port
    raise OSError("no port is free on both 127.0.0.1 and ::1")


def free_ports(count, address="127.0.0.1"):
    return [reserve_port(address) for _ in range(count)]


def lua(value):
    """A Python value as Lua source."""
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, pathlib.Path)):
        text = str(value)
        assert not re.search(r'["\\\n]', text), text
        return f'"{text}"'
    if isinstance(value, (list, tuple)):
        return "{ " + " ".join(lua(v) + ";" for v in value) + " }"
    if isinstance(value, dict):
        return "{ " + " ".join(f"[{lua(k)}] = {lua(v)};" for k, v in value.items()) + " }"
    raise TypeError(value)


MODULES = [
    "admin_shell", "blocklist", "bosh", "carbons", "dialback", "disco", "pep", "ping", "posix",
    "private", "roster", "saslauth", "smacks", "time", "uptime", "version", "websocket",
]


class Prosody:
    """One server process. `options` are global settings that replace the ones below.

    With `tls`, STARTTLS is offered and there are ports for direct TLS and https; the test puts certificates into `certs`.
    """

    # The install tree whose module serves.
    tree = DIST

    def __init__(
        self, folder, backend, *, host="localhost", address="127.0.0.1", s2s_port=None, tls=False, modules=MODULES,
        **options,
    ):
        self.folder = pathlib.Path(folder)
        self.backend = backend
        self.host = host
        self.address = address
        (
            self.c2s_port, self.http_port, self.component_port, self.proxy65_port,
            self.c2s_tls_port, self.https_port, free_s2s,
        ) = free_ports(7, address)
        self.s2s_port = s2s_port or free_s2s
        self.tls = tls
        # By name over TLS, because certificates have names in them.
        self.http_host = host if tls else address
        # Lines for the end of the configuration, and patterns of error lines that a test provokes.
        self.more_config = []
        self.tolerated = []
        self.config = self.folder / "prosody.cfg.lua"
        self.log = self.folder / "prosody.log"
        self.console = self.folder / "console.log"
        self.process = None
        self.pid = None

        network_settings = {"poller": backend.poller} if backend.poller else {}
        if backend.io_threads:
            network_settings["io_threads"] = backend.io_threads
        network_settings.update(options.pop("network_settings", {}))
        self.options = {
            "network_backend": backend.network_backend,
            "network_settings": network_settings,
            "run_as_root": True,  # CI is root; Prosody refuses it otherwise
            "data_path": self.folder / "data",
            "certificates": self.folder / "certs",
            "pidfile": "prosody.pid",
            "admin_socket": "prosody.sock",
            "log": {"debug": self.log},
            "interfaces": [address],
            "local_interfaces": [address],
            "c2s_ports": [self.c2s_port],
            "s2s_ports": [self.s2s_port],
            "http_ports": [self.http_port],
            "component_ports": [self.component_port],
            "proxy65_ports": [self.proxy65_port],
            "https_ports": [self.https_port] if tls else [],
            "c2s_direct_tls_ports": [self.c2s_tls_port] if tls else [],
            "s2s_direct_tls_ports": [],
            "modules_enabled": [*modules, "tls"] if tls else modules,
            "c2s_require_encryption": False,
            "s2s_require_encryption": False,
            "s2s_secure_auth": False,
            "allow_unencrypted_plain_auth": True,
            "authentication": "internal_hashed",
            **options,
        }

    # --- life -------------------------------------------------------------------------------------

    def write_config(self):
        for name in ("data", "certs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        lines = [f"{key} = {lua(value)}" for key, value in self.options.items()]
        lines += [
            f"VirtualHost {lua(self.host)}",
            f"\thttp_host = {lua(self.http_host)}",
            f'\tdisco_items = {{ {{ "rooms.{self.host}" }}; {{ "files.{self.host}" }}; {{ "proxy.{self.host}" }} }}',
            f'Component "rooms.{self.host}" "muc"',
            f'Component "files.{self.host}" "http_file_share"',
            f"\thttp_host = {lua(self.http_host)}",
            f"\thttp_file_share_size_limit = {100 * 1024 * 1024}",
            f'Component "proxy.{self.host}" "proxy65"',
            f"\tproxy65_address = {lua(self.address)}",
            f'Component "component.{self.host}"',
            f"\tcomponent_secret = {lua(COMPONENT_SECRET)}",
            *self.more_config,
        ]
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def certs(self):
        return self.folder / "certs"

    @property
    def http_url(self):
        return f"http://{self.http_host}:{self.http_port}"

    @property
    def https_url(self):
        return f"https://{self.http_host}:{self.https_port}"

    @property
    def environment(self):
        env = dict(os.environ)
        # The rest of the path is Lua's default, which ";;" stands for.
        env["LUA_PATH"] = f"{DIST}/lua/?.lua;;"
        env["LUA_CPATH"] = f"{DIST}/lua/?.so;;"
        # What the configuration says is what is tested, whatever the caller's environment says.
        env.pop("TROCHEE_POLLER", None)
        env.pop("PROSODY_CONFIG", None)
        # Workers of pytest-xdist have it; the shell of 13.0 would cut its tables to 80 columns.
        env.pop("COLUMNS", None)
        return env

    def ctl(self, *args, timeout=30):
        """prosodyctl; it loads the network backend too."""
        return subprocess.run(
            [self.backend.command("prosodyctl"), "--config", self.config, *args],
            env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
        )

    def shell(self, *command):
        result = self.ctl("shell", *command)
        assert result.returncode == 0, f"prosodyctl shell {command}: {result.stdout}"
        return result.stdout

    def register(self):
        for user, password in PASSWORDS.items():
            result = self.ctl("register", user, self.host, password)
            assert result.returncode == 0, result.stdout

    def start(self, *, daemonize=False):
        if self.backend.version == "13.0":
            assert PROSODY_13.exists(), "Prosody 13.0 is missing: run 'make setup' first"
        if self.backend.ours:
            assert (DIST / "lua" / "trochee.so").exists(), "dist/ is missing: run 'make build' first"
        self.write_config()
        self.register()
        self.log.unlink(missing_ok=True)
        with open(self.console, "w") as console:
            self.process = subprocess.Popen(
                [self.backend.command("prosody"), "-D" if daemonize else "-F", "--config", self.config],
                env=self.environment, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid
        try:
            if daemonize:
                self._wait_for_daemon()
            self._wait_until_it_answers()
            self._check_backend()
        except BaseException:
            self.kill()
            raise
        return self

    def _wait_for_daemon(self):
        """The process that was started leaves; the one that serves has written its number."""
        status = self.process.wait(START_TIMEOUT)
        assert status == 0, f"prosody -D: exit status {status}\n{self.everything_said()}"
        pidfile = self.folder / "data" / "prosody.pid"
        deadline = time.monotonic() + START_TIMEOUT
        while not (pidfile.exists() and pidfile.read_text().strip()):
            assert time.monotonic() < deadline, f"no pid file\n{self.everything_said()}"
            time.sleep(0.05)
        self.pid = int(pidfile.read_text())
        assert self.pid != self.process.pid

    def _wait_until_it_answers(self):
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            assert self.alive(), f"Prosody ended while starting\n{self.everything_said()}"
            assert time.monotonic() < deadline, f"Prosody does not answer\n{self.everything_said()}"
            with contextlib.suppress(OSError):
                with RawStream(self) as stream:
                    stream.open()
                    return
            time.sleep(0.05)

    def _check_backend(self):
        """What is being tested is really in use: asked of the kernel, not of the program."""
        maps = pathlib.Path(f"/proc/{self.pid}/maps").read_text()
        assert (str(self.tree / "lua" / "trochee.so") in maps) == self.backend.ours, "trochee.so mapped or not, wrongly"
        deadline = time.monotonic() + 5
        # A thread gives itself its name, a moment after Prosody answers, perhaps.
        while (threads := self._io_threads()) != self.backend.io_threads:
            assert time.monotonic() < deadline, f"{threads} I/O threads"
            time.sleep(0.01)
        calls = _SYSCALLS.get(os.uname().machine)
        assert calls, f"add the system call numbers of {os.uname().machine}"
        seen = set()
        while time.monotonic() < deadline:
            # "running", or the number of the call in which the process waits and its arguments
            first = pathlib.Path(f"/proc/{self.pid}/syscall").read_text().split()[0]
            if first.lstrip("-").isdigit():
                seen.add(calls.get(int(first), first))
                if seen & self.backend.waits_in:
                    return
            time.sleep(0.01)
        raise AssertionError(f"{self.backend.name}: waits in {seen}, not in {set(self.backend.waits_in)}")

    def _io_threads(self):
        names = [name.read_text() for name in pathlib.Path(f"/proc/{self.pid}/task").glob("*/comm")]
        return sum(name.startswith("trochee-io-") for name in names)

    def alive(self):
        if self.pid == self.process.pid:
            return self.process.poll() is None
        try:
            state = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return False
        return state != "Z"

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=STOP_TIMEOUT):
        """Seconds until the process is gone."""
        start = time.monotonic()
        while self.alive():
            if time.monotonic() - start > timeout:
                raise AssertionError(f"Prosody still runs after {timeout} s\n{self.everything_said()}")
            time.sleep(0.01)
        return time.monotonic() - start

    def stop(self):
        let_stock_settle(self.backend)
        try:
            self.signal(signal.SIGTERM)
            self.wait()
        finally:
            self.kill()
        self.check_end()

    def check_end(self):
        """The check that ends each server's life: how it left, and what it logged."""
        if self.pid == self.process.pid:
            assert self.process.wait(STOP_TIMEOUT) == 0, f"exit status {self.process.returncode}"
        self.check_log()

    def kill(self):
        if self.process and self.alive():
            os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait(STOP_TIMEOUT)

    def __enter__(self):
        return self.start()

    def __exit__(self, failed, *_):
        if failed:
            self.kill()
        else:
            self.stop()

    # --- the log ----------------------------------------------------------------------------------

    def everything_said(self):
        parts = []
        for path in (self.console, self.log):
            if path.exists():
                parts.append(f"--- {path.name} (end)\n" + path.read_text(errors="replace")[-6000:])
        return "\n".join(parts)

    def wait_for_log(self, pattern, times=1):
        """Until the log has it so often; everything is logged at level debug."""
        deadline = time.monotonic() + 20
        while len(re.findall(pattern, self.log.read_text())) < times:
            assert time.monotonic() < deadline, f"{pattern} is not in the log\n{self.everything_said()}"
            time.sleep(0.05)

    def check_log(self):
        """No error-level line, no traceback, nothing on the console that hints at one."""
        # "Nov 23 17:12:30 mod_cron\tinfo\tRunning periodic tasks"
        log = self.log.read_text(errors="replace")
        assert "backend for connection handling" in log, "this is not the log of a whole life"
        assert f"welcome to Prosody version {self.backend.version}" in log, "this is another version"
        bad = [
            line
            for line in log.splitlines()
            if (re.match(r"^\w{3} \d\d [\d:]{8} [^\t]*\terror\t", line) or re.search("traceback", line, re.I))
            and not any(re.search(pattern, line) for pattern in (*TOLERATED, *self.tolerated))
        ]
        console = self.console.read_text(errors="replace")
        if re.search(r"traceback|panicked|\berror\b", console, re.I):
            bad.append("on the console: " + console)
        assert not bad, "the log is not clean:\n" + "\n".join(bad)


class RawStream:
    """An XMPP client stream over a plain socket, for what a client library hides."""

    def __init__(self, server, port=None, source=""):
        self.host = server.host
        self.socket = socket.create_connection((server.address, port or server.c2s_port), timeout=10, source_address=(source, 0))
        self.received = b""

    def open(self, timeout=10):
        """Opens a stream; what the server offers on it."""
        self.socket.sendall(
            b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' to='%s' "
            b"xmlns:stream='http://etherx.jabber.org/streams'>" % self.host.encode()
        )
        return self.expect(b"</stream:features>", timeout)

    def expect(self, what, timeout=10):
        """Reads until `what` has come, and returns everything up to its end."""
        deadline = time.monotonic() + timeout
        while what not in self.received:
            left = deadline - time.monotonic()
            if left <= 0 or not self._readable(left):
                raise TimeoutError(f"{what!r} did not come; received: {self.received!r}")
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"closed before {what!r}; received: {self.received!r}")
            self.received += data
        head, _, self.received = self.received.partition(what)
        return head + what

    def _readable(self, timeout):
        return select.select([self.socket], [], [], timeout)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class SecureStream(RawStream):
    """The same over TLS: by STARTTLS, or direct TLS with `port`. `trust` is an ssl.SSLContext, `session` one that it may resume."""

    def __init__(self, server, trust, port=None, name="localhost", source="", session=None):
        super().__init__(server, port, source)
        try:
            if not port:
                self.open()
                self.socket.sendall(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
                self.expect(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
                assert not self.received, self.received
            self.socket = trust.wrap_socket(self.socket, server_hostname=name, session=session)
        except BaseException:
            self.socket.close()
            raise

    def _readable(self, timeout):
        pending = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
        return pending or super()._readable(timeout)
