//! mio: the least that an echo takes on it, with one buffer for all connections. `mio_echo PORT`.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// What the system did not take. Nothing is read until it has.
    unsent: Vec<u8>,
}

impl Connection {
    /// False: it is over.
    fn serve(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            while !self.unsent.is_empty() {
                match self.stream.write(&self.unsent) {
                    Ok(count) => drop(self.unsent.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            let count = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            let sent = match self.stream.write(&buffer[..count]) {
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.unsent.extend_from_slice(&buffer[sent..count]);
            // A read that did not fill its buffer has taken all: epoll(7) reports what comes next.
            if count < buffer.len() && self.unsent.is_empty() {
                return Ok(true);
            }
        }
    }
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or_default();
    let address = format!("127.0.0.1:{port}").parse();
    let mut listener = TcpListener::bind(address.map_err(io::Error::other)?)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(256);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("ready {port} epoll");
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let place = free.pop().unwrap_or(connections.len());
                    connections.resize_with(connections.len().max(place + 1), || None);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry()
                        .register(&mut stream, Token(place), interest)?;
                    let unsent = Vec::new();
                    connections[place] = Some(Connection { stream, unsent });
                }
                continue;
            }
            let place = event.token().0;
            if let Some(Some(connection)) = connections.get_mut(place)
                && !connection.serve(&mut buffer).unwrap_or(false)
            {
                connections[place] = None;
                free.push(place);
            }
        }
    }
}
