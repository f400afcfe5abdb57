//! Which connections and addresses are worth a look, of thousands.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::connection_info::ConnectionInfo;
use crate::registry::Key;
use crate::stage::Stage;

/// What [`Meter::look`] has found.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Overview {
    /// The connections that are worth a look, the busiest first.
    pub connections: Vec<Metered>,
    /// How many there are in all.
    pub connection_count: usize,
    /// The addresses that have the most connections to us, the first ones of them.
    pub addresses: Vec<AddressInfo>,
    /// How many there are in all.
    pub address_count: usize,
}

/// A connection, and how busy it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metered {
    /// What is known of it.
    pub info: ConnectionInfo,
    /// Bytes a second in both directions, since the last look, or since it began.
    pub rate: f64,
}

/// What the connections from one address have in common.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AddressInfo {
    /// The address.
    pub address: IpAddr,
    /// How many connections it has.
    pub connections: usize,
    /// How many of these are not established.
    pub newcomers: usize,
    /// How long ago the last one began.
    pub newest: Duration,
    /// Bytes that have come through them.
    pub received: u64,
    /// Bytes a second in both directions, as of its connections.
    pub rate: f64,
}

/// Finds out which connections are busy: it remembers how much each had moved when it looked last.
#[derive(Debug, Default)]
pub struct Meter {
    moved: HashMap<Key, u64>,
    looked: Option<Instant>,
}

impl Meter {
    /// Looks at all connections, such as [`Reactor::connections`](crate::Reactor::connections) gives them. Of these it gives the `most`
    /// busiest, the `most` for which most is queued, and the `most` that are furthest away, each once; and as many addresses.
    pub fn look(&mut self, connections: Vec<ConnectionInfo>, most: usize) -> Overview {
        let now = Instant::now();
        let since = self.looked.map(|at| now.duration_since(at));
        let mut moved = HashMap::with_capacity(connections.len());
        let metered: Vec<Metered> = connections
            .into_iter()
            .map(|info| {
                let sum = info.received + info.sent;
                moved.insert(info.key, sum);
                let before = self.moved.get(&info.key).copied();
                let time = match (before, since) {
                    (Some(_), Some(since)) => since,
                    _ => info.age,
                };
                let bytes = sum.saturating_sub(before.unwrap_or(0));
                // Of what has just begun nothing can be told yet.
                let rate = bytes as f64 / time.as_secs_f64().max(0.1);
                Metered { info, rate }
            })
            .collect();
        self.moved = moved;
        self.looked = Some(now);
        let (addresses, address_count) = by_address(&metered, most);
        Overview {
            connection_count: metered.len(),
            connections: worth_a_look(metered, most),
            addresses,
            address_count,
        }
    }
}

/// The first ones of each of three orders, by their rate.
fn worth_a_look(mut all: Vec<Metered>, most: usize) -> Vec<Metered> {
    let round_trip = |one: &Metered| one.info.tcp.map_or(Duration::ZERO, |tcp| tcp.round_trip);
    let mut found = take_first(&mut all, most, |one| bits(one.rate));
    found.extend(take_first(&mut all, most, |one| one.info.queued as u64));
    found.extend(take_first(&mut all, most, |one| {
        u64::try_from(round_trip(one).as_nanos()).unwrap_or(u64::MAX)
    }));
    found.sort_by_key(|one| Reverse(bits(one.rate)));
    found
}

/// Takes those out of which `size` gives the largest numbers above zero.
fn take_first(all: &mut Vec<Metered>, most: usize, size: impl Fn(&Metered) -> u64) -> Vec<Metered> {
    all.sort_by_key(|one| Reverse(size(one)));
    let count = all
        .iter()
        .take(most)
        .take_while(|one| size(one) > 0)
        .count();
    all.drain(..count).collect()
}

/// Rates in order: those of floats that are not negative compare as their bits do.
fn bits(rate: f64) -> u64 {
    rate.to_bits()
}

fn by_address(all: &[Metered], most: usize) -> (Vec<AddressInfo>, usize) {
    let mut found: HashMap<IpAddr, AddressInfo> = HashMap::new();
    for Metered { info, rate } in all {
        let Some(peer) = info.peer.filter(|_| info.is_accepted) else {
            continue;
        };
        let address = found.entry(peer.ip()).or_insert_with(|| AddressInfo {
            address: peer.ip(),
            connections: 0,
            newcomers: 0,
            newest: Duration::MAX,
            received: 0,
            rate: 0.0,
        });
        address.connections += 1;
        address.newcomers += usize::from(info.stage < Stage::Established);
        address.newest = address.newest.min(info.age);
        address.received += info.received;
        address.rate += rate;
    }
    let count = found.len();
    let mut addresses: Vec<AddressInfo> = found.into_values().collect();
    addresses.sort_by_key(|found| (Reverse(found.connections), found.address));
    addresses.truncate(most);
    (addresses, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(number: u64, peer: &str) -> ConnectionInfo {
        ConnectionInfo {
            key: Key::from_bits(number),
            stage: Stage::Opened,
            peer: peer.parse().ok(),
            is_accepted: true,
            tls: None,
            age: Duration::from_secs(number),
            idle: Duration::ZERO,
            reads: 1,
            received: 0,
            sent: 0,
            queued: 0,
            tcp: None,
        }
    }

    fn numbers(overview: &Overview) -> Vec<u64> {
        let connections = overview.connections.iter();
        connections.map(|one| one.info.key.to_bits()).collect()
    }

    #[test]
    fn the_busiest_since_the_last_look_come_first_and_those_with_a_queue_are_there() {
        let mut all: Vec<_> = (1..=9).map(|number| info(number, "192.0.2.1:1")).collect();
        all[0].received = 1_000_000;
        let mut meter = Meter::default();
        let first = meter.look(all.clone(), 1);
        assert_eq!(numbers(&first), [1]);
        assert_eq!(first.connections[0].rate, 1_000_000.0);
        // What moved before is not counted again.
        all[4].sent = 500;
        all[7].queued = 100;
        let second = meter.look(all, 1);
        assert_eq!(numbers(&second), [5, 8]);
        assert!(second.connections[0].rate > 0.0 && second.connections[1].rate == 0.0);
        assert_eq!(second.connection_count, 9);
    }

    #[test]
    fn addresses_are_counted() {
        let mut all = vec![
            info(1, "192.0.2.1:1"),
            info(2, "192.0.2.2:1"),
            info(3, "192.0.2.2:2"),
            info(4, "192.0.2.3:1"),
        ];
        all[2].stage = Stage::Established;
        all[2].received = 7;
        // One that we have begun is nobody's who comes to us.
        all[3].is_accepted = false;
        let overview = Meter::default().look(all, 1);
        assert_eq!(overview.address_count, 2);
        let [found] = &*overview.addresses else {
            panic!("{overview:?}");
        };
        assert_eq!(found.address.to_string(), "192.0.2.2");
        assert_eq!((found.connections, found.newcomers), (2, 1));
        assert_eq!((found.newest, found.received), (Duration::from_secs(2), 7));
    }
}
