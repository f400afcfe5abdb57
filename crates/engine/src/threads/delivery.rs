//! Events of connections that threads serve, from what the threads report.

use super::messages::{Accepted, Report};
use super::remote::{Phase, Remote};
use super::{Owed, Threads};
use crate::clock;
use crate::command::Command;
use crate::event::{Chunk, Event};
use crate::reactor::{Reactor, Step};
use crate::registry::Key;

impl Threads {
    /// One report, if there is one. Of some no event comes.
    pub(super) fn deliver(&mut self, local: &mut Reactor) -> Option<Step> {
        if let Some(key) = self.unheld.pop_front() {
            return self.deliver_held(local, key);
        }
        let (thread, report) = self.reports.next(&mut self.threads)?;
        self.work.reports += 1;
        match report {
            Report::Data { key, len, end } => {
                // Also where nobody wants them: the next report's are behind them.
                let bytes = self.reports.bytes(&mut self.threads, thread, len);
                local.read_buffer()[..bytes.len()].copy_from_slice(bytes);
                self.data(thread, key, len, end, local)
            }
            Report::Accepted {
                listener,
                key,
                accepted,
            } => self.accepted(thread, listener, key, *accepted),
            Report::Connected { key, local } => {
                let remote = self.remote_mut(key).filter(|remote| !remote.is_closing())?;
                (remote.phase, remote.local) = (Phase::Open, local);
                remote.told = clock::now();
                // Whoever has nothing queued is told as well that there is room; the thread knows.
                remote.notify = true;
                self.queue_flush(key);
                Some(Step::Event(Event::Connected { key }))
            }
            Report::Secured { key, facts } => {
                self.work.count_handshake();
                let remote = self.remote_mut(key).filter(|remote| !remote.is_closing())?;
                remote.told = clock::now();
                let tls = remote.tls.as_mut()?;
                (tls.secured, tls.facts) = (true, facts);
                Some(Step::Event(Event::Secured { key }))
            }
            Report::Event(Event::Closed { key, reason, info }) => {
                let Some(remote) = self.remote_mut(key) else {
                    // The loop has let go of it before.
                    self.let_go(local, thread, key);
                    return None;
                };
                if let Some(held) = &mut remote.held {
                    held.closed = Some((reason, info));
                    return None;
                }
                self.forget(local, key);
                Some(Step::Event(Event::Closed { key, reason, info }))
            }
            Report::Event(event) => self.event(event).map(Step::Event),
            Report::Died => {
                self.replace(local, thread);
                None
            }
        }
    }

    fn accepted(
        &mut self,
        thread: usize,
        listener: Key,
        key: Key,
        accepted: Accepted,
    ) -> Option<Step> {
        if !self.is_lent(listener) {
            // It was closed meanwhile.
            self.tell(thread, key, Command::Destroy);
            return None;
        }
        self.insert(key, Remote::new(thread, Phase::Open, accepted));
        self.owe(thread, key, false);
        Some(Step::Event(Event::Accepted { listener, key }))
    }

    /// Data of a connection, which are in the loop's read buffer.
    pub(super) fn data(
        &mut self,
        thread: usize,
        key: Key,
        len: usize,
        end: Chunk,
        local: &mut Reactor,
    ) -> Option<Step> {
        let buffer = &local.read_buffer()[..len];
        let remote = self.remote_mut(key).filter(|remote| !remote.is_closing())?;
        remote.received += len as u64;
        if !remote.is_secured() {
            // The thread had read it before it heard that TLS was to begin; to the peer, it may have begun by then.
            let bytes = buffer.to_vec();
            self.give_back(key, bytes);
            return None;
        }
        if remote.paused || remote.held.is_some() {
            remote.held.get_or_insert_default().data = Some((buffer.to_vec(), end));
            return None;
        }
        self.owe(thread, key, false);
        Some(Step::Data { key, len, end })
    }

    /// What came while the connection was paused, now that it is not.
    fn deliver_held(&mut self, local: &mut Reactor, key: Key) -> Option<Step> {
        let remote = self.remote_mut(key).filter(|remote| !remote.paused)?;
        let thread = remote.thread;
        let mut held = remote.held.take()?;
        let step = if let Some((data, end)) = held.data.take() {
            let len = data.len();
            local.read_buffer()[..len].copy_from_slice(&data);
            Step::Data { key, len, end }
        } else if std::mem::take(&mut held.ended) {
            Step::Event(Event::Ended { key })
        } else {
            let (reason, info) = held.closed?;
            self.forget(local, key);
            return Some(Step::Event(Event::Closed { key, reason, info }));
        };
        if held.ended || held.closed.is_some() {
            remote.held = Some(held);
            self.unheld.push_back(key);
        }
        if matches!(step, Step::Data { .. }) {
            self.owe(thread, key, false);
        }
        Some(step)
    }

    /// An event that goes on to the consumer as it is, if nothing is in its way.
    fn event(&mut self, event: Event<'static>) -> Option<Event<'static>> {
        let Some(key) = event.key() else {
            return Some(event);
        };
        let remote = self.remote_mut(key).filter(|remote| !remote.is_closing())?;
        let (thread, paused) = (remote.thread, remote.paused);
        match event {
            Event::Ended { .. } => {
                if let Some(held) = &mut remote.held {
                    held.ended = true;
                    return None;
                }
            }
            Event::ClientHello { .. } => {
                remote.tls.as_mut()?.asked = true;
                self.owe(thread, key, false);
            }
            Event::ReadTimeout { .. } => {
                let told = remote.told;
                self.owe(thread, key, false);
                // The news was on its way for as long as the consumer was busy, and the peer may have spoken since.
                let silent = move |reactor: &mut Reactor, key| reactor.is_silent(key, told);
                if paused || self.ask(key, silent) == Some(false) {
                    return None;
                }
            }
            Event::Drain { .. } => {
                let drained = remote.pending() == 0;
                remote.notify = !drained;
                // Where more was written meanwhile the thread tells again.
                remote.untold |= !drained;
                self.owe(thread, key, true);
                if !drained {
                    self.queue_flush(key);
                    return None;
                }
            }
            _ => {}
        }
        Some(event)
    }

    fn owe(&mut self, thread: usize, key: Key, drain: bool) {
        self.settle();
        self.owed = Some(Owed { thread, key, drain });
    }
}
