//! Who is served next: the sources that are ready, in an order that a crowd of newcomers cannot upset.
//!
//! When all users of a server come back at once, thousands of connections are ready in every turn, and each costs far more
//! than a message does. In the order of arrival those who are in would wait for all of them, and all of them would be
//! done at the very end. So whoever has got furthest goes first: established connections, then those whose login has
//! begun, then new ones, then handshakes that resume a session, then those of strangers. Within a rank the order is that
//! of arrival.
//!
//! Nobody starves: every fourth share belongs to newcomers, and every sixteenth to the lowest rank that has anybody.

use crate::connection::{Connection, NEWCOMER_READS};
use crate::ranked::Ranked;
use crate::registry::Key;

/// One share of so many belongs to newcomers, and one of so many to the lowest rank.
pub(crate) const NEWCOMERS_SHARE: u32 = 4;
const LOWEST_SHARE: u32 = 16;

const RANKS: usize = Rank::ESTABLISHED.0 as usize + 1;

/// Precedence: the higher goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u8);

impl Rank {
    /// A handshake that waits for our answer, of a client that is unknown.
    pub(super) const STRANGER: Rank = Rank(0);
    /// The same, of a client that shows a ticket of ours.
    pub(super) const RESUMING: Rank = Rank(1);
    /// A connection that has delivered nothing yet; those that wait to be accepted.
    pub(super) const NEW: Rank = Rank(2);
    /// A connection past its beginnings, one that we began, and whatever is no connection.
    pub(super) const ESTABLISHED: Rank = Rank::after(NEWCOMER_READS);

    /// That of a connection that has delivered so many reads.
    pub(super) const fn after(reads: u8) -> Rank {
        if reads < NEWCOMER_READS {
            Rank(Rank::NEW.0 + reads)
        } else {
            Rank(Rank::NEW.0 + NEWCOMER_READS)
        }
    }

    pub(super) fn of(connection: &Connection) -> Rank {
        match &connection.tls {
            Some(session) if session.waits_for_answer() => {
                if session.resumes() {
                    Rank::RESUMING
                } else {
                    Rank::STRANGER
                }
            }
            _ => Rank::after(connection.progress()),
        }
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The keys of sources that are ready. A key may be stale, so the reactor looks it up when it takes one out.
pub(super) struct ReadyQueue {
    next: Option<Key>,
    ranks: Ranked<Key, RANKS>,
    shares: u32,
}

impl ReadyQueue {
    pub(super) fn new() -> ReadyQueue {
        ReadyQueue {
            next: None,
            ranks: Ranked::new(),
            shares: 0,
        }
    }

    pub(super) fn push(&mut self, key: Key, rank: Rank) {
        self.ranks.push(rank.index(), key);
    }

    /// Puts a key before all others, whatever its rank.
    pub(super) fn push_next(&mut self, key: Key) {
        if let Some(other) = self.next.replace(key) {
            self.ranks.push_front(Rank::ESTABLISHED.index(), other);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none() && self.ranks.is_empty()
    }

    /// Takes out the key of the source that gets the next share.
    pub(super) fn pop(&mut self) -> Option<Key> {
        if self.is_empty() {
            return None;
        }
        if let Some(key) = self.next.take() {
            return Some(key);
        }
        self.shares = self.shares.wrapping_add(1);
        let newcomers = || self.ranks.highest_below(Rank::ESTABLISHED.index());
        let rank = if self.shares.is_multiple_of(LOWEST_SHARE) {
            self.ranks.lowest()
        } else if self.shares.is_multiple_of(NEWCOMERS_SHARE) {
            newcomers().or_else(|| self.ranks.highest_below(RANKS))
        } else {
            self.ranks.highest_below(RANKS)
        };
        self.ranks.pop(rank?)
    }

    /// How many handshakes wait for our answer. This includes those whose connection has ended meanwhile.
    pub(super) fn waiting_handshakes(&self) -> usize {
        self.ranks.len(Rank::STRANGER.index()) + self.ranks.len(Rank::RESUMING.index())
    }

    /// Takes out the key of the stranger that has come last.
    pub(super) fn pop_stranger(&mut self) -> Option<Key> {
        self.ranks.pop_last(Rank::STRANGER.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        Key::from_bits(number)
    }

    fn order(queue: &mut ReadyQueue) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop())
            .map(Key::to_bits)
            .collect()
    }

    #[test]
    fn whoever_has_got_furthest_goes_first() {
        let mut queue = ReadyQueue::new();
        queue.push(key(1), Rank::STRANGER);
        queue.push(key(2), Rank::NEW);
        queue.push(key(3), Rank::RESUMING);
        queue.push_next(key(4));
        assert_eq!(order(&mut queue), [4, 2, 3, 1]);
        assert!(queue.is_empty());
        assert_eq!(Rank::after(0), Rank::NEW);
        assert_eq!(Rank::after(u8::MAX), Rank::ESTABLISHED);
        assert!(Rank::after(7) > Rank::after(6));
    }

    #[test]
    fn a_rank_is_served_in_the_order_of_arrival() {
        let mut queue = ReadyQueue::new();
        for number in 0..10 {
            queue.push(key(number), Rank::after(3));
        }
        assert_eq!(order(&mut queue), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn established_connections_leave_newcomers_their_share() {
        let mut queue = ReadyQueue::new();
        for number in 0..64 {
            queue.push(key(number), Rank::ESTABLISHED);
            queue.push(key(100 + number), Rank::NEW);
            queue.push(key(200 + number), Rank::STRANGER);
        }
        let first: Vec<u64> = order(&mut queue).into_iter().take(64).collect();
        let of = |from: u64| first.iter().filter(|&&number| number / 100 == from).count();
        assert_eq!((of(0), of(1), of(2)), (48, 12, 4));
    }

    #[test]
    fn the_stranger_that_came_last_goes_first_when_there_is_no_room() {
        let mut queue = ReadyQueue::new();
        queue.push(key(1), Rank::STRANGER);
        queue.push(key(2), Rank::STRANGER);
        queue.push(key(3), Rank::RESUMING);
        queue.push(key(4), Rank::NEW);
        assert_eq!(queue.waiting_handshakes(), 3);
        assert_eq!(queue.pop_stranger(), Some(key(2)));
        assert_eq!(queue.pop_stranger(), Some(key(1)));
        assert_eq!(queue.pop_stranger(), None);
        assert_eq!(order(&mut queue), [4, 3]);
        assert!(queue.is_empty());
    }
}
