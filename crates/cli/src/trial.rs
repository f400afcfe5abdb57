//! Trying things out as the service would have them: by its Lua, as its user.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Output};

/// Loads what the service would load, and says which version that is.
const TRIAL: &str = "local made_for, this = dofile(arg[1]..'/trochee/made_for.lua'), jit and 'LuaJIT' or _VERSION \
     assert(this == made_for, 'trochee is made for '..made_for..', and this is '..this) \
     assert(loadfile(arg[1]..'/trochee/takeover.lua')) \
     package.cpath = arg[1]..'/?.so' \
     io.write(require 'trochee'._VERSION)";

/// Where Debian has it; Debian's `su` leaves that folder out of PATH.
const RUNUSER: &str = "/usr/sbin/runuser";

/// A command that runs as `user`, or as whoever calls if that is `None`.
pub fn as_user(user: Option<&str>, program: &str) -> Command {
    match user {
        Some(user) => {
            let is_there = Path::new(RUNUSER).exists();
            let mut command = Command::new(if is_there { RUNUSER } else { "runuser" });
            command.args(["-u", user, "--", program]);
            command
        }
        None => Command::new(program),
    }
}

/// Has `interpreter` load trochee from `root`: its version, or why that fails.
pub fn load(interpreter: &[String], user: Option<&str>, root: &Path) -> Result<String, String> {
    let (program, arguments) = interpreter
        .split_first()
        .ok_or("there is no name of a Lua after \"#!\"")?;
    let mut command = as_user(user, program);
    command
        .args(arguments)
        // With "-" the program comes from standard input, and arguments can follow.
        .arg("-")
        .arg(root)
        .env_remove("LUA_INIT")
        .env_remove("LUA_INIT_5_4")
        .stdin(standard_input(TRIAL).map_err(|error| format!("a pipe: {error}"))?);
    let started = command.get_program().to_string_lossy().into_owned();
    let tried = command
        .output()
        .map_err(|error| format!("{started} cannot be started: {error}"))?;
    if tried.status.success() {
        Ok(String::from_utf8_lossy(&tried.stdout).into_owned())
    } else {
        Err(reason(&tried))
    }
}

/// A pipe that `text` is in already; it is shorter than what every pipe holds.
fn standard_input(text: &str) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(text.as_bytes())?;
    Ok(reader)
}

/// What a program that failed has said, or how it ended.
pub fn reason(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().find(|line| !line.trim().is_empty()) {
        Some(_) => said.lines().map(str::trim).collect::<Vec<_>>().join(" "),
        None => format!("it ended with {}", output.status),
    }
}

/// The command in the first line of a script, after "#!".
pub fn interpreter(script: &Path) -> Result<Vec<String>, String> {
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
