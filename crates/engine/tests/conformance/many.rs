//! Many descriptors, with gaps between their numbers.

use std::collections::BTreeSet;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::RawFd;

use trochee::poller::Interest;

use super::*;

#[test]
fn all_that_are_ready_get_reported() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let mut pipes = pipes(&watch);
    for (token, (reader, _)) in (0..).zip(&pipes) {
        watch.add(reader, token, Interest::READ);
    }
    watch.expect_silence();

    // One in many, the very first and the very last among them.
    let few: BTreeSet<u64> = [0, 1, 77, pipes.len() as u64 - 1].into();
    for token in &few {
        pipes[*token as usize].1.write_all(b"x").unwrap();
    }
    assert_eq!(collect(&mut watch, few.len()), few);
    for token in &few {
        pipes[*token as usize].0.read_exact(&mut [0]).unwrap();
    }
    watch.expect_silence();

    // All at once: more than one wait may be needed, and none is left out.
    for (_, writer) in &mut pipes {
        writer.write_all(b"x").unwrap();
    }
    for _ in 0..3 {
        let all = collect(&mut watch, pipes.len());
        assert_eq!(all, (0..pipes.len() as u64).collect());
    }
}

#[test]
fn removals_in_the_middle_disturb_no_other() {
    let Some(mut watch) = Watch::open() else {
        return;
    };
    let mut pipes = pipes(&watch);
    for (token, (reader, writer)) in (0..).zip(&mut pipes) {
        watch.add(reader, token, Interest::READ);
        writer.write_all(b"x").unwrap();
    }
    // Most go; of those that stay, every other gets a new token.
    let mut left = BTreeSet::new();
    for (token, (reader, _)) in (0..).zip(&pipes) {
        match token % 7 {
            0 => {
                watch.modify(reader, token + 1_000_000, Interest::READ);
                left.insert(token + 1_000_000);
            }
            3 => drop(left.insert(token)),
            _ => watch.remove(reader),
        }
    }
    assert_eq!(collect(&mut watch, left.len()), left);

    // Back again, in another order.
    for (index, (reader, _)) in pipes.iter().enumerate().rev() {
        let token = index as u64;
        if !matches!(token % 7, 0 | 3) {
            watch.add(reader, token, Interest::READ);
            left.insert(token);
        }
    }
    assert_eq!(collect(&mut watch, left.len()), left);
}

/// The tokens reported in enough waits for `count` of them.
#[track_caller]
fn collect(watch: &mut Watch, count: usize) -> BTreeSet<u64> {
    let mut tokens = BTreeSet::new();
    for _ in 0..count {
        let reports = watch.wait(PATIENCE);
        assert!(!reports.is_empty(), "{} of {count} reported", tokens.len());
        for report in reports {
            assert_eq!(letters(report), "r");
            tokens.insert(report.token);
        }
        if tokens.len() >= count {
            break;
        }
    }
    tokens
}

/// A thousand pipes, or what the poller can take. The readers have every second or third number.
fn pipes(watch: &Watch) -> Vec<(PipeReader, PipeWriter)> {
    let (first, count) = match watch.traits.fd_limit {
        // Leaves some numbers to the tests that run at the same time.
        Some(limit) => (limit - 600, 200),
        None => (HIGH, 1000),
    };
    (0..count)
        .map(|index: RawFd| {
            let (reader, writer) = io::pipe().unwrap();
            let sparse = duplicate(&reader, first + index * 5 / 2);
            (
                PipeReader::from(sparse),
                PipeWriter::from(duplicate(&writer, HIGH)),
            )
        })
        .collect()
}
