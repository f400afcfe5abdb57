//! Each call with each error, now and then and for a while, under a server that sends back what it gets. What arrives is compared byte by
//! byte.

use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::Instant;

use super::*;

const LENGTH: usize = 200_000;
const PEERS: usize = 3;

/// For how long a fault lasts that lasts for a while.
const WHILE: Duration = Duration::from_millis(30);

/// What must not cost anybody a byte.
const HARMLESS: [(Call, i32); 12] = [
    (Call::Watch, libc::ENOMEM),
    (Call::Unwatch, libc::ENOMEM),
    (Call::Wait, libc::EINTR),
    (Call::Wait, libc::ENOMEM),
    (Call::Accept, libc::EINTR),
    (Call::Accept, libc::ECONNABORTED),
    (Call::Accept, libc::ENOBUFS),
    (Call::Receive, libc::EINTR),
    (Call::Receive, libc::EAGAIN),
    (Call::Send, libc::EINTR),
    (Call::Send, libc::EAGAIN),
    (Call::Wake, libc::EIO),
];

/// What ends the connection that meets it, and no other.
const FATAL: [(Call, i32); 5] = [
    (Call::Receive, libc::ECONNRESET),
    (Call::Receive, libc::EIO),
    (Call::Send, libc::EPIPE),
    (Call::Send, libc::ECONNRESET),
    (Call::Send, libc::ENOMEM),
];

/// When the calls fail: each k-th, or all for a while.
#[derive(Clone, Copy, Debug)]
enum When {
    Every(u64),
    Meanwhile,
}

const WHEN: [When; 2] = [When::Every(2), When::Meanwhile];

/// What a peer has got back when the end came.
fn ask(address: SocketAddr) -> Vec<u8> {
    exempt(|| {
        let mut got = Vec::new();
        let mut stream = peer(address);
        // An error is the end of a connection that has met the fault.
        let _ = stream.write_all(&pattern(LENGTH));
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut got);
        got
    })
}

/// Serves so many peers.
fn serve(driver: &mut Driver, address: SocketAddr, count: usize) -> Vec<Vec<u8>> {
    let peers: Vec<_> = (0..count)
        .map(|_| thread::spawn(move || ask(address)))
        .collect();
    let start = Instant::now();
    let sources = driver.reactor.len();
    while peers.iter().any(|peer| !peer.is_finished()) || driver.reactor.len() > sources {
        assert!(
            start.elapsed() < PATIENCE,
            "{} sources are left",
            driver.reactor.len()
        );
        driver.drive_for(Duration::from_millis(2), |reactor, event| {
            if let Seen::Data(key, data, _) = event {
                // It may have ended meanwhile.
                let _ = reactor.write(key, &data);
            }
        });
    }
    peers.into_iter().map(|peer| peer.join().unwrap()).collect()
}

/// Whether this subject makes the call at all.
fn applies(call: Call) -> bool {
    match call {
        Call::Watch | Call::Unwatch => matches!(poller_name(), "epoll" | "libevent"),
        Call::Wake => io_threads() > 0,
        _ => true,
    }
}

fn run(faults: &[(Call, i32)], is_right: impl Fn(&[u8], &[u8]) -> bool) {
    let fault = interpose::alone();
    let mut driver = driver!(accept_retry_interval: Duration::from_millis(20));
    let (_, address) = driver.listen(ReadSize::All);
    driver.turn();
    let sent = pattern(LENGTH);
    for &(call, errno) in faults.iter().filter(|(call, _)| applies(*call)) {
        for when in WHEN {
            let what = format!(
                "{call:?}, {}, {when:?}",
                std::io::Error::from_raw_os_error(errno)
            );
            let every = match when {
                When::Every(every) => every,
                When::Meanwhile => 1,
            };
            fault.set(call, errno, Which::Every(every));
            // By another thread: a call that is interrupted is made again at once.
            let end = matches!(when, When::Meanwhile).then(|| {
                thread::spawn(|| {
                    thread::sleep(WHILE);
                    interpose::clear();
                })
            });
            let got = serve(&mut driver, address, PEERS);
            if let Some(end) = end {
                end.join().unwrap();
            }
            fault.clear();
            for got in got {
                assert!(
                    is_right(&got, &sent),
                    "{what}: {} bytes came back",
                    got.len()
                );
            }
        }
        // And it is over.
        let after = serve(&mut driver, address, 1);
        assert!(after[0] == sent, "after {call:?} {errno}");
    }
}

#[test]
fn what_passes_costs_nobody_a_byte() {
    run(&HARMLESS, |got, sent| got == sent);
}

#[test]
fn what_is_fatal_ends_whom_it_meets_and_what_arrived_is_the_beginning() {
    run(&FATAL, |got, sent| sent.starts_with(got));
}
