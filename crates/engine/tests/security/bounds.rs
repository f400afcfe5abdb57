//! The tables of docs/security.md: what a stranger can make us spend, and which test measures it.

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A row of one of the tables.
#[derive(Debug)]
pub struct Row {
    /// The heading above the table, such as "Memory".
    pub resource: String,
    /// What the stranger does.
    pub what: String,
    /// The number in "at most".
    pub bound: usize,
    /// Which setting changes it.
    pub setting: Option<String>,
    /// Where the test is, from the top of the repository.
    pub file: String,
    /// The name of its function.
    pub test: String,
}

/// All rows. A row that is not as the others fails the test.
pub fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut resource = "";
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            resource = heading;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [stage, what, bound, setting, test] = cells[..] else {
            continue;
        };
        if stage == "stage" || stage.starts_with("---") {
            continue;
        }
        let digits: String = bound
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == ',')
            .filter(char::is_ascii_digit)
            .collect();
        let quoted: Vec<&str> = test.split('`').collect();
        let [_, file, _, function, _] = quoted[..] else {
            panic!("no `file` and `test` in: {line}");
        };
        rows.push(Row {
            resource: resource.to_owned(),
            what: what.to_owned(),
            bound: digits
                .parse()
                .unwrap_or_else(|_| panic!("no number in: {line}")),
            setting: setting.split('`').nth(1).map(str::to_owned),
            file: file.to_owned(),
            test: function.to_owned(),
        });
    }
    rows
}

/// The number that the document promises, for the test that measures it.
pub fn at_most(resource: &str, what: &str) -> usize {
    rows()
        .into_iter()
        .find(|row| row.resource == resource && row.what == what)
        .unwrap_or_else(|| panic!("docs/security.md has no row of {resource}: {what}"))
        .bound
}
