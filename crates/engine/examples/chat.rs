//! Chat: each line that a peer sends goes to all the others. Shows what a server of many peers needs from a reactor:
//! reading a stream by lines, writing to other connections than the one that spoke, and ends for whatever reason.
//!
//!     cargo run --release -p trochee --example chat -- --backend select --port 7008
//!     nc 127.0.0.1 7008      (twice)

use std::collections::HashMap;

use clap::Parser;
use trochee::{Event, Key, Level, Name, Reactor, ReadSize};

/// The longest line. A peer that sends more without a line break is not chatting, and must not fill the memory.
const LONGEST_LINE: usize = 4096;

/// Most bytes that wait for one peer. Who reads too slowly to stay below is disconnected; nobody waits for them.
const LONGEST_QUEUE: usize = 1 << 20;

#[derive(Parser)]
struct Arguments {
    /// The poller: epoll, poll, select, libevent, or auto for the best that works here.
    #[arg(long, default_value = "auto")]
    backend: String,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 7008)]
    port: u16,
}

fn main() -> Result<(), trochee::Error> {
    let arguments = Arguments::parse();
    let mut reactor = Reactor::new();
    reactor.set_backend(&arguments.backend)?;
    let mut config = reactor.config().clone();
    config.max_send_buffer_size = LONGEST_QUEUE;
    reactor.configure(config);
    let listener = reactor.listen(&arguments.host, arguments.port, ReadSize::All)?;
    let place = name(reactor.local_name(listener));
    println!("chat on {place}, poller {}", reactor.backend());

    let mut room = Room::default();
    loop {
        reactor.begin_turn(None);
        while let Some(event) = reactor.next_event() {
            match event {
                Event::Accepted { key, .. } => room.join(&mut reactor, key),
                Event::Data { key, data, .. } => {
                    let data = data.to_vec();
                    room.hear(&mut reactor, key, &data);
                }
                // A peer that is only quiet may stay.
                Event::ReadTimeout { .. } => {}
                Event::Closed { key, reason } => room.leave(&mut reactor, key, &reason.to_string()),
                Event::Notice { level, text } if level >= Level::Warn => {
                    eprintln!("{}: {text}", level.as_str());
                }
                _ => {}
            }
        }
    }
}

/// All who are connected.
#[derive(Default)]
struct Room {
    peers: HashMap<Key, Peer>,
}

struct Peer {
    nick: String,
    /// The beginning of a line whose end is still to come.
    partial: Vec<u8>,
}

impl Room {
    fn join(&mut self, reactor: &mut Reactor, key: Key) {
        let nick = name(reactor.peer_name(key));
        self.tell_others(reactor, key, &format!("* {nick} has joined"));
        let welcome = format!("* you are {nick}; {} here besides you\n", self.peers.len());
        // Fails only where the connection is over already, and then `leave` follows.
        let _ = reactor.write(key, welcome.as_bytes());
        let partial = Vec::new();
        self.peers.insert(key, Peer { nick, partial });
    }

    fn hear(&mut self, reactor: &mut Reactor, key: Key, data: &[u8]) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let nick = peer.nick.clone();
        peer.partial.extend_from_slice(data);
        let mut lines = Vec::new();
        while let Some(end) = peer.partial.iter().position(|byte| *byte == b'\n') {
            lines.push(peer.partial.drain(..=end).collect::<Vec<u8>>());
        }
        let too_long = peer.partial.len() > LONGEST_LINE;
        for line in lines {
            let line = printable(&line);
            if !line.is_empty() {
                self.tell_others(reactor, key, &format!("<{nick}> {line}"));
            }
        }
        if too_long {
            let _ = reactor.write(key, b"* that line is too long, goodbye\n");
            // What is queued is sent first. No event tells of an end of our own that is done at once, so this is the
            // place to forget the peer; should one follow, it finds nobody.
            reactor.close(key);
            self.leave(reactor, key, "a line that was too long");
        }
    }

    fn leave(&mut self, reactor: &mut Reactor, key: Key, why: &str) {
        if let Some(Peer { nick, .. }) = self.peers.remove(&key) {
            self.tell_others(reactor, key, &format!("* {nick} has left: {why}"));
        }
    }

    fn tell_others(&self, reactor: &mut Reactor, from: Key, line: &str) {
        for key in self.peers.keys().filter(|key| **key != from) {
            // A queue that is full ends that connection: `Event::Closed` follows, and nobody else is affected.
            let _ = reactor.write(*key, format!("{line}\n").as_bytes());
        }
    }
}

/// A line as others may see it: control characters would move their cursors.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|c| !c.is_control()).collect()
}

fn name(name: Option<Name>) -> String {
    match name {
        Some(Name::Inet(address)) => address.to_string(),
        Some(Name::Unix(path)) => path,
        None => "somebody".to_owned(),
    }
}
