//! Connections, their threads, and their handlers.

use std::os::fd::OwnedFd;

use super::*;

#[test]
fn every_connection_gets_its_own_bytes_back() {
    available!();
    for threads in THREADS {
        let server = serve(threads, || Echo);
        let address = server.address();
        let peers: Vec<_> = (0..8)
            .map(|index| {
                thread::spawn(move || {
                    let stream = peer(address);
                    let sent = pattern(300_000 + index);
                    let mut writing = stream.try_clone().unwrap();
                    let all = sent.clone();
                    let writer = thread::spawn(move || {
                        writing.write_all(&all).unwrap();
                        writing.shutdown(Shutdown::Write).unwrap();
                    });
                    assert!(read_to_end(&stream) == sent);
                    writer.join().unwrap();
                })
            })
            .collect();
        for peer in peers {
            peer.join().unwrap();
        }
        assert_eq!(*server.notices.lock().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn connections_are_dealt_out_evenly() {
    available!();
    const CONNECTIONS: usize = 400;
    const SHARE: usize = CONNECTIONS / 4;
    let (make, calls) = probe(|conn, call| {
        if *call == Call::Connect {
            let name = thread::current().name().unwrap_or_default().to_owned();
            conn.write(name.as_bytes()).unwrap();
            conn.close();
        }
    });
    let server = serve(4, make);
    let mut shares: HashMap<Vec<u8>, usize> = HashMap::new();
    for _ in 0..CONNECTIONS {
        *shares.entry(read_to_end(&server.connect())).or_default() += 1;
    }
    assert_eq!(shares.len(), 4, "{shares:?}");
    let fair = SHARE * 4 / 5..=SHARE * 6 / 5;
    assert!(
        shares.values().all(|share| fair.contains(share)),
        "{shares:?}"
    );
    drop(calls);
}

#[test]
fn a_panic_ends_its_own_connection_only() {
    available!();
    struct Touchy;
    impl Handler for Touchy {
        fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
            assert_ne!(data, b"boo", "that was too much");
            let _ = conn.write(data);
        }
    }
    for threads in THREADS {
        let server = serve(threads, || Touchy);
        // So many that each thread has some of either kind.
        let mut calm: Vec<_> = (0..2 * threads).map(|_| server.connect()).collect();
        for _ in 0..threads {
            let mut stream = server.connect();
            stream.write_all(b"boo").unwrap();
            assert_eq!(read_to_end(&stream), b"");
        }
        for stream in &mut calm {
            stream.write_all(b"still here").unwrap();
            expect(stream, b"still here");
        }
        let notices = server.notices.lock().unwrap();
        assert_eq!(notices.len(), threads, "{notices:?}");
        assert!(notices[0].contains("that was too much"), "{notices:?}");
    }
}

#[test]
fn a_factory_that_panics_costs_one_connection() {
    available!();
    let made = AtomicUsize::new(0);
    let server = serve(1, move || {
        assert_ne!(made.fetch_add(1, Ordering::Relaxed), 0, "not today");
        Echo
    });
    assert_eq!(read_to_end(&server.connect()), b"");
    let mut stream = server.connect();
    stream.write_all(b"now").unwrap();
    expect(&mut stream, b"now");
}

/// Connections would go on being dealt out to it.
#[test]
fn a_thread_that_panics_ends_the_server() {
    available!();
    let (make, _calls) = probe(|_, call| assert_eq!(*call, Call::Connect));
    let server = Server::builder()
        .backend(poller_name())
        .threads(4)
        .on_notice(|_, _| panic!("the log is gone"))
        .listen("127.0.0.1:0", make)
        .build()
        .unwrap();
    let Name::Inet(address) = server.handle().addresses()[0].clone() else {
        panic!("no address");
    };
    let running = thread::spawn(move || server.run());
    let stays = peer(address);
    let mut fatal = peer(address);
    fatal.write_all(b"!").unwrap();
    assert_eq!(read_to_end(&stays), b"");
    let outcome = running.join().unwrap();
    assert!(matches!(outcome, Err(trochee::server::Error::Panicked)));
}

/// The words for the log go to standard error unless told otherwise, and whoever read that may have gone.
#[test]
fn a_log_that_nobody_reads_is_no_reason_to_stop() {
    available!();
    const TEST: &str = "serving::a_log_that_nobody_reads_is_no_reason_to_stop";
    const DEAF: &str = "NOBODY_READS_STANDARD_ERROR";
    if std::env::var_os(DEAF).is_none() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                &format!("{}::{TEST}", poller_name()),
                "--exact",
                "--nocapture",
            ])
            .env(DEAF, "1")
            .stdout(std::process::Stdio::null())
            .stderr(writer)
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let (make, _calls) = probe(|conn, call| match call {
        Call::Incoming(data) if data == b"!" => panic!("told of on standard error"),
        Call::Incoming(data) => {
            conn.write(data).unwrap();
        }
        _ => {}
    });
    let server = Server::builder()
        .backend(poller_name())
        .listen("127.0.0.1:0", make)
        .build()
        .unwrap();
    let handle = server.handle();
    let Name::Inet(address) = handle.addresses()[0].clone() else {
        panic!("no address");
    };
    let running = thread::spawn(move || server.run());
    let mut fatal = peer(address);
    fatal.write_all(b"!").unwrap();
    assert_eq!(read_to_end(&fatal), b"");
    let mut stream = peer(address);
    stream.write_all(b"hello").unwrap();
    expect(&mut stream, b"hello");
    handle.shutdown(Duration::ZERO);
    running.join().unwrap().unwrap();
}

