//! The imports between the files of a crate have no circle, and in the engine none runs upward.
//!
//! What counts:
//!
//! - In every folder a file and the folder of the same name are one thing. The things of a folder may not name each other in
//!   a circle, whichever of their files does it.
//! - A module may name what lies below it, and what lies below may name the module (`use super::Reactor`): that is how Rust
//!   parts a module into files.
//! - What is named through another place, such as a `pub use` of `lib.rs`, counts where it is defined.
//! - Paths count as `use` does. Calls of methods do not: nobody can tell from the text whose they are.
//! - What is compiled for tests alone does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path as FilePath;

use modules::{Crate, Path};

#[path = "imports/modules.rs"]
mod modules;

/// The parts of the engine, the lowest first. None may use one that stands behind it, directly or through other modules.
const LAYERS: [&str; 7] = [
    "poller",
    "tls",
    "connection",
    "reactor",
    "threads",
    "event_loop",
    "server",
];

#[test]
fn of_the_engine() {
    let found = Imports::of(&sources("crates/engine/src", "lib.rs"));
    let faults = [found.circles(), found.upward(&LAYERS)].concat();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn of_the_lua_module() {
    let circles = Imports::of(&sources("crates/lua/src", "lib.rs")).circles();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn of_the_command_line() {
    let circles = Imports::of(&sources("crates/cli/src", "main.rs")).circles();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn of_the_load_of_the_benchmarks() {
    let circles = Imports::of(&sources("benches/tls/src", "main.rs")).circles();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

fn sources(folder: &str, root: &str) -> Crate {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    Crate::read(root, &|name| fs::read_to_string(folder.join(name)).ok())
}

/// Who names whom, folder by folder: an edge goes from a name in the folder to another, with one import that it stands for.
struct Imports {
    folders: BTreeMap<Path, BTreeMap<(String, String), String>>,
}

impl Imports {
    fn of(sources: &Crate) -> Imports {
        let mut folders = BTreeMap::<Path, BTreeMap<_, _>>::new();
        for (from, to) in sources.imports() {
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // One lies in the other.
            if shared == from.len() || shared == to.len() {
                continue;
            }
            let sample = format!("{} uses {}", from.join("::"), to.join("::"));
            folders
                .entry(from[..shared].to_vec())
                .or_default()
                .entry((from[shared].clone(), to[shared].clone()))
                .or_insert(sample);
        }
        Imports { folders }
    }

    /// Every import that is part of a circle, a line each.
    fn circles(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (folder, edges) in &self.folders {
            for ((from, to), sample) in edges {
                if let Some(back) = route(edges, to, from) {
                    lines.push(format!(
                        "circle in {}/: {sample}, and {}",
                        folder.join("/"),
                        back.join(", ")
                    ));
                }
            }
        }
        lines
    }

    /// Every pair of layers whose lower one reaches the higher, with the way there, a line each.
    fn upward(&self, layers: &[&str]) -> Vec<String> {
        let none = BTreeMap::new();
        let edges = self.folders.get(&Path::new()).unwrap_or(&none);
        let mut lines = Vec::new();
        for (place, low) in layers.iter().enumerate() {
            // One that was renamed would be checked no more.
            if !edges.keys().any(|(from, _)| from == low) {
                lines.push(format!("there is no layer {low} that imports anything"));
            }
            for high in &layers[place + 1..] {
                if let Some(way) = route(edges, low, high) {
                    lines.push(format!("{low} is below {high}, but {}", way.join(", ")));
                }
            }
        }
        lines
    }
}

/// The shortest way along the imports, one sample a step.
fn route(edges: &BTreeMap<(String, String), String>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from]);
    let mut ways = vec![(from, Vec::new())];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for (at, way) in ways {
            if at == to {
                return Some(way);
            }
            for ((_, next), sample) in edges.iter().filter(|((from, _), _)| from == at) {
                if seen.insert(next) {
                    longer.push((
                        next.as_str(),
                        [way.as_slice(), std::slice::from_ref(sample)].concat(),
                    ));
                }
            }
        }
        ways = longer;
    }
    None
}

/// What the check finds in crates that are made up: the files by their names, and a part of what is said.
mod made_up {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let files: BTreeMap<_, _> = files.iter().copied().collect();
        Imports::of(&Crate::read("lib.rs", &|name| {
            files.get(name).map(|text| text.to_string())
        }))
        .circles()
    }

    const LIB: &str = "mod a; mod b; pub use b::Thing; pub use other::Crate;";

    #[test]
    fn no_circle() {
        let a =
            "use std::fmt; use crate::b::{Thing, other}; fn f(x: fmt::Result) { crate::b::g() }";
        assert_eq!(
            circles(&[("lib.rs", LIB), ("a.rs", a), ("b.rs", "")]),
            [""; 0]
        );
    }

    #[test]
    fn circles_in_each_way_to_name_something() {
        for back in [
            "use crate::a::X;",
            "use super::a::X;",
            "use crate::{fmt, a::{self, X}};",
            "pub(crate) use crate::a::*;",
            "use crate::a::X as _;",
            "use crate::a as other;",
            "fn f() { crate::a::x() }",
            "fn f() { println!(\"{}\", crate::a::x()) }",
            "mod inner { fn f() -> crate::a::X {} }",
            "fn f<T: Into<super::a::X>>() {}",
        ] {
            let files = [
                ("lib.rs", LIB),
                ("a.rs", "use crate::Thing;"),
                ("b.rs", back),
            ];
            let found = circles(&files);
            assert_eq!(found.len(), 2, "{back}: {found:?}");
            assert!(found[0].contains("a uses b"), "{back}: {found:?}");
        }
    }

    #[test]
    fn what_does_not_count() {
        for back in [
            "// use crate::a::X;\nconst A: &str = \"crate::a::X\";",
            "/// [`crate::a::X`]\nfn f() {}",
            "#[cfg(test)]\nmod tests { use crate::a::X; }",
            "#[cfg(test)]\nuse crate::a::{X, Y};",
            "use a::X;",
        ] {
            let files = [
                ("lib.rs", LIB),
                ("a.rs", "use crate::b::Thing;"),
                ("b.rs", back),
            ];
            assert_eq!(circles(&files), [""; 0], "{back}");
        }
    }

    /// Brothers may not, parent and child may.
    #[test]
    fn in_a_folder() {
        let parent = "mod one; mod two; use one::One; struct Parent;";
        let files = [
            ("lib.rs", "mod parent;"),
            ("parent.rs", parent),
            ("parent/one.rs", "use super::Parent; use super::two::Two;"),
            ("parent/two/mod.rs", "use crate::parent::Parent;"),
        ];
        assert_eq!(circles(&files), [""; 0]);
        let mut files = files;
        // Through the import of the parent.
        files[3].1 = "use super::One;";
        let found = circles(&files);
        assert!(
            found[0].starts_with(
                "circle in parent/: parent::one uses parent::two, and parent::two uses parent::one"
            ),
            "{found:?}"
        );
    }

    #[test]
    fn upward() {
        let files = |name: &str| {
            let text = match name {
                "lib.rs" => "mod low; mod between; mod high;",
                "low.rs" => "use crate::between::B;",
                "between.rs" => "use crate::high::H;",
                _ => "use super::nothing;",
            };
            Some(text.to_owned())
        };
        let found = Imports::of(&Crate::read("lib.rs", &files)).upward(&["low", "high", "gone"]);
        assert_eq!(
            found,
            [
                "low is below high, but low uses between, between uses high",
                "there is no layer high that imports anything",
                "there is no layer gone that imports anything",
            ]
        );
    }
}
