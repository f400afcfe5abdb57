//! Several connections of one event loop, with I/O threads or without, while their consumer and their peers do this and that. What
//! is delivered is what was sent, in order, each connection ends once, and nothing is told of it afterwards.
//!
//! The first byte of an input says on which poller, with how many threads and connections; then each pair of bytes is one step: what is
//! done, and to which connection or how much.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use trochee::tls::{Context, Settings, Start};
use trochee::{Close, Command, Event, EventLoop, Key, ReadSize, TimerId};

/// Most steps of one scene.
const STEPS: usize = 256;
/// Most events of one turn: more would be a turn without end.
const EVENTS: usize = 100_000;

const POLLERS: [&str; 3] = ["epoll", "poll", "select"];

/// One connection, seen from both ends.
struct Pair {
    key: Key,
    peer: Option<TcpStream>,
    /// How many bytes each end has sent, and how many of those the other has got.
    peer_sent: usize,
    delivered: usize,
    written: usize,
    received: usize,
    /// Something else than the pattern goes out from now on: TLS was begun.
    secured: bool,
    over: bool,
}

struct Scene {
    event_loop: EventLoop,
    pairs: Vec<Pair>,
    by_key: HashMap<Key, usize>,
    timers: Vec<TimerId>,
    patience: Duration,
}

/// The byte at a place of what one end sends: a stream of which every part is known by where it is.
fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

fn patterned(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(pattern).collect()
}

/// One scene, from the first byte to the end of all connections.
pub fn run(input: &[u8]) {
    let [place, steps @ ..] = input else {
        return;
    };
    let mut scene = Scene::new(*place);
    for step in steps.chunks_exact(2).take(STEPS) {
        scene.step(step[0], step[1]);
    }
    scene.end();
}

