//! The functions that run when a connection begins or ends.

use std::ffi::c_int;
use std::io::Write;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{self, lua_State};
use rustix::time::{ClockId, clock_gettime};
use trochee::{Close, Key, Name};

use super::{Pushed, core_of, fail, push};
use crate::convert::key;
use crate::core::Core;

/// No address is longer as text: RFC 4291, section 2.2, with an IPv4 address at its end.
const LONGEST_ADDRESS: usize = 45;

/// The key that is the first argument. `nil`, the key of a handle that is over, names nothing.
///
/// # Safety
/// Only within a function that [`register`](super::register) made.
unsafe fn key_of(state: *mut lua_State) -> Key {
    let mut is_key = 0;
    // SAFETY: reads the argument; a missing one is no number.
    let number = unsafe { ffi::lua_tointegerx(state, 1, &raw mut is_key) };
    key((is_key != 0).then_some(number))
}

/// One end of a connection, without anything that has to be dropped.
#[derive(Clone, Copy)]
enum End {
    Nothing,
    Inet {
        text: [u8; LONGEST_ADDRESS],
        length: usize,
        port: u16,
    },
    /// It is in [`Core::text`].
    Path(*const u8, usize),
}

/// An address as text, and how long that is.
fn text_of(address: IpAddr) -> ([u8; LONGEST_ADDRESS], usize) {
    let mut text = [0; LONGEST_ADDRESS];
    let length = match address {
        IpAddr::V4(address) => write_v4(&mut text, address.octets()),
        IpAddr::V6(_) => {
            let mut rest = &mut text[..];
            // It fits.
            let _ = write!(rest, "{address}");
            LONGEST_ADDRESS - rest.len()
        }
    };
    (text, length)
}

/// To have the standard library write it takes as long as the rest of what is done for a new connection here.
fn write_v4(text: &mut [u8; LONGEST_ADDRESS], octets: [u8; 4]) -> usize {
    let mut length = 0;
    let mut put = |byte| {
        text[length] = byte;
        length += 1;
    };
    for (place, octet) in octets.into_iter().enumerate() {
        if place > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
    length
}

impl End {
    fn of(name: Option<Name>, core: &Core) -> End {
        match name {
            Some(Name::Inet(address)) => {
                let (text, length) = text_of(address.ip());
                let port = address.port();
                End::Inet { text, length, port }
            }
            Some(Name::Unix(path)) => {
                let mut kept = core.text.borrow_mut();
                *kept = path.to_string_lossy().into_owned();
                End::Path(kept.as_ptr(), kept.len())
            }
            // Prosody has no words for other names.
            Some(_) | None => End::Nothing,
        }
    }

    /// # Safety
    /// As [`push`], for two values.
    unsafe fn push(&self, state: *mut lua_State) {
        let (text, port) = match self {
            End::Nothing => (Pushed::Nothing, Pushed::Nothing),
            End::Inet { text, length, port } => (
                Pushed::Bytes(text.as_ptr(), *length),
                Pushed::Integer((*port).into()),
            ),
            End::Path(path, length) => (Pushed::Bytes(*path, *length), Pushed::Integer(0)),
        };
        // SAFETY: as the function's own.
        unsafe {
            push(state, text);
            push(state, port);
        }
    }
}

/// names(key) → peer's address, port, own address, port; nil where there is none. A UNIX socket has a path and port 0.
pub(super) unsafe extern "C-unwind" fn names(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`.
    let (core, key) = unsafe { (core_of(state), key_of(state)) };
    match catch_unwind(AssertUnwindSafe(|| {
        let names = core.with(|reactor| (reactor.peer_name(key), reactor.local_name(key)));
        let (peer, local) = names.unwrap_or((None, None));
        // LuaSocket's UNIX sockets have no getpeername, and `ip()` is then the path of the listening one.
        let peer = peer.filter(|peer| matches!(peer, Name::Inet(_)));
        [End::of(peer, core), End::of(local, core)]
    })) {
        Ok([peer, local]) => {
            // SAFETY: C functions have room for 20 values; nothing uses the core's text meanwhile, for only one of the two is in it,
            // and Lua copies it before anything runs.
            unsafe {
                peer.push(state);
                local.push(state);
            }
            4
        }
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

/// now() → seconds since 1970
pub(super) unsafe extern "C-unwind" fn now(state: *mut lua_State) -> c_int {
    let time = clock_gettime(ClockId::Realtime);
    // SAFETY: C functions have room for 20 values.
    unsafe { ffi::lua_pushnumber(state, time.tv_sec as f64 + time.tv_nsec as f64 / 1e9) };
    1
}

/// close(key) → true (over, no event follows) | false (an event follows once all is sent) | nil (was over)
pub(super) unsafe extern "C-unwind" fn close(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`.
    let (core, key) = unsafe { (core_of(state), key_of(state)) };
    match catch_unwind(AssertUnwindSafe(|| core.with(|reactor| reactor.close(key)))) {
        Ok(closed) => {
            let told = match closed {
                Some(Close::Done) => Pushed::Boolean(true),
                Some(Close::Flushing) => Pushed::Boolean(false),
                Some(Close::Gone) | None => Pushed::Nothing,
            };
            // SAFETY: C functions have room for 20 values.
            unsafe { push(state, told) };
            1
        }
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

/// destroy(key) → whether there was anything
pub(super) unsafe extern "C-unwind" fn destroy(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`.
    let (core, key) = unsafe { (core_of(state), key_of(state)) };
    match catch_unwind(AssertUnwindSafe(|| {
        core.with(|reactor| reactor.destroy(key))
    })) {
        Ok(destroyed) => {
            // SAFETY: C functions have room for 20 values.
            unsafe { push(state, Pushed::Boolean(destroyed.unwrap_or(false))) };
            1
        }
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

/// end_info(key) → what the connection has come to: seconds since it began, bytes received, bytes sent, whether its TLS handshake is not
/// complete | nothing: there is none. Also of the one that CLOSED told of last.
pub(super) unsafe extern "C-unwind" fn end_info(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`.
    let (core, key) = unsafe { (core_of(state), key_of(state)) };
    match catch_unwind(AssertUnwindSafe(|| core.end_info(key))) {
        Ok(Some(info)) => {
            // SAFETY: as in `next_event`.
            unsafe {
                ffi::lua_pushnumber(state, info.age.as_secs_f64());
                ffi::lua_pushinteger(state, info.received as i64);
                ffi::lua_pushinteger(state, info.sent as i64);
                ffi::lua_pushboolean(state, info.in_handshake.into());
            }
            4
        }
        Ok(None) => 0,
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_writes_them() {
        let mut addresses: Vec<IpAddr> =
            ["::1", "2001:db8::1", "fe80::1:2:3:4", "::ffff:192.0.2.255"]
                .map(|address| address.parse().unwrap())
                .into();
        addresses.push([0xff_u16; 8].map(|part| part << 8 | part).into());
        addresses.extend((0..=255).map(|octet: u8| IpAddr::from([octet, 255 - octet, 0, octet])));
        for address in addresses {
            let (text, length) = text_of(address);
            assert_eq!(text[..length], *address.to_string().as_bytes());
        }
    }
}
