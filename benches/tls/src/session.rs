//! A connection that stays: made while its caller waits, and then used with or without waiting.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustls::client::{ClientConnection, Resumption};
use rustls::{ClientConfig, HandshakeKind};

use crate::poller::Poller;
use crate::{MESSAGE, config};

/// Connections between two looks whether the server keeps up: below the stock backlog of 128, because an overflow costs a
/// second until SYN is sent again.
const BATCH: usize = 64;

/// A connection.
pub struct Session {
    socket: TcpStream,
    tls: ClientConnection,
    /// What the next message is, which no other one was.
    number: u32,
}

impl Session {
    /// Connects. The error is a sentence.
    pub fn connect(port: u16, configuration: &Arc<ClientConfig>) -> Result<Self, String> {
        Ok(Self {
            tls: config::client(configuration)?,
            socket: config::connected(port)?,
            number: 0,
        })
    }

    /// Connects and shakes hands. The error is a sentence.
    pub fn establish(port: u16, configuration: &Arc<ClientConfig>) -> Result<Self, String> {
        let mut session = Self::connect(port, configuration)?;
        let mut shake_hands = || {
            while session.tls.is_handshaking() {
                session.tls.complete_io(&mut session.socket)?;
            }
            session.flush()
        };
        shake_hands().map_err(|why| format!("handshake: {why}"))?;
        Ok(session)
    }

    /// Whether the handshake resumed an earlier session; none while it is not complete.
    pub fn handshake(&self) -> Option<bool> {
        let kind = self.tls.handshake_kind()?;
        (!self.tls.is_handshaking()).then_some(kind == HandshakeKind::Resumed)
    }

    /// Whether nothing waits.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.socket.set_nonblocking(on)
    }

    /// Encrypts what there is room for, and sends what the socket takes; how much was encrypted.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.tls.writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    /// Whether something is encrypted that the socket did not take.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Sends what is encrypted, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// The bytes that have arrived, 0 for none.
    pub fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(into) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::Error::other("closed by the server")),
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(why) => return Err(why),
            }
            self.tls.process_new_packets().map_err(io::Error::other)?;
            self.flush()?;
        }
    }

    /// Has one message echoed while the caller waits.
    pub fn echo(&mut self) -> Result<(), String> {
        self.number += 1;
        let mut message = [b'e'; MESSAGE];
        message[..4].copy_from_slice(&self.number.to_ne_bytes());
        let mut echo = [0; MESSAGE];
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.socket);
        stream
            .write_all(&message)
            .and_then(|()| stream.read_exact(&mut echo))
            .map_err(|why| format!("echo: {why}"))?;
        if echo != message {
            return Err("the echo differs from what was sent".to_owned());
        }
        Ok(())
    }

    /// Ends the connection in order.
    pub fn close(mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.flush()?;
        self.socket.shutdown(Shutdown::Both)
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// So many connections, made one after the other, and all served.
pub fn crowd(port: u16, count: usize) -> Result<Vec<Session>, String> {
    let configuration = config::configuration(Resumption::disabled())?;
    let mut all = Vec::with_capacity(count);
    for index in 1..=count {
        all.push(Session::establish(port, &configuration)?);
        if index % BATCH == 0 || index == count {
            settle(port, &configuration)?;
        }
    }
    Ok(all)
}

/// The same, after which nothing waits: what each can do the poller tells, by the numbers of their places.
pub fn watched_crowd(
    port: u16,
    count: usize,
    poller: &Poller,
    flags: EventFlags,
) -> Result<Vec<Session>, String> {
    let all = crowd(port, count)?;
    for (index, session) in all.iter().enumerate() {
        session
            .set_nonblocking(true)
            .map_err(|why| why.to_string())?;
        poller.add(index, session, flags)?;
    }
    Ok(all)
}

/// The accept queue is first in, first out: once a new connection is answered, all before it have been served.
pub fn settle(port: u16, configuration: &Arc<ClientConfig>) -> Result<(), String> {
    let mut session = Session::establish(port, configuration)?;
    session.echo()?;
    session.close().map_err(|why| format!("close: {why}"))
}
