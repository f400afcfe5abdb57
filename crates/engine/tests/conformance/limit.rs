//! Descriptor numbers that do not fit.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use trochee::poller::{FdLimit, Interest};

use super::*;

#[test]
fn high_numbers_work_or_are_refused_in_words() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let (near, far) = tcp_pair();
    watch.add(&far, 1, Interest::WRITE);
    let high = duplicate(&near, 1024);
    let Some(limit) = watch.traits.fd_limit else {
        watch.add(&high, 2, Interest::WRITE);
        return watch.expect(&[(1, "w"), (2, "w")]);
    };

    let fd = high.as_raw_fd();
    let error = watch.try_add(&high, 2, Interest::WRITE).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        format!("descriptor {fd} is past the limit of select(2) (1024); use epoll or poll")
    );
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<FdLimit>());
    assert_eq!(inner, Some(&FdLimit { fd, limit }));

    // It is not registered, and the others live on.
    let enoent = rustix::io::Errno::NOENT.raw_os_error();
    assert_errno(
        watch.poller.modify(high.as_fd(), 2, Interest::WRITE),
        enoent,
    );
    assert_errno(watch.poller.remove(high.as_fd()), enoent);
    watch.expect(&[(1, "w")]);
}

#[test]
fn the_last_number_below_the_limit_works() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let Some(limit) = watch.traits.fd_limit else {
        return;
    };
    let (near, _far) = tcp_pair();
    let _numbers = own_numbers();
    let last = duplicate_at(&near, limit - 1);
    watch.add(&last, 1, Interest::BOTH);
    watch.expect(&[(1, "w")]);
    watch.remove(&last);
    watch.expect_silence();
}
