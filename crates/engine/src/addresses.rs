//! How many connections each address has and how fast they come, counted before any work is done for them; and what the log
//! hears of those that are refused.
//!
//! An address is an IPv4 address, or an IPv6 network of 64 bits, which is what one customer has. Networks of 48 bits get a
//! multiple of what an address gets, because some customers have those. Both are counted on each listener and on all together.
//!
//! One of these serves all threads that accept. It is asked once for each connection, and told of its end.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::clock;
use crate::config::Config;
use crate::event::Level;
use crate::network::Networks;
use crate::spans;
use crate::stats::Stats;
use crate::sync::lock;
use log::Log;
use table::{Allowance, Place, Slot, Table};

mod log;
mod table;

pub(crate) use log::INTERVAL;

/// The scope of what is counted on all listeners together. No listener has this number.
const ALL: u64 = u64::MAX;

/// Places in which one connection counts, at most: listener and all, address and site.
const PLACES: usize = 4;

/// What an address belongs to, as numbers: the address itself (for IPv6, its network of 64 bits) and the site (for IPv6, its
/// network of 48 bits). No two of them have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    pub(crate) address: u64,
    pub(crate) site: u64,
}

impl Blocks {
    pub(crate) fn of(address: IpAddr) -> Blocks {
        // No peer has an IPv6 address that begins like these two: it would be one of multicast.
        const FOUR: u64 = 0xffff << 48;
        const SITE: u64 = 0xfffe << 48;
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let number = FOUR | u64::from(v4.to_bits());
                Blocks {
                    address: number,
                    site: number,
                }
            }
            IpAddr::V6(v6) => {
                let network = (v6.to_bits() >> 64) as u64;
                Blocks {
                    address: network,
                    site: SITE | network >> 16,
                }
            }
        }
    }
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many a second.
    Rate,
    /// Too many at a time.
    Count,
    /// Too many wait for the answer to their ClientHello.
    Handshakes,
}

impl Refusal {
    /// Counts one.
    pub(crate) fn count(self, stats: &mut Stats) {
        match self {
            Refusal::Rate => stats.refused_by_rate += 1,
            Refusal::Count => stats.refused_by_count += 1,
            Refusal::Handshakes => stats.refused_handshakes += 1,
        }
    }

    /// The name of that counter.
    fn counter(self) -> &'static str {
        match self {
            Refusal::Rate => "refused_by_rate",
            Refusal::Count => "refused_by_count",
            Refusal::Handshakes => "refused_handshakes",
        }
    }
}

/// Lines for the log, and whether [`Addresses::report`] is to be asked after an [`INTERVAL`].
#[derive(Default)]
pub(crate) struct Noted {
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) report_later: bool,
}

/// The counts of all addresses, for all threads.
pub(crate) struct Addresses(Mutex<Counted>);

struct Counted {
    rules: Rules,
    table: Table,
    log: Log,
}

/// What [`Config`] says of addresses.
struct Rules {
    most: usize,
    rate: usize,
    burst: usize,
    all_listeners: usize,
    site: usize,
    exempt: Networks,
}

impl Rules {
    fn of(config: &Config) -> Rules {
        Rules {
            most: config.max_connections_per_address,
            rate: config.connection_rate_per_address,
            burst: config.connection_burst_per_address,
            all_listeners: config.all_listeners_multiple.max(1),
            site: config.ipv6_site_multiple.max(1),
            // Their clients are counted, by the address that the header tells.
            exempt: config
                .exempt_addresses
                .clone()
                .with(&config.proxy_protocol.trusted),
        }
    }

    fn are_off(&self) -> bool {
        self.most == usize::MAX && self.rate == usize::MAX
    }

    fn allowance(&self, multiple: usize) -> Allowance {
        Allowance::new(
            self.most.saturating_mul(multiple),
            self.rate.saturating_mul(multiple),
            self.burst.saturating_mul(multiple),
        )
    }

    /// Where a connection counts, and how much is allowed there.
    fn places(&self, listener: u64, blocks: Blocks) -> impl Iterator<Item = (Place, Allowance)> {
        let place = |scope, block, multiple: usize| {
            let place = Place { scope, block };
            (place, self.allowance(multiple))
        };
        let (all, site) = (self.all_listeners, self.site);
        let of_address = [
            place(listener, blocks.address, 1),
            place(ALL, blocks.address, all),
        ];
        let of_site = [
            place(listener, blocks.site, site),
            place(ALL, blocks.site, all.saturating_mul(site)),
        ];
        let has_site = blocks.site != blocks.address;
        of_address
            .into_iter()
            .chain(of_site.into_iter().filter(move |_| has_site))
    }
}

