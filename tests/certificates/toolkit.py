"""What the corpus is made with: keys and certificates by the openssl command, each named by what is odd about it.

Keys are shared between certificates, since some kinds take a second to generate. Nothing here judges: certificates are
made as they are asked for, however wrong.
"""

import base64
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "pw"
PAST = ("20200101000000Z", "20210101000000Z")
FUTURE = ("20480101000000Z", "20490101000000Z")
LASTING = ("20250101000000Z", "20460101000000Z")

CONFIG = """\
[req]
distinguished_name = dn
prompt = no
[dn]
CN = corpus
[ca]
default_ca = this
[this]
database = {dir}/index
serial = {dir}/serial
new_certs_dir = {dir}
default_md = sha256
policy = any
unique_subject = no
copy_extensions = none
email_in_dn = yes
preserve = yes
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
emailAddress = optional
[ext]
{extensions}
"""

#: Kind of key -> arguments of openssl genpkey
KEY_KINDS = {
    "rsa": "-algorithm rsa -pkeyopt rsa_keygen_bits:2048",
    "rsa1024": "-algorithm rsa -pkeyopt rsa_keygen_bits:1024",
    "rsa3072": "-algorithm rsa -pkeyopt rsa_keygen_bits:3072",
    "rsa3": "-algorithm rsa -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_primes:3",
    "pss": "-algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048",
    "pss-sha256": "-algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 "
    "-pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32",
    "ec": "-algorithm ec -pkeyopt ec_paramgen_curve:P-256",
    "p224": "-algorithm ec -pkeyopt ec_paramgen_curve:secp224r1",
    "p384": "-algorithm ec -pkeyopt ec_paramgen_curve:P-384",
    "p521": "-algorithm ec -pkeyopt ec_paramgen_curve:P-521",
    "k256": "-algorithm ec -pkeyopt ec_paramgen_curve:secp256k1",
    "brainpool": "-algorithm ec -pkeyopt ec_paramgen_curve:brainpoolP256r1",
    "explicit": "-algorithm ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit",
    "ed25519": "-algorithm ed25519",
    "ed448": "-algorithm ed448",
}

#: Kind of key -> what a title calls it, behind "key: "
KEY_TITLES = {
    "rsa": "RSA of 2048 bits",
    "rsa1024": "RSA of 1024 bits",
    "rsa3072": "RSA of 3072 bits",
    "rsa3": "RSA with three primes",
    "pss": "RSA-PSS",
    "pss-sha256": "RSA-PSS for SHA-256 alone",
    "ec": "ECDSA on P-256",
    "p224": "ECDSA on P-224",
    "p384": "ECDSA on P-384",
    "p521": "ECDSA on P-521",
    "k256": "ECDSA on secp256k1",
    "brainpool": "ECDSA on brainpoolP256r1",
    "explicit": "ECDSA on P-256 with explicit parameters",
    "ed25519": "Ed25519",
    "ed448": "Ed448",
}


@dataclass
class Cert:
    path: Path
    key: Path

    @property
    def pem(self):
        return self.path.read_text()

    @property
    def der(self):
        return der_of(self.pem)


def der_of(pem):
    return base64.b64decode(re.search(r"-----BEGIN [A-Z ]+-----(.*?)-----END", pem, re.S)[1])


def pem_of(der, label="CERTIFICATE"):
    text = base64.encodebytes(der).decode().replace("\n", "")
    return f"-----BEGIN {label}-----\n" + "\n".join(text[i : i + 64] for i in range(0, len(text), 64)) + f"\n-----END {label}-----\n"


def one_line(pem):
    """PEM whose base64 is not broken into lines."""
    lines = pem.split(b"\n")
    return lines[0] + b"\n" + b"".join(lines[1:-2]) + b"\n" + lines[-2] + b"\n"


