//! Connections that a proxy makes for clients: what it says first, and who is believed.

use trochee::{Networks, ProxyProtocol};

use super::*;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 5222\r\n";

/// LOCAL, with addresses that do not count.
const LOCAL: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\x01\x01\x01\x01\x02\x02\x02\x02\0\x01\0\x02";

/// 2001:db8::7 to 2001:db8::1, with a name, a protocol, a unique id and TLS facts.
fn v2() -> Vec<u8> {
    [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x53"[..],
        b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07",
        b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
        b"\xdc\x04\x14\x66",
        b"\x01\0\x0bxmpp-client\x02\0\x06a.test\x05\0\x03id1",
        b"\x20\0\x0f\x01\0\0\0\x01\x21\0\x07TLSv1.3",
    ]
    .concat()
}

fn from(networks: &[&str]) -> ProxyProtocol {
    with!(ProxyProtocol::default(),
        trusted: Networks::named(networks.iter().copied()).unwrap(),
    )
}

fn name(address: &str) -> Option<Name> {
    Some(Name::Inet(address.parse().unwrap()))
}

fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = peer(address);
    stream.write_all(bytes).unwrap();
    stream
}

#[test]
fn a_client_has_the_addresses_that_its_proxy_tells() {
    let mut driver = driver!(proxy_protocol: from(&["::1", "127.0.0.0/8"]));
    let (_, address) = driver.listen(ReadSize::All);
    let stream = sent(address, &[V1, b"hello"].concat());
    let key = driver.accepted();
    let reactor = &driver.reactor;
    assert_eq!(reactor.peer_name(key), name("192.0.2.7:56324"));
    assert_eq!(reactor.local_name(key), name("198.51.100.1:5222"));
    let proxied = reactor.proxied(key).unwrap();
    assert_eq!(proxied.proxy, Some(stream.local_addr().unwrap()));
    driver.expect_data(key, b"hello");

    let _stream = sent(address, &[&v2()[..], b"hello"].concat());
    let key = driver.accepted();
    let reactor = &driver.reactor;
    assert_eq!(reactor.peer_name(key), name("[2001:db8::7]:56324"));
    assert_eq!(reactor.local_name(key), name("[2001:db8::1]:5222"));
    let proxied = reactor.proxied(key).unwrap();
    let header = &proxied.header;
    assert_eq!(header.authority(), Some("a.test"));
    assert_eq!(header.alpn(), Some(&b"xmpp-client"[..]));
    assert_eq!(header.unique_id(), Some(&b"id1"[..]));
    assert_eq!(header.tls().unwrap().version, Some("TLSv1.3"));
    driver.expect_data(key, b"hello");
    assert_eq!(driver.reactor.stats().proxy_headers, 2);
}

