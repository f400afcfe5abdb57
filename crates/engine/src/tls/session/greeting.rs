//! How a server's handshake begins: the ClientHello is collected and looked at, and answered when it is its turn. A client that is asked
//! for another key (HelloRetryRequest; RFC 8446, section 4.1.4) sends a second one, whose answer costs what that of the first would have.

use std::io::{self, Write};
use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::server::{Accepted, AcceptedAlert, Acceptor, UnbufferedServerConnection};

use super::machine::Machine;
use super::{Phase, Progress, Session, TOO_LONG};
use crate::append::append;
use crate::buffer::OutQueue;
use crate::tls::context::Side;
use crate::tls::{Context, hello, name, text};

/// The fatal alert `unrecognized_name` (RFC 6066, section 3) in a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];

/// The longest ClientHello that is collected, records and all. Those of real clients are below 4 KiB.
const MOST_HELLO: usize = 32 * 1024;

/// How many of the protocols that a client offers (ALPN) are looked at. Real clients offer three or four. A ClientHello has room for
/// thousands, and each would be an allocation of its own, in a list that waits for the consumer.
const MOST_PROTOCOLS: usize = 64;

impl Session {
    /// Collects the ClientHello, for what it asks for decides over what the handshake is made with.
    pub(super) fn hello(&mut self, bytes: &[u8], now: u64) -> Result<Progress, String> {
        let Phase::Hello(needed) = &mut self.phase else {
            return Ok(Progress::More);
        };
        append(&mut self.held, bytes, MOST_HELLO);
        if self.held.len() >= *needed {
            *needed = hello::least(&self.held).unwrap_or(0);
        }
        if *needed > MOST_HELLO {
            return Err(TOO_LONG.into());
        } else if *needed > self.held.len() {
            return Ok(Progress::More);
        }
        let mut hidden = None;
        // rustls copies what it is given: only now, and only for this moment.
        let mut accepted = accept(&self.held);
        if accepted.is_err() {
            // Perhaps over a name that decides nothing.
            hidden = hello::hide_name(&mut self.held);
            if hidden.is_some() {
                accepted = accept(&self.held);
            }
        }
        let accepted = match accepted {
            Ok(Some(accepted)) => accepted,
            Ok(None) if self.held.len() < MOST_HELLO => return Ok(Progress::More),
            Ok(None) | Err(None) => return Err(TOO_LONG.into()),
            Err(Some((error, mut alert))) => {
                let _ = alert.write_all(&mut Append(&mut self.wire));
                self.phase = Phase::Broken;
                return Err(text::of_first(&error, &self.held));
            }
        };
        let hello = accepted.client_hello();
        self.hides_name = hidden.is_some();
        self.server_name = hidden
            .as_deref()
            .or(hello.server_name().map(str::as_bytes))
            .map(name::to_ascii);
        let alpn: Vec<Vec<u8>> = hello
            .alpn()
            .map(|names| names.take(MOST_PROTOCOLS).map(<[u8]>::to_vec).collect())
            .unwrap_or_default();
        if self.choose {
            self.step_begun = now;
            self.phase = Phase::Asked(alpn.clone());
            return Ok(Progress::Asked {
                server_name: self.server_name.clone(),
                alpn,
            });
        }
        self.prepare_answer(&alpn, None)?;
        Ok(Progress::Waits)
    }

