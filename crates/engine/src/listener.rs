//! Accepting: in batches, with a reserved descriptor for the moment when there are none left.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::addresses::{Addresses, Refusal, Visit};
use crate::clock::{self, LastNotice};
use crate::config::{Config, ReadSize};
use crate::listener_info::ListenerInfo;
use crate::name::Name;
use crate::registered::Registered;
use crate::registry::Key;
use crate::socket;
use crate::spans;
use crate::stage::Authentication;
use crate::timers::TimerId;

/// Connections that one listener hands out per turn, so that a burst of connects does not silence those who are in.
pub(crate) const BATCH: usize = 64;

/// How many peers that gave up while they waited one attempt passes over, and interruptions.
const ATTEMPTS: usize = 16;

/// How long a listener rests that a descriptor more would not help.
const REST: Duration = Duration::from_secs(1);

pub(crate) struct Listener {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) read_size: ReadSize,
    /// A UNIX socket, whose connections take no place of [`Config::max_connections`](crate::Config).
    pub(crate) is_local: bool,
    /// What its connections begin with; and how many of them are newcomers.
    pub(crate) authentication: Authentication,
    pub(crate) newcomers: usize,
    /// It had as many newcomers as it may have, and has not yet come down to half of them.
    pub(crate) crowded: bool,
    pub(crate) paused: bool,
    /// Somebody else bound it and may use it again: it is closed here, and not shut down for all.
    pub(crate) adopted: bool,
    /// Resting after a refusal of the system; the timer ends the rest.
    pub(crate) resting: Option<TimerId>,
    /// Since when it does not listen any more, and whether that was told.
    shut: Option<(u64, bool)>,
    pub(crate) registered: Registered,
    /// Connections that it may still accept in this turn.
    pub(crate) budget: usize,
    /// What [`ListenerInfo`] tells.
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) open: u64,
}

/// What an attempt to accept found.
pub(crate) enum Accept {
    /// With where it is counted, if it is.
    Connection(OwnedFd, Option<SocketAddr>, Option<Visit>),
    /// Its address has too many. It is gone.
    Unwelcome(SocketAddr, Refusal),
    /// Nobody waits.
    Nothing,
    /// No descriptor is left, and the caller has some to give up.
    MakeRoom,
    /// No descriptor was left: the peer was turned away.
    TurnedAway(Option<SocketAddr>),
    /// The system refuses, and trying again at once would not help: the listener has to rest.
    Refused(Errno),
}

impl Listener {
    pub(crate) fn new(fd: Arc<OwnedFd>, read_size: ReadSize) -> Listener {
        Listener {
            is_local: matches!(
                socket::local_name(&fd),
                Some(Name::Unix(_) | Name::Abstract(_))
            ),
            fd,
            read_size,
            authentication: Authentication::NotAsked,
            newcomers: 0,
            crowded: false,
            paused: false,
            adopted: false,
            resting: None,
            shut: None,
            registered: Registered::default(),
            budget: 0,
            accepted: 0,
            refused: 0,
            open: 0,
        }
    }

    /// What is known of it, under this key.
    pub(crate) fn info(&self, key: Key) -> ListenerInfo {
        ListenerInfo {
            key,
            name: socket::local_name(&self.fd),
            accepted: self.accepted,
            refused: self.refused,
            open: self.open,
        }
    }

    /// Whether it accepts, where there is room for one more connection or not.
    pub(crate) fn wants_accept(&self, config: &Config, has_room: bool) -> bool {
        !self.paused
            && self.resting.is_none()
            && (has_room || self.is_local)
            && self.newcomers < config.max_newcomers
    }

    fn try_accept(&self) -> rustix::io::Result<(OwnedFd, Option<SocketAddr>)> {
        for _ in 0..ATTEMPTS {
            match socket::accept(&self.fd) {
                // The peer gave up, or its network failed it, while it waited: accept(2) says to go on.
                Err(
                    Errno::INTR
                    | Errno::CONNABORTED
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH
                    | Errno::NOPROTOOPT
                    | Errno::OPNOTSUPP
                    | Errno::NONET,
                ) => {}
                result => return result,
            }
        }
        // The poller reports the rest again.
        Err(Errno::AGAIN)
    }
}

/// How one thread accepts, for all its listeners. One descriptor is held in reserve for the moment when there are no others.
pub(crate) struct Gate {
    reserve: Option<OwnedFd>,
    pub(crate) addresses: Arc<Addresses>,
    last_notice: LastNotice,
}

impl Gate {
    /// Without a reserve, which belongs to a process.
    pub(crate) fn new(addresses: Arc<Addresses>) -> Gate {
        Gate {
            reserve: None,
            addresses,
            last_notice: LastNotice::default(),
        }
    }

