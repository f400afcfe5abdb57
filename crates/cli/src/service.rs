//! `trochee enable` and `trochee disable`: whether the service prosody.service of this machine runs on trochee.
//!
//! What makes it do so is a drop-in for systemd (systemd.unit(5)). A second file goes into the folder of Prosody's configuration
//! where that includes such files: by it prosodyctl, which does not have the environment of the service, agrees with the
//! service. No file of Prosody is touched.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::unit::{Machine, UNIT};
use crate::{prosody, trial};
use configuration::Configuration;
use running::Outcome;

mod configuration;
mod files;
mod running;

/// The two files, with the folder of an installation by `make install`.
const DROP_IN: &str = include_str!("../../../packaging/systemd/trochee.conf");
const INCLUDED: &str = include_str!("../../../packaging/prosody/trochee.cfg.lua");
const TEMPLATE_ROOT: &str = "/usr/local/lib/trochee/lua";

/// What happens after the change.
#[derive(Args)]
pub struct Change {
    /// Restart Prosody for the change to count; all its users are disconnected and come back
    #[arg(long)]
    restart: bool,
}

/// Makes the service use trochee. What comes back says what was done, or why nothing was.
pub fn enable(change: &Change) -> Result<String, String> {
    let machine = as_root()?;
    let root = prosody::lua_root()?;
    let mut said = try_out(&machine, &root)?;
    let reach = write_files(&machine, &root, &mut said)?;
    if !machine.runs_systemd() {
        said.push_str(&without_systemd(&reach, &root));
        return Ok(said);
    }
    apply(change, "Prosody runs on trochee", &mut said)?;
    if change.restart {
        see(&root, &mut said)?;
    }
    Ok(said)
}

/// Makes the service use Prosody's own network backend.
pub fn disable(change: &Change) -> Result<String, String> {
    let machine = as_root()?;
    let mut said = String::new();
    let removed = remove_files(&machine, &mut said);
    let mut then = "Prosody runs on its own network backend";
    for file in Configuration::of(&machine).naming_trochee(&machine) {
        then = "By that line Prosody runs on trochee still";
        // Writing to a String does not fail, here and below.
        let _ = writeln!(
            said,
            "Note: {} names trochee itself; remove that line, too, before trochee is removed.",
            file.display()
        );
    }
    // Of what was removed systemd has to know, also if something is left.
    if change.restart || !matches!(removed, Ok(false)) {
        if !machine.runs_systemd() {
            let _ = writeln!(
                said,
                "systemd does not run here. {then} after its next restart."
            );
        } else {
            apply(change, then, &mut said)?;
            if change.restart {
                let _ = writeln!(said, "{then}.");
            }
        }
    }
    match removed {
        Ok(_) => Ok(said),
        Err(problem) => Err(but(&said, &problem)),
    }
}

fn as_root() -> Result<Machine, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root may change how a service runs; use sudo".to_owned());
    }
    Ok(Machine::here())
}

/// What has been done already is told all the same.
fn but(done: &str, problem: &str) -> String {
    match done.trim_end() {
        "" => problem.to_owned(),
        done => format!("{done} But {problem}"),
    }
}

/// Has the Lua of the service load trochee, as the user of the service.
fn try_out(machine: &Machine, root: &Path) -> Result<String, String> {
    let unit = machine.unit().ok_or_else(|| {
        format!(
            "systemd has no {UNIT} here; install Prosody's package, or put a line into its configuration instead: \
             RunScript \"{}/trochee/takeover.lua\"",
            root.display()
        )
    })??;
    let user = unit.user();
    let interpreter = trial::interpreter(unit.program()?)?;
    let name = interpreter.join(" ");
    let version = trial::load(&interpreter, Some(user), root).map_err(|reason| {
        format!("nothing was changed: {name} cannot load trochee as the user {user}: {reason}")
    })?;
    Ok(format!(
        "trochee {version} of {} can be loaded by {name} as the user {user}.\n",
        root.display()
    ))
}

/// Who runs on trochee by the files that were written.
#[derive(Debug, PartialEq)]
enum Reach {
    /// Whatever reads Prosody's configuration.
    Configuration(PathBuf),
    /// The service alone, by its environment.
    Service,
}