/// And whoever is to read it may be stuck, with the pipe full.
#[test]
fn a_log_that_is_stuck_stops_nobody() {
    available!();
    const TEST: &str = "serving::a_log_that_is_stuck_stops_nobody";
    const STUCK: &str = "STANDARD_ERROR_IS_FULL";
    if std::env::var_os(STUCK).is_none() {
        let (_reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while (&writer).write(&[b'.'; 4096]).is_ok() {}
        while (&writer).write(b".").is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                &format!("{}::{TEST}", poller_name()),
                "--exact",
                "--nocapture",
            ])
            .env(STUCK, "1")
            .stdout(std::process::Stdio::null())
            .stderr(writer)
            .status();
        assert!(status.unwrap().success());
        return;
    }
    // The program's own word on a panic would wait for the reader.
    std::panic::set_hook(Box::new(|_| {}));
    let (make, _calls) = probe(|conn, call| match call {
        Call::Incoming(data) if data == b"!" => panic!("told of on standard error"),
        Call::Incoming(data) => {
            conn.write(data).unwrap();
        }
        _ => {}
    });
    let server = Server::builder()
        .backend(poller_name())
        .listen("127.0.0.1:0", make)
        .build()
        .unwrap();
    let handle = server.handle();
    let Name::Inet(address) = handle.addresses()[0].clone() else {
        panic!("no address");
    };
    let running = thread::spawn(move || server.run());
    let mut stays = peer(address);
    for _ in 0..3 {
        let mut fatal = peer(address);
        fatal.write_all(b"!").unwrap();
        assert_eq!(read_to_end(&fatal), b"");
    }
    stays.write_all(b"hello").unwrap();
    expect(&mut stays, b"hello");
    handle.shutdown(Duration::ZERO);
    running.join().unwrap().unwrap();
}

#[test]
fn timers_fire_once_unless_they_are_taken_back() {
    available!();
    for threads in THREADS {
        let mut timers = Vec::new();
        let (make, calls) = probe(move |conn: &mut Conn<'_>, call: &Call| match call {
            Call::Connect => {
                for after in [20, 1, 60_000, 10] {
                    let after = Duration::from_millis(after);
                    timers.push(conn.set_timer(after).unwrap());
                }
                assert!(conn.cancel_timer(timers[3]));
                assert!(!conn.cancel_timer(timers[3]));
                assert!(conn.reset_timer(timers[2], Duration::from_millis(40)));
            }
            Call::Timer(timer) => {
                let nth = timers.iter().position(|other| other == timer).unwrap();
                conn.write(&[nth as u8]).unwrap();
                if nth == 2 {
                    // These end with the connection.
                    conn.set_timer(Duration::from_millis(1));
                    conn.close();
                }
            }
            _ => {}
        });
        let server = serve(threads, make);
        assert_eq!(read_to_end(&server.connect()), [1, 0, 2]);
        let calls: Vec<_> = std::iter::from_fn(|| Some(next(&calls))).take(5).collect();
        assert!(matches!(calls[4], Call::Disconnect(_)), "{calls:?}");
    }
}

#[test]
fn silence_is_told_and_ends_a_connection_that_does_not_mind() {
    available!();
    let (make, calls) = probe(|_, _| {});
    let config = with!(Config::default(), read_timeout: Duration::from_millis(50));
    let server = run(1, |builder| {
        builder.config(config).listen("127.0.0.1:0", make)
    });
    let stream = server.connect();
    assert_eq!(read_to_end(&stream), b"");
    for wanted in [
        Call::Connect,
        Call::ReadTimeout,
        Call::Disconnect(Reason::ReadTimeout),
    ] {
        assert_eq!(next(&calls), wanted);
    }
}

#[test]
fn a_peer_that_does_not_read_is_seen_in_time_and_cut_off_at_the_limit() {
    available!();
    const LIMIT: usize = 256 * 1024;
    let (make, calls) = probe(|conn, call| {
        if *call == Call::Connect {
            let piece = pattern(64 * 1024);
            while conn.write(&piece).is_ok() {
                assert!(conn.pending() <= LIMIT);
            }
        }
    });
    let config = with!(Config::default(), max_send_buffer_size: LIMIT);
    let server = run(1, |builder| {
        builder.config(config).listen("127.0.0.1:0", make)
    });
    let _stream = narrow_peer(server.address());
    assert_eq!(next(&calls), Call::Connect);
    assert_eq!(next(&calls), Call::Disconnect(Reason::SendBufferFull));
}

