//! Connections that have not said who they are: what they may cost until they have, and who makes room.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trochee::{Authentication, Level, Stage};

use super::bounds::at_most;
use super::*;

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(600);

impl Driver {
    /// A listener whose connections have to authenticate.
    #[track_caller]
    fn listen_to_strangers(&mut self) -> (Key, SocketAddr) {
        let (key, address) = self.listen(ReadSize::All);
        self.set_authentication(key, Authentication::Awaited);
        (key, address)
    }

    #[track_caller]
    fn set_authentication(&mut self, key: Key, authentication: Authentication) {
        assert!(self.reactor.set_authentication(key, authentication));
        // Whoever answers this knows of that.
        self.reactor.stats();
    }

    /// Runs turns until all of these have ended, and gives the reasons and what was noticed.
    #[track_caller]
    fn ends(&mut self, keys: &[Key]) -> (Vec<Reason>, Vec<String>) {
        let (mut reasons, mut notices) = (vec![None; keys.len()], Vec::new());
        self.drive("the ends", |_, event| {
            match event {
                Seen::Closed(key, reason) => {
                    let at = keys.iter().position(|other| *other == key);
                    reasons[at.expect("one of these")] = Some(reason);
                }
                Seen::Notice(Level::Info | Level::Warn, text) => notices.push(text),
                Seen::Data(..) => {}
                other => panic!("unexpected: {other:?}"),
            }
            // A thread tells of the two in no particular order.
            reasons.iter().all(Option::is_some) && !notices.is_empty()
        });
        (reasons.into_iter().flatten().collect(), notices)
    }
}

#[test]
fn a_newcomer_that_says_nothing_ends_and_others_stay() {
    let mut driver = driver!(newcomer_data_timeout: SHORT);
    let (_, address) = driver.listen_to_strangers();
    let (_, asks_nobody) = driver.listen(ReadSize::All);
    let _never = peer(asks_nobody);
    let quiet = driver.accepted();
    let mut told = peer(address);
    let known = driver.accepted();
    driver.set_authentication(known, Authentication::Done);
    let mut spoke = peer(address);
    let speaker = driver.accepted();
    spoke.write_all(b"<stream>").unwrap();
    driver.expect_data(speaker, b"<stream>");

    let silent = peer(address);
    let stranger = driver.accepted();
    let (reasons, notices) = driver.ends(&[stranger]);
    assert_eq!(reasons, [Reason::NewcomerSilent]);
    let name = silent.local_addr().unwrap().to_string();
    let names = |text: &String| text.contains(&name) && text.contains("newcomer_data_timeout");
    assert!(notices.iter().any(names), "{notices:?}");
    assert_eq!(read_to_end(&silent), b"");
    assert_eq!(driver.reactor.stats().newcomers_late, 1);

    driver.drive_for(2 * SHORT, |_, event| panic!("unexpected: {event:?}"));
    for stream in [&mut told, &mut spoke] {
        stream.write_all(b"x").unwrap();
    }
    let mut got = Vec::new();
    driver.drive("data of both", |_, event| {
        if let Seen::Data(key, ..) = event {
            got.push(key);
        }
        got.len() == 2
    });
    assert!(got.contains(&known) && got.contains(&speaker) && !got.contains(&quiet));
}

#[test]
fn who_talks_on_without_authenticating_ends_in_time() {
    let mut driver = driver!(newcomer_timeout: 3 * SHORT, newcomer_data_timeout: LONG);
    let (_, address) = driver.listen_to_strangers();
    let streams = [peer(address), peer(address)];
    let keys = [driver.accepted(), driver.accepted()];
    let known = keys[0];
    let mut ended = None;
    let mut last = Instant::now();
    driver.reactor.set_timer(SHORT / 5);
    driver.drive("the end of one", |reactor, event| {
        match event {
            Seen::Data(key, ..) if key == known => {
                reactor.set_authentication(key, Authentication::Done);
            }
            Seen::Closed(key, reason) => ended = Some((key, reason)),
            Seen::Data(..) | Seen::Notice(..) | Seen::Timer(_) => {}
            other => panic!("unexpected: {other:?}"),
        }
        if last.elapsed() > SHORT / 10 {
            last = Instant::now();
            reactor.set_timer(SHORT / 5);
            for mut stream in &streams {
                // One of them may be gone.
                let _ = stream.write_all(b" ");
            }
        }
        ended.is_some()
    });
    assert_eq!(ended, Some((keys[1], Reason::NewcomerTimeout)));
    assert_eq!(driver.reactor.stats().authenticated, 1);
    driver.drive_for(3 * SHORT, |_, event| {
        assert!(!matches!(event, Seen::Closed(..)), "{event:?}");
    });
}

