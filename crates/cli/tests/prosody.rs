//! `trochee prosody` up to the moment when Prosody takes over; tests/prosody starts the real one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An install tree, and beside it a program in the place of Prosody that tells how it was started.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let tree = Tree(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        let _ = fs::remove_dir_all(&tree.0);
        for folder in ["bin", "lua/trochee", "prosody"] {
            fs::create_dir_all(tree.0.join(folder)).unwrap();
        }
        // Linked, not written: who starts a program that another thread has just written is told that it is busy.
        fs::hard_link(env!("CARGO_BIN_EXE_trochee"), tree.0.join("bin/trochee")).unwrap();
        for file in ["lua/trochee.so", "lua/trochee/takeover.lua"] {
            fs::write(tree.0.join(file), "").unwrap();
        }
        for program in ["prosody", "prosodyctl"] {
            let tell = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/tell");
            symlink(tell, tree.0.join("prosody").join(program)).unwrap();
        }
        tree
    }

    fn path(&self, below: &str) -> String {
        self.0.join(below).to_str().unwrap().to_owned()
    }

    /// Without what the caller's environment may have.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.0.join("bin/trochee"));
        command.args(arguments);
        for name in ["LUA_INIT", "LUA_PATH", "LUA_CPATH"] {
            command.env_remove(name).env_remove(format!("{name}_5_4"));
        }
        command.env_remove("TROCHEE_POLLER");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn run_prosody(&self, options: &[&str]) -> String {
        let prosody = self.path("prosody/prosody");
        let output = self.run(&[&["prosody", "--prosody", &prosody], options].concat());
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(
        text.lines().any(|l| l == line),
        "{line:?} is missing in:\n{text}"
    );
}

#[test]
fn it_becomes_prosody_with_its_arguments_and_the_takeover() {
    let tree = Tree::new("becomes");
    let prosody = tree.path("prosody/prosody");
    let child = tree
        .command(&[
            "prosody",
            "--prosody",
            &prosody,
            "--",
            "-F",
            "--config",
            "a b",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "the exit code is Prosody's");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_line(&text, &pid.to_string());
    assert_line(&text, "<prosody><-F><--config><a b>");
    let init = format!("LUA_INIT=@{}", tree.path("lua/trochee/takeover.lua"));
    assert_line(&text, &init);
    assert!(!text.contains("TROCHEE_POLLER"), "{text}");
}

#[test]
fn prosodyctl_is_the_one_beside_prosody() {
    let tree = Tree::new("ctl");
    let prosody = tree.path("prosody/prosody");
    let output = tree.run(&["prosodyctl", "--prosody", &prosody, "shell", "-v"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_line(&text, "<prosodyctl><shell><-v>");
}

#[test]
fn in_path_it_needs_no_option() {
    let tree = Tree::new("path");
    let path = format!("{}:/usr/bin:/bin", tree.path("prosody"));
    let output = tree.command(&["prosody"]).env("PATH", path).output();
    assert_eq!(output.unwrap().status.code(), Some(3));
}

#[test]
fn a_backend_is_passed_on_as_the_poller() {
    let tree = Tree::new("backend");
    for (backend, poller) in [
        ("epoll", "epoll"),
        ("event", "libevent"),
        ("select", "select"),
        ("poll", "poll"),
        ("auto", "auto"),
    ] {
        // libevent is a poller of this build, or there is no such backend.
        if poller != "auto" && !trochee::poller::BACKENDS.iter().any(|b| b.name == poller) {
            continue;
        }
        let text = tree.run_prosody(&["--backend", backend]);
        assert_line(&text, &format!("TROCHEE_POLLER={poller}"));
    }
}

#[test]
fn own_names_need_only_the_search_paths() {
    let tree = Tree::new("own");
    let text = tree.run_prosody(&["--own-names"]);
    let lua = tree.path("lua");
    assert_line(&text, &format!("LUA_PATH_5_4={lua}/?.lua;;"));
    assert_line(&text, &format!("LUA_CPATH_5_4={lua}/?.so;;"));
    assert!(!text.contains("LUA_INIT"), "{text}");

    let prosody = tree.path("prosody/prosody");
    let output = tree
        .command(&["prosody", "--prosody", &prosody, "--own-names"])
        .env("LUA_PATH", "/opt/other/?.lua;;")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let both = format!("LUA_PATH_5_4={lua}/?.lua;/opt/other/?.lua;;");
    assert_line(&text, &both);
}

#[test]
fn what_stands_in_the_way_is_named() {
    let tree = Tree::new("errors");
    let prosody = tree.path("prosody/prosody");

    let output = tree.run(&["prosody", "--prosody", &prosody, "--backend", "kqueue"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("unknown backend \"kqueue\"; there are event, auto, "));

    let nowhere = tree.path("nowhere/prosody");
    let output = tree.run(&["prosody", "--prosody", &nowhere]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("{nowhere} cannot be started: No such file")));

    let output = tree
        .command(&["prosodyctl", "status"])
        .env("PATH", tree.path("bin"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("prosodyctl was not found in PATH; install Prosody"));

    for name in ["LUA_INIT", "LUA_INIT_5_4"] {
        let output = tree
            .command(&["prosody", "--prosody", &prosody])
            .env(name, "x = 1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert!(
            text.contains(&format!("{name} is set already, to x = 1; unset it")),
            "{text}"
        );
    }

    fs::remove_file(tree.0.join("lua/trochee.so")).unwrap();
    let output = tree.run(&["prosody", "--prosody", &prosody]);
    assert_eq!(output.status.code(), Some(1));
    let missing = format!("{} was not found", tree.path("lua/trochee.so"));
    assert!(stderr(&output).contains(&missing), "{output:?}");
}
