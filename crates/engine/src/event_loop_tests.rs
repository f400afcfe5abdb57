//! What no test can see from outside: where a connection lives, and what only a mistake in this program brings about.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::EventLoop;
use crate::config::{Config, ReadSize, SocketKind};
use crate::error::Reason;
use crate::event::{Event, Level};
use crate::name::Name;
use crate::registry::Key;

/// Runs turns until `found` makes something of an event.
fn until<T>(reactor: &mut EventLoop, mut found: impl FnMut(Event<'_>) -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(30);
    while Instant::now() < give_up {
        reactor.begin_turn(Some(Duration::from_secs(1)));
        while let Some(event) = reactor.next_event() {
            if let Some(value) = found(event) {
                return value;
            }
        }
    }
    panic!("waited in vain");
}

fn accepted(event: Event<'_>) -> Option<Key> {
    match event {
        Event::Accepted { key, .. } => Some(key),
        _ => None,
    }
}

#[test]
fn a_thread_that_fails_loses_its_connections_and_is_replaced() {
    let mut reactor = EventLoop::new();
    reactor.configure(Config {
        io_threads: 1,
        ..Config::default()
    });
    let listener = reactor.listen("127.0.0.1", 0, ReadSize::All).unwrap();
    let Some(Name::Inet(address)) = reactor.local_name(listener) else {
        panic!("a listener without a name");
    };
    let _lost = TcpStream::connect(address).unwrap();
    let key = until(&mut reactor, accepted);

    let answer = reactor
        .threads
        .ask(key, |_, _| -> i32 { panic!("on purpose") });
    assert_eq!(answer, None);
    // Nobody is there any more to answer, or to throw the question away.
    assert_eq!(
        reactor.threads.ask(key, |reactor, key| reactor.fd(key)),
        None
    );

    let mut reported = false;
    until(&mut reactor, |event| match event {
        Event::Notice {
            level: Level::Error,
            text,
        } => {
            reported |= text.contains("an I/O thread failed");
            None
        }
        Event::Closed {
            key: over, reason, ..
        } => {
            assert_eq!((over, reason), (key, Reason::Os(rustix::io::Errno::PIPE)));
            Some(())
        }
        other => panic!("unexpected: {other:?}"),
    });
    assert!(reported);
    let _served = TcpStream::connect(address).unwrap();
    let next = until(&mut reactor, accepted);
    assert!(
        reactor
            .threads
            .ask(next, |reactor, key| reactor.fd(key))
            .is_some()
    );
}

#[test]
fn what_is_begun_before_the_first_turn_and_what_is_adopted_goes_to_a_thread() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut reactor = EventLoop::new();
    reactor.configure(Config {
        io_threads: 1,
        ..Config::default()
    });
    let connect = |reactor: &mut EventLoop| {
        reactor
            .connect(address, SocketKind::Stream, ReadSize::All)
            .unwrap()
    };
    let adopt = |reactor: &mut EventLoop| {
        let socket = TcpStream::connect(address).unwrap();
        reactor.adopt(socket.into(), ReadSize::All).unwrap()
    };

    let gone = connect(&mut reactor);
    reactor.destroy(gone);
    let mut keys = vec![connect(&mut reactor), adopt(&mut reactor)];
    for turn in ["before the first", "later"] {
        if turn == "later" {
            keys = vec![connect(&mut reactor), adopt(&mut reactor)];
        }
        for &key in &keys {
            reactor.write(key, b"early").unwrap();
            assert_eq!(reactor.pending(key), 5, "{turn}");
            reactor.pause(key);
        }
        let mut connected = Vec::new();
        until(&mut reactor, |event| {
            match event {
                Event::Connected { key } => connected.push(key),
                Event::Drain { .. } | Event::Predrain { .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
            (connected.len() == 2).then_some(())
        });
        for &key in &keys {
            assert!(connected.contains(&key), "{turn}");
            assert!(reactor.threads.has(key), "{turn}");
            assert_eq!(reactor.peer_name(key), Some(Name::Inet(address)), "{turn}");
        }
        let mut peers = Vec::new();
        while peers.len() < 2 {
            let (mut peer, _) = listener.accept().unwrap();
            let mut got = [0; 5];
            // Nothing comes from the one that was destroyed.
            if peer.read_exact(&mut got).is_ok() {
                assert_eq!(&got, b"early", "{turn}");
                peer.write_all(b"late").unwrap();
                peers.push(peer);
            }
        }
        for &key in &keys {
            reactor.resume(key);
        }
        let mut answered = 0;
        until(&mut reactor, |event| {
            if let Event::Data { data, .. } = event {
                assert_eq!(data, b"late", "{turn}");
                answered += 1;
            }
            (answered == 2).then_some(())
        });
        for &key in &keys {
            assert_eq!(reactor.pending(key), 0, "{turn}");
            reactor.destroy(key);
        }
    }
}
