//! Peers that send without end what costs them little: each ends its own connection, or waits its turn.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedProtocolVersion};

use super::*;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// A client after an honest handshake, whose records are made here.
struct Forger {
    version: ProtocolVersion,
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

impl Forger {
    fn join(stream: &TcpStream, version: &'static SupportedProtocolVersion) -> Forger {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from(authority().der.clone()))
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.enable_secret_extraction = true;
        let name = ServerName::try_from("example.test").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut both_ways = stream;
        while client.is_handshaking() || client.wants_write() {
            client.complete_io(&mut both_ways).unwrap();
        }
        let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
            panic!("another cipher");
        };
        Forger {
            version: version.version,
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap()),
            iv: iv.as_ref().to_vec(),
            sequence,
        }
    }

    /// A record: RFC 8446, section 5.2; RFC 5246, section 6.2.3.3 with RFC 5288.
    fn seal(&mut self, content: u8, payload: &[u8]) -> Vec<u8> {
        let mut nonce: [u8; 12] = self.iv.as_slice().try_into().unwrap();
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        for (byte, other) in nonce[4..].iter_mut().zip(sequence) {
            *byte ^= other;
        }
        let mut sealed = payload.to_vec();
        let length = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let tag = AES_256_GCM.tag_len();
        let (mut record, added) = if self.version == ProtocolVersion::TLSv1_3 {
            sealed.push(content);
            let mut header = vec![DATA, 3, 3];
            header.extend(length(sealed.len() + tag));
            (header.clone(), header)
        } else {
            let mut header = vec![content, 3, 3];
            header.extend(length(8 + sealed.len() + tag));
            header.extend(&nonce[4..]);
            let mut added = sequence.to_vec();
            added.extend([content, 3, 3]);
            added.extend(length(sealed.len()));
            (header, added)
        };
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(added),
                &mut sealed,
            )
            .unwrap();
        record.extend(sealed);
        record
    }
}

