//! Strangers: they connect, go as far as their kind goes, and drop the connection; then the next one comes. Every other one leaves in
//! order and waits for the server to end, too; the others reset.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustls::ClientConfig;
use rustls::client::{ClientConnection, Resumption};

use crate::config;
use crate::poller::{Poller, Ready};
use crate::scram::Scram;
use crate::usage::Server;
use crate::xmpp::{content, say_stream};

/// How long the server may leave one waiting. Then it is counted as stuck, and the next one comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// From one byte of a slow one to its next.
const PERIOD: Duration = Duration::from_millis(250);

/// What one writes who sends nonsense.
const JUNK: usize = 64 * 1024;

/// How far strangers go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They connect.
    Bare,
    /// They send half of a ClientHello.
    HalfHello,
    /// They send a ClientHello, and see the first byte of the answer, which is what costs.
    Hello,
    /// They shake hands.
    Tls,
    /// They open a stream and see what it offers.
    Header,
    /// They log in with a wrong password.
    Password,
    /// They open a stream without TLS, and what they send in it is no XML.
    Junk,
    /// They send a ClientHello, one byte after the other.
    Slow,
}

impl Kind {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bare" => Self::Bare,
            "half-hello" => Self::HalfHello,
            "hello" => Self::Hello,
            "tls" => Self::Tls,
            "header" => Self::Header,
            "password" => Self::Password,
            "junk" => Self::Junk,
            "slow" => Self::Slow,
            _ => return None,
        })
    }
}

/// What became of them.
#[derive(Default)]
struct Counts {
    /// All that came.
    strangers: usize,
    /// Of those whom the server ended before they had gone as far as they wanted.
    refused: usize,
    /// And for whom it did nothing.
    stuck: usize,
}

/// The line of JSON. So many at a time.
pub fn run(
    kind: Kind,
    port: u16,
    server: Server,
    count: usize,
    time: Duration,
) -> Result<String, String> {
    let poller = Poller::open(server)?;
    let configuration = config::configuration(Resumption::disabled())?;
    let begun = Instant::now();
    let mut counts = Counts::default();
    let next = |counts: &mut Counts, index: usize| {
        counts.strangers += 1;
        let stranger = Stranger::begin(kind, port, counts.strangers, &configuration)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        poller.add(index, &stranger.socket, flags)?;
        Ok::<_, String>(stranger)
    };
    let mut all = (0..count)
        .map(|index| next(&mut counts, index))
        .collect::<Result<Vec<_>, _>>()?;
    let mut ready = Ready::new();
    let mut look = begun;
    while begun.elapsed() < time {
        // Never without a rest: whoever is measured beside them shares their core.
        poller.wait(&mut ready, Duration::from_millis(20))?;
        for index in ready.clients() {
            let stranger = &mut all[index];
            let over = match stranger.advance() {
                Ok(Progress::Pending) => continue,
                Ok(Progress::Over) => true,
                Err(_) => stranger.leaving,
            };
            counts.refused += usize::from(!over);
            all[index] = next(&mut counts, index)?;
        }
        if look.elapsed() < PERIOD {
            continue;
        }
        look = Instant::now();
        for (index, stranger) in all.iter_mut().enumerate() {
            let is_slow = kind == Kind::Slow;
            let is_refused = is_slow && stranger.say_a_byte().is_err();
            let is_stuck = !is_slow && stranger.since.elapsed() > PATIENCE;
            if is_refused || is_stuck {
                counts.refused += usize::from(is_refused);
                counts.stuck += usize::from(is_stuck);
                *stranger = next(&mut counts, index)?;
            }
        }
    }
    let Counts {
        strangers,
        refused,
        stuck,
    } = counts;
    Ok(format!(
        r#"{{"strangers": {strangers}, "refused": {refused}, "stuck": {stuck}, "seconds": {:.3}}}"#,
        begun.elapsed().as_secs_f64()
    ))
}

enum Progress {
    Pending,
    Over,
}

struct Stranger {
    kind: Kind,
    socket: TcpStream,
    tls: ClientConnection,
    since: Instant,
    number: usize,
    /// It has opened a stream.
    opened: bool,
    scram: Option<Scram>,
    /// What is still to be sent, outside TLS.
    raw: Vec<u8>,
    heard: String,
    /// It has said all that it wanted to say, and ended its side.
    leaving: bool,
}

impl Stranger {
    fn begin(
        kind: Kind,
        port: u16,
        number: usize,
        configuration: &Arc<ClientConfig>,
    ) -> Result<Self, String> {
        let mut tls = config::client(configuration)?;
        let mut raw = Vec::new();
        match kind {
            Kind::HalfHello | Kind::Hello | Kind::Slow => {
                tls.write_tls(&mut raw).map_err(|why| why.to_string())?;
            }
            Kind::Junk => {
                raw.extend(say_stream().as_bytes());
                raw.resize(JUNK, b'&');
            }
            _ => {}
        }
        if kind == Kind::HalfHello {
            raw.truncate(raw.len() / 2);
        }
        Ok(Self {
            kind,
            socket: connecting(port, number)
                .map_err(|why| format!("a stranger cannot connect: {why}"))?,
            tls,
            since: Instant::now(),
            number,
            opened: false,
            scram: None,
            raw,
            heard: String::new(),
            leaving: false,
        })
    }

