//! The loop serves the connections of its threads itself while there is little to do, and gives them to the threads when there is more.

use super::*;

/// A driver with threads whose poller the loop can wait for.
macro_rules! inline_driver {
    () => {{
        if poller_name() != "epoll" || io_threads() == 0 {
            return;
        }
        driver!()
    }};
}

/// Each peer sends something, all wait for their echo, and so on.
fn echo(driver: &mut Driver, mut streams: Vec<TcpStream>, rounds: usize) -> Vec<TcpStream> {
    for stream in &streams {
        stream.set_nodelay(true).unwrap();
    }
    driver.drive_peer(
        move || {
            for _ in 0..rounds {
                for stream in &mut streams {
                    stream.write_all(b"ping").unwrap();
                }
                for stream in &mut streams {
                    stream.read_exact(&mut [0; 4]).unwrap();
                }
            }
            streams
        },
        |reactor, event| {
            if let Seen::Data(key, data, _) = event {
                reactor.write(key, &data).unwrap();
            }
        },
    )
}

/// Has one client ask until nobody is woken for it. That need not be at once: where another process holds this one up, the threads take
/// over.
fn serve_without_wakes(driver: &mut Driver, stream: TcpStream) {
    const ROUNDS: usize = 100;
    let give_up = Instant::now() + PATIENCE;
    let mut streams = vec![stream];
    loop {
        let before = driver.reactor.stats();
        streams = echo(driver, streams, ROUNDS);
        let wakes = driver.reactor.stats().wakes - before.wakes;
        if wakes < ROUNDS as u64 / 10 {
            return;
        }
        assert!(
            Instant::now() < give_up,
            "{wakes} wakes for {ROUNDS} messages"
        );
    }
}

#[test]
fn for_one_client_nobody_is_woken() {
    let mut driver = inline_driver!();
    let (_, stream) = driver.serve();
    serve_without_wakes(&mut driver, stream);
}

#[test]
fn a_crowd_is_the_threads_and_whoever_stays_is_the_loops() {
    let mut driver = inline_driver!();
    let mut streams: Vec<_> = (0..40).map(|_| driver.serve().1).collect();
    let given = driver.reactor.stats().given_to_threads;
    streams = echo(&mut driver, streams, 50);
    let before = driver.reactor.stats();
    assert!(before.given_to_threads > given, "{before:?}");
    streams = echo(&mut driver, streams, 50);
    let wakes = driver.reactor.stats().wakes - before.wakes;
    assert!(wakes > 0, "who was not woken has not served");
    serve_without_wakes(&mut driver, streams.pop().unwrap());
    assert!(driver.reactor.stats().taken_from_threads > 0);
}

/// Whatever was said before goes on.
#[test]
fn a_consumer_that_holds_the_loop_holds_up_no_other() {
    const LENGTH: usize = 32 << 20;
    const HELD: Duration = Duration::from_secs(1);
    let mut driver = inline_driver!();
    let (key, mut stream) = driver.serve();
    // Much more than the system takes for a peer that does not read.
    driver
        .reactor
        .configure(with!(driver.reactor.config().clone(), max_send_buffer_size: 2 * LENGTH));
    driver.reactor.write(key, &pattern(LENGTH)).unwrap();
    driver.turn();
    driver.turn();
    assert!(driver.reactor.pending(key) > LENGTH / 4);
    let begun = Instant::now();
    let reader = std::thread::spawn(move || {
        stream.read_exact(&mut vec![0; LENGTH]).unwrap();
        begun.elapsed()
    });
    // The consumer, in the callback of an event.
    std::thread::sleep(HELD);
    assert_eq!(driver.reactor.pending(key), 0);
    let took = reader.join().unwrap();
    assert!(took < HELD, "{took:?}");
}

/// Whoever has nothing to do does not look again and again whether there is something.
#[test]
fn an_idle_server_sleeps() {
    // Other tests have threads of the same name.
    alone!(an_idle_server_sleeps);
    let mut driver = inline_driver!();
    let (_, stream) = driver.serve();
    serve_without_wakes(&mut driver, stream);
    let pauses = || {
        let all = std::fs::read_dir("/proc/self/task").unwrap();
        let of_threads = all.filter_map(|entry| {
            let status = std::fs::read_to_string(entry.unwrap().path().join("status")).ok()?;
            let is_ours = status.starts_with("Name:\ttrochee-io");
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            is_ours.then(|| line.trim().parse::<u64>().unwrap())
        });
        of_threads.sum::<u64>()
    };
    driver.drive_for(SILENCE * 4, |_, _| {});
    let before = pauses();
    driver.drive_for(Duration::from_secs(1), |_, _| {});
    let woken = pauses() - before;
    assert!(woken < 10, "woken {woken} times in a second");
}