fn write_files(machine: &Machine, root: &Path, said: &mut String) -> Result<Reach, String> {
    // The last two mean something in a search path of Lua, and those before in a unit file or in Lua.
    let root = root
        .to_str()
        .filter(|root| !root.contains(['\'', '"', '\\', '%', '\n', ';', '?']))
        .ok_or_else(|| {
            format!(
                "the name of the folder {} does not fit into a unit file or a search path of Lua; install trochee elsewhere",
                root.display()
            )
        })?;
    let mut texts = vec![(machine.drop_in(), DROP_IN.replace(TEMPLATE_ROOT, root))];
    let included = machine.included();
    let is_included = Configuration::of(machine).includes(&included);
    if is_included {
        texts.push((included.clone(), INCLUDED.replace(TEMPLATE_ROOT, root)));
    }
    files::write(&texts, said).map_err(|problem| format!("nothing was changed: {problem}"))?;
    if is_included {
        return Ok(Reach::Configuration(included));
    }
    let _ = writeln!(
        said,
        "Prosody's configuration does not include {}, so prosodyctl itself does not know of trochee; `trochee prosodyctl` does.",
        included.display()
    );
    Ok(Reach::Service)
}

/// Whether there was something to remove. One file that cannot be removed does not keep the other.
fn remove_files(machine: &Machine, said: &mut String) -> Result<bool, String> {
    let drop_in = machine.drop_in();
    let of_service = files::remove(&drop_in, said);
    match of_service {
        Ok(true) => {
            // Fails if there are drop-ins of others in it, as it should.
            let _ = drop_in.parent().map(std::fs::remove_dir);
        }
        Ok(false) => {
            let _ = writeln!(said, "There is no {}.", drop_in.display());
        }
        Err(_) => {}
    }
    let of_configuration = files::remove(&machine.included(), said);
    Ok(of_service? | of_configuration?)
}

/// Where Prosody is started by something else, the drop-in means nothing; the other file does.
fn without_systemd(reach: &Reach, root: &Path) -> String {
    match reach {
        Reach::Configuration(file) => format!(
            "systemd does not run here. By {} Prosody runs on trochee after its next restart, whoever starts it.\n",
            file.display()
        ),
        Reach::Service => format!(
            "systemd does not run here. Whatever else starts Prosody, this line on top of its configuration makes it run on \
             trochee: RunScript \"{}/trochee/takeover.lua\"\n",
            root.display()
        ),
    }
}

/// Tells systemd of the change, and restarts Prosody or says that this is due.
fn apply(change: &Change, then: &str, said: &mut String) -> Result<(), String> {
    systemctl(&["daemon-reload"]).map_err(|problem| but(said, &problem))?;
    if change.restart {
        systemctl(&["restart", UNIT]).map_err(|problem| but(said, &problem))?;
        let _ = writeln!(said, "{UNIT} was restarted.");
    } else {
        let _ = writeln!(
            said,
            "{then} after its next restart: systemctl restart prosody"
        );
    }
    Ok(())
}

/// Whether Prosody runs on trochee now, and not on the backend on which it falls back.
fn see(root: &Path, said: &mut String) -> Result<(), String> {
    match running::outcome(root).map_err(|problem| but(said, &problem))? {
        Outcome::Trochee => {
            said.push_str("Prosody runs on trochee.\n");
            Ok(())
        }
        Outcome::AnotherBackend => Err(but(
            said,
            "it has not loaded trochee, so its own backend serves; Prosody's log, or the journal, says why",
        )),
        Outcome::Ended => Err(but(
            said,
            "Prosody does not run; `systemctl status prosody` and its log say why",
        )),
    }
}

/// What it prints.
fn systemctl(arguments: &[&str]) -> Result<String, String> {
    let command = format!("systemctl {}", arguments.join(" "));
    match Command::new("systemctl").args(arguments).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(format!("{command} failed: {}", trial::reason(&output))),
        Err(error) => Err(format!("{command} cannot be started: {error}")),
    }
}

#[cfg(test)]
mod tests;
