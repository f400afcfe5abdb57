//! A key that names nothing any more reaches nobody, whoever has its place now.

use std::collections::HashSet;

use trochee::{Command, SocketOption};

use super::*;

#[test]
fn every_command_on_a_stale_key_is_harmless() {
    one_thread!();
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let stream = peer(address);
    let stale = driver.accepted();
    assert!(driver.reactor.destroy(stale));
    drop(stream);
    // Takes over the slot.
    let mut stream = peer(address);
    let key = driver.accepted();
    assert_ne!(stale, key);
    assert_eq!(
        slot(stale),
        slot(key),
        "the slot should have been used again"
    );

    let reactor = &mut driver.reactor;
    let timeout = Some(Duration::ZERO);
    assert!(matches!(reactor.write(stale, b"x"), Err(Error::Closed)));
    assert_eq!(reactor.close(stale), Close::Gone);
    assert!(!reactor.destroy(stale));
    assert!(!reactor.pause(stale));
    assert!(!reactor.resume(stale));
    assert!(!reactor.pause_writes(stale));
    assert!(!reactor.resume_writes(stale));
    assert!(!reactor.set_rate_limit(stale, 1.0));
    assert!(!reactor.set_read_size(stale, ReadSize::UpTo(1)));
    assert!(!reactor.set_read_timeout(stale, timeout));
    assert!(!reactor.set_write_timeout(stale, timeout));
    let option = reactor.set_option(stale, SocketOption::NoDelay(false));
    assert!(matches!(option, Err(Error::Closed)));
    let watch = reactor.set_watch(stale, Interest::BOTH);
    assert!(matches!(watch, Err(Error::Closed)));
    reactor.notify_flush(stale, true);
    assert_eq!(reactor.pending(stale), 0);
    assert_eq!(reactor.fd(stale), None);
    assert_eq!(reactor.peer_name(stale), None);
    assert_eq!(reactor.local_name(stale), None);

    stream.write_all(b"unharmed").unwrap();
    driver.reactor.write(key, b"either").unwrap();
    let data = Seen::Data(key, b"unharmed".to_vec(), Chunk::Short);
    assert_eq!(driver.turn(), [data]);
    assert_eq!(unread(&stream), 6);
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let mut driver = driver!();
    let (listener, _) = driver.listen(ReadSize::All);
    let (reader, _writer) = io::pipe().unwrap();
    let watch = driver.watch(&reader, Interest::READ).unwrap();
    for key in [listener, watch] {
        let error = driver.reactor.write(key, b"x").unwrap_err();
        assert!(matches!(error, Error::Unsupported), "{error:?}");
        assert!(!driver.reactor.pause_writes(key));
        assert!(!driver.reactor.set_read_timeout(key, None));
    }
    assert!(!driver.reactor.pause(watch));
    let error = driver.reactor.set_watch(listener, Interest::NONE);
    assert!(matches!(error, Err(Error::Unsupported)));
}

/// The methods make commands; who has one already applies it.
#[test]
fn a_command_is_data() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    let reactor = &mut driver.reactor;
    reactor.apply(key, Command::Pause(true)).unwrap();
    assert!(matches!(
        reactor.apply(key, Command::RefuseTls),
        Err(Error::Unsupported)
    ));
    stream.write_all(b"later").unwrap();
    driver.expect_silence();
    let resume = Command::Pause(false);
    driver.reactor.apply(key, resume.clone()).unwrap();
    driver.expect_data(key, b"later");
    driver.reactor.apply(key, Command::Close).unwrap();
    driver.turn();
    assert_eq!(read_to_end(&stream), b"");
    let stale = driver.reactor.apply(key, resume);
    assert!(matches!(stale, Err(Error::Closed)));
}

/// More than there are slots in use: each is used again only when nobody speaks of the last owner any more.
#[test]
fn slots_are_used_again_and_no_two_connections_are_mixed_up() {
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let mut keys = HashSet::new();
    for round in 0..200u8 {
        let mut stream = peer(address);
        let key = driver.accepted();
        assert!(keys.insert(key), "a key that was used before");
        stream.write_all(&[round]).unwrap();
        driver.expect_data(key, &[round]);
        if round % 2 == 0 {
            drop(stream);
            driver.expect_closed(key);
        } else {
            driver.reactor.destroy(key);
        }
    }
    let slots: HashSet<u64> = keys.iter().copied().map(slot).collect();
    assert!(slots.len() <= 8, "{} slots for one at a time", slots.len());
}

/// The end of one connection and the beginning of the next in its place, in one turn.
#[test]
fn what_was_ready_for_the_old_owner_is_not_for_the_new() {
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let pairs: Vec<_> = (0..3)
        .map(|_| {
            let stream = peer(address);
            (driver.accepted(), stream)
        })
        .collect();
    for (_, stream) in &pairs {
        (&mut &*stream).write_all(b"old").unwrap();
    }
    // The consumer of the first replaces all others by connections of its own.
    let mut new = Vec::new();
    driver.drive("data", |reactor, event| {
        for (key, _) in &pairs {
            if event.key() != Some(*key) {
                assert!(reactor.destroy(*key));
            }
        }
        for _ in 1..pairs.len() {
            let key = reactor
                .connect(address, SocketKind::Stream, ReadSize::All)
                .unwrap();
            assert!(pairs.iter().all(|(old, _)| *old != key));
            new.push(key);
        }
        true
    });
    let mut connected = 0;
    driver.drive("the new connections", |_, event| {
        assert!(!matches!(event, Seen::Data(..) | Seen::Closed(..)));
        connected += usize::from(matches!(event, Seen::Connected(_)));
        connected == new.len()
    });
}

/// Whose slot a key names, on which thread; above it is how often the slot has been used.
fn slot(key: Key) -> u64 {
    key.to_bits() & ((1 << 31) - 1)
}
