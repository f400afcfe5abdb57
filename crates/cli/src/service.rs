//! `trochee enable` and `trochee disable`: whether the service prosody.service of this machine runs on trochee.
//!
//! What makes it do so is a drop-in for systemd (systemd.unit(5)). A second file goes into the folder of Prosody's configuration
//! where that includes such files: by it prosodyctl, which does not have the environment of the service, agrees with the
//! service. No file of Prosody is touched.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::unit::{Machine, UNIT};
use crate::{prosody, trial};

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

/// Files of Prosody's configuration that name trochee by themselves.
fn configurations_with_trochee(machine: &Machine) -> Vec<PathBuf> {
    let folder = machine.path("etc/prosody");
    let files = [folder.clone(), folder.join("conf.d")]
        .into_iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|file| names_trochee(file)).collect()
}

fn names_trochee(configuration: &Path) -> bool {
    let text = fs::read(configuration).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().any(|line| {
        let line = line.trim_start();
        !line.starts_with("--")
            && (line.contains("trochee/takeover.lua")
                || line.starts_with("network_backend") && line.contains("trochee"))
    })
}

/// Makes the service use trochee. What comes back says what was done, or why nothing was.
pub fn enable(change: &Change) -> Result<String, String> {
    let machine = as_root()?;
    let root = prosody::lua_root()?;
    let mut said = try_out(&machine, &root)?;
    write_files(&machine, &root, &mut said)?;
    apply(&machine, change, "Prosody runs on trochee", &mut said)?;
    Ok(said)
}

/// Makes the service use Prosody's own network backend.
pub fn disable(change: &Change) -> Result<String, String> {
    let machine = as_root()?;
    let mut said = String::new();
    let removed = remove_files(&machine, &mut said)?;
    for file in configurations_with_trochee(&machine) {
        // Writing to a String does not fail, here and below.
        let _ = writeln!(
            said,
            "Note: {} names trochee itself; remove that line, too, before trochee is removed.",
            file.display()
        );
    }
    if removed || change.restart {
        apply(
            &machine,
            change,
            "Prosody runs on its own network backend",
            &mut said,
        )?;
    }
    Ok(said)
}

fn as_root() -> Result<Machine, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("only root may change how a service runs; use sudo".to_owned());
    }
    Ok(Machine::here())
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

/// Whether a file is one that `trochee enable` may replace: not what somebody has put there under its name.
fn is_ours(text: &str) -> bool {
    text.contains("trochee/takeover.lua")
}

/// The file beside Prosody's configuration, where that includes it.
fn included(machine: &Machine) -> Option<PathBuf> {
    let text = fs::read(machine.path("etc/prosody/prosody.cfg.lua")).ok()?;
    let includes = String::from_utf8_lossy(&text).lines().any(|line| {
        let line = line.trim_start();
        line.to_ascii_lowercase().starts_with("include") && line.contains("conf.d/*.cfg.lua")
    });
    includes.then(|| machine.included())
}

fn write_files(machine: &Machine, root: &Path, said: &mut String) -> Result<(), String> {
    let root = root
        .to_str()
        .filter(|root| !root.contains(['\'', '"', '\\', '%', '\n']))
        .ok_or_else(|| format!("the name of the folder {} does not fit into a unit file; install trochee elsewhere", root.display()))?;
    write_file(
        &machine.drop_in(),
        &DROP_IN.replace(TEMPLATE_ROOT, root),
        said,
    )?;
    match included(machine) {
        Some(file) => write_file(&file, &INCLUDED.replace(TEMPLATE_ROOT, root), said),
        None => {
            let _ = writeln!(
                said,
                "Prosody's configuration does not include conf.d/*.cfg.lua, so prosodyctl itself does not know of \
                 trochee; `trochee prosodyctl` does."
            );
            Ok(())
        }
    }
}

fn write_file(file: &Path, text: &str, said: &mut String) -> Result<(), String> {
    match fs::read_to_string(file) {
        Ok(existing) if existing == text => {
            let _ = writeln!(said, "{} is there already.", file.display());
            return Ok(());
        }
        Ok(existing) if !is_ours(&existing) => {
            return Err(format!(
                "{} was not written by trochee; rename it",
                file.display()
            ));
        }
        _ => {}
    }
    let problem = |error: io::Error| format!("{} cannot be written: {error}", file.display());
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(problem)?;
    // Whoever reads it meanwhile, or after a power failure, finds all of it or nothing.
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let mut opened = fs::File::create(&new).map_err(problem)?;
    opened.write_all(text.as_bytes()).map_err(problem)?;
    opened.sync_all().map_err(problem)?;
    fs::rename(&new, file).map_err(problem)?;
    let _ = writeln!(said, "{} was written.", file.display());
    Ok(())
}

/// Whether there was something to remove.
fn remove_files(machine: &Machine, said: &mut String) -> Result<bool, String> {
    let removed = remove_file(&machine.drop_in(), said)?;
    if removed {
        if let Some(folder) = machine.drop_in().parent() {
            // Fails if there are drop-ins of others in it, as it should.
            let _ = fs::remove_dir(folder);
        }
    } else {
        let _ = writeln!(said, "There is no {}.", machine.drop_in().display());
    }
    Ok(remove_file(&machine.included(), said)? || removed)
}

/// Whether it was there.
fn remove_file(file: &Path, said: &mut String) -> Result<bool, String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Ok(existing) if !is_ours(&existing) => {
            return Err(format!(
                "{} was not written by trochee; remove it by hand if it is not needed",
                file.display()
            ));
        }
        _ => {}
    }
    fs::remove_file(file)
        .map_err(|error| format!("{} cannot be removed: {error}", file.display()))?;
    let _ = writeln!(said, "{} was removed.", file.display());
    Ok(true)
}

/// Tells systemd of the change, and restarts Prosody or says that this is due.
fn apply(machine: &Machine, change: &Change, then: &str, said: &mut String) -> Result<(), String> {
    if !machine.runs_systemd() {
        let _ = writeln!(
            said,
            "systemd does not run here. {then} once systemd starts it."
        );
        return Ok(());
    }
    // What has been done already is told all the same.
    let but = |done: &str, error| format!("{} But {error}", done.trim_end());
    systemctl(&["daemon-reload"]).map_err(|error| but(said, error))?;
    if change.restart {
        systemctl(&["restart", UNIT]).map_err(|error| but(said, error))?;
        let _ = writeln!(said, "{UNIT} was restarted. {then}.");
    } else {
        let _ = writeln!(
            said,
            "{then} after its next restart: systemctl restart prosody"
        );
    }
    Ok(())
}

fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let command = format!("systemctl {}", arguments.join(" "));
    match Command::new("systemctl").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command} failed: {}", trial::reason(&output))),
        Err(error) => Err(format!("{command} cannot be started: {error}")),
    }
}

#[cfg(test)]
mod tests;
