//! What the kernel was told, and how it is asked: the poller, whose registration each descriptor is, and what ends a wait.
#![allow(unsafe_code)] // descriptors that the poller keeps by their numbers

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::error::Error;
use crate::poller::{self, BACKENDS, Interest, Poller, Readiness};
use crate::registry::Key;
use crate::signals::Wake;
use crate::waker::Waker;
use crate::{fork, socket};

/// What the poller reports for the waker; no key has this number.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;

/// What it reports for the descriptors of a companion: this number and those above it, but for that of the waker. No key has one of
/// them.
const FIRST_OF_COMPANION: u64 = u64::MAX - 256;

/// Which descriptor of the companion a token stands for.
#[inline]
pub(super) fn number_of(token: u64) -> Option<usize> {
    (FIRST_OF_COMPANION..WAKE_TOKEN)
        .contains(&token)
        .then(|| (token - FIRST_OF_COMPANION) as usize)
}

/// When the poller is told again of what the system has refused to watch for now.
pub(super) const TELL_AGAIN: Duration = Duration::from_millis(100);

/// One poller of this process, opened by the first turn, and again in a child that was forked since.
pub(super) struct Polling {
    /// What was asked for by name.
    backend: &'static str,
    poller: Option<Box<dyn Poller>>,
    /// Of which process the poller is: see [`fork::generation`].
    process: u32,
    /// Whose registration each descriptor number is, so that a watch on a number that was closed and given to
    /// another source cannot unregister its new owner.
    registered: Vec<Option<Key>>,
    /// Has signals end the wait; above the waker, for it must go first.
    signal_wake: Option<Wake>,
    waker: Option<Waker>,
    /// Whether the poller watches the waker: the system may have refused for now.
    hears_waker: bool,
}

impl Polling {
    pub(super) fn new() -> Polling {
        Polling {
            backend: poller::AUTO,
            poller: None,
            process: fork::generation(),
            registered: Vec::new(),
            signal_wake: None,
            waker: None,
            hears_waker: false,
        }
    }

    /// Chooses the poller by its name.
    pub(super) fn choose(&mut self, name: &str) -> Result<(), Error> {
        drop(poller::open(name)?);
        if self.poller.is_some() {
            return Err(Error::BackendInUse);
        }
        self.backend = BACKENDS
            .iter()
            .map(|backend| backend.name)
            .find(|known| *known == name)
            .unwrap_or(poller::AUTO);
        Ok(())
    }

    /// What the poller calls itself.
    pub(super) fn name(&self) -> &'static str {
        match &self.poller {
            Some(poller) => poller.name(),
            None => poller::open(self.backend).map_or(self.backend, |probed| probed.name()),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.poller.is_some()
    }

    /// Opens the poller; it knows nothing yet but the waker. Gives what the operator should know.
    pub(super) fn open(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        self.process = fork::generation();
        self.poller = match poller::open(self.backend) {
            Ok(poller) => Some(poller),
            Err(error) => {
                // poll(2) keeps nothing in the kernel and always opens.
                faults.push(format!("{error}; using poll instead"));
                poller::open("poll").ok()
            }
        };
        self.registered.clear();
        self.hears_waker = false;
        if let Err(error) = self.hear_waker() {
            faults.push(format!("other threads are heard late: {error}"));
        }
        faults
    }

    /// Has the poller watch for what other threads write to end the wait, if it does not yet.
    fn hear_waker(&mut self) -> io::Result<()> {
        if !self.hears_waker
            && let (Some(poller), Some(waker)) = (&mut self.poller, &self.waker)
        {
            // SAFETY: `Polling` keeps its waker for as long as its poller.
            unsafe { poller.add(waker.as_fd(), WAKE_TOKEN, Interest::READ)? };
            self.hears_waker = true;
        }
        Ok(())
    }

    /// In a child that was forked since the poller was opened, lets go of the parent's: what is changed there is changed
    /// for the parent.
    pub(super) fn disown(&mut self) {
        if self.poller.is_some() && self.process != fork::generation() {
            self.poller = None;
            self.signal_wake = None;
            // The parent's, too: who writes to it wakes either of the two.
            self.waker = None;
            self.registered.clear();
        }
    }

    /// What ends the wait from other threads.
    pub(super) fn waker(&mut self) -> Result<Waker, Error> {
        self.disown();
        if let Some(waker) = &self.waker {
            return Ok(waker.clone());
        }
        let waker = Waker::open().map_err(Error::Os)?;
        self.waker = Some(waker.clone());
        self.hears_waker = false;
        match self.hear_waker() {
            Err(error) if !is_shortage(&error) => {
                self.waker = None;
                Err(Error::Poller(error))
            }
            _ => Ok(waker),
        }
    }

    /// Has signals end the wait, once there is a poller.
    pub(super) fn wake_by_signals(&mut self) -> Result<(), Error> {
        if self.poller.is_some() && self.signal_wake.is_none() {
            let waker = self.waker()?;
            self.signal_wake = Some(Wake::through(waker.as_raw_fd()));
        }
        Ok(())
    }

