//! The session of one connection: bytes in, bytes out. It knows no sockets.
//!
//! ```text
//! start_tls ─▶ Idle ─ established ─┬─ client ───────────────────────▶ Running: handshake, then data
//!                                  └─ server ▶ Hello ─┬─ no choice ──▶    ▲
//!                                                     └▶ Asked ─ accept_tls
//! ```

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::{Accepted, AcceptedAlert, Acceptor, UnbufferedServerConnection};

use super::context::Side;
use super::pkix::Errors;
use super::{Context, Start, Tlsa, hello, name, text};
use crate::append::append;
use crate::buffer::OutQueue;

mod machine;
mod records;
mod traffic;

use machine::Machine;

/// The fatal alert `unrecognized_name` (RFC 6066, section 3) in a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 112];

/// The longest ClientHello that is collected, records and all. Those of real clients are below 4 KiB.
const MOST_HELLO: usize = 32 * 1024;

/// How many of the protocols that a client offers (ALPN) are looked at. Real clients offer three or four. A ClientHello has room for
/// thousands, and each would be an allocation of its own, in a list that waits for the consumer.
const MOST_PROTOCOLS: usize = 64;

/// What is said of more than is held.
const TOO_LONG: &str = "excessive message size";

/// How many steps of a handshake have the whole timeout, so that it is over in so many timeouts. What more there is has what is left
/// of the last one.
const STEPS: u8 = 3;

/// See the module's documentation.
pub(crate) struct Session {
    phase: Phase,
    context: Context,
    tlsa: Vec<Tlsa>,
    choose: bool,
    /// What is sent as it is: what was queued in plaintext before TLS began, then records.
    wire: OutQueue,
    /// What was received and is not a whole record or handshake message yet; until a context is chosen, the ClientHello.
    held: Vec<u8>,
    server_name: Option<String>,
    /// The client asks for something that rustls must not see ([`hello::hide_name`]).
    hides_name: bool,
    /// Whom a client asked for, by name or address, until that is checked.
    asked_for: Option<Box<ServerName<'static>>>,
    secured: bool,
    /// What is decrypted and was not delivered at once, and how much of it has been since. At most a record and what one
    /// read completes behind it.
    unread: Vec<u8>,
    delivered: usize,
    peer_closed: bool,
    failed: Option<String>,
    errors: Errors,
    /// The ClientHello is there, what it is answered with is chosen, and it is not our turn yet.
    waits_for_answer: bool,
    /// Its client shows a ticket of ours.
    resumes: bool,
    begun: u64,
    /// When the peer was last given its whole time for a step, and how often it may be again.
    step_begun: u64,
    steps_left: u8,
    /// [`Event::Connected`](crate::Event::Connected) waits for the handshake.
    pub(crate) tell_connected: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all sessions are in the large one, and there is a box around them already"
)]
enum Phase {
    Idle,
    /// The ClientHello is not there before this many bytes are held.
    Hello(usize),
    /// The ClientHello is there; with the protocols that it offers (ALPN).
    Asked(Vec<Vec<u8>>),
    Running(Machine),
    /// Nothing works any more; only in the middle of a change, and after a failure of one.
    Broken,
}

/// What the bytes of a handshake led to.
pub(crate) enum Progress {
    /// It needs more.
    More,
    /// The ClientHello is there and the consumer chooses.
    Asked {
        server_name: Option<String>,
        alpn: Vec<Vec<u8>>,
    },
    /// The ClientHello is there, and [`Session::answer`] goes on.
    Waits,
    /// It is complete.
    Done,
}

impl Session {
    /// `plaintext` is what is queued so far.
    pub(crate) fn new(start: Start, plaintext: OutQueue) -> Session {
        Session {
            phase: Phase::Idle,
            context: start.context,
            tlsa: start.tlsa,
            choose: start.choose,
            wire: plaintext,
            held: Vec::new(),
            server_name: start.server_name,
            hides_name: false,
            asked_for: None,
            secured: false,
            unread: Vec::new(),
            delivered: 0,
            peer_closed: false,
            failed: None,
            errors: Vec::new(),
            waits_for_answer: false,
            resumes: false,
            begun: 0,
            step_begun: 0,
            steps_left: 0,
            tell_connected: false,
        }
    }

