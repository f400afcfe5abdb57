//! Descriptors that outlive their connection have a bound, in number and in time.

use super::bounds::at_most;
use super::*;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Connections that we close while something of the peer is unread.
fn close_with_unread(driver: &mut Driver, count: usize) -> Vec<TcpStream> {
    let (listener, address) = driver.listen(ReadSize::All);
    let streams: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = peer(address);
            let key = driver.accepted();
            driver.reactor.pause(key);
            stream.write_all(b"unread").unwrap();
            driver.reactor.close(key);
            stream
        })
        .collect();
    driver.reactor.close(listener);
    driver.drive_for(SILENCE, |_, _| {});
    streams
}

/// How many there are once the reactor and its I/O threads have opened what they need.
fn own_descriptors(driver: &mut Driver) -> usize {
    let mut count = 0;
    loop {
        driver.turn();
        std::thread::sleep(SILENCE);
        if std::mem::replace(&mut count, descriptors()) == descriptors() {
            return count;
        }
    }
}

#[test]
fn only_so_many_descriptors_linger() {
    alone!(only_so_many_descriptors_linger);
    one_thread!();
    // select(2) has no room for so many.
    if poller_name() == "select" {
        return;
    }
    let most = at_most("Descriptors", "goes on sending after we have closed");
    let mut driver = driver!(linger_timeout: 10 * PATIENCE);
    let before = own_descriptors(&mut driver);
    let streams = close_with_unread(&mut driver, most + 50);
    let lingering = descriptors() - before - streams.len();
    assert!(lingering > most / 2 && lingering <= most, "{lingering}");
}

#[test]
fn a_descriptor_lingers_for_a_time() {
    alone!(a_descriptor_lingers_for_a_time);
    let mut driver = driver!(linger_timeout: Duration::from_millis(200));
    let before = own_descriptors(&mut driver);
    let streams = close_with_unread(&mut driver, 10);
    let start = Instant::now();
    while descriptors() > before + streams.len() {
        assert!(start.elapsed() < PATIENCE, "{} descriptors", descriptors());
        driver.turn();
        std::thread::sleep(Duration::from_millis(10));
    }
}
