//! Certificates, chains, keys and PEM as nobody made them. What OpenSSL does not trust is not trusted, what it does not load
//! is not loaded, and of what both load it is the same certificate that is shown.
//!
//! `cargo +nightly fuzz run certificates`
//!
//! The first byte of an input picks what is changed: the certificates that a client shows, or our own files. Each change of a
//! certificate is followed by a new signature, so that verification does not end there. It links the system's OpenSSL (libssl-dev).

#![no_main]

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use openssl::ssl::{SslContext, SslMethod, SslVerifyMode};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509PurposeId, X509StoreContext};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SigningKey,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use trochee::tls::{Context, Settings, Start};
use trochee::{Key, Reactor, ReadSize};

/// Most changes to a certificate or a file.
const CHANGES: usize = 8;
/// Most turns of one handshake.
const TURNS: usize = 12;

/// A certificate with its key, and with that of who signs it.
struct Made {
    der: Vec<u8>,
    key: KeyPair,
    signer: &'static str,
}

struct Corpus {
    directory: PathBuf,
    root: Made,
    intermediate: Made,
    leaf: Made,
    /// Self-signed, and no authority, as people trust who pin.
    pinned: Made,
    /// What the key of the pinned one signed.
    other: Made,
}

impl Corpus {
    fn named(&self, name: &str) -> &Made {
        match name {
            "root" => &self.root,
            "intermediate" => &self.intermediate,
            "pinned" => &self.pinned,
            "other" => &self.other,
            _ => &self.leaf,
        }
    }
}

fn corpus() -> &'static Corpus {
    static CORPUS: OnceLock<Corpus> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let authority = |name: &str, depth| {
            let mut params = CertificateParams::new(vec![]).unwrap();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(depth));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let entity = |name: &str| {
            let mut params = CertificateParams::new(vec![name.into()]).unwrap();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::ExplicitNoCa;
            params.use_authority_key_identifier_extension = true;
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ];
            params
        };
        let key = || KeyPair::generate().unwrap();
        let (root_key, intermediate_key, leaf_key, pinned_key, other_key) =
            (key(), key(), key(), key(), key());
        let root_params = authority("Root", 1);
        let root = root_params.self_signed(&root_key).unwrap().der().to_vec();
        let root_issuer = Issuer::new(root_params, &root_key);
        let intermediate_params = authority("Intermediate", 0);
        let intermediate = intermediate_params
            .signed_by(&intermediate_key, &root_issuer)
            .unwrap();
        let intermediate_issuer = Issuer::new(intermediate_params, &intermediate_key);
        let leaf = entity("peer.test")
            .signed_by(&leaf_key, &intermediate_issuer)
            .unwrap();
        let pinned_params = entity("pinned.test");
        let pinned = pinned_params.self_signed(&pinned_key).unwrap();
        let pinned_issuer = Issuer::new(pinned_params, &pinned_key);
        let other = entity("bank.test")
            .signed_by(&other_key, &pinned_issuer)
            .unwrap();
        let (intermediate, leaf) = (intermediate.der().to_vec(), leaf.der().to_vec());
        let (pinned, other) = (pinned.der().to_vec(), other.der().to_vec());

        let directory = std::env::temp_dir().join(format!("trochee-fuzz-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let made = |der, key, signer| Made { der, key, signer };
        Corpus {
            directory,
            root: made(root, root_key, "root"),
            intermediate: made(intermediate, intermediate_key, "root"),
            leaf: made(leaf, leaf_key, "intermediate"),
            pinned: made(pinned, pinned_key, "pinned"),
            other: made(other, other_key, "pinned"),
        }
    })
}

/// Changes as the input has them, three bytes each: where (two), and what becomes of the byte there.
fn change(bytes: &mut Vec<u8>, input: &mut &[u8]) {
    let count = usize::from(take(input)) % (CHANGES + 1);
    for _ in 0..count {
        let at = usize::from(u16::from_be_bytes([take(input), take(input)]));
        let value = take(input);
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] ^= value;
        }
    }
}

fn take(input: &mut &[u8]) -> u8 {
    let Some((first, rest)) = input.split_first() else {
        return 0;
    };
    *input = rest;
    *first
}

/// One value of DER, with its head, and what follows it.
fn value(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*bytes.get(1)?);
    let (length, head) = match first {
        0..=0x7f => (first, 2),
        0x81 => (usize::from(*bytes.get(2)?), 3),
        0x82 => (
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
            4,
        ),
        _ => return None,
    };
    (head + length <= bytes.len()).then_some((head, head + length))
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut all = vec![0x30, 0x82];
    all.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
    all.extend(content);
    all
}

