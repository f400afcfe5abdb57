//! What scripts/instructions counts of the Rust front: `counted_server PORT [TLS_PORT CERTIFICATE]`. It does the same as serve.lua, beside
//! this file, where the protocol is described.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use trochee::server::{Contexts, Listen, ServerHandle};
use trochee::tls::{Context, Settings};
use trochee::{Conn, Handler, Server};

static BLOCK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
static SERVER: OnceLock<ServerHandle> = OnceLock::new();

#[derive(Default)]
struct Serving {
    /// The first byte.
    purpose: Option<u8>,
}

impl Handler for Serving {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        let purpose = self.purpose.or_else(|| data.first().copied());
        self.purpose = purpose;
        // A write fails only where the peer has gone.
        let _ = match purpose {
            Some(b's') => Ok(0),
            Some(b'w') => conn.write(&BLOCK),
            Some(b't') => {
                if let Some(timer) = conn.set_timer(Duration::from_secs(60)) {
                    conn.cancel_timer(timer);
                }
                conn.write(b"t")
            }
            Some(b'q') => {
                if let Some(server) = SERVER.get() {
                    server.shutdown(Duration::ZERO);
                }
                Ok(0)
            }
            _ => conn.write(data),
        };
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (port, tls) = arguments.split_first().ok_or("no port")?;
    let mut builder = Server::builder()
        .backend("epoll")
        .listen(Listen::on(format!("127.0.0.1:{port}")), Serving::default);
    if let [port, certificate] = tls {
        let (certificate, key) = (format!("{certificate}.crt"), format!("{certificate}.key"));
        let (context, _) = Context::build(&Settings::server(certificate, key))?;
        let listen = Listen::on(format!("127.0.0.1:{port}")).tls(&Contexts::new(context));
        builder = builder.listen(listen, Serving::default);
    }
    let server = builder.build()?;
    SERVER.get_or_init(|| server.handle());
    println!("ready");
    Ok(server.run()?)
}
