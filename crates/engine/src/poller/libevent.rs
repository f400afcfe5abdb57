//! libevent 2.1, the library below Prosody's `event` backend: it chooses among the system calls itself, and listens to its
//! own variables in the environment (`EVENT_NOEPOLL` and so on).
//!
//! The library is opened when this poller is first asked for, so nothing needs it that does not use it. Each registration has
//! one event of libevent's; one without interest is kept here only, so that, as with select, an end does not show.
//!
//! A wait of libevent's goes on when a signal handler has run, and tells nobody. So signals are blocked while it waits, and a
//! signalfd(2) among the watched descriptors ends it when one has arrived that is not ignored; the handler runs as soon as they are unblocked.
#![allow(unsafe_code)] // a C library, opened at run time

use std::ffi::{CStr, c_int, c_short, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{Interest, LONGEST_TIMEOUT, Poller, Readiness};
use crate::fork;
use api::{Api, EV_PERSIST, EV_READ, EV_WRITE, EVLOOP_NONBLOCK, EVLOOP_ONCE, Event, EventBase};
use signals::Signals;

mod api;
mod signals;

/// The name in [`BACKENDS`](super::BACKENDS).
pub(super) const NAME: &str = "libevent";

/// How many descriptors a base takes (epoll's, and a pair for signals that it opens in any case), and ours.
const DESCRIPTORS: usize = 4;

/// Opens the library, the first time, and a base.
pub(super) fn open() -> io::Result<Box<dyn Poller>> {
    let api = Api::get()?;
    // libevent ends the process when it finds too few.
    let spare: io::Result<Vec<OwnedFd>> = (0..DESCRIPTORS)
        .map(|_| Ok(rustix::io::fcntl_dupfd_cloexec(io::stderr(), 0)?))
        .collect();
    drop(spare?);
    // SAFETY: takes no arguments.
    let base = NonNull::new(unsafe { (api.event_base_new)() }).ok_or_else(|| {
        io::Error::other("libevent finds no system call to use; unset EVENT_NOEPOLL and the like")
    })?;
    let mut poller = Libevent {
        api,
        base,
        process: fork::generation(),
        reports: NonNull::from(Box::leak(Box::default())),
        registrations: Vec::new(),
        timer: None,
        signals: None,
    };
    poller.timer = Some(poller.new_event(-1, 0)?);
    let signals = Signals::new()?;
    let event = poller.new_event(signals.descriptor.as_raw_fd(), EV_READ | EV_PERSIST)?;
    poller.signals = Some((event, signals));
    poller.start(event, None)?;
    Ok(Box::new(poller))
}

struct Libevent {
    api: &'static Api,
    base: NonNull<EventBase>,
    /// Of which process the base is: see [`fork::generation`].
    process: u32,
    /// What [`report`] was told since the last wait began. Every event refers to it; it is freed after them.
    reports: NonNull<Vec<(RawFd, c_short)>>,
    /// By descriptor number.
    registrations: Vec<Option<Registration>>,
    /// Ends a wait that is bounded.
    timer: Option<NonNull<Event>>,
    signals: Option<(NonNull<Event>, Signals)>,
}

// SAFETY: libevent keeps nothing by thread, and whoever has the poller has the only way to the base and its events.
unsafe impl Send for Libevent {}

#[derive(Clone, Copy)]
struct Registration {
    token: u64,
    interest: Interest,
    event: NonNull<Event>,
}

impl Poller for Libevent {
    unsafe fn add(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        if self.registration(fd).is_some() {
            return Err(Errno::EXIST.into());
        }
        let event = self.new_event(fd, flags(interest))?;
        if let Err(error) = self.watch(event, interest) {
            // SAFETY: made above, and known to nobody else.
            unsafe { (self.api.event_free)(event.as_ptr()) };
            return Err(error);
        }
        // Not negative: an open descriptor never is.
        let index = fd as usize;
        if index >= self.registrations.len() {
            self.registrations.resize(index + 1, None);
        }
        self.registrations[index] = Some(Registration {
            token,
            interest,
            event,
        });
        Ok(())
    }

    fn modify(&mut self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let registration = self.registration(fd).ok_or(Errno::NOENT)?;
        let event = registration.event;
        registration.token = token;
        if registration.interest == interest {
            return Ok(());
        }
        // What holds should libevent refuse.
        registration.interest = Interest::NONE;
        // SAFETY: the event is that of a registration; libevent allows to assign it anew once it is deleted.
        unsafe {
            (self.api.event_del)(event.as_ptr());
            (self.api.event_assign)(
                event.as_ptr(),
                self.base.as_ptr(),
                fd,
                flags(interest),
                report,
                self.reports.as_ptr().cast(),
            );
        }
        self.watch(event, interest)?;
        if let Some(registration) = self.registration(fd) {
            registration.interest = interest;
        }
        Ok(())
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let slot = self.registrations.get_mut(fd.as_raw_fd() as usize);
        let registration = slot.and_then(Option::take).ok_or(Errno::NOENT)?;
        // SAFETY: the event was the registration's, which is gone; freeing it deletes it first.
        unsafe { (self.api.event_free)(registration.event.as_ptr()) };
        Ok(())
    }

    fn wait(&mut self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> io::Result<()> {
        // Most waits of a busy server find something at once, and need no care for signals.
        self.run(EVLOOP_ONCE | EVLOOP_NONBLOCK)?;
        if self.collect(ready) || timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        // Not by libevent's clock, which is a coarse one and some milliseconds late.
        let deadline = timeout.map(|timeout| Instant::now() + timeout.min(LONGEST_TIMEOUT));
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(());
            }
            let interrupted = self.block(left)?;
            if self.collect(ready) {
                return Ok(());
            } else if interrupted {
                return Err(Errno::INTR.into());
            }
        }
    }

    fn name(&self) -> &'static str {
        // SAFETY: the base is alive, and gives the address of a constant.
        let method =
            unsafe { CStr::from_ptr((self.api.event_base_get_method)(self.base.as_ptr())) };
        match method.to_bytes() {
            b"epoll" => "libevent epoll",
            b"epoll (with changelist)" => "libevent epoll (with changelist)",
            b"poll" => "libevent poll",
            b"select" => "libevent select",
            _ => NAME,
        }
    }
}

