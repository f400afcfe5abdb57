//! What the peer sends arrives whole and in order, in pieces of the size that was asked for, and only while wanted.

use rustix::io::Errno;

use super::*;

#[test]
fn no_piece_is_larger_than_the_read_size() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(10));
    stream.write_all(&pattern(25)).unwrap();
    let mut pieces = Vec::new();
    driver.drive("25 bytes", |_, event| {
        let Seen::Data(from, data, end) = event else {
            panic!("unexpected: {event:?}")
        };
        assert_eq!(from, key);
        pieces.push((data, end));
        pieces.len() == 3
    });
    let all = pattern(25);
    let expected = [
        (all[..10].to_vec(), Chunk::Full),
        (all[10..20].to_vec(), Chunk::Full),
        (all[20..].to_vec(), Chunk::Short),
    ];
    assert_eq!(pieces, expected);

    // From now on it counts, for what is waiting already as well.
    stream.write_all(&pattern(7)).unwrap();
    assert!(driver.reactor.set_read_size(key, ReadSize::UpTo(4)));
    let lengths = lengths(&mut driver, 7);
    assert_eq!(lengths, [4, 3]);
}

#[test]
fn all_means_what_is_there() {
    one_thread!();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::All);
    stream.write_all(&pattern(20_000)).unwrap();
    let piece = driver.turn();
    assert_eq!(piece, [Seen::Data(key, pattern(20_000), Chunk::Short)]);
}

#[test]
fn max_receive_buffer_size_bounds_every_read() {
    let mut driver = driver!(max_receive_buffer_size: 100);
    let (_, mut stream) = driver.serve_with(ReadSize::All);
    stream.write_all(&pattern(250)).unwrap();
    assert_eq!(lengths(&mut driver, 250), [100, 100, 50]);
}

#[test]
fn a_long_stream_in_order() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(5000));
    let all = pattern(20_000_000);
    let sender = std::thread::spawn(move || stream.write_all(&pattern(20_000_000)));
    driver.expect_data(key, &all);
    sender.join().unwrap().unwrap();
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
}

#[test]
fn data_before_a_fin_all_arrives() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(1000));
    stream.write_all(&pattern(100_000)).unwrap();
    drop(stream);
    let (reason, before) = driver.expect_closed(key);
    assert_eq!(reason, Reason::PeerClosed);
    let pieces: Vec<_> = before
        .iter()
        .map(|event| match event {
            Seen::Data(_, data, end) => (&data[..], *end),
            other => panic!("unexpected: {other:?}"),
        })
        .collect();
    let bytes: Vec<u8> = pieces.iter().flat_map(|(data, _)| data.to_vec()).collect();
    assert!(bytes == pattern(100_000));
    // Whoever claims to have seen the end has seen it.
    let claims = pieces[..pieces.len() - 1]
        .iter()
        .filter(|(_, end)| *end == Chunk::Last);
    assert_eq!(claims.count(), 0);
}

#[test]
fn pausing_in_the_middle_holds_the_rest_and_loses_nothing() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(1000));
    stream.write_all(&pattern(50_000)).unwrap();
    let mut got = Vec::new();
    driver.drive("the first piece", |reactor, event| match event {
        Seen::Data(_, data, _) => {
            got.extend(data);
            reactor.pause(key)
        }
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(got.len(), 1000);
    driver.expect_silence();
    assert!(driver.reactor.resume(key));
    driver.expect_data(key, &pattern(50_000)[1000..]);
}

/// One pause and one resume for each piece, by a consumer that always wants a break.
#[test]
fn pausing_after_every_piece() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(1000));
    let all = pattern(200_000);
    let sender = std::thread::spawn(move || stream.write_all(&pattern(200_000)));
    let (mut got, mut paused) = (Vec::new(), false);
    let (reason, _) = {
        let mut end = None;
        driver.drive("the end", |reactor, event| {
            match event {
                Seen::Data(_, data, _) => {
                    assert!(!paused, "data while paused");
                    got.extend(data);
                    paused = reactor.pause(key);
                    reactor.set_timer(Duration::from_micros(100));
                }
                Seen::Timer(_) => {
                    paused = false;
                    reactor.resume(key);
                }
                Seen::Closed(_, reason) => end = Some(reason),
                other => panic!("unexpected: {other:?}"),
            }
            end.is_some()
        });
        (end.unwrap(), ())
    };
    sender.join().unwrap().unwrap();
    assert_eq!(reason, Reason::PeerClosed);
    assert!(got == all);
}

