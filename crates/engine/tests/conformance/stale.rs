//! Changes made while a batch of reports is being worked off count from the next wait on.

use std::io::Write;

use trochee::poller::Interest;

use super::*;

#[test]
fn no_wait_reports_what_was_removed_during_the_batch() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let pairs: Vec<_> = (0..3).map(|_| tcp_pair()).collect();
    for (token, (near, far)) in (0..).zip(&pairs) {
        (&mut &*far).write_all(b"x").unwrap();
        watch.add(near, token, Interest::READ);
    }
    watch.expect(&[(0, "r"), (1, "r"), (2, "r")]);
    // The handler of the first closes the second.
    watch.remove(&pairs[1].0);
    watch.expect(&[(0, "r"), (2, "r")]);
    watch.remove(&pairs[2].0);
    watch.remove(&pairs[0].0);
    watch.expect_silence();
}

#[test]
fn no_wait_reports_a_token_that_was_replaced() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, mut far) = tcp_pair();
    far.write_all(b"x").unwrap();
    watch.add(&near, 1, Interest::READ);
    watch.expect(&[(1, "r")]);
    watch.remove(&near);
    watch.add(&near, 2, Interest::READ);
    watch.expect(&[(2, "r")]);
}

#[test]
fn what_was_added_during_the_batch_is_in_the_next() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    watch.add(&near, 1, Interest::WRITE);
    watch.expect(&[(1, "w")]);
    watch.add(&far, 2, Interest::WRITE);
    watch.expect(&[(1, "w"), (2, "w")]);
}
