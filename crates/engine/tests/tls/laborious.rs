//! Chains of certificates that are made to take long: keys as large as they may be, each of which has to be asked about a signature.
//!
//! How long that takes does not depend on the poller, so `tls.rs` compiles this once.

#[allow(dead_code)]
#[path = "../security/bounds.rs"]
mod bounds;
#[allow(dead_code)]
#[path = "der.rs"]
mod der;
#[allow(dead_code)]
#[path = "pki.rs"]
mod pki;
#[allow(dead_code)]
#[path = "../reactor/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "wire.rs"]
mod wire;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use trochee::tls::{Context, Mode, Settings, Start};
use trochee::{Key, ReadSize, Reason, SocketKind};

use der::*;
use pki::*;
use support::*;
use wire::*;

fn made(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    value(tag, &parts.concat())
}

fn named_by(name: &str) -> Vec<u8> {
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    let pair = [
        value(OBJECT_IDENTIFIER, COMMON_NAME),
        value(UTF8_STRING, name.as_bytes()),
    ];
    made(SEQUENCE, &[made(SET, &[made(SEQUENCE, &pair)])])
}

/// An odd number of so many bytes, positive and as large as it can be.
fn large(bytes: usize) -> Vec<u8> {
    let mut number = vec![0xd5; bytes + 1];
    number[0] = 0;
    value(INTEGER, &number)
}

/// A key, and how certificates are signed with it.
struct Kind {
    name: &'static str,
    key: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

fn bits(contents: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0][..], contents].concat())
}

/// RSA with a modulus of so many bits and the largest exponent.
fn rsa(name: &'static str, size: usize) -> Kind {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
    let exponent = value(INTEGER, &[1, 0xff, 0xff, 0xff, 0xff]);
    let key = made(SEQUENCE, &[large(size / 8), exponent]);
    let of = |oid| made(SEQUENCE, &[value(OBJECT_IDENTIFIER, oid), value(NULL, &[])]);
    Kind {
        name,
        key: made(SEQUENCE, &[of(RSA), bits(&key)]),
        algorithm: of(SHA256_WITH_RSA),
        signature: bits(&vec![0x55; size / 8]),
    }
}

/// DSA with numbers of so many bits.
fn dsa(name: &'static str, size: usize) -> Kind {
    const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1];
    const SHA256_WITH_DSA: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2];
    let small = |byte: u8, size: usize| value(INTEGER, &vec![byte; size]);
    let parameters = made(
        SEQUENCE,
        &[large(size / 8), large(32), small(0x55, size / 8)],
    );
    let signature = made(SEQUENCE, &[small(0x55, 32), small(0x54, 32)]);
    Kind {
        name,
        key: made(
            SEQUENCE,
            &[
                made(SEQUENCE, &[value(OBJECT_IDENTIFIER, DSA), parameters]),
                bits(&small(0x53, size / 8)),
            ],
        ),
        algorithm: made(SEQUENCE, &[value(OBJECT_IDENTIFIER, SHA256_WITH_DSA)]),
        signature: bits(&signature),
    }
}

const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P521: &[u8] = &[0x2b, 0x81, 4, 0, 35];

/// A public key on a curve.
fn on_curve(curve: &[u8], key: &rcgen::KeyPair) -> Vec<u8> {
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let oid = |oid| value(OBJECT_IDENTIFIER, oid);
    let algorithm = made(SEQUENCE, &[oid(EC), oid(curve)]);
    made(SEQUENCE, &[algorithm, bits(key.public_key_raw())])
}

/// ECDSA over P-521.
fn ecdsa() -> Kind {
    const SHA512_WITH_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let number = || value(INTEGER, &[0x55; 65]);
    Kind {
        name: "ECDSA over P-521",
        key: on_curve(P521, &key),
        algorithm: made(SEQUENCE, &[value(OBJECT_IDENTIFIER, SHA512_WITH_ECDSA)]),
        signature: bits(&made(SEQUENCE, &[number(), number()])),
    }
}

impl Kind {
    /// It says nothing but who vouches for whom.
    fn certificate(&self, subject: usize, key: &[u8]) -> Vec<u8> {
        let time = |text: &str| value(UTC_TIME, text.as_bytes());
        let signed = made(
            SEQUENCE,
            &[
                value(0xa0, &value(INTEGER, &[2])),
                value(INTEGER, &[1]),
                self.algorithm.clone(),
                named_by(&(subject + 1).to_string()),
                made(SEQUENCE, &[time("200101000000Z"), time("480101000000Z")]),
                named_by(&subject.to_string()),
                key.to_vec(),
            ],
        );
        made(
            SEQUENCE,
            &[signed, self.algorithm.clone(), self.signature.clone()],
        )
    }

    /// As many as fit into a message, each vouched for by the next; the first has this key.
    fn chain(&self, leaf: &rcgen::KeyPair) -> Vec<CertificateDer<'static>> {
        const MOST: usize = 62_000;
        let each = self.certificate(1, &self.key).len() + 20;
        let authorities = 1..=(MOST / each).min(99);
        std::iter::once(self.certificate(0, &on_curve(P256, leaf)))
            .chain(authorities.map(|number| self.certificate(number, &self.key)))
            .map(CertificateDer::from)
            .collect()
    }
}

