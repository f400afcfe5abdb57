//! Echo, RFC 862: what a peer sends comes back. Shows a server on any of the pollers and any number of threads.
//!
//!     cargo run --release -p trochee --example echo -- --backend poll --threads 2
//!     nc 127.0.0.1 7007

use clap::Parser;
use trochee::{Conn, Handler, Server, server};

#[derive(Parser)]
struct Arguments {
    /// The poller: epoll, poll, select, libevent, or auto for the best that works here.
    #[arg(long, default_value = "auto")]
    backend: String,
    /// How many threads serve.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7007")]
    listen: String,
}

struct Echo;

impl Handler for Echo {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        // A peer that sends without reading is disconnected when too much is queued for it.
        let _ = conn.write(data);
    }
}

fn main() -> Result<(), server::Error> {
    let arguments = Arguments::parse();
    let server = Server::builder()
        .backend(arguments.backend)
        .threads(arguments.threads)
        .listen(&*arguments.listen, || Echo)
        .build()?;
    println!("echo on {}", server.handle().addresses()[0]);
    server.run()
}
