//! Who holds the loop: since when Lua deals with an event, and a thread that looks whether it ever comes to an end.
//!
//! A callback that takes too long cannot say where it is. So this thread has it asked ([`place`]), and the loop logs the answer when
//! the callback is over. All that it costs the loop is to note when an event was given to Lua. The thread wakes a few times for each
//! span of `slow_callback` while Lua is given events, and not at all while it is given none. It starts with the first turn, because
//! Prosody forks before that.
#![allow(unsafe_code)] // the signals of a new thread

use std::mem::forget;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle, park, park_timeout};
use std::time::Duration;

use mlua::ffi::lua_State;
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};
use trochee::{fork_generation, without_signals};

pub(crate) use place::take as place;

mod place;

/// The least time between two looks at a loop that is busy, in nanoseconds.
const LEAST_REST: i64 = 20_000_000;

/// How long the thread waits for an answer before it asks again; each wait is twice as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// How often it asks: the last wait is 1.3 seconds.
const MOST_QUESTIONS: u32 = 8;

/// What Lua is doing, for whoever looks at it from outside.
pub(crate) struct Busy {
    /// When Lua was given the event that it deals with, in nanoseconds of the monotonic clock; 0 while it deals with none.
    began: AtomicI64,
    /// What the loop runs on.
    state: AtomicPtr<lua_State>,
}

impl Busy {
    pub(crate) const fn new() -> Busy {
        Busy {
            began: AtomicI64::new(0),
            state: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Lua is given an event, now. It is for the caller to know when that is, which may be some milliseconds off.
    #[inline]
    pub(crate) fn begin(&self, state: *mut lua_State, now: i64) {
        self.state.store(state, Ordering::Relaxed);
        self.began.store(now.max(1), Ordering::Relaxed);
        if ASLEEP.load(Ordering::Relaxed) {
            wake();
        }
    }

    /// Lua has dealt with it. When it was given the event, if there was one.
    #[inline]
    pub(crate) fn end(&self) -> Option<i64> {
        let began = self.began();
        if began == 0 {
            return None;
        }
        self.began.store(0, Ordering::Relaxed);
        Some(began)
    }

    fn began(&self) -> i64 {
        self.began.load(Ordering::Relaxed)
    }
}

/// Nanoseconds of the monotonic clock as the system has noted them last, which it does every few milliseconds. To ask costs half of
/// what [`clock`] does.
#[inline]
pub(crate) fn coarse_clock() -> i64 {
    nanoseconds(ClockId::MonotonicCoarse)
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn clock() -> i64 {
    nanoseconds(ClockId::Monotonic)
}

#[inline]
fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The thread that looks.
struct Watcher {
    busy: &'static Busy,
    /// Of which process it is: see [`fork_generation`].
    process: u32,
    thread: JoinHandle<()>,
}

/// There is one for each process: the first loop that asks has it.
static WATCHER: Mutex<Option<Watcher>> = Mutex::new(None);

/// The thread sleeps until Lua is given an event.
static ASLEEP: AtomicBool = AtomicBool::new(false);

/// The thread is to end.
static LEAVING: AtomicBool = AtomicBool::new(false);

/// Only the threads of loops take it, so no fork finds it taken.
fn watcher() -> MutexGuard<'static, Option<Watcher>> {
    WATCHER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the loop watched that runs on this thread, from so many nanoseconds on; `None`: not at all.
pub(crate) fn watch(busy: &'static Busy, slow: Option<i64>) {
    let mut watcher = watcher();
    disown(&mut watcher);
    if watcher.as_ref().is_some_and(|it| !ptr::eq(it.busy, busy)) {
        return;
    }
    if let Some(watcher) = watcher.take() {
        watcher.end();
    }
    if let Some(slow) = slow {
        *watcher = Watcher::start(busy, slow);
    }
}

/// The loop is over.
pub(crate) fn forget_loop(busy: &'static Busy) {
    busy.end();
    watch(busy, None);
}

/// In a child of fork(2) there is no such thread.
fn disown(watcher: &mut Option<Watcher>) {
    if let Some(lost) = watcher.take_if(|it| it.process != fork_generation()) {
        forget(lost.thread);
        place::watch(ptr::null());
        ASLEEP.store(false, Ordering::SeqCst);
    }
}

#[cold]
fn wake() {
    if ASLEEP.swap(false, Ordering::SeqCst)
        && let Some(watcher) = &*watcher()
    {
        watcher.thread.thread().unpark();
    }
}

impl Watcher {
    /// Nothing, where the system has no thread to give, or the signal by which it would ask is somebody else's: then the log tells who
    /// was slow, and not where.
    fn start(busy: &'static Busy, slow: i64) -> Option<Watcher> {
        if !place::install() {
            return None;
        }
        LEAVING.store(false, Ordering::SeqCst);
        place::watch(busy);
        let whose = gettid().as_raw_nonzero().get();
        let thread = without_signals(|| {
            Builder::new()
                .name("trochee-watch".into())
                .spawn(move || run(busy, whose, slow))
        });
        let thread = thread.ok()?;
        Some(Watcher {
            busy,
            process: fork_generation(),
            thread,
        })
    }

    fn end(self) {
        LEAVING.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
        let _ = self.thread.join();
        place::watch(ptr::null());
    }
}

/// What the thread does: `whose` is that of the loop.
fn run(busy: &Busy, whose: i32, slow: i64) {
    let rest = Duration::from_nanos(slow.max(LEAST_REST).unsigned_abs());
    while !is_leaving() {
        let began = busy.began();
        if began == 0 {
            sleep(busy, rest);
            continue;
        }
        let left = began.saturating_add(slow) - coarse_clock();
        if left > 0 {
            park_timeout(Duration::from_nanos(left.max(LEAST_REST).unsigned_abs()));
        } else {
            ask(busy, began, whose);
        }
    }
}

fn is_leaving() -> bool {
    LEAVING.load(Ordering::SeqCst)
}

/// Until Lua is given an event.
fn sleep(busy: &Busy, rest: Duration) {
    ASLEEP.store(true, Ordering::SeqCst);
    // Whoever was given an event and did not see that, has begun before. After this time it is known here.
    park_timeout(rest);
    if busy.began() == 0 && ASLEEP.load(Ordering::SeqCst) && !is_leaving() {
        park();
    }
    ASLEEP.store(false, Ordering::SeqCst);
}

/// Has Lua asked where it is, and waits until it has dealt with that event.
fn ask(busy: &Busy, began: i64, whose: i32) {
    let goes_on = || busy.began() == began && !is_leaving();
    place::want(began);
    let mut wait = FIRST_WAIT;
    for _ in 0..MOST_QUESTIONS {
        if !goes_on() || !place::is_wanted() || !place::ask(whose) {
            break;
        }
        park_timeout(wait);
        wait *= 2;
    }
    while goes_on() {
        park_timeout(FIRST_WAIT * 5);
    }
    place::want(0);
}
