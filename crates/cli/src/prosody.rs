//! `trochee prosody` and `trochee prosodyctl`: the installed Prosody, on trochee.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use trochee::poller::BACKENDS;

/// What the stock backend `event` stands on.
const LIBEVENT: &str = "libevent";

/// How to start it.
#[derive(Args)]
pub struct Start {
    /// The poller, whatever the configuration says: "event" (libevent), "auto", or a name that `trochee backends` lists
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,

    /// Take over no name: the configuration says network_backend = "trochee"
    #[arg(long)]
    own_names: bool,

    /// The program `prosody`, if it is not the one in PATH; its prosodyctl is the one beside it
    #[arg(long, value_name = "PATH")]
    prosody: Option<PathBuf>,

    /// Arguments for Prosody, after "--" if the first one begins with a dash
    #[arg(trailing_var_arg = true)]
    arguments: Vec<OsString>,
}

/// Replaces this process by `program`, which is `prosody` or `prosodyctl`. What comes back is why that failed.
pub fn exec(program: &str, start: &Start) -> String {
    let path = match &start.prosody {
        Some(prosody) if program != "prosody" => prosody.with_file_name(program),
        Some(prosody) => prosody.clone(),
        None => PathBuf::from(program),
    };
    let mut command = Command::new(&path);
    command.args(&start.arguments);
    if let Err(problem) = lua_root().and_then(|root| prepare(&mut command, &root, start)) {
        return problem;
    }
    let error = command.exec();
    match error.kind() {
        io::ErrorKind::NotFound if start.prosody.is_none() => format!(
            "{program} was not found in PATH; install Prosody, or name its program by --prosody PATH"
        ),
        _ => format!("{} cannot be started: {error}", path.display()),
    }
}

/// `lua/` of the tree that this program is in, as `bin/trochee`: dist/ or PREFIX/lib/trochee.
pub fn lua_root() -> Result<PathBuf, String> {
    let program =
        env::current_exe().map_err(|error| format!("cannot tell where trochee is: {error}"))?;
    let tree = program.parent().and_then(Path::parent);
    let root = tree.map(|tree| tree.join("lua")).unwrap_or_default();
    for file in ["trochee.so", "trochee/takeover.lua"] {
        if !root.join(file).is_file() {
            return Err(format!(
                "{} was not found; start the trochee of an installation or of dist/, where `make build` leaves it",
                root.join(file).display()
            ));
        }
    }
    Ok(root)
}

/// Sets what Lua and trochee read of the environment.
fn prepare(command: &mut Command, root: &Path, start: &Start) -> Result<(), String> {
    if let Some(backend) = &start.backend {
        command.env("TROCHEE_POLLER", poller_of(backend)?);
    }
    if start.own_names {
        command.env("LUA_PATH_5_4", in_front(root, "?.lua", "LUA_PATH"));
        command.env("LUA_CPATH_5_4", in_front(root, "?.so", "LUA_CPATH"));
        return Ok(());
    }
    let mut takeover = OsString::from("@");
    takeover.push(root.join("trochee/takeover.lua"));
    for name in ["LUA_INIT_5_4", "LUA_INIT"] {
        if let Some(other) = env::var_os(name).filter(|value| *value != takeover) {
            return Err(format!(
                "{name} is set already, to {}; unset it, or use --own-names, which does without it",
                other.display()
            ));
        }
    }
    command.env("LUA_INIT", takeover);
    Ok(())
}

fn poller_of(backend: &str) -> Result<&str, String> {
    let poller = if backend == "event" {
        LIBEVENT
    } else {
        backend
    };
    if poller == "auto" || BACKENDS.iter().any(|known| known.name == poller) {
        return Ok(poller);
    }
    let names: Vec<&str> = BACKENDS.iter().map(|known| known.name).collect();
    Err(format!(
        "unknown backend \"{backend}\"; there are event, auto, {}",
        names.join(", ")
    ))
}

/// A search path of Lua with `root` in front of what `variable` says, by itself or for 5.4 alone; an empty entry, that is
/// ";;", stands for Lua's default.
fn in_front(root: &Path, pattern: &str, variable: &str) -> OsString {
    let mut path = root.join(pattern).into_os_string();
    path.push(";");
    let before = env::var_os(format!("{variable}_5_4")).or_else(|| env::var_os(variable));
    path.push(before.as_deref().unwrap_or(OsStr::new(";")));
    path
}
