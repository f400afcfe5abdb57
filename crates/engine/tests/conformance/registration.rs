//! Adding, changing and removing: which errors, and what counts from when on.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use trochee::poller::Interest;

use super::*;

#[test]
fn the_name_is_the_one_asked_for() {
    let Some(watch) = Watch::open() else { return };
    assert_eq!(watch.poller.name().split(' ').next(), Some(name()));
}

#[test]
fn adding_twice_is_eexist_and_changes_nothing() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, _far) = tcp_pair();
    watch.add(&near, 1, Interest::WRITE);
    assert_errno(
        watch.try_add(&near, 2, Interest::READ),
        Errno::EXIST.raw_os_error(),
    );
    watch.expect(&[(1, "w")]);
}

#[test]
fn modifying_or_removing_the_unknown_is_enoent() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    let enoent = Errno::NOENT.raw_os_error();
    assert_errno(watch.poller.modify(near.as_fd(), 1, Interest::READ), enoent);
    assert_errno(watch.poller.remove(near.as_fd()), enoent);

    // The same with neighbours, and for one that was known once.
    watch.add(&near, 1, Interest::READ);
    watch.add(&far, 2, Interest::READ);
    watch.remove(&near);
    assert_errno(watch.poller.modify(near.as_fd(), 1, Interest::READ), enoent);
    assert_errno(watch.poller.remove(near.as_fd()), enoent);
    watch.expect_silence();
}

#[test]
fn error_kinds_are_portable() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    watch.add(&near, 1, Interest::READ);
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    assert_eq!(
        kind(watch.try_add(&near, 1, Interest::READ)),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(watch.poller.remove(far.as_fd())),
        io::ErrorKind::NotFound
    );
}

#[test]
fn modify_replaces_the_token() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, _far) = tcp_pair();
    watch.add(&near, 1, Interest::WRITE);
    watch.expect(&[(1, "w")]);
    watch.modify(&near, 2, Interest::WRITE);
    watch.expect(&[(2, "w")]);
}

#[test]
fn tokens_are_opaque_and_need_not_be_unique() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    let (other, _) = tcp_pair();
    watch.add(&near, 0, Interest::WRITE);
    watch.add(&far, u64::MAX, Interest::WRITE);
    watch.add(&other, u64::MAX, Interest::WRITE);
    let mut tokens: Vec<_> = watch
        .wait(PATIENCE)
        .iter()
        .map(|report| report.token)
        .collect();
    tokens.sort();
    assert_eq!(tokens, [0, u64::MAX, u64::MAX]);
}

#[test]
fn the_removed_is_silent_until_added_again() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    far.write_all(b"x").unwrap();
    watch.add(&near, 1, Interest::READ);
    watch.expect(&[(1, "r")]);
    watch.remove(&near);
    watch.expect_silence();
    watch.add(&near, 2, Interest::READ);
    watch.expect(&[(2, "r")]);
}

#[test]
fn a_reused_number_is_a_new_registration() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    let (other, mut other_far) = tcp_pair();
    let _numbers = own_numbers();
    let first = duplicate(&near, REUSED);
    let number = first.as_raw_fd();

    watch.add(&first, 1, Interest::READ);
    watch.remove(&first);
    drop(first);
    let second = duplicate_at(&other, number);
    watch.add(&second, 2, Interest::READ);

    far.write_all(b"for the first").unwrap();
    watch.expect_silence();
    other_far.write_all(b"for the second").unwrap();
    watch.expect(&[(2, "r")]);
}

/// A mistake of the owner that must not cost the others anything.
#[test]
fn closing_without_removing_harms_no_other() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (good, mut good_far) = tcp_pair();
    let (bad, _bad_far) = io::pipe().unwrap();
    let _numbers = own_numbers();
    let moved = duplicate(&bad, REUSED);
    drop(bad);
    watch.add(&good, 1, Interest::BOTH);
    watch.add(&moved, 2, Interest::READ);
    watch.expect(&[(1, "w")]);
    drop(moved);
    good_far.write_all(b"x").unwrap();

    // Every poller says all it knows about the closed one, whatever was asked for.
    let closed = if watch.traits.forgets_closed {
        vec![]
    } else {
        vec![(2, "rwc".to_owned())]
    };
    for _ in 0..2 {
        let mut seen: Vec<_> = watch
            .wait(PATIENCE)
            .into_iter()
            .map(|report| (report.token, letters(report)))
            .collect();
        seen.sort();
        assert_eq!(seen, [vec![(1, "rw".to_owned())], closed.clone()].concat());
    }
}

#[test]
fn regular_files_are_refused_or_always_ready() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    if watch.traits.regular_files {
        watch.add(&file, 1, Interest::BOTH);
        watch.expect(&[(1, "rw")]);
    } else {
        assert_errno(
            watch.try_add(&file, 1, Interest::BOTH),
            Errno::PERM.raw_os_error(),
        );
    }
}

#[test]
fn a_poller_can_move_to_another_thread() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, _far) = tcp_pair();
    watch.add(&near, 1, Interest::WRITE);
    std::thread::spawn(move || watch.expect(&[(1, "w")]))
        .join()
        .unwrap();
}