    /// The waker has ended a wait.
    pub(super) fn clear_waker(&self) {
        if let Some(waker) = &self.waker {
            waker.clear();
        }
    }

    /// Tells the poller what `key` waits for on the descriptor `raw`, if that differs from `armed`, which it was told last.
    /// Does nothing before the poller is open.
    ///
    /// # Safety
    ///
    /// `raw` stays open until [`forget`](Polling::forget).
    pub(super) unsafe fn tell(
        &mut self,
        key: Key,
        raw: RawFd,
        wanted: Option<Interest>,
        armed: &mut Option<Interest>,
    ) -> io::Result<()> {
        if wanted == *armed {
            return Ok(());
        }
        self.disown();
        let Some(poller) = &mut self.poller else {
            return Ok(());
        };
        // SAFETY: as the function's own.
        let Some(fd) = (unsafe { socket::borrow(raw) }) else {
            return Err(Errno::BADF.into());
        };
        let token = key.to_bits();
        let owner = self.registered.get(raw as usize).copied().flatten();
        match wanted {
            Some(interest) if owner == Some(key) => {
                match poller.modify(fd, token, interest) {
                    // The descriptor was closed behind our back, and the number is another's.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        // SAFETY: as the function's own.
                        unsafe { poller.add(fd, token, interest)? };
                    }
                    result => result?,
                }
            }
            Some(interest) => {
                // SAFETY: as the function's own.
                match unsafe { poller.add(fd, token, interest) } {
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
                match poller.remove(fd) {
                    Err(error) if is_shortage(&error) => return Err(error),
                    // Otherwise it is gone already: epoll forgets a descriptor when it is closed.
                    _ => self.registered[raw as usize] = None,
                }
            }
            None => {}
        }
        *armed = wanted;
        Ok(())
    }

    /// Takes a descriptor out of the poller that is about to be closed, if it is still registered for `key`.
    ///
    /// # Safety
    ///
    /// `raw` is still open.
    pub(super) unsafe fn forget(&mut self, key: Key, raw: RawFd) {
        self.disown();
        // SAFETY: as the function's own.
        let Some(fd) = (unsafe { socket::borrow(raw) }) else {
            return;
        };
        if let Some(owner) = self.registered.get_mut(raw as usize)
            && *owner == Some(key)
        {
            *owner = None;
            if let Some(poller) = &mut self.poller {
                let _ = poller.remove(fd);
            }
        }
    }

    /// Has the poller watch a descriptor of a companion, under a number below 256.
    ///
    /// # Safety
    ///
    /// The descriptor stays open until [`forget_companion`](Polling::forget_companion), or until the poller is gone.
    pub(super) unsafe fn watch_companion(
        &mut self,
        number: usize,
        fd: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let token = FIRST_OF_COMPANION + number as u64;
        match &mut self.poller {
            Some(poller) if token < WAKE_TOKEN => {
                // SAFETY: as the function's own.
                unsafe { poller.add(fd, token, Interest::READ) }
            }
            _ => Err(Errno::INVAL.into()),
        }
    }

    /// Has the poller watch it no more. False: the system refuses for now.
    pub(super) fn forget_companion(&mut self, fd: BorrowedFd<'_>) -> bool {
        let removed = self.poller.as_mut().map(|poller| poller.remove(fd));
        !matches!(removed, Some(Err(error)) if is_shortage(&error))
    }

    /// A descriptor that is readable when a wait would find something, where the poller has one.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.poller.as_deref()?.fd()
    }

    /// Says that a wait begins, which the waker has to end. Gives how long it may be, of `timeout`: it does not wait if the waker was
    /// used.
    pub(super) fn begin_wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        // Until it is heard, what other threads say is looked for every now and then.
        let at_most = self.hear_waker().is_err().then_some(TELL_AGAIN);
        let Some(waker) = &self.waker else {
            return timeout;
        };
        match (waker.begin_wait(), at_most) {
            (true, None) => timeout,
            (true, Some(at_most)) => Some(timeout.unwrap_or(at_most).min(at_most)),
            (false, _) => Some(Duration::ZERO),
        }
    }

    /// Waits for readiness, for at most `timeout`. It does not wait if the waker was used.
    pub(super) fn wait(
        &mut self,
        found: &mut Vec<Readiness>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let timeout = self.begin_wait(timeout);
        let Some(poller) = &mut self.poller else {
            return Ok(());
        };
        let result = poller.wait(found, timeout);
        if let Some(waker) = &self.waker {
            waker.end_wait();
        }
        result
    }
}

/// Whether the system is short of what it needs for watching a descriptor, and may have it later: memory, or the watches that a user
/// may have (`fs.epoll.max_user_watches`). Sandboxes say EPERM, but so does epoll of what it never watches.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOMEM | Errno::NOSPC | Errno::NOBUFS))
        || error.kind() == io::ErrorKind::OutOfMemory
}
