"""Where trochee does otherwise than Prosody's own backend, and why. A row that is not listed here has to be the same on both; a
row that is listed and is the same is an error as well."""

#: (reason, ids of own certificates, ids of peers)
EXCEPTIONS = [
    (
        "Keys that the TLS library cannot sign with. They are refused, by name, where the context is made",
        ["key-ed448", "key-brainpool", "key-k256", "key-p224"],
        [],
    ),
    (
        "Keys encrypted with Camellia or ARIA, which aws-lc does not have. They are refused by name; "
        "`openssl pkcs8 -topk8 -v2 aes-256-cbc` makes another of them",
        ["pbes2-camellia", "pbes2-aria", "traditional-camellia128", "traditional-camellia256", "traditional-aria256"],
        [],
    ),
    (
        "aws-lc does not have Ed448: nothing that is signed with it is known to be right",
        [],
        ["key-ed448-3", "key-ed448-2", "key-ed448-self-signed", "ca-ed448", "intermediate-ed448"],
    ),
    (
        "Of several trusted certificates of one name OpenSSL looks at the first, and does not trust the others for themselves. "
        "trochee trusts each that is in `cafile` for itself, so an old and a new one can be there while a peer renews",
        [],
        ["pinned-renewed", "pinned-same-key"],
    ),
    (
        "TLS 1.2 with a key for RSA-PSS alone (`id-RSASSA-PSS`). rustls has these signatures in TLS 1.3 only: as a client it refuses a "
        "server's, and as a server it does not tell a client that it takes them, so the client sends no certificate",
        [],
        [f"key-{kind}-{what}" for kind in ("pss", "pss-sha256") for what in ("2", "self-signed")],
    ),
    (
        "A file that is missing. trochee names the system's reason, for which LuaSec has no words with OpenSSL 3",
        ["certificate-missing", "key-missing"],
        [],
    ),
    (
        "Critical extensions that OpenSSL knows and aws-lc does not: RFC 3779 (addresses and AS numbers) and RFC 3820 (proxies)",
        [],
        ["leaf-address-block", "leaf-as-block", "leaf-proxy"],
    ),
    (
        "OpenSSL ends a chain of ours at a block `BEGIN TRUSTED CERTIFICATE` behind the first. trochee sends what follows, too",
        ["chain-trusted"],
        [],
    ),
]
