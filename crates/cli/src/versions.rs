//! `trochee --version`, and with `--verbose` what is linked in. Security advisories name these libraries and versions.

use std::fmt::Write;

use serde::Deserialize;

/// What this build was resolved to.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// The libraries that deal with bytes from the network, with keys and certificates, with Lua, or with the kernel. The SBOM of the
/// package has all the others, too.
const INSIDE: &[&str] = &[
    "rustls",
    "rustls-webpki",
    "rustls-pki-types",
    "aws-lc-rs",
    "aws-lc-sys",
    "x509-parser",
    "pkcs8",
    "aes",
    "cbc",
    "des",
    "md-5",
    "mlua",
    "mlua-sys",
    "rustix",
    "libc",
    "libloading",
    "clap",
    "toml",
];

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// A line for trochee and, if `verbose`, one for each library.
pub fn text(verbose: bool) -> String {
    let mut text = format!("trochee {}\n", env!("CARGO_PKG_VERSION"));
    if verbose {
        for (name, version) in inside() {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name} {version}");
        }
    }
    text
}

fn inside() -> Vec<(&'static str, String)> {
    let packages = toml::from_str::<Lock>(LOCK).map_or_else(|_| Vec::new(), |lock| lock.package);
    let mut found = Vec::new();
    for &name in INSIDE {
        let of_this_name = packages.iter().filter(|package| package.name == name);
        found.extend(of_this_name.map(|package| (name, package.version.clone())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_has_its_version() {
        let text = text(true);
        for name in INSIDE {
            let line = text
                .lines()
                .find(|line| line.split(' ').next() == Some(name))
                .unwrap_or_else(|| panic!("{name} is not in Cargo.lock:\n{text}"));
            let version = line.rsplit(' ').next().unwrap_or_default();
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        }
    }

    #[test]
    fn the_short_form_is_one_line() {
        assert_eq!(
            text(false),
            format!("trochee {}\n", env!("CARGO_PKG_VERSION"))
        );
    }
}
