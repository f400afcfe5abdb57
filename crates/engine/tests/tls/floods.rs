//! Peers that send without end what costs them little: each ends its own connection, or waits its turn.

use std::io::Write as _;
use std::net::TcpStream;

use trochee::{Level, Networks};

use super::bounds::at_most;
use super::forger::*;
use super::*;

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

/// Nothing that comes after the handshake is as long as a chain of certificates.
#[test]
fn a_message_longer_than_a_record_ends_the_connection() {
    const TICKET: u8 = 4;
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let join = move || (Forger::join(&stream, &rustls::version::TLS13), stream);
    let (mut forger, mut stream) = driver.drive_peer(join, |_, _| {});
    let mut message = vec![0; 24_000];
    message[..4].copy_from_slice(&[TICKET, 0, 0xff, 0xff]);
    for part in message.chunks(12_000) {
        stream.write_all(&forger.seal(HANDSHAKE, part)).unwrap();
    }
    let (reason, _) = driver.expect_closed(key);
    assert_eq!(reason, failed("excessive message size"));
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

/// However many addresses strangers come from, the log has a bound.
#[test]
fn the_log_names_so_many_strangers_and_no_more() {
    const INTERVAL: Duration = Duration::from_secs(10);
    let most = at_most("Log", "fails, from ever new addresses");
    let mut driver = driver!(exempt_addresses: Networks::default());
    let server = server();
    let (_, address) = driver.listen(ReadSize::All);
    let begun = std::time::Instant::now();
    let mut named_in_log = 0;
    for number in 0..most as u32 + 100 {
        let from = std::net::Ipv4Addr::from_bits(0x7f01_0001 + number);
        let mut stream = peer_from(&from.to_string(), address);
        stream.write_all(b"no TLS at all\n").unwrap();
        driver.drive("the end of it", |reactor, event| match event {
            Seen::Accepted { key, .. } => {
                reactor.start_tls(key, named(server.clone())).unwrap();
                false
            }
            Seen::Notice(Level::Info, text) if text.starts_with("Stranger ") => {
                named_in_log += 1;
                false
            }
            Seen::Closed(..) => true,
            _ => false,
        });
    }
    let intervals = 1 + begun.elapsed().div_duration_f64(INTERVAL) as usize;
    assert!(named_in_log >= most, "{named_in_log}");
    assert!(named_in_log <= intervals * most, "{named_in_log}");
}
