//! System calls that fail when a test says so. The functions of the C library are defined here, so the linker takes these: the engine
//! calls them, and so does libevent.
//!
//! Peers are exempt, in a thread of their own or within [`exempt`].

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{size_t, sockaddr, socklen_t, ssize_t};

/// A system call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    None,
    /// epoll_ctl(2): ADD and MOD
    Watch,
    /// epoll_ctl(2): DEL
    Unwatch,
    /// epoll_wait(2), ppoll(2), select(2)
    Wait,
    Accept,
    Receive,
    /// send(2), sendmsg(2)
    Send,
    /// The write to an eventfd(2) that ends the wait of another thread.
    Wake,
}

/// Which of the calls fail.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The next so many.
    Next(u64),
    /// Each that is the k-th since the last.
    Every(u64),
}

static CALL: AtomicU8 = AtomicU8::new(Call::None as u8);
static ERRNO: AtomicI32 = AtomicI32::new(0);
/// How many of the next calls fail; negative: every k-th does.
static NEXT: AtomicI64 = AtomicI64::new(0);
static SEEN: AtomicU64 = AtomicU64::new(0);
static HITS: AtomicU64 = AtomicU64::new(0);

/// Only one test at a time.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

/// A fault, until it is dropped.
pub struct Fault {
    _turn: MutexGuard<'static, ()>,
}

/// No fault yet, and no other test that has one.
pub fn alone() -> Fault {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    CALL.store(Call::None as u8, Ordering::SeqCst);
    Fault { _turn: turn }
}

/// Ends the fault from any thread.
pub fn clear() {
    CALL.store(Call::None as u8, Ordering::SeqCst);
}

impl Fault {
    /// Has a call fail, in place of what failed before.
    pub fn set(&self, call: Call, errno: c_int, which: Which) {
        self.clear();
        let next = match which {
            Which::Next(count) => count as i64,
            Which::Every(every) => -(every as i64),
        };
        ERRNO.store(errno, Ordering::SeqCst);
        NEXT.store(next, Ordering::SeqCst);
        SEEN.store(0, Ordering::SeqCst);
        HITS.store(0, Ordering::SeqCst);
        CALL.store(call as u8, Ordering::SeqCst);
    }

    pub fn clear(&self) {
        clear();
    }

    /// How many calls have failed since [`set`](Fault::set).
    pub fn hits(&self) -> u64 {
        HITS.load(Ordering::SeqCst)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Does something to which no fault applies.
pub fn exempt<T>(run: impl FnOnce() -> T) -> T {
    let before = EXEMPT.replace(true);
    let result = run();
    EXEMPT.set(before);
    result
}

/// Whether this call fails; errno says why, then.
fn fails(call: Call) -> bool {
    if call == Call::None || CALL.load(Ordering::SeqCst) != call as u8 || EXEMPT.get() {
        return false;
    }
    let next = NEXT.load(Ordering::SeqCst);
    let hit = if next < 0 {
        (SEEN.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(next.unsigned_abs())
    } else {
        let take = |left: i64| (left > 0).then(|| left - 1);
        NEXT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_ok()
    };
    if hit {
        HITS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the address is that of this thread's errno.
        unsafe { *libc::__errno_location() = ERRNO.load(Ordering::SeqCst) };
    }
    hit
}

macro_rules! interposed {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty { if $call:expr; $real:expr })*) => {
        $(
            /// # Safety
            /// As the function of the C library.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($arg: $type),*) -> $result {
                if fails($call) {
                    return -1;
                }
                // SAFETY: the caller's promise, and what the C library does.
                (unsafe { $real }) as $result
            }
        )*
    };
}

interposed! {
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut libc::epoll_event) -> c_int {
        if if operation == libc::EPOLL_CTL_DEL { Call::Unwatch } else { Call::Watch };
        libc::syscall(libc::SYS_epoll_ctl, epoll, operation, fd, event)
    }
    fn epoll_wait(epoll: c_int, events: *mut libc::epoll_event, most: c_int, timeout: c_int) -> c_int {
        if Call::Wait;
        libc::syscall(libc::SYS_epoll_pwait, epoll, events, most, timeout, std::ptr::null::<c_void>(), 8)
    }
    fn ppoll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: *const libc::timespec, mask: *const libc::sigset_t) -> c_int {
        // SAFETY: the caller's promise.
        if if unsafe { is_look(count, timeout) } { Call::None } else { Call::Wait };
        {
            // The system writes what is left of it.
            let mut left = timeout.as_ref().copied();
            let left = left.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
            libc::syscall(libc::SYS_ppoll, fds, count, left, mask, 8)
        }
    }
    fn select(count: c_int, read: *mut libc::fd_set, write: *mut libc::fd_set, except: *mut libc::fd_set, timeout: *mut libc::timeval) -> c_int {
        if Call::Wait;
        {
            let time = |time: &libc::timeval| libc::timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec * 1000 };
            let mut left = timeout.as_ref().map(time);
            let left = left.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
            libc::syscall(libc::SYS_pselect6, count, read, write, except, left, std::ptr::null::<c_void>())
        }
    }
    fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int {
        if Call::Accept;
        libc::syscall(libc::SYS_accept4, fd, address, length, flags)
    }
    fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
        if Call::Receive;
        libc::syscall(libc::SYS_recvfrom, fd, buffer, length, flags, std::ptr::null::<c_void>(), std::ptr::null::<c_void>())
    }
    fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
        if Call::Send;
        libc::syscall(libc::SYS_sendto, fd, buffer, length, flags, std::ptr::null::<c_void>(), 0)
    }
    fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> ssize_t {
        if Call::Send;
        libc::syscall(libc::SYS_sendmsg, fd, message, flags)
    }
    fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
        // Nothing else here writes eight bytes to a descriptor that is no standard one.
        if if length == 8 && fd > 2 { Call::Wake } else { Call::None };
        libc::syscall(libc::SYS_write, fd, buffer, length)
    }
}

/// Whether it is asked about one descriptor and not waited: the engine does so when a deadline has passed.
unsafe fn is_look(count: libc::nfds_t, timeout: *const libc::timespec) -> bool {
    // SAFETY: the caller's promise: a time, or null.
    let timeout = unsafe { timeout.as_ref() };
    count == 1 && timeout.is_some_and(|time| time.tv_sec == 0 && time.tv_nsec == 0)
}
