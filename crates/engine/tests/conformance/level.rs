//! Level triggering: a report lasts as long as its cause.

use std::io::{self, Read, Write};

use trochee::poller::{Interest, Readiness};

use super::*;

#[test]
fn stays_readable_until_drained() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (mut near, mut far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    watch.expect_silence();

    far.write_all(b"abc").unwrap();
    watch.expect(&[(1, "r")]);
    watch.expect(&[(1, "r")]);
    let mut byte = [0];
    near.read_exact(&mut byte).unwrap();
    watch.expect(&[(1, "r")]);
    near.read_exact(&mut [0; 2]).unwrap();
    watch.expect_silence();
}

#[test]
fn stays_writable_until_full() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (mut near, mut far) = tcp_pair();
    near.set_nonblocking(true).unwrap();
    watch.add(&near, 1, Interest::WRITE);
    watch.expect(&[(1, "w")]);
    watch.expect(&[(1, "w")]);

    let sent = fill(&mut near);
    watch.expect_silence();
    io::copy(&mut (&mut far).take(sent), &mut io::sink()).unwrap();
    watch.expect(&[(1, "w")]);
}

#[test]
fn both_directions_come_in_one_report() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    far.write_all(b"x").unwrap();
    watch.add(&near, 1, Interest::BOTH);
    watch.expect(&[(1, "rw")]);
}

#[test]
fn wait_appends_to_the_list() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, _far) = tcp_pair();
    watch.add(&near, 2, Interest::WRITE);
    let earlier = Readiness {
        token: 1,
        readable: true,
        writable: false,
        closed: false,
    };
    let mut ready = vec![earlier];
    watch.poller.wait(&mut ready, None).unwrap();
    let tokens: Vec<_> = ready.iter().map(|report| report.token).collect();
    assert_eq!(tokens, [1, 2]);
    assert_eq!(ready[0], earlier);
}

/// Writes until the socket takes no more, and gives the number of bytes.
fn fill(stream: &mut impl Write) -> u64 {
    let chunk = [0; 65_536];
    let mut sent = 0;
    loop {
        match stream.write(&chunk) {
            Ok(count) => sent += count as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}
