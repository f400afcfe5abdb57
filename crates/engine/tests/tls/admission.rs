//! ClientHellos wait for their answer, and not too many of them.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use trochee::{Authentication, Level};

use super::*;

/// The ClientHello of a client that holds a ticket of the server.
pub fn resuming_hello(driver: &mut Driver, server: &Context, client: &Context) -> Vec<u8> {
    let ends = driver.pair(server.clone(), client.clone());
    driver.reactor.write(ends.server, b"greeting").unwrap();
    driver.expect_data(ends.client, b"greeting");
    driver.reactor.close(ends.client);
    driver.expect_closed(ends.server);
    driver.client_hello(client.clone())
}

/// What became of peers that sent these ClientHellos, in this order and all before the server looked: why the server
/// ended them, or `None` where it answered.
fn fates(driver: &mut Driver, server: &Context, hellos: &[&[u8]]) -> Vec<Option<Reason>> {
    let from_one: Vec<_> = hellos.iter().map(|hello| ("127.0.0.1", *hello)).collect();
    fates_of(driver, server, &from_one)
}

/// The same for peers with these addresses.
fn fates_of(
    driver: &mut Driver,
    server: &Context,
    hellos: &[(&str, &[u8])],
) -> Vec<Option<Reason>> {
    let (listener, address) = driver.listen(ReadSize::All);
    let peers: Vec<(Key, TcpStream)> = hellos
        .iter()
        .map(|(from, _)| serve_on(driver, from, address, server))
        .collect();
    for ((_, stream), (_, hello)) in peers.iter().zip(hellos) {
        let mut sink = stream;
        sink.write_all(hello).unwrap();
    }
    let (mut ended, mut told) = (Vec::new(), 0);
    let give_up = Instant::now() + PATIENCE;
    loop {
        driver.drive_for(SILENCE, |_, event| match event {
            Seen::Closed(key, reason) => ended.push((key, reason)),
            Seen::Notice(..) => told += 1,
            _ => {}
        });
        let undecided = peers.iter().filter(|(key, stream)| {
            unread(stream) == 0 && ended.iter().all(|(other, _)| other != key)
        });
        match undecided.count() {
            0 => break,
            left => assert!(Instant::now() < give_up, "{left} without an answer"),
        }
    }
    // The operator is told once of however many.
    assert_eq!(told, usize::from(!ended.is_empty()));
    driver.reactor.close(listener);
    peers
        .into_iter()
        .map(|(key, stream)| {
            let reason = ended.iter().find(|(other, _)| *other == key);
            if reason.is_none() {
                let mut kind = [0];
                (&stream).read_exact(&mut kind).unwrap();
                assert_eq!(kind, [22], "a record of the handshake");
            }
            driver.reactor.destroy(key);
            reason.map(|(_, reason)| reason.clone())
        })
        .collect()
}

#[test]
fn a_crowd_is_answered() {
    let mut driver = driver!();
    let server = server();
    let hello = driver.client_hello(client());
    let fates = fates(&mut driver, &server, &[&hello[..]; 40]);
    assert_eq!(fates, vec![None; 40]);
}

/// The bound holds, and who has been here before does not suffer from a crowd of strangers.
#[test]
fn when_too_many_wait_strangers_are_turned_away() {
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let mut driver = driver!(max_waiting_handshakes: 4);
        let server = server();
        let known = context(&with!(client_settings(), protocol: Some(protocol.into())));
        let stranger = driver.client_hello(client());
        let resuming = resuming_hello(&mut driver, &server, &known);
        let mut hellos = vec![&stranger[..]; 20];
        hellos.push(&resuming);
        let fates = fates(&mut driver, &server, &hellos);
        assert_eq!(fates[20], None, "{protocol}");
        let turned_away = fates.iter().flatten().count();
        // One may have had its answer before the last came.
        assert!((15..=17).contains(&turned_away), "{protocol}: {fates:?}");
        for reason in fates.into_iter().flatten() {
            assert_eq!(reason, failed("4 handshakes are waiting already"));
        }
    }
}

