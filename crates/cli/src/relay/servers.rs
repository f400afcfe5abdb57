//! The servers behind a relay: their addresses, whether they answer, and whose turn it is.
//!
//! A client gets one address after the other to try: of the server whose turn it is first, then of the others; those that
//! have failed lately last. Names are looked up on threads of their own, for that may take its time.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use trochee::Name;

use super::addresses::Target;
use super::log::Log;
use super::options::Balance;

/// A name of which no address answers is looked up again no more often than that, however many clients wait for it.
const LOOK_UP_INTERVAL: Duration = Duration::from_secs(1);

/// The servers behind one relay.
pub struct Servers {
    servers: Vec<Server>,
    balance: Balance,
    /// For how long an address that failed comes last.
    fail_timeout: Duration,
    /// How many clients came, for round robin.
    turn: AtomicUsize,
    log: Arc<Log>,
}

struct Server {
    target: Target,
    /// Connections that are open or begun.
    connections: Arc<AtomicUsize>,
    addresses: Mutex<Addresses>,
}

/// Where a server is, as far as is known.
#[derive(Default)]
struct Addresses {
    /// In the order in which they are tried.
    known: Vec<Address>,
    looking_up: bool,
    looked_up: Option<Instant>,
}

struct Address {
    name: Name,
    /// After a failure: until when it comes last.
    down_until: Option<Instant>,
}

/// What one client has tried.
#[derive(Default)]
pub struct Attempts {
    /// Its number among the clients, from the first attempt on.
    turn: Option<usize>,
    tried: Vec<(usize, Name)>,
    /// All had failed, and it has waited for names to be looked up.
    looked_up: bool,
}

/// What a client is to do next.
pub enum Next {
    Try(Candidate),
    /// A name is being looked up.
    Wait,
    /// All have failed.
    Nobody,
}

