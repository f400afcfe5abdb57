//! The session of one connection: bytes in, bytes out. It knows no sockets.
//!
//! ```text
//! start_tls ─▶ Idle ─ established ─┬─ client ───────────────────────▶ Running: handshake, then data
//!                                  └─ server ▶ Hello ─┬─ no choice ──▶    ▲
//!                                                     └▶ Asked ─ accept_tls
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{ServerName, UnixTime};

use super::context::Side;
use super::pkix::Errors;
use super::{Context, Start, Tlsa, name, text};
use crate::buffer::OutQueue;

mod greeting;
mod machine;
mod records;
mod traffic;

use machine::Machine;

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
    /// How many bytes of the handshake rustls has taken and may keep; after it, those of the peer's certificates.
    kept: usize,
    server_name: Option<String>,
    /// The client asks for something that rustls must not see ([`hello::hide_name`]).
    hides_name: bool,
    /// The client was asked for another key, and its second ClientHello is not there before this many bytes are held.
    second_hello: Option<usize>,
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
    /// The ClientHello is there, what it is answered with is chosen, and it is not our turn yet; or so are the client's certificates, at
    /// the end of the handshake.
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
    /// The ClientHello is there, or all of the handshake and a chain with it, and [`Session::answer`] goes on.
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
            kept: 0,
            server_name: start.server_name,
            hides_name: false,
            second_hello: None,
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
        match (&self.phase, self.second_hello) {
            (Phase::Hello(_), _) => self.hello(bytes, now),
            (_, Some(needed)) => self.hello_again(bytes, needed),
            _ => self.run(bytes, now),
        }
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
        if self.has_strangers_chain() {
            self.waits_for_answer = true;
            return Ok(Progress::Waits);
        }
        // What breaks behind a complete handshake is told after what came before it.
        self.complete()?;
        Ok(Progress::Done)
    }

    /// Whether a client has shown certificates that are still to be judged. That may take a hundred times as long as to answer a
    /// ClientHello, so it waits for its turn as well.
    fn has_strangers_chain(&self) -> bool {
        let policy = self.context.policy();
        matches!(&self.phase, Phase::Running(machine) if machine.common().peer_certificates().is_some())
            && matches!(self.context.side(), Side::Server { .. })
            && (!policy.verify || policy.tolerant)
    }

    /// Judges the peer's certificate where the handshake left that open.
    fn complete(&mut self) -> Result<(), String> {
        self.secured = true;
        self.kept = 0;
        let policy = self.context.policy();
        let by_dane = self.tlsa.iter().any(Tlsa::is_usable);
        if let Phase::Running(machine) = &self.phase
            && let Some(chain) = machine.common().peer_certificates()
        {
            self.kept = chain.iter().map(|der| der.len()).sum();
            // Also where nothing depends on it: the consumer may ask. Prosody 13.0 judges other servers with verify = "none".
            if by_dane || !policy.verify || policy.tolerant {
                let name = self.asked_for.as_deref();
                let verdict = policy.check(chain, &self.tlsa, name, UnixTime::now());
                self.errors = verdict.errors;
                if verdict.first.is_some() && policy.verify && !policy.tolerant {
                    return Err("certificate verify failed".into());
                }
            }
        }
        self.tlsa = Vec::new();
        self.asked_for = None;
        Ok(())
    }
}
