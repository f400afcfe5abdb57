//! The library: opening it, and what of event2/event.h is in use.

use std::ffi::{CStr, c_char, c_int, c_short, c_void};
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::sync::Mutex;

use libloading::Library;

use crate::sync::lock;

/// The sonames of libevent 2.1, the one without what is not needed here first.
const LIBRARIES: &[&str] = &["libevent_core-2.1.so.7", "libevent-2.1.so.7"];

pub(super) const EV_READ: c_short = 0x02;
pub(super) const EV_WRITE: c_short = 0x04;
pub(super) const EV_PERSIST: c_short = 0x10;
pub(super) const EVLOOP_ONCE: c_int = 0x01;
pub(super) const EVLOOP_NONBLOCK: c_int = 0x02;
const EVENT_LOG_WARN: c_int = 2;

/// libevent's `struct event_base`.
#[repr(C)]
pub(super) struct EventBase {
    _opaque: [u8; 0],
}

/// libevent's `struct event`.
#[repr(C)]
pub(super) struct Event {
    _opaque: [u8; 0],
}

pub(super) type Callback = unsafe extern "C" fn(RawFd, c_short, *mut c_void);
type LogCallback = extern "C" fn(c_int, *const c_char);

/// The functions in use, with their names in the library.
pub(super) struct Api {
    pub(super) event_base_new: unsafe extern "C" fn() -> *mut EventBase,
    pub(super) event_base_free: unsafe extern "C" fn(*mut EventBase),
    pub(super) event_base_get_method: unsafe extern "C" fn(*const EventBase) -> *const c_char,
    pub(super) event_base_loop: unsafe extern "C" fn(*mut EventBase, c_int) -> c_int,
    pub(super) event_reinit: unsafe extern "C" fn(*mut EventBase) -> c_int,
    pub(super) event_new:
        unsafe extern "C" fn(*mut EventBase, RawFd, c_short, Callback, *mut c_void) -> *mut Event,
    pub(super) event_assign: unsafe extern "C" fn(
        *mut Event,
        *mut EventBase,
        RawFd,
        c_short,
        Callback,
        *mut c_void,
    ) -> c_int,
    pub(super) event_add: unsafe extern "C" fn(*mut Event, *const libc::timeval) -> c_int,
    pub(super) event_del: unsafe extern "C" fn(*mut Event) -> c_int,
    pub(super) event_free: unsafe extern "C" fn(*mut Event),
}

impl Api {
    /// The library, opened when it is first needed and never closed. One that was missing may have been installed since.
    pub(super) fn get() -> io::Result<&'static Api> {
        static OPENED: Mutex<Option<&'static Api>> = Mutex::new(None);
        let mut opened = lock(&OPENED);
        if opened.is_none() {
            *opened = Some(Box::leak(Box::new(Api::load(LIBRARIES)?)));
        }
        opened.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens the first of `names` that there is.
    fn load(names: &[&str]) -> io::Result<Api> {
        let not_found = |reason: libloading::Error| {
            let text = format!("libevent not found (install libevent-core-2.1-7): {reason}");
            io::Error::new(io::ErrorKind::NotFound, text)
        };
        let mut last = Ok(None);
        for name in names {
            // SAFETY: libevent has no initialisers that could do harm.
            last = unsafe { Library::new(name) }.map(Some);
            if last.is_ok() {
                break;
            }
        }
        let library = last.map_err(not_found)?.ok_or(io::ErrorKind::NotFound)?;
        // SAFETY: the types are those of event2/event.h, which do not change within libevent 2.1; and the library stays open.
        let api = unsafe {
            let set_log: unsafe extern "C" fn(LogCallback) = *library
                .get(b"event_set_log_callback\0")
                .map_err(not_found)?;
            set_log(log);
            Api {
                event_base_new: *library.get(b"event_base_new\0").map_err(not_found)?,
                event_base_free: *library.get(b"event_base_free\0").map_err(not_found)?,
                event_base_get_method: *library
                    .get(b"event_base_get_method\0")
                    .map_err(not_found)?,
                event_base_loop: *library.get(b"event_base_loop\0").map_err(not_found)?,
                event_reinit: *library.get(b"event_reinit\0").map_err(not_found)?,
                event_new: *library.get(b"event_new\0").map_err(not_found)?,
                event_assign: *library.get(b"event_assign\0").map_err(not_found)?,
                event_add: *library.get(b"event_add\0").map_err(not_found)?,
                event_del: *library.get(b"event_del\0").map_err(not_found)?,
                event_free: *library.get(b"event_free\0").map_err(not_found)?,
            }
        };
        std::mem::forget(library);
        Ok(api)
    }
}

/// Warnings are dropped: each comes with an error that is returned to the caller, such as that a regular file cannot be watched.
/// What is left are libevent's last words before it ends the process, and what `EVENT_SHOW_METHOD` asks for.
extern "C" fn log(severity: c_int, text: *const c_char) {
    if severity >= 1 && severity != EVENT_LOG_WARN {
        // SAFETY: libevent passes a string that lives for as long as this call.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        // Where nobody listens on standard error, nobody misses it.
        let _ = writeln!(io::stderr(), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_named() {
        let error = Api::load(&["libno-such-thing.so.7"]).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let text = error.to_string();
        assert!(
            text.starts_with("libevent not found (install libevent-core-2.1-7): "),
            "{text}"
        );
        assert!(text.contains("libno-such-thing.so.7"), "{text}");
    }
}