/// The certificate with changes within what is signed, signed anew.
fn forged(made: &Made, input: &mut &[u8]) -> Vec<u8> {
    let (head, _) = value(&made.der).unwrap();
    let signed_end = head + value(&made.der[head..]).unwrap().1;
    let algorithm_end = signed_end + value(&made.der[signed_end..]).unwrap().1;
    let mut signed = made.der[head..signed_end].to_vec();
    change(&mut signed, input);
    let signature = corpus().named(made.signer).key.sign(&signed).unwrap();
    let mut bits = vec![0x03, u8::try_from(signature.len() + 1).unwrap(), 0];
    bits.extend(signature);
    sequence(&[&signed, &made.der[signed_end..algorithm_end], &bits])
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = openssl::base64::encode_block(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    if take(&mut input) & 1 == 0 {
        chains(&mut input);
    } else {
        files(&mut input);
    }
});

/// A client's certificates, judged by us as a server.
fn chains(input: &mut &[u8]) {
    let corpus = corpus();
    let plan = take(input);
    let (shown, trusted): (&[&str], &[&str]) = match plan & 7 {
        0 => (&["leaf", "intermediate"], &["root"]),
        1 => (&["leaf", "intermediate", "root"], &["root", "pinned"]),
        2 => (&["leaf"], &["intermediate"]),
        3 => (&["leaf", "intermediate"], &["intermediate"]),
        4 => (&["pinned"], &["pinned"]),
        5 => (&["other", "pinned"], &["pinned"]),
        6 => (&["leaf", "root", "intermediate"], &["root"]),
        _ => (&["leaf"], &["leaf"]),
    };
    let ignore_purpose = plan & 8 != 0;
    let mut chain = vec![];
    let mut authorities = vec![];
    for name in shown {
        chain.push(forged(corpus.named(name), input));
    }
    for name in trusted {
        let place = shown.iter().position(|one| one == name);
        // As it is shown, or as it was
        authorities.push(match place.filter(|_| plan & 16 != 0) {
            Some(place) => chain[place].clone(),
            None => forged(corpus.named(name), input),
        });
    }
    let ours = trusted_by_us(
        &chain,
        &authorities,
        &corpus.named(shown[0]).key,
        ignore_purpose,
    );
    let theirs = trusted_by_openssl(&chain, &authorities, ignore_purpose);
    assert!(
        !ours || theirs == Some(true),
        "trusted, though not by OpenSSL ({theirs:?}):\n{}of:\n{}",
        chain
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect::<String>(),
        authorities
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect::<String>(),
    );
}

/// What OpenSSL says of a client's chain; nothing where it cannot read the client's own certificate.
fn trusted_by_openssl(chain: &[Vec<u8>], authorities: &[Vec<u8>], as_server: bool) -> Option<bool> {
    let mut store = X509StoreBuilder::new().ok()?;
    for der in authorities {
        // One that cannot be read ends the loading of a file, after those before it
        let Ok(authority) = X509::from_der(der) else {
            break;
        };
        store.add_cert(authority).ok()?;
    }
    let mut rules = X509VerifyParam::new().ok()?;
    rules.set_auth_level(2);
    rules
        .set_purpose(if as_server {
            X509PurposeId::SSL_SERVER
        } else {
            X509PurposeId::SSL_CLIENT
        })
        .ok()?;
    store.set_param(&rules).ok()?;
    let mut sent = Stack::new().ok()?;
    // With one that it cannot read OpenSSL ends the handshake, and we leave that one out: a peer may as well not send it.
    for der in &chain[1..] {
        if let Ok(certificate) = X509::from_der(der) {
            sent.push(certificate).ok()?;
        }
    }
    let leaf = X509::from_der(&chain[0]).ok()?;
    let mut context = X509StoreContext::new().ok()?;
    context
        .init(&store.build(), &leaf, &sent, |context| {
            context.verify_cert()
        })
        .ok()
}

