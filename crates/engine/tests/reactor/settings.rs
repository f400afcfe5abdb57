//! Choosing a poller, and changing settings while it runs.

use rustix::net::sockopt;
use trochee::{KeepAlive, SocketOption};

use super::*;

#[test]
fn the_poller_in_use_is_the_one_asked_for() {
    let mut driver = driver!();
    assert_eq!(in_use(&driver), poller_name());
    driver.turn();
    assert_eq!(in_use(&driver), poller_name());
}

#[test]
fn an_unknown_poller_is_refused_by_name_and_changes_nothing() {
    let mut driver = driver!();
    let error = driver.reactor.set_backend("kqueue").unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error:?}");
    let text = error.to_string();
    for name in ["kqueue", "auto", poller_name()] {
        assert!(text.contains(name), "{name} is missing in: {text}");
    }
    driver.turn();
    assert_eq!(in_use(&driver), poller_name());
}

#[test]
fn the_poller_can_not_be_changed_after_the_first_turn() {
    one_thread!();
    let mut driver = driver!();
    for name in ["auto", "poll", poller_name()] {
        driver.reactor.set_backend(name).unwrap();
    }
    driver.turn();
    for name in ["auto", "poll", poller_name()] {
        let error = driver.reactor.set_backend(name).unwrap_err();
        assert!(matches!(error, Error::BackendInUse), "{error:?}");
    }
    assert_eq!(in_use(&driver), poller_name());
}

#[test]
fn sockets_get_the_options_of_the_configuration() {
    let idle = Duration::from_secs(77);
    let every = Duration::from_secs(17);
    let mut driver = driver!(
        nodelay: false,
        tcp_keepalive: KeepAlive::Idle(idle),
        tcp_keepalive_interval: Some(every),
        tcp_keepalive_count: Some(5)
    );
    let (listener, address) = driver.listen(ReadSize::All);
    let options = |driver: &mut Driver| {
        let stream = peer(address);
        let key = driver.accepted();
        let fd = driver.fd(key);
        let found = (
            sockopt::tcp_nodelay(fd).unwrap(),
            sockopt::socket_keepalive(fd).unwrap(),
            sockopt::tcp_keepidle(fd).unwrap() == idle
                && sockopt::tcp_keepintvl(fd).unwrap() == every
                && sockopt::tcp_keepcnt(fd).unwrap() == 5,
        );
        drop(stream);
        driver.expect_closed(key);
        found
    };
    assert_eq!(options(&mut driver), (false, true, true));

    // A listener that is there already takes the new ones over.
    let mut config = driver.reactor.config().clone();
    config.nodelay = true;
    config.tcp_keepalive = KeepAlive::Off;
    driver.reactor.configure(config.clone());
    assert_eq!(driver.reactor.config(), &config);
    let (nodelay, keepalive, _) = options(&mut driver);
    assert_eq!((nodelay, keepalive), (true, false));

    let key = driver
        .reactor
        .connect(address, SocketKind::Stream, ReadSize::All)
        .unwrap();
    assert!(sockopt::tcp_nodelay(driver.fd(key)).unwrap());
    driver.reactor.close(listener);
}

#[test]
fn options_of_one_connection() {
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    let seconds = Duration::from_secs;
    for option in [
        SocketOption::NoDelay(false),
        SocketOption::KeepAlive(true),
        SocketOption::KeepIdle(seconds(61)),
        SocketOption::KeepInterval(seconds(7)),
        SocketOption::KeepCount(3),
    ] {
        driver.reactor.set_option(key, option).unwrap();
    }
    let fd = driver.fd(key);
    assert!(!sockopt::tcp_nodelay(fd).unwrap());
    assert!(sockopt::socket_keepalive(fd).unwrap());
    assert_eq!(sockopt::tcp_keepidle(fd).unwrap(), seconds(61));
    assert_eq!(sockopt::tcp_keepintvl(fd).unwrap(), seconds(7));
    assert_eq!(sockopt::tcp_keepcnt(fd).unwrap(), 3);
}

/// For connections that stand already, too.
#[test]
fn a_shorter_read_timeout_counts_from_then_on() {
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    driver.turn();
    let mut config = driver.reactor.config().clone();
    config.read_timeout = Duration::from_millis(50);
    driver.reactor.configure(config);
    driver.drive("a timeout", |_, event| event == Seen::ReadTimeout(key));
}

#[test]
fn a_longer_read_timeout_counts_from_then_on() {
    let mut driver = driver!(read_timeout: Duration::from_millis(100));
    let (_key, _stream) = driver.serve();
    let mut config = driver.reactor.config().clone();
    config.read_timeout = Duration::from_secs(3600);
    driver.reactor.configure(config);
    driver.drive_for(Duration::from_millis(250), |_, event| {
        panic!("unexpected: {event:?}")
    });
}

#[test]
fn a_raised_limit_of_connections_lets_those_in_who_wait() {
    let mut driver = driver!(max_connections: Some(1));
    let (_, address) = driver.listen(ReadSize::All);
    let _peers = [peer(address), peer(address)];
    driver.accepted();
    driver.expect_silence();
    let mut config = driver.reactor.config().clone();
    config.max_connections = Some(2);
    driver.reactor.configure(config);
    driver.accepted();
}

/// Without what the poller has chosen in turn.
fn in_use(driver: &Driver) -> &'static str {
    driver.reactor.backend().split(' ').next().unwrap()
}
