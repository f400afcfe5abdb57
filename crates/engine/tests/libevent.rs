//! What only libevent has: a choice of its own, made by the environment, and a library that ends the process for want of
//! descriptors.
//!
//! Each test runs in a process of its own, which this file starts again with the variables that libevent knows.
#![cfg(target_os = "linux")]

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use trochee::poller;

/// What `poller::open` says in a process that has these variables.
fn opened_with(variables: &[&str]) -> String {
    const CHILD: &str = "opens_in_a_child";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .envs(variables.iter().map(|variable| (variable, "1")))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.split("opened: ").nth(1).unwrap_or(&text);
    said.lines().next().unwrap_or_default().to_owned()
}

/// Not a test by itself: [`opened_with`] runs it.
#[test]
#[ignore = "run by the other tests"]
fn opens_in_a_child() {
    if std::env::var_os("FEW_DESCRIPTORS").is_some() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let next = rustix::io::dup(std::io::stderr()).unwrap();
        let current = Some(std::os::fd::AsRawFd::as_raw_fd(&next) as u64 + 2);
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    }
    match poller::open("libevent") {
        Ok(poller) => println!("opened: {}", poller.name()),
        Err(error) => println!("opened: {error}"),
    }
}

/// A line of output where the library is missing, which `TROCHEE_NO_SKIPS` turns into a failure.
fn missing() -> bool {
    match poller::open("libevent") {
        Err(error) if std::env::var_os("TROCHEE_NO_SKIPS").is_none() => {
            eprintln!("SKIP: {error}");
            true
        }
        opened => {
            opened.unwrap();
            false
        }
    }
}

#[test]
fn its_environment_chooses_the_system_call() {
    if missing() {
        return;
    }
    assert_eq!(opened_with(&[]), "libevent epoll");
    assert_eq!(opened_with(&["EVENT_NOEPOLL"]), "libevent poll");
    assert_eq!(
        opened_with(&["EVENT_NOEPOLL", "EVENT_NOPOLL"]),
        "libevent select"
    );
    assert_eq!(
        opened_with(&["EVENT_EPOLL_USE_CHANGELIST"]),
        "libevent epoll (with changelist)"
    );
    assert_eq!(
        opened_with(&["EVENT_NOEPOLL", "EVENT_NOPOLL", "EVENT_NOSELECT"]),
        "poller \"libevent\" is not available: libevent finds no system call to use; unset EVENT_NOEPOLL and the like"
    );
}

/// libevent itself would end the process.
#[test]
fn too_few_descriptors_are_an_error() {
    if missing() {
        return;
    }
    assert_eq!(
        opened_with(&["FEW_DESCRIPTORS"]),
        "poller \"libevent\" is not available: Too many open files (os error 24)"
    );
}
