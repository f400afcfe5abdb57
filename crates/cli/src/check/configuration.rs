//! A configuration of Prosody, as Prosody itself reads it: prosodyctl is started with lua/trochee/check.lua, which tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::fact::{Fact, Level};
use super::machine::{self, Limit, System};
use super::service;
use crate::trial;
use crate::unit::Machine;

/// Fewer peers than this that together may queue all the memory get advice.
const FEW_PEERS: u64 = 100;

/// What to look at, and as whom.
pub struct Subject<'a> {
    /// The configuration file; `None` for the one that Prosody finds.
    pub configuration: Option<&'a Path>,
    /// The program `prosody`.
    pub program: Option<&'a Path>,
    pub user: Option<&'a str>,
    /// Where trochee's Lua files are.
    pub root: &'a Path,
}

pub fn facts(machine: &Machine, system: &System, subject: &Subject<'_>) -> Vec<Fact> {
    let unit = machine.unit().and_then(Result::ok);
    let program = subject
        .program
        .map(Path::to_owned)
        .or_else(|| unit.as_ref()?.program().ok().map(Path::to_owned))
        .unwrap_or_else(|| PathBuf::from("/usr/bin/prosody"));
    let is_root = rustix::process::geteuid().is_root();
    let user = subject
        .user
        .or(unit.as_ref().map(|unit| unit.user()))
        .filter(|_| is_root);
    let mut facts = Vec::new();
    if let (None, Some(unit)) = (user, &unit) {
        facts.push(Fact::advice(
            "user",
            format!("tried as whoever calls, and not as {}", unit.user()),
            "sudo trochee check tells what the service may read",
        ));
    }
    if let Some(unit) = &unit {
        adopt(service::limit(unit));
    }
    if let Err(problem) = load(&mut facts, &program, user, subject.root) {
        facts.push(problem);
        return facts;
    }
    let memory = unit
        .as_ref()
        .and_then(service::memory)
        .or_else(total_memory);
    match asked(&program, user, subject) {
        Ok(output) => facts.extend(understood(&output, system, memory)),
        Err(problem) => facts.push(problem),
    }
    facts
}

/// What is tried here has the limits of the service, as far as that is allowed.
fn adopt(limit: Limit) {
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        },
    );
}

/// Whether the Lua of this Prosody can load trochee.
fn load(
    facts: &mut Vec<Fact>,
    program: &Path,
    user: Option<&str>,
    root: &Path,
) -> Result<(), Fact> {
    let interpreter = trial::interpreter(program).map_err(|problem| {
        Fact::problem(
            "Prosody",
            problem,
            "install it, or name its program by --program",
        )
    })?;
    let whose = user.map_or(String::new(), |user| format!(" as the user {user}"));
    let name = interpreter.join(" ");
    match trial::load(&interpreter, user, root) {
        Ok(version) => {
            let state = format!("{version} of {}: {name} loads it{whose}", root.display());
            facts.push(Fact::fine("trochee.so", state));
            Ok(())
        }
        Err(reason) => Err(Fact::problem(
            "trochee.so",
            format!("{name} cannot load it{whose}: {reason}"),
            "Prosody would run on its own backend; install trochee again, where this user may read it",
        )),
    }
}

/// What prosodyctl says.
fn asked(program: &Path, user: Option<&str>, subject: &Subject<'_>) -> Result<Output, Fact> {
    let prosodyctl = program.with_file_name("prosodyctl");
    let mut command = trial::as_user(user, &prosodyctl.to_string_lossy());
    if let Some(configuration) = subject.configuration {
        command.arg("--config").arg(configuration);
    }
    let script = subject.root.join("trochee/check.lua");
    command
        .arg("check")
        .env("LUA_INIT", format!("@{}", script.display()))
        .env_remove("LUA_INIT_5_4")
        .output()
        .map_err(|error| {
            let state = format!("{} cannot be started: {error}", prosodyctl.display());
            Fact::problem("Prosody", state, "name its program by --program")
        })
}

/// The facts among the lines that prosodyctl has printed, and what follows from the settings in force.
fn understood(output: &Output, system: &System, memory: Option<u64>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut complete = false;
    let mut others = Vec::new();
    let said = String::from_utf8_lossy(&output.stdout);
    for line in said.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["trochee-check", "fact", level, subject, state, advice] => facts.push(Fact {
                level: Level::named(level).unwrap_or(Level::Problem),
                subject: subject.to_owned(),
                state: state.to_owned(),
                advice: (!advice.is_empty()).then(|| advice.to_owned()),
            }),
            ["trochee-check", "value", "tcp_backlog", wanted] => {
                let wanted = wanted.parse().unwrap_or(0);
                facts.push(machine::queue(system.somaxconn, wanted));
            }
            ["trochee-check", "value", "max_send_buffer_size", bound] => {
                let bound = bound.parse().unwrap_or(0);
                facts.extend(memory.map(|memory| queues(memory, bound)));
            }
            ["trochee-check", "end"] => complete = true,
            _ => others.push(line),
        }
    }
    if !complete {
        let errors = String::from_utf8_lossy(&output.stderr);
        others.extend(errors.lines());
        let said: Vec<&str> = others.iter().map(|line| line.trim()).collect();
        facts.push(Fact::problem(
            "configuration",
            format!("Prosody does not take it: {}", said.join(" ").trim()),
            "mend it; Prosody does not start with it",
        ));
    }
    facts
}

/// Whether what peers may leave in the queues fits into the memory. A bound of 0 is none.
fn queues(memory: u64, bound: u64) -> Fact {
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    if bound == 0 {
        return Fact::advice(
            "memory",
            format!(
                "{}; what a peer does not read is queued without a bound",
                mib(memory)
            ),
            "set network_settings.max_send_buffer_size",
        );
    }
    let peers = memory / bound;
    let state = format!(
        "{}; up to {} are queued for a peer that does not read (max_send_buffer_size)",
        mib(memory),
        mib(bound)
    );
    if peers < FEW_PEERS {
        return Fact::advice(
            "memory",
            state,
            format!(
                "{peers} such peers take all of it: lower network_settings.max_send_buffer_size"
            ),
        );
    }
    Fact::fine("memory", state)
}

/// The memory of the machine in bytes.
fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_that_fill_the_memory_are_told() {
        let state = queues(2 << 30, 32 << 20);
        assert_eq!(state.level, Level::Advice);
        assert!(state.advice.unwrap().starts_with("64 such peers"));
        assert_eq!(queues(8 << 30, 32 << 20).level, Level::Fine);
        assert_eq!(queues(8 << 30, 0).level, Level::Advice);
    }
}
