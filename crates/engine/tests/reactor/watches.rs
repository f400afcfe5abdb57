//! Descriptors of somebody else.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn a_pipe() {
    let mut driver = driver!();
    let (mut reader, mut writer) = io::pipe().unwrap();
    let key = driver.watch(&reader, Interest::READ).unwrap();
    driver.expect_silence();
    writer.write_all(b"x").unwrap();
    // For as long as it lasts.
    for _ in 0..3 {
        assert_eq!(driver.turn(), [Seen::Ready(key, Interest::READ)]);
    }
    reader.read_exact(&mut [0]).unwrap();
    driver.expect_silence();
    // The end is something to read. It need not come at once: a program that another test is starting at this moment holds a
    // copy of the writing end between its fork(2) and its execve(2), which is where O_CLOEXEC closes it.
    drop(writer);
    driver.drive("the end of the pipe", |_, event| {
        assert!(matches!(event, Seen::Ready(by, ready) if by == key && ready.readable));
        true
    });
}

#[test]
fn reads_and_writes_as_asked_for() {
    let mut driver = driver!();
    let (near, mut far) = UnixStream::pair().unwrap();
    far.write_all(b"x").unwrap();
    let key = driver.watch(&near, Interest::NONE).unwrap();
    for interest in [Interest::BOTH, Interest::WRITE, Interest::READ] {
        driver.reactor.set_watch(key, interest).unwrap();
        assert_eq!(driver.turn(), [Seen::Ready(key, interest)]);
        driver.reactor.set_watch(key, Interest::NONE).unwrap();
        driver.expect_silence();
    }
}

#[test]
fn before_the_first_turn() {
    let mut driver = driver!();
    let (near, _far) = UnixStream::pair().unwrap();
    let key = driver.watch(&near, Interest::WRITE).unwrap();
    assert_eq!(driver.turn(), [Seen::Ready(key, Interest::WRITE)]);
}

/// Both were ready; the consumer of the first silences the second, or wants something else of it.
#[test]
fn silenced_in_the_same_turn() {
    let mut driver = driver!();
    let (near, far) = UnixStream::pair().unwrap();
    let keys = [&near, &far].map(|fd| driver.watch(fd, Interest::WRITE).unwrap());
    for interest in [Interest::NONE, Interest::READ] {
        for key in keys {
            driver.reactor.set_watch(key, Interest::WRITE).unwrap();
        }
        let mut seen = Vec::new();
        driver.reactor.begin_turn(Some(Duration::ZERO));
        while let Some(event) = driver.reactor.next_event() {
            seen.push(Seen::from(event));
            for key in keys {
                driver.reactor.set_watch(key, interest).unwrap();
            }
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
        driver.expect_silence();
    }
}

#[test]
fn closing_a_watch_leaves_the_descriptor_open() {
    let mut driver = driver!();
    let (mut reader, mut writer) = io::pipe().unwrap();
    for end in [EventLoop::close_it, EventLoop::destroy_it] {
        let key = driver.watch(&reader, Interest::READ).unwrap();
        driver.turn();
        end(&mut driver.reactor, key);
        writer.write_all(b"x").unwrap();
        driver.expect_silence();
        reader.read_exact(&mut [0]).unwrap();
    }
    assert!(driver.reactor.is_empty());
}

/// Two ways to the same end.
trait End {
    fn close_it(&mut self, key: Key);
    fn destroy_it(&mut self, key: Key);
}

impl End for EventLoop {
    fn close_it(&mut self, key: Key) {
        assert_eq!(self.close(key), Close::Done);
    }
    fn destroy_it(&mut self, key: Key) {
        assert!(self.destroy(key));
    }
}

/// Somebody closed a descriptor without closing its watch, and the number went to a connection. That is their mistake; it
/// must not be the connection's loss.
#[test]
#[allow(unsafe_code)]
fn closing_a_stale_watch_does_not_unregister_the_next_owner_of_the_number() {
    alone!(closing_a_stale_watch_does_not_unregister_the_next_owner_of_the_number);
    let mut driver = driver!();
    let (reader, _writer) = io::pipe().unwrap();
    let mut reader = OwnedFd::from(reader);
    let number = reader.as_raw_fd();
    let watch = driver.watch(&reader, Interest::READ).unwrap();
    driver.turn();

    // Closed and taken in one step: an I/O thread that has just begun opens descriptors, too.
    let (near, mut far) = UnixStream::pair().unwrap();
    rustix::io::dup2(&near, &mut reader).unwrap();
    drop(near);
    let key = driver.reactor.adopt(reader, ReadSize::All).unwrap();
    driver.connected(key);
    // Until the poller has been told all there is to tell of the connection: nothing but the data may bring it back.
    driver.turn();
    driver.expect_silence();
    assert_eq!(driver.reactor.close(watch), Close::Done);
    far.write_all(b"still served").unwrap();
    driver.expect_data(key, b"still served");
    assert_eq!(driver.reactor.fd(key), Some(number));

    // The number is the reactor's, and free again when the connection is.
    driver.reactor.destroy(key);
    let again = rustix::io::dup(&far).unwrap();
    assert_eq!(again.as_raw_fd(), number);
    // SAFETY: takes over what `again` owned.
    drop(unsafe { OwnedFd::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(again)) });
}

#[test]
fn a_regular_file_is_refused_or_always_ready() {
    let mut driver = driver!();
    driver.turn();
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    match driver.watch(&file, Interest::READ) {
        Ok(key) => assert_eq!(driver.turn(), [Seen::Ready(key, Interest::READ)]),
        Err(error) => {
            assert!(matches!(poller_name(), "epoll" | "libevent"));
            assert!(matches!(error, Error::Poller(_)), "{error:?}");
            assert!(driver.reactor.is_empty());
            driver.expect_silence();
        }
    }
}
