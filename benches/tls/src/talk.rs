//! Clients that are online and talk: each does one thing after the other, as soon as the one before is answered.

use std::time::{Duration, Instant};

use crate::poller::{Poller, Ready};
use crate::storm::await_quiet;
use crate::usage::Server;
use crate::window::{Latencies, Window};
use crate::xmpp::{self, Client};

const TEXT: &str =
    "It is the east, and Juliet is the sun. Arise, fair sun, and kill the envious moon.";

/// What one client is at.
#[derive(Clone, Default)]
struct Talker {
    turn: usize,
    /// What it waits for the answer of, and since when.
    awaited: Option<(u8, Instant)>,
}

/// The line of JSON. The first `actors` of the clients do what `mix` says, a letter each, over and over: `c` a message to the
/// neighbour, who answers; `i` a ping of the server; `p` a change of presence; `m` a message to the room, which has `room`
/// members (0: there are none).
pub fn run(
    port: u16,
    server: Server,
    count: usize,
    actors: usize,
    room: usize,
    mix: &str,
    seconds: Duration,
) -> Result<String, String> {
    let mut clients = xmpp::clients(0, count, (room > 0).then_some(room))?;
    let poller = Poller::open(server)?;
    xmpp::log_in(port, &poller, &mut clients, &mut |_, _| Ok(()))?;
    await_quiet(server)?;
    let mut window = Window::open(server, &poller, seconds);
    let mut talkers = vec![Talker::default(); count];
    for client in &mut clients[..actors.min(count)] {
        talkers[client.number].act(client, mix)?;
    }
    let mut latencies = Latencies::default();
    let mut stanzas = 0;
    let mut ready = Ready::new();
    loop {
        if let Some(spent) = window.turn(&mut ready)? {
            return latencies.line_of(spent, stanzas);
        }
        for index in ready.clients() {
            clients[index].receive(&mut |client, stanza| {
                stanzas += usize::from(window.has_begun());
                if stanza.contains("type='error'") {
                    return Err(client.failed(stanza));
                }
                if stanza.starts_with("<message") && stanza.contains(" id='q'") {
                    let neighbour = client.number ^ 1;
                    return client.say(&format!(
                        "<message type='chat' to='u{neighbour}@localhost/bench' id='a'><body>Ay me!</body></message>"
                    ));
                }
                let talker = &mut talkers[client.number];
                if let Some((awaited, since)) = talker.awaited
                    && is_answer(client, awaited, stanza)
                {
                    latencies.done(&mut window, since);
                    talker.act(client, mix)?;
                }
                Ok(())
            })?;
        }
    }
}

impl Talker {
    fn act(&mut self, client: &mut Client, mix: &str) -> Result<(), String> {
        let mix = mix.as_bytes();
        let letter = mix[self.turn % mix.len().max(1)];
        self.turn += 1;
        self.awaited = Some((letter, Instant::now()));
        let (me, room) = (client.number, client.room.unwrap_or(0));
        match letter {
            b'c' => client.say(&format!(
                "<message type='chat' to='u{}@localhost/bench' id='q'><body>{TEXT}</body></message>",
                me ^ 1
            )),
            b'i' => {
                client.say("<iq type='get' to='localhost' id='i'><ping xmlns='urn:xmpp:ping'/></iq>")
            }
            b'p' => {
                let show = if self.turn % 2 == 1 { "away" } else { "chat" };
                client.say(&format!("<presence><show>{show}</show></presence>"))
            }
            b'm' => client.say(&format!(
                "<message type='groupchat' to='room{room}@rooms.localhost' id='u{me}.'><body>{TEXT}</body></message>"
            )),
            other => Err(format!("{} is nothing to do", other.escape_ascii())),
        }
    }
}

/// Whether it is the answer to what the client did last.
fn is_answer(client: &Client, awaited: u8, stanza: &str) -> bool {
    match awaited {
        b'c' => stanza.contains(" id='a'"),
        b'i' => stanza.starts_with("<iq"),
        b'p' => stanza.starts_with("<presence"),
        _ => stanza.contains(&format!(" id='u{}.'", client.number)),
    }
}
