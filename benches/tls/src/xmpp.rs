//! An XMPP client over direct TLS 1.3: SCRAM-SHA-1, bind, roster, presence, and if wanted a room. Any answer that is not the
//! expected one ends the program: a run in which a login fails is no measurement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::config;
use crate::poller::{Poller, Ready};
use crate::scram::Scram;
use crate::session::Session;

/// How long all may take to log in.
const LOGIN: Duration = Duration::from_secs(60);

/// The longest stanza.
const STANZA: usize = 20 * 1024;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Step {
    Handshake,
    Features,
    Challenge,
    Success,
    FeaturesAgain,
    Bind,
    Roster,
    Presence,
    Join,
    Online,
}

/// A client: an account `u0`, `u1` and so on, all with one password.
pub struct Client {
    pub number: usize,
    /// Of the chat room that it is to be in.
    pub room: Option<usize>,
    /// When it began to connect.
    pub since: Instant,
    pub step: Step,
    /// The last connection took a ticket of the one before.
    pub resumed: bool,
    configuration: Arc<ClientConfig>,
    session: Option<Session>,
    scram: Option<Scram>,
    /// Logins up to now, for nonces.
    logins: usize,
    held: Vec<u8>,
}

/// Who deals with the stanzas of clients that are online.
pub type OnStanza<'a> = &'a mut dyn FnMut(&mut Client, &str) -> Result<(), String>;

/// So many clients, of this account and those after it, in rooms of so many; `None`: in none.
pub fn clients(first: usize, count: usize, room: Option<usize>) -> Result<Vec<Client>, String> {
    (0..count)
        .map(|index| {
            Ok(Client {
                number: first + index,
                room: room.map(|members| index / members),
                since: Instant::now(),
                step: Step::Handshake,
                resumed: false,
                // A store of its own: a ticket is for who got it.
                configuration: config::configuration(Resumption::in_memory_sessions(1))?,
                session: None,
                scram: None,
                logins: 0,
                held: Vec::new(),
            })
        })
        .collect()
}

/// Until all are online; how long each of them took.
pub fn log_in(
    port: u16,
    poller: &Poller,
    clients: &mut [Client],
    on_stanza: OnStanza<'_>,
) -> Result<Vec<Duration>, String> {
    let limit = Instant::now() + LOGIN;
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(port)?;
        if let Some(session) = &client.session {
            poller.add(index, session, EventFlags::IN)?;
        }
    }
    let mut times = Vec::with_capacity(clients.len());
    let mut ready = Ready::new();
    while times.len() < clients.len() {
        poller.turn(&mut ready)?;
        for index in ready.clients() {
            let client = &mut clients[index];
            let was_online = client.step == Step::Online;
            client.receive(on_stanza)?;
            if !was_online && client.step == Step::Online {
                times.push(client.since.elapsed());
            }
        }
        if times.len() < clients.len() && Instant::now() > limit {
            let missing = clients.len() - times.len();
            let one = clients.iter().find(|client| client.step != Step::Online);
            return Err(format!(
                "{missing} of {} clients are not online after {} s: {}",
                clients.len(),
                LOGIN.as_secs(),
                one.map_or(String::new(), |client| client.failed("waits"))
            ));
        }
    }
    Ok(times)
}

/// Has all say goodbye, and waits until the server has, too.
pub fn leave(clients: &mut [Client]) -> Result<(), String> {
    for client in &mut *clients {
        client.say("</stream:stream>")?;
    }
    for client in clients {
        let Some(mut session) = client.session.take() else {
            continue;
        };
        let mut rest = [0; 1024];
        session
            .set_nonblocking(false)
            .map_err(|why| why.to_string())?;
        while session.receive(&mut rest).is_ok_and(|read| read > 0) {}
        // It may be gone, as it should be.
        let _ = session.close();
    }
    Ok(())
}

impl Client {
    fn begin(&mut self, port: u16) -> Result<(), String> {
        (self.step, self.scram) = (Step::Handshake, None);
        self.held.clear();
        self.session = Some(Session::connect(port, &self.configuration)?);
        self.since = Instant::now();
        let begun = self.session().and_then(|session| {
            session
                .set_nonblocking(true)
                .map_err(|why| why.to_string())?;
            session.flush().map_err(|why| why.to_string())
        });
        begun.map_err(|why| self.failed(&why))
    }

    fn session(&mut self) -> Result<&mut Session, String> {
        self.session.as_mut().ok_or("not connected".to_owned())
    }

    /// The reason why the program ends.
    pub fn failed(&self, why: &str) -> String {
        format!("u{} at {:?}: {why}", self.number, self.step)
    }

    /// What is said is short, and the server reads: what cannot be sent at once is a fault, not a reason to wait.
    pub fn say(&mut self, text: &str) -> Result<(), String> {
        let session = self.session()?;
        let sent = session.send(text.as_bytes());
        if sent.is_ok_and(|sent| sent == text.len()) && !session.wants_write() {
            return Ok(());
        }
        Err(self.failed("cannot send"))
    }

    fn say_open(&mut self) -> Result<(), String> {
        self.say(say_stream())
    }

    /// Sends as much of this as the connection takes, and reads nothing; how much that was.
    pub fn pour(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let sent = self.session()?.send(bytes);
        sent.map_err(|why| self.failed(&why.to_string()))
    }