#[test]
fn resuming_delivers_in_the_very_next_turn() {
    one_thread!();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.pause(key);
    driver.turn();
    stream.write_all(b"waiting").unwrap();
    driver.expect_silence();
    driver.reactor.resume(key);
    let data = Seen::Data(key, b"waiting".to_vec(), Chunk::Short);
    assert_eq!(driver.turn(), [data]);
}

#[test]
fn a_pause_taken_back_in_the_same_turn_changes_nothing() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(1));
    stream.write_all(b"abc").unwrap();
    let mut got = Vec::new();
    driver.drive("three pieces", |reactor, event| match event {
        Seen::Data(_, data, _) => {
            got.extend(data);
            assert!(reactor.pause(key) && reactor.pause(key) && reactor.resume(key));
            got.len() == 3
        }
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(got, b"abc");
}

#[test]
fn one_connection_may_pause_another() {
    let mut driver = driver!();
    let (one, mut one_stream) = driver.serve();
    let (two, mut two_stream) = driver.serve();
    one_stream.write_all(b"x").unwrap();
    two_stream.write_all(b"x").unwrap();
    let mut first = None;
    driver.drive("either", |reactor, event| match event {
        Seen::Data(key, ..) => {
            first = Some(key);
            reactor.pause(if key == one { two } else { one })
        }
        other => panic!("unexpected: {other:?}"),
    });
    let other = if first == Some(one) { two } else { one };
    driver.expect_silence();
    driver.reactor.resume(other);
    driver.expect_data(other, b"x");
}

#[test]
fn paused_while_the_peer_sends_and_leaves() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(1000));
    driver.reactor.pause(key);
    driver.turn();
    stream.write_all(&pattern(10_000)).unwrap();
    drop(stream);
    expect_idle(&mut driver);
    driver.reactor.resume(key);
    driver.expect_data(key, &pattern(10_000));
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
    driver.expect_silence();
}

/// The same, paused in the middle of what the peer left behind.
#[test]
fn paused_after_the_peer_has_left() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(1000));
    stream.write_all(&pattern(10_000)).unwrap();
    drop(stream);
    let mut got = Vec::new();
    driver.drive("two pieces", |reactor, event| {
        if let Seen::Data(_, data, _) = event {
            got.extend(data);
        }
        got.len() == 2000 && reactor.pause(key)
    });
    expect_idle(&mut driver);
    driver.reactor.resume(key);
    driver.expect_data(key, &pattern(10_000)[2000..]);
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
}

/// What arrived before the reset is still there for whoever resumes; then comes the bad news, once.
#[test]
fn paused_while_the_peer_sends_and_resets() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::UpTo(1000));
    driver.reactor.pause(key);
    driver.turn();
    stream.write_all(&pattern(10_000)).unwrap();
    reset(stream);
    expect_idle(&mut driver);
    driver.reactor.resume(key);
    driver.expect_data(key, &pattern(10_000));
    assert_eq!(driver.expect_closed(key).0, os(Errno::CONNRESET));
    driver.expect_silence();
}

/// With nothing to read a poller may tell at once or when asked again.
#[test]
fn paused_while_the_peer_resets() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.pause(key);
    driver.turn();
    reset(stream);
    let mut ends = Vec::new();
    driver.drive_for(SILENCE, |_, event| ends.push(event));
    if driver.reactor.resume(key) {
        driver.drive("the end", |_, event| {
            ends.push(event);
            true
        });
    }
    assert_eq!(ends, [Seen::Closed(key, os(Errno::CONNRESET))]);
    driver.expect_silence();
}

/// Nothing happens, and that costs nothing: a peer that is gone while nobody reads must not be reported over and over.
#[track_caller]
fn expect_idle(driver: &mut Driver) {
    let before = thread_time();
    let start = Instant::now();
    for _ in 0..4 {
        driver.expect_silence();
    }
    let (used, passed) = (thread_time() - before, start.elapsed());
    assert!(used < passed / 4, "busy for {used:?} in {passed:?}");
}

/// The lengths of the pieces that the next `total` bytes come in.
#[track_caller]
fn lengths(driver: &mut Driver, total: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    driver.drive("data", |_, event| {
        if let Seen::Data(_, data, _) = event {
            lengths.push(data.len());
        }
        lengths.iter().sum::<usize>() >= total
    });
    lengths
}
