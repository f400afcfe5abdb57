"""Prosody's own integration tests, spec/scansion in its source: plays, in which clients say and hear stanzas.

What upstream reads them with is a program of its own; here it is this file. Only 13.0 is on stage: 0.12 has nothing that clears
away what a play has left, and its plays want a clock that stands still.
"""

import contextlib
import pathlib
import re
import shutil
from xml.etree import ElementTree

import pytest

from prosody_server import Prosody, lua
from test_own_specs import source_of
from test_streams import Client

pytestmark = [pytest.mark.only_on("13-epoll", "13-stock-epoll"), pytest.mark.contract_item(101)]

SCANSION = "{scansion}"
ANY = re.compile(r"\{scansion:(any|capture:\w+)\}")


class Stage(Prosody):
    """With the configuration of the plays, but for where it listens and writes."""

    def __init__(self, folder, backend, plays):
        super().__init__(folder, backend)
        self.plays = plays

    def register(self):
        pass  # every name is let in

    def write_config(self):
        super().write_config()
        shutil.copy(self.plays / "admins.txt", self.folder)
        ours = {
            key: value for key, value in self.options.items()
            if re.search("^(network|run_as|data_path|certificates|admin_socket|log)|interfaces|ports", key)
        }
        text = (self.plays / "prosody.cfg.lua").read_text()
        for key in ours:
            text = re.sub(rf"(?m)^{key} = .*\n", "", text)
        theirs, host, rest = text.partition('\nVirtualHost "localhost"\n')
        assert host
        self.config.write_text("\n".join([theirs, *(f"{key} = {lua(value)}" for key, value in ours.items())]) + host + rest)


class Actor(Client):
    """One connection of somebody who takes part."""

    def __init__(self, server, jid, password="password", resource=None):
        user, _, host = jid.partition("@")
        super().__init__(server, user, password)
        self.bind(resource or host.partition("/")[2])
        self.parser = ElementTree.XMLPullParser(["start", "end"])
        self.parser.feed(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>" + self.received)
        self.depth = 0
        self.heard = []

    def hear(self, wanted):
        """The first stanza that is wanted, come already or yet to come. What else has come stays for later."""
        self.socket.settimeout(5)
        checked = 0
        while True:
            for event, element in self.parser.read_events():
                self.depth += 1 if event == "start" else -1
                if event == "end" and self.depth == 1:
                    self.heard.append(element)
            for n in range(checked, len(self.heard)):
                if wanted(self.heard[n]):
                    return self.heard.pop(n)
            checked = len(self.heard)
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the stream has ended")
            self.parser.feed(data)

    def say(self, text):
        """What others do next comes later on the server, too: it has answered this, and what was said before."""
        self.send(f"{text}<iq type='get' id='said' to='{self.host}'><ping xmlns='urn:xmpp:ping'/></iq>")
        with contextlib.suppress(ConnectionError):  # some say that they want to be thrown out
            self.hear(lambda stanza: stanza.get("id") == "said")

    def leave(self):
        # The server may close over what it has not read, which then is a reset.
        with contextlib.suppress(ConnectionError):
            self.send("</stream:stream>")
            self.socket.settimeout(5)
            while self.socket.recv(65536):
                pass
        self.socket.close()


def _parse(text):
    head = "<x xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:scansion='scansion'>"
    return ElementTree.fromstring(f"{head}{text}</x>")[0]


def _differs(expected, actual):
    """What of the expected element is not in the actual one, which may hold more unless that is ruled out."""
    if expected.tag != actual.tag:
        return f"{actual.tag} for {expected.tag}"
    attributes = {name: value for name, value in expected.attrib.items() if not name.startswith(SCANSION)}
    for name, value in attributes.items():
        if name not in actual.attrib or not ANY.fullmatch(value) and actual.attrib[name] != value:
            return f"{name}={actual.attrib.get(name)!r} for {value!r}"
    text = (expected.text or "").strip()
    if text and not ANY.fullmatch(text) and text != (actual.text or "").strip():
        return f"{actual.text!r} for {text!r}"
    left = list(actual)
    for child in expected:
        found = next((other for other in left if not _differs(child, other)), None)
        if found is None:
            return f"no {ElementTree.tostring(child, 'unicode')}"
        left.remove(found)
    if expected.get(f"{SCANSION}strict") == "true" and (left or set(actual.attrib) - set(attributes)):
        return "more than was expected"
    return None


class Play:
    """One file: who takes part, and what they do, a line at a time."""

    def __init__(self, server, text):
        self.server = server
        cast, _, acts = re.sub(r"(?m)^(#|//).*\n", "", text).partition("\n---")
        self.cast = {
            name: dict(re.findall(r"^\s+(\w+): *(.+?) *$", fields, re.M))
            for name, fields in re.findall(r"^\[Client\] (.+)\n((?:\s+\w+:.*\n)+)", cast, re.M)
        }
        assert self.cast, text
        # "Romeo sends:" and what is indented below it, or "Romeo connects"
        who = "|".join(map(re.escape, sorted(self.cast, key=len, reverse=True)))
        self.lines = re.findall(rf"^({who}) (\w+):?\s*\n((?:\s*\n|[ \t]+\S.*\n)*)", acts + "\n", re.M)
        assert len(self.lines) == len(re.findall(r"^[A-Za-z]", acts, re.M)), "a line that is not understood"
        self.names = {f"${{{name}'s JID}}": fields["jid"].partition("/")[0] for name, fields in self.cast.items()}
        self.on_stage = {}

    def perform(self):
        # When the last client has gone, mod_debug_reset clears everything away. That shall be at the end.
        resets = self.server.log.read_text().count("Performing reset")
        prompter = Actor(self.server, "prompter@localhost")
        try:
            for name, verb, text in self.lines:
                for variable, value in self.names.items():
                    text = text.replace(variable, value)
                getattr(self, verb)(name, text)
        finally:
            for actor in (*self.on_stage.values(), prompter):
                actor.leave()
        self.server.wait_for_log("Performing reset", resets + 1)

    def connects(self, name, _):
        self.on_stage[name] = Actor(self.server, **self.cast[name])
        self.names[f"${{{name}'s full JID}}"] = self.on_stage[name].jid

    def disconnects(self, name, _):
        if name in self.on_stage:
            self.on_stage.pop(name).leave()

    def sends(self, name, text):
        # Some plays have a line too much: a second stanza, or a word or an exit of somebody who has left.
        if name in self.on_stage:
            self.on_stage[name].say(ElementTree.tostring(_parse(text), "unicode"))

    def receives(self, name, text):
        expected, actor = _parse(text), self.on_stage[name]
        try:
            actor.hear(lambda stanza: not _differs(expected, stanza))
        except TimeoutError:
            told = "\n".join(f"{_differs(expected, stanza)} in {ElementTree.tostring(stanza, 'unicode')}" for stanza in actor.heard)
            raise AssertionError(f"{name} has not received {text}\n{told}") from None


def test_plays(backend, tmp_path):
    plays = pathlib.Path(source_of("13.0")) / "spec" / "scansion"
    failed = {}
    with Stage(tmp_path, backend, plays) as server:
        files = sorted(plays.glob("*.scs"))
        assert len(files) >= 40, "where are the plays?"
        for file in files:
            try:
                Play(server, file.read_text()).perform()
            except (AssertionError, OSError, LookupError) as error:
                failed[file.stem] = f"{type(error).__name__}: {error}"
    assert not failed, "\n".join(f"{play}: {why}" for play, why in failed.items())
