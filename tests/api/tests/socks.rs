//! A SOCKS server (RFC 1928): what a client asks for decides where its bytes go, errors become answers, and both ends have to hurry.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use trochee::{Conn, Errno, Error, Handler, Key, Name, Reason, Server, TimerId};
use trochee_api::Running;

/// How long a client may take to say what it wants.
const PATIENCE_WITH_CLIENTS: Duration = Duration::from_millis(300);

/// More than this for one side, and the other is read no further.
const MOST_QUEUED: usize = 128 * 1024;

const SUCCEEDED: u8 = 0;
const FAILED: u8 = 1;
const REFUSED: u8 = 5;
const EXPIRED: u8 = 6;
const NO_SUCH_COMMAND: u8 = 7;

fn answer(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// Passes data on, and has the sender wait where the receiver is slow.
fn pass_on(conn: &mut Conn<'_>, to: Key, data: &[u8]) {
    let mut other = conn.other(to);
    let _ = other.write(data);
    if other.pending() > MOST_QUEUED {
        other.notify_flush();
        conn.pause();
    }
}

/// Ends the other side as this one has ended.
fn pass_end(conn: &mut Conn<'_>, to: Key, reason: &Reason) {
    let mut other = conn.other(to);
    other.set_abortive(!reason.is_orderly());
    other.close();
}

#[derive(Default)]
struct Client {
    partial: Vec<u8>,
    greeted: bool,
    target: Option<Key>,
    deadline: Option<TimerId>,
}

impl Client {
    /// Takes one message from what has come, or none yet.
    fn message(&mut self, length: impl Fn(&[u8]) -> usize) -> Option<Vec<u8>> {
        let length = length(&self.partial);
        (self.partial.len() >= length).then(|| self.partial.drain(..length).collect())
    }

    fn request(&mut self, conn: &mut Conn<'_>, request: &[u8]) {
        let [5, 1, _, 1, a, b, c, d, high, low] = *request else {
            let _ = conn.write(&answer(NO_SUCH_COMMAND));
            return conn.close();
        };
        let address = SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])));
        let target = Target {
            client: conn.key(),
            stands: Rc::default(),
        };
        match conn.connect(&address.into(), target) {
            Ok(key) => self.target = Some(key),
            Err(error) => {
                let _ = conn.write(&answer(code_of(error.errno())));
                conn.close();
            }
        }
        if let Some(timer) = self.deadline.take() {
            conn.cancel_timer(timer);
        }
    }
}

fn code_of(errno: Option<i32>) -> u8 {
    match errno {
        Some(errno) if errno == Errno::CONNREFUSED.raw_os_error() => REFUSED,
        _ => FAILED,
    }
}

impl Handler for Client {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        conn.set_half_open(true);
        self.deadline = conn.set_timer(PATIENCE_WITH_CLIENTS);
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>, _timer: TimerId) {
        let _ = conn.write(&answer(EXPIRED));
        conn.close();
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        if let Some(target) = self.target {
            return pass_on(conn, target, data);
        }
        self.partial.extend(data);
        if !self.greeted {
            // The version, how many methods, the methods
            let length = |partial: &[u8]| 2 + usize::from(*partial.get(1).unwrap_or(&0));
            if self.message(length).is_none() {
                return;
            }
            self.greeted = true;
            let _ = conn.write(&[5, 0]);
        }
        if let Some(request) = self.message(|_| 10) {
            self.request(conn, &request);
        }
        // Who is in a hurry has sent more already.
        if let Some(target) = self.target {
            pass_on(conn, target, &std::mem::take(&mut self.partial));
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        if let Some(target) = self.target {
            conn.other(target).resume();
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        match self.target {
            Some(target) => drop(conn.other(target).finish()),
            None => conn.close(),
        }
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        if let Some(target) = self.target {
            pass_end(conn, target, reason);
        }
    }
}

struct Target {
    client: Key,
    stands: Rc<Cell<bool>>,
}

impl Handler for Target {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        self.stands.set(true);
        conn.set_half_open(true);
        let _ = conn.other(self.client).write(&answer(SUCCEEDED));
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        pass_on(conn, self.client, data);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        conn.other(self.client).resume();
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        conn.other(self.client).finish();
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        if self.stands.get() {
            return pass_end(conn, self.client, reason);
        }
        let mut client = conn.other(self.client);
        let _ = client.write(&answer(code_of(reason.errno())));
        client.close();
    }
}

/// A client that has greeted, and asks for `address`; the answer's code.
fn ask(server: &Running, address: SocketAddr, command: u8) -> io::Result<(TcpStream, u8)> {
    let mut stream = server.connect()?;
    stream.write_all(&[5, 1, 0])?;
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting)?;
    assert_eq!(greeting, [5, 0]);
    let mut request = vec![5, command, 0, 1];
    match address {
        SocketAddr::V4(address) => request.extend(address.ip().octets()),
        SocketAddr::V6(_) => return Err(io::ErrorKind::Unsupported.into()),
    }
    request.extend(address.port().to_be_bytes());
    stream.write_all(&request)?;
    let mut got = [0; 10];
    stream.read_exact(&mut got)?;
    Ok((stream, got[1]))
}

#[test]
fn clients_get_where_they_want_or_are_told_why_not() -> io::Result<()> {
    let server = Running::new(
        Server::builder()
            .threads(2)
            .listen("127.0.0.1:0", Client::default),
    )?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let behind = listener.local_addr()?;
    let echo = thread::spawn(move || -> io::Result<()> {
        let (stream, _) = listener.accept()?;
        io::copy(&mut &stream, &mut &stream)?;
        stream.shutdown(Shutdown::Write)
        // And the listener is gone: nobody else is served.
    });

    let (mut stream, code) = ask(&server, behind, 1)?;
    assert_eq!(code, SUCCEEDED);
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (expected, mut writer) = (sent.clone(), stream.try_clone()?);
    let writing = thread::spawn(move || -> io::Result<()> {
        writer.write_all(&sent)?;
        writer.shutdown(Shutdown::Write)
    });
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed)?;
    assert!(echoed == expected);
    writing.join().unwrap()?;
    echo.join().unwrap()?;

    assert_eq!(ask(&server, behind, 1)?.1, REFUSED);
    assert_eq!(ask(&server, behind, 2)?.1, NO_SUCH_COMMAND);

    // Who says nothing is not waited for.
    let mut silent = Vec::new();
    server.connect()?.read_to_end(&mut silent)?;
    assert_eq!(silent, answer(EXPIRED));
    Ok(())
}

/// What the system says has its number in both kinds of errors, and becomes an error of the standard library.
#[test]
fn errors_are_those_of_the_standard_library() {
    let refused = io::Error::from(Reason::Os(Errno::CONNREFUSED));
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(
        io::Error::from(Reason::ConnectTimeout).kind(),
        io::ErrorKind::TimedOut
    );
    let full = io::Error::from(Error::SendBufferFull);
    assert_eq!(full.to_string(), "no space left in buffer");
    let name = Name::from(SocketAddr::from(([127, 0, 0, 1], 1)));
    assert_eq!(name.to_string(), "127.0.0.1:1");
}
