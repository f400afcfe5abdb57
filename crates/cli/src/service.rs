//! `trochee enable` and `trochee disable`: whether the service prosody.service of this machine runs on trochee.
//!
//! What makes it do so is one file, a drop-in for systemd (systemd.unit(5)). No file of Prosody is touched.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Args;

use crate::prosody;

const UNIT: &str = "prosody.service";

/// The drop-in, with the folder of an installation by `make install`.
const TEMPLATE: &str = include_str!("../../../packaging/systemd/trochee.conf");
const TEMPLATE_ROOT: &str = "/usr/local/lib/trochee/lua";

/// Loads what the service would load, and says which version that is.
const TRIAL: &str = "assert(_VERSION == 'Lua 5.4', 'trochee is made for Lua 5.4, and this is '.._VERSION) \
     assert(loadfile(arg[1]..'/trochee/takeover.lua')) \
     package.cpath = arg[1]..'/?.so' \
     io.write(require 'trochee'._VERSION)";

/// What happens after the change.
#[derive(Args)]
pub struct Change {
    /// Restart Prosody for the change to count; all its users are disconnected and come back
    #[arg(long)]
    restart: bool,
}

/// The files of a machine, below `root`, which is "/" but for tests.
struct Machine {
    root: PathBuf,
}

impl Machine {
    fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    fn drop_in(&self) -> PathBuf {
        self.path("etc/systemd/system/prosody.service.d/trochee.conf")
    }

    /// The unit file that systemd takes: the first of these folders that has one.
    fn unit(&self) -> Option<PathBuf> {
        [
            "etc/systemd/system",
            "run/systemd/system",
            "usr/local/lib/systemd/system",
            "usr/lib/systemd/system",
            "lib/systemd/system",
        ]
        .into_iter()
        .map(|folder| self.path(folder).join(UNIT))
        .find(|file| file.is_file())
    }

    /// As sd_booted(3) tells it.
    fn runs_systemd(&self) -> bool {
        self.path("run/systemd/system").is_dir()
    }

    /// Files of Prosody's configuration that name trochee by themselves.
    fn configurations_with_trochee(&self) -> Vec<PathBuf> {
        let folder = self.path("etc/prosody");
        let files = [folder.clone(), folder.join("conf.d")]
            .into_iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()));
        files.filter(|file| names_trochee(file)).collect()
    }
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
    let machine = Machine::here()?;
    let root = prosody::lua_root()?;
    let mut said = try_out(&machine, &root)?;
    write_drop_in(&machine, &root, &mut said)?;
    apply(&machine, change, "Prosody runs on trochee", &mut said)?;
    Ok(said)
}

/// Makes the service use Prosody's own network backend.
pub fn disable(change: &Change) -> Result<String, String> {
    let machine = Machine::here()?;
    let mut said = String::new();
    let removed = remove_drop_in(&machine, &mut said)?;
    for file in machine.configurations_with_trochee() {
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

impl Machine {
    fn here() -> Result<Machine, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may change how a service runs; use sudo".to_owned());
        }
        Ok(Machine {
            root: PathBuf::from("/"),
        })
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
    })?;
    let text = fs::read_to_string(&unit)
        .map_err(|error| format!("{} cannot be read: {error}", unit.display()))?;
    let user = setting(&text, "User").unwrap_or("root");
    let program = setting(&text, "ExecStart")
        .and_then(|command| command.split_whitespace().next())
        .map(|program| program.trim_start_matches(['-', '@', ':', '+', '!']))
        .ok_or_else(|| format!("{} has no ExecStart", unit.display()))?;
    let interpreter = interpreter(Path::new(program))?;

    let name = interpreter.join(" ");
    let tried = Command::new("runuser")
        .args(["-u", user, "--"])
        .args(&interpreter)
        // With "-" the program comes from standard input, and arguments can follow.
        .arg("-")
        .arg(root)
        .env_remove("LUA_INIT")
        .env_remove("LUA_INIT_5_4")
        .stdin(standard_input(TRIAL).map_err(|error| format!("a pipe: {error}"))?)
        .output()
        .map_err(|error| format!("runuser cannot be started: {error}"))?;
    if !tried.status.success() {
        return Err(format!(
            "nothing was changed: {name} cannot load trochee as the user {user}: {}",
            reason(&tried)
        ));
    }
    let version = String::from_utf8_lossy(&tried.stdout);
    Ok(format!(
        "trochee {version} of {} can be loaded by {name} as the user {user}.\n",
        root.display()
    ))
}