impl Scene {
    fn new(place: u8) -> Scene {
        let mut event_loop = EventLoop::new();
        event_loop
            .set_backend(POLLERS[usize::from(place) % POLLERS.len()])
            .unwrap();
        let threads = usize::from(place >> 2 & 3).saturating_sub(1);
        let mut config = event_loop.config().clone();
        config.io_threads = threads;
        config.max_send_buffer_size = if place & 0x80 == 0 { 1 << 20 } else { 64 };
        config.read_timeout = Duration::from_secs(3600);
        event_loop.configure(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut scene = Scene {
            event_loop,
            pairs: Vec::new(),
            by_key: HashMap::new(),
            timers: Vec::new(),
            patience: Duration::from_millis(if threads > 0 { 1 } else { 0 }),
        };
        for index in 0..1 + usize::from(place >> 4 & 3) {
            let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            peer.set_nonblocking(true).unwrap();
            let (ours, _) = listener.accept().unwrap();
            let key = scene
                .event_loop
                .adopt(ours.into(), ReadSize::UpTo(4096))
                .unwrap();
            scene.by_key.insert(key, index);
            scene.pairs.push(Pair {
                key,
                peer: Some(peer),
                peer_sent: 0,
                delivered: 0,
                written: 0,
                received: 0,
                secured: false,
                over: false,
            });
        }
        scene
    }

    fn step(&mut self, what: u8, how: u8) {
        let index = usize::from(how) % self.pairs.len();
        let size = usize::from(how) * usize::from(how);
        let key = self.pairs[index].key;
        match what % 20 {
            0..=2 => self.turn(),
            3 | 4 => self.peer_sends(index, size),
            5 | 6 => self.write(index, size),
            7 => self.peer_reads(index),
            8 => self.pairs[index].peer = None,
            9 => {
                if let Some(peer) = &self.pairs[index].peer {
                    let _ = peer.shutdown(Shutdown::Write);
                }
            }
            10 => match self.event_loop.close(key) {
                Close::Done => self.pairs[index].over = true,
                Close::Flushing | Close::Gone => {}
            },
            11 => {
                if self.event_loop.destroy(key) {
                    self.pairs[index].over = true;
                }
            }
            12 => self.command(key, Command::Pause(how & 0x80 == 0)),
            13 => self.command(key, Command::PauseWrites(how & 0x80 == 0)),
            14 => self.command(key, Command::ReadSize(ReadSize::UpTo(size.max(1)))),
            15 => self.command(
                key,
                Command::RateLimit(if how & 0x80 == 0 { 0.0 } else { 1e6 }),
            ),
            16 => self.command(key, Command::NotifyFlush(how & 0x80 == 0)),
            17 => {
                if how & 0x80 == 0 {
                    let id = self
                        .event_loop
                        .set_timer(Duration::from_micros(size as u64));
                    self.timers.push(id);
                } else if let Some(id) = self.timers.pop() {
                    self.event_loop.cancel_timer(id);
                }
            }
            18 => self.command(key, Command::HalfOpen(how & 0x80 == 0)),
            _ if how & 0x80 == 0 => self.command(key, Command::Finish),
            _ => {
                if self.event_loop.start_tls(key, Start::new(client())).is_ok() {
                    self.pairs[index].secured = true;
                }
            }
        }
    }

    /// A stale key is no error: it does nothing.
    fn command(&mut self, key: Key, command: Command) {
        let _ = self.event_loop.apply(key, command);
    }

    fn peer_sends(&mut self, index: usize, size: usize) {
        let pair = &mut self.pairs[index];
        if let Some(mut peer) = pair.peer.as_ref()
            && let Ok(count) = peer.write(&patterned(pair.peer_sent, size))
        {
            pair.peer_sent += count;
        }
    }

    fn write(&mut self, index: usize, size: usize) {
        let pair = &mut self.pairs[index];
        let bytes = patterned(pair.written, size);
        if !pair.secured && self.event_loop.write(pair.key, &bytes).is_ok() {
            assert!(!pair.over, "a write to what is over");
            pair.written += size;
        }
    }

    fn peer_reads(&mut self, index: usize) {
        let pair = &mut self.pairs[index];
        let Some(mut peer) = pair.peer.as_ref() else {
            return;
        };
        let mut bytes = [0; 4096];
        loop {
            match peer.read(&mut bytes) {
                Ok(count @ 1..) if !pair.secured => {
                    assert_eq!(bytes[..count], patterned(pair.received, count));
                    pair.received += count;
                    assert!(pair.received <= pair.written, "more than was written");
                }
                Ok(1..) => {}
                Ok(0) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }

    fn turn(&mut self) {
        self.event_loop.begin_turn(Some(self.patience));
        let mut events = 0;
        while let Some(event) = self.event_loop.next_event() {
            events += 1;
            assert!(events < EVENTS, "a turn without end");
            let Some(key) = event.key() else {
                continue;
            };
            let pair = &mut self.pairs[self.by_key[&key]];
            assert!(!pair.over, "after the end: {event:?}");
            match event {
                Event::Data { data, .. } => {
                    assert!(!pair.secured, "delivered, though not through TLS: {data:?}");
                    assert_eq!(data, patterned(pair.delivered, data.len()));
                    pair.delivered += data.len();
                    assert!(pair.delivered <= pair.peer_sent, "more than was sent");
                }
                Event::Secured { .. } => panic!("secured without a peer that speaks TLS"),
                Event::Closed { .. } => pair.over = true,
                _ => {}
            }
        }
    }

    fn end(mut self) {
        for index in 0..self.pairs.len() {
            self.peer_reads(index);
            self.pairs[index].peer = None;
        }
        self.turn();
        for index in 0..self.pairs.len() {
            self.event_loop.destroy(self.pairs[index].key);
        }
        assert!(self.event_loop.is_empty(), "something is left");
    }
}

/// A client's context: to begin TLS with it needs no certificate, and no peer here answers.
fn client() -> Context {
    static CONTEXT: std::sync::OnceLock<Context> = std::sync::OnceLock::new();
    CONTEXT
        .get_or_init(|| {
            let mut settings = Settings::client();
            settings.system_trust = false;
            settings.verify = vec!["none".into()];
            Context::build(&settings).unwrap().0
        })
        .clone()
}
