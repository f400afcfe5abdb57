//! Where Lua is: a signal sets a hook, and the hook takes a traceback.
//!
//! lua_sethook is the one function of Lua's that may be called at any time, from a handler of the same thread: Lua's own interpreter does
//! so when Ctrl-C is pressed. The hook runs in front of the next instruction, or when a C function returns. So what computes in Lua is
//! found where it computes, and what waits in a C function where it has called that function.
//!
//! Each coroutine has hooks of its own, and which of them runs, Lua tells nobody from outside. But a hook that was set and does not run
//! means that its coroutine is still in the same C function; and if that is coroutine.resume, its argument is the coroutine to ask next.
//! Each question goes one step further (LuaJIT has the same hook for all).
//!
//! The signal is SIGURG. Nobody gets it unless they ask the kernel for it, it does nothing where it is not handled, and debuggers pass it
//! on; so Go uses it to interrupt its threads, too. Calls of the system are restarted, but for those that never are: poll, select and sleeping
//! (signal(7)). LuaSocket and other libraries wait again by themselves.
#![allow(unsafe_code)] // signals, and the C API of Lua

use std::cell::Cell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mlua::ffi::{self, lua_Debug, lua_Hook, lua_State};

use super::Busy;

const SIGNAL: c_int = libc::SIGURG;

/// Most coroutines in one another that are asked.
const DEPTH: usize = 8;

/// Most that is kept of the traceback of one coroutine, in bytes.
const LONGEST: usize = 8192;

/// The loop that is watched; null for none.
static WATCHED: AtomicPtr<Busy> = AtomicPtr::new(ptr::null_mut());

/// When the callback began whose place is wanted; 0 for none.
static WANTED: AtomicI64 = AtomicI64::new(0);

/// When the callback began whose place was found last, and the place.
static FOUND: Mutex<(i64, String)> = Mutex::new((0, String::new()));

static SEARCH: Search = Search::new();

/// Says which loop is watched.
pub(super) fn watch(busy: *const Busy) {
    WANTED.store(0, Ordering::SeqCst);
    WATCHED.store(busy.cast_mut(), Ordering::SeqCst);
}

/// Has the callback that began then asked where it is; 0: nobody.
pub(super) fn want(began: i64) {
    WANTED.store(began, Ordering::SeqCst);
}

/// Whether it has not answered yet.
pub(super) fn is_wanted() -> bool {
    WANTED.load(Ordering::SeqCst) != 0
}

/// The traceback of the callback that began then, if it was taken: lines that begin with a tab, without a title.
pub(crate) fn take(began: i64) -> Option<String> {
    let mut found = found();
    (found.0 == began && !found.1.is_empty()).then(|| std::mem::take(&mut found.1))
}

fn found() -> MutexGuard<'static, (i64, String)> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles the signal, if nobody else does. Whether it is ours.
pub(super) fn install() -> bool {
    let Some(handler) = handler() else {
        return false;
    };
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // SAFETY: a C struct of integers, of which all zeroes is a value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = ours();
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: `action` is initialised, and its handler does only what handlers may do.
        unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) };
    }
    is_ours()
}

fn ours() -> libc::sighandler_t {
    step as extern "C" fn(c_int) as libc::sighandler_t
}

fn is_ours() -> bool {
    handler() == Some(ours())
}

fn handler() -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sigaction writes `action` unless it fails, and then it is not read.
    unsafe {
        if libc::sigaction(SIGNAL, ptr::null(), action.as_mut_ptr()) != 0 {
            return None;
        }
        Some(action.assume_init().sa_sigaction)
    }
}

/// Asks the loop that runs on this thread. False: there is no such thread, or the signal is somebody else's by now.
pub(super) fn ask(thread: i32) -> bool {
    // SAFETY: tgkill(2) reads its arguments and fails for a thread that is gone.
    is_ours() && unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) == 0 }
}

