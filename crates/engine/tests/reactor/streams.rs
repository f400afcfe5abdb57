//! Much data: reads that grow while there is more, and writes that are not copied first.

use super::*;

/// What the engine takes for a large write, and its largest read.
const LARGE: usize = 16 * 1024;
const LARGEST_READ: usize = 64 * 1024;

/// Has a peer send more than one read takes while the connection is paused, as much as the system holds. How much it is.
fn fill(driver: &mut Driver, key: Key, stream: &TcpStream) -> usize {
    assert!(driver.reactor.pause(key));
    // A thread has heard of the pause when it has answered.
    driver.expect_silence();
    stream.set_nonblocking(true).unwrap();
    let (all, mut sent) = (pattern(2 << 20), 0);
    while sent < all.len()
        && let Ok(count) = (&*stream).write(&all[sent..])
    {
        sent += count;
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// The lengths of the pieces in which so many bytes come.
fn pieces(driver: &mut Driver, key: Key, total: usize) -> Vec<usize> {
    let (all, mut got, mut lengths) = (pattern(total), 0, Vec::new());
    driver.drive("all of it", |_, event| {
        let Seen::Data(from, data, _) = event else {
            panic!("unexpected: {event:?}")
        };
        assert_eq!(from, key);
        assert!(data == all[got..][..data.len()], "at {got}");
        got += data.len();
        lengths.push(data.len());
        got == total
    });
    lengths
}

#[test]
fn reads_grow_while_they_come_back_full_and_shrink_when_they_do_not() {
    const FIRST: usize = 1000;
    let mut driver = driver!();
    let (key, mut stream) = driver.serve_with(ReadSize::Growing(FIRST));
    let sent = fill(&mut driver, key, &stream);
    assert!(sent > 3 * LARGEST_READ, "{sent}");
    driver.reactor.resume(key);
    let lengths = pieces(&mut driver, key, sent);
    assert_eq!(lengths[..6], [1000, 2000, 4000, 8000, 16_000, 32_000]);
    let largest = lengths.iter().copied().max().unwrap();
    assert!(largest > 32_000 && largest <= LARGEST_READ, "{lengths:?}");

    // It is as it was once there is little to read, message by message.
    for _ in 0..8 {
        stream.write_all(b"little").unwrap();
        driver.expect_data(key, b"little");
    }
    let sent = fill(&mut driver, key, &stream);
    driver.reactor.resume(key);
    assert_eq!(pieces(&mut driver, key, sent)[..2], [1000, 2000]);

    // Whoever gives a number keeps it.
    driver.reactor.set_read_size(key, ReadSize::UpTo(FIRST));
    let sent = fill(&mut driver, key, &stream);
    driver.reactor.resume(key);
    let lengths = pieces(&mut driver, key, sent);
    assert!(lengths.iter().all(|len| *len <= FIRST));
}

#[test]
fn a_connection_whose_reads_grow_gets_no_more_of_a_turn() {
    one_thread!();
    const FIRST: usize = 1000;
    let mut driver = driver!();
    let (key, stream) = driver.serve_with(ReadSize::Growing(FIRST));
    let sent = fill(&mut driver, key, &stream);
    driver.reactor.resume(key);
    let mut left = sent;
    while left > 0 {
        let of_turn: usize = driver
            .turn()
            .into_iter()
            .map(|event| match event {
                Seen::Data(_, data, _) => data.len(),
                other => panic!("unexpected: {other:?}"),
            })
            .sum();
        assert!(of_turn <= LARGEST_READ + FIRST, "{of_turn}");
        left -= of_turn;
    }
}

#[test]
fn a_growing_read_keeps_to_max_receive_buffer_size() {
    let mut driver = driver!(max_receive_buffer_size: 3000);
    let (key, stream) = driver.serve_with(ReadSize::Growing(1000));
    let sent = fill(&mut driver, key, &stream);
    driver.reactor.resume(key);
    let lengths = pieces(&mut driver, key, sent);
    assert_eq!(lengths.iter().max(), Some(&3000));
}

#[test]
fn a_large_write_is_with_the_system_at_once_and_a_small_one_waits_for_the_turn() {
    one_thread!();
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    let all = pattern(2 * LARGE + 30);
    driver.reactor.write(key, &all[..10]).unwrap();
    assert_eq!(unread(&stream), 0);
    // What was written before goes first.
    driver.reactor.write(key, &all[10..LARGE + 10]).unwrap();
    assert_eq!(unread(&stream), LARGE as u64 + 10);
    assert_eq!(driver.reactor.pending(key), 0);
    driver
        .reactor
        .write(key, &all[LARGE + 10..LARGE + 20])
        .unwrap();
    assert_eq!(driver.reactor.pending(key), 10);
    driver.reactor.write(key, &all[LARGE + 20..]).unwrap();
    let mut got = vec![0; all.len()];
    driver.turn();
    stream.read_exact(&mut got).unwrap();
    assert!(got == all);
}

#[test]
fn whoever_wants_to_hear_of_the_flush_does_so_after_a_large_write() {
    one_thread!();
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    driver.finish_turn();
    driver.reactor.notify_flush(key, true);
    driver.reactor.write(key, &pattern(LARGE)).unwrap();
    assert_eq!(driver.turn(), [Seen::Predrain(key), Seen::Drain(key)]);
    assert_eq!(driver.turn(), []);
}

#[test]
fn a_large_write_waits_where_writes_are_paused_or_the_system_takes_no_more() {
    let mut driver = driver!();
    let (key, stream) = driver.serve_narrow();
    assert!(driver.reactor.pause_writes(key));
    let all = pattern(24 << 20);
    driver.reactor.write(key, &all[..LARGE]).unwrap();
    driver.expect_silence();
    assert_eq!((driver.reactor.pending(key), unread(&stream)), (LARGE, 0));
    driver.reactor.resume_writes(key);
    // More than the system takes at once; then what nobody can send before the peer reads.
    driver.reactor.write(key, &all[LARGE..12 << 20]).unwrap();
    driver.reactor.write(key, &all[12 << 20..20 << 20]).unwrap();
    driver.reactor.write(key, b"").unwrap();
    driver.reactor.write(key, &all[20 << 20..]).unwrap();
    assert!(driver.reactor.pending(key) > 0);
    driver.reactor.close(key);
    let got = driver.drive_peer(move || read_to_end(&stream), |_, _| {});
    assert!(got == all);
}

#[test]
fn a_large_write_to_a_peer_that_is_gone_is_taken_and_the_end_is_told() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    assert!(driver.reactor.pause(key));
    driver.expect_silence();
    reset(stream);
    let all = pattern(LARGE);
    assert_eq!(driver.reactor.write(key, &all).unwrap(), LARGE);
    let (reason, before) = driver.expect_closed(key);
    assert!(matches!(reason, Reason::Os(_)), "{reason:?}");
    assert_eq!(before, []);
}

#[test]
fn what_is_sent_at_once_is_counted() {
    one_thread!();
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    let before = driver.reactor.stats().sent_bytes;
    driver.reactor.write(key, &pattern(LARGE)).unwrap();
    driver.turn();
    assert_eq!(driver.reactor.stats().sent_bytes - before, LARGE as u64);
    assert_eq!(driver.reactor.end_info(key).unwrap().sent, LARGE as u64);
}
