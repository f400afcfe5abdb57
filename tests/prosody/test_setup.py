"""scripts/setup and benches/setup: what each part brings, and what is said of Rust."""

import os
import subprocess

import pytest

from prosody_server import ROOT

# What nobody wants on a server because of `make run`.
FOR_TESTS_ALONE = {"ejabberd", "nginx", "sslscan", "go-sendxmpp", "gnutls-bin", "prosody-modules", "lua-busted", "python3-venv"}


def _setup(*arguments, path=None, home=None):
    environment = {"PATH": path or os.environ["PATH"], "HOME": str(home or os.environ["HOME"])}
    return subprocess.run(
        [ROOT / "scripts" / "setup", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def _packages(part):
    result = _setup("--list", part)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_running_brings_nothing_of_the_tests():
    running, testing = _packages("running"), _packages("testing")
    assert {"prosody", "lua5.4", "gcc"} <= running
    assert not running & FOR_TESTS_ALONE
    assert FOR_TESTS_ALONE | running <= testing
    # So it is what `make run` and `make bench` ask for.
    makefile = (ROOT / "Makefile").read_text()
    for target in ("run:", "bench:"):
        recipe = makefile.split(f"\n{target}")[1].split("\n\n")[0]
        assert "@scripts/setup running\n" in recipe, recipe


def test_an_unknown_part():
    result = _setup("everything")
    assert result.returncode != 0 and "unknown part: everything; there are 'running' and 'testing'" in result.stderr, result


@pytest.mark.parametrize(
    ("cargo", "said"), [(None, "cargo was not found"), ("cargo 1.63.0", "is of Rust 1.63.0"), ("cargo 1.9.0", "is of Rust 1.9.0")]
)
def test_no_rust_or_an_old_one(tmp_path, cargo, said):
    """Nothing is installed before that; the line that installs Rust is one, to be copied."""
    if cargo:
        program = tmp_path / "cargo"
        program.write_text(f"#!/bin/sh\necho '{cargo} (0000000 2022-08-01)'\n")
        program.chmod(0o755)
    for part in ("running", "testing"):
        result = _setup(part, path=f"{tmp_path}:/usr/bin:/bin", home=tmp_path)
        assert result.returncode != 0 and said in result.stderr and "Debian 12 (1.63)" in result.stderr, result
        lines = [line for line in result.stderr.splitlines() if "rustup" in line]
        assert len(lines) == 1 and lines[0].startswith("  curl "), result.stderr
        assert "installing" not in result.stdout
