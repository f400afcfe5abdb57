//! What is written arrives whole and in order, and the consumer hears when it is gone.

use trochee::SocketOption;

use super::*;

#[test]
fn a_hundred_megabytes_to_a_slow_reader_in_order() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 100;
    let mut driver = driver!(max_send_buffer_size: BLOCK * (BLOCKS + 1));
    let (key, stream) = driver.serve();
    for _ in 0..BLOCKS {
        assert_eq!(driver.reactor.write(key, &pattern_block()).unwrap(), BLOCK);
    }
    // The system takes some at once.
    assert!(driver.reactor.pending(key) > BLOCK * BLOCKS / 2);
    assert_eq!(driver.reactor.close(key), Close::Flushing);

    let mut end = None;
    driver.drive_peer(
        move || {
            let (wanted, mut got) = (pattern_block(), vec![0; BLOCK]);
            for block in 0..BLOCKS {
                // Slow enough for the reactor to find the system's buffers full again and again.
                std::thread::sleep(Duration::from_millis(2));
                (&stream).read_exact(&mut got).unwrap();
                assert!(got == wanted, "in megabyte {block}");
            }
            assert_eq!(read_to_end(&stream), b"");
        },
        |_, event| end = Some(event),
    );
    if end.is_none() {
        end = Some(Seen::Closed(key, driver.expect_closed(key).0));
    }
    assert_eq!(end, Some(Seen::Closed(key, Reason::Local)));
}

/// Not a whole number of periods of the pattern, so that no two megabytes meet as a period would.
fn pattern_block() -> Vec<u8> {
    pattern(1 << 20)
}

#[test]
fn many_small_writes_in_order() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    let all = pattern(70_000);
    for piece in all.chunks(7) {
        driver.reactor.write(key, piece).unwrap();
    }
    driver.reactor.write(key, b"").unwrap();
    driver.reactor.close(key);
    let got = driver.drive_peer(move || read_to_end(&stream), |_, _| {});
    assert!(got == all);
}

#[test]
fn writing_at_every_drain_pumps() {
    const BLOCK: usize = 256 * 1024;
    const TOTAL: usize = 64 << 20;
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    let block = pattern(BLOCK);
    let mut written = 0;
    driver.reactor.notify_flush(key, true);
    let read = driver.drive_peer(
        move || {
            let (wanted, mut got, mut read) = (pattern(BLOCK), vec![0; BLOCK], 0);
            while let Ok(()) = (&stream).read_exact(&mut got) {
                assert!(got == wanted, "after {read} bytes");
                read += BLOCK;
            }
            read
        },
        |reactor, event| {
            if event != Seen::Drain(key) {
                return;
            }
            assert_eq!(reactor.pending(key), 0);
            if written < TOTAL {
                written += reactor.write(key, &block).unwrap();
                reactor.notify_flush(key, true);
            } else {
                assert_eq!(reactor.close(key), Close::Done);
            }
        },
    );
    assert_eq!(read, TOTAL);
}

#[test]
fn what_is_written_at_predrain_joins_the_flush() {
    one_thread!();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.finish_turn();
    driver.reactor.write(key, b"stanza").unwrap();
    driver.reactor.notify_flush(key, true);
    let mut order = Vec::new();
    driver.reactor.begin_turn(Some(Duration::ZERO));
    while let Some(event) = driver.reactor.next_event() {
        let event = Seen::from(event);
        if event == Seen::Predrain(key) {
            // Nothing is sent before it is asked.
            assert_eq!(unread(&stream), 0);
            driver.reactor.write(key, b", and an ack").unwrap();
        } else {
            assert_eq!(driver.reactor.pending(key), 0);
        }
        order.push(event);
    }
    assert_eq!(order, [Seen::Predrain(key), Seen::Drain(key)]);
    let mut got = [0; 18];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"stanza, and an ack");

    // Once asked, once told.
    driver.reactor.write(key, b"more").unwrap();
    driver.expect_silence();
    assert_eq!(unread(&stream), 4);
}