    /// Whether the consumer has to choose a context.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.phase, Phase::Asked(_))
    }

    /// Takes the context that the consumer chose, and these protocols instead of the context's, to [`answer`] with.
    ///
    /// [`answer`]: Session::answer
    pub(crate) fn accept(
        &mut self,
        context: Context,
        alpn: Option<Vec<Vec<u8>>>,
    ) -> Result<(), String> {
        let Phase::Asked(offered) = std::mem::replace(&mut self.phase, Phase::Broken) else {
            return Ok(());
        };
        self.context = context;
        self.prepare_answer(&offered, alpn)
    }

    /// Has the peer told that nobody here has the name that it asked for.
    pub(crate) fn refuse(&mut self) {
        self.wire.push(&UNRECOGNIZED_NAME);
        self.phase = Phase::Broken;
    }

    fn prepare_answer(
        &mut self,
        offered: &[Vec<u8>],
        alpn: Option<Vec<Vec<u8>>>,
    ) -> Result<(), String> {
        let Side::Server {
            config,
            without_alpn,
        } = self.context.side()
        else {
            return Err("a client's context cannot accept".into());
        };
        let ours = alpn.as_ref().unwrap_or(&config.alpn_protocols);
        let agreed = offered.is_empty() || offered.iter().any(|name| ours.contains(name));
        let config = match (alpn, without_alpn) {
            (_, Some(without_alpn)) if !agreed => Arc::clone(without_alpn),
            (None, _) => Arc::clone(config),
            (Some(alpn), _) => {
                let mut config = rustls::ServerConfig::clone(config);
                config.alpn_protocols = alpn;
                Arc::new(config)
            }
        };
        self.resumes = hello::offers_ticket(&self.held, &*config.ticketer);
        self.waits_for_answer = true;
        let server = UnbufferedServerConnection::new(config).map_err(|error| text::of(&error))?;
        self.phase = Phase::Running(Machine::server(server));
        Ok(())
    }

    /// Whether [`answer`](Session::answer) is what the handshake waits for.
    pub(crate) fn waits_for_answer(&self) -> bool {
        self.waits_for_answer
    }

    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }

    /// Answers the ClientHello, or judges the client's certificates when all of the handshake is there.
    pub(crate) fn answer(&mut self, now: u64) -> Result<Progress, String> {
        self.waits_for_answer = false;
        if self.has_all() {
            self.complete()?;
            return Ok(Progress::Done);
        }
        if self.hides_name {
            // In a second ClientHello the client says it all again.
            hello::hide_name(&mut self.held);
        }
        let progress = self.run(&mut [], now)?;
        self.second_hello = self.is_asked_again().then_some(0);
        Ok(progress)
    }

    /// Whether the peer need not say any more for the handshake.
    pub(crate) fn has_all(&self) -> bool {
        matches!(&self.phase, Phase::Running(machine) if !machine.common().is_handshaking())
    }

    /// Whether rustls has asked the client for another key, and waits for the ClientHello that has it.
    fn is_asked_again(&self) -> bool {
        matches!(&self.phase, Phase::Running(machine) if {
            let tls = machine.common();
            tls.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
                && tls.negotiated_key_exchange_group().is_none()
        })
    }

    /// Collects a second ClientHello, which waits for its answer as the first one did: otherwise whoever has us ask again would be
    /// served before those who need not be asked. Early data that nobody wants may come before it, and needs no more than to be
    /// skipped.
    pub(super) fn hello_again(&mut self, bytes: &[u8], needed: usize) -> Result<Progress, String> {
        append(&mut self.held, bytes, MOST_HELLO);
        let needed = if self.held.len() < needed {
            needed
        } else {
            hello::least(&self.held).unwrap_or(0)
        };
        self.second_hello = Some(needed);
        if needed > MOST_HELLO || self.held.len() > MOST_HELLO {
            return Err(TOO_LONG.into());
        } else if needed > self.held.len() {
            return Ok(Progress::More);
        }
        self.second_hello = None;
        self.waits_for_answer = true;
        Ok(Progress::Waits)
    }
}

/// Reads a ClientHello. An error without a reason is more than a ClientHello can be.
fn accept(mut bytes: &[u8]) -> Result<Option<Accepted>, Option<(rustls::Error, AcceptedAlert)>> {
    let mut acceptor = Acceptor::default();
    loop {
        acceptor.read_tls(&mut bytes).map_err(|_| None)?;
        match acceptor.accept().map_err(Some)? {
            None if !bytes.is_empty() => {}
            accepted => return Ok(accepted),
        }
    }
}

/// Writes to a queue.
struct Append<'a>(&'a mut OutQueue);

impl Write for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