/// The callback whose place is wanted, if it is the one that runs on this thread.
fn wanted() -> Option<&'static Busy> {
    let wanted = WANTED.load(Ordering::SeqCst);
    // SAFETY: what is watched is never freed.
    let busy = unsafe { WATCHED.load(Ordering::SeqCst).as_ref() }?;
    (wanted != 0 && busy.began() == wanted).then_some(busy)
}

/// The handler of the signal.
extern "C" fn step(_: c_int) {
    if let Some(busy) = wanted() {
        // SAFETY: errno belongs to whoever was interrupted, so it is put back.
        unsafe {
            let errno = *libc::__errno_location();
            SEARCH.go_on(busy);
            *libc::__errno_location() = errno;
        }
    }
}

/// The coroutines that have been asked. Only the loop's thread uses it: in the handler, which nothing interrupts, and in the hook,
/// once it has said that no place is wanted any more, so that the handler does nothing.
struct Search {
    /// When the callback began that it is about.
    began: Cell<i64>,
    asked: [Cell<Asked>; DEPTH],
    count: Cell<usize>,
    /// What the thread had spent when it asked last.
    spent: Cell<Spent>,
}

// SAFETY: see there.
unsafe impl Sync for Search {}

/// A coroutine that has our hook, and the hook that it had before.
#[derive(Clone, Copy)]
struct Asked {
    state: *mut lua_State,
    hook: Option<lua_Hook>,
    mask: c_int,
    count: c_int,
}

/// What a thread has done: how long it has computed, and how often it has waited.
#[derive(Clone, Copy, PartialEq)]
struct Spent {
    microseconds: i64,
    waits: i64,
}

impl Search {
    const fn new() -> Search {
        const NOBODY: Asked = Asked {
            state: ptr::null_mut(),
            hook: None,
            mask: 0,
            count: 0,
        };
        Search {
            began: Cell::new(0),
            asked: [const { Cell::new(NOBODY) }; DEPTH],
            count: Cell::new(0),
            spent: Cell::new(Spent {
                microseconds: 0,
                waits: 0,
            }),
        }
    }

    /// The coroutines that were asked about the callback that began then, the outermost first.
    fn about(&self, began: i64) -> impl DoubleEndedIterator<Item = Asked> {
        let count = if self.began.get() == began {
            self.count.get()
        } else {
            0
        };
        self.asked[..count].iter().map(Cell::get)
    }

    /// One step: the loop's own coroutine, then the one that it resumes, and so on.
    ///
    /// # Safety
    /// In the handler, on the thread of the loop, while `busy` is in a callback.
    unsafe fn go_on(&self, busy: &Busy) {
        let last = self.about(busy.began()).next_back();
        let next = match last {
            None => {
                self.began.set(busy.began());
                self.count.set(0);
                busy.state.load(Ordering::Relaxed)
            }
            Some(_) if !self.has_moved() => return,
            // SAFETY: its hook has not run although the thread has moved, so it is still in one C function, and as alive as it was.
            Some(last) => unsafe { resumed_by(last.state) },
        };
        let count = self.count.get();
        if next.is_null() || count == DEPTH || self.about(busy.began()).any(|it| it.state == next) {
            return;
        }
        // SAFETY: the coroutine runs, or has resumed the one that runs. lua_sethook may be called at any time by its own thread, and
        // the others read three fields.
        unsafe {
            self.asked[count].set(Asked {
                state: next,
                hook: ffi::lua_gethook(next),
                mask: ffi::lua_gethookmask(next),
                count: ffi::lua_gethookcount(next),
            });
            self.count.set(count + 1);
            self.spent.set(Spent::now());
            const MASK: c_int = ffi::LUA_MASKCALL | ffi::LUA_MASKRET | ffi::LUA_MASKCOUNT;
            ffi::lua_sethook(next, Some(answer), MASK, 1);
        }
    }

    /// Whether the thread has computed or waited since it was last asked. If it has not, the hook could not run.
    fn has_moved(&self) -> bool {
        let (before, now) = (self.spent.get(), Spent::now());
        now.waits != before.waits || now.microseconds > before.microseconds + 1000
    }