/// A client that shows this chain.
fn client_with(
    own: &rcgen::KeyPair,
    chain: &[CertificateDer<'static>],
) -> rustls::ClientConnection {
    let own = PrivateKeyDer::try_from(own.serialize_der()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots())
        .with_client_auth_cert(chain.to_vec(), own)
        .unwrap();
    let name = ServerName::try_from("example.test").unwrap();
    rustls::ClientConnection::new(config.into(), name).unwrap()
}

/// A server as Prosody has it on the port for other servers.
fn asking() -> Context {
    context(&with!(server_settings(server_pair()),
        verify: words(&["peer"]),
        verifyext: words(&["lsec_continue"]),
        depth: Some(9),
    ))
}

/// The processor time of a handshake in which a client shows this chain.
fn cost(server: &Context, own: &rcgen::KeyPair, chain: &[CertificateDer<'static>]) -> Duration {
    let mut driver = Driver::open_named("poll").unwrap();
    let (key, stream) = driver.serve();
    let start = named(server.clone());
    driver.reactor.start_tls(key, start).unwrap();
    let client = client_with(own, chain);
    let before = thread_time();
    let (mut found, mut closed) = (None, None);
    driver.drive_peer(
        move || {
            let mut tls = rustls::StreamOwned::new(client, stream);
            tls.write_all(b"there").unwrap();
            let _ = tls.read(&mut [0]);
        },
        |reactor, event| match event {
            Seen::Secured(_) => found = Some(reactor.peer_verification(key)),
            Seen::Data(key, ..) => reactor.write(key, b"here").map(|_| ()).unwrap(),
            Seen::Closed(_, reason) => closed = Some(reason),
            _ => {}
        },
    );
    let took = thread_time() - before;
    let found = found.unwrap_or_else(|| panic!("{closed:?}"));
    println!(
        "{} certificates, {} bytes: {took:?}, verdict of depth {}: {:?}",
        chain.len(),
        chain.iter().map(|der| der.len()).sum::<usize>(),
        found.len(),
        found.last(),
    );
    took
}

/// Such chains wait for their turn, as what else costs much.
#[test]
fn who_shows_long_chains_comes_before_nobody() {
    const FLOOD: usize = 40;
    const HONEST: usize = 8;
    let mut driver = Driver::open_named("poll").unwrap();
    let (_, address) = driver.listen(ReadSize::All);
    let server = asking();
    let own = rcgen::KeyPair::generate().unwrap();
    let chain = rsa("RSA of 16,384 bits", 16_384).chain(&own);
    let accept = |driver: &mut Driver, from: &str| serve_on(driver, from, address, &server);
    // All but the last step.
    let flood: Vec<(TcpStream, Vec<u8>)> = (0..FLOOD)
        .map(|_| {
            let (_, stream) = accept(&mut driver, "127.0.0.2");
            let mut client = client_with(&own, &chain);
            let mut theirs = stream.try_clone().unwrap();
            let last = driver.drive_peer(
                move || {
                    client.write_tls(&mut theirs).unwrap();
                    while client.is_handshaking() {
                        client.read_tls(&mut theirs).unwrap();
                        client.process_new_packets().unwrap();
                    }
                    let mut last = Vec::new();
                    while client.wants_write() {
                        client.write_tls(&mut last).unwrap();
                    }
                    last
                },
                |_, _| {},
            );
            (stream, last)
        })
        .collect();
    let hello = driver.client_hello(client());
    let honest: Vec<TcpStream> = (0..HONEST)
        .map(|_| accept(&mut driver, "127.0.0.3").1)
        .collect();
    for (mut stream, last) in flood.iter().map(|(stream, last)| (stream, last)) {
        // The system takes it while nobody reads.
        stream.write_all(last).unwrap();
    }
    for mut stream in &honest {
        stream.write_all(&hello).unwrap();
    }
    let give_up = Instant::now() + PATIENCE;
    let (mut judged, mut worst) = (0, Duration::ZERO);
    while honest.iter().any(|stream| unread(stream) == 0) {
        assert!(Instant::now() < give_up);
        let before = thread_time();
        for event in driver.turn() {
            judged += usize::from(matches!(event, Seen::Secured(_)));
        }
        worst = worst.max(thread_time() - before);
    }
    println!("{judged} judged, a turn takes {worst:?}");
    // There is a look at the clock after each, so that those who are in are not kept waiting by all of them.
    assert!(worst < Duration::from_millis(150), "{worst:?}");
    assert!(judged < FLOOD / 2, "{judged} were judged before");
    // And so are the others, in the end.
    driver.drive("all of them to be judged", |_, event| {
        judged += usize::from(matches!(event, Seen::Secured(_)));
        judged == FLOOD
    });
}

/// What a chain costs is bounded by how deep it may be and by how large its keys may be.
#[test]
fn a_chain_costs_so_much_and_no_more() {
    let most = Duration::from_millis(bounds::at_most(
        "Processor",
        "shows a chain that takes long to check",
    ) as u64);
    let server = asking();
    let own = rcgen::KeyPair::generate().unwrap();
    for kind in [
        ecdsa(),
        rsa("RSA of 4,096 bits", 4096),
        rsa("RSA of 8,192 bits", 8192),
        rsa("RSA of 16,384 bits", 16_384),
        dsa("DSA of 3,072 bits", 3072),
        dsa("DSA of 10,000 bits", 10_000),
    ] {
        let chain = kind.chain(&own);
        print!("{}: ", kind.name);
        let least = (0..3).map(|_| cost(&server, &own, &chain)).min().unwrap();
        assert!(least < most, "{}: {least:?}", kind.name);
    }
}
