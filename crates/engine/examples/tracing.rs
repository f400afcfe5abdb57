//! What operators see of a server, by the crate `tracing`: each connection is a span, and what becomes of it are events in it.
//!
//!     cargo run --release -p trochee --features tracing --example tracing -- --certificate cert.pem --key key.pem
//!     openssl s_client -connect 127.0.0.1:7443
//!
//! The first comment of `tls.rs` makes the two files.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use tracing_subscriber::filter::LevelFilter;
use trochee::server::{Contexts, Listen, LogWriter};
use trochee::tls::{Context, Settings};
use trochee::{Config, Conn, Handler, Networks, Server};

#[derive(Parser)]
struct Arguments {
    /// A PEM file: the certificate, then what certifies it.
    #[arg(long)]
    certificate: PathBuf,
    /// A PEM file with its private key.
    #[arg(long)]
    key: PathBuf,
    /// Where TLS begins at once.
    #[arg(long, default_value = "127.0.0.1:7443")]
    listen: String,
    /// Most connections of one address at a time: more are refused.
    #[arg(long, default_value_t = 10)]
    most: usize,
    /// Less is told with info than with debug.
    #[arg(long, default_value = "debug")]
    level: LevelFilter,
}

struct Echo;

impl Handler for Echo {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let _ = conn.write(data);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    // Events are told on the threads that serve, which must not wait for whoever reads standard output.
    let log = Arc::new(LogWriter::new(io::stdout())?);
    tracing_subscriber::fmt()
        .with_max_level(arguments.level)
        .with_ansi(false)
        .with_writer(Arc::clone(&log))
        .init();
    let (context, _) = Context::build(&Settings::server(arguments.certificate, arguments.key))?;
    let mut config = Config::default();
    config.max_connections_per_address = arguments.most;
    // Those of this machine count, too.
    config.exempt_addresses = Networks::default();
    let server = Server::builder()
        .config(config)
        .listen(
            Listen::on(arguments.listen).tls(&Contexts::new(context)),
            || Echo,
        )
        // What the log is told comes as events of tracing, too.
        .on_notice(|_, _| {})
        .build()?;
    log.line(format!("listening on {}", server.handle().addresses()[0]));
    Ok(server.run()?)
}
