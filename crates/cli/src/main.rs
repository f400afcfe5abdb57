//! The trochee command line: Prosody on trochee, a relay that terminates TLS, and what an operator can ask about this
//! machine.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use trochee::poller::BACKENDS;

mod backends;
mod check;
mod prosody;
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
    /// Start the installed Prosody with trochee in the place of its own network backends
    Prosody(prosody::Start),
    /// The same for prosodyctl
    Prosodyctl(prosody::Start),
    /// Pass connections on to a server behind, with TLS terminated on all cores
    Relay(Box<relay::Options>),
}

fn main() -> ExitCode {
    let show: fn(&[backends::Poller]) -> String = match Arguments::parse().command {
        Command::Backends => backends::list,
        Command::Check => |pollers| check::report(&check::System::here(), pollers),
        Command::Prosody(start) => return failed(prosody::exec("prosody", &start)),
        Command::Prosodyctl(start) => return failed(prosody::exec("prosodyctl", &start)),
        Command::Relay(options) => {
            return match relay::run(*options) {
                Ok(code) => code,
                Err(error) => failed(error),
            };
        }
    };
    let pollers = backends::probe(BACKENDS);
    let text = show(&pollers);
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(error),
        _ if pollers.iter().any(|poller| poller.refusal.is_none()) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn failed(problem: impl Display) -> ExitCode {
    eprintln!("trochee: {problem}");
    ExitCode::FAILURE
}