/// An address to try, and the place of the connection to it among those of its server.
pub struct Candidate {
    pub name: Name,
    server: usize,
    _place: Place,
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Servers {
    /// Begins to look up names at once.
    pub fn new(
        targets: Vec<Target>,
        balance: Balance,
        fail_timeout: Duration,
        log: Arc<Log>,
    ) -> Arc<Servers> {
        let servers = targets.into_iter().map(Server::new).collect();
        let servers = Arc::new(Servers {
            servers,
            balance,
            fail_timeout,
            turn: AtomicUsize::new(0),
            log,
        });
        servers.look_up_all();
        servers
    }

    /// Looks all names up anew. Whose look-up fails keeps the addresses that it had.
    pub fn look_up_all(self: &Arc<Servers>) {
        for index in 0..self.servers.len() {
            self.look_up(index);
        }
    }

    /// The next address for a client that has made these attempts.
    pub fn next(self: &Arc<Servers>, attempts: &mut Attempts) -> Next {
        let now = Instant::now();
        let turn = *attempts.turn.get_or_insert_with(|| {
            // The others may do without that server for long.
            self.look_up_lost(now, self.fail_timeout.max(LOOK_UP_INTERVAL));
            self.turn.fetch_add(1, Ordering::Relaxed)
        });
        for down in [false, true] {
            for index in self.order(turn, attempts, down, now) {
                // Somebody else may have taken it meanwhile: see `Addresses::take`.
                let Some(name) = self.servers[index].addresses().take(
                    |name| !attempts.has_tried(index, name),
                    down,
                    now,
                    self.fail_timeout,
                ) else {
                    continue;
                };
                attempts.tried.push((index, name.clone()));
                let connections = &self.servers[index].connections;
                connections.fetch_add(1, Ordering::Relaxed);
                return Next::Try(Candidate {
                    name,
                    server: index,
                    _place: Place(Arc::clone(connections)),
                });
            }
        }
        self.look_up_lost(now, LOOK_UP_INTERVAL);
        let mut names = self.servers.iter().filter(|server| server.has_name());
        let waits = if std::mem::replace(&mut attempts.looked_up, true) {
            names.any(|server| server.addresses().looking_up)
        } else {
            // What was just begun may be done already, and its outcome is for the next call.
            names.next().is_some()
        };
        if waits { Next::Wait } else { Next::Nobody }
    }

    /// The servers with an address that is yet to be tried, those that are down or the others, in the order of this turn.
    fn order(&self, turn: usize, attempts: &Attempts, down: bool, now: Instant) -> Vec<usize> {
        let has_one = |index: &usize| {
            let addresses = self.servers[*index].addresses();
            let mut known = addresses.known.iter();
            known.any(|one| one.is_down(now) == down && !attempts.has_tried(*index, &one.name))
        };
        let mut order: Vec<usize> = (0..self.servers.len()).filter(has_one).collect();
        if !order.is_empty() {
            let first = turn % order.len();
            order.rotate_left(first);
        }
        if self.balance == Balance::LeastConnections {
            // Those that have as many stay in the order of their turn.
            order.sort_by_key(|&index| self.servers[index].connections.load(Ordering::Relaxed));
        }
        order
    }

    /// Looks up the names of which no address answers, unless that was within `interval`.
    fn look_up_lost(self: &Arc<Servers>, now: Instant, interval: Duration) {
        for (index, server) in self.servers.iter().enumerate() {
            let addresses = server.addresses();
            let lately = addresses
                .looked_up
                .is_some_and(|at| now.saturating_duration_since(at) < interval);
            let lost = addresses.known.iter().all(|address| address.is_down(now));
            drop(addresses);
            if lost && !lately {
                self.look_up(index);
            }
        }
    }

    /// That address does not answer.
    pub fn failed(&self, candidate: &Candidate) {
        let mut addresses = self.servers[candidate.server].addresses();
        if let Some(address) = addresses.find(&candidate.name) {
            address.down_until = Some(Instant::now() + self.fail_timeout);
        }
    }

    /// That address does.
    pub fn answered(&self, candidate: &Candidate) {
        let mut addresses = self.servers[candidate.server].addresses();
        let was_down = addresses
            .find(&candidate.name)
            .and_then(|address| address.down_until.take());
        drop(addresses);
        if was_down.is_some() {
            self.log.say(&format!(
                "to {}: it answers again",
                self.describe(candidate)
            ));
        }
    }

    /// In words: the name that the operator gave, and its address.
    pub fn describe(&self, candidate: &Candidate) -> String {
        match &self.servers[candidate.server].target {
            Target::Name(..) => format!(
                "{} ({})",
                self.servers[candidate.server].target, candidate.name
            ),
            Target::Address(_) | Target::Unix(_) => candidate.name.to_string(),
        }
    }

    fn look_up(self: &Arc<Servers>, index: usize) {
        let server = &self.servers[index];
        let Target::Name(host, port) = &server.target else {
            return;
        };
        if std::mem::replace(&mut server.addresses().looking_up, true) {
            return;
        }
        let (servers, place) = (Arc::clone(self), (host.clone(), *port));
        let begun = thread::Builder::new()
            .name("look-up".to_owned())
            .spawn(move || {
                let found = place.to_socket_addrs().map(Iterator::collect);
                servers.found(index, found);
            });
        if let Err(error) = begun {
            self.found(index, Err(error));
        }
    }

    fn found(&self, index: usize, found: io::Result<Vec<SocketAddr>>) {
        let server = &self.servers[index];
        let target = &server.target;
        let mut addresses = server.addresses();
        addresses.looking_up = false;
        addresses.looked_up = Some(Instant::now());
        let names: Vec<Name> = match found {
            Ok(found) => interleaved(found).into_iter().map(Name::Inet).collect(),
            Err(error) => {
                let rest = if addresses.known.is_empty() {
                    "there is no address for clients yet"
                } else {
                    "the addresses known so far stay"
                };
                drop(addresses);
                return self.log.tell(&format!(
                    "to {target}: cannot be looked up: {error}; {rest}"
                ));
            }
        };
        if addresses.known.iter().map(|known| &known.name).eq(&names) {
            return;
        }
        let text: Vec<String> = names.iter().map(Name::to_string).collect();
        // Where one of them is down it stays so.
        addresses.known = names
            .into_iter()
            .map(|name| Address {
                down_until: addresses.find(&name).and_then(|known| known.down_until),
                name,
            })
            .collect();
        drop(addresses);
        self.log
            .say(&format!("to {target}: looked up: {}", text.join(", ")));
    }
}

impl Server {
    fn new(target: Target) -> Server {
        let name = match &target {
            Target::Address(address) => Some(Name::Inet(*address)),
            Target::Unix(path) => Some(Name::Unix(path.clone())),
            Target::Name(..) => None,
        };
        let known = name.into_iter().map(|name| Address {
            name,
            down_until: None,
        });
        let addresses = Addresses {
            known: known.collect(),
            ..Addresses::default()
        };
        Server {
            target,
            connections: Arc::default(),
            addresses: Mutex::new(addresses),
        }
    }

    fn has_name(&self) -> bool {
        matches!(self.target, Target::Name(..))
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempts {
    /// Whether there was nothing to try.
    pub fn is_empty(&self) -> bool {
        self.tried.is_empty()
    }

    fn has_tried(&self, server: usize, name: &Name) -> bool {
        let mut tried = self.tried.iter();
        tried.any(|(other, tried)| *other == server && tried == name)
    }
}

impl Address {
    fn is_down(&self, now: Instant) -> bool {
        self.down_until.is_some_and(|until| now < until)
    }
}

impl Addresses {
    /// The first address that is wanted, among those that are down or among the others.
    fn take(
        &mut self,
        wanted: impl Fn(&Name) -> bool,
        down: bool,
        now: Instant,
        fail_timeout: Duration,
    ) -> Option<Name> {
        let mut known = self.known.iter_mut();
        let address = known.find(|one| one.is_down(now) == down && wanted(&one.name))?;
        if address.down_until.is_some() && !down {
            // One client finds out whether it is back, and the others do not wait for that.
            address.down_until = Some(now + fail_timeout);
        }
        Some(address.name.clone())
    }

    fn find(&mut self, name: &Name) -> Option<&mut Address> {
        self.known.iter_mut().find(|address| address.name == *name)
    }
}

/// IPv6 and IPv4 in turn, beginning with whichever the system puts first: RFC 8305, section 4. If one of the two does not
/// work here, the second attempt does.
fn interleaved(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = found.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [one.next(), other.next()];
        if pair == [None, None] {
            // The system gives an address for each kind of socket that it may be for.
            all.dedup();
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests;
