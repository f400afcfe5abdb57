//! Ends: nothing that was written is lost, and the consumer is told exactly once.

use rustix::io::Errno;

use super::*;

#[test]
fn half_close_answers_are_sent() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    stream.write_all(b"question").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let reason = answer(&mut driver, key, b"question", b"answer");
    assert_eq!(reason, Reason::PeerClosed);
    assert_eq!(read_to_end(&stream), b"answer");
    driver.expect_silence();
}

#[test]
fn half_close_answers_are_sent_when_the_end_comes_later() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    stream.write_all(b"question").unwrap();
    driver.expect_data(key, b"question");
    driver.reactor.write(key, b"answer").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
    assert_eq!(read_to_end(&stream), b"answer");
}

/// Larger than what the system takes at once, and to a peer that reads when it likes.
#[test]
fn half_close_answers_are_sent_whole() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_narrow();
    stream.write_all(b"?").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let all = pattern(8 << 20);
    let mut ends = Vec::new();
    let got = driver.drive_peer(
        move || read_to_end(&stream),
        |reactor, event| match event {
            Seen::Data(..) => {
                reactor.write(key, &all).unwrap();
            }
            other => ends.push(other),
        },
    );
    assert!(got == all);
    if ends.is_empty() {
        ends.push(Seen::Closed(key, driver.expect_closed(key).0));
    }
    assert_eq!(ends, [Seen::Closed(key, Reason::PeerClosed)]);
}

/// Writes that are paused are no reason to keep an answer from a peer that waits for nothing else.
#[test]
fn half_close_sends_what_is_queued() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.pause_writes(key);
    driver.reactor.write(key, b"held").unwrap();
    driver.turn();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
    assert_eq!(read_to_end(&stream), b"held");
}

#[test]
fn half_open_the_peer_ends_first_and_is_written_to_until_we_end() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.set_half_open(key, true);
    stream.write_all(b"all of it").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    driver.expect_data(key, b"all of it");
    driver.drive("the end of the peer's side", |_, event| {
        event == Seen::Ended(key)
    });
    driver.expect_silence();
    driver.reactor.write(key, b"later").unwrap();
    driver.turn();
    driver.reactor.write(key, b", and the rest").unwrap();
    driver.reactor.finish(key);
    assert!(matches!(
        driver.reactor.write(key, b"!"),
        Err(Error::Closed)
    ));
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
    assert_eq!(read_to_end(&stream), b"later, and the rest");
}

#[test]
fn half_open_we_end_first_and_the_peer_is_heard_until_it_ends() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.set_half_open(key, true);
    let all = pattern(4 << 20);
    driver.reactor.write(key, &all).unwrap();
    driver.reactor.finish(key);
    let reading = stream.try_clone().unwrap();
    let got = driver.drive_peer(
        move || read_to_end(&reading),
        |_, event| panic!("{event:?}"),
    );
    assert!(got == all);
    stream.write_all(b"answer").unwrap();
    driver.expect_data(key, b"answer");
    drop(stream);
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
}

#[test]
fn half_open_a_reset_ends_both_sides() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.set_half_open(key, true);
    reset(stream);
    assert_eq!(driver.expect_closed(key).0, os(Errno::CONNRESET));
}

#[test]
fn close_sends_what_is_queued_and_then_the_end() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    let all = pattern(8 << 20);
    driver.reactor.write(key, &all).unwrap();
    assert_eq!(driver.reactor.close(key), Close::Flushing);
    let mut ends = Vec::new();
    let got = driver.drive_peer(move || read_to_end(&stream), |_, event| ends.push(event));
    assert!(got == all);
    if ends.is_empty() {
        ends.push(Seen::Closed(key, driver.expect_closed(key).0));
    }
    assert_eq!(ends, [Seen::Closed(key, Reason::Local)]);
    driver.expect_silence();
}

#[test]
fn close_with_nothing_queued_is_done_at_once() {
    one_thread!();
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    assert_eq!(driver.reactor.close(key), Close::Done);
    assert_eq!(read_to_end(&stream), b"");
    driver.expect_silence();
    assert!(driver.reactor.is_empty());
}

