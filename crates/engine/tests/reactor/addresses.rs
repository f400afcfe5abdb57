//! Limits by address, with the addresses of the loopback network as strangers.

use std::os::unix::net::{UnixListener, UnixStream};

use trochee::{Level, Networks, ProxyProtocol, Stats};

use super::*;

/// Runs turns until so many were accepted and refused since `before`; gives who was accepted, and what the log was told.
#[track_caller]
fn settled(
    driver: &mut Driver,
    before: Stats,
    accepted: usize,
    refused: u64,
) -> (Vec<Key>, Vec<(Level, String)>) {
    let (mut keys, mut notices) = (Vec::new(), Vec::new());
    let give_up = Instant::now() + PATIENCE;
    loop {
        driver.drive_for(SILENCE, |_, event| match event {
            Seen::Accepted { key, .. } => keys.push(key),
            Seen::Notice(level, text) => notices.push((level, text)),
            other => panic!("unexpected: {other:?}"),
        });
        let refusals = |stats: Stats| stats.refused_by_rate + stats.refused_by_count;
        let found = refusals(driver.reactor.stats()) - refusals(before);
        if keys.len() == accepted && found == refused {
            return (keys, notices);
        }
        assert!(
            Instant::now() < give_up && keys.len() <= accepted && found <= refused,
            "{} accepted, {found} refused",
            keys.len()
        );
    }
}

/// How many of these peers were refused: that their end is a reset may have been told when they connected.
fn reset(peers: &[TcpStream]) -> usize {
    // Another thread may accept while they connect.
    let was_told = io_threads() > 0;
    let is_reset = |mut peer: &TcpStream| {
        peer.set_nonblocking(true).unwrap();
        match peer.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
            Err(error) => was_told && error.kind() != io::ErrorKind::WouldBlock,
            Ok(count) => was_told && count == 0,
        }
    };
    peers.iter().filter(|peer| is_reset(peer)).count()
}

#[test]
fn one_address_has_its_share_and_others_have_theirs() {
    let mut driver = driver!(
        exempt_addresses: Networks::default(),
        max_connections_per_address: 3,
        all_listeners_multiple: 2,
    );
    let (_, address) = driver.listen(ReadSize::All);
    let before = driver.reactor.stats();
    let mut peers: Vec<_> = (0..8).map(|_| peer_from("127.0.0.2", address)).collect();
    let (keys, notices) = settled(&mut driver, before, 3, 5);
    assert_eq!(driver.reactor.stats().refused_by_count, 5);
    assert_eq!(driver.reactor.stats().accepted, 3);
    assert_eq!(reset(&peers), 5);
    let why = "more than 3 connections at a time (max_connections_per_address)";
    assert_eq!(
        notices,
        [
            (
                Level::Warn,
                format!("refusing connections, the first of them from 127.0.0.2: {why}")
            ),
            (Level::Info, format!("Stranger 127.0.0.2 refused: {why}")),
        ]
    );
    // Nobody else is concerned.
    let before = driver.reactor.stats();
    let _others = [
        peer_from("127.0.0.3", address),
        peer_from("127.0.0.4", address),
    ];
    settled(&mut driver, before, 2, 0);
    // On all listeners together it has twice as much.
    let (_, second) = driver.listen(ReadSize::All);
    let (_, third) = driver.listen(ReadSize::All);
    let before = driver.reactor.stats();
    let _seconds: Vec<_> = (0..2).map(|_| peer_from("127.0.0.2", second)).collect();
    settled(&mut driver, before, 2, 0);
    let before = driver.reactor.stats();
    let _thirds: Vec<_> = (0..3).map(|_| peer_from("127.0.0.2", third)).collect();
    settled(&mut driver, before, 1, 2);
    // Whoever leaves makes room.
    let first = peers
        .iter()
        .position(|peer| reset(std::slice::from_ref(peer)) == 0);
    drop(peers.remove(first.unwrap()));
    let mut over = None;
    driver.drive("the end of one", |_, event| {
        over = over.or(matches!(event, Seen::Closed(..))
            .then(|| event.key())
            .flatten());
        over.is_some()
    });
    assert!(keys.contains(&over.unwrap()));
    let before = driver.reactor.stats();
    let _again: Vec<_> = (0..2).map(|_| peer_from("127.0.0.2", address)).collect();
    settled(&mut driver, before, 1, 1);
}

#[test]
fn connections_of_one_address_come_at_the_rate_once_the_burst_is_used_up() {
    let mut driver = driver!(
        exempt_addresses: Networks::default(),
        connection_rate_per_address: 1,
        connection_burst_per_address: 4,
        all_listeners_multiple: 1000,
    );
    let (_, address) = driver.listen(ReadSize::All);
    let began = Instant::now();
    let mut accepted = 0;
    let peers: Vec<_> = (0..30).map(|_| peer_from("127.0.0.2", address)).collect();
    let give_up = began + PATIENCE;
    let mut notices = Vec::new();
    loop {
        driver.drive_for(SILENCE, |_, event| match event {
            Seen::Accepted { .. } => accepted += 1,
            Seen::Notice(_, text) => notices.push(text),
            other => panic!("unexpected: {other:?}"),
        });
        if accepted + driver.reactor.stats().refused_by_rate == 30 {
            break;
        }
        assert!(Instant::now() < give_up, "{accepted} accepted");
    }
    // However long that took.
    let seconds = began.elapsed().as_secs() + 1;
    assert!((4..=4 + seconds).contains(&accepted), "{accepted}");
    assert_eq!(reset(&peers) as u64, 30 - accepted);
    assert!(
        notices[0].contains("connection_rate_per_address"),
        "{notices:?}"
    );
    let before = driver.reactor.stats();
    let _other = peer_from("127.0.0.3", address);
    settled(&mut driver, before, 1, 0);
}

