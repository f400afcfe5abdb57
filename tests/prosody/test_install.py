"""`make install` and `make uninstall`, with a Prosody that serves from the installation."""

import asyncio
import os
import pathlib
import subprocess

import pytest

from prosody_server import BACKENDS, DIST, ROOT
from test_takeover import Server, _backend, _talk


def _make(target, **variables):
    result = subprocess.run(
        ["make", "--no-print-directory", target, *(f"{name}={value}" for name, value in variables.items())],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )
    return result.returncode, result.stdout


def _install(**variables):
    status, said = _make("install", **variables)
    assert status == 0, said
    return said


def _files(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("version", ["0.12", "13.0"])
def test_again_and_again_under_a_running_server(tmp_path, version):
    """In a place with a space in its name, to which a symbolic link leads: the kernel tells another name than PREFIX."""
    prefix, place = tmp_path / "my prefix", tmp_path / "real place"
    place.mkdir()
    prefix.symlink_to(place)
    _install(PREFIX=prefix)

    class Installed(Server):
        tree = place / "lib" / "trochee"

    takeover = prefix / "lib" / "trochee" / "lua" / "trochee" / "takeover.lua"
    backend = _backend(version, BACKENDS["epoll"].waits_in)
    with Installed(tmp_path / "prosody", backend, {}, environment={"LUA_INIT": f"@{takeover}"}) as server:
        for _ in range(3):
            said = _install(PREFIX=prefix)
            assert f"still running on what was there before, until they are restarted: process {server.pid}\n" in said
            asyncio.run(_talk(server))
        maps = pathlib.Path(f"/proc/{server.pid}/maps").read_text()
        assert f"{Installed.tree}/lua/trochee.so (deleted)" in maps
        status, said = _make("uninstall", PREFIX=prefix)
        assert status == 0 and f"process {server.pid}\n" in said, said
        asyncio.run(_talk(server))


def test_what_is_where(tmp_path):
    prefix = tmp_path / "usr"
    said = _install(DESTDIR=tmp_path, PREFIX="/usr")
    assert "still running" not in said
    tree = prefix / "lib" / "trochee"
    for name in _files(DIST / "lua"):
        assert (tree / "lua" / name).read_bytes() == (DIST / "lua" / name).read_bytes()
        assert (tree / "lua" / name).stat().st_mode & 0o777 == (0o755 if name.suffix == ".so" else 0o644)
    assert os.readlink(prefix / "bin" / "trochee") == "../lib/trochee/bin/trochee"
    assert not [name for name in _files(prefix) if name.suffix == ".new"]
    # The command line finds the module of its installation, through the link as well.
    result = subprocess.run(
        [prefix / "bin" / "trochee", "prosody", "--prosody", "/usr/bin/env"], env={}, text=True, capture_output=True, timeout=30
    )
    assert f"LUA_INIT=@{tree}/lua/trochee/takeover.lua" in result.stdout, result


def test_what_is_no_longer_part_of_it_goes(tmp_path):
    """And nothing else: neither what others have put beside it, nor folders that others share."""
    prefix = tmp_path / "usr"
    _install(PREFIX=prefix)
    tree = prefix / "lib" / "trochee"
    old, foreign = tree / "lua" / "trochee" / "gone" / "old.lua", prefix / "bin" / "other"
    for file in (old, foreign):
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    with (tree / "manifest").open("a") as manifest:
        manifest.write(f"{old.relative_to(prefix)}\n")
    _install(PREFIX=prefix)
    assert not old.parent.exists() and foreign.exists()
    status, said = _make("uninstall", PREFIX=prefix)
    assert status == 0, said
    assert _files(prefix) == {pathlib.Path("bin/other")}
    assert not tree.exists() and (prefix / "lib").exists()


def test_uninstall_while_prosody_is_told_to_use_it(tmp_path):
    _install(DESTDIR=tmp_path, PREFIX="/usr")
    drop_in = tmp_path / "etc" / "systemd" / "system" / "prosody.service.d" / "trochee.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nEnvironment=LUA_INIT=@/usr/lib/trochee/lua/trochee/takeover.lua\n")
    status, said = _make("uninstall", DESTDIR=tmp_path, PREFIX="/usr")
    assert status != 0 and str(drop_in) in said and "trochee disable" in said, said
    # `trochee enable` names what a symbolic link leads to.
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "usr")
    drop_in.write_text(f"[Service]\nEnvironment=LUA_INIT=@{tmp_path}/usr/lib/trochee/lua/trochee/takeover.lua\n")
    status, said = _make("uninstall", DESTDIR=tmp_path, PREFIX="/link")
    assert status != 0 and str(drop_in) in said, said
    drop_in.unlink()
    status, said = _make("uninstall", DESTDIR=tmp_path, PREFIX="/usr")
    assert status == 0, said
    status, said = _make("uninstall", DESTDIR=tmp_path, PREFIX="/usr")
    assert status != 0 and "there is no installation" in said, said


def test_what_cannot_be_written_leaves_the_old_installation(tmp_path):
    """A folder in the place of the last file that is written: nothing was renamed before that was known."""
    _install(PREFIX=tmp_path)
    tree = tmp_path / "lib" / "trochee"
    inode = (tree / "lua" / "trochee.so").stat().st_ino
    (tree / "manifest.new").mkdir()
    status, said = _make("install", PREFIX=tmp_path)
    assert status != 0 and "manifest.new" in said, said
    assert (tree / "lua" / "trochee.so").stat().st_ino == inode
    assert not [name for name in _files(tmp_path) if name.suffix == ".new"]


def test_a_place_that_is_read_only(tmp_path):
    _install(PREFIX=tmp_path)
    if os.geteuid() != 0:
        pytest.skip("only root can make a place that root cannot write to")
    program = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && PREFIX=$1 exec scripts/install'
    for place in (tmp_path, tmp_path / "below"):
        place.mkdir(exist_ok=True)
        result = subprocess.run(
            ["unshare", "--mount", "sh", "-c", program, "sh", place], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert result.returncode != 0, result
        assert "Read-only file system" in result.stderr and "PREFIX=/opt/trochee" in result.stderr, result
    assert not [name for name in _files(tmp_path) if name.suffix == ".new"]


def test_a_prefix_has_to_be_absolute(tmp_path):
    status, said = _make("install", PREFIX="usr")
    assert status != 0 and "PREFIX=usr is not an absolute path" in said, said
