"""A peer's own certificate in `cafile` vouches for nobody else: two servers, s2s_secure_auth."""

import asyncio

import pytest

from certificates import KEYS, Authority, _openssl
from clients import Inbox, online
from prosody_server import MODULES
from test_tls import MANTUA, VERONA, _two_servers

pytestmark = pytest.mark.contract_item(101)


class Pinned(Authority):
    """A peer that is no CA, and signs for another domain all the same."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.key, self.file = folder / "padua.key", folder / "padua.crt"
        _openssl(
            "req", "-x509", "-nodes", *KEYS["P-256"], "-days", 2, "-subj", "/CN=padua.test",
            "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:padua.test",
            "-keyout", self.key, "-out", self.file,
        )


@pytest.mark.parametrize("direction", ["outgoing", "incoming"])
def test_pinned_peer_vouches_for_nobody(make_server, tmp_path, direction):
    ca, pinned = Authority(tmp_path / "ca"), Pinned(tmp_path / "pinned")
    verona, mantua = _two_servers(
        make_server, tmp_path, [ca, pinned], s2s_secure_auth=True, modules=[m for m in MODULES if m != "dialback"],
    )
    # Verona pins padua.test; mantua's certificate is signed with padua's key. Mantua would trust verona.
    verona.options["ssl"] = {"cafile": pinned.file}
    mantua.options["ssl"] = {"cafile": ca.file}

    async def flow(sender_at, user, trust, to):
        async with online(sender_at, user, tls="starttls", trust=trust) as sender:
            errors = Inbox(sender, "message_error")
            sender.send_message(mto=to, mbody="art thou there", mtype="chat")
            bounce = await errors.wait_for(lambda m: True, "the error")
            assert bounce["from"] == to

    with verona as here, mantua as there:
        untrusting = ca.trust()
        untrusting.check_hostname = False
        untrusting.verify_mode = 0
        if direction == "outgoing":
            asyncio.run(flow(here, "romeo", untrusting, f"juliet@{MANTUA}"))
        else:
            asyncio.run(flow(there, "juliet", untrusting, f"romeo@{VERONA}"))
        assert "is now authenticated" not in here.log.read_text()
