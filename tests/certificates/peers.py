"""Chains that peers show, and what of it we are configured to trust.

Each case is (id, title, what the peer sends, cafile, options). The peer sends a list of certificates, whose first has the
key. cafile is a list of certificates or the bytes of a file.
"""

from toolkit import FUTURE, KEY_TITLES, PAST, Cert, one_line, pem_of

CRITICAL_UNKNOWN = "1.2.3.4.5 = critical, ASN1:UTF8String:unknown"


def peers(t):
    cases = []

    def case(name, title, chain, cafile, **options):
        cases.append((name, title, chain, cafile, options))

    root = t.ca()
    inter = t.ca("Intermediate", root, number=2)
    leaf = t.leaf(inter)
    direct = t.leaf(root)
    other_root = t.ca("Another root", number=3)

    # The chain as it is sent
    case("good", "leaf and intermediate of a trusted root", [leaf, inter], [root])
    case("direct", "leaf of a trusted root", [direct], [root])
    case("root-sent", "the root is sent, too", [leaf, inter, root], [root])
    case("wrong-order", "the root before the intermediate", [leaf, root, inter], [root])
    case("duplicate-intermediate", "the intermediate twice", [leaf, inter, inter], [root])
    case("duplicate-leaf", "the leaf twice", [leaf, leaf, inter], [root])
    case("extra", "a certificate that is none of the chain's", [leaf, other_root, inter], [root])
    case("missing-intermediate", "the intermediate is missing", [leaf], [root])
    case("intermediate-in-cafile", "the intermediate is not sent but in cafile, with the root", [leaf], [inter, root])
    case("no-cafile", "nothing is trusted", [leaf, inter], None)
    case("self-signed", "self-signed, not trusted", [t.leaf()], [root])
    case("unknown-root", "a root that is not trusted", [leaf, inter], [other_root])
    case("unknown-root-sent", "a root that is not trusted is sent", [leaf, inter, root], [other_root])
    case("depth-0", "depth = 0, two certificates", [leaf, inter], [root], depth=0)
    case("depth-1", "depth = 1, one intermediate", [leaf, inter], [root], depth=1)
    inter2 = t.ca("Second intermediate", inter, number=4)
    leaf2 = t.leaf(inter2)
    case("depth-1-of-2", "depth = 1, two intermediates", [leaf2, inter2, inter], [root], depth=1)
    case("two-intermediates", "two intermediates", [leaf2, inter2, inter], [root])
    case("two-intermediates-reversed", "two intermediates in reversed order", [leaf2, inter, inter2], [root])
    deep = [t.ca("Deep 0", root, number=50)]
    for n in range(1, 12):
        deep.append(t.ca(f"Deep {n}", deep[-1], number=50 + n))
    case("twelve-intermediates", "twelve intermediates", [t.leaf(deep[-1]), *reversed(deep)], [root])

    # Pinned: what a trusted certificate that is not a CA vouches for
    pinned = t.leaf(key=t.key("ec", 10), ext=["authorityKeyIdentifier = keyid"])
    victim = t.leaf(pinned, names="DNS:bank.test", subject="/CN=bank.test")
    case("pinned", "self-signed, CA:FALSE, in cafile", [pinned], [pinned])
    case("pinned-signs", "signed by the key of a trusted certificate with CA:FALSE", [victim], [pinned])
    case("pinned-signs-sent", "the same, which is sent", [victim, pinned], [pinned])
    case("pinned-signs-same-name", "the same, for its own name", [t.leaf(pinned)], [pinned])
    renewed = t.leaf(key=t.key("ec", 60))
    case("pinned-renewed", "two self-signed of one name in cafile, the second is shown", [renewed], [pinned, renewed])
    case("pinned-renewed-old", "two self-signed of one name in cafile, the first is shown", [pinned], [pinned, renewed])
    same_key = t.leaf(key=pinned.key)
    case("pinned-same-key", "two self-signed of one name and key in cafile, the second is shown", [same_key], [pinned, same_key])
    ca_leaf = t.leaf(key=t.key("ec", 11), constraints="critical, CA:TRUE")
    case("pinned-ca", "self-signed, CA:TRUE, in cafile (as openssl req -x509 makes it)", [ca_leaf], [ca_leaf])
    case("pinned-ca-signs", "signed by it", [t.leaf(ca_leaf, names="DNS:bank.test", subject="/CN=bank.test")], [ca_leaf])
    no_sign = t.ca("No keyCertSign", number=12, usage="digitalSignature")
    case("no-keycertsign-root", "the trusted root lacks keyCertSign", [t.leaf(no_sign)], [no_sign])
    case("no-keycertsign-itself", "trusted, CA:TRUE without keyCertSign, shows itself", [no_sign], [no_sign])
    bare = t.ca("No constraints", number=13, constraints=None, usage=None)
    case("no-constraints-itself", "trusted, without basicConstraints, shows itself", [bare], [bare])
    case("no-constraints-signs", "signed by it", [t.leaf(bare)], [bare])
    usage_only = t.ca("keyCertSign only", number=13, constraints=None)
    case("keycertsign-only-signs", "the root has keyCertSign and no basicConstraints", [t.leaf(usage_only)], [usage_only])
    v1 = t.version1(number=14, subject="/O=Corpus/CN=Version 1")
    case("v1-itself", "self-signed, X.509 version 1, in cafile", [v1], [v1])
    case("v1-root", "a trusted root of version 1", [t.leaf(v1)], [v1])
    v1_inter = t.version1(root, number=14, subject="/O=Corpus/CN=Version 1")
    case("v1-intermediate", "an intermediate of version 1", [t.leaf(v1_inter), v1_inter], [root])
    case("v1-leaf", "a leaf of version 1", [t.version1(root)], [root])
    case("leaf-in-cafile", "the leaf alone in cafile", [leaf], [leaf])
    case("leaf-in-cafile-chain", "the leaf alone in cafile, the chain is sent", [leaf, inter], [leaf])
    case("intermediate-alone", "the intermediate alone in cafile", [leaf, inter], [inter])
    case("intermediate-alone-not-sent", "the intermediate alone in cafile, and not sent", [leaf], [inter])
    case("leaf-and-intermediate-in-cafile", "leaf and intermediate in cafile", [leaf, inter], [leaf, inter])
    for name, title, dates in ("expired", "expired", PAST), ("future", "not yet valid", FUTURE):
        itself = t.leaf(key=t.key("ec", 10), dates=dates)
        case(f"pinned-{name}", f"self-signed, in cafile, {title}", [itself], [itself])
        top = t.ca(f"{title} root", number=15, dates=dates)
        case(f"{name}-root", f"the trusted root is {title}", [t.leaf(top)], [top])
        middle = t.ca(f"{title} intermediate", root, number=16, dates=dates)
        case(f"{name}-intermediate", f"the intermediate is {title}", [t.leaf(middle), middle], [root])
        case(f"{name}-leaf", f"the leaf is {title}", [t.leaf(root, dates=dates)], [root])
    case("expired-self-signed", "self-signed, not trusted, expired", [t.leaf(dates=PAST)], [root])
    case("expired-unknown", "expired, of an unknown root", [t.leaf(other_root, dates=PAST)], [root])

    # The first of two times that it is named
    renamed = t.changed(root, lambda der: der.replace(b"\x2a\x86\x48\xce\x3d\x04\x03\x02", b"\x2a\x86\x48\xce\x3d\x04\x03\x7f", 1))
    case("root-unknown-signature", "the trusted root names a signature algorithm that nobody knows", [t.leaf(root)], [renamed])

    # What an authority may do
    short = t.ca("Path length 0", number=17, constraints="critical, CA:TRUE, pathlen:0")
    below = t.ca("Below", short, number=18)
    case("pathlen-root-exceeded", "the root's pathlen:0, one intermediate", [t.leaf(below), below], [short])
    case("pathlen-root-kept", "the root's pathlen:0, none", [t.leaf(short)], [short])
    short_inter = t.ca("Path length 0", root, number=17, constraints="critical, CA:TRUE, pathlen:0")
    below = t.ca("Below", short_inter, number=18)
    case("pathlen-intermediate-exceeded", "the intermediate's pathlen:0, another", [t.leaf(below), below, short_inter], [root])
    not_ca = t.leaf(root, key=t.key("ec", 19), subject="/CN=no authority")
    case("intermediate-no-ca", "the intermediate has CA:FALSE", [t.leaf(not_ca), not_ca], [root])
    for name, title, options in (
        ("no-keycertsign", "lacks keyCertSign", {"usage": "digitalSignature"}),
        ("no-constraints", "has no basicConstraints", {"constraints": None, "usage": None}),
        ("keycertsign-only", "has keyCertSign and no basicConstraints", {"constraints": None}),
        ("ca-not-critical", "has basicConstraints that are not critical", {"constraints": "CA:TRUE"}),
        ("critical-unknown", "has an unknown critical extension", {"ext": [CRITICAL_UNKNOWN]}),
        ("unknown", "has an unknown extension", {"ext": [CRITICAL_UNKNOWN.replace("critical, ", "")]}),
        ("eku-client", "is for clientAuth only", {"ext": ["extendedKeyUsage = clientAuth"]}),
        ("eku-server", "is for serverAuth only", {"ext": ["extendedKeyUsage = serverAuth"]}),
        ("eku-mail", "is for emailProtection only", {"ext": ["extendedKeyUsage = emailProtection"]}),
        ("eku-any", "is for any extended key usage", {"ext": ["extendedKeyUsage = anyExtendedKeyUsage"]}),
        ("eku-sgc", "is for Microsoft's server gated crypto", {"ext": ["extendedKeyUsage = msSGC"]}),
        ("nscert-client", "has nsCertType = sslCA", {"ext": ["nsCertType = sslCA"]}),
        ("nscert-mail", "has nsCertType = emailCA", {"ext": ["nsCertType = emailCA"]}),
        ("sha1", "is signed with SHA-1", {"md": "sha1"}),
        ("md5", "is signed with MD5", {"md": "md5", "key": "rsa"}),
        ("rsa1024", "has an RSA key of 1024 bits", {"key": "rsa1024"}),
    ):
        top = t.ca(f"Root {name}", number=20, **options)
        case(f"root-{name}", f"the trusted root {title}", [t.leaf(top)], [top])
        if name != "md5":
            middle = t.ca(f"Intermediate {name}", root, number=21, **options)
            case(f"intermediate-{name}", f"the intermediate {title}", [t.leaf(middle), middle], [root])
    case("root-bad-signature", "the trusted root's own signature is wrong", [direct], [t.bad_signature(root)])
    bad = t.bad_signature(inter)
    case("intermediate-bad-signature", "the signature of the intermediate is wrong", [leaf, bad], [root])

    # Names
    for name, constraint, good, wrong in (
        ("dns", "DNS:.example.test", "DNS:a.example.test", "DNS:peer.test"),
        ("dns-bare", "DNS:peer.test", "DNS:a.peer.test", "DNS:peer.example"),
        ("ip", "IP:192.0.2.0/255.255.255.0", "IP:192.0.2.1", "IP:198.51.100.1"),
        ("mail", "email:.example.test", "email:me@a.example.test", "email:me@peer.test"),
        ("uri", "URI:.example.test", "URI:https://a.example.test/", "URI:https://peer.test/"),
    ):
        for kind, inside in ("permitted", good), ("excluded", wrong):
            top = t.ca(f"{kind} {name}", number=22, ext=[f"nameConstraints = critical, {kind};{constraint}"])
            case(f"{kind}-{name}-kept", f"{kind} {constraint}, {inside}", [t.leaf(top, names=inside)], [top])
            outside = wrong if kind == "permitted" else good
            case(f"{kind}-{name}-broken", f"{kind} {constraint}, {outside}", [t.leaf(top, names=outside)], [top])
    middle = t.ca("Constrained", root, number=23, ext=["nameConstraints = critical, permitted;DNS:example.test"])
    case("intermediate-constrained", "the intermediate permits another DNS name", [t.leaf(middle), middle], [root])
    middle = t.ca("Constrained", root, number=23, ext=["nameConstraints = permitted;DNS:example.test"])
    case("intermediate-constrained-plain", "the same, not critical", [t.leaf(middle), middle], [root])
    top = t.ca("Constrained", number=23, ext=["nameConstraints = critical, permitted;dirName:permitted", "[permitted]", "O = Corpus"])
    case("dirname-broken", "permitted dirName O=Corpus, the subject has none", [t.leaf(top)], [top])
    case("dirname-kept", "permitted dirName O=Corpus, a subject with it",
         [t.cert(top, subject="/O=Corpus/CN=peer.test", ext=["subjectAltName = DNS:peer.test"])], [top])
    top = t.ca("Constrained", number=23, ext=["nameConstraints = critical, permitted;DNS:example.test"])
    case("constraint-on-cn", "permitted DNS:example.test, no subjectAltName, CN=peer.test", [t.leaf(top, names=None)], [top])
    case("constraint-other-kind", "permitted DNS:example.test, only an IP address and a CN that is no name",
         [t.cert(top, subject="/CN=some peer", ext=["subjectAltName = IP:192.0.2.1"])], [top])
    top = t.ca("Constrained", number=23, ext=["nameConstraints = critical, permitted;otherName:1.3.6.1.5.5.7.8.5;UTF8:example.test"])
    case("constraint-xmppaddr", "permitted XmppAddr, which nobody knows",
         [t.leaf(top, names="otherName:1.3.6.1.5.5.7.8.5;UTF8:peer.test")], [top])

    # Keys and signatures of the leaf, and those above it
    for kind in ("rsa", "rsa1024", "rsa3072", "pss", "pss-sha256", "p224", "p384", "p521", "k256", "brainpool", "explicit",
                 "ed25519", "ed448"):
        one = t.leaf(root, key=kind)
        for protocol in "tlsv1_3", "tlsv1_2":
            if not (protocol == "tlsv1_3" and kind in ("p224", "k256", "brainpool", "explicit")):
                case(f"key-{kind}-{protocol[-1]}", f"key: {KEY_TITLES[kind]}; TLS 1.{protocol[-1]}", [one], [root], protocol=protocol)
        case(f"key-{kind}-self-signed", f"key: {KEY_TITLES[kind]}; self-signed, not trusted; TLS 1.2", [t.leaf(key=kind, md="null" if kind.startswith("ed") else "sha256")],
             [root], protocol="tlsv1_2")
    rsa_root = t.ca("RSA root", key="rsa")
    for md in "md5", "sha1", "sha224", "sha384", "sha512":
        case(f"rsa-{md}", f"signed with RSA and {md}", [t.leaf(rsa_root, md=md)], [rsa_root])
    for md in "sha1", "sha224", "sha512":
        case(f"ecdsa-{md}", f"signed with ECDSA and {md}", [t.leaf(root, md=md)], [root])
    for md in "sha256", "sha512":
        case(f"pss-signature-{md}", f"signed with RSA-PSS and {md}",
             [t.leaf(rsa_root, md=md, sigopts=["rsa_padding_mode:pss", "rsa_pss_saltlen:-1"])], [rsa_root])
    case("pss-signature-salt-20", "signed with RSA-PSS, a salt of 20 bytes",
         [t.leaf(rsa_root, sigopts=["rsa_padding_mode:pss", "rsa_pss_saltlen:20"])], [rsa_root])
    dsa = t.ca("DSA root", key=t.dsa())
    case("ca-dsa", "signed by a trusted DSA key", [t.leaf(dsa)], [dsa])
    for kind in "rsa3", "pss", "p224", "p384", "p521", "k256", "brainpool", "explicit", "ed25519", "ed448":
        top = t.ca(f"{kind} root", key=kind, md="null" if kind.startswith("ed") else "sha256")
        case(f"ca-{kind}", f"key of the trusted root: {KEY_TITLES[kind]}", [t.leaf(top, md="null" if kind.startswith("ed") else "sha256")], [top])
        middle = t.ca(f"{kind} intermediate", root, key=kind)
        case(f"intermediate-{kind}", f"key of the intermediate: {KEY_TITLES[kind]}",
             [t.leaf(middle, md="null" if kind.startswith("ed") else "sha256"), middle], [root])
    case("bad-signature", "the signature of the leaf is wrong", [t.bad_signature(direct)], [root])
    case("bad-signature-self-signed", "self-signed, trusted, wrong signature", [t.bad_signature(pinned)], [t.bad_signature(pinned)])
    case("bad-signature-pinned", "trusted, shown with a wrong signature", [t.bad_signature(pinned)], [pinned])

    # What the leaf says
    for name, title, options in (
        ("ca", "CA:TRUE", {"constraints": "CA:TRUE"}),
        ("ca-critical", "CA:TRUE, critical, pathlen:0", {"constraints": "critical, CA:TRUE, pathlen:0"}),
        ("eku-client", "clientAuth only", {"ext": ["extendedKeyUsage = clientAuth"]}),
        ("eku-server", "serverAuth only", {"ext": ["extendedKeyUsage = serverAuth"]}),
        ("eku-both", "serverAuth and clientAuth", {"ext": ["extendedKeyUsage = serverAuth, clientAuth"]}),
        ("eku-any", "anyExtendedKeyUsage", {"ext": ["extendedKeyUsage = anyExtendedKeyUsage"]}),
        ("eku-mail", "emailProtection only", {"ext": ["extendedKeyUsage = emailProtection"]}),
        ("eku-code", "critical, codeSigning only", {"ext": ["extendedKeyUsage = critical, codeSigning"]}),
        ("eku-own", "an extended key usage of its own", {"ext": ["extendedKeyUsage = 1.2.3.4"]}),
        ("ku-signature", "digitalSignature", {"ext": ["keyUsage = critical, digitalSignature"]}),
        ("ku-encipherment", "keyEncipherment only", {"ext": ["keyUsage = critical, keyEncipherment"]}),
        ("ku-agreement", "keyAgreement only", {"ext": ["keyUsage = critical, keyAgreement"]}),
        ("ku-repudiation", "nonRepudiation only", {"ext": ["keyUsage = critical, nonRepudiation"]}),
        ("ku-certsign", "keyCertSign only", {"ext": ["keyUsage = critical, keyCertSign"]}),
        ("nscert-server", "nsCertType = server", {"ext": ["nsCertType = server"]}),
        ("nscert-client", "nsCertType = client", {"ext": ["nsCertType = client"]}),
        ("nscert-mail", "nsCertType = email", {"ext": ["nsCertType = email"]}),
        ("unknown-critical", "an unknown critical extension", {"ext": [CRITICAL_UNKNOWN]}),
        ("unknown", "an unknown extension", {"ext": [CRITICAL_UNKNOWN.replace("critical, ", "")]}),
        ("policies", "certificatePolicies", {"ext": ["certificatePolicies = 1.2.3.4"]}),
        ("policies-critical", "critical certificatePolicies", {"ext": ["certificatePolicies = critical, 1.2.3.4"]}),
        ("policy-constraints", "critical policyConstraints", {"ext": ["policyConstraints = critical, requireExplicitPolicy:0"]}),
        ("inhibit-any", "critical inhibitAnyPolicy", {"ext": ["inhibitAnyPolicy = critical, 0"]}),
        ("must-staple", "must-staple (TLS feature)", {"ext": ["tlsfeature = status_request"]}),
        ("must-staple-critical", "must-staple, critical", {"ext": ["tlsfeature = critical, status_request"]}),
        ("crl-critical", "critical cRLDistributionPoints", {"ext": ["crlDistributionPoints = critical, URI:http://127.0.0.1/crl"]}),
        ("crl-reasons", "cRLDistributionPoints", {"ext": ["crlDistributionPoints = URI:http://127.0.0.1/crl"]}),
        ("aia", "authorityInfoAccess", {"ext": ["authorityInfoAccess = OCSP;URI:http://127.0.0.1/"]}),
        ("name-critical", "critical subjectAltName", {"names": "critical, DNS:peer.test"}),
        ("issuer-name-critical", "critical issuerAltName", {"ext": ["issuerAltName = critical, DNS:ca.test"]}),
        ("ski-critical", "critical nsComment", {"ext": ["nsComment = critical, comment"]}),
        ("no-names", "no subjectAltName", {"names": None}),
        ("no-constraints", "no basicConstraints", {"constraints": None}),
        ("address-block", "critical IP address blocks (RFC 3779)", {"ext": ["sbgp-ipAddrBlock = critical, IPv4:inherit"]}),
        ("as-block", "critical AS numbers (RFC 3779)", {"ext": ["sbgp-autonomousSysNum = critical, AS:inherit"]}),
        ("proxy", "a proxy certificate (RFC 3820)", {"constraints": None, "names": None, "ext": [
            "proxyCertInfo = critical, language:id-ppl-anyLanguage, pathlen:1"]}),
        ("serial-0", "serial number 0", {"serial": "00"}),
        ("serial-long", "a serial number of 20 bytes", {"serial": "7f" + "ab" * 19}),
        ("year-2060", "valid until 2060", {"dates": ("20250101000000Z", "20600101000000Z")}),
        ("year-9999", "valid without end", {"dates": ("20250101000000Z", "99991231235959Z")}),
        ("empty-subject", "a subject without CN", {"subject": "/C=XX"}),
        ("xmpp-names", "XmppAddr and SRVName", {"names": "otherName:1.3.6.1.5.5.7.8.5;UTF8:peer.test, "
                                                "otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-server.peer.test"}),
        ("wildcard", "a wildcard", {"names": "DNS:*.peer.test"}),
        ("names-ip", "an IP address and an address of mail", {"names": "IP:127.0.0.1, email:me@peer.test"}),
    ):
        case(f"leaf-{name}", f"leaf: {title}", [t.cert(root, "ec", ext=["basicConstraints = CA:FALSE"], subject=options["subject"])
             if "subject" in options else t.leaf(root, **options)], [root])
        if name in ("eku-client", "eku-server", "ku-encipherment", "unknown-critical", "policies-critical"):
            itself = t.leaf(**options)
            case(f"pinned-{name}", f"pinned: {title}", [itself], [itself])
    case("leaf-negative-serial", "leaf: a negative serial number", [t.version1(root, serial=-5)], [root])

    # Policies above the leaf
    top = t.ca("Policies", number=24, ext=["policyConstraints = critical, requireExplicitPolicy:0"])
    case("root-explicit-policy", "the trusted root requires an explicit policy, the leaf has none", [t.leaf(top)], [top])
    middle = t.ca("Policies", root, number=24, ext=["policyConstraints = critical, requireExplicitPolicy:0"])
    case("intermediate-explicit-policy", "the intermediate requires an explicit policy, the leaf has none",
         [t.leaf(middle), middle], [root])
    case("intermediate-explicit-policy-kept", "the same, the leaf has one that the intermediate has not",
         [t.leaf(middle, ext=["certificatePolicies = 1.2.3.4"]), middle], [root])
    middle = t.ca("Policies", root, number=24, ext=["inhibitAnyPolicy = critical, 0", "certificatePolicies = critical, 2.5.29.32.0"])
    case("intermediate-inhibit-any", "the intermediate inhibits anyPolicy", [t.leaf(middle), middle], [root])
    middle = t.ca("Policies", root, number=24, ext=["policyMappings = critical, 1.2.3.4:1.2.3.5", "certificatePolicies = 1.2.3.4"])
    case("intermediate-policy-mappings", "critical policyMappings", [t.leaf(middle), middle], [root])

    # Which issuer
    again = t.ca(number=30)
    case("same-name-other-key", "a trusted root of the issuer's name with another key", [direct], [again])
    no_ids = [t.cert(number_ca, subject="/CN=peer.test", ext=["basicConstraints = CA:FALSE"]) for number_ca in (root,)]
    case("same-name-both", "two trusted roots of one name, the right one second", no_ids, [again, root])
    fake = t.ca("Intermediate", other_root, number=31)
    case("same-name-intermediates", "two intermediates of one name, the wrong one first", [leaf, fake, inter], [root])
    no_id_leaf = t.cert(inter, subject="/CN=peer.test", ext=["basicConstraints = CA:FALSE"])
    case("same-name-intermediates-no-id", "the same, and the leaf does not say which key", [no_id_leaf, fake, inter], [root])
    keyed = t.leaf(root, ext=["authorityKeyIdentifier = keyid:always"])
    case("aki", "authorityKeyIdentifier: the issuer's", [keyed], [root])
    disguised = t.cert(key=root.key, subject="/O=Corpus/CN=Root", ext=["basicConstraints = critical, CA:TRUE", "subjectKeyIdentifier = 01020304"])
    case("aki-mismatch", "authorityKeyIdentifier: of another key", [t.leaf(disguised, ext=["authorityKeyIdentifier = keyid:always"])], [root])
    case("aki-serial", "authorityKeyIdentifier: issuer and serial", [
        t.leaf(root, ext=["authorityKeyIdentifier = issuer:always"])], [root])
    case("aki-serial-mismatch", "authorityKeyIdentifier: another serial", [
        t.leaf(t.ca(number=1), ext=["authorityKeyIdentifier = issuer:always"])], [root])
    crossed = t.ca("Root", other_root, number=1)
    case("cross-signed", "the root is cross-signed by another, which is not trusted; both paths begin alike", [leaf, inter, crossed], [root])
    case("cross-signed-other", "the root is cross-signed by another, which is trusted", [leaf, inter, crossed], [other_root])
    old_top = t.ca("Old root", number=32, dates=PAST)
    old_cross = t.ca("Root", old_top, number=1)
    case("cross-signed-expired", "cross-signed by a root that has expired; both roots are trusted",
         [leaf, inter, old_cross], [old_top, root])
    case("cross-signed-expired-alone", "cross-signed by a root that has expired, which is the only trusted one",
         [leaf, inter, old_cross], [old_top])
    old_root = t.ca(number=1, dates=PAST)
    case("renewed-root", "the root expired and renewed, both in cafile", [direct], [old_root, root])
    case("renewed-root-sent", "the expired root is sent, the renewed one is trusted", [direct, old_root], [root])
    case("renewed-root-old", "the expired root is trusted, the renewed one is sent", [direct, root], [old_root])
    old_inter = t.ca("Intermediate", root, number=2, dates=PAST)
    case("renewed-intermediate", "the intermediate expired and renewed, the expired one first", [leaf, old_inter, inter], [root])
    loop_a = t.ca("Loop A", number=40)
    loop_b = t.ca("Loop B", loop_a, number=41)
    loop_a = t.ca("Loop A", loop_b, number=40)
    case("loop", "two authorities that signed each other", [t.leaf(loop_b), loop_b, loop_a], [root])
    case("loop-trusted", "the same, one of them is trusted", [t.leaf(loop_b), loop_b, loop_a], [loop_a])
    shouting = Cert(t.cert(key=root.key, subject="/O=CORPUS/CN=ROOT", ext=["basicConstraints = critical, CA:TRUE"]).path, root.key)
    plain = t.cert(subject="/CN=peer.test", ca=root, ext=["basicConstraints = CA:FALSE"])
    case("name-case", "the root's name in capitals", [plain], [shouting])
    spaced = Cert(t.cert(key=root.key, subject="/O= Corpus /CN=Root", ext=["basicConstraints = critical, CA:TRUE"]).path, root.key)
    case("name-spaces", "the root's name with spaces", [plain], [spaced])
    latin = Cert(t.cert(key=root.key, subject="/O=Corpus/CN=Root", ext=["basicConstraints = critical, CA:TRUE"], utf8=False).path, root.key)
    case("name-encoding", "the root's name in another string type", [plain], [latin])

    # cafile as a file
    case("cafile-text", "cafile with text around the certificate", [direct], b"Corpus\n======\n\xff\n" + root.path.read_bytes() + b"the end\n")
    case("cafile-crlf", "cafile with CRLF", [direct], root.path.read_bytes().replace(b"\n", b"\r\n"))
    case("cafile-bom", "cafile with a byte order mark", [direct], b"\xef\xbb\xbf" + root.path.read_bytes())
    case("cafile-bom-second", "cafile with a byte order mark, the root is second", [direct],
         b"\xef\xbb\xbf" + other_root.path.read_bytes() + root.path.read_bytes())
    case("cafile-x509", "cafile with BEGIN X509 CERTIFICATE", [direct], root.path.read_bytes().replace(b" CERTIFICATE", b" X509 CERTIFICATE"))
    case("cafile-key", "cafile with a private key between", [direct], other_root.key.read_bytes() + root.path.read_bytes())
    case("cafile-empty", "an empty cafile", [direct], b"")
    case("cafile-garbage", "a cafile without certificates", [direct], b"nothing here\n")
    case("cafile-broken", "a certificate that is cut off before the root in cafile", [direct],
         other_root.path.read_bytes()[:200] + b"\n" + root.path.read_bytes())
    case("cafile-not-x509", "a block that is no certificate before the root in cafile", [direct],
         pem_of(b"\x30\x03\x02\x01\x05").encode() + root.path.read_bytes())
    case("cafile-root-then-broken", "the root before a certificate that is cut off in cafile", [direct],
         root.path.read_bytes() + other_root.path.read_bytes()[:200])
    case("cafile-one-line", "cafile with its base64 in one line", [direct], one_line(root.path.read_bytes()))
    case("cafile-twice", "the root twice in cafile", [direct], [root, root])
    case("capath", "the root in capath", [leaf, inter], None, capath=t.hashed("capath-root", root))
    case("capath-same-name", "two roots of one name in capath, the wrong one first", no_ids, None, capath=t.hashed("capath-both", again, root))
    case("capath-intermediate", "the intermediate in capath, the root in cafile", [leaf], [root], capath=t.hashed("capath-inter", inter))
    case("capath-pinned", "pinned in capath, and what its key signed", [victim], None, capath=t.hashed("capath-pinned", pinned))
    case("capath-name-case", "the root's name in capitals, in capath", [plain], None, capath=t.hashed("capath-case", shouting))
    for name, title, options in (
        ("plain", "no trust settings", []),
        ("server", "trusted for serverAuth", ["-addtrust", "serverAuth"]),
        ("client", "trusted for clientAuth", ["-addtrust", "clientAuth"]),
        ("rejected", "rejected for serverAuth", ["-addreject", "serverAuth"]),
        ("rejected-client", "rejected for clientAuth", ["-addreject", "clientAuth"]),
        ("mail", "trusted for emailProtection", ["-addtrust", "emailProtection"]),
        ("alias", "with an alias", ["-setalias", "Corpus"]),
    ):
        case(f"trusted-{name}", f"BEGIN TRUSTED CERTIFICATE, {title}", [direct],
             t.openssl("x509", "-in", root.path, "-trustout", *options))
        if name in ("plain", "server", "client"):
            case(f"trusted-leaf-{name}", f"the leaf as BEGIN TRUSTED CERTIFICATE, {title}", [leaf, inter],
                 t.openssl("x509", "-in", leaf.path, "-trustout", *options))
            case(f"trusted-intermediate-{name}", f"the intermediate as BEGIN TRUSTED CERTIFICATE, {title}", [leaf, inter],
                 t.openssl("x509", "-in", inter.path, "-trustout", *options))
    return cases
