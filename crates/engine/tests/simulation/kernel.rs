//! The system as the reactor sees it: real UNIX sockets, behind calls that a seed makes short, interrupted or fail, and a clock that only
//! the world moves.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use libc::{size_t, ssize_t};

/// xorshift64*
#[derive(Clone, Copy)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What the calls of this thread do. Threads without a world meet the real system.
#[derive(Clone, Copy)]
struct Weather {
    random: Random,
    /// One call of so many is disturbed; 0: none is.
    one_of: u64,
    now: u64,
}

thread_local! {
    static WEATHER: Cell<Option<Weather>> = const { Cell::new(None) };
}

/// Begins a world with a seed and a time.
pub fn begin(seed: u64) {
    WEATHER.set(Some(Weather {
        random: Random::new(seed ^ 0x5EED),
        one_of: 0,
        now: 1_000_000_000_000,
    }));
}

/// One call of so many is disturbed; 0: none is.
pub fn disturb(one_of: u64) {
    change(|weather| weather.one_of = one_of);
}

pub fn advance(nanoseconds: u64) {
    change(|weather| weather.now += nanoseconds);
}

pub fn now() -> u64 {
    WEATHER.get().map_or(0, |weather| weather.now)
}

fn change(f: impl FnOnce(&mut Weather)) {
    if let Some(mut weather) = WEATHER.get() {
        f(&mut weather);
        WEATHER.set(Some(weather));
    }
}

/// A number below `end` if this call is to be disturbed.
fn disturbed(end: u64) -> Option<u64> {
    let mut found = None;
    change(|weather| {
        if weather.one_of > 0 && weather.random.below(weather.one_of) == 0 {
            found = Some(weather.random.below(end));
        }
    });
    found
}

fn fail(errno: c_int) -> c_int {
    // SAFETY: the address is that of this thread's errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// How much of `length` a call takes, or why it fails.
fn portion(length: size_t) -> Result<size_t, c_int> {
    match disturbed(8) {
        Some(0) => Err(libc::EINTR),
        Some(1) => Err(libc::EAGAIN),
        Some(2..=4) => Ok(length.min(1)),
        Some(_) => Ok(length.div_ceil(2)),
        None => Ok(length),
    }
}

/// # Safety
/// As recv(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(fd: c_int, to: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    // No system refuses to read what it has.
    let portion = match portion(length) {
        Err(libc::EAGAIN) => Ok(length),
        portion => portion,
    };
    match portion {
        // SAFETY: the caller's promise; less is asked for.
        Ok(length) => unsafe {
            let null = std::ptr::null::<c_void>();
            libc::syscall(libc::SYS_recvfrom, fd, to, length, flags, null, null) as ssize_t
        },
        Err(errno) => fail(errno) as ssize_t,
    }
}

/// # Safety
/// As send(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(
    fd: c_int,
    from: *const c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    match portion(length) {
        // SAFETY: the caller's promise; less is sent.
        Ok(length) => unsafe {
            let null = std::ptr::null::<c_void>();
            libc::syscall(libc::SYS_sendto, fd, from, length, flags, null, 0) as ssize_t
        },
        Err(errno) => fail(errno) as ssize_t,
    }
}

/// # Safety
/// As sendmsg(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's promise; at most one slice is left out.
    unsafe {
        let mut message = *message;
        match portion(message.msg_iovlen) {
            Ok(slices) => {
                message.msg_iovlen = slices;
                libc::syscall(libc::SYS_sendmsg, fd, &raw const message, flags) as ssize_t
            }
            Err(errno) => fail(errno) as ssize_t,
        }
    }
}

/// # Safety
/// As epoll_ctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut libc::epoll_event,
) -> c_int {
    match disturbed(2) {
        Some(0) => fail(libc::ENOMEM),
        Some(_) => fail(libc::ENOSPC),
        // SAFETY: the caller's promise.
        None => unsafe { libc::syscall(libc::SYS_epoll_ctl, epoll, operation, fd, event) as c_int },
    }
}

/// # Safety
/// As epoll_wait(2). It never waits: time passes when the world says so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut libc::epoll_event,
    most: c_int,
    _timeout: c_int,
) -> c_int {
    let most = match disturbed(3) {
        Some(0) => return fail(libc::EINTR),
        Some(1) => return 0,
        Some(_) => 1,
        None => most,
    };
    let null = std::ptr::null::<c_void>();
    // SAFETY: the caller's promise; fewer are asked for.
    unsafe { libc::syscall(libc::SYS_epoll_pwait, epoll, events, most, 0, null, 8) as c_int }
}

/// # Safety
/// As ppoll(2). It never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ppoll(
    fds: *mut libc::pollfd,
    count: libc::nfds_t,
    _timeout: *const libc::timespec,
    mask: *const libc::sigset_t,
) -> c_int {
    if disturbed(2) == Some(0) {
        return fail(libc::EINTR);
    }
    let mut zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the caller's promise.
    unsafe { libc::syscall(libc::SYS_ppoll, fds, count, &raw mut zero, mask, 8) as c_int }
}

/// # Safety
/// As select(2). It never waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn select(
    count: c_int,
    read: *mut libc::fd_set,
    write: *mut libc::fd_set,
    except: *mut libc::fd_set,
    _timeout: *mut libc::timeval,
) -> c_int {
    if disturbed(2) == Some(0) {
        return fail(libc::EINTR);
    }
    let mut zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let null = std::ptr::null::<c_void>();
    // SAFETY: the caller's promise.
    unsafe {
        libc::syscall(
            libc::SYS_pselect6,
            count,
            read,
            write,
            except,
            &raw mut zero,
            null,
        ) as c_int
    }
}

/// # Safety
/// As clock_gettime(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    match WEATHER.get() {
        Some(weather) if clock == libc::CLOCK_MONOTONIC => {
            // SAFETY: the caller's promise: a place for a time.
            unsafe {
                (*time).tv_sec = (weather.now / 1_000_000_000) as libc::time_t;
                (*time).tv_nsec = (weather.now % 1_000_000_000) as libc::c_long;
            }
            0
        }
        // SAFETY: the caller's promise.
        _ => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int },
    }
}
