//! The end of a server, and its successor.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;

use rustix::net::sockopt;

use super::*;

/// Writes 8 MiB at once; closing sends them.
struct Generous;

impl Handler for Generous {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        conn.write(&pattern(8 << 20)).unwrap();
    }
}

#[test]
fn a_shutdown_sends_what_is_queued() {
    available!();
    let sent = pattern(8 << 20);
    for threads in THREADS {
        let server = serve(threads, || Generous);
        let mut peers: Vec<_> = (0..threads)
            .map(|_| narrow_peer(server.address()))
            .collect();
        for peer in &mut peers {
            expect(peer, &sent[..100]);
            // It is queued, and may leave faster than through 16 KiB at a time.
            sockopt::set_socket_recv_buffer_size(&*peer, 1 << 20).unwrap();
        }
        let address = server.address();
        let readers: Vec<_> = peers
            .into_iter()
            .map(|peer| thread::spawn(move || read_to_end(&peer)))
            .collect();
        let took = server.end(PATIENCE);
        assert!(took < PATIENCE, "{took:?}");
        for reader in readers {
            assert!(reader.join().unwrap() == sent[100..]);
        }
        TcpStream::connect(address).unwrap_err();
    }
}

/// Greets, and says goodbye.
struct Polite;

impl Handler for Polite {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        conn.write(b"hello").unwrap();
    }

    fn on_shutdown(&mut self, conn: &mut Conn<'_>, _deadline: Instant) {
        conn.write(b"bye").unwrap();
        conn.close();
    }
}

/// The last connection may end at any step of a turn, also just before its wait.
#[test]
fn the_last_end_is_the_servers() {
    available!();
    for threads in THREADS {
        let server = serve(threads, || Polite);
        let mut stream = server.connect();
        expect(&mut stream, b"hello");
        let took = server.end(PATIENCE);
        assert!(took < PATIENCE, "{took:?}");
        assert_eq!(read_to_end(&stream), b"bye");
    }
}

#[test]
fn handlers_are_told_and_have_until_the_deadline() {
    available!();
    for threads in THREADS {
        // Tells of the shutdown and stays.
        let (make, calls) = probe(|_, _| {});
        let server = serve(threads, make);
        let stream = server.connect();
        assert_eq!(next(&calls), Call::Connect);
        let within = Duration::from_millis(200);
        let took = server.end(within);
        assert!(took >= within && took < PATIENCE, "{took:?}");
        assert_eq!(next(&calls), Call::Shutdown);
        assert_eq!(next(&calls), Call::Disconnect(Reason::Local));
        assert_eq!(read_to_end(&stream), b"");
    }
}

#[test]
fn there_may_be_no_deadline() {
    available!();
    let (make, calls) = probe(|_, _| {});
    let server = serve(1, make);
    let stream = server.connect();
    assert_eq!(next(&calls), Call::Connect);
    server.handle.shutdown(Duration::MAX);
    assert_eq!(next(&calls), Call::Shutdown);
    assert!(calls.recv_timeout(SILENCE).is_err(), "it has a deadline");
    drop(stream);
    assert_eq!(next(&calls), Call::Disconnect(Reason::PeerClosed));
    server.end(PATIENCE);
}

/// A peer that takes nothing cannot hold it up.
#[test]
fn a_deadline_ends_what_does_not_end() {
    available!();
    let server = serve(1, || Generous);
    let mut stream = narrow_peer(server.address());
    expect(&mut stream, &pattern(8 << 20)[..1]);
    let within = Duration::from_millis(100);
    let took = server.end(within);
    assert!(took >= within && took < PATIENCE, "{took:?}");
}

/// Echoes, and at a shutdown waits for its peer to leave.
struct Finishing;

impl Handler for Finishing {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let _ = conn.write(data);
    }

    fn on_shutdown(&mut self, _conn: &mut Conn<'_>, _deadline: Instant) {}
}