#[test]
fn a_newcomer_has_a_budget_of_bytes() {
    let mut driver = driver!(newcomer_bytes: 1000);
    let (_, address) = driver.listen_to_strangers();
    let (mut known_stream, mut stream) = (peer(address), None);
    let known = driver.accepted();
    let stranger = {
        stream.replace(peer(address));
        driver.accepted()
    };
    driver.set_authentication(known, Authentication::Done);
    let mut stream = stream.unwrap();
    stream.write_all(&[b'x'; 1000]).unwrap();
    driver.expect_data(stranger, &[b'x'; 1000]);
    stream.write_all(b"y").unwrap();
    let (reasons, notices) = driver.ends(&[stranger]);
    assert_eq!(reasons, [Reason::NewcomerBudget]);
    assert!(
        notices.iter().any(|text| text.contains("newcomer_bytes")),
        "{notices:?}"
    );
    known_stream.write_all(&[b'x'; 2000]).unwrap();
    driver.expect_data(known, &[b'x'; 2000]);
    assert_eq!(driver.reactor.stats().newcomers_over_budget, 1);
}

/// The loop was busy for longer than a newcomer may be silent: whoever has spoken meanwhile is heard.
#[test]
fn a_newcomer_is_not_late_when_we_are() {
    let mut driver = driver!(newcomer_data_timeout: SHORT, newcomer_timeout: 4 * SHORT);
    let (_, address) = driver.listen_to_strangers();
    let mut streams = Vec::new();
    let mut keys = Vec::new();
    for _ in 0..300 {
        streams.push(peer(address));
        keys.push(driver.accepted());
    }
    for stream in &mut streams {
        stream.write_all(b"hello").unwrap();
    }
    std::thread::sleep(2 * SHORT);
    let mut heard = 0;
    driver.drive("all of them", |reactor, event| {
        match event {
            Seen::Data(key, ..) => {
                heard += 1;
                reactor.set_authentication(key, Authentication::Done);
                // What the consumer does takes time as well.
                std::thread::sleep(Duration::from_millis(2));
            }
            Seen::Notice(..) => {}
            other => panic!("unexpected: {other:?}"),
        }
        heard == keys.len()
    });
}

#[test]
fn only_so_many_newcomers_are_accepted_and_more_when_some_have_authenticated() {
    let mut driver = driver!(max_newcomers: 4);
    let (listener, address) = driver.listen_to_strangers();
    let _streams: Vec<_> = (0..10).map(|_| peer(address)).collect();
    let mut keys: Vec<Key> = Vec::new();
    let mut notices = Vec::new();
    driver.drive_for(4 * SILENCE, |_, event| match event {
        Seen::Accepted { key, .. } => keys.push(key),
        Seen::Notice(_, text) => notices.push(text),
        other => panic!("unexpected: {other:?}"),
    });
    assert_eq!(keys.len(), 4);
    assert!(
        notices.iter().all(|text| text.contains("max_newcomers")) && !notices.is_empty(),
        "{notices:?}"
    );
    assert_eq!(stage(&mut driver, Stage::Accepted), 4);
    // Those who wait outside keep nobody busy.
    let before = thread_time();
    driver.drive_for(SILENCE * 4, |_, event| panic!("unexpected: {event:?}"));
    let used = thread_time() - before;
    assert!(used < SILENCE, "busy for {used:?}");

    driver.set_authentication(keys[0], Authentication::Done);
    let fifth = driver.accepted();
    assert!(driver.reactor.destroy(keys[1]));
    let sixth = driver.accepted();
    driver.expect_silence();
    assert_eq!(stage(&mut driver, Stage::Established), 1);
    assert!(fifth != sixth);

    // Where nobody tells any more, nobody is asked.
    driver.set_authentication(listener, Authentication::NotAsked);
    for _ in 0..4 {
        driver.accepted();
    }
    driver.expect_silence();
}

