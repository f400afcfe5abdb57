//! Handshakes while the loop serves the connections of its threads itself.

use std::io::Write as _;

use super::*;

/// A hello of a client, and connections whose handshake has begun.
fn begun(driver: &mut Driver, count: usize) -> (Vec<u8>, Vec<std::net::TcpStream>) {
    let hello = driver.client_hello(client());
    let mut streams = Vec::new();
    for _ in 0..count {
        let (key, stream) = driver.serve();
        driver.reactor.start_tls(key, named(server())).unwrap();
        streams.push(stream);
    }
    driver.turn();
    (hello, streams)
}

#[test]
fn a_hello_is_answered_while_the_consumer_holds_the_loop() {
    let mut driver = driver!(io_threads: 1);
    let (hello, streams) = begun(&mut driver, 1);
    let mut stream = &streams[0];
    stream.write_all(&hello).unwrap();
    // The consumer, in the callback of an event.
    std::thread::sleep(Duration::from_millis(500));
    assert!(unread(stream) > 0, "nobody has answered");
}

/// However many there are, it takes no turn of the loop to answer them.
#[test]
fn a_crowd_of_hellos_is_answered_by_threads() {
    let mut driver = driver!(io_threads: 1);
    if poller_name() != "epoll" {
        return;
    }
    let (hello, streams) = begun(&mut driver, 40);
    let before = driver.reactor.stats().given_to_threads;
    for mut stream in &streams {
        stream.write_all(&hello).unwrap();
    }
    let give_up = std::time::Instant::now() + PATIENCE;
    while driver.reactor.stats().given_to_threads == before {
        assert!(std::time::Instant::now() < give_up, "the loop answers them");
        driver.turn();
    }
    // Without the loop.
    while streams.iter().any(|stream| unread(stream) == 0) {
        assert!(std::time::Instant::now() < give_up, "not all are answered");
        std::thread::sleep(Duration::from_millis(5));
    }
}
