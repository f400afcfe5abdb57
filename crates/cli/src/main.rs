//! The trochee command line: Prosody on trochee, a relay that terminates TLS, and what an operator can ask about this
//! machine.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use trochee::poller::BACKENDS;

mod backends;
mod check;
#[cfg(feature = "manual")]
mod manual;
mod prosody;
mod relay;
mod service;
mod statistics;
mod stats;
mod top;
mod trial;
mod unit;
mod versions;

/// Prosody's network backends in Rust.
#[derive(Parser)]
#[command(
    name = "trochee",
    disable_version_flag = true,
    arg_required_else_help = true
)]
struct Arguments {
    /// Print the version
    #[arg(short = 'V', long)]
    version: bool,

    /// With --version: also print the versions of the libraries that are linked in
    #[arg(long, requires = "version")]
    verbose: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// List the pollers of this build: what each is, whether it works here, and which one "auto" takes
    Backends,
    /// Tell what is wrong or could be better on this machine, in the service and in Prosody's configuration, and what to
    /// do about it; fails if something is wrong
    Check(check::Options),
    /// Make the service prosody.service use trochee: try it out, write the drop-in for systemd, say what is left to do
    Enable(service::Change),
    /// Make the service prosody.service use its own network backend: remove the drop-in
    Disable(service::Change),
    /// Start the installed Prosody with trochee in the place of its own network backends
    Prosody(prosody::Start),
    /// The same for prosodyctl
    Prosodyctl(prosody::Start),
    /// Pass connections on to a server behind, with TLS terminated on all cores
    Relay(Box<relay::Options>),
    /// Print what a running server has counted, and what is in use
    Stats(stats::Options),
    /// Watch a running server: rates, the busiest and slowest connections, addresses, errors
    Top(top::Options),
    /// Write the man pages and completions into a folder with the layout of share/
    #[cfg(feature = "manual")]
    Manual(manual::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.version {
        return printed(&versions::text(arguments.verbose));
    }
    // Without a command and --version, clap has shown the help.
    let Some(command) = arguments.command else {
        return failed("no command; `trochee --help` lists them");
    };
    match command {
        Command::Backends => backends(),
        Command::Check(options) => check::run(&options),
        Command::Enable(change) => said(service::enable(&change)),
        Command::Disable(change) => said(service::disable(&change)),
        Command::Prosody(start) => failed(prosody::exec("prosody", &start)),
        Command::Prosodyctl(start) => failed(prosody::exec("prosodyctl", &start)),
        Command::Relay(options) => match relay::run(*options) {
            Ok(code) => code,
            Err(error) => failed(error),
        },
        Command::Stats(options) => said(stats::run(&options)),
        Command::Top(options) => match top::run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => failed(problem),
        },
        #[cfg(feature = "manual")]
        Command::Manual(options) => said(manual::write(&options)),
    }
}

/// Fails if no poller works.
fn backends() -> ExitCode {
    let pollers = backends::probe(BACKENDS);
    let status = printed(&backends::list(&pollers));
    if pollers.iter().any(|poller| poller.refusal.is_none()) {
        status
    } else {
        ExitCode::FAILURE
    }
}

fn said(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(text) => printed(&text),
        Err(problem) => failed(problem),
    }
}

fn printed(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(error),
        _ => ExitCode::SUCCESS,
    }
}

fn failed(problem: impl Display) -> ExitCode {
    eprintln!("trochee: {problem}");
    ExitCode::FAILURE
}