    /// Goes as far as it gets.
    fn advance(&mut self) -> io::Result<Progress> {
        if self.leaving {
            return self.await_end();
        }
        match self.kind {
            Kind::Bare => {
                // Not before it is connected.
                if would_block(self.socket.peer_addr())?.is_none() {
                    return Ok(Progress::Pending);
                }
                self.leave()
            }
            Kind::HalfHello => match self.say_raw()? {
                true => self.leave(),
                false => Ok(Progress::Pending),
            },
            Kind::Hello => {
                self.say_raw()?;
                match would_block(self.socket.read(&mut [0; 4096]))? {
                    None => Ok(Progress::Pending),
                    Some(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(_) => self.leave(),
                }
            }
            Kind::Junk => {
                // The server may end it long before all is said: that is what it is to do.
                let said = self.say_raw();
                match said.and_then(|_| self.await_end()) {
                    Err(why) if why.kind() == io::ErrorKind::NotConnected => Ok(Progress::Pending),
                    Err(_) => Ok(Progress::Over),
                    progress => progress,
                }
            }
            Kind::Slow => match would_block(self.socket.read(&mut [0; 4096]))? {
                None => Ok(Progress::Pending),
                Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            },
            Kind::Tls | Kind::Header | Kind::Password => self.converse(),
        }
    }

    /// Over TLS.
    fn converse(&mut self) -> io::Result<Progress> {
        loop {
            self.flush()?;
            match would_block(self.tls.read_tls(&mut self.socket))? {
                None => return Ok(Progress::Pending),
                Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(_) => {}
            }
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let mut bytes = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut bytes)?;
            if self.tls.is_handshaking() {
                continue;
            }
            if self.kind == Kind::Tls {
                self.flush()?;
                return self.leave();
            }
            if !self.opened {
                self.opened = true;
                self.say(say_stream())?;
            }
            self.heard.push_str(&String::from_utf8_lossy(&bytes));
            if self.answer()? {
                return self.leave();
            }
        }
    }

    /// Whether it has gone as far as it wants.
    fn answer(&mut self) -> io::Result<bool> {
        if let Some(scram) = &mut self.scram {
            if let Some(at) = self.heard.find("<challenge") {
                if !self.heard[at..].contains("</challenge>") {
                    return Ok(false);
                }
                let challenge = self.heard.split_off(at);
                let answer = scram.answer_wrongly(content(&challenge));
                let answer = answer.ok_or_else(|| io::Error::other("not a challenge"))?;
                self.say(&format!(
                    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>"
                ))?;
            }
            return Ok(self.heard.contains("<failure"));
        }
        if !self.heard.contains("</stream:features>") {
            return Ok(false);
        }
        if self.kind == Kind::Header {
            return Ok(true);
        }
        let user = format!("u{}", self.number % 100);
        let (scram, message) = Scram::begin(&user, &format!("stranger{}", self.number));
        self.scram = Some(scram);
        self.heard.clear();
        self.say(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{message}</auth>"
        ))?;
        Ok(false)
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.tls.writer().write_all(text.as_bytes())?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Err(why) if is_not_yet(&why) => break,
                written => written?,
            };
        }
        Ok(())
    }

    /// Sends what it is to send outside TLS; whether that is all.
    fn say_raw(&mut self) -> io::Result<bool> {
        while !self.raw.is_empty() {
            match would_block(self.socket.write(&self.raw))? {
                None => return Ok(false),
                Some(written) => drop(self.raw.drain(..written)),
            }
        }
        Ok(true)
    }

    fn say_a_byte(&mut self) -> io::Result<()> {
        if let Some(byte) = self.raw.first()
            && would_block(self.socket.write(&[*byte]))?.is_some()
        {
            self.raw.remove(0);
        }
        Ok(())
    }

    fn leave(&mut self) -> io::Result<Progress> {
        if self.number.is_multiple_of(2) {
            sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))?;
            return Ok(Progress::Over);
        }
        self.leaving = true;
        if self.kind == Kind::Tls && self.number % 4 == 1 {
            self.tls.send_close_notify();
            self.flush()?;
        }
        self.socket.shutdown(Shutdown::Write)?;
        self.await_end()
    }

    fn await_end(&mut self) -> io::Result<Progress> {
        let mut rest = [0; 8192];
        loop {
            match would_block(self.socket.read(&mut rest))? {
                None => return Ok(Progress::Pending),
                Some(0) => return Ok(Progress::Over),
                Some(_) => {}
            }
        }
    }
}

/// A socket that connects, from one of some ten thousand addresses of loopback: so nobody runs out of ports, and whatever the
/// server notes by address has to be forgotten, too.
fn connecting(port: u16, number: usize) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    let (high, low) = (number / 250 % 40, number % 250 + 1);
    let own = Ipv4Addr::new(127, 1, high as u8, low as u8);
    bind(&socket, &SocketAddr::from((own, 0)))?;
    match connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(why) => Err(why.into()),
    }
}

/// None: there is nothing to do before the poller says so.
fn would_block<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(why) if is_not_yet(&why) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Also while it connects.
fn is_not_yet(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}
