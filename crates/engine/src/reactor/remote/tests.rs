//! What only a mistake in this program brings about, and so no test from outside.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::config::{Config, ReadSize};
use crate::error::Reason;
use crate::event::{Event, Level};
use crate::reactor::Reactor;
use crate::registry::Key;
use crate::socket::Name;

/// Runs turns until `found` makes something of an event.
fn until<T>(reactor: &mut Reactor, mut found: impl FnMut(Event<'_>) -> Option<T>) -> T {
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
    let mut reactor = Reactor::new();
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

    let answer = reactor.ask_remote(key, |_, _| -> i32 { panic!("on purpose") });
    assert_eq!(answer, None);
    // Nobody is there any more to answer, or to throw the question away.
    assert_eq!(
        reactor.ask_remote(key, |reactor, key| reactor.fd(key)),
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
        Event::Closed { key: over, reason } => {
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
            .ask_remote(next, |reactor, key| reactor.fd(key))
            .is_some()
    );
}