    /// Takes the reserve.
    pub(crate) fn open(&mut self) {
        use rustix::fs::{Mode, OFlags};
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        self.reserve = null.ok();
    }

    /// Accepts one connection, which is counted as one of the listener with this `number`. Where no descriptor is free,
    /// [`Accept::MakeRoom`] asks who `has_room` to give some up.
    pub(crate) fn accept(
        &mut self,
        listener: &mut Listener,
        number: u64,
        has_room: bool,
        now: u64,
    ) -> Accept {
        match listener.try_accept() {
            Ok((fd, peer)) => {
                listener.shut = None;
                if self.reserve.is_none() {
                    self.open();
                }
                match peer {
                    Some(peer) => match self.addresses.admit(number, peer.ip(), now) {
                        Ok(visit) => Accept::Connection(fd, Some(peer), visit),
                        Err(refusal) => {
                            // Unlike an orderly end, a reset leaves nothing behind in the system, whatever the peer does.
                            socket::make_abortive(&fd);
                            Accept::Unwelcome(peer, refusal)
                        }
                    },
                    None => Accept::Connection(fd, None, None),
                }
            }
            Err(Errno::AGAIN) => Accept::Nothing,
            Err(errno) if !is_shortage(errno) => Accept::Refused(errno),
            Err(_) if has_room => Accept::MakeRoom,
            Err(errno) => self.turn_away(listener, errno),
        }
    }

    /// Without a free descriptor the kernel would report the waiting peer for ever and nobody could take it: the reserve is
    /// given up for as long as it takes to accept the peer and hang up.
    fn turn_away(&mut self, listener: &Listener, errno: Errno) -> Accept {
        if self.reserve.take().is_none() {
            return Accept::Refused(errno);
        }
        // Closes the peer's descriptor, if there is one, before the reserve is taken again.
        let turned_away = socket::accept(&listener.fd).map(|(_fd, peer)| peer);
        self.open();
        match turned_away {
            Ok(peer) => Accept::TurnedAway(peer),
            Err(Errno::AGAIN) => Accept::Nothing,
            Err(errno) => Accept::Refused(errno),
        }
    }

    /// What the log is to hear of a peer that was turned away, if it is time.
    pub(crate) fn turned_away(&mut self, peer: Option<SocketAddr>, now: u64) -> Option<String> {
        spans::turned_away(peer);
        let from = peer.map_or_else(String::new, |peer| format!(" from {peer}"));
        self.last_notice
            .is_due(now)
            .then(|| exhausted(&format!("a connection{from} was turned away")))
    }

    /// How long a listener rests that the system has refused, with `retry` for a lack of descriptors, and what the log is to hear of
    /// it, if it is time.
    pub(crate) fn rests(
        &mut self,
        listener: &mut Listener,
        errno: Errno,
        retry: Duration,
        now: u64,
    ) -> (Duration, Option<String>) {
        let rest = if is_shortage(errno) {
            retry
        } else {
            retry.min(REST)
        };
        let seconds = rest.as_secs_f64();
        if errno == Errno::INVAL {
            return (rest, listener.tell_shut(seconds, now));
        }
        let text = format!(
            "accepting failed ({errno}); the listener rests until a connection ends, {seconds} s at most"
        );
        let told = self.last_notice.is_due(now).then(|| match errno {
            Errno::MFILE | Errno::NFILE => exhausted(&text),
            Errno::NOBUFS | Errno::NOMEM => {
                format!("the system has no memory for another connection: {text}")
            }
            Errno::PERM | Errno::ACCESS => {
                format!("a firewall or a sandbox forbids to accept: {text}")
            }
            _ => text,
        });
        (rest, told)
    }
}

impl Listener {
    /// EINVAL: whoever shares the socket has shut it down. If that was the loop of an I/O thread, the listener is closed in a moment. So
    /// it is told when it lasts, and once, for it may last.
    fn tell_shut(&mut self, seconds: f64, now: u64) -> Option<String> {
        let (since, told) = self.shut.get_or_insert((now, false));
        if *told || now.saturating_sub(*since) < clock::nanoseconds(REST) {
            return None;
        }
        *told = true;
        let name =
            socket::local_name(&self.fd).map_or_else(String::new, |name| format!(" on {name}"));
        Some(format!(
            "the listener{name} does not listen any more: another process that has the socket shut it down. It is tried \
             again every {seconds} s; to listen anew, close it and open it, or restart"
        ))
    }
}

/// Whether no descriptor is left, here or in the whole system.
fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE)
}

fn exhausted(what: &str) -> String {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or_else(String::new, |limit| format!(" (the limit is {limit})"));
    format!(
        "out of file descriptors{limit}: {what}. Raise the limit (LimitNOFILE in systemd, ulimit -n)."
    )
}
