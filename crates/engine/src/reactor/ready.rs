//! Who is served next: the sources that are ready, in an order that a crowd of newcomers cannot upset.
//!
//! When all users of a server come back at once, thousands of connections are ready in every turn, and each costs far more
//! than a message does. In the order of arrival those who are in would wait for all of them, and all of them would be
//! done at the very end. So whoever has got furthest goes first: established connections, then those whose login has
//! begun, then new ones, then handshakes that resume a session, then those of strangers. Within a rank the order is that
//! of arrival.
//!
//! Handshakes of one rank are answered in turn by address, and when there are too many of them, the address that has most gives
//! up its last one. So whoever sends many delays and shuts out nobody else.
//!
//! Nobody starves: every fourth share belongs to newcomers, and every sixteenth to the lowest rank that has anybody.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::addresses::Blocks;
use crate::connection::{Connection, NEWCOMER_READS};
use crate::fair::{Fair, Line};
use crate::ranked::Ranked;
use crate::registry::Key;

/// One share of so many belongs to newcomers, and one of so many to the lowest rank.
pub(crate) const NEWCOMERS_SHARE: u32 = 4;
const LOWEST_SHARE: u32 = 16;

/// How many of the handshakes of one site go before those of strangers because they resume a session. One ticket is enough to
/// resume any number of times, so the rest of a crowd is in no hurry.
const RESUMING_SHARE: usize = 16;

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

/// Where a connection comes from, as far as its handshake is concerned.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    address: Option<IpAddr>,
    /// Its address has no more than its share of connections. Behind an exempt one there may be any number of clients.
    counted: bool,
}

impl Origin {
    pub(super) fn of(connection: &Connection) -> Origin {
        Origin {
            address: connection.peer().map(|peer| peer.ip()),
            counted: connection.visit.is_some(),
        }
    }
}

/// Handshakes of one rank: by site, and within a site by address.
type Handshakes = Fair<u64, Fair<u64, VecDeque<Key>>>;

/// The keys of sources that are ready. A key may be stale, so the reactor looks it up when it takes one out.
pub(super) struct ReadyQueue {
    next: Option<Key>,
    ranks: Ranked<Key, RANKS>,
    resuming: Handshakes,
    strangers: Handshakes,
    /// How many keys there are in all of these.
    len: usize,
    shares: u32,
}

impl ReadyQueue {
    pub(super) fn new() -> ReadyQueue {
        ReadyQueue {
            next: None,
            ranks: Ranked::new(),
            resuming: Handshakes::default(),
            strangers: Handshakes::default(),
            len: 0,
            shares: 0,
        }
    }

    /// Puts a key into a rank that is none of handshakes.
    #[inline]
    pub(super) fn push(&mut self, key: Key, rank: Rank) {
        self.len += 1;
        self.ranks.push(rank.index(), key);
    }

    /// The same for a handshake that waits for our answer.
    pub(super) fn push_handshake(&mut self, key: Key, rank: Rank, origin: Origin) {
        let Origin { address, counted } = origin;
        // Those without an address are all of one site.
        let (site, address) = address.map_or((0, 0), |address| {
            let blocks = Blocks::of(address);
            (blocks.site, blocks.address)
        });
        let hurries =
            rank == Rank::RESUMING && (!counted || self.resuming.of(site) < RESUMING_SHARE);
        let line = if hurries {
            &mut self.resuming
        } else {
            &mut self.strangers
        };
        line.push((site, (address, ())), key);
        self.len += 1;
    }