#[test]
fn a_drain_with_nothing_to_send_comes_too() {
    one_thread!();
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    driver.reactor.notify_flush(key, true);
    assert_eq!(driver.turn(), [Seen::Predrain(key), Seen::Drain(key)]);
    assert_eq!(driver.turn(), []);
    driver.reactor.notify_flush(key, true);
    driver.reactor.notify_flush(key, false);
    assert_eq!(driver.turn(), []);
}

/// The drain of a queue that the system did not take at once.
#[test]
fn a_drain_comes_when_the_peer_has_caught_up_and_not_before() {
    let mut driver = driver!();
    let (key, stream) = driver.serve_narrow();
    let all = pattern(16 << 20);
    driver.reactor.write(key, &all).unwrap();
    driver.reactor.notify_flush(key, true);
    let mut predrains = 0;
    driver.drive_for(SILENCE, |_, event| {
        assert_eq!(event, Seen::Predrain(key));
        predrains += 1;
    });
    assert!(driver.reactor.pending(key) > 0);

    let mut drains = 0;
    let got = driver.drive_peer(
        move || {
            let mut got = vec![0; 16 << 20];
            (&stream).read_exact(&mut got).unwrap();
            (got, stream)
        },
        |reactor, event| {
            predrains += usize::from(event == Seen::Predrain(key));
            if event == Seen::Drain(key) {
                assert_eq!(reactor.pending(key), 0);
                // Whoever is told of the end of the flush was asked before, once there was room.
                assert!(predrains >= 1);
                drains += 1;
            }
        },
    );
    assert!(got.0 == all);
    driver.drive_for(SILENCE, |_, event| {
        drains += usize::from(event == Seen::Drain(key));
    });
    assert_eq!(drains, 1);
}

#[test]
fn a_queue_that_is_full_ends_the_connection() {
    let mut driver = driver!(max_send_buffer_size: 1000);
    let (key, _stream) = driver.serve();
    // Past what the system takes at once; a single write may be of any size.
    driver.reactor.write(key, &pattern(16 << 20)).unwrap();
    let error = driver.reactor.write(key, b"x").unwrap_err();
    assert!(matches!(error, Error::SendBufferFull), "{error:?}");
    // It is over, though nobody was told yet.
    let after = driver.reactor.write(key, b"x").unwrap_err();
    assert!(matches!(after, Error::Closed), "{after:?}");
    assert_eq!(driver.reactor.close(key), Close::Gone);
    let (reason, before) = driver.expect_closed(key);
    assert_eq!(reason, Reason::SendBufferFull);
    assert_eq!(reason.text().as_deref(), Some("no space left in buffer"));
    assert_eq!(before, []);
    driver.expect_silence();
}

/// By the peer's fault, not by the size of one write.
#[test]
fn a_peer_that_does_not_read_ends_at_the_limit() {
    let mut driver = driver!(max_send_buffer_size: 1 << 20);
    let (key, _stream) = driver.serve_narrow();
    let block = [0; 64 * 1024];
    let mut queued = 0;
    let error = loop {
        match driver.reactor.write(key, &block) {
            Ok(len) => queued += len,
            Err(error) => break error,
        }
        assert_eq!(driver.turn(), []);
        assert!(queued < 1 << 28, "there is no limit");
    };
    assert!(matches!(error, Error::SendBufferFull), "{error:?}");
    assert_eq!(driver.expect_closed(key).0, Reason::SendBufferFull);
}

