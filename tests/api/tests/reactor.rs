//! One thread without handlers: UDP, a signal, a descriptor of somebody else, a timer and a stream in one loop.
#![allow(unsafe_code)] // watching a descriptor

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use trochee::{Event, Interest, Key, Name, Reactor, ReadSize};
use trochee_api::PATIENCE;

const SIGUSR1: i32 = 10;

/// What was seen, in the order in which it must come.
#[derive(Debug, Default)]
struct Seen {
    datagrams: usize,
    signals: usize,
    pipe: usize,
    timers: usize,
    streams: usize,
}

fn address(reactor: &Reactor, key: Key) -> SocketAddr {
    match reactor.local_name(key) {
        Some(Name::Inet(address)) => address,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_loop_serves_all_kinds() -> io::Result<()> {
    let mut reactor = Reactor::new();
    let udp = reactor.bind_datagrams("127.0.0.1:0".parse().unwrap())?;
    let listener = reactor.listen("127.0.0.1", 0, ReadSize::All)?;
    let signal = reactor.watch_signal(SIGUSR1)?;
    let (mut reader, mut writer) = io::pipe()?;
    // SAFETY: the reader is open until the end of the test.
    let pipe = unsafe { reactor.watch(reader.as_raw_fd(), Interest::READ)? };
    let timer = reactor.set_timer(Duration::from_millis(20));

    let peer = UdpSocket::bind("127.0.0.1:0")?;
    peer.set_read_timeout(Some(PATIENCE))?;
    for datagram in [&b"one"[..], b""] {
        peer.send_to(datagram, address(&reactor, udp))?;
    }
    let mut stream = TcpStream::connect(address(&reactor, listener))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"hello")?;
    writer.write_all(b"x")?;
    let pid = std::process::id().to_string();
    assert!(
        Command::new("kill")
            .args(["-USR1", &pid])
            .status()?
            .success()
    );

    let mut seen = Seen::default();
    let began = std::time::Instant::now();
    while seen.datagrams < 2
        || seen.signals < 1
        || seen.pipe < 1
        || seen.timers < 1
        || seen.streams < 1
    {
        assert!(began.elapsed() < PATIENCE, "{seen:?}");
        reactor.begin_turn(Some(Duration::from_millis(100)));
        // Commands need the reactor, which the data of an event is part of.
        while let Some(event) = reactor.next_event() {
            match event {
                Event::Datagram { key, data, from } => {
                    assert_eq!(key, udp);
                    let Some(Name::Inet(from)) = from else {
                        panic!("from {from:?}");
                    };
                    let answer = data.to_vec();
                    reactor.send_to(udp, &answer, from)?;
                    seen.datagrams += 1;
                }
                Event::Signal {
                    key,
                    signal: SIGUSR1,
                } if key == signal => seen.signals += 1,
                Event::Ready {
                    key,
                    readable: true,
                    ..
                } if key == pipe => {
                    seen.pipe += reader.read(&mut [0; 8])?;
                }
                Event::Timer { id } if id == timer => seen.timers += 1,
                Event::Data { key, data, .. } => {
                    let answer = data.to_vec();
                    reactor.write(key, &answer)?;
                    reactor.close(key);
                    seen.streams += 1;
                }
                _ => {}
            }
        }
    }
    let mut buffer = [0; 16];
    assert_eq!(peer.recv(&mut buffer)?, 3);
    assert_eq!(peer.recv(&mut buffer)?, 0);
    reactor.begin_turn(Some(Duration::ZERO));
    while reactor.next_event().is_some() {}
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert_eq!(answer, "hello");
    Ok(())
}
