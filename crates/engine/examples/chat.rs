//! Chat: each line that a peer sends goes to all the others, whichever thread they are on. Shows handles, which reach
//! a connection from anywhere, and reading a stream by lines.
//!
//!     cargo run --release -p trochee --example chat -- --threads 2
//!     nc 127.0.0.1 7008      (twice)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Parser;
use trochee::{Config, Conn, Handle, Handler, Reason, Server, server};

/// The longest line. A peer that sends more without a line break is not chatting, and must not fill the memory.
const LONGEST_LINE: usize = 4096;

/// Most bytes that wait for one peer. Who reads too slowly to stay below is disconnected; nobody waits for them.
const LONGEST_QUEUE: usize = 1 << 20;

#[derive(Parser)]
struct Arguments {
    /// The poller: epoll, poll, select, libevent, or auto for the best that works here.
    #[arg(long, default_value = "auto")]
    backend: String,
    /// How many threads serve.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7008")]
    listen: String,
}

fn main() -> Result<(), server::Error> {
    let arguments = Arguments::parse();
    let room = Arc::new(Room::default());
    let mut config = Config::default();
    config.max_send_buffer_size = LONGEST_QUEUE;
    let server = Server::builder()
        .backend(arguments.backend)
        .threads(arguments.threads)
        .config(config)
        .listen(&*arguments.listen, move || Peer {
            room: Arc::clone(&room),
            nick: String::new(),
            partial: Vec::new(),
        })
        .build()?;
    println!("chat on {}", server.handle().addresses()[0]);
    server.run()
}

/// All who are connected, by the names they go by.
#[derive(Default)]
struct Room {
    peers: Mutex<HashMap<String, Handle>>,
}

impl Room {
    fn peers(&self) -> MutexGuard<'_, HashMap<String, Handle>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_others(&self, from: &str, line: &str) {
        let line: Arc<[u8]> = format!("{line}\n").into_bytes().into();
        for (nick, peer) in self.peers().iter() {
            if nick != from {
                // Fails where that one is leaving, or its thread is overwhelmed: the others are not to wait.
                let _ = peer.write(Arc::clone(&line));
            }
        }
    }
}

struct Peer {
    room: Arc<Room>,
    nick: String,
    /// The beginning of a line whose end is still to come.
    partial: Vec<u8>,
}

impl Handler for Peer {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        let (Some(name), Some(handle)) = (conn.peer_name(), conn.handle()) else {
            return conn.close();
        };
        self.nick = name.to_string();
        let others = self.room.peers().len();
        let welcome = format!("* you are {}; {others} here besides you\n", self.nick);
        let _ = conn.write(welcome.as_bytes());
        self.room.peers().insert(self.nick.clone(), handle);
        let joined = format!("* {} has joined", self.nick);
        self.room.tell_others(&self.nick, &joined);
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        self.partial.extend_from_slice(data);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = printable(&line);
            if !line.is_empty() {
                let said = format!("<{}> {line}", self.nick);
                self.room.tell_others(&self.nick, &said);
            }
        }
        if self.partial.len() > LONGEST_LINE {
            let _ = conn.write(b"* that line is too long, goodbye\n");
            // What is queued is sent first.
            conn.close();
        }
    }

    /// A peer that is only quiet may stay.
    fn on_read_timeout(&mut self, _conn: &mut Conn<'_>) -> bool {
        true
    }

    fn on_disconnect(&mut self, _conn: &mut Conn<'_>, reason: &Reason) {
        if self.room.peers().remove(&self.nick).is_some() {
            let left = format!("* {} has left: {reason}", self.nick);
            self.room.tell_others(&self.nick, &left);
        }
    }
}

/// A line as others may see it: control characters would move their cursors.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|c| !c.is_control()).collect()
}