#[test]
fn no_more_than_max_connections_are_served_over_all_threads() {
    available!();
    for threads in THREADS {
        let (make, calls) = probe(|_, _| {});
        let config = with!(Config::default(), max_connections: Some(3));
        let server = run(threads, |builder| {
            builder.config(config).listen("127.0.0.1:0", make)
        });
        let mut peers: Vec<_> = (0..5).map(|_| server.connect()).collect();
        for _ in 0..3 {
            assert_eq!(next(&calls), Call::Connect);
        }
        assert!(calls.recv_timeout(SILENCE).is_err(), "a fourth one");
        // Each that leaves makes room for one that waits.
        for _ in 0..2 {
            drop(peers.remove(0));
            let two = [next(&calls), next(&calls)];
            assert!(two.contains(&Call::Connect), "{two:?}");
        }
    }
}

/// One count for all threads, wherever the connections are served.
#[test]
fn an_address_has_no_more_than_its_share_over_all_threads() {
    available!();
    for threads in THREADS {
        let (make, calls) = probe(|_, _| {});
        let config = with!(Config::default(),
            exempt_addresses: trochee::Networks::default(),
            max_connections_per_address: 3,
        );
        let server = run(threads, |builder| {
            builder.config(config).listen("127.0.0.1:0", make)
        });
        let mut peers: Vec<_> = (0..3)
            .map(|_| peer_from("127.0.0.2", server.address()))
            .collect();
        for _ in 0..3 {
            assert_eq!(next(&calls), Call::Connect);
        }
        let mut refused = peer_from("127.0.0.2", server.address());
        let end = refused.read(&mut [0]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        let _other = peer_from("127.0.0.3", server.address());
        assert_eq!(next(&calls), Call::Connect);
        // The one that leaves makes room, as soon as its thread has seen that.
        drop(peers.remove(0));
        assert_eq!(next(&calls), Call::Disconnect(Reason::PeerClosed));
        let give_up = Instant::now() + PATIENCE;
        let _again = loop {
            let mut again = peer_from("127.0.0.2", server.address());
            if let Ok(call) = calls.recv_timeout(SILENCE) {
                assert_eq!(call, Call::Connect);
                break again;
            }
            let end = again.read(&mut [0]);
            assert!(
                matches!(end, Ok(0) | Err(_)) && Instant::now() < give_up,
                "{end:?}"
            );
        };
        let notices = server.notices.lock().unwrap();
        assert!(
            notices[0].contains("from 127.0.0.2: more than 3 connections"),
            "{notices:?}"
        );
    }
}

#[test]
fn signals_are_for_other_threads() {
    available!();
    let server = serve(4, || Echo);
    let give_up = Instant::now() + PATIENCE;
    let masks = loop {
        let masks: Vec<u64> = std::fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
            .filter(|status| status.starts_with("Name:\ttrochee-"))
            .filter_map(|status| {
                let mask = status
                    .lines()
                    .find_map(|line| line.strip_prefix("SigBlk:"))?;
                u64::from_str_radix(mask.trim(), 16).ok()
            })
            .collect();
        if masks.len() >= 4 {
            break masks;
        }
        assert!(Instant::now() < give_up, "{masks:?}");
        thread::yield_now();
    };
    let wanted = 1 << (libc::SIGTERM - 1) | 1 << (libc::SIGHUP - 1) | 1 << (libc::SIGINT - 1);
    assert!(
        masks.iter().all(|mask| mask & wanted == wanted),
        "{masks:x?}"
    );
    drop(server);
}

#[test]
fn what_can_not_be_built_says_why() {
    available!();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let builder = || Server::builder().backend(poller_name());
    let error = |builder: Builder| builder.build().err().unwrap().to_string();
    assert_eq!(
        error(builder().listen(address, || Echo)),
        format!("cannot listen on {address}: address already in use")
    );
    let text = error(builder().listen("nonsense", || Echo));
    assert!(text.contains("cannot listen on nonsense"), "{text}");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    for socket in [OwnedFd::from(udp), stream.into()] {
        let text = error(builder().listen(Listen::adopt(socket), || Echo));
        assert!(text.starts_with("cannot listen on descriptor "), "{text}");
        assert!(text.ends_with(": not a listening socket"), "{text}");
    }
    let text = error(builder().threads(0));
    assert!(text.starts_with("0 threads"), "{text}");
    let text = error(builder().backend("kqueue"));
    assert!(text.contains("kqueue") && text.contains("poll"), "{text}");
}