impl Libevent {
    fn registration(&mut self, fd: RawFd) -> Option<&mut Registration> {
        self.registrations.get_mut(fd as usize)?.as_mut()
    }

    fn new_event(&self, fd: RawFd, flags: c_short) -> io::Result<NonNull<Event>> {
        let reports = self.reports.as_ptr().cast();
        // SAFETY: `report` takes the address of `reports`, which lives for longer than the event.
        let event = unsafe { (self.api.event_new)(self.base.as_ptr(), fd, flags, report, reports) };
        NonNull::new(event).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Has libevent watch what an event is made for, which may be nothing.
    fn watch(&self, event: NonNull<Event>, interest: Interest) -> io::Result<()> {
        if interest == Interest::NONE {
            return Ok(());
        }
        self.start(event, None)
    }

    fn start(&self, event: NonNull<Event>, after: Option<libc::timeval>) -> io::Result<()> {
        let after = after.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the event is one of this base, and the time is read before the function returns.
        match unsafe { (self.api.event_add)(event.as_ptr(), after) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// One call of libevent's loop, which calls [`report`].
    fn run(&mut self, flags: c_int) -> io::Result<()> {
        // SAFETY: the base is alive, and this is its only thread.
        match unsafe { (self.api.event_base_loop)(self.base.as_ptr(), flags) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Waits for as long as nothing happens; whether a signal arrived.
    fn block(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let timer = self.timer.filter(|_| timeout.is_some());
        if let (Some(timer), Some(timeout)) = (timer, timeout) {
            self.start(timer, Some(timeval(timeout)))?;
        }
        let signals = self.signals.as_mut().map(|(_, signals)| signals);
        let mask = signals.map(Signals::block).transpose()?;
        let result = self.run(EVLOOP_ONCE);
        let interrupted = self.signal_arrived();
        drop(mask);
        if let Some(timer) = timer {
            // SAFETY: the event is the base's own; that it has fired already does no harm.
            unsafe { (self.api.event_del)(timer.as_ptr()) };
        }
        result.map(|()| interrupted)
    }

    /// Whether the loop was ended by a signal that would have ended a system call.
    fn signal_arrived(&self) -> bool {
        // SAFETY: outside of `run` nobody else refers to them.
        let reports = unsafe { self.reports.as_ref() };
        self.signals.as_ref().is_some_and(|(_, signals)| {
            let reported = |(fd, _): &(RawFd, c_short)| *fd == signals.descriptor.as_raw_fd();
            reports.iter().any(reported) && signals.any_to_deliver()
        })
    }

    /// Appends what was reported since the last time; whether there was anything.
    fn collect(&mut self, ready: &mut Vec<Readiness>) -> bool {
        let before = ready.len();
        // SAFETY: outside of `run` nobody else refers to them.
        let reports = unsafe { self.reports.as_mut() };
        for (fd, what) in reports.drain(..) {
            // The timer and the signals have no registration.
            if let Some(Some(registration)) = self.registrations.get(fd as usize) {
                ready.push(Readiness {
                    token: registration.token,
                    readable: what & EV_READ != 0,
                    writable: what & EV_WRITE != 0,
                    closed: false,
                });
            }
        }
        ready.len() > before
    }
}

impl Drop for Libevent {
    fn drop(&mut self) {
        let events = self.registrations.iter().flatten().map(|r| r.event);
        let signals = self.signals.as_ref().map(|(event, _)| *event);
        // SAFETY: nothing of the base is used afterwards. In a forked child its epoll instance is still the parent's, from
        // which the deletions would take the parent's descriptors; event_reinit gives the child one of its own first.
        unsafe {
            if self.process != fork::generation() {
                (self.api.event_reinit)(self.base.as_ptr());
            }
            for event in events.chain(signals).chain(self.timer) {
                (self.api.event_free)(event.as_ptr());
            }
            (self.api.event_base_free)(self.base.as_ptr());
            drop(Box::from_raw(self.reports.as_ptr()));
        }
    }
}

/// Called by libevent's loop for each event that is active.
unsafe extern "C" fn report(fd: RawFd, what: c_short, reports: *mut c_void) {
    // SAFETY: `new_event` and `modify` pass the address of the poller's list, to which nobody else refers while the loop runs.
    let reports = unsafe { &mut *reports.cast::<Vec<(RawFd, c_short)>>() };
    reports.push((fd, what));
}

fn flags(interest: Interest) -> c_short {
    let mut flags = EV_PERSIST;
    if interest.readable {
        flags |= EV_READ;
    }
    if interest.writable {
        flags |= EV_WRITE;
    }
    flags
}

/// Rounded up.
fn timeval(timeout: Duration) -> libc::timeval {
    let micros = timeout.as_nanos().div_ceil(1000);
    libc::timeval {
        // Fits: LONGEST_TIMEOUT is some two million seconds.
        tv_sec: (micros / 1_000_000) as _,
        tv_usec: (micros % 1_000_000) as _,
    }
}
