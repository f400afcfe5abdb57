//! docs/security.md says what a stranger can make us spend. Each row names the test that measures it: here it is seen that this test
//! exists, and that it speaks of the same number.
//!
//! A row without a setting has a number that its test reads from the document. A row with a setting has the default of it, which
//! docs/settings.md has as well and which is compared with the program there; the test sets it to something smaller.

use std::collections::HashMap;
use std::fs;

#[allow(dead_code)] // tests that measure ask for one number
#[path = "security/bounds.rs"]
mod bounds;

use bounds::{Row, root, rows};

/// Settings whose name in Rust is another one.
const IN_RUST: [(&str, &str); 2] = [
    ("ssl_handshake_timeout", "tls_handshake_timeout"),
    ("proxy_protocol_timeout", "proxy_protocol"),
];

/// The text of a function of Rust or Python, or a line that begins with a constant.
fn definition(row: &Row) -> String {
    let text = fs::read_to_string(root().join(&row.file))
        .unwrap_or_else(|why| panic!("{}: {why}", row.file));
    let heads = [
        format!("fn {}(", row.test),
        format!("def {}(", row.test),
        format!("{} = ", row.test),
    ];
    let mut lines = text
        .lines()
        .skip_while(|line| !heads.iter().any(|head| line.contains(head)));
    let first = lines
        .next()
        .unwrap_or_else(|| panic!("there is no {} in {}", row.test, row.file));
    let rest = lines.take_while(|line| {
        line.is_empty() || line.starts_with([' ', '\t']) || *line == ")" || *line == ") {"
    });
    [first]
        .into_iter()
        .chain(rest)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Defaults in docs/settings.md.
fn defaults() -> HashMap<String, String> {
    let text = fs::read_to_string(root().join("docs/settings.md")).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let name = cells.next()?.trim_matches('`').to_owned();
            Some((name, cells.nth(1)?.trim_matches('`').to_owned()))
        })
        .collect()
}

#[test]
fn each_row_names_a_test_that_speaks_of_its_number() {
    let defaults = defaults();
    let rows = rows();
    assert!(rows.len() > 12, "only {} rows were found", rows.len());
    for row in &rows {
        let definition = definition(row);
        let speaks_of = match &row.setting {
            Some(setting) => {
                let default = defaults.get(setting);
                let default = default.unwrap_or_else(|| panic!("{setting} is no setting"));
                assert_eq!(default, &row.bound.to_string(), "{row:?}");
                let other = IN_RUST.iter().find(|(name, _)| name == setting);
                other.map_or(setting.as_str(), |(_, name)| name).to_owned()
            }
            None if definition.contains(&format!("{} = {}", row.test, row.bound)) => continue,
            None => format!("\"{}\"", row.what),
        };
        assert!(
            definition.contains(&speaks_of),
            "{} in {} does not speak of {speaks_of}",
            row.test,
            row.file
        );
    }
}