impl Addresses {
    /// Without anybody, and with the default settings.
    pub(crate) fn new() -> Arc<Addresses> {
        Arc::new(Addresses(Mutex::new(Counted {
            rules: Rules::of(&Config::default()),
            table: Table::new(),
            log: Log::new(),
        })))
    }

    /// Replaces the settings, for connections that come from now on.
    pub(crate) fn configure(&self, config: &Config) {
        lock(&self.0).rules = Rules::of(config);
    }

    /// Counts a connection that `listener` has accepted from `address`. `None`: this address is not counted.
    ///
    /// For whoever learns the address later, such as from a PROXY header: the one that accepted it must not be counted before.
    pub(crate) fn admit(
        self: &Arc<Addresses>,
        listener: u64,
        address: IpAddr,
        now: u64,
    ) -> Result<Option<Visit>, Refusal> {
        let counted = &mut *lock(&self.0);
        let (rules, table) = (&counted.rules, &mut counted.table);
        if rules.are_off() || rules.exempt.contains(address) {
            return Ok(None);
        }
        let blocks = Blocks::of(address);
        for (place, allowance) in rules.places(listener, blocks) {
            table.check(place, &allowance, now)?;
        }
        let mut slots = [Slot::NONE; PLACES];
        for (slot, (place, allowance)) in slots.iter_mut().zip(rules.places(listener, blocks)) {
            *slot = table.enter(place, &allowance, now);
        }
        Ok(Some(Visit {
            addresses: Arc::clone(self),
            slots,
        }))
    }

    /// What the log is to hear of a connection that was refused. Nobody is to be banned from an address that is exempt.
    pub(crate) fn refused(&self, refusal: Refusal, address: IpAddr, now: u64) -> Noted {
        spans::refused(address, refusal.counter());
        let counted = &mut *lock(&self.0);
        let why = counted.rules.why(refusal);
        let named = !counted.rules.exempt.contains(address);
        counted.log.refused(refusal, address, named, &why, now)
    }

    /// What the log is to hear of a stranger whose connection has failed: each is told, and in the form that a ban may follow from
    /// once in an interval.
    pub(crate) fn failed(&self, address: IpAddr, what: &str, now: u64) -> Noted {
        lock(&self.0).log.failed(address, what, now)
    }

    /// Whether connections from there are not counted. Nobody is to be banned from there either.
    pub(crate) fn exempts(&self, address: IpAddr) -> bool {
        lock(&self.0).rules.exempt.contains(address)
    }

    /// An interval is over: what the log is to hear of it.
    pub(crate) fn report(&self, now: u64) -> Noted {
        let counted = &mut *lock(&self.0);
        let rules = &counted.rules;
        counted.log.report(|refusal| rules.why(refusal), now)
    }
}

impl Rules {
    /// What was too much, and which setting says so.
    fn why(&self, refusal: Refusal) -> String {
        match refusal {
            Refusal::Rate => format!(
                "more than {} new connections a second (connection_rate_per_address, connection_burst_per_address)",
                self.rate
            ),
            Refusal::Count => format!(
                "more than {} connections at a time (max_connections_per_address)",
                self.most
            ),
            Refusal::Handshakes => {
                "too many TLS handshakes are waiting (max_waiting_handshakes)".to_owned()
            }
        }
    }
}

/// One connection, where it is counted. Dropping it makes room.
pub(crate) struct Visit {
    addresses: Arc<Addresses>,
    slots: [Slot; PLACES],
}