    /// Puts a key before all others, whatever its rank.
    pub(super) fn push_next(&mut self, key: Key) {
        self.len += 1;
        if let Some(other) = self.next.replace(key) {
            self.ranks.push_front(Rank::ESTABLISHED.index(), other);
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest rank that has somebody, of those below `limit`.
    fn highest_below(&self, limit: Rank) -> Option<Rank> {
        let highest = self.ranks.highest_below(limit.index());
        highest
            .map(|rank| Rank(rank as u8))
            .or_else(|| (self.resuming.len() > 0).then_some(Rank::RESUMING))
            .or_else(|| (self.strangers.len() > 0).then_some(Rank::STRANGER))
    }

    fn lowest(&self) -> Option<Rank> {
        if self.strangers.len() > 0 {
            return Some(Rank::STRANGER);
        }
        if self.resuming.len() > 0 {
            return Some(Rank::RESUMING);
        }
        self.ranks.lowest().map(|rank| Rank(rank as u8))
    }

    /// Takes out the key of the source that gets the next share.
    #[inline(always)] // there is one caller
    pub(super) fn pop(&mut self) -> Option<Key> {
        if self.is_empty() {
            return None;
        }
        self.len -= 1;
        if let Some(key) = self.next.take() {
            return Some(key);
        }
        self.shares = self.shares.wrapping_add(1);
        if !self.shares.is_multiple_of(NEWCOMERS_SHARE)
            && let Some(key) = self.ranks.pop(Rank::ESTABLISHED.index())
        {
            return Some(key);
        }
        self.pop_in_order()
    }

    /// The same where it is the share of others, or where nobody is established.
    #[inline(never)]
    fn pop_in_order(&mut self) -> Option<Key> {
        let highest = || self.highest_below(Rank(RANKS as u8));
        let rank = if self.shares.is_multiple_of(LOWEST_SHARE) {
            self.lowest()
        } else if self.shares.is_multiple_of(NEWCOMERS_SHARE) {
            self.highest_below(Rank::ESTABLISHED).or_else(highest)
        } else {
            highest()
        };
        match rank? {
            Rank::STRANGER => self.strangers.pop(),
            Rank::RESUMING => self.resuming.pop(),
            rank => self.ranks.pop(rank.index()),
        }
    }

    /// How many handshakes wait for our answer. This includes those whose connection has ended meanwhile.
    pub(super) fn waiting_handshakes(&self) -> usize {
        self.resuming.len() + self.strangers.len()
    }

    /// Takes out the key of the handshake that has to make room: of the address that has most, the one that has come last, and
    /// of strangers first.
    pub(super) fn pop_last_handshake(&mut self) -> Option<Key> {
        let last = self.strangers.pop_last();
        let last = last.or_else(|| self.resuming.pop_last());
        self.len -= usize::from(last.is_some());
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Origin = Origin {
        address: None,
        counted: false,
    };

    fn from(address: &str) -> Origin {
        Origin {
            address: Some(address.parse().unwrap()),
            counted: true,
        }
    }

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
        queue.push_handshake(key(1), Rank::STRANGER, NOWHERE);
        queue.push(key(2), Rank::NEW);
        queue.push_handshake(key(3), Rank::RESUMING, NOWHERE);
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
            queue.push_handshake(key(200 + number), Rank::STRANGER, NOWHERE);
        }
        let first: Vec<u64> = order(&mut queue).into_iter().take(64).collect();
        let of = |from: u64| first.iter().filter(|&&number| number / 100 == from).count();
        assert_eq!((of(0), of(1), of(2)), (48, 12, 4));
    }

    #[test]
    fn the_stranger_that_came_last_goes_first_when_there_is_no_room() {
        let mut queue = ReadyQueue::new();
        queue.push_handshake(key(1), Rank::STRANGER, NOWHERE);
        queue.push_handshake(key(2), Rank::STRANGER, NOWHERE);
        queue.push_handshake(key(3), Rank::RESUMING, NOWHERE);
        queue.push(key(4), Rank::NEW);
        assert_eq!(queue.waiting_handshakes(), 3);
        assert_eq!(queue.pop_last_handshake(), Some(key(2)));
        assert_eq!(queue.pop_last_handshake(), Some(key(1)));
        assert_eq!(queue.pop_last_handshake(), Some(key(3)));
        assert_eq!(queue.pop_last_handshake(), None);
        assert_eq!(order(&mut queue), [4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn whoever_sends_many_delays_nobody_else_and_makes_room() {
        let mut queue = ReadyQueue::new();
        for number in 0..2000 {
            queue.push_handshake(key(number), Rank::STRANGER, from("192.0.2.1"));
        }
        queue.push_handshake(key(3000), Rank::STRANGER, from("192.0.2.2"));
        assert_eq!(queue.pop_last_handshake(), Some(key(1999)));
        assert_eq!(order(&mut queue)[..2], [0, 3000]);
        // From many addresses of one site as well.
        for number in 0..2000 {
            let address = format!("2001:db8:1:{number:x}::1");
            queue.push_handshake(key(number), Rank::STRANGER, from(&address));
        }
        queue.push_handshake(key(3000), Rank::STRANGER, from("2001:db8:2::1"));
        assert_eq!(order(&mut queue)[..2], [0, 3000]);
    }

    #[test]
    fn a_ticket_that_is_used_again_and_again_does_not_shut_out_strangers() {
        let mut queue = ReadyQueue::new();
        for number in 0..2000 {
            queue.push_handshake(key(number), Rank::RESUMING, from("192.0.2.1"));
        }
        queue.push_handshake(key(3000), Rank::STRANGER, from("192.0.2.2"));
        queue.push_handshake(key(3001), Rank::RESUMING, from("192.0.2.3"));
        let order = order(&mut queue);
        let place = |wanted| order.iter().position(|number| *number == wanted).unwrap();
        assert_eq!(place(3001), 1);
        assert!(place(3000) <= 2 * RESUMING_SHARE, "{}", place(3000));
        // Many clients may be behind an address that is not counted.
        let proxy = Origin {
            counted: false,
            ..from("127.0.0.1")
        };
        for number in 0..2000 {
            queue.push_handshake(key(number), Rank::RESUMING, proxy);
        }
        assert_eq!(queue.resuming.len(), 2000);
    }
}
