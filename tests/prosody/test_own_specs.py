"""Prosody's own specs (busted), those of the version that they came with, with Prosody's names meaning trochee and without."""

import collections
import concurrent.futures
import pathlib
import re
import shutil
import subprocess

import pytest

from prosody_server import BACKENDS, DIST, PROSODY_13, ROOT, Prosody

pytestmark = pytest.mark.contract_item(101)

TAKEOVER = DIST / "lua" / "trochee" / "takeover.lua"
# Its modules in C: those of the version that is installed, and of the one that scripts/setup has unpacked.
COMPILED = {"0.12": "/usr/lib/prosody", "13.0": PROSODY_13.parent / "lib" / "prosody"}
# At the end of the process: whether the backend has been loaded, which the specs' own isolation hides from package.loaded.
AT_EXIT = """
at_exit = setmetatable({}, { __gc = function ()
	local maps = io.open("/proc/self/maps"):read("a");
	print(maps:find("trochee.so", 1, true) and "# trochee" or "# stock");
end })
"""


def source_of(version):
    """The folder of Prosody's source, as Debian has it."""
    result = subprocess.run(
        [ROOT / "scripts" / "prosody-source", version], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    if result.returncode != 0:
        pytest.skip(result.stderr.strip().splitlines()[-1])
    return result.stdout.strip()


def _specs(source, version, ours, *arguments):
    """What passed and what did not, by name."""
    init = AT_EXIT + (f'dofile "{TAKEOVER}"' if ours else "")
    busted = ["lua5.4", shutil.which("busted"), "--output", "TAP", *arguments]
    if version != "0.12":
        busted += ["--helper", "loader"]
    # util_poll_spec expects that its standard output becomes writable, which a pipe does.
    result = subprocess.run(
        busted, cwd=source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90,
        env={"PATH": "/usr/bin:/bin", "LUA_INIT": init, "LUA_PATH": "./?.lua;;", "LUA_CPATH": f"{COMPILED[version]}/?.so;;"},
    )
    assert f"\n# {'trochee' if ours else 'stock'}\n" in result.stdout, result.stdout[-3000:]
    passed, failed = (
        collections.Counter(re.findall(rf"^{word} \d+ - (.*)", result.stdout, re.M)) for word in ("ok", "not ok")
    )
    assert (result.returncode == 0) == (not failed), result.stdout[-3000:]
    return passed, failed, result.stdout


# Debian's mirrors do not all keep the source of 0.12; that of 13.0 must be there.
@pytest.fixture(params=[pytest.param("0.12", marks=pytest.mark.may_skip), "13.0"])
def version(request):
    return request.param


def test_specs(version):
    """All that upstream runs by default; mod_bosh_spec, which needs a server, is not among them."""
    source = source_of(version)
    control, control_failed, _ = _specs(source, version, False, "spec")
    assert sum(control.values()) > 500, "where are the specs?"
    passed, failed, said = _specs(source, version, True, "spec")
    assert passed == control and failed == control_failed, f"only here: {failed - control_failed}\n{said}"
    assert not control_failed, f"Prosody's own backends fail these: {control_failed}"


def test_bosh(tmp_path, version):
    """mod_bosh_spec: Prosody's HTTP client on "select", against a server on epoll."""
    source = source_of(version)
    text = (pathlib.Path(source) / "spec" / "mod_bosh_spec.lua").read_text()
    assert text.count("localhost:5280") == 1

    def run(ours):
        backend = BACKENDS[("" if version == "0.12" else "13-") + ("epoll" if ours else "stock-epoll")]
        server = Prosody(tmp_path / backend.name, backend, host="verona.localhost", http_default_host="localhost")
        server.more_config = ['VirtualHost "localhost"', '\tauthentication = "anonymous"']
        with server:
            # All that is changed: 5280 may be another's on this machine, and its name server need not know localhost.
            spec = server.folder / "mod_bosh_spec.lua"
            spec.write_text(text.replace("localhost:5280", f"127.0.0.1:{server.http_port}"))
            return _specs(source, version, ours, "--run", "bosh", str(spec))

    # It sleeps most of the time.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        (passed, failed, said), (control, control_failed, _) = threads.map(run, (True, False))
    assert sum(control.values()) >= 7, "where are the specs?"
    assert passed == control and failed == control_failed, said
    assert not control_failed, f"Prosody's own backends fail these: {control_failed}"
