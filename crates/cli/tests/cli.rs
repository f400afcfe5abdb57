//! The real binary, as an operator calls it.

use std::process::{Command, Output};

use trochee::poller::{self, BACKENDS};

#[test]
fn backends_tells_of_every_poller_and_of_auto() {
    let output = trochee(&["backends"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    for backend in BACKENDS {
        let available = (backend.open)().is_ok();
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(backend.name))
            .unwrap_or_else(|| panic!("{} is missing in:\n{text}", backend.name));
        assert_eq!(!line.contains("not available"), available, "{line}");
        assert!(text.contains(backend.summary), "{text}");
    }
    let auto = poller::open("auto").unwrap();
    let last = format!("auto     chooses {}", auto.name());
    assert_eq!(text.lines().last(), Some(&last[..]));
}

#[test]
fn check_tells_what_limits_a_server() {
    let output = trochee(&["check"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(text.contains(release.trim()), "{text}");
    for subject in ["kernel", "file descriptors", "net.core.somaxconn"] {
        assert!(
            text.lines().any(|line| line.starts_with(subject)),
            "{subject} is missing in:\n{text}"
        );
    }
    for backend in BACKENDS {
        assert!(text.contains(&format!("poller {}", backend.name)), "{text}");
    }
}

#[test]
fn check_reads_the_limits_it_was_started_with() {
    let shell = format!(
        "ulimit -Sn 100; ulimit -Hn 200; exec '{}' check",
        env!("CARGO_BIN_EXE_trochee")
    );
    let output = Command::new("sh").args(["-c", &shell]).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("100 (soft), 200 (hard)"), "{text}");
    assert!(text.contains("LimitNOFILE"), "{text}");
}

#[test]
fn a_verbose_version_names_what_is_linked_in() {
    let output = trochee(&["--version", "--verbose"]);
    assert!(output.status.success(), "{output:?}");
    let text = stdout(&output);
    for library in ["rustls ", "aws-lc-rs ", "mlua "] {
        assert!(text.lines().any(|line| line.starts_with(library)), "{text}");
    }
    // By itself it means nothing.
    assert!(!trochee(&["--verbose"]).status.success());
}

#[test]
fn version_is_that_of_the_package() {
    let output = trochee(&["--version"]);
    assert!(output.status.success());
    let version = format!("trochee {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&output), version);
}

#[test]
fn without_or_with_an_unknown_command_it_explains_itself_and_fails() {
    for arguments in [&[][..], &["frobnicate"][..]] {
        let output = trochee(arguments);
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("Usage: trochee"), "{text}");
    }
}

/// As in `trochee check | head -1`.
#[test]
fn a_closed_pipe_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_trochee"))
        .arg("check")
        .stdout(writer)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

fn trochee(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trochee"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
