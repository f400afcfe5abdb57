//! prosody.service: where systemd has it, and what it says.

use std::fs;
use std::path::{Path, PathBuf};

pub const UNIT: &str = "prosody.service";

/// Folders with units, in the order in which systemd takes them.
const FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The files of a machine, below `root`, which is "/" but for tests.
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    pub fn here() -> Machine {
        Machine::below("/")
    }

    pub fn below(root: impl Into<PathBuf>) -> Machine {
        Machine { root: root.into() }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// What makes the service use trochee.
    pub fn drop_in(&self) -> PathBuf {
        self.path("etc/systemd/system/prosody.service.d/trochee.conf")
    }

    /// What makes whoever reads Prosody's configuration use it, where that includes such files.
    pub fn included(&self) -> PathBuf {
        self.path("etc/prosody/conf.d/trochee.cfg.lua")
    }

    /// As sd_booted(3) tells it.
    pub fn runs_systemd(&self) -> bool {
        self.path("run/systemd/system").is_dir()
    }

    /// The unit with its drop-ins, if systemd has one.
    pub fn unit(&self) -> Option<Result<Unit, String>> {
        let file = FOLDERS
            .into_iter()
            .map(|folder| self.path(folder).join(UNIT))
            .find(|file| file.is_file())?;
        Some(self.read(file))
    }

    fn read(&self, file: PathBuf) -> Result<Unit, String> {
        let mut text = fs::read_to_string(&file)
            .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
        for drop_in in self.drop_ins() {
            let more = fs::read_to_string(&drop_in)
                .map_err(|error| format!("{} cannot be read: {error}", drop_in.display()))?;
            text.push('\n');
            text.push_str(&more);
        }
        Ok(Unit { file, text })
    }

    /// In the order of their names; the first folder that has a name counts (systemd.unit(5)).
    fn drop_ins(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        for folder in FOLDERS {
            let entries = fs::read_dir(self.path(folder).join(format!("{UNIT}.d")));
            for file in entries.into_iter().flatten().flatten().map(|e| e.path()) {
                let is_new = found
                    .iter()
                    .all(|other| other.file_name() != file.file_name());
                if is_new && file.extension().is_some_and(|ending| ending == "conf") {
                    found.push(file);
                }
            }
        }
        found.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        found
    }
}

/// A unit file, with its drop-ins behind it.
pub struct Unit {
    pub file: PathBuf,
    text: String,
}

impl Unit {
    /// The last value of a setting.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
            .rfind(|value| !value.is_empty())
    }

    pub fn user(&self) -> &str {
        self.setting("User").unwrap_or("root")
    }

    /// The program that is started.
    pub fn program(&self) -> Result<&Path, String> {
        self.setting("ExecStart")
            .and_then(|command| command.split_whitespace().next())
            .map(|program| Path::new(program.trim_start_matches(['-', '@', ':', '+', '!'])))
            .ok_or_else(|| format!("{} has no ExecStart", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_unit_and_its_drop_ins_counts() {
        let root = std::env::temp_dir().join(format!("trochee-unit-{}", std::process::id()));
        for (file, text) in [
            (
                "lib/systemd/system/prosody.service",
                "[Service]\nUser=prosody\nUserX=other\nExecStart=\nExecStart=-/usr/bin/prosody -F\n",
            ),
            (
                "etc/systemd/system/prosody.service.d/b.conf",
                "[Service]\nLimitNOFILE=3\n",
            ),
            (
                "run/systemd/system/prosody.service.d/a.conf",
                "[Service]\nLimitNOFILE=2",
            ),
            (
                "run/systemd/system/prosody.service.d/b.conf",
                "[Service]\nLimitNOFILE=4",
            ),
        ] {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let unit = Machine::below(&root).unit().unwrap().unwrap();
        assert_eq!(unit.user(), "prosody");
        assert_eq!(unit.program().unwrap(), Path::new("/usr/bin/prosody"));
        assert_eq!(unit.setting("LimitNOFILE"), Some("3"));
        assert_eq!(unit.setting("Group"), None);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn without_a_unit_there_is_none() {
        assert!(Machine::below("/nowhere").unit().is_none());
    }
}