/// Sends what `flood` makes, again and again, until the server has had enough; it must, and say why.
fn enough(
    driver: &mut Driver,
    mut flood: impl FnMut(&TcpStream) -> Vec<u8> + Send + 'static,
) -> String {
    const MOST: usize = 20_000;
    let (key, stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let mut reason = None;
    driver.drive_peer(
        move || {
            for _ in 0..MOST {
                let mut sink = &stream;
                if sink.write_all(&flood(&stream)).is_err() {
                    return;
                }
            }
        },
        |_, event| match event {
            Seen::Closed(_, why) => reason = Some(why),
            Seen::Data(_, data, _) => panic!("{data:?}"),
            _ => {}
        },
    );
    match reason.unwrap_or_else(|| driver.expect_closed(key).0) {
        Reason::Tls(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flood_of_what_is_no_data_ends_the_connection() {
    let mut driver = driver!();
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    let renegotiation = driver.client_hello(client())[5..].to_vec();
    const NO_RENEGOTIATION: [u8; 2] = [1, 100];
    const USER_CANCELED: [u8; 2] = [1, 90]; // the only warning of TLS 1.3
    const KEY_UPDATE: [u8; 4] = [24, 0, 255, 240]; // the beginning of one of nearly 64 KiB
    for (version, content, payload, text) in [
        (tls12, DATA, vec![], "TooManyEmptyFragments"),
        (tls13, DATA, vec![], "TooManyEmptyFragments"),
        (
            tls12,
            ALERT,
            NO_RENEGOTIATION.into(),
            "TooManyWarningAlerts",
        ),
        (tls13, ALERT, NO_RENEGOTIATION.into(), "no renegotiation"),
        (tls13, ALERT, USER_CANCELED.into(), "TooManyWarningAlerts"),
        (
            tls12,
            HANDSHAKE,
            renegotiation,
            "TooManyRenegotiationRequests",
        ),
        (tls12, CHANGE_CIPHER_SPEC, vec![1], "bad message"),
        (
            tls13,
            CHANGE_CIPHER_SPEC,
            vec![1],
            "IllegalMiddleboxChangeCipherSpec",
        ),
        (
            tls13,
            HANDSHAKE,
            KEY_UPDATE.into(),
            "excessive message size",
        ),
    ] {
        let mut forger = None;
        let found = enough(&mut driver, move |stream| {
            let forger = forger.get_or_insert_with(|| Forger::join(stream, version));
            forger.seal(content, &payload)
        });
        assert!(found.contains(text), "{version:?}, {content}: {found}");
    }
}

/// What needs no key: anybody on the way can send it, and anybody before a handshake.
#[test]
fn a_flood_in_plaintext_ends_the_connection() {
    let mut driver = driver!();
    for (joins, record, text) in [
        (
            true,
            &[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1][..],
            "unexpected message",
        ),
        (true, &[ALERT, 3, 3, 0, 2, 1, 90], "bad record mac"),
        (
            false,
            &[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1],
            "unexpected message",
        ),
        (false, &[ALERT, 3, 1, 0, 2, 1, 90], "unexpected message"),
        (false, &[HANDSHAKE, 3, 1, 0, 0], "wrong version number"),
        // The beginning of a ClientHello of nearly 64 KiB.
        (
            false,
            &[HANDSHAKE, 3, 1, 0, 4, 1, 0, 255, 240],
            "excessive message size",
        ),
    ] {
        let mut joined = !joins;
        let found = enough(&mut driver, move |stream| {
            if !std::mem::replace(&mut joined, true) {
                Forger::join(stream, &rustls::version::TLS13);
            }
            record.to_vec()
        });
        assert!(found.contains(text), "{joins} {record:?}: {found}");
    }
}

/// A client after its handshake that can change its keys.
fn key_updater(stream: &TcpStream) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut tls = peer_client(stream.try_clone().unwrap(), "example.test");
    tls.flush().unwrap();
    tls
}

#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let mut driver = driver!();
    let mut client = None;
    let found = enough(&mut driver, move |stream| {
        let tls = client.get_or_insert_with(|| key_updater(stream));
        tls.conn.refresh_traffic_keys().unwrap();
        let mut records = Vec::new();
        tls.conn.write_tls(&mut records).unwrap();
        records
    });
    assert!(found.contains("TooManyKeyUpdateRequests"), "{found}");
}

/// Between data they are legitimate, and cost what a turn may cost: others get theirs.
#[test]
fn a_flood_between_data_waits_its_turn() {
    const ROUNDS: usize = 1500;
    const MOST_PER_TURN: Duration = Duration::from_millis(250);
    let mut driver = driver!();
    for with_keys in [true, false] {
        let (key, stream) = driver.serve();
        driver.reactor.start_tls(key, named(server())).unwrap();
        let (other, bystander) = driver.serve();
        let flood = std::thread::spawn(move || {
            if with_keys {
                let mut tls = key_updater(&stream);
                for _ in 0..ROUNDS {
                    tls.conn.refresh_traffic_keys().unwrap();
                    tls.write_all(b"x").unwrap();
                }
            } else {
                let mut forger = Forger::join(&stream, &rustls::version::TLS13);
                for _ in 0..ROUNDS {
                    let mut records: Vec<u8> =
                        (0..32).flat_map(|_| forger.seal(DATA, b"")).collect();
                    records.extend(forger.seal(DATA, b"x"));
                    (&stream).write_all(&records).unwrap();
                }
            }
            stream
        });
        (&bystander).write_all(b"hello").unwrap();
        let (mut got, mut greeted_at, mut worst) = (0, None, Duration::ZERO);
        let give_up = std::time::Instant::now() + PATIENCE;
        while got < ROUNDS {
            assert!(std::time::Instant::now() < give_up, "{got} of {ROUNDS}");
            let before = thread_time();
            for event in driver.turn() {
                match event {
                    Seen::Data(from, data, _) if from == key => got += data.len(),
                    Seen::Data(from, ..) if from == other => greeted_at = Some(got),
                    Seen::Closed(_, reason) => panic!("{reason:?}"),
                    _ => {}
                }
            }
            worst = worst.max(thread_time() - before);
            assert!(got == 0 || driver.reactor.pending(key) < 1000);
        }
        assert!(greeted_at.is_some_and(|got| got < ROUNDS), "{greeted_at:?}");
        assert!(worst < MOST_PER_TURN, "keys: {with_keys}: {worst:?}");
        drop(flood.join().unwrap());
        driver.reactor.destroy(key);
        driver.reactor.destroy(other);
        driver.turn();
    }
}