impl Drop for Visit {
    fn drop(&mut self) {
        let now = clock::now();
        let counted = &mut *lock(&self.addresses.0);
        for slot in self.slots {
            counted.table.leave(slot, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn addresses(change: impl FnOnce(&mut Config)) -> Arc<Addresses> {
        let mut config = Config::default();
        change(&mut config);
        let addresses = Addresses::new();
        addresses.configure(&config);
        addresses
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `tries` connections get in, and stay.
    fn admitted(
        addresses: &Arc<Addresses>,
        listener: u64,
        from: impl Fn(u32) -> IpAddr,
        tries: u32,
        now: u64,
    ) -> Vec<Visit> {
        let visits = (0..tries).filter_map(|n| addresses.admit(listener, from(n), now).ok());
        visits.flatten().collect()
    }

    #[test]
    fn an_address_has_its_share_of_each_listener_and_of_all() {
        let addresses = addresses(|config| {
            config.max_connections_per_address = 3;
            config.all_listeners_multiple = 2;
        });
        let from = |_| ip("192.0.2.1");
        let mut first = admitted(&addresses, 1, from, 10, 0);
        assert_eq!(first.len(), 3);
        let second = admitted(&addresses, 2, from, 2, 0);
        let third = admitted(&addresses, 3, from, 10, 0);
        assert_eq!((second.len(), third.len()), (2, 1), "six in all");
        assert_eq!(admitted(&addresses, 1, |_| ip("192.0.2.2"), 9, 0).len(), 3);
        first.pop();
        assert_eq!(admitted(&addresses, 1, from, 10, 0).len(), 1);
    }

    #[test]
    fn connections_come_at_once_up_to_the_burst_and_then_at_the_rate() {
        let addresses = addresses(|config| {
            config.connection_rate_per_address = 10;
            config.connection_burst_per_address = 5;
        });
        // Whoever leaves does so by the real clock.
        let later = clock::now() + 3600 * SECOND;
        let count = |after| admitted(&addresses, 1, |_| ip("192.0.2.1"), 100, later + after).len();
        assert_eq!(count(0), 5);
        assert_eq!(count(0), 0);
        assert_eq!(count(SECOND / 10), 1);
        assert_eq!(count(3 * SECOND / 10), 2);
        assert_eq!(count(10 * SECOND), 5, "and no more after a pause");
        let refused = addresses.admit(1, ip("192.0.2.1"), later + 10 * SECOND);
        assert_eq!(refused.err(), Some(Refusal::Rate));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address_and_one_of_48_has_a_multiple() {
        let addresses = addresses(|config| {
            config.max_connections_per_address = 2;
            config.ipv6_site_multiple = 3;
        });
        let host = |n: u32| ip(&format!("2001:db8:1:1::{n:x}"));
        let held = admitted(&addresses, 1, host, 10, 0);
        assert_eq!(held.len(), 2);
        let network = |n: u32| ip(&format!("2001:db8:1:{:x}::1", n + 2));
        let others = admitted(&addresses, 1, network, 10, 0);
        assert_eq!(others.len(), 4, "six of the site");
        let elsewhere = |n: u32| ip(&format!("2001:db8:2:{n:x}::1"));
        assert_eq!(admitted(&addresses, 1, elsewhere, 10, 0).len(), 6);
    }

    #[test]
    fn whoever_is_exempt_is_not_counted() {
        let addresses = addresses(|config| config.max_connections_per_address = 1);
        for exempt in ["127.0.0.1", "::1", "10.1.1.1", "fd00::1"] {
            for _ in 0..5 {
                let visit = addresses.admit(1, ip(exempt), 0);
                assert!(matches!(visit, Ok(None)), "{exempt}");
            }
        }
        addresses.configure(&Config {
            max_connections_per_address: 1,
            exempt_addresses: Networks::named(["192.0.2.0/24"]).unwrap(),
            ..Config::default()
        });
        let _one = addresses.admit(1, ip("127.0.0.1"), 0).unwrap().unwrap();
        let two = addresses.admit(1, ip("127.0.0.1"), 0);
        assert_eq!(two.err(), Some(Refusal::Count));
        assert!(matches!(addresses.admit(1, ip("192.0.2.1"), 0), Ok(None)));
    }

    /// Nobody can make the table grow by leaving again, from however many addresses they come.
    #[test]
    fn what_is_remembered_of_those_who_left_has_a_bound() {
        let addresses = addresses(|_| {});
        for n in 0..200_000u32 {
            let address = ip(&format!("2001:db8:{:x}:{:x}::1", n >> 16, n & 0xffff));
            drop(addresses.admit(1, address, 0));
        }
        let counted = lock(&addresses.0);
        assert!(
            counted.table.len() <= table::MOST_IDLE,
            "{}",
            counted.table.len()
        );
    }
}
