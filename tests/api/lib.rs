//! Programs that use trochee from outside, and what they share: they are in `tests/`.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use trochee::Name;
use trochee::server::{Builder, Error, ServerHandle};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The Rust of the project's front page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// And that of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/rust.md")]
struct Guide;

/// A server that runs until it is dropped.
pub struct Running {
    /// What ends it.
    pub handle: ServerHandle,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Running {
    /// Builds it and has it run.
    ///
    /// # Errors
    ///
    /// Those of `build`.
    pub fn new(builder: Builder) -> io::Result<Running> {
        let server = builder.build()?;
        let handle = server.handle();
        let thread = Some(thread::spawn(move || server.run()));
        Ok(Running { handle, thread })
    }

    /// Where it listens first.
    ///
    /// # Panics
    ///
    /// If that is nowhere.
    pub fn address(&self) -> SocketAddr {
        match &self.handle.addresses()[0] {
            Name::Inet(address) => *address,
            other => panic!("it listens on {other}"),
        }
    }

    /// A client.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(thread::panicking() || matches!(outcome, Ok(Ok(()))));
        }
    }
}

/// The next line that a peer sends.
///
/// # Errors
///
/// Those of the system.
pub fn line(stream: &mut impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// What comes over a channel.
///
/// # Panics
///
/// If nothing does.
pub fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).expect("nothing came")
}
