"""Where trochee does otherwise than Prosody's own backend, and why. A row that is not listed here has to be the same on both; a
row that is listed and is the same is an error as well."""

#: (reason, ids of own certificates, ids of peers)
EXCEPTIONS = [
    (
        "Keys that the TLS library cannot sign with. They are refused, by name, where the context is made",
        ["key-rsa3", "key-ed448", "key-brainpool", "key-k256", "key-p224"],
        [],
    ),
    (
        "Keys encrypted with Camellia or ARIA, which aws-lc does not have. They are refused by name; "
        "`openssl pkcs8 -topk8 -v2 aes-256-cbc` makes another of them",
        ["pbes2-camellia", "pbes2-aria", "traditional-camellia128", "traditional-camellia256", "traditional-aria256"],
        [],
    ),
]