    /// Goes as far as it gets with what has arrived.
    pub fn receive(&mut self, on_stanza: OnStanza<'_>) -> Result<(), String> {
        let mut buffer = [0; STANZA];
        loop {
            let session = self.session()?;
            let received = session.receive(&mut buffer);
            let resumed = session.handshake();
            let read = received.map_err(|why| self.failed(&why.to_string()))?;
            if self.step == Step::Handshake
                && let Some(resumed) = resumed
            {
                (self.resumed, self.step) = (resumed, Step::Features);
                self.say_open()?;
            }
            if read == 0 {
                return Ok(());
            }
            self.held.extend_from_slice(&buffer[..read]);
            let held = std::mem::take(&mut self.held);
            let text = std::str::from_utf8(&held).map_err(|_| self.failed("no UTF-8"))?;
            let mut at = 0;
            while let Some(length) = first_element(&text[at..])? {
                self.element(&text[at..at + length], on_stanza)?;
                at += length;
            }
            if text.len() - at >= STANZA {
                return Err(self.failed("a stanza without end"));
            }
            self.held = held;
            self.held.drain(..at);
        }
    }

    /// The next step. Elements that may come at any time, or that no step waits for, change nothing.
    fn element(&mut self, element: &str, on_stanza: OnStanza<'_>) -> Result<(), String> {
        if element.starts_with("<?xml") || element.starts_with("<stream:stream") {
            return Ok(());
        }
        let expected = match self.step {
            Step::Handshake | Step::Features | Step::FeaturesAgain => "<stream:features",
            Step::Challenge => "<challenge",
            Step::Success => "<success",
            Step::Bind | Step::Roster => "<iq",
            Step::Presence => "<presence",
            Step::Join | Step::Online => "<",
        };
        let is_error = self.step != Step::Online && element.contains("type='error'");
        if !element.starts_with(expected) || is_error {
            return Err(self.failed(element));
        }
        self.step = match self.step {
            Step::Handshake | Step::Features => {
                self.say_auth()?;
                Step::Challenge
            }
            Step::Challenge => {
                self.say_proof(element)?;
                Step::Success
            }
            Step::Success => {
                let scram = self.scram.as_ref();
                if !scram.is_some_and(|scram| scram.is_proven(content(element))) {
                    return Err(self.failed("the server does not know the password"));
                }
                self.say_open()?;
                Step::FeaturesAgain
            }
            Step::FeaturesAgain => {
                self.say(
                    "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind></iq>",
                )?;
                Step::Bind
            }
            Step::Bind => {
                self.say("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")?;
                Step::Roster
            }
            Step::Roster => {
                self.say("<presence/>")?;
                Step::Presence
            }
            Step::Presence => match self.room {
                None => Step::Online,
                Some(room) => {
                    let number = self.number;
                    self.say(&format!(
                        "<presence to='room{room}@rooms.localhost/u{number}'>\
                         <x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>"
                    ))?;
                    Step::Join
                }
            },
            // The subject comes last.
            Step::Join if element.contains("<subject") => Step::Online,
            Step::Join => Step::Join,
            Step::Online => {
                on_stanza(self, element)?;
                Step::Online
            }
        };
        Ok(())
    }

    fn say_auth(&mut self) -> Result<(), String> {
        self.logins += 1;
        let user = format!("u{}", self.number);
        let nonce = format!("bench{}.{}", self.number, self.logins);
        let (scram, message) = Scram::begin(&user, &nonce);
        self.scram = Some(scram);
        self.say(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{message}</auth>"
        ))
    }

    fn say_proof(&mut self, challenge: &str) -> Result<(), String> {
        let scram = self.scram.as_mut();
        let Some(response) = scram.and_then(|scram| scram.answer(content(challenge))) else {
            return Err(self.failed(challenge));
        };
        self.say(&format!(
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{response}</response>"
        ))
    }
}

/// What opens a stream.
pub fn say_stream() -> &'static str {
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='localhost' version='1.0' \
     xmlns:stream='http://etherx.jabber.org/streams'>"
}

/// Of an element that has text only.
pub fn content(element: &str) -> &str {
    let inner = element.split_once('>').map_or("", |(_, inner)| inner);
    inner.split_once('<').map_or("", |(text, _)| text)
}

/// The length of the first element, if it is whole. Prosody writes < and > nowhere but around a tag.
fn first_element(text: &str) -> Result<Option<usize>, String> {
    let mut depth = 0;
    let mut at = 0;
    while let Some(begin) = text[at..].find('<').map(|found| at + found) {
        let Some(length) = text[begin..].find('>') else {
            return Ok(None);
        };
        let tag = &text[begin..begin + length + 1];
        if tag.starts_with("</") {
            depth -= 1;
        } else if !tag.starts_with("<?")
            && !tag.ends_with("/>")
            && !tag.starts_with("<stream:stream")
        {
            depth += 1;
        }
        at = begin + tag.len();
        match depth {
            0 => return Ok(Some(at)),
            1.. => {}
            _ => return Err("the server ended the stream".to_owned()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_cut_where_they_end() {
        let stream = "<?xml version='1.0'?><stream:stream a='b'><a><b/>text</a><c/> <d";
        let mut at = 0;
        let mut found = Vec::new();
        while let Some(length) = first_element(&stream[at..]).unwrap() {
            found.push(&stream[at..at + length]);
            at += length;
        }
        let expected = [
            "<?xml version='1.0'?>",
            "<stream:stream a='b'>",
            "<a><b/>text</a>",
            "<c/>",
        ];
        assert_eq!(found, expected);
        assert_eq!(content("<a b='c'>text</a>"), "text");
        assert!(first_element("</stream:stream>").is_err());
    }
}
