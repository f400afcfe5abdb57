//! Reaching connections from other threads.

use super::*;

#[test]
fn a_handle_writes_from_anywhere_in_the_order_of_its_commands() {
    available!();
    for threads in THREADS {
        let (make, _calls, handles) = handles();
        let server = serve(threads, make);
        let stream = server.connect();
        let handle = next(&handles);
        let mut wanted = Vec::new();
        for number in 0..10_000u32 {
            handle.write(&number.to_be_bytes()[..]).unwrap();
            wanted.extend(number.to_be_bytes());
        }
        handle.close().unwrap();
        assert!(matches!(handle.write(&b"late"[..]), Err(Error::Closed)));
        assert!(read_to_end(&stream) == wanted);
    }
}

#[test]
fn one_message_goes_to_all_across_threads() {
    available!();
    for threads in THREADS {
        let (make, _calls, handles) = handles();
        let server = serve(threads, make);
        let mut peers: Vec<_> = (0..40).map(|_| server.connect()).collect();
        let message: Arc<[u8]> = pattern(10_000).into();
        for _ in 0..peers.len() {
            next(&handles).write(Arc::clone(&message)).unwrap();
        }
        for peer in &mut peers {
            expect(peer, &message);
        }
    }
}

#[test]
fn a_stale_handle_says_closed_and_reaches_nobody_else() {
    available!();
    for threads in THREADS {
        let (make, calls, handles) = handles();
        let server = serve(threads, make);
        for _ in 0..20 {
            let stream = server.connect();
            let stale = next(&handles);
            drop(stream);
            while !matches!(next(&calls), Call::Disconnect(_)) {}
            // It has the slot, the descriptor's number and the thread of the one before, where there is one thread.
            let mut newcomer = server.connect();
            let fresh = next(&handles);
            let give_up = Instant::now() + PATIENCE;
            while stale.write(&b"for somebody else"[..]).is_ok() {
                assert!(Instant::now() < give_up, "it never says closed");
            }
            assert!(!stale.is_open());
            assert!(matches!(stale.pause(), Err(Error::Closed)));
            assert!(matches!(stale.close(), Err(Error::Closed)));
            fresh.write(&b"for you"[..]).unwrap();
            expect(&mut newcomer, b"for you");
        }
    }
}

#[test]
fn a_handle_pauses_and_resumes() {
    available!();
    for threads in THREADS {
        let (make, calls, handles) = handles();
        let server = serve(threads, make);
        let mut stream = server.connect();
        let handle = next(&handles);
        assert_eq!(next(&calls), Call::Connect);
        handle.pause().unwrap();
        // Carried out once something that was asked for afterwards has arrived.
        handle.write(&b"."[..]).unwrap();
        expect(&mut stream, b".");
        stream.write_all(b"held").unwrap();
        assert!(calls.recv_timeout(SILENCE).is_err(), "it was paused");
        handle.resume().unwrap();
        assert_eq!(next(&calls), Call::Incoming(b"held".to_vec()));
    }
}

#[test]
fn handles_outlive_the_server() {
    available!();
    let (make, _calls, handles) = handles();
    let server = serve(1, make);
    let _stream = server.connect();
    let handle = next(&handles);
    server.end(Duration::ZERO);
    assert!(matches!(handle.write(&b"hello?"[..]), Err(Error::Closed)));
    assert!(matches!(handle.close(), Err(Error::Closed)));
}
