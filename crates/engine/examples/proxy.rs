//! A proxy: what comes here goes there, and back. Shows outgoing connections, two connections that know each other,
//! back-pressure both ways and ends that are passed on one by one.
//!
//!     cargo run --release -p trochee --example proxy -- --to 127.0.0.1:5222
//!
//! `trochee relay` is this with TLS, limits and a configuration.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Parser;
use trochee::server::LogWriter;
use trochee::{Conn, Handler, Key, Name, Reason, Server};

/// One side is read no further while more than this waits for the other, in bytes.
const MOST_QUEUED: usize = 256 * 1024;

#[derive(Parser)]
struct Arguments {
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7009")]
    listen: String,
    /// Where to connect to for each connection.
    #[arg(long)]
    to: SocketAddr,
    /// How many threads serve.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// One side of a pair.
struct Side {
    target: Name,
    other: Option<Key>,
    /// A handler must not wait for whoever reads standard error.
    log: Arc<LogWriter>,
}

impl Handler for Side {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        conn.set_half_open(true);
        if self.other.is_some() {
            return;
        }
        let back = Side {
            target: self.target.clone(),
            other: Some(conn.key()),
            log: Arc::clone(&self.log),
        };
        match conn.connect(&self.target, back) {
            Ok(key) => self.other = Some(key),
            Err(error) => {
                self.log.line(format!("{}: {error}", self.target));
                conn.close();
            }
        }
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let Some(key) = self.other else {
            return;
        };
        let mut other = conn.other(key);
        let _ = other.write(data);
        if other.pending() > MOST_QUEUED {
            other.notify_flush();
            conn.pause();
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        if let Some(key) = self.other {
            conn.other(key).resume();
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        if let Some(key) = self.other {
            conn.other(key).finish();
        }
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        if let Some(key) = self.other {
            let mut other = conn.other(key);
            // What was cut off here must not look complete there.
            other.set_abortive(!reason.is_orderly());
            other.close();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let target = Name::Inet(arguments.to);
    let log = Arc::new(LogWriter::new(io::stderr())?);
    let server = Server::builder()
        .threads(arguments.threads)
        .listen(&*arguments.listen, move || Side {
            target: target.clone(),
            other: None,
            log: Arc::clone(&log),
        })
        .build()?;
    println!(
        "from {} to {}",
        server.handle().addresses()[0],
        arguments.to
    );
    Ok(server.run()?)
}
