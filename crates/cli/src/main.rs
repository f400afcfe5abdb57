//! The trochee command line: what an operator can ask about the pollers of this machine, and programs on the engine.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use trochee::poller::BACKENDS;

mod backends;
mod check;
mod relay;

/// Prosody's network backends in Rust.
#[derive(Parser)]
#[command(name = "trochee", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the pollers of this build: what each is, whether it works here, and which one "auto" takes
    Backends,
    /// Tell what limits a server on this machine, and what to do about it; fails if no poller works
    Check,
    /// Pass connections on to a server behind, with TLS terminated on all cores
    Relay(Box<relay::Options>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let pollers = backends::probe(BACKENDS);
    let text = match arguments.command {
        Command::Backends => backends::list(&pollers),
        Command::Check => check::report(&check::System::here(), &pollers),
        Command::Relay(options) => {
            return match relay::run(*options) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("trochee relay: {error}");
                    ExitCode::FAILURE
                }
            };
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("trochee: {error}");
            ExitCode::FAILURE
        }
        _ if pollers.iter().any(|poller| poller.refusal.is_none()) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