/// A ticket of somebody else, or none at all: it has to be one that this context would take.
#[test]
fn a_foreign_ticket_makes_nobody_known() {
    let mut driver = driver!(max_waiting_handshakes: 4);
    let (here, elsewhere) = (server(), server());
    let stranger = driver.client_hello(client());
    let foreign = resuming_hello(&mut driver, &elsewhere, &client());
    let mut hellos = vec![&stranger[..]; 20];
    hellos.push(&foreign);
    let fates = fates(&mut driver, &here, &hellos);
    assert_eq!(fates[20], Some(failed("4 handshakes are waiting already")));
}

/// Whoever sends many refuses nobody else: it gives up its own.
#[test]
fn a_flood_from_one_address_turns_nobody_else_away() {
    let mut driver = driver!(max_waiting_handshakes: 8);
    let server = server();
    let hello = driver.client_hello(client());
    let mut hellos = vec![("127.0.0.2", &hello[..]); 60];
    for last in 3..8 {
        hellos.push((["127.0.0.3", "127.0.0.4", "127.0.0.5"][last % 3], &hello));
    }
    let fates = fates_of(&mut driver, &server, &hellos);
    assert_eq!(fates[60..], vec![None; 5]);
    let turned_away = fates.iter().flatten().count();
    assert!(turned_away > 40, "{turned_away}");
}

/// Nor does anybody else wait for its answers.
#[test]
fn a_flood_from_one_address_delays_nobody_else() {
    const FLOOD: usize = 400;
    let mut driver = driver!();
    let server = server();
    let hello = driver.client_hello(client());
    let (_, address) = driver.listen(ReadSize::All);
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| serve_on(&mut driver, "127.0.0.2", address, &server).1)
        .collect();
    let newcomer = serve_on(&mut driver, "127.0.0.3", address, &server).1;
    for mut stream in flood.iter().chain([&newcomer]) {
        stream.write_all(&hello).unwrap();
    }
    let give_up = Instant::now() + PATIENCE;
    while unread(&newcomer) == 0 {
        assert!(Instant::now() < give_up);
        driver.turn();
    }
    let answered = flood.iter().filter(|stream| unread(stream) > 0).count();
    assert!(answered < FLOOD - 50, "{answered} were answered before");
}

/// Who fails, and why, is told with the address: loudly once for a stranger, and quietly for one that is exempt.
#[test]
fn a_handshake_that_fails_is_told_with_the_address() {
    let mut driver = driver!(exempt_addresses: trochee::Networks::named(["127.0.0.9"]).unwrap());
    let server = server();
    let (_, address) = driver.listen(ReadSize::All);
    let mut told = Vec::new();
    for from in ["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.9"] {
        let (key, mut stream) = serve_on(&mut driver, from, address, &server);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let (_, before) = driver.expect_closed(key);
        for event in before {
            if let Seen::Notice(level, text) = event {
                told.push((level, text));
            }
        }
    }
    let why = "TLS handshake: http request";
    assert_eq!(
        told,
        [
            (Level::Info, format!("Stranger 127.0.0.2 failed: {why}")),
            (
                Level::Debug,
                format!("Connection from 127.0.0.2 failed: {why}")
            ),
            (Level::Info, format!("Stranger 127.0.0.3 failed: {why}")),
            (
                Level::Debug,
                "TLS handshake with 127.0.0.9 failed: http request".into()
            ),
        ]
    );
}

/// Who holds a place that others wait for, and does not go on with the handshake, loses it.
#[test]
fn in_a_crowd_a_handshake_has_to_go_on() {
    let mut driver = driver!(max_newcomers: 2);
    let (listener, address) = driver.listen(ReadSize::All);
    assert!(
        driver
            .reactor
            .set_authentication(listener, Authentication::Awaited)
    );
    let hello = driver.client_hello(client());
    let mut silent = Vec::new();
    for part in [0, hello.len() / 2] {
        let mut stream = peer(address);
        let key = driver.accepted();
        driver.reactor.start_tls(key, named(server())).unwrap();
        stream.write_all(&hello[..part]).unwrap();
        silent.push((key, stream));
    }
    let _honest = peer(address);
    let mut ended = Vec::new();
    driver.drive("a place", |_, event| match event {
        Seen::Closed(key, reason) => {
            assert_eq!(reason, Reason::NewcomerSilent);
            ended.push(key);
            false
        }
        Seen::Accepted { .. } => true,
        Seen::Notice(..) => false,
        other => panic!("unexpected: {other:?}"),
    });
    assert!(silent.iter().any(|(key, _)| ended.contains(key)));
}