#[test]
fn a_successor_takes_over_the_listeners_and_nobody_is_turned_away() {
    available!();
    for threads in THREADS {
        let first = serve(threads, || Finishing);
        let address = first.address();
        let (stop, stopped) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
        let asked = Arc::new(stopped);
        let (watch, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let client = thread::spawn(move || {
            while !watch.load(Ordering::Relaxed) {
                let mut stream = peer(address);
                stream.write_all(b"?").unwrap();
                expect(&mut stream, b"?");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let asked_more = |more: usize| {
            let (before, give_up) = (asked.load(Ordering::Relaxed), Instant::now() + PATIENCE);
            while asked.load(Ordering::Relaxed) < before + more {
                assert!(Instant::now() < give_up && !client.is_finished());
                thread::yield_now();
            }
        };
        asked_more(20);
        let sockets = first.handle.listeners().unwrap();
        let second = run(threads, |mut builder| {
            for socket in sockets {
                builder = builder.listen(Listen::adopt(socket), || Echo);
            }
            builder
        });
        assert_eq!(second.address(), address);
        let handle = first.handle.clone();
        first.end(PATIENCE);
        assert_eq!(handle.listeners().unwrap().len(), 0);
        asked_more(20);
        stop.store(true, Ordering::Relaxed);
        client.join().unwrap();
        drop(second);
    }
}

#[test]
fn a_server_that_never_runs_leaves_nobody_listening() {
    available!();
    let server = Server::builder()
        .backend(poller_name())
        .listen("127.0.0.1:0", || Echo)
        .build()
        .unwrap();
    let handle = server.handle();
    let Name::Inet(address) = handle.addresses()[0].clone() else {
        panic!("no address");
    };
    drop(server);
    assert_eq!(handle.listeners().unwrap().len(), 0);
    TcpStream::connect(address).unwrap_err();
}

/// As systemd starts a service: the socket is descriptor 3, and two variables say so.
#[test]
fn sockets_are_inherited_from_a_service_manager() {
    available!();
    const TEST: &str = "ending::sockets_are_inherited_from_a_service_manager";
    if std::env::var_os("LISTEN_FDS").is_some() {
        let sockets = trochee::server::inherited();
        assert_eq!(sockets.len(), 1);
        assert!(trochee::server::inherited().is_empty());
        let (make, calls) = probe(|conn, call| {
            if let Call::Incoming(data) = call {
                conn.write(data).unwrap();
            }
        });
        let server = run(1, |builder| {
            builder.listen(Listen::adopt(sockets.into_iter().next().unwrap()), make)
        });
        while !matches!(next(&calls), Call::Disconnect(_)) {}
        server.end(PATIENCE);
        return;
    }
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let script = format!(
        "exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 exec '{}' {}::{TEST} --exact --nocapture",
        std::env::current_exe().unwrap().display(),
        poller_name()
    );
    let mut child = std::process::Command::new("sh")
        .args(["-c", &script])
        .stdin(OwnedFd::from(socket))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stream = peer(address);
    stream.write_all(b"inherited").unwrap();
    expect(&mut stream, b"inherited");
    drop(stream);
    assert!(child.wait().unwrap().success());
}

/// What a watchdog asks: whether anything gets on.
#[test]
fn a_probe_is_answered_unless_a_thread_is_stuck() {
    available!();
    let (stick, stuck) = std::sync::mpsc::sync_channel::<()>(0);
    let stuck = Arc::new(Mutex::new(stuck));
    let (make, _calls) = probe(move |_, call| {
        if let Call::Incoming(_) = call {
            let _ = stuck.lock().unwrap().recv();
        }
    });
    let server = serve(2, make);
    let answered = |server: &Running| {
        let probe = server.handle.probe();
        let give_up = Instant::now() + PATIENCE;
        while !probe.is_answered() {
            assert!(Instant::now() < give_up, "no answer");
            thread::sleep(Duration::from_millis(1));
        }
    };
    answered(&server);
    server.connect().write_all(b"stuck").unwrap();
    // The other thread and the one that accepts have time enough for theirs.
    thread::sleep(SILENCE);
    let asked = server.handle.probe();
    thread::sleep(SILENCE);
    assert!(!asked.is_answered());
    stick.send(()).unwrap();
    answered(&server);
    let handle = server.handle.clone();
    server.end(Duration::ZERO);
    assert!(handle.probe().is_answered());
}

#[test]
fn nobody_answers_before_the_server_runs() {
    available!();
    let (make, _calls) = probe(|_, _| {});
    let server = Server::builder()
        .backend(poller_name())
        .listen("127.0.0.1:0", make)
        .build()
        .unwrap();
    let handle = server.handle();
    let asked = handle.probe();
    assert!(!asked.is_answered());
    let running = thread::spawn(move || server.run());
    let give_up = Instant::now() + PATIENCE;
    while !asked.is_answered() {
        assert!(Instant::now() < give_up, "no answer");
        thread::sleep(Duration::from_millis(1));
    }
    handle.shutdown(Duration::ZERO);
    running.join().unwrap().unwrap();
}
