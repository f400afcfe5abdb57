//! `trochee check`: what is wrong, or could be better, before Prosody runs on trochee.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use trochee::poller::BACKENDS;

use crate::unit::Machine;
use crate::{backends, printed, prosody};
use fact::{Fact, Level};
use machine::System;

mod configuration;
mod fact;
mod machine;
mod service;

/// What to look at.
#[derive(Args)]
pub struct Options {
    /// Look at Prosody's configuration as well: the one that it finds itself, or this file
    #[arg(long, value_name = "CONFIG", num_args = 0..=1)]
    prosody: Option<Option<PathBuf>>,

    /// Try things as this user, if not as that of the service; only root can
    #[arg(long, value_name = "NAME", requires = "prosody")]
    user: Option<String>,

    /// The program `prosody`, if it is not that of the service; its prosodyctl is the one beside it
    #[arg(long, value_name = "PATH", requires = "prosody")]
    program: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Prints what was found. The status is 0 where nothing is wrong, also if there is advice, and 1 where something is.
pub fn run(options: &Options) -> ExitCode {
    let system = System::here();
    let machine = Machine::here();
    let mut facts = machine::facts(&system, &backends::probe(BACKENDS));
    if options.prosody.is_none() {
        let backlog = trochee::Config::default().backlog;
        facts.push(machine::queue(system.somaxconn, backlog));
    }
    facts.extend(service::facts(&machine));
    if let Some(configuration) = &options.prosody {
        match prosody::lua_root() {
            Ok(root) => {
                let subject = configuration::Subject {
                    configuration: configuration.as_deref(),
                    program: options.program.as_deref(),
                    user: options.user.as_deref(),
                    root: &root,
                };
                facts.extend(configuration::facts(&machine, &system, &subject));
            }
            Err(problem) => facts.push(Fact::problem("trochee", problem, "install it again")),
        }
    }
    let show = if options.json { fact::json } else { fact::text };
    let status = printed(&show(&facts));
    if fact::count(&facts, Level::Problem) > 0 {
        return ExitCode::FAILURE;
    }
    status
}