/// Closing a socket with something unread sends a reset, which would overtake what we wrote last.
#[test]
fn close_with_unread_data_does_not_destroy_our_last_bytes() {
    let mut driver = driver!();
    for len in [1, 20_000] {
        let (got, wanted) = close_with_unread(&mut driver, len, true);
        assert!(got == wanted, "{} of {} bytes", got.len(), wanted.len());
    }
}

/// The same for what arrives after the close.
#[test]
fn close_before_a_peer_has_sent_all_does_not_destroy_our_last_bytes() {
    let mut driver = driver!();
    let (got, wanted) = close_with_unread(&mut driver, 2 << 20, false);
    assert!(got == wanted, "{} of {} bytes", got.len(), wanted.len());
}

/// What a slow peer gets of a megabyte that was written before a close, when it has sent `len` bytes that were never
/// read; and the megabyte.
fn close_with_unread(driver: &mut Driver, len: usize, arrived: bool) -> (Vec<u8>, Vec<u8>) {
    let (key, stream) = driver.serve_narrow();
    driver.reactor.pause(key);
    driver.turn();
    let mut sending = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let _ = sending.write_all(&pattern(len));
    });
    let fd = driver.fd(key);
    let give_up = Instant::now() + PATIENCE;
    while unread(fd) < len.min(20_000) as u64 {
        assert!(Instant::now() < give_up, "nothing arrives");
        std::thread::yield_now();
    }
    if arrived {
        assert_eq!(unread(fd), len as u64);
    }
    let wanted = pattern(1 << 20);
    driver.reactor.write(key, &wanted).unwrap();
    // The system may have taken all of it already.
    assert_ne!(driver.reactor.close(key), Close::Gone);
    let got = driver.drive_peer(
        move || {
            // Time for a reset to do its worst.
            std::thread::sleep(SILENCE);
            let mut got = Vec::new();
            let _ = (&stream).read_to_end(&mut got);
            got
        },
        |_, _| {},
    );
    sender.join().unwrap();
    (got, wanted)
}

#[test]
fn after_close_nothing_is_read_or_written() {
    let mut driver = driver!();
    let (key, stream) = driver.serve_narrow();
    driver.reactor.write(key, &pattern(8 << 20)).unwrap();
    assert_eq!(driver.reactor.close(key), Close::Flushing);
    assert_eq!(driver.reactor.close(key), Close::Flushing);
    let error = driver.reactor.write(key, b"x").unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
    driver.turn();
    (&stream).write_all(b"too late").unwrap();
    driver.expect_silence();

    let mut ends = Vec::new();
    let got = driver.drive_peer(move || read_to_end(&stream), |_, event| ends.push(event));
    assert_eq!(got.len(), 8 << 20);
    if ends.is_empty() {
        driver.expect_closed(key);
    }
    assert_eq!(driver.reactor.close(key), Close::Gone);
}

#[test]
fn destroy_is_silent() {
    let mut driver = driver!();
    let (key, stream) = driver.serve_narrow();
    driver.reactor.write(key, &pattern(8 << 20)).unwrap();
    driver.reactor.notify_flush(key, true);
    assert!(driver.reactor.destroy(key));
    assert!(!driver.reactor.destroy(key));
    driver.expect_silence();
    assert!(driver.reactor.is_empty());
    // Not all of what was written is there, which must not look like an end.
    let got = read_until_reset(&stream);
    assert!(got.len() < 8 << 20, "{}", got.len());
    assert!(got == pattern(8 << 20)[..got.len()]);
}

#[test]
fn destroy_with_nothing_queued_is_an_end() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.write(key, b"all of it").unwrap();
    driver.turn();
    while driver.reactor.pending(key) > 0 {
        driver.turn();
    }
    assert!(driver.reactor.destroy(key));
    driver.turn();
    assert_eq!(read_to_end(&stream), b"all of it");
}

/// It was ready in the same turn as the one whose consumer destroyed it.
/// An end that is on its way is taken back as well.
#[test]
fn destroy_after_the_end_is_silent() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver
        .reactor
        .configure(with!(driver.reactor.config().clone(), max_send_buffer_size: 1000));
    driver.reactor.write(key, &[0; 1 << 24]).unwrap();
    assert!(driver.reactor.write(key, b"too much").is_err());
    assert!(driver.reactor.destroy(key));
    assert!(!driver.reactor.destroy(key));
    drop(stream);
    driver.expect_silence();
}

