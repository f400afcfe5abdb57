//! Echo, RFC 862: what a peer sends comes back. Shows a reactor with any of the pollers.
//!
//!     cargo run --release -p trochee --example echo -- --backend poll
//!     nc 127.0.0.1 7007

use clap::Parser;
use trochee::{Event, Level, Reactor, ReadSize};

#[derive(Parser)]
struct Arguments {
    /// The poller: epoll, poll, select, libevent, or auto for the best that works here.
    #[arg(long, default_value = "auto")]
    backend: String,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on.
    #[arg(long, default_value_t = 7007)]
    port: u16,
}

fn main() -> Result<(), trochee::Error> {
    let arguments = Arguments::parse();
    let mut reactor = Reactor::new();
    reactor.set_backend(&arguments.backend)?;
    reactor.listen(&arguments.host, arguments.port, ReadSize::All)?;
    println!(
        "echo on {} port {}, poller {}",
        arguments.host,
        arguments.port,
        reactor.backend()
    );

    loop {
        reactor.begin_turn(None);
        while let Some(event) = reactor.next_event() {
            match event {
                Event::Data { key, data, .. } => {
                    let echo = data.to_vec();
                    // A peer that sends without reading is disconnected when too much is queued for it.
                    let _ = reactor.write(key, &echo);
                }
                Event::Notice { level, text } if level >= Level::Warn => {
                    eprintln!("{}: {text}", level.as_str())
                }
                _ => {}
            }
        }
    }
}
