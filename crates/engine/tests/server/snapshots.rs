//! What a server tells of itself.

use std::collections::HashSet;

use super::*;

#[test]
fn a_snapshot_has_what_all_threads_have_counted_and_serve() {
    for threads in THREADS {
        let server = serve(threads, || Echo);
        let mut clients: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.write_all(b"hello").unwrap();
            let mut echo = [0; 5];
            client.read_exact(&mut echo).unwrap();
        }
        let snapshot = server.handle.snapshot(PATIENCE).unwrap();
        let stats = snapshot.stats();
        assert_eq!((stats.accepted, stats.received_bytes), (8, 40));
        assert_eq!(snapshot.threads.len(), threads);
        assert_eq!(snapshot.gauges.places, 8);
        let [listener] = snapshot.listeners.as_slice() else {
            panic!("{:?}", snapshot.listeners);
        };
        assert_eq!(
            (listener.accepted, listener.refused, listener.open),
            (8, 0, 8)
        );
        let address = server.handle.addresses()[0].clone();
        assert_eq!(listener.name, Some(address));
        assert!(snapshot.gauges.places_allowed > 8);
        assert_eq!(snapshot.stages.iter().sum::<usize>(), 8);
        let peers: HashSet<_> = snapshot.connections.iter().map(|one| one.peer).collect();
        let expected: HashSet<_> = clients.iter().map(|it| it.local_addr().ok()).collect();
        assert_eq!(peers, expected);
        assert!(snapshot.connections.iter().all(|one| one.is_accepted));
        drop(clients);
        let give_up = std::time::Instant::now() + PATIENCE;
        while {
            let snapshot = server.handle.snapshot(PATIENCE).unwrap();
            let closed = snapshot
                .tallies
                .closed_connections
                .get("closed by the peer");
            closed < 8 || snapshot.listeners[0].open > 0
        } {
            assert!(std::time::Instant::now() < give_up);
        }
        let handle = server.handle.clone();
        server.end(Duration::ZERO);
        assert!(handle.snapshot(PATIENCE).is_none());
    }
}

#[test]
fn whoever_asks_does_not_wait_for_a_thread_that_is_stuck() {
    let server = serve(1, || Echo);
    let mut client = server.connect();
    client.write_all(b"a").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let task = move |_: &mut trochee::server::Thread<'_>| {
        let _ = held.recv();
    };
    server.handle.run_on(0, task).unwrap();
    assert!(server.handle.snapshot(SILENCE).is_none());
    drop(release);
    assert!(server.handle.snapshot(PATIENCE).is_some());
}