#[test]
fn destroying_another_in_the_same_turn() {
    let mut driver = driver!();
    let pairs = [driver.serve(), driver.serve(), driver.serve()];
    for (_, stream) in &pairs {
        (&mut &*stream).write_all(b"x").unwrap();
    }
    let mut first = None;
    driver.drive("any", |reactor, event| {
        first = event.key();
        for (key, _) in &pairs {
            if Some(*key) != first {
                assert!(reactor.destroy(*key));
            }
        }
        true
    });
    driver.expect_silence();
    assert_eq!(driver.reactor.len(), 1);
}

/// Every way in which a connection can end by itself or by the peer's hand: told once, with its reason.
#[test]
fn every_end_is_told_once() {
    type Way = fn(&mut Driver) -> (Key, Vec<TcpStream>);
    let ways: [(Way, Reason); 6] = [
        (|d| (d.serve().0, vec![]), Reason::PeerClosed),
        (
            |d| {
                let (key, stream) = d.serve();
                reset(stream);
                (key, vec![])
            },
            os(Errno::CONNRESET),
        ),
        (
            |d| {
                let (key, stream) = d.serve_narrow();
                d.reactor.write(key, &pattern(16 << 20)).unwrap();
                (key, vec![stream])
            },
            Reason::WriteTimeout,
        ),
        (
            |d| {
                let (listener, mut held, address) = full_listener();
                let key = d
                    .reactor
                    .connect(address, SocketKind::Stream, ReadSize::All)
                    .unwrap();
                held.push(std::os::fd::OwnedFd::from(listener).into());
                (key, held)
            },
            Reason::ConnectTimeout,
        ),
        (
            |d| {
                let (key, stream) = d.serve_narrow();
                let all = pattern(32 << 20);
                d.reactor.write(key, &all).unwrap();
                d.reactor.write(key, &all).unwrap_err();
                (key, vec![stream])
            },
            Reason::SendBufferFull,
        ),
        (
            |d| {
                let (key, stream) = d.serve();
                d.reactor.write(key, b"x").unwrap();
                d.reactor.close(key);
                (key, vec![stream])
            },
            Reason::Local,
        ),
    ];
    let timeout = Duration::from_millis(100);
    let mut driver = driver!(send_timeout: timeout, connect_timeout: timeout);
    for (way, wanted) in ways {
        let (key, _held) = way(&mut driver);
        let (reason, before) = driver.expect_closed(key);
        assert_eq!(reason, wanted);
        assert_eq!(before, [], "before {wanted:?}");
        // That no second one follows the driver sees to; the key is stale from now on.
        driver.expect_silence();
        assert_eq!(driver.reactor.close(key), Close::Gone);
        assert!(driver.reactor.is_empty(), "after {wanted:?}");
    }
}

/// Even where an I/O thread has read what the consumer does not want any more.
#[test]
fn closing_while_paused_after_the_peer_has_left_is_told() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.turn();
    let fd = driver.fd(key);
    stream.write_all(b"late").unwrap();
    while io_threads() > 0 && unread(fd) > 0 {
        std::thread::yield_now();
    }
    driver.reactor.pause(key);
    reset(stream);
    driver.expect_silence();
    driver.reactor.write(key, b"goodbye").unwrap();
    driver.reactor.close(key);
    let (_, before) = driver.expect_closed(key);
    assert_eq!(before, []);
}

/// Though an I/O thread tells of newcomers apart from the others, and in its books they take the places of those who left.
#[test]
fn the_end_of_one_is_told_though_the_next_is_there_already() {
    let mut driver = driver!();
    let (listener, address) = driver.listen(ReadSize::All);
    let mut stream = peer(address);
    let mut key = driver.accepted();
    for _ in 0..60 {
        // Long enough that it is no newcomer any more.
        for _ in 0..20 {
            stream.write_all(b"x").unwrap();
            driver.expect_data(key, b"x");
        }
        driver.turn();
        drop(stream);
        stream = peer(address);
        // For both to be reported before the consumer looks; most of the time that is how it is.
        std::thread::sleep(Duration::from_millis(2));
        let (mut next, mut ended) = (None, false);
        driver.drive("an end and a beginning", |_, event| {
            match event {
                Seen::Accepted { key, .. } => next = Some(key),
                Seen::Closed(closed, _) => ended |= closed == key,
                _ => {}
            }
            ended && next.is_some()
        });
        key = next.unwrap();
    }
    driver.reactor.close(listener);
}

