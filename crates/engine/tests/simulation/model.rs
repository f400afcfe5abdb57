//! What one connection of the world must be like.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use trochee::{Key, Reason};

/// A connection, its peer, and what they have said.
pub struct Line {
    pub key: Key,
    number: u64,
    /// `None`: it has closed its socket.
    peer: Option<UnixStream>,
    /// It has ended its side.
    pub shut: bool,
    /// Bytes that the peer has sent, and how many of them the consumer was given.
    pub said: u64,
    heard: u64,
    /// Bytes that the consumer has written, and how many of them the peer has read.
    pub written: u64,
    read: u64,
    pub connected: bool,
    pub paused: bool,
    pub writes_paused: bool,
    pub closed: bool,
    /// The consumer has heard of its end, or has destroyed it.
    pub over: bool,
    /// The peer can rely on having got everything.
    pub whole: bool,
}

/// The byte at a place, which depends on the connection and the direction.
fn byte(number: u64, to_peer: bool, at: u64) -> u8 {
    let mixed = (number * 2 + u64::from(to_peer))
        .wrapping_mul(0x9E37_79B9)
        .wrapping_add(at / 251);
    (mixed ^ at).wrapping_mul(0x85EB_CA6B) as u8
}

fn bytes(number: u64, to_peer: bool, from: u64, count: u64) -> Vec<u8> {
    (from..from + count)
        .map(|at| byte(number, to_peer, at))
        .collect()
}

impl Line {
    pub fn new(key: Key, number: u64, peer: UnixStream) -> Line {
        peer.set_nonblocking(true).unwrap();
        Line {
            key,
            number,
            peer: Some(peer),
            shut: false,
            said: 0,
            heard: 0,
            written: 0,
            read: 0,
            connected: false,
            paused: false,
            writes_paused: false,
            closed: false,
            over: false,
            whole: true,
        }
    }

    /// The peer sends so many bytes, or what its system takes of them.
    pub fn say(&mut self, count: u64) {
        if self.shut {
            return;
        }
        let words = bytes(self.number, false, self.said, count);
        if let Some(peer) = &mut self.peer
            && let Ok(sent) = peer.write(&words)
        {
            self.said += sent as u64;
        }
    }

    /// What the consumer writes next.
    pub fn answer(&self, count: u64) -> Vec<u8> {
        bytes(self.number, true, self.written, count)
    }

    /// The peer reads at most so much. Whether there was anything.
    pub fn read(&mut self, most: usize) -> bool {
        let mut buffer = vec![0; most];
        let Some(peer) = &mut self.peer else {
            return false;
        };
        match peer.read(&mut buffer) {
            Ok(count) => {
                let expected = bytes(self.number, true, self.read, count as u64);
                assert!(
                    buffer[..count] == expected,
                    "the peer of {:?} reads what was not written",
                    self.key
                );
                self.read += count as u64;
                assert!(self.read <= self.written);
                count > 0
            }
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::WouldBlock | ErrorKind::ConnectionReset),
                    "{error}"
                );
                false
            }
        }
    }

    pub fn shut(&mut self) {
        if let Some(peer) = &self.peer {
            let _ = peer.shutdown(Shutdown::Write);
            self.shut = true;
        }
    }

    pub fn leave(&mut self) {
        self.peer = None;
    }

    pub fn is_gone(&self) -> bool {
        self.peer.is_none()
    }

    /// The consumer was given this.
    pub fn hear(&mut self, data: &[u8]) {
        assert!(self.connected && !self.paused && !self.closed && !self.over);
        let expected = bytes(self.number, false, self.heard, data.len() as u64);
        assert!(
            data == expected,
            "{:?} delivers what was not sent",
            self.key
        );
        self.heard += data.len() as u64;
        assert!(self.heard <= self.said);
    }

    /// Whether the peer has said nothing that was not heard.
    pub fn is_heard(&self) -> bool {
        self.heard == self.said
    }

    /// The consumer hears of the end.
    pub fn end(&mut self, reason: &Reason) {
        assert!(!self.over, "{:?} ends twice", self.key);
        self.over = true;
        match reason {
            Reason::Local => assert!(self.closed),
            Reason::PeerClosed => {
                assert!(self.shut || self.is_gone(), "{:?} has a peer", self.key);
                assert!(
                    self.closed || self.is_heard(),
                    "{:?} ends unheard",
                    self.key
                );
            }
            Reason::Os(Errno::PIPE | Errno::CONNRESET) => assert!(self.is_gone()),
            other => panic!("{:?} {other:?}", self.key),
        }
    }

    /// When all is said and done.
    pub fn settle(&self) {
        let key = self.key;
        if self.is_gone() {
            return assert!(self.over, "{key:?} outlives its peer");
        }
        assert!(
            !self.whole || self.read == self.written,
            "{key:?}: {} of {}",
            self.read,
            self.written
        );
        if self.shut || self.closed {
            assert!(self.over, "{key:?} has no end");
        }
        if !self.over {
            assert!(self.is_heard(), "{key:?} is not heard");
        }
    }
}
