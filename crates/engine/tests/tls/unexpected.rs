//! Handshake messages in the middle of a connection, from clients and from servers: what does not belong there ends it, and of what does
//! there is no end that anybody else would notice.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use super::forger::*;
use super::*;

/// The kinds of handshake messages that there are (RFC 8446, section 4; RFC 5246, section 7.4; RFC 6066; RFC 8879), and some that there
/// are not.
const KINDS: [u8; 22] = [
    0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 67, 254,
];
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[kind][..], &len[1..], body].concat()
}

/// The connection ends over a message of this kind, before any data of it is delivered.
fn expect_refusal(driver: &mut Driver, key: Key, kind: u8) {
    let (reason, seen) = driver.expect_closed(key);
    assert!(matches!(reason, Reason::Tls(_)), "{kind}: {reason:?}");
    assert!(
        !seen.iter().any(|event| matches!(event, Seen::Data(..))),
        "{kind}: {seen:?}"
    );
}

/// A connection of ours to a server whose records are made up.
fn connected(
    driver: &mut Driver,
    version: &'static rustls::SupportedProtocolVersion,
) -> (Key, TcpStream, Forger) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let kind = SocketKind::Stream;
    let key = driver
        .reactor
        .connect(address, kind, ReadSize::All)
        .unwrap();
    driver.reactor.start_tls(key, named(client())).unwrap();
    let (stream, forger) = driver.drive_peer(
        move || {
            let stream = patient(listener.accept().unwrap().0);
            let forger = Forger::serve(&stream, version, &[]);
            (stream, forger)
        },
        |_, _| {},
    );
    (key, stream, forger)
}

#[test]
fn what_no_client_says_there_ends_the_connection() {
    let mut driver = driver!();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for kind in KINDS {
            // In TLS 1.2 a request to renegotiate is refused, and no more.
            if version.version == rustls::ProtocolVersion::TLSv1_2 && kind == CLIENT_HELLO {
                continue;
            }
            let (key, stream) = driver.serve();
            driver.reactor.start_tls(key, named(server())).unwrap();
            let theirs = stream.try_clone().unwrap();
            let mut forger = driver.drive_peer(move || Forger::join(&theirs, version), |_, _| {});
            (&stream)
                .write_all(&forger.seal(HANDSHAKE, &message(kind, &[0; 40])))
                .unwrap();
            expect_refusal(&mut driver, key, kind);
            // It is told why.
            assert!(!read_until_end(&stream).is_empty(), "{kind}");
        }
    }
}

/// Until a FIN or a reset.
fn read_until_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    all
}

#[test]
fn what_no_server_says_there_ends_the_connection() {
    let mut driver = driver!();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for kind in KINDS {
            let is_tls12 = version.version == rustls::ProtocolVersion::TLSv1_2;
            if is_tls12 && kind == HELLO_REQUEST {
                continue;
            }
            let (key, stream, mut forger) = connected(&mut driver, version);
            (&stream)
                .write_all(&forger.seal(HANDSHAKE, &message(kind, &[0; 40])))
                .unwrap();
            expect_refusal(&mut driver, key, kind);
        }
    }
}

/// A handshake has room for the longest chain, and not for more behind it.
#[test]
fn a_handshake_longer_than_any_chain_ends_the_connection() {
    const CERTIFICATE: u8 = 11;
    const CLIENT_KEY_EXCHANGE: u8 = 16;
    let mut driver = driver!();
    let server = context(&with!(server_settings(server_pair()),
        verify: words(&["peer"]),
        verifyext: words(&["lsec_continue"]),
    ));
    let hello = include_bytes!("../../../../fuzz/client_hellos/openssl-3.0-tls1.2");
    let (key, mut stream) = driver.serve();
    driver.reactor.start_tls(key, named(server)).unwrap();
    stream.write_all(hello).unwrap();
    let entries = [&[0, 3, 232][..], &[0; 1000]].concat().repeat(60);
    let list = [&(entries.len() as u32).to_be_bytes()[1..], &entries].concat();
    // Of the second message there is no end.
    let endless = [CLIENT_KEY_EXCHANGE, 0, 0xff, 0xff];
    let messages = [
        message(CERTIFICATE, &list),
        endless.to_vec(),
        vec![0; 40_000],
    ]
    .concat();
    let mut theirs = stream.try_clone().unwrap();
    let mut reason = None;
    driver.drive_peer(
        move || {
            theirs.read_exact(&mut [0]).unwrap();
            for part in messages.chunks(16_000) {
                let length = (part.len() as u16).to_be_bytes();
                let record = [&[HANDSHAKE, 3, 3][..], &length, part].concat();
                if theirs.write_all(&record).is_err() {
                    return;
                }
            }
        },
        |_, event| {
            if let Seen::Closed(_, why) = event {
                reason = Some(why);
            }
        },
    );
    let reason = reason.unwrap_or_else(|| driver.expect_closed(key).0);
    assert_eq!(reason, failed("excessive message size"));
}

/// A server that asks for a new handshake again and again.
#[test]
fn a_flood_of_hello_requests_ends_the_connection() {
    let mut driver = driver!();
    let (key, stream, mut forger) = connected(&mut driver, &rustls::version::TLS12);
    let mut reason = None;
    driver.drive_peer(
        move || {
            for _ in 0..20_000 {
                let request = forger.seal(HANDSHAKE, &message(HELLO_REQUEST, b""));
                if (&stream).write_all(&request).is_err() {
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
    let reason = reason.unwrap_or_else(|| driver.expect_closed(key).0);
    assert_eq!(
        reason,
        failed("peer misbehaved: TooManyRenegotiationRequests")
    );
}

/// Tickets without end are work for nothing, and each of them no more than data would be: others get theirs.
#[test]
fn a_flood_of_tickets_waits_its_turn() {
    const MOST_PER_TURN: Duration = Duration::from_millis(250);
    let mut driver = driver!();
    let (key, stream, mut forger) = connected(&mut driver, &rustls::version::TLS13);
    let (other, bystander) = driver.serve();
    let flood = std::thread::spawn(move || {
        for _ in 0..3000 {
            (&stream).write_all(&forger.ticket(200)).unwrap();
        }
        (&stream).write_all(&forger.seal(DATA, b"the end")).unwrap();
        stream
    });
    (&bystander).write_all(b"hello").unwrap();
    let (mut got, mut greeted, mut worst) = (Vec::new(), false, Duration::ZERO);
    let give_up = std::time::Instant::now() + PATIENCE;
    while got.is_empty() {
        assert!(std::time::Instant::now() < give_up);
        let before = thread_time();
        for event in driver.turn() {
            match event {
                Seen::Data(from, data, _) if from == key => got.extend(data),
                Seen::Data(from, ..) => greeted |= from == other,
                Seen::Closed(_, reason) => panic!("{reason:?}"),
                _ => {}
            }
        }
        worst = worst.max(thread_time() - before);
    }
    assert_eq!(got, b"the end");
    assert!(greeted, "nobody else was served");
    assert!(worst < MOST_PER_TURN, "{worst:?}");
    drop(flood.join().unwrap());
}
