//! Much data: large writes that become records without being queued, records that are received in pieces.

use super::*;

/// A write that the engine does not copy first, and no whole number of records.
const LARGE: usize = 50_000;

const VERSIONS: [&str; 2] = ["tlsv1_2", "tlsv1_3"];

/// Both ends, of one version of the protocol.
fn joined(driver: &mut Driver, version: &str, size: ReadSize) -> Ends {
    let client = context(&with!(client_settings(), protocol: Some(version.into())));
    driver.join_tls(named(server()), named(client), size)
}

/// Drives until the server has got all of it, in order, and gives the lengths of the pieces.
fn pieces(driver: &mut Driver, ends: Ends, all: &[u8]) -> Vec<usize> {
    let (mut got, mut lengths) = (0, Vec::new());
    driver.drive("all of it", |_, event| {
        if let Seen::Data(key, data, _) = event {
            assert_eq!(key, ends.server);
            assert!(data == all[got..][..data.len()], "at {got}");
            got += data.len();
            lengths.push(data.len());
        }
        got == all.len()
    });
    lengths
}

#[test]
fn large_and_small_writes_come_in_order_whatever_the_read_size() {
    let sizes = [
        ReadSize::All,
        ReadSize::Growing(1000),
        ReadSize::UpTo(5000),
        ReadSize::UpTo(40_000),
    ];
    for version in VERSIONS {
        for size in sizes {
            let mut driver = driver!();
            let ends = joined(&mut driver, version, size);
            let all = pattern(10 + LARGE + 10 + 10 * LARGE);
            let (small, rest) = all.split_at(10);
            let (large, rest) = rest.split_at(LARGE);
            // Before the handshake is complete, nothing can be sent.
            driver.reactor.write(ends.client, small).unwrap();
            driver.reactor.write(ends.client, large).unwrap();
            driver.secure(ends);
            let (small, rest) = rest.split_at(10);
            driver.reactor.write(ends.client, small).unwrap();
            for large in rest.chunks(LARGE) {
                driver.reactor.write(ends.client, large).unwrap();
            }
            let lengths = pieces(&mut driver, ends, &all);
            let most = match size {
                ReadSize::UpTo(size) => size,
                _ => 64 * 1024,
            };
            let largest = lengths.iter().copied().max().unwrap();
            assert!(largest <= most, "{size:?}: {lengths:?}");
            assert!(largest >= most.min(2000), "{size:?}: {lengths:?}");
        }
    }
}

#[test]
fn a_large_write_before_a_close_arrives_before_the_end() {
    for version in VERSIONS {
        let mut driver = driver!();
        let ends = joined(&mut driver, version, ReadSize::All);
        driver.secure(ends);
        let all = pattern(8 << 20);
        driver.reactor.write(ends.client, &all).unwrap();
        driver.reactor.close(ends.client);
        let (mut got, mut over) = (0, None);
        driver.drive("the end", |_, event| {
            match event {
                Seen::Data(_, data, _) => {
                    assert!(data == all[got..][..data.len()], "at {got}");
                    got += data.len();
                }
                Seen::Closed(key, reason) if key == ends.server => over = Some(reason),
                _ => {}
            }
            over.is_some()
        });
        assert_eq!((got, over), (all.len(), Some(Reason::PeerClosed)));
    }
}

#[test]
fn a_large_write_waits_while_writes_are_paused() {
    let mut driver = driver!();
    let ends = joined(&mut driver, "tlsv1_3", ReadSize::All);
    driver.secure(ends);
    driver.reactor.pause_writes(ends.client);
    let all = pattern(2 * LARGE);
    driver.reactor.write(ends.client, &all[..LARGE]).unwrap();
    driver.expect_silence();
    assert_eq!(driver.reactor.pending(ends.client), LARGE);
    driver.reactor.resume_writes(ends.client);
    driver.reactor.write(ends.client, &all[LARGE..]).unwrap();
    pieces(&mut driver, ends, &all);
}

/// What the peer does not take waits as records, and those that were made before go first.
#[test]
fn a_peer_that_reads_later_gets_all_of_it() {
    let mut driver = driver!();
    let ends = joined(&mut driver, "tlsv1_3", ReadSize::All);
    driver.secure(ends);
    driver.reactor.pause(ends.server);
    let all = pattern(400 * LARGE);
    for (number, large) in all.chunks(LARGE).enumerate() {
        driver.reactor.write(ends.client, large).unwrap();
        if number % 10 == 0 {
            driver.turn();
        }
    }
    assert!(driver.reactor.pending(ends.client) > 0);
    driver.reactor.resume(ends.server);
    pieces(&mut driver, ends, &all);
}
