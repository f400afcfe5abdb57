"""Certificates made on the spot by the openssl command: a small CA, and certificates for hosts that it signs."""

import pathlib
import ssl
import subprocess


def _openssl(*args):
    result = subprocess.run(
        ["openssl", *map(str, args)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )
    assert result.returncode == 0, f"openssl {args[0]}: {result.stdout}"


KEYS = {
    "P-256": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "RSA": ("-newkey", "rsa:2048"),
    "Ed448": ("-newkey", "ed448"),
}


class Authority:
    """A CA in a folder of its own; or, not `entitled`, one whose certificate does not allow it to be one."""

    def __init__(self, folder, name="Verona CA", entitled=True):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = self.folder / "ca-key.pem"
        self.file = self.folder / "ca.pem"
        _openssl(
            "req", "-x509", "-nodes", *KEYS["P-256"], "-days", 2, "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign" if entitled else "basicConstraints=critical,CA:FALSE",
            "-keyout", self.key, "-out", self.file,
        )

    def issue(self, folder, names, key="P-256", days=1, kind="DNS"):
        """<first name>.crt and .key for these names of hosts, or of `kind`, replacing what was there."""
        base = pathlib.Path(folder) / names[0]
        base.parent.mkdir(parents=True, exist_ok=True)
        request, extensions, made = (self.folder / name for name in ("request", "extensions", "made"))
        extensions.write_text(
            "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\n"
            "subjectAltName=" + ",".join(f"{kind}:{name}" for name in names) + "\n"
        )
        new_key = f"{base}.key.new"
        _openssl("req", "-new", "-nodes", *KEYS[key], "-subj", f"/CN={names[0]}", "-keyout", new_key, "-out", request)
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-days", days,
            "-extfile", extensions, "-out", made,
        )
        pathlib.Path(new_key).rename(f"{base}.key")
        made.rename(f"{base}.crt")
        return pathlib.Path(f"{base}.crt")

    def trust(self, version=None):
        """What a client needs to verify servers by this CA; `version` allows only that one of TLS."""
        context = ssl.create_default_context(cafile=self.file)
        if version:
            context.minimum_version = context.maximum_version = version
        return context


def der(file):
    """The first certificate of a file, in the form of SSLSocket.getpeercert(True)."""
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(pathlib.Path(file).read_text().partition(end)[0] + end)
