//! Echo over TLS, direct or after the line `STARTTLS`. Shows contexts, and what a handler learns of a session.
//!
//!     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem
//!     cargo run --release -p trochee --example tls -- --certificate cert.pem --key key.pem
//!     openssl s_client -connect 127.0.0.1:7443

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use trochee::server::{Contexts, Listen, LogWriter, Status};
use trochee::tls::{Context, Settings};
use trochee::{Conn, Handler, Server};

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
    /// Where it begins after a line that says STARTTLS.
    #[arg(long, default_value = "127.0.0.1:7080")]
    listen_plain: String,
}

struct Echo {
    contexts: Contexts,
    /// A handler must not wait for whoever reads standard output.
    told: Arc<LogWriter>,
}

impl Handler for Echo {
    fn on_status(&mut self, conn: &mut Conn<'_>, status: Status) {
        if status == Status::Secured
            && let Some(info) = conn.tls_info()
        {
            let group = info.group.unwrap_or_default();
            let text = format!("{} {} {group}", info.protocol, info.cipher);
            self.told.line(text);
        }
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        if conn.tls_info().is_none() && data == b"STARTTLS\n" {
            let _ = conn.write(b"OK\n");
            // Nothing that arrives in plaintext from now on is ever read.
            let _ = conn.serve_tls(&self.contexts);
        } else {
            let _ = conn.write(data);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (context, remarks) =
        Context::build(&Settings::server(arguments.certificate, arguments.key))?;
    for remark in remarks {
        eprintln!("{remark}");
    }
    let contexts = Contexts::new(context);
    let direct = Listen::on(arguments.listen).tls(&contexts);
    let told = Arc::new(LogWriter::new(io::stdout())?);
    let make = move || Echo {
        contexts: contexts.clone(),
        told: Arc::clone(&told),
    };
    let server = Server::builder()
        .listen(direct, make.clone())
        .listen(&*arguments.listen_plain, make)
        .build()?;
    for address in server.handle().addresses() {
        println!("listening on {address}");
    }
    Ok(server.run()?)
}
