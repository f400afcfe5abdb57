//! Which files Prosody's configuration consists of, as far as that can be told without running it: prosody.cfg.lua and what its
//! lines `Include` name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::unit::Machine;

/// More files than this are no configuration that a person wrote.
const MOST: usize = 1000;

/// The files of a configuration, and whether one of a name would be among them.
pub struct Configuration {
    files: Vec<PathBuf>,
    patterns: Vec<(PathBuf, String)>,
}

impl Configuration {
    pub fn of(machine: &Machine) -> Configuration {
        let mut found = Configuration {
            files: vec![tidy(machine.path("etc/prosody/prosody.cfg.lua"))],
            patterns: Vec::new(),
        };
        let mut next = 0;
        while let Some(file) = found.files.get(next).cloned() {
            found.follow(machine, &file);
            next += 1;
        }
        found
    }

    fn follow(&mut self, machine: &Machine, file: &Path) {
        for line in lines(file) {
            let Some(named) = included(&line) else {
                continue;
            };
            // Relative to the folder of the file that includes it.
            let path = tidy(match named.strip_prefix('/') {
                Some(below) => machine.path(below),
                None => file.with_file_name(named),
            });
            if named.contains(['*', '?']) {
                self.follow_pattern(&path);
            } else {
                self.add(path);
            }
        }
    }

    fn follow_pattern(&mut self, path: &Path) {
        let (Some(folder), Some(pattern)) = (path.parent(), path.file_name()) else {
            return;
        };
        let pattern = pattern.to_string_lossy().into_owned();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if matches(&pattern, &entry.file_name().to_string_lossy()) {
                self.add(entry.path());
            }
        }
        self.patterns.push((folder.to_owned(), pattern));
    }

    fn add(&mut self, file: PathBuf) {
        if self.files.len() < MOST && !self.files.contains(&file) {
            self.files.push(file);
        }
    }

    /// Whether a file of this name is read, if it is there.
    pub fn includes(&self, file: &Path) -> bool {
        let file = tidy(file.to_owned());
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        self.patterns
            .iter()
            .any(|(folder, pattern)| file.parent() == Some(folder) && matches(pattern, &name))
    }

    /// Files that name trochee by themselves: of these, and of those beside them, which may be the configuration of another server.
    pub fn naming_trochee(&self, machine: &Machine) -> Vec<PathBuf> {
        let mut files = self.files.clone();
        for folder in ["etc/prosody", "etc/prosody/conf.d"] {
            let entries = fs::read_dir(machine.path(folder)).into_iter().flatten();
            files.extend(entries.flatten().map(|entry| tidy(entry.path())));
        }
        files.sort();
        files.dedup();
        files.retain(|file| {
            lines(file).iter().any(|line| {
                line.contains("trochee/takeover.lua")
                    || line.starts_with("network_backend") && line.contains("trochee")
            })
        });
        files
    }
}

/// With one name for each folder, whatever way leads there.
fn tidy(file: PathBuf) -> PathBuf {
    let folder = file.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, file.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => file,
    }
}

/// What is not a comment; nothing of what is no file, or cannot be read.
fn lines(file: &Path) -> Vec<String> {
    let text = match file.is_file() {
        true => fs::read(file).unwrap_or_default(),
        false => Vec::new(),
    };
    String::from_utf8_lossy(&text)
        .lines()
        .map(|line| line.trim_start().to_owned())
        .filter(|line| !line.starts_with("--"))
        .collect()
}

/// `Include "conf.d/*.cfg.lua"`, in each way in which Lua lets one write that.
fn included(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("Include")
        .or_else(|| line.strip_prefix("include"))?
        .trim_start_matches([' ', '\t', '(']);
    let quote = rest
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))?;
    rest[1..].split(quote).next()
}

/// As Prosody has it: `*` is anything, `?` one character, and a name that begins with a dot does not count.
fn matches(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', after)), _) => (0..=name.len()).any(|taken| rest(after, &name[taken..])),
            (Some(('?', after)), Some((_, others))) => rest(after, others),
            (Some((wanted, after)), Some((found, others))) => {
                wanted == found && rest(after, others)
            }
            _ => false,
        }
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    name.first() != Some(&'.') && rest(&pattern, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_prosody() {
        for (pattern, name, expected) in [
            ("*.cfg.lua", "trochee.cfg.lua", true),
            ("*", "trochee.cfg.lua", true),
            ("*.lua", ".trochee.cfg.lua", false),
            ("??-*.lua", "10-a.lua", true),
            ("??-*.lua", "trochee.cfg.lua", false),
            ("*.conf", "trochee.cfg.lua", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn an_include_is_written_in_many_ways() {
        for line in [
            "Include \"a\"",
            "include'a'",
            "Include (\"a\") -- b",
            "Include(\"a\");",
        ] {
            assert_eq!(included(line), Some("a"), "{line}");
        }
        for line in ["Includes = 1", "Include(name)", "Included \"a\"", "Include"] {
            assert_eq!(included(line), None, "{line}");
        }
    }
}
