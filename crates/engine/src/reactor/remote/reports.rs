//! Events of connections of I/O threads, from what the threads report.

use super::{Owed, Remote, State};
use crate::event::{Chunk, Event};
use crate::pool::{Accepted, Command, Pool, Report, Tag, What};
use crate::reactor::{Reactor, Source, Step};
use crate::registry::Key;

impl Reactor {
    /// Whether the threads have something to tell that can be told.
    pub(in crate::reactor) fn has_reports(&self) -> bool {
        !self.unheld.is_empty() || self.pool.as_ref().is_some_and(Pool::has_reports)
    }

    /// One report, if there is one, as a share of step 5.
    pub(in crate::reactor) fn next_remote(&mut self) -> Option<Step> {
        if let Some(key) = self.unheld.pop_front() {
            return self.deliver_held(key);
        }
        let (thread, Report { from, what }) = self.pool.as_mut()?.next_report()?;
        match what {
            What::Accepted { listener, accepted } => {
                return self.accepted_remote(thread, from, listener, *accepted);
            }
            What::Data { len, end } => return self.data_remote(thread, from, len, end),
            What::Notice(level, text) => self.notice(level, text.into()),
            What::Died => self.replace_thread(thread),
            what => {
                let key = self.pool.as_ref()?.key(thread, from)?;
                return self.told(key, what).map(Step::Event);
            }
        }
        None
    }

    fn accepted_remote(
        &mut self,
        thread: usize,
        tag: Tag,
        listener: Key,
        accepted: Accepted,
    ) -> Option<Step> {
        let Accepted {
            fd,
            peer,
            local,
            sent,
        } = accepted;
        if self.listener(listener).is_none() {
            // It was closed meanwhile.
            self.tell(thread, Command::Destroy(tag));
            return None;
        }
        let mut remote = Remote::new(thread, tag, sent);
        (remote.fd, remote.peer, remote.local) = (fd, peer, local);
        let key = self.sources.insert(Source::Remote(Box::new(remote)));
        if let (Tag::Thread(theirs), Some(pool)) = (tag, &mut self.pool) {
            pool.name(thread, theirs, key);
        }
        self.owe(thread, tag, false);
        Some(Step::Event(Event::Accepted { listener, key }))
    }

    fn data_remote(&mut self, thread: usize, tag: Tag, len: usize, end: Chunk) -> Option<Step> {
        let pool = self.pool.as_mut()?;
        // Also where nobody wants them: the next report's are behind them.
        let bytes = pool.bytes(thread, len);
        let len = bytes.len();
        self.read_buffer[..len].copy_from_slice(bytes);
        let key = pool.key(thread, tag)?;
        let remote = match self.sources.get_mut(key) {
            Some(Source::Remote(remote)) if remote.state != State::Closing => remote,
            _ => return None,
        };
        if !remote.is_secured() {
            // The thread had read it before it heard that TLS was to begin; to the peer, it may have begun by then.
            let bytes = self.read_buffer[..len].to_vec();
            self.give_back(key, bytes);
            return None;
        }
        if remote.paused || remote.held.is_some() {
            remote.held.get_or_insert_default().data =
                Some((self.read_buffer[..len].to_vec(), end));
            return None;
        }
        self.owe(thread, tag, false);
        Some(Step::Data { key, len, end })
    }

    /// What came while the connection was paused, now that it is not.
    fn deliver_held(&mut self, key: Key) -> Option<Step> {
        let remote = self.remote(key).filter(|remote| !remote.paused)?;
        let (thread, tag) = (remote.thread, remote.tag);
        let mut held = remote.held.take()?;
        if let Some((data, end)) = held.data.take() {
            if held.ended || held.closed.is_some() {
                remote.held = Some(held);
                self.unheld.push_back(key);
            }
            self.owe(thread, tag, false);
            let len = data.len();
            self.read_buffer[..len].copy_from_slice(&data);
            return Some(Step::Data { key, len, end });
        }
        if std::mem::take(&mut held.ended) {
            if held.closed.is_some() {
                remote.held = Some(held);
                self.unheld.push_back(key);
            }
            return Some(Step::Event(Event::Ended { key }));
        }
        let reason = held.closed?;
        self.remove_remote(key);
        Some(Step::Event(Event::Closed { key, reason }))
    }

    fn told(&mut self, key: Key, what: What) -> Option<Event<'static>> {
        let remote = self.remote(key)?;
        let closing = remote.state == State::Closing;
        match what {
            What::Closed(reason) => {
                if let Some(held) = &mut remote.held {
                    held.closed = Some(reason);
                    return None;
                }
                self.remove_remote(key);
                Some(Event::Closed { key, reason })
            }
            _ if closing => None,
            What::Ended => match &mut remote.held {
                Some(held) => {
                    held.ended = true;
                    None
                }
                None => Some(Event::Ended { key }),
            },
            What::Connected { local } => {
                (remote.state, remote.local) = (State::Open, local);
                // Whoever has nothing queued is told as well that there is room; the thread knows.
                remote.notify = true;
                self.queue_flush(key);
                Some(Event::Connected { key })
            }
            What::ClientHello(asked) => {
                let (server_name, alpn) = *asked;
                remote.tls.as_mut()?.asked = true;
                Some(Event::ClientHello {
                    key,
                    server_name,
                    alpn,
                })
            }
            What::Secured(facts) => {
                let tls = remote.tls.as_mut()?;
                (tls.secured, tls.facts) = (true, facts);
                Some(Event::Secured { key })
            }
            What::ReadTimeout => {
                let (thread, tag, paused) = (remote.thread, remote.tag, remote.paused);
                self.owe(thread, tag, false);
                (!paused).then_some(Event::ReadTimeout { key })
            }
            What::Drain => {
                let (thread, tag) = (remote.thread, remote.tag);
                let drained = remote.pending() == 0;
                self.owe(thread, tag, true);
                if !drained {
                    // More was written meanwhile; the thread tells again.
                    self.notify_remote(key, true);
                    return None;
                }
                self.remote(key)?.notify = false;
                Some(Event::Drain { key })
            }
            _ => None,
        }
    }

    fn owe(&mut self, thread: usize, tag: Tag, drain: bool) {
        self.settle();
        self.owed = Some(Owed { thread, tag, drain });
    }
}
