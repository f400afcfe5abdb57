//! Peers that are dead: how soon TCP gives them up, and what it knows of those that do not answer.

#![allow(unsafe_code)] // an option of sockets that has no safe name

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::net::sockopt;
use trochee::{KeepAlive, PortOptions, SocketOption};

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the system has for a socket of which nothing was asked.
fn defaults() -> (bool, Duration, Duration, u32, u32) {
    options(TcpListener::bind("127.0.0.1:0").unwrap())
}

/// Whether keepalive is on, its idle time, interval and count, and the user timeout in milliseconds.
fn options(socket: impl AsFd) -> (bool, Duration, Duration, u32, u32) {
    (
        sockopt::socket_keepalive(&socket).unwrap(),
        sockopt::tcp_keepidle(&socket).unwrap(),
        sockopt::tcp_keepintvl(&socket).unwrap(),
        sockopt::tcp_keepcnt(&socket).unwrap(),
        sockopt::tcp_user_timeout(&socket).unwrap(),
    )
}

/// From now on the system of this peer gets nothing any more, and so acknowledges nothing: as if its cable were cut.
fn cut(peer: &TcpStream) {
    /// `BPF_RET | BPF_K` with 0: no byte of any packet.
    const NOTHING: libc::sock_filter = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let mut program = [NOTHING];
    let filter = libc::sock_fprog {
        len: 1,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the pointers describe `filter` and `program`, which the call copies.
    let result = unsafe {
        libc::setsockopt(
            peer.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

#[test]
fn accepted_and_outgoing_connections_have_what_is_set() {
    let mut driver = driver!(
        tcp_keepalive: KeepAlive::Idle(seconds(61)),
        tcp_keepalive_interval: Some(seconds(7)),
        tcp_keepalive_count: Some(3),
        tcp_user_timeout: Some(seconds(90)),
    );
    let wanted = (true, seconds(61), seconds(7), 3, 90_000);
    let (listener, address) = driver.listen(ReadSize::All);
    let _peer = peer(address);
    let accepted = driver.accepted();
    assert_eq!(options(driver.fd(accepted)), wanted);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let outgoing =
        driver
            .reactor
            .connect(far.local_addr().unwrap(), SocketKind::Stream, ReadSize::All);
    let outgoing = outgoing.unwrap();
    driver.connected(outgoing);
    assert_eq!(options(driver.fd(outgoing)), wanted);
    driver.reactor.destroy(outgoing);

    // What is taken out of the settings is the system's again.
    driver
        .reactor
        .configure(with!(trochee::Config::default(), io_threads: io_threads()));
    driver.reactor.stats();
    assert_eq!(options(driver.fd(listener)), defaults());
    let _another = peer(address);
    let accepted = driver.accepted();
    assert_eq!(options(driver.fd(accepted)), defaults());
}

/// Interval, count and idle time count as well where it is the consumer who turns keepalive on, as Prosody does.
#[test]
fn times_count_without_keepalive() {
    let mut driver =
        driver!(tcp_keepalive_interval: Some(seconds(7)), tcp_user_timeout: Some(seconds(90)));
    let (key, _peer) = driver.serve();
    let (_, idle, _, count, _) = defaults();
    assert_eq!(
        options(driver.fd(key)),
        (false, idle, seconds(7), count, 90_000)
    );
    let set = |driver: &mut Driver, option| driver.reactor.set_option(key, option).unwrap();
    set(&mut driver, SocketOption::KeepAlive(true));
    set(
        &mut driver,
        SocketOption::UserTimeout(Duration::from_millis(1500)),
    );
    assert_eq!(
        options(driver.fd(key)),
        (true, idle, seconds(7), count, 1500)
    );
}

#[test]
fn a_port_may_have_options_of_its_own() {
    let mut driver = driver!(tcp_keepalive: KeepAlive::On, tcp_user_timeout: Some(seconds(90)));
    let (_, address) = driver.listen(ReadSize::All);
    let (_, other) = driver.listen(ReadSize::All);
    let own = with!(PortOptions::default(),
        tcp_keepalive: Some(KeepAlive::Idle(seconds(60))),
        tcp_keepalive_interval: Some(seconds(9)),
        tcp_keepalive_count: Some(4),
        tcp_user_timeout: Some(seconds(30)),
    );
    let config =
        with!(driver.reactor.config().clone(), port_options: BTreeMap::from([(other.port(), own)]));
    driver.reactor.configure(config);
    driver.reactor.stats();
    let (_, idle, interval, count, _) = defaults();
    let _peers = [peer(address)];
    let key = driver.accepted();
    assert_eq!(
        options(driver.fd(key)),
        (true, idle, interval, count, 90_000)
    );
    let _peers = [peer(other)];
    let key = driver.accepted();
    assert_eq!(
        options(driver.fd(key)),
        (true, seconds(60), seconds(9), 4, 30_000)
    );
}

/// Data that nobody acknowledges, and what is known of it until the connection ends.
#[test]
fn a_peer_that_acknowledges_nothing_is_given_up() {
    let mut driver = driver!(tcp_user_timeout: Some(seconds(2)));
    let (key, peer) = driver.serve();
    driver.reactor.write(key, b"acknowledged").unwrap();
    let peer = driver.drive_peer(
        move || {
            (&peer).read_exact(&mut [0; 12]).unwrap();
            peer
        },
        |_, _| {},
    );
    let give_up = Instant::now() + PATIENCE;
    loop {
        let info = driver.reactor.tcp_info(key).unwrap();
        if info.unacknowledged == 0 {
            assert_eq!(info.unacknowledged_for, Duration::ZERO);
            break;
        }
        assert!(Instant::now() < give_up, "{info:?}");
        driver.turn();
    }
    cut(&peer);
    let began = Instant::now();
    driver.reactor.write(key, b"in vain").unwrap();
    loop {
        driver.turn();
        let info = driver.reactor.tcp_info(key).expect("it ended too soon");
        if info.attempts > 0 && info.retransmits > 0 {
            assert_eq!(info.unacknowledged, 7);
            assert!(
                info.unacknowledged_for >= Duration::from_millis(100),
                "{info:?}"
            );
            assert!(
                info.unacknowledged_for <= info.since_acknowledged,
                "{info:?}"
            );
            break;
        }
        assert!(Instant::now() < give_up, "{info:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(driver.expect_closed(key).0, os(Errno::TIMEDOUT));
    assert!(began.elapsed() >= seconds(1), "{:?}", began.elapsed());
    assert!(driver.reactor.tcp_info(key).is_none());
    drop(peer);
}

#[test]
fn an_idle_peer_that_answers_no_probe_is_given_up() {
    let mut driver = driver!(
        tcp_keepalive: KeepAlive::Idle(seconds(1)),
        tcp_keepalive_interval: Some(seconds(1)),
        tcp_keepalive_count: Some(1),
    );
    let (key, peer) = driver.serve();
    cut(&peer);
    assert_eq!(driver.expect_closed(key).0, os(Errno::TIMEDOUT));
    drop(peer);
}