#[test]
fn a_connection_passes_the_stages() {
    let mut driver = driver!();
    let (_, address) = driver.listen_to_strangers();
    let mut stream = peer(address);
    let key = driver.accepted();
    assert_eq!(stage(&mut driver, Stage::Accepted), 1);
    for _ in 0..20 {
        stream.write_all(b"x").unwrap();
        driver.expect_data(key, b"x");
        assert_eq!(stage(&mut driver, Stage::Opened), 1);
    }
    driver.set_authentication(key, Authentication::Done);
    assert_eq!(stage(&mut driver, Stage::Established), 1);

    // Where nobody tells, the reads say.
    let (_, address) = driver.listen(ReadSize::All);
    let mut stream = peer(address);
    let key = driver.accepted();
    for _ in 0..16 {
        assert_eq!(stage(&mut driver, Stage::Established), 1);
        stream.write_all(b"x").unwrap();
        driver.expect_data(key, b"x");
    }
    assert_eq!(stage(&mut driver, Stage::Established), 2);
}

fn stage(driver: &mut Driver, stage: Stage) -> usize {
    driver.reactor.stages()[stage as usize]
}

#[test]
fn without_descriptors_the_newest_strangers_make_room() {
    alone!(without_descriptors_the_newest_strangers_make_room);
    let mut driver = driver!(raise_descriptor_limit: false);
    let (_, address) = driver.listen_to_strangers();
    let mut streams = Vec::new();
    let mut keys = Vec::new();
    for _ in 0..60 {
        streams.push(peer(address));
        keys.push(driver.accepted());
        // Each at a time of its own.
        driver.turn();
    }
    // The first have authenticated, and the last have spoken.
    for &key in &keys[..10] {
        driver.set_authentication(key, Authentication::Done);
    }
    for at in 50..60 {
        streams[at].write_all(b"x").unwrap();
        driver.expect_data(keys[at], b"x");
    }
    let callee = TcpListener::bind("127.0.0.1:0").unwrap();
    take_all_descriptors();
    let called = callee.local_addr().unwrap();
    let outgoing = driver
        .reactor
        .connect(called, SocketKind::Stream, ReadSize::All)
        .expect("room was made for it");
    let (mut ended, mut connected) = (Vec::new(), false);
    driver.drive("room", |reactor, event| {
        match event {
            Seen::Closed(key, reason) => {
                assert_eq!(reason, Reason::Shed);
                ended.push(key);
            }
            Seen::Connected(key) => connected = key == outgoing,
            Seen::Notice(_, text) => assert!(text.contains("descriptors"), "{text}"),
            Seen::Predrain(_) | Seen::Drain(_) => {}
            other => panic!("unexpected: {other:?}"),
        }
        // Each thread tells of its own when it gets to it
        connected && !ended.is_empty() && ended.len() as u64 == reactor.stats().shed
    });
    // Those with nothing to lose, and the newest. Threads do not accept alike: one that has few with nothing to lose goes on with those
    // that have spoken, but none with those that have authenticated.
    let (most, who) = if io_threads() > 0 {
        (2 * 16, &keys[10..])
    } else {
        (16, &keys[34..50])
    };
    assert!((16..=most).contains(&ended.len()), "{ended:?}");
    let places = ended.iter().map(|key| keys.iter().position(|k| k == key));
    let places: Vec<_> = places.collect();
    assert!(ended.iter().all(|key| who.contains(key)), "{places:?}");
}

/// Where nobody has to authenticate, such as for HTTP: who has not sent anything goes before those who log in elsewhere.
#[test]
fn without_descriptors_the_silent_make_room_where_nobody_authenticates() {
    alone!(without_descriptors_the_silent_make_room_where_nobody_authenticates);
    let mut driver = driver!(raise_descriptor_limit: false);
    let (_, asks_nobody) = driver.listen(ReadSize::All);
    let (_, address) = driver.listen_to_strangers();
    let mut streams = Vec::new();
    let mut keys = Vec::new();
    for at in 0..80 {
        streams.push(peer(if at < 60 { asks_nobody } else { address }));
        keys.push(driver.accepted());
    }
    // The first have asked for something.
    for at in 0..20 {
        streams[at].write_all(b"x").unwrap();
        driver.expect_data(keys[at], b"x");
    }
    driver.drive_for(Duration::from_millis(5200), |_, event| {
        panic!("unexpected: {event:?}")
    });
    let callee = TcpListener::bind("127.0.0.1:0").unwrap();
    take_all_descriptors();
    let called = callee.local_addr().unwrap();
    let outgoing = driver
        .reactor
        .connect(called, SocketKind::Stream, ReadSize::All)
        .expect("room was made for it");
    let (mut ended, mut connected) = (Vec::new(), false);
    driver.drive("room", |_, event| {
        match event {
            Seen::Closed(key, reason) => {
                assert_eq!(reason, Reason::Shed);
                ended.push(key);
            }
            Seen::Connected(key) => connected = key == outgoing,
            _ => {}
        }
        connected && !ended.is_empty()
    });
    assert!(ended.iter().all(|key| keys[20..60].contains(key)));
}