class Toolkit:
    def __init__(self, folder):
        self.dir = Path(folder).resolve()
        self.dir.mkdir(parents=True, exist_ok=True)
        self.keys, self.requests, self.count = {}, {}, 0

    def openssl(self, *arguments, input=None):
        """Runs the command; its output. Nothing of the machine's configuration of OpenSSL counts."""
        done = subprocess.run(
            ["openssl", *map(str, arguments)],
            cwd=self.dir,
            input=input,
            capture_output=True,
            env={**os.environ, "OPENSSL_CONF": os.devnull},
        )
        if done.returncode:
            raise SystemExit(f"openssl {' '.join(map(str, arguments))}: {done.stderr.decode()}")
        return done.stdout

    def path(self, name):
        return self.dir / name

    def write(self, name, content):
        path = self.path(name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def key(self, kind, number=0):
        """A private key in PKCS#8; another number is another key of the kind."""
        if (kind, number) not in self.keys:
            path = self.path(f"key-{kind}-{number}.pem")
            self.openssl("genpkey", *KEY_KINDS[kind].split(), "-out", path)
            self.keys[kind, number] = path
        return self.keys[kind, number]

    def dsa(self):
        """A DSA key: it can sign certificates, and not show one."""
        path = self.path("key-dsa.pem")
        if not path.exists():
            self.openssl("dsaparam", "-genkey", "-noout", "-out", path, "2048")
        return path

    def hashed(self, name, *certs):
        """A folder for capath with these, by the hash of their subjects and in this order."""
        folder = self.path(name)
        folder.mkdir(exist_ok=True)
        for cert in certs:
            hashed = self.openssl("x509", "-in", cert.path, "-noout", "-subject_hash").decode().strip()
            number = len(list(folder.glob(f"{hashed}.*")))
            (folder / f"{hashed}.{number}").write_bytes(cert.path.read_bytes())
        return str(folder)

    def request(self, key):
        if key not in self.requests:
            path = self.path(f"{key.stem}.csr")
            config = self.write("request.cnf", CONFIG.format(dir=self.dir, extensions=""))
            self.openssl("req", "-new", "-key", key, "-config", config, "-out", path)
            self.requests[key] = path
        return self.requests[key]

    def cert(self, ca=None, key="ec", subject="/CN=peer.test", ext=(), dates=LASTING, md="sha256", serial=None, sigopts=(),
             issuer_key=None, utf8=True):
        """A certificate of version 3 by ca, or by itself. ext: lines of OpenSSL's configuration.

        With a ca, issuer_key makes the signature with another key than the ca's, that is, a wrong one.
        """
        self.count += 1
        key = key if isinstance(key, Path) else self.key(key)
        path = self.path(f"{self.count}.crt")
        extensions = "\n".join(ext) or "subjectKeyIdentifier = hash"
        config = self.write(f"{self.count}.cnf", CONFIG.format(dir=self.dir, extensions=extensions))
        self.write("index", "")
        self.write("serial", serial or f"{0x1000 + self.count:04x}")
        signer = ["-cert", ca.path, "-keyfile", issuer_key or ca.key] if ca else ["-selfsign", "-keyfile", key]
        options = [x for option in sigopts for x in ("-sigopt", option)]
        self.openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "ext", "-startdate", dates[0], "-enddate",
                     dates[1], "-md", md, *signer, *options, *(["-utf8"] if utf8 else []), "-subj", subject,
                     "-in", self.request(key), "-out", path)
        return Cert(path, key)

    def ca(self, name="Root", ca=None, key="ec", number=1, constraints="critical, CA:TRUE", usage="critical, keyCertSign, cRLSign",
           ext=(), **options):
        """A certificate authority, with a key of its own. constraints and usage may be None."""
        lines = ["subjectKeyIdentifier = hash"]
        if constraints:
            lines.append(f"basicConstraints = {constraints}")
        if usage:
            lines.append(f"keyUsage = {usage}")
        key = key if isinstance(key, Path) else self.key(key, number)
        return self.cert(ca, key, f"/O=Corpus/CN={name}", [*lines, *ext], **options)

    def leaf(self, ca=None, key="ec", ext=(), constraints="CA:FALSE", names="DNS:peer.test", **options):
        """An end entity for peer.test."""
        lines = ["subjectKeyIdentifier = hash"]
        if constraints:
            lines.append(f"basicConstraints = {constraints}")
        if names:
            lines.append(f"subjectAltName = {names}")
        return self.cert(ca, key, ext=[*lines, *ext], **options)

    def version1(self, ca=None, key="ec", number=0, subject="/CN=peer.test", serial=7):
        """A certificate without extensions, which makes it one of version 1."""
        self.count += 1
        key = self.key(key, number)
        path = self.path(f"{self.count}.crt")
        request = self.path(f"{self.count}.csr")
        config = self.write("request.cnf", CONFIG.format(dir=self.dir, extensions=""))
        self.openssl("req", "-new", "-key", key, "-config", config, "-subj", subject, "-out", request)
        signer = ["-CA", ca.path, "-CAkey", ca.key] if ca else ["-signkey", key]
        self.openssl("x509", "-req", "-in", request, "-days", 3650, f"-set_serial", serial, *signer, "-out", path)
        return Cert(path, key)

    def changed(self, cert, change):
        """The certificate with other bytes: change takes and gives DER. Its signature is no longer right."""
        self.count += 1
        return Cert(self.write(f"{self.count}.crt", pem_of(change(cert.der))), cert.key)

    def bad_signature(self, cert):
        """The last byte of the signature is another one."""
        return self.changed(cert, lambda der: der[:-1] + bytes([der[-1] ^ 1]))
