"""SCRAM-…-PLUS: the login is bound to the TLS connection, so that nobody in between can use it (RFC 5802, RFC 9266)."""

import base64
import os
import re
import subprocess

import pytest

from certificates import Authority
from prosody_server import MODULES, PASSWORDS, ROOT

HOST, SHA_256_HOST = "localhost", "mantua.localhost"

# go-sendxmpp, which scripts/setup has unpacked: slixmpp cannot bind channels under TLS 1.3.
GO_SENDXMPP = ROOT / ".prosody" / "go-sendxmpp" / "usr" / "bin" / "go-sendxmpp"


def _log_in(server, host, mechanism, trust, *options):
    """Has the client log in by this mechanism and send a message, or fail: what it says of the traffic."""
    assert GO_SENDXMPP.exists(), f"{GO_SENDXMPP} is missing: run 'make setup' first"
    port = server.c2s_tls_port if "--tls" in options else server.c2s_port
    result = subprocess.run(
        [
            GO_SENDXMPP, "--debug", "--suppress-root-warning", "--fast-off", "--no-sasl-upgrade",
            "--username", f"romeo@{host}", "--password", PASSWORDS["romeo"], "--jserver", f"{server.address}:{port}",
            "--scram-mech-pinning", mechanism, *options, f"romeo@{host}",
        ],
        env={**os.environ, "SSL_CERT_FILE": str(trust), "HOME": str(server.folder)},
        input="bound", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.mark.since_13
@pytest.mark.parametrize("binding", ["tls-exporter", "tls-server-end-point"])
def test_scram_plus(make_server, tmp_path, binding):
    """Under TLS 1.3, by STARTTLS with SHA-1 and an ECDSA certificate, by direct TLS with SHA-256 and an RSA one."""
    ca = Authority(tmp_path / "ca")
    server = make_server(
        tls=True, ssl={"protocol": "tlsv1_3"}, tls_server_end_point_hash="auto",
        modules=[*MODULES, *(["end_point_only"] if binding == "tls-server-end-point" else [])],
        plugin_paths=[ROOT / "tests" / "prosody" / "modules"],
    )
    server.more_config = [f'VirtualHost "{SHA_256_HOST}"', 'password_hash = "SHA-256"']
    ca.issue(server.certs, [HOST, f"rooms.{HOST}", f"files.{HOST}", f"proxy.{HOST}", f"component.{HOST}"])
    ca.issue(server.certs, [SHA_256_HOST], "RSA")
    with server:
        result = server.ctl("register", "romeo", SHA_256_HOST, PASSWORDS["romeo"])
        assert result.returncode == 0, result.stdout
        # Once each: 13.0.1 forgets its setting "auto" for tls-server-end-point after the first client of a host.
        for host, mechanism, options in ((HOST, "SCRAM-SHA-1-PLUS", ()), (SHA_256_HOST, "SCRAM-SHA-256-PLUS", ("--tls",))):
            said = _log_in(server, host, mechanism, ca.file, *options)
            first = re.search(rf"<auth [^>]*mechanism='{mechanism}'[^>]*>([^<]+)<", said)
            assert first, said
            assert base64.b64decode(first[1]).startswith(f"p={binding},,".encode()), said
            assert "<success" in said, said
