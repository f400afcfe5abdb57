//! Only what is asked for is reported, and asking for something else counts at once.

use std::io::Write;

use trochee::poller::Interest;

use super::*;

#[test]
fn only_what_is_asked_for_is_reported() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    far.write_all(b"x").unwrap();
    watch.expect_by_interest(&near, ["r", "w", "rw", ""]);
}

#[test]
fn none_stays_registered() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    watch.add(&near, 1, Interest::NONE);
    far.write_all(b"x").unwrap();
    watch.expect_silence();
    // What came in the meantime is not lost.
    watch.modify(&near, 1, Interest::READ);
    watch.expect(&[(1, "r")]);
}

#[test]
fn modify_replaces_and_does_not_add() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    far.write_all(b"x").unwrap();
    watch.add(&near, 1, Interest::WRITE);
    watch.expect(&[(1, "w")]);
    watch.modify(&near, 1, Interest::READ);
    watch.expect(&[(1, "r")]);
    watch.modify(&near, 1, Interest::NONE);
    watch.expect_silence();
}

#[test]
fn duplicates_are_independent() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    let again = near.try_clone().unwrap();
    far.write_all(b"x").unwrap();
    watch.add(&near, 1, Interest::READ);
    watch.add(&again, 2, Interest::WRITE);
    watch.expect(&[(1, "r"), (2, "w")]);
    watch.remove(&near);
    watch.expect(&[(2, "w")]);
}
