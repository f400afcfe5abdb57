//! A peer that floods gets its share and no more.

use std::sync::{MutexGuard, PoisonError};

use super::bounds::at_most;
use super::*;

/// The processors, which floods take as far as they can: what is measured beside them shall not be another test's flood.
fn processors() -> MutexGuard<'static, ()> {
    // Nothing is guarded that a test which failed could have left broken.
    crate::PROCESSORS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// However much waits on one connection, another is heard after a share of it.
#[test]
fn a_backlog_on_one_connection_does_not_delay_another() {
    let mut driver = driver!();
    let (flooded, stream) = driver.serve_with(ReadSize::UpTo(8192));
    let (quiet, mut quiet_stream) = driver.serve();
    driver.reactor.pause(flooded);
    driver.turn();
    stream.set_nonblocking(true).unwrap();
    let mut waiting = 0;
    while let Ok(len) = (&stream).write(&[0; 64 * 1024]) {
        waiting += len;
    }
    assert!(
        waiting > 1 << 20,
        "only {waiting} bytes fit into the system"
    );
    driver.reactor.resume(flooded);

    let (mut ahead, mut asked) = (0, false);
    driver.drive("the quiet one", |_, event| match event {
        Seen::Data(key, data, _) if key == flooded => {
            // In the middle of the flood, so that the order in which a poller reports does not decide.
            if !std::mem::replace(&mut asked, true) {
                quiet_stream.write_all(b"x").unwrap();
            }
            ahead += data.len();
            false
        }
        Seen::Data(key, ..) => key == quiet,
        other => panic!("unexpected: {other:?}"),
    });
    let most = at_most("Processor", "has sent more than we have read");
    assert!(ahead <= most, "{ahead} bytes went ahead");
}

/// The same for timers: within one turn.
#[test]
fn a_flood_does_not_hold_up_timers() {
    let _processors = processors();
    let mut driver = driver!();
    let floods: Vec<_> = (0..4).map(|_| flood(&mut driver)).collect();
    let mut late = Vec::new();
    let mut due = Instant::now();
    driver.reactor.set_timer(Duration::ZERO);
    driver.drive("timers", |reactor, event| {
        if let Seen::Timer(_) = event {
            late.push(due.elapsed());
            due = Instant::now() + Duration::from_millis(2);
            reactor.set_timer(Duration::from_millis(2));
        }
        late.len() == 100
    });
    late.sort();
    let median = late[late.len() / 2];
    stop(driver, floods);
    assert!(median < Duration::from_millis(20), "late by {median:?}");
}

#[test]
fn an_echo_beside_floods_is_prompt() {
    const ROUNDS: usize = 200;
    let _processors = processors();
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    let floods: Vec<_> = (0..2).map(|_| flood(&mut driver)).collect();
    let mut times = driver.drive_peer(
        move || {
            stream.set_nodelay(true).unwrap();
            (0..ROUNDS)
                .map(|_| {
                    let start = Instant::now();
                    (&stream).write_all(b"ping").unwrap();
                    (&stream).read_exact(&mut [0; 4]).unwrap();
                    start.elapsed()
                })
                .collect::<Vec<_>>()
        },
        |reactor, event| match event {
            Seen::Data(from, data, _) if from == key => {
                reactor.write(key, &data).unwrap();
            }
            _ => {}
        },
    );
    times.sort();
    let median = times[ROUNDS / 2];
    stop(driver, floods);
    assert!(
        median < Duration::from_millis(20),
        "an echo took {median:?}"
    );
}

/// A peer that sends as fast as it can until its connection ends.
fn flood(driver: &mut Driver) -> std::thread::JoinHandle<()> {
    let (listener, address) = driver.listen(ReadSize::UpTo(8192));
    let stream = peer(address);
    // The floods that run already have their say meanwhile.
    driver.drive(
        "the flood",
        |_, event| matches!(event, Seen::Accepted { listener: by, .. } if by == listener),
    );
    driver.reactor.close(listener);
    std::thread::spawn(move || {
        let block = [0; 64 * 1024];
        while (&stream).write_all(&block).is_ok() {}
    })
}

fn stop(driver: Driver, floods: Vec<std::thread::JoinHandle<()>>) {
    drop(driver);
    for flood in floods {
        flood.join().unwrap();
    }
}

/// Those who are in do not wait for a crowd that arrives, whatever the order in which the system tells of them.
#[test]
fn an_established_connection_goes_before_newcomers() {
    if io_threads() > 0 {
        // There the order is that of two threads.
        return;
    }
    let mut driver = driver!();
    let newcomers: Vec<_> = (0..32).map(|_| driver.serve()).collect();
    let (established, mut stream) = driver.serve();
    for _ in 0..20 {
        stream.write_all(b"stanza").unwrap();
        driver.expect_data(established, b"stanza");
    }
    for (_, stream) in &newcomers {
        let mut sink = stream;
        sink.write_all(b"<stream>").unwrap();
    }
    stream.write_all(b"stanza").unwrap();
    let (mut before, mut after) = (0, false);
    driver.drive("all of them", |_, event| {
        match event {
            Seen::Data(key, ..) if key == established => after = true,
            Seen::Data(..) if !after => before += 1,
            _ => {}
        }
        after
    });
    // A share in four is the newcomers'.
    assert!(before <= 1, "{before} newcomers went before it");
}
