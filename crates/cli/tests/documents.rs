//! The documentation hangs together: links lead somewhere, no page is left out of the book, figures that are quoted are those of the
//! benchmarks, and each command is run by a test or marked as one that is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Pages that people read, relative to the root.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/SUMMARY.md",
        "benches/README.md",
        "benches/soak/README.md",
        "crates/cli/README.md",
        "crates/engine/README.md",
        "crates/lua/README.md",
        "tests/certificates/README.md",
        "tests/prosody/README.md",
    ]
    .map(str::to_owned)
    .into();
    pages.extend(pages_of_docs().iter().map(|page| format!("docs/{page}")));
    pages
}

fn pages_of_docs() -> BTreeSet<String> {
    fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md") && name != "SUMMARY.md")
        .collect()
}

/// The text without code, in which brackets mean something else.
fn without_code(text: &str) -> String {
    let mut prose = String::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let spans = line.split('`').step_by(2);
            prose.extend(spans.chain(["\n"]));
        }
    }
    prose
}

/// What is in the parentheses of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    without_code(text)
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchors of a page, as GitHub and mdBook make them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    text.lines()
        .filter(|line| {
            if line.starts_with("```") {
                is_code = !is_code;
            }
            !is_code && line.starts_with('#')
        })
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let file = root().join(&page);
        let text = read(&file);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                file.clone()
            } else {
                file.parent().unwrap().join(path)
            };
            if !target.exists() {
                broken.push(format!("{page}: {link}"));
            } else if !anchor.is_empty() && !anchors(&read(&target)).contains(anchor) {
                broken.push(format!("{page}: {link}: no such heading"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_book_has_every_page_once() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let listed = links(&summary);
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "a page is listed twice");
    let (others, of_docs): (BTreeSet<String>, BTreeSet<String>) =
        once.into_iter().partition(|page| page.starts_with("../"));
    assert_eq!(of_docs, pages_of_docs());

    // mdBook has no pages but these, so their links to pages may lead to no other.
    let of_the_book: BTreeSet<PathBuf> = of_docs
        .iter()
        .chain(&others)
        .map(|page| root().join("docs").join(page).canonicalize().unwrap())
        .collect();
    let mut missing = Vec::new();
    for page in &of_the_book {
        for link in links(&read(page)) {
            let path = link.split('#').next().unwrap_or_default();
            let target = page.parent().unwrap().join(path);
            if path.ends_with(".md")
                && let Ok(target) = target.canonicalize()
                && !of_the_book.contains(&target)
            {
                missing.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "not in the book:\n{}",
        missing.join("\n")
    );
}

#[test]
fn the_figures_of_the_front_page_are_those_of_the_benchmarks() {
    let benchmarks = read(&root().join("docs/benchmarks.md"));
    let readme = read(&root().join("README.md"));
    let table = readme
        .lines()
        .skip_while(|line| !line.starts_with("| | stock |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut rows = 0;
    for row in table {
        rows += 1;
        let figures: Vec<&str> = row.split('|').map(str::trim).skip(2).take(4).collect();
        let subjects = [
            "stock server_epoll",
            "stock server_epoll, gc threshold 200",
            "trochee, epoll",
            "trochee, epoll, io_threads = 1",
        ];
        // One column of one table has all four.
        let is_there = benchmarks.split("\n\n").any(|table| {
            let columns = subjects.iter().zip(&figures).map(|(subject, figure)| {
                let line = table
                    .lines()
                    .find(|line| line.starts_with(&format!("| {subject} |")));
                let cells = line
                    .into_iter()
                    .flat_map(|line| line.split('|').enumerate());
                cells
                    .filter(|(_, cell)| cell.trim().split(" (").next() == Some(*figure))
                    .map(|(column, _)| column)
                    .collect::<BTreeSet<usize>>()
            });
            let common = columns.reduce(|one, other| &one & &other);
            common.is_some_and(|common| !common.is_empty())
        });
        assert!(is_there, "not in docs/benchmarks.md: {row}");
    }
    assert!(rows > 3, "the table was not found");
}

/// A command in a block that is indented, which has no place for a mark.
fn is_indented_command(line: &str) -> bool {
    let Some(code) = line.strip_prefix("    ") else {
        return false;
    };
    let program = code
        .split(' ')
        .find(|word| !word.contains('='))
        .unwrap_or_default();
    let is_of_ours = ["scripts/", "benches/", "tests/", "fuzz/", "dist/", ".venv/"]
        .iter()
        .any(|folder| program.starts_with(folder) && !program.ends_with('/'));
    is_of_ours
        || [
            "sudo",
            "trochee",
            "make",
            "cargo",
            "lua5.4",
            "busted",
            "apt",
            "cp",
            "systemctl",
            "prosodyctl",
            "rustup",
        ]
        .contains(&program)
}

/// Blocks of commands say what runs them, in a comment before them: `<!-- run by FILE -->`, or `<!-- not run: why -->`.
#[test]
fn commands_are_run_by_a_test_or_marked() {
    let mut problems = Vec::new();
    for page in pages() {
        let text = read(&root().join(&page));
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if is_indented_command(line) {
                problems.push(format!("{page}:{}: put it behind ```sh", number + 1));
            }
            if line.trim() != "```sh" {
                continue;
            }
            let before = lines[..number]
                .iter()
                .rev()
                .find(|line| !line.trim().is_empty());
            let mark = before.map_or("", |line| line.trim());
            let place = format!("{page}:{}", number + 1);
            let tests = mark
                .strip_prefix("<!-- run by ")
                .and_then(|rest| rest.strip_suffix(" -->"));
            match tests {
                Some(files) => problems.extend(
                    files
                        .split(", ")
                        .filter(|file| !root().join(file).exists())
                        .map(|file| format!("{place}: there is no {file}")),
                ),
                None if mark.starts_with("<!-- not run: ") => {}
                None => problems.push(format!("{place}: is this run by a test?")),
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
