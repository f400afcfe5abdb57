"""`trochee check --prosody`: what it finds in a configuration, by the Prosody that would run with it; and what prosodyctl says."""

import json
import os
import shutil
import subprocess

import pytest

from certificates import Authority
from prosody_server import DIST, PROSODY_13, ROOT

INCLUDED = ROOT / "packaging" / "prosody" / "trochee.cfg.lua"

# What every configuration here begins with; whoever runs the tests may be root.
BEGINNING = """
run_as_root = true
pidfile = "{folder}/prosody.pid"
data_path = "{folder}"
modules_enabled = {{ "tls"; "saslauth"; "bosh" }}
"""


@pytest.fixture(params=["0.12", "13.0"])
def programs(request):
    """The folder of `prosody` and `prosodyctl`."""
    if request.param == "13.0":
        assert PROSODY_13.exists(), "Prosody 13.0 is missing: run 'make setup' first"
        return PROSODY_13
    return os.path.dirname(shutil.which("prosody"))


class Check:
    def __init__(self, folder, programs, text, tree=DIST):
        folder.joinpath("certs").mkdir(exist_ok=True)
        self.configuration = folder / "prosody.cfg.lua"
        self.configuration.write_text(BEGINNING.format(folder=folder) + text)
        user = ["--user", "root"] if os.geteuid() == 0 else []
        self.command = [
            tree / "bin" / "trochee", "check", "--prosody", self.configuration, "--program", f"{programs}/prosody", *user,
        ]

    def run(self, *arguments):
        return subprocess.run([*self.command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)

    def facts(self):
        result = self.run("--json")
        assert not result.stderr, result.stderr
        answer = json.loads(result.stdout)
        levels = [fact["level"] for fact in answer["facts"]]
        assert answer["problems"] == levels.count("problem") and answer["advice"] == levels.count("advice")
        assert result.returncode == (1 if answer["problems"] else 0)
        return answer["facts"]


def _one(facts, subject, text=""):
    found = [fact for fact in facts if fact["subject"] == subject and text in fact["state"]]
    assert len(found) == 1, f"{subject} {text}: {found} in {facts}"
    return found[0]


def test_nothing_wrong(tmp_path, programs):
    check = Check(tmp_path, programs, 'network_settings = { read_timeout = 60 }\nVirtualHost "capulet.example"\n')
    authority = Authority(tmp_path / "ca")
    certificate = authority.issue(tmp_path / "certs", ["capulet.example"], key="RSA", days=60)
    with certificate.open("a") as file:
        file.write(authority.file.read_text())
    facts = check.facts()
    assert [fact for fact in facts if fact["level"] == "problem"] == []
    assert "trochee " in _one(facts, "network backend")["state"]
    assert "loads it" in _one(facts, "trochee.so")["state"]
    assert _one(facts, "network_settings")["state"] == "understood"
    assert "32 MiB are queued" in _one(facts, "memory")["state"]
    own = _one(facts, "certificate of capulet.example")
    assert "RSA key of 2048 bits" in own["state"] and "chain of 2" in own["state"] and "until " in own["state"], own
    # People see the same.
    shown = check.run()
    assert shown.returncode == 0 and f"-> {own['advice']}" in shown.stdout if own["advice"] else True, shown.stdout


def test_settings(tmp_path, programs):
    facts = Check(tmp_path, programs, """
network_settings = { read_timout = 60; tcp_backlog = "many"; io_threads = 1 }
network_backend = "event"
network_setings = {}
send_timeout = 5
gc = { mode = "generational" }
VirtualHost "capulet.example"
	network_settings = { nagle = true }
	c2s_ports = { 5222 }
	read_timeout = 5
""").facts()
    for subject, state, advice in (
        ("network_settings", "read_timout is not a setting that trochee knows", ""),
        ("network_settings", "Did you mean read_timeout?", ""),
        ("network_settings", "tcp_backlog must be a whole number", ""),
        ("network_settings", "io_threads has no effect: Prosody does not pass it on", 'network_backend = "epoll"'),
        ("network_settings", "has no effect below VirtualHost or Component \"capulet.example\"", "above the first VirtualHost"),
        ("network_setings", "is not an option", "did you mean network_settings?"),
        ("send_timeout", "no effect in the global section", "network_settings = { send_timeout = "),
        ("c2s_ports", "no effect below VirtualHost", "above the first VirtualHost"),
        ("read_timeout", "no effect below VirtualHost", "into network_settings"),
    ):
        fact = _one(facts, subject, state)
        assert fact["level"] == "problem" and advice in fact["advice"], fact
    assert _one(facts, "gc")["level"] == "advice"


def test_modules_that_wait(tmp_path, programs):
    facts = Check(tmp_path, programs, """
authentication = "ldap"
storage = { archive = "sql" }
sql = { driver = "PostgreSQL" }
VirtualHost "capulet.example"
""").facts()
    assert _one(facts, "mod_auth_ldap")["level"] == "advice"
    assert "PostgreSQL" in _one(facts, "mod_storage_sql")["state"]
    local = Check(tmp_path, programs, 'storage = "sql"\nsql = { driver = "SQLite3" }\nVirtualHost "capulet.example"\n').facts()
    assert not [fact for fact in local if fact["subject"].startswith("mod_")]


def test_certificates(tmp_path, programs):
    """One of each kind, each below a host of its own."""
    authority = Authority(tmp_path / "ca")
    certs = tmp_path / "certs"
    authority.issue(certs, ["soon.example"])
    authority.issue(certs, ["ed.example"], key="Ed448", days=60)
    authority.issue(certs, ["mixed.example"], days=60)
    shutil.copy(certs / "soon.example.key", certs / "mixed.example.key")
    authority.issue(tmp_path / "other", ["other.example"], days=60)
    for ending in ("crt", "key"):
        shutil.copy(tmp_path / "other" / f"other.example.{ending}", tmp_path / f"elsewhere.{ending}")
    authority.issue(certs, ["disordered.example"], days=60)
    with (certs / "disordered.example.crt").open("a") as file:
        file.write((certs / "soon.example.crt").read_text())
    facts = Check(tmp_path, programs, f"""
https_ports = {{ 5281 }}
VirtualHost "soon.example"
VirtualHost "ed.example"
VirtualHost "mixed.example"
VirtualHost "disordered.example"
VirtualHost "wrong.example"
	ssl = {{ certificate = "{tmp_path}/elsewhere.crt"; key = "{tmp_path}/elsewhere.key" }}
VirtualHost "none.example"
Component "rooms.none.example" "muc"
""").facts()
    for host, level, state in (
        ("soon.example", "advice", "until "),
        ("ed.example", "problem", "keys of the kind ed448 are not supported"),
        ("mixed.example", "problem", "mixed.example"),
        ("disordered.example", "problem", "number 2 in the file has not issued the one before it"),
        ("wrong.example", "problem", "not for this name"),
        ("none.example", "problem", "none was found"),
        ("rooms.none.example", "advice", "none was found"),
    ):
        fact = _one(facts, f"certificate of {host}")
        assert fact["level"] == level and state.lower() in fact["state"].lower() and fact["advice"], fact
    assert "within two weeks" in _one(facts, "certificate of soon.example")["advice"]
    _one(facts, "certificate of https port 5281")
    # What rustls does not do, whatever it is in this version of Prosody.
    assert any(fact["subject"] == "TLS" for fact in facts), facts


def test_a_configuration_that_prosody_does_not_take(tmp_path, programs):
    facts = Check(tmp_path, programs, "network_settings = {\n").facts()
    fact = _one(facts, "configuration")
    assert fact["level"] == "problem" and "prosody.cfg.lua" in fact["state"], fact


def test_a_module_that_cannot_be_loaded(tmp_path, programs):
    tree = tmp_path / "tree"
    shutil.copytree(DIST, tree)
    (tree / "lua" / "trochee.so").write_text("nothing")
    fact = _one(Check(tmp_path, programs, 'VirtualHost "capulet.example"\n', tree).facts(), "trochee.so")
    assert fact["level"] == "problem" and "cannot load it" in fact["state"], fact


@pytest.mark.parametrize("line", ["", "included"])
def test_prosodyctl_tells_which_backend_serves(tmp_path, programs, line):
    """By the file that `trochee enable` leaves beside the configuration, without any variable; and not without the file."""
    included = tmp_path / "conf.d"
    included.mkdir()
    Check(tmp_path, programs, 'VirtualHost "capulet.example"\nInclude "conf.d/*.cfg.lua"\n')
    if line:
        (included / INCLUDED.name).write_text(INCLUDED.read_text().replace("/usr/local/lib/trochee/lua", str(DIST / "lua")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUA_")}

    def said(*arguments):
        return subprocess.run(
            [f"{programs}/prosodyctl", "--config", tmp_path / "prosody.cfg.lua", *arguments],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        ).stdout

    about, check = said("about"), said("check", "config")
    assert "Backend: epoll" in about and ("\ntrochee: " in about) == bool(line), about
    assert ('The backend "epoll" is trochee ' in check) == bool(line), check
