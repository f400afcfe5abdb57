//! How many accepted connections there may be, and who waits while there is no room for another one.

use rustix::process::{Resource, getrlimit, setrlimit};

use super::Reactor;
use crate::clock::LastNotice;
use crate::event::Level;
use crate::registry::Key;

/// Of so many descriptors one is kept for what is no accepted connection, and at least and at most so many.
const KEPT_SHARE: usize = 8;
const KEPT_LEAST: usize = 64;
const KEPT_MOST: usize = 8192;

/// The first descriptor number that select(2) cannot hold.
const SELECT_LIMIT: usize = 1024;

/// What the log hears when there is no room for another one.
pub(crate) const FULL: &str = "there are as many connections as max_connections allows: whoever comes waits until another one leaves. \
    Unless it is set, it follows from the limit of descriptors (LimitNOFILE in systemd, ulimit -n)";

/// The places of [`Config::max_connections`](crate::Config).
pub(super) struct Places {
    most: usize,
    taken: usize,
    /// Listeners that found none free.
    waiting: Vec<Key>,
    last_notice: LastNotice,
}

impl Places {
    pub(super) fn new() -> Places {
        Places {
            most: usize::MAX,
            taken: 0,
            waiting: Vec::new(),
            last_notice: LastNotice::default(),
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken < self.most
    }
}

impl Reactor {
    /// How many accepted connections there may be.
    pub(crate) fn most_connections(&self) -> usize {
        self.places.most
    }

    /// Takes over how many there may be. Where the limit of descriptors is to be raised, this does it.
    pub(crate) fn count_places(&mut self) {
        if self.config.raise_descriptor_limit {
            raise_descriptor_limit();
        }
        let holds_few = self.polling.name().starts_with("select");
        self.places.most = self.config.max_connections.unwrap_or_else(|| {
            let limit = getrlimit(Resource::Nofile).current;
            let limit = limit.map_or(usize::MAX, |limit| limit as usize);
            derived(if holds_few {
                limit.min(SELECT_LIMIT)
            } else {
                limit
            })
        });
        self.seek_places();
    }

    pub(super) fn take_place(&mut self) {
        self.places.taken += 1;
        if self.places.has_room() {
            return;
        }
        self.stats.times_full += 1;
        if self.places.last_notice.is_due(self.turn.now) {
            self.notice(Level::Warn, FULL.into());
        }
    }

    pub(super) fn leave_place(&mut self) {
        self.places.taken -= 1;
        self.seek_places();
    }

    /// Notes that a listener waits for a place.
    pub(super) fn wait_for_place(&mut self, key: Key) {
        self.places.waiting.push(key);
        self.want(key);
    }

    /// Has the listeners accept again that waited for a place, if there is one.
    fn seek_places(&mut self) {
        if self.places.has_room() {
            while let Some(key) = self.places.waiting.pop() {
                self.want(key);
            }
        }
    }
}

/// How many accepted connections so many descriptors allow.
fn derived(descriptors: usize) -> usize {
    let kept = (descriptors / KEPT_SHARE).clamp(KEPT_LEAST, KEPT_MOST);
    // Of very few, half.
    descriptors - kept.min(descriptors / 2)
}

/// Login shells and service managers hand out 1024 descriptors by default, with leave to take more.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        limit.current = limit.maximum;
        // Refused means that the limit stays as it is, which is where we were.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_for_what_is_no_accepted_connection() {
        for (descriptors, most) in [
            (20, 10),
            (256, 192),
            (1024, 896),
            (65_536, 57_344),
            (1 << 20, (1 << 20) - 8192),
        ] {
            assert_eq!(derived(descriptors), most, "{descriptors}");
        }
    }
}
