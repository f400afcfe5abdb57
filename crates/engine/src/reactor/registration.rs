//! What the poller and the timers are told: wanted interest beside armed interest, and deadlines beside alarms, compared once per
//! turn.
#![allow(unsafe_code)] // descriptors that the poller keeps by their numbers

use std::io;

use rustix::io::Errno;

use super::polling::{TELL_AGAIN, is_shortage};
use super::{Alarm, Reactor, Source};
use crate::clock;
use crate::error::Reason;
use crate::event::{Event, Level};
use crate::poller::FdLimit;
use crate::registered::Registered;
use crate::registry::Key;

impl Reactor {
    /// Opens the poller before the first wait, and again in a child that was forked since.
    pub(super) fn ensure_poller(&mut self) {
        self.polling.disown();
        if self.polling.is_open() {
            return;
        }
        self.count_places();
        for text in self.polling.open() {
            self.notice(Level::Error, text);
        }
        self.gate.open();
        for key in self.sources.keys() {
            if let Some(registered) = self.registered(key) {
                registered.armed = None;
            }
            self.want(key);
        }
        self.wake_by_signals();
    }

    /// Has a signal that is watched end the wait.
    pub(super) fn wake_by_signals(&mut self) {
        if !self.signals.is_empty()
            && let Err(error) = self.polling.wake_by_signals()
        {
            // A signal still interrupts a wait that has begun; only one that arrives just before has to wait.
            let text = format!("signals may be noticed late: {error}");
            self.notice(Level::Warn, text);
        }
    }

    /// Queues the signals that have arrived.
    #[inline]
    pub(super) fn collect_signals(&mut self) {
        if !self.signals.is_empty() {
            self.collect_from_signals();
        }
    }

    fn collect_from_signals(&mut self) {
        for &key in &self.signals {
            if let Some(Source::Signal(handler)) = self.sources.get(key)
                && handler.take()
            {
                let signal = handler.signal;
                self.untold.push(Event::Signal { key, signal });
            }
        }
    }

    /// Has what `key` waits for compared before the next wait: what may be read and written, and until when.
    pub(super) fn want(&mut self, key: Key) {
        if self.registered(key).is_some_and(Registered::enter_changed) {
            self.changed.push(key);
        }
    }

    fn registered(&mut self, key: Key) -> Option<&mut Registered> {
        self.sources.get_mut(key)?.registered()
    }

    /// Step 2 of the turn.
    pub(super) fn reconcile_all(&mut self) {
        while let Some(key) = self.changed.pop() {
            if let Err(error) = self.reconcile(key) {
                self.unregistrable(key, error);
            }
        }
    }

    /// Has the poller and the timers know what one source waits for.
    pub(super) fn reconcile(&mut self, key: Key) -> io::Result<()> {
        let told = self.arm(key);
        self.set_alarm(key);
        told
    }

    /// Tells the poller of one source, if anything changed. Where the system is short of what that takes, it is told again later:
    /// nobody stays deaf for that. Does nothing before the first turn.
    pub(super) fn arm(&mut self, key: Key) -> io::Result<()> {
        let has_room = self.places.has_room();
        let Some(source) = self.sources.get_mut(key) else {
            return Ok(());
        };
        let (raw, wanted) = (source.raw_fd(), source.wanted(&self.config, has_room));
        let listens = matches!(source, Source::Listener(_));
        let Some(registered) = source.registered() else {
            return Ok(());
        };
        registered.in_changed = false;
        // SAFETY: a source owns its descriptor, or whoever called `watch` keeps it open; `remove` has it forgotten before.
        let told = unsafe { self.polling.tell(key, raw, wanted, &mut registered.armed) };
        match told {
            // What is forbidden may be so for ever, and is told; but nobody looks after a listener that was open before.
            Err(error) if is_shortage(&error) || listens && is_forbidden(&error) => {
                if !std::mem::replace(&mut registered.in_refused, true) {
                    self.refused.push(key);
                }
                self.tell_again_later(&error);
                Ok(())
            }
            told => told,
        }
    }

    fn tell_again_later(&mut self, error: &io::Error) {
        let now = clock::now();
        if self.telling_again.is_none() {
            let at = now + clock::nanoseconds(TELL_AGAIN);
            self.telling_again = Some(self.timers.insert(at, Alarm::TELL_AGAIN));
        }
        if self.refused_notice.is_due(now) {
            let count = self.refused.len();
            let text = format!(
                "the system refuses to watch {count} descriptors for now ({error}): they are heard late. \
                 See the memory of the machine, and fs.epoll.max_user_watches."
            );
            self.notice(Level::Error, text);
        }
    }

    /// Has the poller told of what the system had refused.
    pub(super) fn tell_again(&mut self) {
        self.telling_again = None;
        for key in std::mem::take(&mut self.refused) {
            if let Some(registered) = self.registered(key) {
                registered.in_refused = false;
                self.want(key);
            }
        }
    }

    /// The poller refused a source that was made before it was there, or that it cannot hold.
    fn unregistrable(&mut self, key: Key, error: io::Error) {
        self.explain_fd_limit(&error);
        match self.sources.get(key) {
            Some(Source::Connection(_)) => self.end(key, Reason::Poller(error.to_string())),
            Some(_) => self.notice(
                Level::Error,
                format!("a descriptor cannot be watched: {error}"),
            ),
            None => {}
        }
    }

    /// Tells the operator, once, what it means that select(2) is full.
    pub(super) fn explain_fd_limit(&mut self, error: &io::Error) {
        let limit = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<FdLimit>());
        if let Some(limit) = limit
            && !self.warned_of_fd_limit
        {
            self.warned_of_fd_limit = true;
            let text = format!(
                "select(2) cannot serve more than {} descriptors: new connections are refused until others end. \
                 Use epoll or poll to serve more.",
                limit.limit
            );
            self.notice(Level::Error, text);
        }
    }
}

/// EPERM: epoll says it of files and directories, and sandboxes of anything.
fn is_forbidden(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::PERM)
}
