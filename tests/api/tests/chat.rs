//! A chat on several threads: whoever is there is in a map by key, and a clock of one thread says how many they are.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trochee::server::Thread;
use trochee::{Conn, Handle, Handler, Key, Reason, Server};
use trochee_api::{Running, line};

const EVERY: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Room(Mutex<HashMap<Key, Handle>>);

impl Room {
    fn say(&self, text: &str) {
        let text: Arc<[u8]> = format!("{text}\n").into_bytes().into();
        for handle in self.0.lock().unwrap().values() {
            let _ = handle.write(Arc::clone(&text));
        }
    }

    fn count(self: &Arc<Room>, thread: &mut Thread<'_>) {
        let room = Arc::clone(self);
        thread.set_timer(EVERY, move |thread| {
            let count = room.0.lock().unwrap().len();
            room.say(&format!("* {count} here"));
            room.count(thread);
        });
    }
}

struct Peer(Arc<Room>);

impl Handler for Peer {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        if let Some(handle) = conn.handle() {
            self.0.0.lock().unwrap().insert(conn.key(), handle);
        }
    }

    fn on_incoming(&mut self, _conn: &mut Conn<'_>, data: &[u8]) {
        self.0.say(String::from_utf8_lossy(data).trim_end());
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, _reason: &Reason) {
        self.0.0.lock().unwrap().remove(&conn.key());
    }
}

#[test]
fn everybody_hears_everybody_on_whatever_thread() -> io::Result<()> {
    let room = Arc::new(Room::default());
    let (clock, theirs) = (Arc::clone(&room), Arc::clone(&room));
    let builder = Server::builder()
        .threads(3)
        .on_start(move |thread| {
            if thread.index() == 0 {
                clock.count(thread);
            }
        })
        .listen("127.0.0.1:0", move || Peer(Arc::clone(&theirs)));
    let server = Running::new(builder)?;
    let mut peers = Vec::new();
    for _ in 0..9 {
        peers.push(server.connect()?);
    }
    for peer in &mut peers {
        while line(peer)? != "* 9 here" {}
    }
    peers[4].write_all(b"good evening\n")?;
    for peer in &mut peers {
        while line(peer)? != "good evening" {}
    }
    peers.truncate(5);
    while line(&mut peers[0])? != "* 5 here" {}
    Ok(())
}