#[test]
fn a_full_queue_of_paused_writes_is_refused_and_kept() {
    let mut driver = driver!(max_send_buffer_size: 1000);
    let (key, stream) = driver.serve();
    driver.reactor.pause_writes(key);
    let all = pattern(1000);
    driver.reactor.write(key, &all[..400]).unwrap();
    driver.reactor.write(key, &all[400..]).unwrap();
    let error = driver.reactor.write(key, b"x").unwrap_err();
    assert!(matches!(error, Error::SendBufferFull), "{error:?}");
    driver.expect_silence();
    assert_eq!(driver.reactor.pending(key), 1000);
    driver.reactor.resume_writes(key);
    driver.reactor.close(key);
    let got = driver.drive_peer(move || read_to_end(&stream), |_, _| {});
    assert!(got == all);
}

/// A write past the limit first looks whether the peer has caught up. What the system did not take then still goes out.
#[test]
fn a_write_past_the_limit_that_found_room_is_sent() {
    const LIMIT: usize = 16 << 20;
    let mut driver = driver!(max_send_buffer_size: LIMIT);
    let (key, stream) = driver.serve_narrow();
    let all = pattern(LIMIT + 5000);
    driver.reactor.write(key, &all[..LIMIT]).unwrap();
    driver.reactor.write(key, &all[LIMIT..]).unwrap();
    assert!(driver.reactor.pending(key) > 0);
    let got = driver.drive_peer(
        move || {
            let mut got = vec![0; LIMIT + 5000];
            (&stream).read_exact(&mut got).unwrap();
            (got, stream)
        },
        |_, event| panic!("unexpected: {event:?}"),
    );
    assert!(got.0 == all);
}

#[test]
fn paused_writes_wait() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    assert!(driver.reactor.pause_writes(key));
    driver.reactor.write(key, b"held").unwrap();
    driver.reactor.notify_flush(key, true);
    driver.expect_silence();
    assert_eq!((driver.reactor.pending(key), unread(&stream)), (4, 0));
    // Reading goes on.
    stream.write_all(b"x").unwrap();
    driver.expect_data(key, b"x");

    assert!(driver.reactor.resume_writes(key));
    let mut order = Vec::new();
    driver.drive("a drain", |_, event| {
        order.push(event);
        order.contains(&Seen::Drain(key))
    });
    assert_eq!(order, [Seen::Predrain(key), Seen::Drain(key)]);
    let mut got = [0; 4];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"held");
}

/// Paused when the system took no more: the readiness that comes meanwhile must not be lost.
#[test]
fn writes_paused_while_blocked_go_on_after_resuming() {
    let mut driver = driver!();
    let (key, stream) = driver.serve_narrow();
    let all = pattern(16 << 20);
    driver.reactor.write(key, &all).unwrap();
    // A thread that has no core for a moment has not begun yet.
    let mut left = all.len();
    while left == all.len() || driver.reactor.pending(key) < left {
        left = driver.reactor.pending(key);
        driver.expect_silence();
    }
    assert!(left > 0);
    driver.reactor.pause_writes(key);
    // Once a thread has answered this, it has heard of the pause.
    driver
        .reactor
        .set_option(key, SocketOption::NoDelay(true))
        .unwrap();
    let taken = all.len() - left;
    let stream = driver.drive_peer(
        move || {
            let mut got = vec![0; taken];
            (&stream).read_exact(&mut got).unwrap();
            assert!(got == pattern(16 << 20)[..taken]);
            stream
        },
        |_, event| panic!("unexpected: {event:?}"),
    );
    driver.expect_silence();
    assert_eq!(driver.reactor.pending(key), left);
    driver.reactor.resume_writes(key);
    driver.reactor.close(key);
    let rest = driver.drive_peer(move || read_to_end(&stream), |_, _| {});
    assert!(rest == all[taken..]);
}

/// Nobody is left to resume them.
#[test]
fn closing_sends_what_paused_writes_held() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.pause_writes(key);
    driver.reactor.write(key, b"held").unwrap();
    driver.turn();
    assert_eq!(driver.reactor.close(key), Close::Flushing);
    assert_eq!(driver.expect_closed(key).0, Reason::Local);
    assert_eq!(read_to_end(&stream), b"held");
}