    /// Takes our hook from a coroutine.
    ///
    /// # Safety
    /// In the hook that runs in this coroutine.
    unsafe fn restore(&self, state: *mut lua_State) {
        let all = self.asked[..self.count.get()].iter().map(Cell::get);
        let before = all.rev().find(|it| it.state == state);
        // Ours, where it was left from another search.
        let hook = before.and_then(|it| it.hook).filter(|hook| {
            let ours: lua_Hook = answer;
            !ptr::fn_addr_eq(*hook, ours)
        });
        let (mask, count) = before.map_or((0, 0), |it| (it.mask, it.count));
        // SAFETY: as the function's own.
        unsafe { ffi::lua_sethook(state, hook, mask, count) };
    }
}

impl Spent {
    fn now() -> Spent {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: getrusage(2) writes `usage`, of which all zeroes is a value, too.
        let usage = unsafe {
            libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
            usage.assume_init()
        };
        let microseconds = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
        Spent {
            microseconds: microseconds(usage.ru_utime) + microseconds(usage.ru_stime),
            waits: usage.ru_nvcsw,
        }
    }
}

/// The coroutine that this one resumes, if the C function that it is in is coroutine.resume or a function of coroutine.wrap: its first
/// argument, or what it was made with. Null where it is another function. It only reads.
///
/// # Safety
/// The coroutine is in a C function.
unsafe fn resumed_by(state: *mut lua_State) -> *mut lua_State {
    if cfg!(feature = "luajit") {
        return ptr::null_mut();
    }
    // SAFETY: both look at the frame of that function, and at nothing where it has no such value.
    unsafe {
        let argument = ffi::lua_tothread(state, 1);
        if argument.is_null() {
            ffi::lua_tothread(state, ffi::lua_upvalueindex(1))
        } else {
            argument
        }
    }
}

/// The hook: takes the traceback if it is still wanted, and itself away. It may raise for want of memory, and holds nothing then.
unsafe extern "C-unwind" fn answer(state: *mut lua_State, _: *mut lua_Debug) {
    let busy = wanted();
    WANTED.store(0, Ordering::SeqCst);
    // SAFETY: Lua has called it for this coroutine, and there is room for 20 values. Those that have resumed it are alive.
    unsafe {
        SEARCH.restore(state);
        let Some(began) = busy.map(Busy::began) else {
            return;
        };
        note(began, state, state);
        let resuming = SEARCH
            .about(began)
            .take_while(|asked| asked.state != state)
            .count();
        for level in (0..resuming).rev() {
            note(began, state, SEARCH.asked[level].get().state);
        }
    }
}

/// Adds the traceback of one coroutine to the place of the callback that began then.
///
/// # Safety
/// Within a hook of `state`, which `whose` has resumed, or is.
unsafe fn note(began: i64, state: *mut lua_State, whose: *mut lua_State) {
    // SAFETY: as the function's own. The text is on the stack for as long as it is used.
    unsafe {
        ffi::luaL_traceback(state, whose, ptr::null(), 0);
        let mut length = 0;
        let text = ffi::lua_tolstring(state, -1, &raw mut length);
        if !text.is_null() {
            add(began, std::slice::from_raw_parts(text.cast(), length));
        }
        ffi::lua_pop(state, 1);
    }
}

fn add(began: i64, traceback: &[u8]) {
    let text = String::from_utf8_lossy(&traceback[..traceback.len().min(LONGEST)]);
    // "stack traceback:" stands above the lines.
    let lines = text.split_once('\n').map_or("", |(_, lines)| lines);
    let mut found = found();
    let (of, place) = &mut *found;
    if std::mem::replace(of, began) != began {
        place.clear();
    }
    if !place.is_empty() {
        place.push_str("\n\tresumed by:\n");
    }
    place.push_str(lines);
}