/// Nobody hears of the connection meanwhile, and of what follows nothing is lost.
#[test]
fn a_header_may_come_in_pieces() {
    let mut driver = driver!(proxy_protocol: from(&["127.0.0.1"]));
    let (_, address) = driver.listen(ReadSize::UpTo(4));
    for header in [V1.to_vec(), v2()] {
        let (last, pieces) = header.split_last().unwrap();
        let mut stream = peer(address);
        for piece in pieces.chunks(9) {
            stream.write_all(piece).unwrap();
            driver.turn();
        }
        driver.expect_silence();
        stream
            .write_all(&[&[*last][..], V1, b"hello"].concat())
            .unwrap();
        let key = driver.accepted();
        // The client cannot claim to be somebody else: its own header is data.
        driver.expect_data(key, &[V1, b"hello"].concat());
        drop(stream);
        assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_is_served() {
    let mut driver = driver!(proxy_protocol: from(&["127.0.0.1"]));
    let (_, address) = driver.listen(ReadSize::All);
    let mut kept = Vec::new();
    for header in [LOCAL, b"PROXY UNKNOWN ::1 ::2 1 2\r\n"] {
        let stream = sent(address, &[header, b"check"].concat());
        let key = driver.accepted();
        let own = Some(Name::Inet(stream.local_addr().unwrap()));
        assert_eq!(driver.reactor.peer_name(key), own);
        assert_eq!(driver.reactor.local_name(key), Some(Name::Inet(address)));
        assert!(driver.reactor.proxied(key).unwrap().header.ends.is_none());
        driver.expect_data(key, b"check");
        kept.push(stream);
    }
}

#[test]
fn who_is_not_trusted_is_served_as_ever() {
    let mut driver = driver!(proxy_protocol: from(&["127.0.0.2", "192.0.2.0/24"]));
    let (_, address) = driver.listen(ReadSize::All);
    // Before it says anything.
    let mut stream = peer(address);
    let key = driver.accepted();
    let own = Some(Name::Inet(stream.local_addr().unwrap()));
    stream.write_all(V1).unwrap();
    driver.expect_data(key, V1);
    assert_eq!(driver.reactor.peer_name(key), own);
    assert!(driver.reactor.proxied(key).is_none());
}

/// The setting counts for whoever comes next.
#[test]
fn ports_are_chosen_and_a_change_counts_at_once() {
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let (_, other) = driver.listen(ReadSize::All);
    let config = driver.reactor.config().clone();
    driver.reactor.configure(with!(config.clone(),
        proxy_protocol: with!(from(&["127.0.0.1"]), ports: Some(vec![other.port()])),
    ));
    // Each thread has heard of it when it has answered.
    driver.reactor.stats();
    let _plain = peer(address);
    let key = driver.accepted();
    assert!(driver.reactor.proxied(key).is_none());
    let _proxied = sent(other, V1);
    let key = driver.accepted();
    assert!(driver.reactor.proxied(key).is_some());
    driver.reactor.configure(config);
    driver.reactor.stats();
    let _plain = peer(other);
    let key = driver.accepted();
    assert!(driver.reactor.proxied(key).is_none());
}

#[test]
fn what_is_no_header_is_cut_off_and_the_log_says_so() {
    let mut driver = driver!(max_connections: Some(2 * io_threads().max(1)), proxy_protocol: with!(from(&["127.0.0.1"]), timeout: Duration::from_millis(50)));
    let (_, address) = driver.listen(ReadSize::All);
    let oversized = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff";
    let endless = [b"PROXY ", &[b'x'; 200][..]].concat();
    let wrong: [&[u8]; 5] = [b"<stream:stream>", oversized, &endless, b"PROXY TCP4", b""];
    let mut notices = Vec::new();
    for bytes in wrong {
        let stream = sent(address, bytes);
        let end = driver.drive_peer(
            move || (&stream).read(&mut [0; 1]),
            |_, event| match event {
                Seen::Notice(_, text) => notices.push(text),
                other => panic!("unexpected: {other:?}"),
            },
        );
        // Nothing but the end, be it a reset.
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    assert_eq!(driver.reactor.stats().proxy_refused, 5);
    // Each thread tells of the first.
    assert!((1..=2).contains(&notices.len()), "{notices:?}");
    let told = &notices[0];
    assert!(
        told.contains("127.0.0.1:") && told.contains("proxy_protocol_trusted"),
        "{told}"
    );
    // A check that only connects is nothing to tell of.
    drop(peer(address));
    driver.expect_silence();
    // They have left no place taken.
    let _streams = [sent(address, V1), sent(address, V1)];
    driver.accepted();
    driver.accepted();
}

/// One that takes its time for the header has a place, and so has it when the listener is closed.
#[test]
fn a_listener_that_is_closed_meanwhile_gets_nobody() {
    let mut driver = driver!(proxy_protocol: from(&["127.0.0.1"]));
    let (listener, address) = driver.listen(ReadSize::All);
    let mut stream = sent(address, b"PROXY ");
    let before = driver.reactor.stats().accepted;
    let give_up = Instant::now() + PATIENCE;
    while driver.reactor.stats().accepted == before {
        assert!(Instant::now() < give_up, "it was not accepted");
        driver.turn();
    }
    driver.reactor.close(listener);
    driver.turn();
    stream.write_all(&V1[6..]).unwrap();
    let end = driver.drive_peer(
        move || stream.read(&mut [0; 1]),
        |_, event| panic!("unexpected: {event:?}"),
    );
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}
