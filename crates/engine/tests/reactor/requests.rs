//! Connections that have a request to make, as clients of HTTP do: what they may cost until it is complete.

use trochee::{Authentication, Level, Stage};

use super::*;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(600);

impl Driver {
    /// A listener whose connections have a request to make, and so many of them.
    #[track_caller]
    fn serve_requests<const COUNT: usize>(&mut self) -> [(Key, TcpStream); COUNT] {
        let (listener, address) = self.listen(ReadSize::All);
        let awaited = Authentication::RequestAwaited;
        assert!(self.reactor.set_authentication(listener, awaited));
        // Whoever answers this knows of that.
        self.reactor.stats();
        std::array::from_fn(|_| {
            let stream = peer(address);
            (self.accepted(), stream)
        })
    }

    #[track_caller]
    fn expect_end(&mut self, key: Key, setting: Option<&str>) -> Reason {
        // The log hears of it once in a while.
        let (mut ended, mut said) = (None, setting.is_none());
        self.drive("the end", |_, event| {
            match event {
                Seen::Closed(closed, reason) => {
                    assert_eq!(closed, key, "{reason:?}");
                    ended = Some(reason);
                }
                // Nobody is reported as a stranger who fails: browsers connect in advance.
                Seen::Notice(Level::Info, text) => {
                    assert!(text.starts_with("a connection from 127.0.0.1"), "{text}");
                    assert!(text.contains(setting.unwrap_or_default()), "{text}");
                    said = true;
                }
                Seen::Data(..) | Seen::Timer(_) => {}
                other => panic!("unexpected: {other:?}"),
            }
            ended.is_some() && said
        });
        ended.unwrap()
    }
}

#[test]
fn a_request_makes_no_long_pause_and_whoever_has_made_one_may_wait() {
    // What is told by address would be told here, if anything was
    let exempt_addresses = trochee::Networks::default();
    let mut driver = driver!(newcomer_data_timeout: SHORT, exempt_addresses: exempt_addresses);
    let [(silent, _silent_peer)] = driver.serve_requests();
    let reason = driver.expect_end(silent, Some("newcomer_data_timeout"));
    assert_eq!(reason, Reason::NewcomerSilent);

    let [(known, mut known_peer), (begun, mut begun_peer)] = driver.serve_requests();
    known_peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    driver.expect_data(known, b"GET / HTTP/1.1\r\n\r\n");
    assert!(
        driver
            .reactor
            .set_authentication(known, Authentication::Done)
    );
    begun_peer.write_all(b"G").unwrap();
    let reason = driver.expect_end(begun, None);
    assert_eq!(reason, Reason::NewcomerSilent);
    driver.drive_for(2 * SHORT, |_, event| {
        // Each thread tells once in a while.
        assert!(matches!(event, Seen::Notice(..)), "unexpected: {event:?}");
    });
    let stats = driver.reactor.stats();
    assert_eq!((stats.newcomers_late, stats.authenticated), (2, 0));
    assert_eq!(driver.reactor.stages()[Stage::Established as usize], 1);
}

#[test]
fn a_request_that_comes_byte_by_byte_ends_in_time() {
    let mut driver = driver!(newcomer_data_timeout: LONG, newcomer_timeout: 3 * SHORT);
    let [(key, stream)] = driver.serve_requests();
    let drips = std::thread::spawn(move || {
        while (&stream).write_all(b"x").is_ok() {
            std::thread::sleep(SHORT / 10);
        }
    });
    let reason = driver.expect_end(key, Some("newcomer_timeout"));
    assert_eq!(reason, Reason::NewcomerTimeout);
    drips.join().unwrap();
}

/// A request may be longer than a login. It is the consumer that holds it, and it counts for it.
#[test]
fn a_long_request_is_held_for_its_connection() {
    const LARGE: usize = 1 << 20;
    let mut driver = driver!(newcomer_bytes: 1000, max_queued_memory: Some(LARGE));
    let [(small, mut small_peer), (large, mut large_peer)] = driver.serve_requests();
    small_peer.write_all(&pattern(LARGE / 4)).unwrap();
    let mut got = 0;
    driver.drive("a request that is long enough", |_, event| {
        match event {
            Seen::Data(key, data, _) if key == small => got += data.len(),
            other => panic!("unexpected: {other:?}"),
        }
        got == LARGE / 4
    });
    let sends = std::thread::spawn(move || {
        // It is cut off.
        let _ = large_peer.write_all(&pattern(2 * LARGE));
    });
    let mut ended = None;
    driver.drive("the end of one that is too long", |_, event| {
        if let Seen::Closed(key, reason) = event {
            ended = Some((key, reason));
        }
        ended.is_some()
    });
    assert_eq!(ended, Some((large, Reason::Shed)));
    sends.join().unwrap();
    // Once the request is known, it is nobody's.
    assert!(
        driver
            .reactor
            .set_authentication(small, Authentication::Done)
    );
    small_peer.write_all(&pattern(LARGE)).unwrap();
    driver.drive("more of the other", |_, event| {
        match event {
            Seen::Data(key, data, _) if key == small => got += data.len(),
            Seen::Notice(..) => {}
            other => panic!("unexpected: {other:?}"),
        }
        got == LARGE / 4 + LARGE
    });
}

/// A connection that has made requests for long becomes one on which somebody has to authenticate: a WebSocket.
#[test]
fn who_has_to_authenticate_later_has_the_whole_time_from_then_on() {
    let mut driver = driver!(newcomer_timeout: 3 * SHORT, newcomer_bytes: 1000);
    let [(key, mut stream)] = driver.serve_requests();
    stream.write_all(&pattern(2000)).unwrap();
    driver.expect_data(key, &pattern(2000));
    assert!(driver.reactor.set_authentication(key, Authentication::Done));
    driver.drive_for(4 * SHORT, |_, event| panic!("unexpected: {event:?}"));
    let start = Instant::now();
    assert!(
        driver
            .reactor
            .set_authentication(key, Authentication::Awaited)
    );
    stream.write_all(b"<open/>").unwrap();
    driver.expect_data(key, b"<open/>");
    let reason = driver.expect_end(key, Some("newcomer_timeout"));
    assert_eq!(reason, Reason::NewcomerTimeout);
    assert!(start.elapsed() >= 2 * SHORT);
}