/// Whether the handshake of a client with this chain succeeds, and its certificates are good.
fn trusted_by_us(
    chain: &[Vec<u8>],
    authorities: &[Vec<u8>],
    key: &KeyPair,
    ignore_purpose: bool,
) -> bool {
    let corpus = corpus();
    let write = |name: &str, text: String| {
        let path = corpus.directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let mut verifyext = vec!["lsec_continue".to_owned()];
    if ignore_purpose {
        verifyext.push("lsec_ignore_purpose".into());
    }
    let mut settings = Settings::server(
        write("own.pem", pem("CERTIFICATE", &corpus.leaf.der)),
        write("own.key", corpus.leaf.key.serialize_pem()),
    );
    let trusted = authorities.iter().map(|der| pem("CERTIFICATE", der));
    settings.cafile = Some(write("authorities.pem", trusted.collect()));
    settings.verify = vec!["peer".into(), "client_once".into()];
    settings.verifyext = verifyext;
    let built = Context::build(&settings);
    let Ok((context, _)) = built else {
        return false;
    };
    let mut reactor = Reactor::new();
    reactor.set_backend("poll").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let connection = reactor.adopt(ours.into(), ReadSize::All).unwrap();
    turn(&mut reactor);
    reactor.start_tls(connection, Start::new(context)).unwrap();
    let mut client = client(chain, key);
    for _ in 0..TURNS {
        exchange(&mut client, &theirs);
        turn(&mut reactor);
        if reactor.tls_info(connection).is_some() {
            return judged(&mut reactor, connection);
        }
    }
    false
}

fn judged(reactor: &mut Reactor, connection: Key) -> bool {
    !reactor.peer_certificates(connection).is_empty()
        && reactor
            .peer_verification(connection)
            .iter()
            .all(Vec::is_empty)
}

fn turn(reactor: &mut Reactor) {
    reactor.begin_turn(Some(Duration::ZERO));
    while reactor.next_event().is_some() {}
}

/// Carries records between the client and its socket.
fn exchange(client: &mut rustls::ClientConnection, mut socket: &UnixStream) {
    use std::io::Read;
    while client.wants_write() && client.write_tls(&mut socket).is_ok() {}
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = socket.read(&mut bytes) {
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            if client.read_tls(&mut rest).is_err() || client.process_new_packets().is_err() {
                return;
            }
        }
    }
    while client.wants_write() && client.write_tls(&mut socket).is_ok() {}
}

/// A client that shows any bytes for certificates, and asks for none itself.
fn client(chain: &[Vec<u8>], key: &KeyPair) -> rustls::ClientConnection {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let chain = chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            CertifiedKey::new(chain, key),
        )));
    let name = ServerName::try_from("peer.test").unwrap();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap()
}

/// Takes any server: only the client is judged here.
#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Our own certificate and key, as files.
fn files(input: &mut &[u8]) {
    let corpus = corpus();
    let key = pem("PRIVATE KEY", &corpus.leaf.key.serialize_der()).into_bytes();
    let leaf = pem("CERTIFICATE", &corpus.leaf.der);
    let both = (leaf + &pem("CERTIFICATE", &corpus.intermediate.der)).into_bytes();
    let (mut certificate, mut key) = match take(input) & 3 {
        0 => (both, key),
        1 => (corpus.leaf.der.clone(), key),
        2 => (input.to_vec(), key),
        _ => (both, input.to_vec()),
    };
    change(&mut certificate, input);
    change(&mut key, input);
    let (certificate_file, key_file) = (
        corpus.directory.join("certificate.pem"),
        corpus.directory.join("key.pem"),
    );
    fs::write(&certificate_file, certificate).unwrap();
    fs::write(&key_file, key).unwrap();
    let mut settings = Settings::server(&certificate_file, &key_file);
    settings.verify = vec!["none".into()];
    let Ok((context, _)) = Context::build(&settings) else {
        return;
    };
    let shown: Vec<Vec<u8>> = context.certificates().map(<[u8]>::to_vec).collect();
    let theirs = loaded_by_openssl(&certificate_file, &key_file);
    if theirs.is_none() && has_an_issuer_without_key(&certificate_file) {
        return;
    }
    assert_eq!(
        Some(&shown[0]),
        theirs.as_ref(),
        "loaded, though not by OpenSSL: {} and {}",
        certificate_file.display(),
        key_file.display(),
    );
}

/// Whether OpenSSL cannot decode the key of a certificate behind the first, which is a reason for it not to load any. We do not look at
/// these keys: OpenSSL knows kinds of them that aws-lc does not.
fn has_an_issuer_without_key(file: &std::path::Path) -> bool {
    let all = fs::read(file)
        .ok()
        .and_then(|text| X509::stack_from_pem(&text).ok());
    all.is_some_and(|all| {
        all.iter()
            .skip(1)
            .any(|issuer| issuer.public_key().is_err())
    })
}

/// The certificate that OpenSSL shows with these files, where it loads them.
fn loaded_by_openssl(certificate: &std::path::Path, key: &std::path::Path) -> Option<Vec<u8>> {
    let mut context = SslContext::builder(SslMethod::tls()).ok()?;
    context.set_verify(SslVerifyMode::NONE);
    // How strong the signatures in our chain are is for the peers to judge
    context.set_security_level(0);
    // The key first, as LuaSec does. In the other order OpenSSL takes a note that it makes of an extension which it cannot read for a
    // reason not to load the certificate.
    context
        .set_private_key_file(key, openssl::ssl::SslFiletype::PEM)
        .ok()?;
    context.set_certificate_chain_file(certificate).ok()?;
    context.check_private_key().ok()?;
    context.build().certificate()?.to_der().ok()
}
