"""Certificates and keys of our own, as operators have them.

Each case is (id, title, list of (certificate file, key file), options). A file is its bytes, or None where there is none.
"""

from toolkit import FUTURE, KEY_TITLES, PASSWORD, PAST, der_of, one_line, pem_of

BOM = b"\xef\xbb\xbf"
CRITICAL_UNKNOWN = "1.2.3.4.5 = critical, ASN1:UTF8String:unknown"


def own(t):
    cases = []

    def case(name, title, certificate, key, **options):
        cases.append((name, title, [(certificate, key)], options))

    def read(path):
        return path.read_bytes()

    root = t.ca()
    inter = t.ca("Intermediate", root, number=2)
    rsa, ec = t.leaf(inter, key="rsa"), t.leaf(inter)
    rsa_crt, rsa_key, ec_crt, ec_key = read(rsa.path), read(rsa.key), read(ec.path), read(ec.key)

    # Kinds of keys
    for kind in ("rsa", "rsa1024", "rsa3072", "rsa3", "pss", "pss-sha256", "ec", "p224", "p384", "p521", "k256", "brainpool", "explicit",
                 "ed25519", "ed448"):
        one = t.leaf(inter, key=kind)
        case(f"key-{kind}", f"key: {KEY_TITLES[kind]}", read(one.path), read(one.key))
    point = t.path("compressed.key")
    t.openssl("ec", "-in", ec.key, "-conv_form", "compressed", "-out", point)
    compressed = t.leaf(inter, key=point)
    case("compressed", "a compressed point, in key and certificate", read(compressed.path), read(point))
    case("compressed-key", "a compressed point, in the key", ec_crt, read(point))
    case("compressed-certificate", "a compressed point, in the certificate", read(compressed.path), ec_key)
    case("no-public-key", "an EC key without its public key", ec_crt, t.openssl("ec", "-in", ec.key, "-no_public"))
    explicit = t.openssl("ec", "-in", ec.key, "-param_enc", "explicit")
    case("explicit-key", "explicit parameters in the key alone", ec_crt, explicit)

    # Forms of a key
    case("pkcs1", "PKCS#1", rsa_crt, t.openssl("rsa", "-in", rsa.key, "-traditional"))
    case("sec1", "SEC1", ec_crt, t.openssl("ec", "-in", ec.key))
    case("sec1-params", "SEC1 after EC PARAMETERS, as openssl ecparam -genkey writes it", ec_crt,
         t.openssl("ecparam", "-name", "prime256v1") + t.openssl("ec", "-in", ec.key))
    case("key-before-certificate", "one file, the key first", rsa_key + rsa_crt, rsa_key + rsa_crt)
    case("key-after-certificate", "one file, the certificate first", rsa_crt + rsa_key, rsa_crt + rsa_key)

    # Encrypted keys
    def pkcs8(*options):
        return t.openssl("pkcs8", "-topk8", "-in", rsa.key, "-passout", f"pass:{PASSWORD}", *options)

    for name, title, options in (
        ("pbes2", "PBES2, as openssl pkcs8 -topk8 makes it", []),
        ("pbes2-3des", "PBES2 with des-ede3-cbc, as openssl req -newkey makes it", ["-v2", "des3"]),
        ("pbes2-aes128", "PBES2 with aes-128-cbc", ["-v2", "aes-128-cbc"]),
        ("pbes2-aes192", "PBES2 with aes-192-cbc", ["-v2", "aes-192-cbc"]),
        ("pbes2-hmac-sha1", "PBES2 with hmacWithSHA1", ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"]),
        ("pbes2-hmac-sha224", "PBES2 with hmacWithSHA224", ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA224"]),
        ("pbes2-hmac-sha384", "PBES2 with hmacWithSHA384", ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384"]),
        ("pbes2-hmac-sha512", "PBES2 with hmacWithSHA512", ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"]),
        ("pbes2-camellia", "PBES2 with camellia-256-cbc", ["-v2", "camellia-256-cbc"]),
        ("pbes2-aria", "PBES2 with aria-256-cbc", ["-v2", "aria-256-cbc"]),
        ("pbes2-many", "PBES2 with 600 000 iterations", ["-v2", "aes-256-cbc", "-iter", "600000"]),
        ("pbes2-scrypt", "scrypt", ["-scrypt"]),
        ("pbes1-3des", "PBES1 with PBE-SHA1-3DES", ["-v1", "PBE-SHA1-3DES"]),
        ("pbes1-2des", "PBES1 with PBE-SHA1-2DES", ["-v1", "PBE-SHA1-2DES"]),
    ):
        case(name, f"encrypted: {title}", rsa_crt, pkcs8(*options), password=PASSWORD)
    for name, options in (("pbes1-md5-des", ["-v1", "PBE-MD5-DES"]), ("pbes1-rc2", ["-v1", "PBE-SHA1-RC2-40"])):
        made = t.openssl("pkcs8", "-topk8", "-in", rsa.key, "-passout", f"pass:{PASSWORD}", *options, "-provider", "legacy",
                         "-provider", "default")
        case(name, f"encrypted: PBES1 with {options[1]}, which OpenSSL 3 has in its legacy provider only", rsa_crt, made, password=PASSWORD)
    for cipher in "aes128", "aes192", "aes256", "des3", "camellia128", "camellia256", "aria256":
        case(f"traditional-{cipher}", f"encrypted: traditional PEM with {cipher}", rsa_crt,
             t.openssl("rsa", "-in", rsa.key, "-traditional", f"-{cipher}", "-passout", f"pass:{PASSWORD}"), password=PASSWORD)
    case("traditional-ec", "encrypted: traditional PEM of an EC key", ec_crt,
         t.openssl("ec", "-in", ec.key, "-aes256", "-passout", f"pass:{PASSWORD}"), password=PASSWORD)
    case("password-wrong", "encrypted, a wrong password", rsa_crt, pkcs8(), password="other")
    case("password-wrong-traditional", "encrypted, traditional, a wrong password", rsa_crt,
         t.openssl("rsa", "-in", rsa.key, "-traditional", "-aes256", "-passout", f"pass:{PASSWORD}"), password="other")
    case("password-needless", "a password for a key that is not encrypted", rsa_crt, rsa_key, password=PASSWORD)
    case("password-utf8", "encrypted, a password that is not ASCII", rsa_crt,
         t.openssl("pkcs8", "-topk8", "-in", rsa.key, "-passout", "pass:pässwort"), password="pässwort")
    case("encrypted-latin1", "encrypted, behind a line that is not UTF-8", rsa_crt, b"Schl\xfcssel\n" + pkcs8(), password=PASSWORD)
    case("encrypted-bom", "encrypted, behind a byte order mark", rsa_crt, BOM + pkcs8(), password=PASSWORD)

    # Forms of a file
    for name, title, change in (
        ("bom", "behind a byte order mark", lambda b: BOM + b),
        ("crlf", "with CRLF", lambda b: b.replace(b"\n", b"\r\n")),
        ("cr", "with CR alone", lambda b: b.replace(b"\n", b"\r")),
        ("latin1", "behind a line that is not UTF-8", lambda b: b"Schl\xfcssel\n" + b),
        ("text", "behind text", lambda b: b"Bag Attributes\n    friendlyName: corpus\n" + b),
        ("no-newline", "without the last line end", lambda b: b.rstrip(b"\n")),
        ("trailing-space", "with spaces at the ends of lines", lambda b: b.replace(b"\n", b"  \n")),
        ("leading-space", "with spaces before lines", lambda b: b" " + b.replace(b"\n", b"\n ")),
        ("blank-lines", "with blank lines within", lambda b: b.replace(b"\n", b"\n\n")),
        ("one-line", "with its base64 in one line", one_line),
        ("nul", "behind a NUL", lambda b: b"\0\n" + b),
        ("nul-line", "with a NUL in place of the first line end", lambda b: b.replace(b"\n", b"\0", 1)),
        ("nul-end", "with NULs before line ends", lambda b: b.replace(b"\n", b"\0\n")),
        ("truncated", "truncated", lambda b: b[: len(b) // 2]),
        ("empty", "empty", lambda b: b""),
        ("utf16", "in UTF-16", lambda b: b.decode().encode("utf-16")),
        ("der", "in DER", lambda b: der_of(b.decode())),
    ):
        case(f"certificate-{name}", f"a certificate {title}", change(rsa_crt), rsa_key)
        case(f"key-file-{name}", f"a key {title}", rsa_crt, change(rsa_key))
    case("certificate-missing", "no certificate file", None, rsa_key)
    case("key-missing", "no key file", rsa_crt, None)
    case("trusted", "BEGIN TRUSTED CERTIFICATE", t.openssl("x509", "-in", rsa.path, "-trustout"), rsa_key)
    case("trusted-settings", "BEGIN TRUSTED CERTIFICATE with trust settings",
         t.openssl("x509", "-in", rsa.path, "-trustout", "-addtrust", "serverAuth", "-setalias", "a"), rsa_key)
    case("x509-certificate", "BEGIN X509 CERTIFICATE", rsa_crt.replace(b" CERTIFICATE", b" X509 CERTIFICATE"), rsa_key)
    case("any-private-key", "BEGIN ANY PRIVATE KEY", rsa_crt, rsa_key.replace(b" PRIVATE KEY", b" ANY PRIVATE KEY"))
    case("wrong-label", "PKCS#8 under BEGIN RSA PRIVATE KEY", rsa_crt, rsa_key.replace(b" PRIVATE KEY", b" RSA PRIVATE KEY"))
    case("mismatch", "a key of another certificate", rsa_crt, read(t.key("rsa", 5)))
    case("mismatch-kind", "a key of another kind", rsa_crt, ec_key)
    case("key-is-certificate", "a certificate as the key", rsa_crt, rsa_crt)
    case("certificate-is-key", "a key as the certificate", rsa_key, rsa_key)
    case("certificate-is-csr", "a request as the certificate", read(t.request(rsa.key)), rsa_key)

    # Chains
    chain = read(inter.path)
    case("chain", "with its intermediate", rsa_crt + chain, rsa_key)
    case("chain-root", "with intermediate and root", rsa_crt + chain + read(root.path), rsa_key)
    case("chain-reversed", "the intermediate first", chain + rsa_crt, rsa_key)
    case("chain-duplicate", "twice", rsa_crt + rsa_crt + chain, rsa_key)
    case("chain-unrelated", "with an unrelated certificate", rsa_crt + read(t.ca("Unrelated", number=3).path), rsa_key)
    case("chain-text", "with text between", rsa_crt + b"\nsubject=O = Corpus\n" + chain, rsa_key)
    case("chain-broken", "a second certificate that is cut off", rsa_crt + chain[: len(chain) // 2], rsa_key)
    case("chain-garbage", "a second certificate that is no certificate", rsa_crt + pem_of(b"\x30\x03\x02\x01\x05").encode(), rsa_key)
    case("chain-bom", "with a byte order mark between", rsa_crt + BOM + chain, rsa_key)
    case("chain-nul", "a second certificate with a NUL in place of the first line end", rsa_crt + chain.replace(b"\n", b"\0", 1), rsa_key)
    case("chain-trusted", "an intermediate as BEGIN TRUSTED CERTIFICATE", rsa_crt + t.openssl("x509", "-in", inter.path, "-trustout"), rsa_key)
    case("chain-crl", "with dhparam-like blocks between", rsa_crt + pem_of(b"\x30\x03\x02\x01\x05", "X509 CRL").encode() + chain, rsa_key)

    # What the certificate says
    for name, title, options in (
        ("self-signed", "self-signed", {}),
        ("expired", "expired", {"dates": PAST, "ca": inter}),
        ("future", "not yet valid", {"dates": FUTURE, "ca": inter}),
        ("critical-unknown", "an unknown critical extension", {"ext": [CRITICAL_UNKNOWN], "ca": inter}),
        ("critical-policies", "critical certificatePolicies", {"ext": ["certificatePolicies = critical, 1.2.3.4"], "ca": inter}),
        ("critical-address-block", "critical IP address blocks", {"ext": ["sbgp-ipAddrBlock = critical, IPv4:inherit"], "ca": inter}),
        ("must-staple", "must-staple", {"ext": ["tlsfeature = status_request"], "ca": inter}),
        ("client-only", "clientAuth only", {"ext": ["extendedKeyUsage = clientAuth"], "ca": inter}),
        ("mail-only", "emailProtection only", {"ext": ["extendedKeyUsage = emailProtection"], "ca": inter}),
        ("ku-encipherment", "keyEncipherment only", {"ext": ["keyUsage = critical, keyEncipherment"], "ca": inter}),
        ("ku-certsign", "keyCertSign only", {"ext": ["keyUsage = critical, keyCertSign"], "ca": inter}),
        ("ca", "CA:TRUE", {"constraints": "critical, CA:TRUE", "ca": inter}),
        ("sha1", "signed with SHA-1", {"md": "sha1", "ca": inter}),
        ("no-names", "no subjectAltName", {"names": None, "ca": inter}),
        ("serial-0", "serial number 0", {"serial": "00", "ca": inter}),
        ("year-9999", "valid without end", {"dates": ("20250101000000Z", "99991231235959Z"), "ca": inter}),
    ):
        one = t.leaf(options.pop("ca", None), key="rsa", **options)
        case(name, title, read(one.path), rsa_key)
    v1 = t.version1(key="rsa")
    case("version-1", "X.509 version 1", read(v1.path), rsa_key)
    case("negative-serial", "a negative serial number", read(t.version1(root, key="rsa", serial=-5).path), rsa_key)
    case("md5", "signed with MD5", read(t.leaf(t.ca("RSA root", key="rsa"), key="rsa", md="md5").path), rsa_key)
    case("bad-signature", "a wrong signature", read(t.bad_signature(rsa).path), rsa_key)
    case("trailing-bytes", "bytes behind the certificate, within the block", pem_of(rsa.der + b"\0\0").encode(), rsa_key)
    case("garbage", "no certificate within the block", pem_of(b"\x30\x03\x02\x01\x05").encode(), rsa_key)
    case("key-garbage", "no key within the block", rsa_crt, pem_of(b"\x30\x03\x02\x01\x05", "PRIVATE KEY").encode())

    # Several for one name
    cases.append(("both", "an RSA and an ECDSA certificate", [(rsa_crt, rsa_key), (ec_crt, ec_key)], {}))
    cases.append(("both-ec-first", "an ECDSA and an RSA certificate", [(ec_crt, ec_key), (rsa_crt, rsa_key)], {}))
    again = t.leaf(inter, key=t.key("rsa", 5))
    cases.append(("both-rsa", "two RSA certificates", [(rsa_crt, rsa_key), (read(again.path), read(again.key))], {}))
    ed = t.leaf(inter, key="ed25519")
    cases.append(("both-ed25519", "an RSA and an Ed25519 certificate", [(rsa_crt, rsa_key), (read(ed.path), read(ed.key))], {}))
    cases.append(("both-mismatch", "the second of two without its key", [(rsa_crt, rsa_key), (ec_crt, rsa_key)], {}))
    return cases