#[test]
fn an_abortive_close_sends_what_is_queued_and_then_a_reset() {
    let mut driver = driver!();
    for len in [0, 5, 4 << 20] {
        let (key, stream) = driver.serve();
        let all = pattern(len);
        driver.reactor.write(key, &all).unwrap();
        driver.reactor.set_abortive(key, true);
        let close = driver.reactor.close(key);
        let mut ends = Vec::new();
        let got = driver.drive_peer(
            move || read_until_reset(&stream),
            |_, event| ends.push(event),
        );
        assert!(got == all, "{} of {len} bytes", got.len());
        if close == Close::Flushing && ends.is_empty() {
            driver.expect_closed(key);
        }
    }
}

/// An end of both sides stays one, whatever a close would have been.
#[test]
fn an_abortive_connection_may_end_in_order() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.set_half_open(key, true);
    driver.reactor.set_abortive(key, true);
    driver.reactor.write(key, b"all of it").unwrap();
    driver.reactor.finish(key);
    stream.shutdown(Shutdown::Write).unwrap();
    driver.drive("the end", |_, event| {
        event == Seen::Closed(key, Reason::PeerClosed)
    });
    assert_eq!(read_to_end(&stream), b"all of it");
}

/// A peer that reads nothing has not got all: it is not told that it has.
#[test]
fn an_end_by_timeout_with_something_queued_is_a_reset() {
    let mut driver = driver!(send_timeout: Duration::from_millis(100));
    let (key, stream) = driver.serve_narrow();
    driver.reactor.write(key, &pattern(16 << 20)).unwrap();
    assert_eq!(driver.expect_closed(key).0, Reason::WriteTimeout);
    driver.turn();
    let got = read_until_reset(&stream);
    assert!(got.len() < 16 << 20);
}

/// Our last bytes wait for a peer that sends without end, but not by taking all that it sends.
#[test]
fn after_a_close_little_is_taken_of_a_peer_that_goes_on_sending() {
    let mut driver = driver!(linger_timeout: Duration::from_millis(300));
    let (key, stream) = driver.serve_narrow();
    driver.reactor.pause(key);
    driver.reactor.write(key, &pattern(1 << 20)).unwrap();
    driver.reactor.close(key);
    let sent = driver.drive_peer(
        move || {
            let mut sent = 0;
            while let Ok(count) = (&stream).write(&[0; 64 * 1024]) {
                sent += count;
            }
            sent
        },
        |_, _| {},
    );
    // What the systems' buffers on both sides have taken comes on top.
    assert!(sent < 16 << 20, "{sent} bytes");
}

/// The peer is gone while much is queued for it.
#[test]
fn a_reset_while_sending() {
    let mut driver = driver!();
    let (key, stream) = driver.serve_narrow();
    driver.reactor.write(key, &pattern(16 << 20)).unwrap();
    driver.turn();
    reset(stream);
    let reason = driver.expect_closed(key).0;
    assert_eq!(reason.text().as_deref(), Some("closed"), "{reason:?}");
    driver.expect_silence();
}

/// Answers `question` and runs turns until the end.
#[track_caller]
fn answer(driver: &mut Driver, wanted: Key, question: &[u8], answer: &[u8]) -> Reason {
    let mut end = None;
    driver.drive("the end", |reactor, event| {
        match event {
            Seen::Data(key, data, _) => {
                assert_eq!((key, &data[..]), (wanted, question));
                reactor.write(key, answer).unwrap();
            }
            Seen::Closed(key, reason) if key == wanted => end = Some(reason),
            other => panic!("unexpected: {other:?}"),
        }
        end.is_some()
    });
    end.unwrap()
}

#[test]
fn finishing_needs_no_half_open_peer() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.write(key, b"all of it").unwrap();
    driver.reactor.finish(key);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(driver.expect_closed(key).0, Reason::PeerClosed);
    assert_eq!(read_to_end(&stream), b"all of it");
}
