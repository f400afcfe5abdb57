//! accept(2) fails, once or for as long as it likes.

use std::net::{SocketAddr, TcpStream};

use super::*;

fn exempt_peer(address: SocketAddr) -> TcpStream {
    exempt(|| peer(address))
}

/// Runs turns until a connection is accepted; gives the notices.
fn accepted(driver: &mut Driver) -> Vec<String> {
    let mut notices = Vec::new();
    driver.drive("a connection", |_, event| match event {
        Seen::Accepted { .. } => true,
        Seen::Notice(_, text) => {
            notices.push(text);
            false
        }
        other => panic!("unexpected: {other:?}"),
    });
    notices
}

#[test]
fn peers_that_gave_up_are_passed_over() {
    let fault = interpose::alone();
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    driver.turn();
    let mut peers = Vec::new();
    for errno in [libc::EINTR, libc::ECONNABORTED, libc::EPROTO] {
        for count in [1, 5, 100] {
            fault.set(Call::Accept, errno, Which::Next(count));
            peers.push(exempt_peer(address));
            assert_eq!(accepted(&mut driver), [""; 0]);
            assert_eq!(fault.hits(), count);
        }
    }
}

/// A storm of them holds nobody else up.
#[test]
fn a_storm_of_peers_that_give_up_is_no_loop() {
    let fault = interpose::alone();
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let (key, mut stream) = driver.serve();
    driver.turn();
    let mut peers = Vec::new();
    for errno in [libc::EINTR, libc::ECONNABORTED] {
        fault.set(Call::Accept, errno, Which::Every(1));
        peers.push(exempt_peer(address));
        exempt(|| stream.write_all(b"meanwhile")).unwrap();
        driver.expect_data(key, b"meanwhile");
        driver.turn();
        fault.clear();
        accepted(&mut driver);
    }
}

#[test]
fn the_log_says_what_is_missing_and_the_rest_is_short_where_a_descriptor_would_not_help() {
    let fault = interpose::alone();
    for (errno, words) in [
        (libc::ENOBUFS, "no memory"),
        (libc::ENOMEM, "no memory"),
        (libc::EPERM, "forbids"),
        (libc::ESOCKTNOSUPPORT, "accepting failed"),
    ] {
        // A rest of an hour would be noticed. One of a second takes its time, so not all of them are that long.
        let retry = match errno {
            libc::ENOBUFS if poller_name() == "epoll" => Duration::from_secs(3600),
            _ => SILENCE,
        };
        let mut driver = driver!(accept_retry_interval: retry);
        let (_, address) = driver.listen(ReadSize::All);
        driver.turn();
        // With I/O threads each of them has its try.
        fault.set(Call::Accept, errno, Which::Next(1));
        let _peer = exempt_peer(address);
        let mut notices = accepted(&mut driver);
        driver.drive_for(SILENCE, |_, event| {
            if let Seen::Notice(_, text) = event {
                notices.push(text);
            }
        });
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert!(notices[0].contains(words), "{notices:?}");
        assert!(
            !notices[0].contains("out of file descriptors"),
            "{notices:?}"
        );
    }
}
