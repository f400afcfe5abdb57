//! Asking a running server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Report;

/// Where a server is that nobody has named: Prosody of a Debian package, and the relay of our unit for systemd.
const USUAL: [&str; 2] = [
    "/var/lib/prosody/trochee.sock",
    "/run/trochee-relay/stats.sock",
];

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// No answer is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// A server that can be asked again and again. When it is restarted, the next question finds the new one.
pub struct Client {
    path: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Client {
    /// One at `path`, or at the first usual place where there is one.
    pub fn new(path: Option<&Path>) -> Client {
        let usual = || {
            let found = USUAL.iter().map(Path::new).find(|path| path.exists());
            found.unwrap_or(Path::new(USUAL[0])).to_owned()
        };
        Client {
            path: path.map_or_else(usual, Path::to_owned),
            stream: None,
        }
    }

    /// What the server answers, as it has written it, and understood. `most` connections in each order are enough.
    ///
    /// # Errors
    ///
    /// In words for the operator: what is wrong, and what to do about it.
    pub fn ask(&mut self, most: usize) -> Result<(String, Report), String> {
        let line = self.line(most).map_err(|error| {
            self.stream = None;
            self.explain(&error)
        })?;
        let report: Report = serde_json::from_str(&line)
            .map_err(|error| format!("{}: not what was asked for: {error}", self.path.display()))?;
        match report.error {
            Some(error) => {
                self.stream = None;
                Err(format!("{}: {error}", self.path.display()))
            }
            None => Ok((line, report)),
        }
    }

    fn line(&mut self, most: usize) -> io::Result<String> {
        if self.stream.is_none() {
            let stream = UnixStream::connect(&self.path)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            self.stream = Some(BufReader::new(stream));
        }
        let Some(stream) = &mut self.stream else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        writeln!(stream.get_mut(), "json {most}")?;
        let mut line = Vec::new();
        stream.take(LONGEST).read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(String::from_utf8_lossy(&line).into_owned()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn explain(&self, error: &io::Error) -> String {
        let path = self.path.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                "no server answers at {path}. Does Prosody run, with trochee? `trochee check` tells. The socket is trochee.sock in \
                 Prosody's data_path unless network_settings.stats_socket says otherwise; for the relay it is what --stats-socket says. \
                 Name it: --socket PATH"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "{path}: permission denied. Only the user that the server runs as can ask it, and root: use sudo"
            ),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!(
                "{path}: no answer within {} s: the server may be stuck",
                PATIENCE.as_secs()
            ),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => {
                format!("{path}: the server has ended the connection")
            }
            _ => format!("{path}: {error}"),
        }
    }
}
