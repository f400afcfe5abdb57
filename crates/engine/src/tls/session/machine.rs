//! rustls's part of a session: keys and the state of the protocol, and no buffers. The records that it reads are lent to
//! it and decrypted where they lie; what it writes stands behind other records that are to be sent.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{CommonState, Error};

use super::records::Records;
use crate::tls::exporter::{self, Exporter};

/// What a record adds to its plaintext, at most: header, content type or explicit nonce, tag.
const OVERHEAD: usize = 5 + 8 + 16;

/// See the module's documentation.
pub(super) struct Machine {
    connection: Unbuffered,
    /// While the handshake goes on.
    server_random: Option<[u8; 32]>,
    exporter: Option<Exporter>,
}

enum Unbuffered {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What goes in and out during a call, besides the records that are read.
pub(super) struct Exchange<'a> {
    /// Records to be sent.
    pub(super) records: &'a mut Records,
    /// Where plaintext goes as far as there is room, and how much of it is filled.
    pub(super) room: &'a mut [u8],
    pub(super) filled: usize,
    /// Where the rest goes.
    pub(super) rest: &'a mut Vec<u8>,
    /// The peer said that it is done (close_notify).
    pub(super) peer_closed: bool,
    /// Seen in a ServerHello that came in or went out.
    server_random: Option<[u8; 32]>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        records: &'a mut Records,
        room: &'a mut [u8],
        rest: &'a mut Vec<u8>,
    ) -> Exchange<'a> {
        Exchange {
            records,
            room,
            filled: 0,
            rest,
            peer_closed: false,
            server_random: None,
        }
    }

    fn deliver(&mut self, mut plain: &[u8]) {
        if self.rest.is_empty() {
            let room = &mut self.room[self.filled..];
            let (fits, rest) = plain.split_at(plain.len().min(room.len()));
            room[..fits.len()].copy_from_slice(fits);
            self.filled += fits.len();
            plain = rest;
        }
        self.rest.extend_from_slice(plain);
    }
}

/// What is to be sent when the records that arrived are done with.
pub(super) enum Send<'a> {
    Nothing,
    /// At most a record's worth.
    Data(&'a [u8]),
    CloseNotify,
}

enum Step {
    Again,
    /// Nothing is left to do before more arrives.
    Done,
}

impl Machine {
    pub(super) fn server(connection: UnbufferedServerConnection) -> Machine {
        Machine::new(Unbuffered::Server(connection))
    }

    pub(super) fn client(connection: UnbufferedClientConnection) -> Machine {
        Machine::new(Unbuffered::Client(connection))
    }

    fn new(connection: Unbuffered) -> Machine {
        Machine {
            connection,
            server_random: None,
            exporter: None,
        }
    }

    /// What was agreed on.
    pub(super) fn common(&self) -> &CommonState {
        match &self.connection {
            Unbuffered::Server(connection) => connection,
            Unbuffered::Client(connection) => connection,
        }
    }

    pub(super) fn exporter(&self) -> Option<&Exporter> {
        self.exporter.as_ref()
    }

    /// Goes on with `records`, then sends `send`. Returns how many bytes of `records` are not needed any more, and
    /// whether `send` was sent, which needs a complete handshake.
    ///
    /// What is left of `records` must come again in the next call, with more behind it: the beginning of a record, or
    /// parts of a handshake message. That holds for calls that only send, too. After an error, which an alert tells the
    /// peer of, there must be no other call.
    pub(super) fn run(
        &mut self,
        records: &mut [u8],
        exchange: &mut Exchange<'_>,
        mut send: Send<'_>,
    ) -> (usize, Result<bool, Error>) {
        let handshaking = self.common().is_handshaking();
        if handshaking {
            exchange.server_random = exporter::server_random(records);
        }
        let asked = !matches!(send, Send::Nothing);
        let mut consumed = 0;
        let result = loop {
            let (discard, step) = self.step(&mut records[consumed..], exchange, &mut send);
            consumed += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Done) => break Ok(asked && matches!(send, Send::Nothing)),
                Err(error) => break Err(error),
            }
        };
        if result.is_err() {
            // A queue of rustls that is not empty is all that it looks at.
            while self.common().wants_write() {
                let _ = self.step(&mut [], exchange, &mut Send::Nothing);
            }
        }
        if handshaking {
            self.server_random = self.server_random.or(exchange.server_random);
            self.exporter = self
                .exporter
                .take()
                .or_else(|| exporter::take(self.server_random));
        }
        (consumed, result)
    }

    fn step(
        &mut self,
        records: &mut [u8],
        exchange: &mut Exchange<'_>,
        send: &mut Send<'_>,
    ) -> (usize, Result<Step, Error>) {
        match &mut self.connection {
            Unbuffered::Server(connection) => {
                step(connection.process_tls_records(records), exchange, send)
            }
            Unbuffered::Client(connection) => {
                step(connection.process_tls_records(records), exchange, send)
            }
        }
    }
}

fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    exchange: &mut Exchange<'_>,
    send: &mut Send<'_>,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut step = Ok(Step::Again);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        exchange.deliver(record.payload);
                    }
                    Err(error) => step = Err(error),
                }
            }
            step
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let mut most = 0;
            loop {
                let encoded = exchange.records.push_with(most, |room| {
                    let len = data.encode(room)?;
                    let seen = exporter::server_random(&room[..len]);
                    exchange.server_random = exchange.server_random.or(seen);
                    Ok(len)
                });
                match encoded {
                    Err(EncodeError::InsufficientSize(size)) => most = size.required_size,
                    _ => break Ok(Step::Again),
                }
            }
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            exchange.peer_closed = true;
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            match std::mem::replace(send, Send::Nothing) {
                Send::Nothing => Ok(Step::Done),
                what => seal(&mut traffic, exchange.records, &what).map(|()| Step::Done),
            }
        }
        // Waiting for the peer, or over. Early data is never taken.
        Ok(_) => Ok(Step::Done),
    };
    (discard, step)
}

fn seal<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    records: &mut Records,
    what: &Send<'_>,
) -> Result<(), Error> {
    let mut most = OVERHEAD
        + match what {
            Send::Data(data) => data.len(),
            Send::Nothing | Send::CloseNotify => 2,
        };
    loop {
        let sealed = records.push_with(most, |room| match what {
            Send::Data(data) => traffic.encrypt(data, room),
            Send::CloseNotify => traffic.queue_close_notify(room),
            Send::Nothing => Ok(0),
        });
        match sealed {
            Ok(()) => return Ok(()),
            // A key update comes first.
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                most = required_size;
            }
            Err(EncryptError::EncryptExhausted) => return Err(Error::EncryptError),
        }
    }
}
