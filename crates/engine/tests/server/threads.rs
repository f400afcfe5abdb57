//! What runs on the threads of a server and belongs to no connection.

use std::cell::Cell;
use std::collections::HashSet;

use super::*;

#[test]
fn each_thread_begins_with_its_hook_before_it_serves() {
    thread_local! {
        static BEGAN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    struct Asks(Sender<Option<usize>>);
    impl Handler for Asks {
        fn on_connect(&mut self, conn: &mut Conn<'_>) {
            assert_eq!(BEGAN.get(), Some(conn.thread().index()));
            self.0.send(BEGAN.get()).unwrap();
        }
    }
    available!();
    for threads in THREADS {
        let (tell, told) = mpsc::channel();
        let server = run(threads, |builder| {
            builder
                .on_start(|thread| BEGAN.set(Some(thread.index())))
                .listen("127.0.0.1:0", move || Asks(tell.clone()))
        });
        let _streams: Vec<_> = (0..8).map(|_| server.connect()).collect();
        let seen: HashSet<_> = (0..8).map(|_| next(&told)).collect();
        assert_eq!(seen.len(), threads);
        assert_eq!(server.handle.threads(), threads);
    }
}

#[test]
fn a_task_connects_without_anybody_having_asked() {
    available!();
    let behind = serve(1, || Echo);
    let target = Name::Inet(behind.address());
    let (make, calls) = probe(|conn: &mut Conn<'_>, call: &Call| {
        if *call == Call::Connect {
            conn.write(b"hello").unwrap();
        }
    });
    for threads in THREADS {
        let server = serve(threads, || Echo);
        wait_for_threads(&server, threads);
        for index in 0..threads {
            let (target, handler) = (target.clone(), make());
            let task = move |thread: &mut trochee::server::Thread<'_>| {
                assert_eq!(thread.index(), index);
                let key = thread.connect(&target, handler).unwrap();
                assert_eq!(thread.keys(), [key]);
            };
            server.handle.run_on(index, task).unwrap();
            let answer = Call::Incoming(b"hello".to_vec());
            while next(&calls) != answer {}
        }
        assert!(matches!(
            server.handle.run_on(threads, |_| ()),
            Err(Error::Closed)
        ));
    }
}

#[test]
fn timers_of_a_thread_are_called_once_and_can_be_taken_back() {
    available!();
    let (tell, told) = mpsc::channel();
    let server = run(1, |builder| {
        builder.on_start(move |thread| {
            let (again, tell) = (tell.clone(), tell.clone());
            let never = thread.set_timer(SILENCE / 2, |_| panic!("it was taken back"));
            thread.set_timer(SILENCE / 4, move |thread| {
                assert!(thread.cancel_timer(never));
                assert!(!thread.cancel_timer(never));
                tell.send("first").unwrap();
                thread.set_timer(SILENCE, move |_| again.send("second").unwrap());
            });
        })
    });
    assert_eq!(next(&told), "first");
    assert_eq!(next(&told), "second");
    assert_eq!(
        told.recv_timeout(SILENCE),
        Err(mpsc::RecvTimeoutError::Timeout)
    );
    assert!(server.notices.lock().unwrap().is_empty());
}

#[test]
fn a_task_that_panics_is_told_and_the_thread_goes_on() {
    available!();
    let server = serve(1, || Echo);
    wait_for_threads(&server, 1);
    server.handle.run_on(0, |_| panic!("on purpose")).unwrap();
    let mut stream = server.connect();
    stream.write_all(b"still there?").unwrap();
    expect(&mut stream, b"still there?");
    let notices = server.notices.lock().unwrap();
    assert!(notices.iter().any(|text| text.contains("on purpose")));
}

#[test]
#[allow(clippy::mutable_key_type)] // the hash of a handle is that of its key, which never changes
fn no_two_connections_of_a_server_have_the_same_key() {
    available!();
    let (make, _calls, handles) = handles();
    let server = serve(4, make);
    let streams: Vec<_> = (0..40).map(|_| server.connect()).collect();
    let all: Vec<Handle> = streams.iter().map(|_| next(&handles)).collect();
    let keys: HashSet<Key> = all.iter().map(Handle::key).collect();
    assert_eq!(keys.len(), 40);
    // As keys of a map, handles are those of their connections.
    let distinct: HashSet<Handle> = all.iter().chain(&all).cloned().collect();
    assert_eq!(distinct.len(), 40);
    assert_eq!(all[0], all[0].clone());
    assert_ne!(all[0], all[1]);
}

/// Tasks have somewhere to go only while the server runs.
fn wait_for_threads(server: &Running, threads: usize) {
    let give_up = Instant::now() + PATIENCE;
    while server.handle.threads() < threads {
        assert!(Instant::now() < give_up, "the server does not run");
        thread::sleep(Duration::from_millis(1));
    }
}