    /// Begins the handshake on a connection that stands. `peer` is what sessions are remembered by where there is no name.
    pub(crate) fn begin(&mut self, peer: Option<IpAddr>, now: u64) -> Result<(), String> {
        (self.begun, self.step_begun) = (now, now);
        self.phase = match self.context.side() {
            Side::Server { .. } => Phase::Hello(0),
            Side::Client { config, with_tlsa } => {
                let config = if self.tlsa.iter().any(Tlsa::is_usable) {
                    with_tlsa
                } else {
                    config
                };
                let name = self
                    .server_name
                    .take()
                    .and_then(|name| ServerName::try_from(name::to_ascii(name.as_bytes())).ok());
                // An address is never sent as a name.
                let unnamed = || ServerName::from(peer.unwrap_or([0, 0, 0, 0].into()));
                let name = name.unwrap_or_else(unnamed);
                self.server_name = match &name {
                    ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
                    _ => None,
                };
                self.asked_for = Some(Box::new(name.clone()));
                let client = UnbufferedClientConnection::new(Arc::clone(config), name)
                    .map_err(|error| text::of(&error))?;
                Phase::Running(Machine::client(client))
            }
        };
        // A client's ClientHello, which belongs to the first step.
        let begun = self.run(&mut [], now);
        self.steps_left = STEPS - 1;
        begun.map(|_| ())
    }

    /// When its handshake began, in nanoseconds of the clock.
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.secured
    }

    /// Whether the handshake can go on with what the peer sends.
    pub(crate) fn wants_handshake(&self) -> bool {
        !self.secured
            && !self.waits_for_answer
            && matches!(self.phase, Phase::Hello(_) | Phase::Running(_))
    }

    /// When the peer, or whoever chooses the context, has taken too long for a step, with `timeout` nanoseconds for each. None
    /// while it is our turn.
    pub(crate) fn deadline(&self, timeout: u64) -> Option<u64> {
        if self.secured || self.waits_for_answer || matches!(self.phase, Phase::Idle) {
            return None;
        }
        Some(self.step_begun.saturating_add(timeout))
    }

    /// The time for this step begins anew if it began after `since`.
    pub(crate) fn restart_step(&mut self, since: u64, now: u64) {
        if self.step_begun >= since {
            self.step_begun = self.step_begun.max(now);
        }
    }

    /// A step is made: the peer has its time for the next one.
    fn begin_step(&mut self, now: u64) {
        if self.steps_left > 0 {
            self.steps_left -= 1;
            self.step_begun = now;
        }
    }

    /// Goes on with the handshake.
    ///
    /// # Errors
    ///
    /// Why it failed, in OpenSSL's words. An alert for the peer may be waiting to be sent.
    pub(crate) fn handshake(&mut self, bytes: &mut [u8], now: u64) -> Result<Progress, String> {
        match &self.phase {
            Phase::Hello(_) => self.hello(bytes, now),
            _ => self.run(bytes, now),
        }
    }

    /// Collects the ClientHello, for what it asks for decides over what the handshake is made with.
    fn hello(&mut self, bytes: &[u8], now: u64) -> Result<Progress, String> {
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

    /// Answers the ClientHello. No handshake is complete before the peer has seen that.
    pub(crate) fn answer(&mut self, now: u64) -> Result<(), String> {
        self.waits_for_answer = false;
        self.run(&mut [], now).map(|_| ())
    }

    fn run(&mut self, bytes: &mut [u8], now: u64) -> Result<Progress, String> {
        let queued = self.wire.len();
        self.take_in(bytes, &mut []);
        if self.wire.len() > queued {
            self.begin_step(now);
        }
        let Phase::Running(machine) = &self.phase else {
            return Ok(Progress::More);
        };
        if machine.common().is_handshaking() {
            return match self.failed.take() {
                Some(text) => Err(text),
                None => Ok(Progress::More),
            };
        }
        // What breaks behind a complete handshake is told after what came before it.
        self.complete()?;
        Ok(Progress::Done)
    }

    /// Judges the peer's certificate where the handshake left that open.
    fn complete(&mut self) -> Result<(), String> {
        self.secured = true;
        let policy = self.context.policy();
        let by_dane = self.tlsa.iter().any(Tlsa::is_usable);
        if let Phase::Running(machine) = &self.phase
            && let Some(chain) = machine.common().peer_certificates()
            // Also where nothing depends on it: the consumer may ask. Prosody 13.0 judges other servers with verify = "none".
            && (by_dane || !policy.verify || policy.tolerant)
        {
            let name = self.asked_for.as_deref();
            let verdict = policy.check(chain, &self.tlsa, name, UnixTime::now());
            self.errors = verdict.errors;
            if verdict.first.is_some() && policy.verify && !policy.tolerant {
                return Err("certificate verify failed".into());
            }
        }
        self.tlsa = Vec::new();
        self.asked_for = None;
        Ok(())
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
