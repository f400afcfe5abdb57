"""A real Prosody as the server: its folder, its accounts, its environment. The configuration is benches/prosody/."""

import base64
import hashlib
import hmac
import shutil

from .subjects import BENCHES, BUILD

ACCOUNTS = 2002  # u0, u1, …; the storm's clients and the pair beside them
PASSWORD = b"secret"  # as in peers/xmpp.h
SALT = b"salt of the benches"
ITERATIONS = 10000  # mod_auth_internal_hashed's
FILE = BUILD / "www" / "data"  # what is downloaded
FILE_BYTES = 100_000_000


def account():
    """What mod_auth_internal_hashed stores of the password."""
    salted = hashlib.pbkdf2_hmac("sha1", PASSWORD, SALT, ITERATIONS)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest()
    server = hmac.digest(salted, b"Server Key", "sha1").hex()
    return (f'return {{ ["iteration_count"] = {ITERATIONS}; ["salt"] = "{SALT.decode()}"; '
            f'["stored_key"] = "{stored}"; ["server_key"] = "{server}"; }};\n')


def write_file():
    """The pattern of tls/src/pump.rs, over and over."""
    if FILE.exists() and FILE.stat().st_size == FILE_BYTES:
        return
    FILE.parent.mkdir(parents=True, exist_ok=True)
    block = bytes((i * 31 + i // 251) & 0xff for i in range(64 * 1024))
    FILE.write_bytes((block * (FILE_BYTES // len(block) + 1))[:FILE_BYTES])


def environment(subject, port, service, certificate, count=ACCOUNTS):
    """What the configuration asks for, in a data folder without anything but the accounts. The port is that of `service`: "c2s" (with
    direct TLS), "http", "https" or "proxy65"."""
    write_file()
    data = BUILD / "prosody" / subject.name
    shutil.rmtree(data, ignore_errors=True)
    accounts = data / "localhost" / "accounts"
    accounts.mkdir(parents=True)
    text = account()
    for i in range(count):
        (accounts / f"u{i}.dat").write_text(text)
    return {"BENCH_DATA": str(data), "BENCH_MODULES": str(BENCHES / "prosody"), "BENCH_PORT": str(port),
            "BENCH_SERVICE": service, "BENCH_FILES": str(FILE.parent), "BENCH_CERTIFICATE": str(certificate)}