#[test]
fn loopback_is_exempt_unless_told_otherwise_and_unix_sockets_always() {
    let mut driver = driver!(
        max_connections_per_address: 1,
        connection_burst_per_address: 1,
        connection_rate_per_address: 1,
    );
    let (_, address) = driver.listen(ReadSize::All);
    let before = driver.reactor.stats();
    let _peers: Vec<_> = (0..5).map(|_| peer_from("127.0.0.2", address)).collect();
    settled(&mut driver, before, 5, 0);

    let mut config = driver.reactor.config().clone();
    config.exempt_addresses = Networks::default();
    driver.reactor.configure(config);
    let path = std::env::temp_dir().join(format!(
        "trochee-addresses-{}-{}",
        std::process::id(),
        module_path!().replace("::", "-")
    ));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    driver
        .reactor
        .listen_on(listener.into(), ReadSize::All)
        .unwrap();
    let before = driver.reactor.stats();
    let _local: Vec<_> = (0..3)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    std::fs::remove_file(&path).unwrap();
    settled(&mut driver, before, 3, 0);
    // Those that were not counted do not count now.
    let before = driver.reactor.stats();
    let _peers: Vec<_> = (0..3).map(|_| peer_from("127.0.0.2", address)).collect();
    settled(&mut driver, before, 1, 2);
}

#[test]
fn a_network_of_ipv6_is_one_address() {
    let mut driver = driver!(
        exempt_addresses: Networks::default(),
        max_connections_per_address: 2,
    );
    if let Err(error) = TcpListener::bind("[::1]:0") {
        eprintln!("skipped: no IPv6 here: {error}");
        return;
    }
    let key = driver.reactor.listen("::1", 0, ReadSize::All).unwrap();
    let Some(Name::Inet(address)) = driver.reactor.local_name(key) else {
        panic!("a listener without a name")
    };
    let before = driver.reactor.stats();
    let _peers: Vec<_> = (0..4).map(|_| TcpStream::connect(address)).collect();
    settled(&mut driver, before, 2, 2);
}

/// A flood is told at once, and then once in ten seconds with the number and the address that did most.
#[test]
fn a_flood_is_summed_up() {
    // Ten seconds are long: one poller does.
    if poller_name() != "epoll" {
        return;
    }
    let mut driver = driver!(
        exempt_addresses: Networks::default(),
        max_connections_per_address: 1,
    );
    let (_, address) = driver.listen(ReadSize::All);
    let before = driver.reactor.stats();
    let _peers: Vec<_> = (0..21).map(|_| peer_from("127.0.0.2", address)).collect();
    let _others: Vec<_> = (0..4).map(|_| peer_from("127.0.0.3", address)).collect();
    let (_, notices) = settled(&mut driver, before, 2, 23);
    assert_eq!(notices.len(), 3, "{notices:?}");
    let mut summary = None;
    driver.drive("the sum", |_, event| {
        if let Seen::Notice(level, text) = event {
            summary = Some((level, text));
        }
        summary.is_some()
    });
    let (level, text) = summary.unwrap();
    assert_eq!(level, Level::Warn);
    assert!(
        text.starts_with("23 connections were refused in the last 1"),
        "{text}"
    );
    assert!(
        text.contains("20 of them from 127.0.0.2: more than 1 connections"),
        "{text}"
    );
}

/// A proxy has as many connections as it likes, and each counts for the client that its header names.
#[test]
fn clients_of_a_proxy_are_counted_by_their_own_address() {
    let trusted = Networks::named(["127.0.0.9"]).unwrap();
    let mut driver = driver!(
        exempt_addresses: Networks::default(),
        max_connections_per_address: 2,
        proxy_protocol: with!(ProxyProtocol::default(), trusted: trusted),
    );
    let (_, address) = driver.listen(ReadSize::All);
    let client = |of: &str| {
        let mut peer = peer_from("127.0.0.9", address);
        let header = format!("PROXY TCP4 {of} 192.0.2.99 1000 5222\r\n");
        peer.write_all(header.as_bytes()).unwrap();
        peer
    };
    let before = driver.reactor.stats();
    let peers: Vec<_> = (0..5).map(|_| client("192.0.2.1")).collect();
    let (_, notices) = settled(&mut driver, before, 2, 3);
    assert_eq!(reset(&peers), 3);
    let named = notices
        .iter()
        .any(|(_, text)| text.starts_with("Stranger 192.0.2.1 refused"));
    assert!(named, "{notices:?}");
    let before = driver.reactor.stats();
    let _others = [client("192.0.2.2"), client("192.0.2.3")];
    settled(&mut driver, before, 2, 0);
    // Whoever connects directly is counted, too.
    let before = driver.reactor.stats();
    let _direct: Vec<_> = (0..3).map(|_| peer_from("127.0.0.2", address)).collect();
    settled(&mut driver, before, 2, 1);
}
