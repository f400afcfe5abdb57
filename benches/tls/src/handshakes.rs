//! Clients that connect, shake hands and end, one connection after the other.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustls::client::{ClientConnection, Resumption};
use rustls::{ClientConfig, HandshakeKind};

use crate::poller::{Poller, Ready};
use crate::usage::Server;
use crate::window::{Latencies, Window};
use crate::{MESSAGE, config};

/// What the clients do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Handshakes in full.
    Full,
    /// Each with the ticket of the connection before.
    Resumed,
    /// And then one message that is echoed.
    Login,
}

/// The line of JSON.
pub fn run(
    shape: Shape,
    port: u16,
    server: Server,
    count: usize,
    seconds: Duration,
) -> Result<String, String> {
    let poller = Poller::open(server)?;
    // Each has a store of its own: a ticket is for who got it.
    let configurations = (0..count)
        .map(|_| match shape {
            Shape::Resumed => config::configuration(Resumption::in_memory_sessions(1)),
            Shape::Full | Shape::Login => config::configuration(Resumption::disabled()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut connections = 0;
    let mut connect = |index: usize| {
        connections += 1;
        let message = (shape == Shape::Login).then_some(connections);
        let client = Client::connect(port, &configurations[index], message)?;
        poller.add(index, &client.socket, EventFlags::IN)?;
        Ok::<_, String>(client)
    };

    let mut window = Window::open(server, &poller, seconds);
    let mut clients = (0..count)
        .map(&mut connect)
        .collect::<Result<Vec<_>, _>>()?;
    let mut latencies = Latencies::default();
    let mut ready = Ready::new();
    let mut any_resumed = false;
    loop {
        if let Some(spent) = window.turn(&mut ready)? {
            return latencies.line(spent);
        }
        let must_resume = shape == Shape::Resumed && window.has_begun();
        if must_resume && !any_resumed {
            return Ok(r#"{"absent": "n/a: no resumption"}"#.to_owned());
        }
        for index in ready.clients() {
            match clients[index].advance()? {
                Progress::Pending => {}
                Progress::Established { resumed } => {
                    any_resumed |= resumed;
                    if must_resume && !resumed {
                        return Err("a handshake was not resumed".to_owned());
                    }
                }
                Progress::Over => {
                    latencies.done(&mut window, clients[index].since);
                    clients[index] = connect(index)?;
                }
            }
        }
    }
}

/// What a client has come to.
enum Progress {
    /// It waits for the server.
    Pending,
    /// The handshake is complete, and whether a ticket was taken.
    Established { resumed: bool },
    /// So is the connection.
    Over,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Handshake,
    Echo,
    End,
}

/// A connection.
struct Client {
    /// When it began to connect.
    since: Instant,
    socket: TcpStream,
    tls: ClientConnection,
    step: Step,
    message: Option<[u8; MESSAGE]>,
}

impl Client {
    /// Connects to a server on loopback and sends the ClientHello. With the number of a message, which no other message has,
    /// that has to come back before the end. The error is a sentence.
    fn connect(
        port: u16,
        configuration: &Arc<ClientConfig>,
        message: Option<u32>,
    ) -> Result<Self, String> {
        let since = Instant::now();
        let tls = config::client(configuration)?;
        let socket = config::connected(port)?;
        socket
            .set_nonblocking(true)
            .map_err(|why| why.to_string())?;
        let mut client = Self {
            since,
            socket,
            tls,
            step: Step::Handshake,
            message: message.map(|number| {
                let mut bytes = [0; MESSAGE];
                bytes[..4].copy_from_slice(&number.to_ne_bytes()); // a stale or foreign echo must not count
                bytes
            }),
        };
        client.send().map_err(|why| format!("send: {why}"))?;
        Ok(client)
    }

    /// Goes as far as it gets with what has arrived.
    fn advance(&mut self) -> Result<Progress, String> {
        let step = self.step;
        self.receive().map_err(|why| format!("{step:?}: {why}"))
    }

    fn receive(&mut self) -> io::Result<Progress> {
        let end = match self.tls.read_tls(&mut self.socket) {
            Ok(bytes) => bytes == 0, // stock ends without close_notify
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Pending),
            Err(why) => return Err(why),
        };
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let (end, bytes) = (
            end || state.peer_has_closed(),
            state.plaintext_bytes_to_read(),
        );
        // Here, and not with what follows it: the server gets Finished alone, as from a client that has to think.
        self.send()?;
        match self.step {
            Step::Handshake if !self.tls.is_handshaking() => {
                self.established()?;
                let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
                Ok(Progress::Established { resumed })
            }
            Step::Echo if bytes >= MESSAGE => {
                let mut echo = [0; MESSAGE];
                self.tls.reader().read_exact(&mut echo)?;
                if self.message != Some(echo) {
                    return Err(io::Error::other("differs from what was sent"));
                }
                self.end()?;
                Ok(Progress::Over)
            }
            Step::End if bytes > 0 => Err(io::Error::other("there is data that nobody asked for")),
            Step::End if end => Ok(Progress::Over),
            _ if end => Err(io::Error::other("closed by the server")),
            _ => Ok(Progress::Pending),
        }
    }

    fn established(&mut self) -> io::Result<()> {
        if let Some(message) = &self.message {
            self.step = Step::Echo;
            self.tls.writer().write_all(message)?;
            return self.send();
        }
        // The server ends the connection when it has seen this: then its part of the handshake is done too.
        self.step = Step::End;
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.send()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// What is said is short, and the server reads: what cannot be sent at once is a fault, not a reason to wait.
    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}
