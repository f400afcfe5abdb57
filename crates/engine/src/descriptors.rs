//! How many descriptors the process has open, and may have.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// How many there are and how many there may be, which is the soft limit.
pub(crate) fn open_and_allowed() -> (u64, u64) {
    let allowed = getrlimit(Resource::Nofile).current;
    (open(), allowed.unwrap_or(u64::MAX))
}

/// Linux 6.2 and later tell it as the size of the folder; before, its entries are counted, one of which is our own look.
fn open() -> u64 {
    const FOLDER: &str = "/proc/self/fd";
    let size = fs::metadata(FOLDER).map_or(0, |folder| folder.len());
    if size > 0 {
        return size;
    }
    fs::read_dir(FOLDER).map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_open_is_counted() {
        // Other tests of this process open and close descriptors, too: a hundred is more than they do.
        let (before, allowed) = open_and_allowed();
        let files: Vec<File> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
        let (after, _) = open_and_allowed();
        assert!(after >= before + 100, "{before} {after}");
        assert!(allowed >= after);
        drop(files);
    }
}
