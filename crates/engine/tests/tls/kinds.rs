//! Certificates and keys of every kind and form, made by OpenSSL and shown to OpenSSL.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::*;

use Outcome::{Refused, Served};

enum Outcome {
    /// With a signature of this type, in s_client's words.
    Served(&'static str),
    /// With exactly this error.
    Refused(&'static str),
}

/// What the scripts of the table begin with: keys and certificates that they start from. The password is `secret`.
const MATERIAL: &str = r#"
set -eu; cd "$1"
self() { openssl req -x509 -new -key "$1" -passin pass:secret -subj /CN=example.test -addext subjectAltName=DNS:example.test -days 2 -out "$2" $3; }
openssl genrsa -out rsa.key 2048; self rsa.key rsa.crt ''
openssl rsa -in rsa.key -traditional -out rsa1.key
openssl ecparam -name prime256v1 -genkey -noout -out ec.key; self ec.key ec.crt ''
openssl pkcs8 -topk8 -nocrypt -in ec.key -out ec8.key
openssl genpkey -algorithm ed25519 -out ed.key; self ed.key ed.crt ''
printf '\357\273\277' > bom
"#;

/// Name, what makes `NAME.crt` and `NAME.key`, what comes of it.
#[rustfmt::skip]
const KINDS: &[(&str, &str, Outcome)] = &[
    // Kinds of key
    ("rsa-2048", "cp rsa.crt $n.crt; cp rsa.key $n.key", Served("RSA-PSS")),
    ("rsa-4096", "openssl genrsa -out $n.key 4096; self $n.key $n.crt ''", Served("RSA-PSS")),
    ("rsa-1024", "openssl genrsa -out $n.key 1024; self $n.key $n.crt ''",
        Refused("error loading certificate (ee key too small)")),
    ("rsa-three-primes", "openssl genrsa -primes 3 -out $n.key 2048; self $n.key $n.crt ''", Served("RSA-PSS")),
    ("rsa-three-primes-pkcs1", "openssl genrsa -primes 3 -traditional -out $n.key 2048; self $n.key $n.crt ''", Served("RSA-PSS")),
    ("rsa-pss", "openssl genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -out $n.key; self $n.key $n.crt ''", Served("RSA-PSS")),
    ("rsa-pss-sha256", "openssl genpkey -algorithm rsa-pss -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 \
        -pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32 -out $n.key; self $n.key $n.crt ''", Served("RSA-PSS")),
    ("p256", "cp ec.crt $n.crt; cp ec.key $n.key", Served("ECDSA")),
    ("p384", "openssl ecparam -name secp384r1 -genkey -noout -out $n.key; self $n.key $n.crt ''", Served("ECDSA")),
    ("p521", "openssl ecparam -name secp521r1 -genkey -noout -out $n.key; self $n.key $n.crt ''", Served("ECDSA")),
    ("ed25519", "cp ed.crt $n.crt; cp ed.key $n.key", Served("ed25519")),
    ("ed448", "openssl genpkey -algorithm ed448 -out $n.key; self $n.key $n.crt ''",
        Refused("error loading private key (keys of the kind Ed448 are not supported: issue a certificate for ECDSA on P-256, or \
            RSA of 2048 bits)")),
    ("brainpool", "openssl ecparam -name brainpoolP256r1 -genkey -noout -out $n.key; self $n.key $n.crt ''",
        Refused("error loading private key (keys of the kind EC on brainpoolP256r1 are not supported: issue a certificate for \
            ECDSA on P-256, or RSA of 2048 bits)")),
    ("secp256k1", "openssl ecparam -name secp256k1 -genkey -noout -out k1.key; self k1.key $n.crt ''; openssl pkcs8 -topk8 -nocrypt -in k1.key -out $n.key",
        Refused("error loading private key (keys of the kind EC on secp256k1 are not supported: issue a certificate for ECDSA \
            on P-256, or RSA of 2048 bits)")),
    ("dsa", "openssl dsaparam -genkey -out dsa.pem 1024; openssl pkcs8 -topk8 -nocrypt -in dsa.pem -out $n.key; cp rsa.crt $n.crt",
        Refused("error loading private key (keys of the kind DSA are not supported: issue a certificate for ECDSA on P-256, or \
            RSA of 2048 bits)")),
    ("explicit", "openssl ecparam -name prime256v1 -genkey -noout -param_enc explicit -out $n.key; self $n.key $n.crt ''", Served("ECDSA")),
    ("explicit-p384-pkcs8", "openssl ecparam -name secp384r1 -genkey -noout -param_enc explicit -out x.key; self x.key $n.crt ''
        openssl pkcs8 -topk8 -nocrypt -in x.key -out $n.key", Served("ECDSA")),
    ("compressed", "openssl ec -in ec.key -conv_form compressed -out $n.key; self $n.key $n.crt ''", Served("ECDSA")),
    ("without-public-half", "openssl ec -in ec.key -no_public -out $n.key; cp ec.crt $n.crt", Served("ECDSA")),
    // Forms of a key
    ("pkcs1", "cp rsa.crt $n.crt; cp rsa1.key $n.key", Served("RSA-PSS")),
    ("ec-pkcs8", "cp ec.crt $n.crt; cp ec8.key $n.key", Served("ECDSA")),
    ("ec-parameters", "openssl ecparam -name prime256v1 -out p.pem; cat p.pem ec.key > $n.key; cp ec.crt $n.crt", Served("ECDSA")),
    ("default-encrypted", "openssl req -x509 -newkey rsa:2048 -passout pass:secret -keyout $n.key -out $n.crt -days 2 -subj /CN=example.test",
        Served("RSA-PSS")),
    ("pbes2-3des", "openssl pkcs8 -topk8 -v2 des3 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("pbes2-aes128", "openssl pkcs8 -topk8 -v2 aes-128-cbc -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("pbes2-aes192", "openssl pkcs8 -topk8 -v2 aes-192-cbc -in ec.key -passout pass:secret -out $n.key; cp ec.crt $n.crt", Served("ECDSA")),
    ("pbes2-sha1", "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Served("RSA-PSS")),
    ("pbes2-sha224", "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA224 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Served("RSA-PSS")),
    ("pbes2-sha384", "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA384 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Served("RSA-PSS")),
    ("pbes2-sha512", "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512 -in ed.key -passout pass:secret -out $n.key; cp ed.crt $n.crt",
        Served("ed25519")),
    ("pbes2-sha512-256", "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA512-256 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Served("RSA-PSS")),
    ("scrypt", "openssl pkcs8 -topk8 -scrypt -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("pbes1-3des", "openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("pbes1-2des", "openssl pkcs8 -topk8 -v1 PBE-SHA1-2DES -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("pbes1-rc2", "openssl pkcs8 -topk8 -v1 PBE-SHA1-RC2-40 -provider legacy -provider default -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Refused("error loading private key (PBE-SHA1-RC2-40 is not supported: encrypt the key with AES-256-CBC)")),
    ("pbes2-camellia", "openssl pkcs8 -topk8 -v2 camellia-256-cbc -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Refused("error loading private key (CAMELLIA-256-CBC is not supported: encrypt the key with AES-256-CBC)")),
    ("pbes2-aria", "openssl pkcs8 -topk8 -v2 aria-128-cbc -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Refused("error loading private key (ARIA-128-CBC is not supported: encrypt the key with AES-256-CBC)")),
    ("traditional-aes128", "openssl rsa -traditional -aes128 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("traditional-aes192", "openssl rsa -traditional -aes192 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("traditional-aes256", "openssl ec -aes256 -in ec.key -passout pass:secret -out $n.key; cp ec.crt $n.crt", Served("ECDSA")),
    ("traditional-3des", "openssl rsa -traditional -des3 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("traditional-camellia", "openssl rsa -traditional -camellia256 -in rsa.key -passout pass:secret -out $n.key; cp rsa.crt $n.crt",
        Refused("error loading private key (CAMELLIA-256-CBC is not supported: encrypt the key with AES-256-CBC)")),
    ("wrong-label", "sed 's/ PRIVATE/ RSA PRIVATE/' rsa.key > $n.key; cp rsa.crt $n.crt", Served("RSA-PSS")),
    ("wrong-label-ec", "sed 's/ PRIVATE/ RSA PRIVATE/' ec8.key > $n.key; cp ec.crt $n.crt", Served("ECDSA")),
    // Files
    ("byte-order-mark", "cat bom rsa.crt > $n.crt; cat bom rsa.key > $n.key", Served("RSA-PSS")),
    ("byte-order-mark-encrypted", "openssl rsa -traditional -aes128 -in rsa.key -passout pass:secret -out x.key; cat bom x.key > $n.key; cp rsa.crt $n.crt",
        Served("RSA-PSS")),
    ("crlf", "sed 's/$/\\r/' rsa.crt > $n.crt; sed 's/$/\\r/' rsa.key > $n.key", Served("RSA-PSS")),
    ("text-around", "openssl x509 -in rsa.crt -text > $n.crt; { openssl rsa -in rsa.key -text; echo after; } > $n.key", Served("RSA-PSS")),
    ("not-utf-8", "{ printf 'gr\\374n\\n'; cat rsa.crt; } > $n.crt
        { printf 'gr\\374n\\n'; openssl pkcs8 -topk8 -in rsa.key -passout pass:secret; } > $n.key", Served("RSA-PSS")),
    ("one-file", "cat rsa.crt rsa.key > $n.crt; cp $n.crt $n.key", Served("RSA-PSS")),
    ("one-file-key-first", "cat rsa.key rsa.crt > $n.crt; cp $n.crt $n.key", Served("RSA-PSS")),
    ("other-sections", "openssl dhparam -dsaparam -out dh.pem 1024; cat dh.pem rsa.crt dh.pem > $n.crt; cat dh.pem rsa.key > $n.key", Served("RSA-PSS")),
    ("one-line", "{ echo -----BEGIN CERTIFICATE-----; grep -v -- ----- rsa.crt | tr -d '\\n'; echo; echo -----END CERTIFICATE-----; } > $n.crt; cp rsa.key $n.key",
        Served("RSA-PSS")),
    ("no-last-newline", "printf %s \"$(cat rsa.crt)\" > $n.crt; printf %s \"$(cat rsa.key)\" > $n.key", Served("RSA-PSS")),
    ("trusted", "openssl x509 -in rsa.crt -trustout -addtrust serverAuth -out $n.crt; cp rsa.key $n.key", Served("RSA-PSS")),
    ("x509-certificate", "sed 's/ CERT/ X509 CERT/' rsa.crt > $n.crt; cp rsa.key $n.key", Served("RSA-PSS")),
    ("truncated-certificate", "head -5 rsa.crt > $n.crt; cp rsa.key $n.key", Refused("error loading certificate (bad end line)")),
    ("truncated-key", "head -5 rsa.key > $n.key; cp rsa.crt $n.crt", Refused("error loading private key (bad end line)")),
    ("broken-certificate", "sed '3s/./*/' rsa.crt > $n.crt; cp rsa.key $n.key", Refused("error loading certificate (bad base64 decode)")),
    ("empty-certificate", ": > $n.crt; cp rsa.key $n.key", Refused("error loading certificate (no start line)")),
    ("empty-key", ": > $n.key; cp rsa.crt $n.crt", Refused("error loading private key (no start line)")),
    ("der", "openssl x509 -in rsa.crt -outform der -out $n.crt; cp rsa.key $n.key", Refused("error loading certificate (no start line)")),
    ("swapped", "cp rsa.key $n.crt; cp rsa.crt $n.key", Refused("error loading private key (no start line)")),
    ("damaged-rsa", "openssl rsa -in rsa.key -traditional -outform der -out x.der
        { head -c 200 x.der; printf AAAA; tail -c +205 x.der; } > y.der
        { echo -----BEGIN RSA PRIVATE KEY-----; base64 y.der; echo -----END RSA PRIVATE KEY-----; } > $n.key; cp rsa.crt $n.crt",
        Refused("error loading private key (the RSA key is damaged)")),
    ("other-key", "openssl genrsa -out $n.key 2048; cp rsa.crt $n.crt", Refused("private key does not match public key")),
    ("other-kind", "cp ec.key $n.key; cp rsa.crt $n.crt", Refused("private key does not match public key")),
    // What is in a certificate is for the client to judge
    ("version-1", "openssl req -new -key rsa.key -subj /CN=example.test -out r.csr; openssl x509 -req -in r.csr -signkey rsa.key -days 2 -out $n.crt; cp rsa.key $n.key",
        Served("RSA-PSS")),
    ("critical-unknown", "self rsa.key $n.crt '-addext 1.2.3.4=critical,DER:0500'; cp rsa.key $n.key", Served("RSA-PSS")),
    ("critical-known", "self rsa.key $n.crt '-addext certificatePolicies=critical,1.2.3.4'; cp rsa.key $n.key", Served("RSA-PSS")),
    ("client-only", "self rsa.key $n.crt '-addext extendedKeyUsage=clientAuth'; cp rsa.key $n.key", Served("RSA-PSS")),
    ("expired", "openssl req -new -key rsa.key -subj /CN=example.test -out r.csr; openssl x509 -req -in r.csr -signkey rsa.key -days -1 -out $n.crt; cp rsa.key $n.key",
        Served("RSA-PSS")),
    ("negative-serial", "openssl req -x509 -new -key rsa.key -subj /CN=example.test -days 2 -set_serial -5 -out $n.crt; cp rsa.key $n.key", Served("RSA-PSS")),
    ("no-subject", "openssl req -x509 -new -key rsa.key -subj / -days 2 -out $n.crt; cp rsa.key $n.key", Served("RSA-PSS")),
];

fn shell(script: &str) {
    let directory = directory().join("kinds");
    std::fs::create_dir_all(&directory).unwrap();
    let output = Command::new("sh")
        .args(["-ec", script, "sh"])
        .arg(&directory)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{errors}");
}

/// What `openssl s_client` says of a server.
fn seen(driver: &mut Driver, server: &Context, arguments: &[&str]) -> String {
    let (listener, address) = driver.listen(ReadSize::All);
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let start = named(server.clone());
    let output = driver.drive_peer(
        move || s_client(address, &arguments),
        |reactor, event| {
            if let Seen::Accepted { key, .. } = event {
                reactor.start_tls(key, start.clone()).unwrap();
            }
        },
    );
    driver.reactor.close(listener);
    output
}

fn s_client(address: SocketAddr, arguments: &[String]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn what_openssl_loads_is_served_and_what_is_not_says_why() {
    let mut driver = driver!();
    let mut wrong = Vec::new();
    for (name, script, outcome) in KINDS {
        made(&format!("n={name}\n{script}"));
        let place = |ending: &str| directory().join("kinds").join(format!("{name}.{ending}"));
        let settings = with!(Settings::default(),
            certificate: Some(place("crt")),
            key: Some(place("key")),
            password: Some("secret".into()),
        );
        let built = Context::build(&settings);
        match (outcome, built) {
            (Refused(words), Err(error)) if error.to_string() == *words => {
                if error.file().is_none() {
                    wrong.push(format!("{name}: {error}, without its file"));
                }
            }
            (Served(kind), Ok((server, _))) => {
                for protocol in ["-tls1_3", "-tls1_2"] {
                    let output = seen(&mut driver, &server, &[protocol]);
                    if !output.contains(&format!("Peer signature type: {kind}")) {
                        wrong.push(format!("{name} {protocol}: {output}"));
                    }
                }
            }
            (_, built) => wrong.push(format!("{name}: {:?}", built.map(|_| "taken"))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a script where the material of the kinds is.
fn made(script: &str) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| shell(MATERIAL));
    let functions = MATERIAL.lines().nth(2).unwrap();
    shell(&format!("set -u; cd \"$1\"\n{functions}\n{script}"));
}

fn content(name: &str) -> Vec<u8> {
    std::fs::read(directory().join("kinds").join(name)).unwrap()
}

fn from_memory(certificate: &str, key: &str, password: Option<&[u8]>) -> OwnCertificate {
    let [certificate, key] = [certificate, key].map(|name| Material::Memory(content(name)));
    with!(OwnCertificate::new(certificate, key), password: password.map(<[u8]>::to_vec))
}

#[test]
fn each_client_is_shown_the_certificate_that_it_can_use() {
    let mut driver = driver!();
    made("");
    let (rsa, ec) = (
        from_memory("rsa.crt", "rsa.key", None),
        from_memory("ec.crt", "ec.key", None),
    );
    for certificates in [[rsa.clone(), ec.clone()], [ec, rsa]] {
        let server = context(&with!(Settings::default(), certificates: certificates.to_vec()));
        for (arguments, kind) in [
            (&["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"][..], "RSA-PSS"),
            (&["-tls1_3", "-sigalgs", "ECDSA+SHA256"], "ECDSA"),
            // OpenSSL's clients prefer ECDSA
            (&["-tls1_3"], "ECDSA"),
            (&["-tls1_2"], "ECDSA"),
            (
                &["-tls1_3", "-sigalgs", "RSA-PSS+SHA256:ECDSA+SHA256"],
                "RSA-PSS",
            ),
            (
                &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
                "RSA-PSS",
            ),
            (
                &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
                "ECDSA",
            ),
            (&["-tls1_2", "-sigalgs", "RSA+SHA256"], "RSA"),
        ] {
            let output = seen(&mut driver, &server, arguments);
            let expected = format!("Peer signature type: {kind}\n");
            assert!(output.contains(&expected), "{arguments:?}: {output}");
        }
        let output = seen(&mut driver, &server, &["-sigalgs", "ed25519"]);
        assert!(output.contains("handshake failure"), "{output}");
    }
}

#[test]
fn certificates_and_keys_from_memory_are_pem_or_der() {
    let mut driver = driver!();
    made(
        "openssl x509 -in rsa.crt -outform der -out rsa.crt.der
        openssl x509 -in ec.crt -outform der -out ec.crt.der
        openssl rsa -in rsa.key -traditional -outform der -out rsa1.der
        openssl pkcs8 -topk8 -nocrypt -in rsa.key -outform der -out rsa8.der
        openssl pkcs8 -topk8 -in rsa.key -outform der -passout pass:secret -out rsa8e.der
        openssl ec -in ec.key -outform der -out ec.der",
    );
    for (certificate, key, password) in [
        ("rsa.crt", "rsa.key", None),
        ("rsa.crt.der", "rsa1.der", None),
        ("rsa.crt.der", "rsa8.der", None),
        ("rsa.crt.der", "rsa8e.der", Some(&b"secret"[..])),
        ("ec.crt.der", "ec.der", None),
        ("ec.crt", "ec.der", None),
    ] {
        let certified = from_memory(certificate, key, password);
        // Its own bytes are trusted: PEM, whatever form the server has it in
        let trusted = certificate.trim_end_matches(".der");
        let server = context(&with!(Settings::default(), certificates: vec![certified]));
        let client = context(&with!(Settings::default(),
            mode: Mode::Client,
            authorities: content(trusted),
            // These certificates have none where it counts, which is subjectAltName
            verify_name: false,
        ));
        let ends = driver.pair(server, client);
        driver.reactor.destroy(ends.client);
        driver.reactor.destroy(ends.server);
    }
    let refused = |own: OwnCertificate| {
        let error = Context::build(&with!(Settings::default(), certificates: vec![own]));
        let error = error.unwrap_err();
        assert_eq!(error.file(), None);
        error.to_string()
    };
    for (certificate, key, words) in [
        (
            "rsa.crt",
            "rsa8e.der",
            "error loading private key (bad password read)",
        ),
        (
            "rsa.crt",
            "rsa.crt.der",
            "error loading private key (decode error)",
        ),
        (
            "bom",
            "rsa.key",
            "error loading certificate (no start line)",
        ),
        (
            "rsa1.der",
            "rsa.key",
            "error loading certificate (wrong tag)",
        ),
        ("ec.crt", "rsa.key", "private key does not match public key"),
    ] {
        assert_eq!(refused(from_memory(certificate, key, None)), words);
    }
    let error = Context::build(&with!(Settings::default(), authorities: content("rsa.key")));
    assert_eq!(
        error.unwrap_err().to_string(),
        "error loading CA locations (no start line)"
    );
}

#[test]
fn a_password_is_bytes() {
    made(
        "printf 'gr\\374n' > password
        openssl pkcs8 -topk8 -in rsa.key -passout file:password -out bytes.key
        openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in rsa.key -passout file:password -out bytes1.key
        printf 'gr\\303\\274n' > password8
        openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in rsa.key -passout file:password8 -out text1.key
        openssl rsa -traditional -aes128 -in rsa.key -passout file:password -out bytes2.key",
    );
    for (key, password) in [
        ("bytes.key", &b"gr\xfcn"[..]),
        ("bytes1.key", b"gr\xfcn"),
        ("bytes2.key", b"gr\xfcn"),
        ("text1.key", "grün".as_bytes()),
    ] {
        let built = |password: &[u8]| {
            Context::build(&with!(Settings::default(),
                certificates: vec![from_memory("rsa.crt", key, Some(password))],
            ))
            .map(|_| ())
            .map_err(|error| error.to_string())
        };
        assert_eq!(built(password), Ok(()), "{key}");
        assert_eq!(
            built(b"another"),
            Err("error loading private key (bad decrypt)".into()),
            "{key}"
        );
    }
}

#[test]
fn what_was_loaded_from_the_same_bytes_is_in_memory_once() {
    made("");
    let build = || {
        context(
            &with!(Settings::default(), certificates: vec![from_memory("rsa.crt", "rsa.key", None)]),
        )
    };
    let place = |context: &Context| context.certificates().next().unwrap().as_ptr();
    let first = build();
    let others: Vec<Context> = (0..100).map(|_| build()).collect();
    assert!(others.iter().all(|other| place(other) == place(&first)));
    let other = context(
        &with!(Settings::default(), certificates: vec![from_memory("ec.crt", "ec.key", None)]),
    );
    assert_ne!(place(&other), place(&first));
}

#[test]
fn configurations_of_rustls_are_taken_as_they_are() {
    use trochee::tls::rustls::{ClientConfig, RootCertStore, ServerConfig};
    let mut driver = driver!();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pem = std::fs::read(&server_pair().key).unwrap();
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der(&server_pair().certificate).into()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority().der.clone().into()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = Context::from_rustls_server(server.into());
    let client = Context::from_rustls_client(client.into());
    assert_eq!((server.mode(), client.mode()), (Mode::Server, Mode::Client));
    let ends = driver.pair(server, client);
    assert_eq!(
        driver.reactor.peer_certificates(ends.client)[0],
        der(&server_pair().certificate)
    );
    assert!(
        driver
            .reactor
            .peer_verification(ends.client)
            .iter()
            .all(|errors| errors.is_empty())
    );
    let exported = driver
        .reactor
        .export_keying_material(ends.client, b"EXPORTER-test", None, 32);
    assert_eq!(exported, None);
}