/// A pipe that `text` is in already; it is shorter than what every pipe holds.
fn standard_input(text: &str) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(text.as_bytes())?;
    Ok(reader)
}

/// What a program that failed has said, or how it ended.
fn reason(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().find(|line| !line.trim().is_empty()) {
        Some(_) => said.lines().map(str::trim).collect::<Vec<_>>().join(" "),
        None => format!("it ended with {}", output.status),
    }
}

/// The last value of a setting in a unit file.
fn setting<'a>(unit: &'a str, name: &str) -> Option<&'a str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
        .map(str::trim)
        .rfind(|value| !value.is_empty())
}

/// The command in the first line of a script, after "#!".
fn interpreter(script: &Path) -> Result<Vec<String>, String> {
    let content = fs::read(script)
        .map_err(|error| format!("{} cannot be read: {error}", script.display()))?;
    let first = content
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(first);
    let command = line.strip_prefix("#!").ok_or_else(|| {
        format!(
            "{} does not begin with the name of its Lua (\"#!\"), so trochee cannot be tried out",
            script.display()
        )
    })?;
    Ok(command.split_whitespace().map(str::to_owned).collect())
}

/// Whether a drop-in is one that `trochee enable` may replace: not what somebody has put there under its name.
fn is_ours(drop_in: &str) -> bool {
    drop_in.contains("trochee/takeover.lua")
}

fn write_drop_in(machine: &Machine, root: &Path, said: &mut String) -> Result<(), String> {
    let file = machine.drop_in();
    let root = root
        .to_str()
        .filter(|root| !root.contains(['\'', '"', '\\', '%', '\n']))
        .ok_or_else(|| format!("the name of the folder {} does not fit into a unit file; install trochee elsewhere", root.display()))?;
    let text = TEMPLATE.replace(TEMPLATE_ROOT, root);
    match fs::read_to_string(&file) {
        Ok(existing) if existing == text => {
            let _ = writeln!(said, "{} is there already.", file.display());
            return Ok(());
        }
        Ok(existing) if !is_ours(&existing) => {
            return Err(format!(
                "nothing was changed: {} was not written by trochee; rename it",
                file.display()
            ));
        }
        _ => {}
    }
    let problem = |error: io::Error| format!("{} cannot be written: {error}", file.display());
    let folder = file.parent().unwrap_or(&machine.root);
    fs::create_dir_all(folder).map_err(problem)?;
    // Whoever reads it meanwhile, or after a power failure, finds all of it or nothing.
    let new = file.with_extension("conf.new");
    let mut opened = fs::File::create(&new).map_err(problem)?;
    opened.write_all(text.as_bytes()).map_err(problem)?;
    opened.sync_all().map_err(problem)?;
    fs::rename(&new, &file).map_err(problem)?;
    let _ = writeln!(said, "{} was written.", file.display());
    Ok(())
}

/// Whether there was something to remove.
fn remove_drop_in(machine: &Machine, said: &mut String) -> Result<bool, String> {
    let file = machine.drop_in();
    match fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let _ = writeln!(said, "There is no {}.", file.display());
            return Ok(false);
        }
        Ok(existing) if !is_ours(&existing) => {
            return Err(format!(
                "{} was not written by trochee; remove it by hand if it is not needed",
                file.display()
            ));
        }
        _ => {}
    }
    fs::remove_file(&file)
        .map_err(|error| format!("{} cannot be removed: {error}", file.display()))?;
    if let Some(folder) = file.parent() {
        // Fails if there are drop-ins of others in it, as it should.
        let _ = fs::remove_dir(folder);
    }
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
        Ok(output) => Err(format!("{command} failed: {}", reason(&output))),
        Err(error) => Err(format!("{command} cannot be started: {error}")),
    }
}

#[cfg(test)]
mod tests;