/// Lowers the limit of descriptors to those that are open.
fn take_all_descriptors() {
    let probe = TcpListener::bind("127.0.0.1:0").unwrap();
    let limit = std::os::fd::AsRawFd::as_raw_fd(&probe) as u64;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = Some(limit);
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
}

/// Strangers that hold all places of a port, and say nothing, lose them to who comes after them.
#[test]
fn in_a_crowd_those_who_say_nothing_make_room() {
    let mut driver = driver!(max_newcomers: 4);
    let (_, address) = driver.listen_to_strangers();
    let _silent: Vec<_> = (0..4).map(|_| peer(address)).collect();
    let strangers: Vec<Key> = (0..4).map(|_| driver.accepted()).collect();
    let mut honest = peer(address);
    honest.write_all(b"<stream>").unwrap();
    let (mut ended, mut heard) = (0, None);
    let start = Instant::now();
    driver.drive("a place", |_, event| {
        match event {
            Seen::Closed(key, reason) => {
                assert!(strangers.contains(&key));
                assert_eq!(reason, Reason::NewcomerSilent);
                ended += 1;
            }
            Seen::Data(key, data, _) if data == b"<stream>" => heard = Some(key),
            Seen::Notice(_, text) => assert!(text.contains("max_newcomers"), "{text}"),
            Seen::Accepted { .. } => {}
            other => panic!("unexpected: {other:?}"),
        }
        heard.is_some() && ended == 4
    });
    let most = at_most(
        "Time",
        "takes a place that others wait for, and says nothing",
    );
    assert!(start.elapsed() > Duration::from_secs(most as u64 / 2));
    // Who has said something may stay, though it has not authenticated.
    driver.expect_silence();
}

#[test]
fn every_connection_is_described() {
    let mut driver = driver!();
    let (_, address) = driver.listen_to_strangers();
    let mut stream = peer(address);
    let key = driver.accepted();
    stream.write_all(b"hello").unwrap();
    driver.expect_data(key, b"hello");
    driver.reactor.write(key, b"welcome").unwrap();
    let mut welcome = [0; 7];
    driver.turn();
    stream.read_exact(&mut welcome).unwrap();
    let _silent = peer(address);
    let other = driver.accepted();

    let mut seen = driver.reactor.connections();
    seen.sort_by_key(|info| info.key != key);
    let [talked, silent] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!((talked.key, silent.key), (key, other));
    assert_eq!(
        (talked.stage, silent.stage),
        (Stage::Opened, Stage::Accepted)
    );
    assert_eq!((talked.reads, talked.received), (1, 5), "{talked:?}");
    assert_eq!((talked.sent, talked.queued), (7, 0), "{talked:?}");
    assert!(
        talked.age >= silent.age && talked.age < PATIENCE,
        "{seen:?}"
    );
    assert!(talked.idle <= talked.age);

    let tcp = talked.tcp.expect("a TCP connection");
    assert!(tcp.round_trip > Duration::ZERO && tcp.round_trip < PATIENCE);
    assert_eq!(tcp.unacknowledged, 0, "the peer has read it");
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let local = driver.reactor.adopt(one.into(), ReadSize::All).unwrap();
    let seen = driver.reactor.connections();
    let local = seen.iter().find(|info| info.key == local).unwrap();
    assert_eq!(local.tcp, None);
}

/// A client behind a proxy is a newcomer like any other, and has its own name in the log.
#[test]
fn a_newcomer_behind_a_proxy_is_named() {
    let proxy_protocol = with!(trochee::ProxyProtocol::default(),
        trusted: trochee::Networks::named(["127.0.0.1"]).unwrap(),
    );
    let mut driver = driver!(newcomer_data_timeout: SHORT, proxy_protocol: proxy_protocol);
    let (_, address) = driver.listen_to_strangers();
    let mut proxy = peer(address);
    proxy
        .write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 5222\r\n")
        .unwrap();
    let key = driver.accepted();
    assert_eq!(stage(&mut driver, Stage::Proxied), 1);
    let (reasons, notices) = driver.ends(&[key]);
    assert_eq!(reasons, [Reason::NewcomerSilent]);
    let named = notices[0].starts_with("Stranger 192.0.2.7 failed: nothing was sent in time");
    assert!(named, "{notices:?}");
}
