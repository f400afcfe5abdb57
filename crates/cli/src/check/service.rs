//! The service: whose it is, what limits it, and whether trochee serves in it.

use std::fs;

use super::fact::Fact;
use super::machine::{self, Limit};
use crate::unit::{Machine, UNIT, Unit};

/// What systemd gives to services whose units do not say (systemd-system.conf(5)).
const USUAL: Limit = Limit {
    soft: Some(1024),
    hard: Some(524_288),
};

/// The limit of descriptors that the service has.
pub fn limit(unit: &Unit) -> Limit {
    unit.setting("LimitNOFILE")
        .and_then(parsed)
        .unwrap_or(USUAL)
}

/// "soft:hard" or one for both, with suffixes; "infinity" is no limit.
fn parsed(text: &str) -> Option<Limit> {
    fn number(text: &str) -> Option<Option<u64>> {
        match text.trim() {
            "infinity" => Some(None),
            other => size(other).map(Some),
        }
    }
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    Some(Limit {
        soft: number(soft)?,
        hard: number(hard)?,
    })
}

/// A number with systemd's suffixes, which count in steps of 1024.
fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (end, 'K') => (&text[..end], 10),
        (end, 'M') => (&text[..end], 20),
        (end, 'G') => (&text[..end], 30),
        (end, 'T') => (&text[..end], 40),
        _ => (text, 0),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// How many bytes of memory the service may have, where the unit says so.
pub fn memory(unit: &Unit) -> Option<u64> {
    unit.setting("MemoryMax").and_then(size)
}

/// What can be known without its configuration.
pub fn facts(machine: &Machine) -> Vec<Fact> {
    let unit = match machine.unit() {
        Some(Ok(unit)) => unit,
        Some(Err(problem)) => return vec![Fact::problem(UNIT, problem, "use sudo")],
        None => return Vec::new(),
    };
    let whose = format!("the user {}; file descriptors: ", unit.user());
    vec![
        machine::descriptors(UNIT, &whose, limit(&unit)),
        enabled(machine),
    ]
}

fn enabled(machine: &Machine) -> Fact {
    let drop_in = machine.drop_in();
    let text = fs::read_to_string(&drop_in).unwrap_or_default();
    if !text.contains("trochee") {
        return Fact::fine(
            "takeover",
            "not enabled: unless its configuration names trochee, the service runs on Prosody's own backend until \
             `trochee enable`",
        );
    }
    match loaded_by(&text).filter(|file| !machine.path(file.trim_start_matches('/')).is_file()) {
        Some(file) => Fact::problem(
            "takeover",
            format!(
                "enabled by {}, which names {file}, and that is not there: Prosody runs on its own backend",
                drop_in.display()
            ),
            "sudo trochee enable names this installation instead; sudo trochee disable removes it",
        ),
        None => Fact::fine("takeover", format!("enabled by {}", drop_in.display())),
    }
}

/// The file that a drop-in has Lua load.
fn loaded_by(drop_in: &str) -> Option<&str> {
    let (_, rest) = drop_in.split_once("loadfile('")?;
    Some(rest.split_once('\'')?.0)
}

#[cfg(test)]
mod tests {
    use super::super::fact::Level;
    use super::*;

    #[test]
    fn a_drop_in_of_an_installation_that_is_gone_is_told() {
        let root = std::env::temp_dir().join(format!("trochee-enabled-{}", std::process::id()));
        let machine = Machine::below(&root);
        assert!(enabled(&machine).state.contains("not enabled"));
        let takeover = root.join("opt/t/lua/trochee/takeover.lua");
        for file in [&machine.drop_in(), &takeover] {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
        }
        let text = "Environment=\"LUA_INIT=local t = loadfile('/opt/t/lua/trochee/takeover.lua')\"";
        fs::write(machine.drop_in(), text).unwrap();
        let fact = enabled(&machine);
        assert_eq!(fact.level, Level::Problem);
        assert!(
            fact.state.contains("/opt/t/lua/trochee/takeover.lua"),
            "{}",
            fact.state
        );
        fs::write(&takeover, "").unwrap();
        assert_eq!(enabled(&machine).level, Level::Fine);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn limits_are_written_in_systemds_ways() {
        for (text, soft, hard) in [
            ("65536", Some(65536), Some(65536)),
            ("1K:1M", Some(1024), Some(1 << 20)),
            ("1024:infinity", Some(1024), None),
        ] {
            assert_eq!(parsed(text), Some(Limit { soft, hard }), "{text}");
        }
        assert_eq!(parsed("many"), None);
        assert_eq!(size("2G"), Some(2 << 30));
        assert_eq!(size("50%"), None);
    }
}
