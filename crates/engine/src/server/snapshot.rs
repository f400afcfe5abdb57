//! What a server can tell of itself: counters, gauges, connections.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::ServerHandle;
use super::mailbox::Request;
use crate::connection_info::ConnectionInfo;
use crate::gauges::Gauges;
use crate::listener_info::ListenerInfo;
use crate::stage::StageCounts;
use crate::stats::Stats;
use crate::sync::lock;
use crate::tallies::Tallies;

/// What a [`Server`](super::Server) can tell of itself at one moment: see [`ServerHandle::snapshot`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// What the thread that accepts has counted: who was accepted, turned away and refused.
    pub accepting: Stats,
    /// What each of the threads has counted that serve connections, by their numbers.
    pub threads: Vec<Stats>,
    /// What these threads have counted by kind.
    pub tallies: Tallies,
    /// What is known of each listener.
    pub listeners: Vec<ListenerInfo>,
    /// What is in use.
    pub gauges: Gauges,
    /// How many connections there are in each stage, in the order of [`Stage::ALL`](crate::Stage::ALL).
    pub stages: StageCounts,
    /// What is known of every connection, in no particular order.
    pub connections: Vec<ConnectionInfo>,
}

impl Snapshot {
    /// What all threads have counted together.
    pub fn stats(&self) -> Stats {
        let mut sum = self.accepting;
        for of_thread in &self.threads {
            sum += *of_thread;
        }
        sum
    }
}

/// What one thread answers.
struct Part {
    thread: usize,
    stats: Stats,
    tallies: Tallies,
    gauges: Gauges,
    stages: StageCounts,
    connections: Vec<ConnectionInfo>,
}

impl ServerHandle {
    /// Asks all threads what they have counted and what they serve. It looks at every connection, so it is for once in a while.
    ///
    /// `None` if the server does not run, or if a thread has not answered `within` this time. No thread of this server may
    /// ask: it would wait for itself.
    pub fn snapshot(&self, within: Duration) -> Option<Snapshot> {
        let begun = Instant::now();
        let mailboxes = lock(&self.shared.mailboxes).clone();
        let (tell, told) = mpsc::channel();
        for mailbox in &mailboxes {
            let tell = tell.clone();
            let task = Request::Run(Box::new(move |thread| {
                let reactor = &thread.worker.reactor;
                let part = Part {
                    thread: thread.index(),
                    stats: reactor.stats(),
                    tallies: reactor.tallies(),
                    gauges: reactor.gauges(),
                    stages: reactor.stages(),
                    connections: reactor.connections(),
                };
                // Whoever asked may have waited for long enough.
                let _ = tell.send(part);
            }));
            mailbox.post(task).ok()?;
        }
        drop(tell);
        let mut parts = Vec::new();
        while parts.len() < mailboxes.len() {
            let left = within.saturating_sub(begun.elapsed());
            parts.push(told.recv_timeout(left).ok()?);
        }
        parts.sort_by_key(|part: &Part| part.thread);
        let mut parts = parts.into_iter();
        let first = parts.next()?;
        let mut all = Snapshot {
            threads: vec![first.stats],
            tallies: first.tallies,
            gauges: first.gauges,
            stages: first.stages,
            connections: first.connections,
            ..Snapshot::default()
        };
        for part in parts {
            all.threads.push(part.stats);
            all.tallies += &part.tallies;
            all.gauges.add_thread(&part.gauges);
            for (sum, count) in all.stages.iter_mut().zip(part.stages) {
                *sum += count;
            }
            all.connections.extend(part.connections);
        }
        let accepting = self.shared.stop.accepting();
        all.listeners = accepting.listeners();
        all.accepting = accepting.stats;
        // Places are dealt out where connections are accepted.
        all.gauges.places = accepting.places.map_or(0, |places| places.taken() as u64);
        all.gauges.places_allowed = accepting.most as u64;
        Some(all)
    }
}
