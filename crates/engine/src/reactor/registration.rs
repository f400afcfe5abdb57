//! What the poller is told: wanted interest beside armed interest, compared once per turn.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::{Reactor, Source};
use crate::error::Reason;
use crate::event::Level;
use crate::listener::reserved_descriptor;
use crate::poller::{self, FdLimit, Interest};
use crate::registry::Key;
use crate::signals::Wake;
use crate::{fork, socket};

/// What the poller reports for [`Reactor::waker`]; no key has this number.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;

impl Reactor {
    /// Opens the poller before the first wait, and again in a child that was forked since.
    pub(super) fn ensure_poller(&mut self) {
        self.disown_poller();
        if self.poller.is_some() {
            return;
        }
        if self.config.raise_descriptor_limit {
            raise_descriptor_limit();
        }
        self.process = fork::generation();
        self.poller = match poller::open(self.backend) {
            Ok(poller) => Some(poller),
            Err(error) => {
                // poll(2) keeps nothing in the kernel and always opens.
                self.notice(Level::Error, format!("{error}; using poll instead"));
                poller::open("poll").ok()
            }
        };
        self.reserve = reserved_descriptor();
        self.registered.clear();
        for key in self.sources.keys() {
            match self.sources.get_mut(key) {
                Some(Source::Connection(connection)) => connection.armed = None,
                Some(Source::Listener(listener)) => listener.armed = None,
                Some(Source::Watch(watch)) => watch.armed = None,
                Some(Source::Lingering(lingering)) => lingering.armed = None,
                Some(Source::Signal(_)) | None => {}
            }
            self.want(key);
        }
        if let (Some(poller), Some(waker)) = (&mut self.poller, &self.waker)
            && let Err(error) = poller.add(waker.as_fd(), WAKE_TOKEN, Interest::READ)
        {
            self.notice(
                Level::Error,
                format!("other threads are heard late: {error}"),
            );
        }
        self.ensure_waker();
    }

    /// In a child that was forked since the poller was opened, lets go of the parent's: what is changed there is changed
    /// for the parent. The next wait opens a new one.
    pub(super) fn disown_poller(&mut self) {
        if self.poller.is_some() && self.process != fork::generation() {
            self.poller = None;
            self.signal_wake = None;
            // The parent's, too: who writes to it wakes either of the two.
            self.waker = None;
            self.registered.clear();
        }
    }

    /// Opens what ends the wait when a signal arrives, once one is watched and the poller is there.
    pub(super) fn ensure_waker(&mut self) {
        if self.poller.is_none() || self.signal_wake.is_some() || self.signals.is_empty() {
            return;
        }
        match self.waker() {
            Ok(waker) => self.signal_wake = Some(Wake::through(waker.as_raw_fd())),
            // A signal still interrupts a wait that has begun; only one that arrives just before has to wait.
            Err(error) => {
                let text = format!("signals may be noticed late: {error}");
                self.notice(Level::Warn, text);
            }
        }
    }

    /// Queues the signals that have arrived.
    pub(super) fn collect_signals(&mut self) {
        for &key in &self.signals {
            if let Some(Source::Signal(handler)) = self.sources.get(key)
                && handler.take()
            {
                self.arrived.push_back((key, handler.signal));
            }
        }
    }

    /// Has the wanted interest of `key` compared before the next wait.
    pub(super) fn want(&mut self, key: Key) {
        let queued = match self.sources.get_mut(key) {
            Some(Source::Connection(connection)) => &mut connection.in_interest,
            Some(Source::Listener(listener)) => &mut listener.in_interest,
            Some(Source::Watch(watch)) => &mut watch.in_interest,
            // What these wait for never changes.
            Some(Source::Signal(_) | Source::Lingering(_)) | None => return,
        };
        if !std::mem::replace(queued, true) {
            self.to_arm.push(key);
        }
    }

    /// Step 2 of the turn.
    pub(super) fn arm_all(&mut self) {
        while let Some(key) = self.to_arm.pop() {
            if let Err(error) = self.arm(key) {
                self.unregistrable(key, error);
            }
        }
    }

    /// Tells the poller of one source, if anything changed. Does nothing before the first turn.
    pub(super) fn arm(&mut self, key: Key) -> io::Result<()> {
        let max_connections = self.config.max_connections;
        self.disown_poller();
        let Some(poller) = &mut self.poller else {
            return Ok(());
        };
        let Some(source) = self.sources.get_mut(key) else {
            return Ok(());
        };
        let raw = source.raw_fd();
        let (wanted, armed) = match source {
            Source::Connection(connection) => {
                connection.in_interest = false;
                (connection.wanted(), &mut connection.armed)
            }
            Source::Listener(listener) => {
                listener.in_interest = false;
                let wanted = listener
                    .wants_accept(max_connections)
                    .then_some(Interest::READ);
                (wanted, &mut listener.armed)
            }
            Source::Watch(watch) => {
                watch.in_interest = false;
                (
                    (watch.interest != Interest::NONE).then_some(watch.interest),
                    &mut watch.armed,
                )
            }
            Source::Lingering(lingering) => (Some(Interest::READ), &mut lingering.armed),
            Source::Signal(_) => return Ok(()),
        };
        if wanted == *armed {
            return Ok(());
        }
        let Some(fd) = socket::borrow(raw) else {
            return Err(rustix::io::Errno::BADF.into());
        };
        let token = key.to_bits();
        let owner = self.registered.get(raw as usize).copied().flatten();
        match wanted {
            Some(interest) if owner == Some(key) => poller.modify(fd, token, interest)?,
            Some(interest) => {
                match poller.add(fd, token, interest) {
                    // The number belonged to a descriptor that was closed behind our back.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        poller.modify(fd, token, interest)?;
                    }
                    result => result?,
                }
                if self.registered.len() <= raw as usize {
                    self.registered.resize(raw as usize + 1, None);
                }
                self.registered[raw as usize] = Some(key);
            }
            None if owner == Some(key) => {
                self.registered[raw as usize] = None;
                // It may be gone already: epoll forgets a descriptor when it is closed.
                let _ = poller.remove(fd);
            }
            None => {}
        }
        *armed = wanted;
        Ok(())
    }

    /// Takes a source that is about to be dropped out of the poller.
    pub(super) fn disarm(&mut self, key: Key) {
        self.disown_poller();
        let Some(raw) = self.sources.get(key).map(Source::raw_fd) else {
            return;
        };
        let Some(fd) = socket::borrow(raw) else {
            return;
        };
        let Some(owner) = self.registered.get_mut(raw as usize) else {
            return;
        };
        if *owner == Some(key) {
            *owner = None;
            if let Some(poller) = &mut self.poller {
                let _ = poller.remove(fd);
            }
        }
    }

    /// The poller refused a source that was made before it was there, or that it can not hold.
    fn unregistrable(&mut self, key: Key, error: io::Error) {
        self.explain_fd_limit(&error);
        match self.sources.get(key) {
            Some(Source::Connection(_)) => self.end(key, Reason::Poller(error.to_string())),
            Some(_) => self.notice(
                Level::Error,
                format!("a descriptor can not be watched: {error}"),
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
                "select(2) can not serve more than {} descriptors: new connections are refused until others end. \
                 Use epoll or poll to serve more.",
                limit.limit
            );
            self.notice(Level::Error, text);
        }
    }
}

/// Login shells and service managers hand out 1024 descriptors by default, with leave to take more.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        limit.current = limit.maximum;
        // Refused means that the limit stays as it is, which is where we were.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
