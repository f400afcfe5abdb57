//! util.poll, the library below Prosody's own server_epoll, on the engine's pollers. `trochee/util_poll.lua` says what it is for.
//!
//! Stock server_epoll calls `wait` once for each event, so this is written against Lua's C API, by the rules of `capi.rs`.
#![allow(unsafe_code)] // the C API of Lua

use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{self, lua_State};
use mlua::{Lua, Result, Table};
use trochee::Interest;
use trochee::poller;

use crate::capi::fail;
use crate::convert::{Answer, seconds};
use state::State;

mod state;

/// util_poll(name of a poller, whether wait(0) asks the system) → the table that `require "util.poll"` gives | nil, why not
pub(crate) fn module(lua: &Lua, (name, asks): (String, bool)) -> Result<Answer> {
    let api = match poller::open(&name) {
        Ok(poller) => poller.name(),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let module = lua.create_table()?;
    module.set("api", api)?;
    module.set("EEXIST", libc::EEXIST)?;
    module.set("EMFILE", libc::EMFILE)?;
    module.set("ENOENT", libc::ENOENT)?;
    // SAFETY: takes the two arguments from the stack, and leaves a closure with them as upvalues.
    let new: mlua::Function = unsafe {
        lua.exec_raw((name, asks), |state| {
            ffi::lua_pushcclosure(state, new, 2);
        })?
    };
    module.set("new", new)?;
    register_methods(lua)?;
    Ok(Ok(mlua::Value::Table(module)))
}

/// The name in the registry of the metatable that all states share.
const METATABLE: &std::ffi::CStr = c"trochee.util.poll";

fn register_methods(lua: &Lua) -> Result<()> {
    const METHODS: [(&str, ffi::lua_CFunction); 5] = [
        ("add", add),
        ("set", set),
        ("del", del),
        ("wait", wait),
        ("getfd", getfd),
    ];
    let methods = lua.create_table()?;
    let metatable: Table = {
        // SAFETY: leaves the metatable, new or old.
        unsafe {
            lua.exec_raw((), |state| {
                ffi::luaL_newmetatable(state, METATABLE.as_ptr());
            })?
        }
    };
    for (name, method) in METHODS {
        // SAFETY: functions of the C API, which check what they are given.
        methods.set(name, unsafe { lua.create_c_function(method)? })?;
    }
    metatable.set("__index", methods)?;
    // SAFETY: as above.
    unsafe {
        metatable.set("__gc", lua.create_c_function(close)?)?;
        metatable.set("__tostring", lua.create_c_function(to_string)?)?;
    }
    Ok(())
}

/// new() → state | nil, text, errno
unsafe extern "C-unwind" fn new(state: *mut lua_State) -> c_int {
    let mut length = 0;
    // SAFETY: the upvalues are those of `module`; the userdata is as large as what is written to it, aligned for any type
    // of C and so for a State, and has a value before it has the metatable with the finaliser.
    let (place, name, asks) = unsafe {
        let place = ffi::lua_newuserdata(state, size_of::<Option<State>>());
        let place = place.cast::<Option<State>>();
        place.write(None);
        ffi::luaL_setmetatable(state, METATABLE.as_ptr());
        let name = ffi::lua_tolstring(state, ffi::lua_upvalueindex(1), &mut length);
        let name = std::slice::from_raw_parts(name.cast::<u8>(), length);
        (
            place,
            name,
            ffi::lua_toboolean(state, ffi::lua_upvalueindex(2)) != 0,
        )
    };
    let opened = catch_unwind(|| {
        let name = str::from_utf8(name).unwrap_or_default();
        State::open(name, asks).map_err(|error| match error {
            poller::OpenError::Unavailable { reason, .. } => errno_of(&reason),
            _ => libc::ENOSYS,
        })
    });
    match opened {
        Ok(Ok(opened)) => {
            // SAFETY: the value is alive on the stack, and dropped by `close` only.
            unsafe { *place = Some(opened) };
            1
        }
        // SAFETY: nothing lives here that needs dropping.
        Ok(Err(errno)) => unsafe { push_error(state, errno) },
        // SAFETY: as above.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

/// state:add(fd, readable, writable) → true | nil, text, errno
unsafe extern "C-unwind" fn add(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe { command(state, State::add) }
}

/// state:set(fd, readable, writable) → true | nil, text, errno
unsafe extern "C-unwind" fn set(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe { command(state, State::set) }
}

/// state:del(fd) → true | nil, text, errno
unsafe extern "C-unwind" fn del(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe { command(state, |polled, fd, _| polled.del(fd)) }
}

/// # Safety
/// Only as the whole of a function that Lua calls.
unsafe fn command(
    state: *mut lua_State,
    f: impl FnOnce(&mut State, RawFd, Interest) -> io::Result<()>,
) -> c_int {
    // SAFETY: reads the arguments, and raises where they do not fit.
    let (fd, interest) = unsafe {
        ffi::luaL_checkudata(state, 1, METATABLE.as_ptr());
        let fd = RawFd::try_from(ffi::luaL_checkinteger(state, 2)).unwrap_or(-1);
        let interest = Interest {
            readable: ffi::lua_toboolean(state, 3) != 0,
            writable: ffi::lua_toboolean(state, 4) != 0,
        };
        (fd, interest)
    };
    // SAFETY: the first argument was checked.
    match unsafe { with(state, |polled| f(polled, fd, interest)) } {
        Ok(()) => {
            // SAFETY: C functions have room for 20 values, here and below.
            unsafe { ffi::lua_pushboolean(state, 1) };
            1
        }
        // SAFETY: nothing lives here that needs dropping.
        Err(errno) => unsafe { push_error(state, errno) },
    }
}

/// state:wait(seconds) → fd, readable, writable | nil, "timeout" | nil, "signal" | nil, text, errno
///
/// What is left of the last wait comes first, whatever the argument.
unsafe extern "C-unwind" fn wait(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; raises where the first argument does not fit.
    let buffered = unsafe {
        ffi::luaL_checkudata(state, 1, METATABLE.as_ptr());
        with(state, |polled| Ok(polled.buffered()))
    };
    let found = match buffered {
        Ok(Some(found)) => Ok(Some(found)),
        Err(errno) => Err(errno),
        Ok(None) => {
            // SAFETY: raises where the argument does not fit.
            let timeout = unsafe {
                let timeout = ffi::luaL_checknumber(state, 2);
                if timeout.is_nan() || timeout < 0.0 {
                    return ffi::luaL_argerror(state, 2, c"positive number expected".as_ptr());
                }
                seconds(timeout)
            };
            // SAFETY: the first argument was checked.
            unsafe { with(state, |polled| polled.wait(timeout)) }
        }
    };
    // SAFETY: nothing lives here that needs dropping.
    unsafe {
        match found {
            Ok(Some((fd, readable, writable))) => {
                ffi::lua_pushinteger(state, fd.into());
                ffi::lua_pushboolean(state, readable.into());
                ffi::lua_pushboolean(state, writable.into());
                3
            }
            Ok(None) => push_nil_and(state, c"timeout"),
            Err(libc::EINTR) => push_nil_and(state, c"signal"),
            Err(errno) => push_error(state, errno),
        }
    }
}

/// state:getfd() → the descriptor of epoll | nil: another poller has none
unsafe extern "C-unwind" fn getfd(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; raises where the first argument does not fit.
    let fd = unsafe {
        ffi::luaL_checkudata(state, 1, METATABLE.as_ptr());
        with(state, State::fd)
    };
    match fd {
        Ok(Some(fd)) => {
            // SAFETY: nothing lives here that needs dropping, here and below.
            unsafe { ffi::lua_pushinteger(state, fd.into()) };
            1
        }
        Ok(None) => 0,
        // SAFETY: as above.
        Err(errno) => unsafe { push_error(state, errno) },
    }
}

/// __gc
unsafe extern "C-unwind" fn close(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua. What the value holds is taken out of it, so that a second call finds nothing.
    let closed = unsafe {
        let place = ffi::luaL_checkudata(state, 1, METATABLE.as_ptr());
        let held = (*place.cast::<Option<State>>()).take();
        catch_unwind(AssertUnwindSafe(|| drop(held)))
    };
    match closed {
        Ok(()) => 0,
        // SAFETY: nothing lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

/// __tostring: as on stock, with the name of the poller
unsafe extern "C-unwind" fn to_string(state: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; nothing lives here that needs dropping, and a poller's name is a constant.
    unsafe {
        let place = ffi::luaL_checkudata(state, 1, METATABLE.as_ptr());
        let name = with(state, |polled| Ok(polled.api())).unwrap_or("closed");
        ffi::lua_pushliteral(state, c"util.poll<");
        ffi::lua_pushlstring(state, name.as_ptr().cast(), name.len());
        ffi::lua_pushfstring(state, c">: %p".as_ptr(), place);
        ffi::lua_concat(state, 3);
    }
    1
}

/// Runs `f` on the first argument. One that was finalised already is a bad descriptor.
///
/// # Safety
/// The first argument is a state. Raises: the caller holds nothing that needs dropping.
unsafe fn with<R>(
    state: *mut lua_State,
    f: impl FnOnce(&mut State) -> io::Result<R>,
) -> std::result::Result<R, c_int> {
    // SAFETY: the value is alive, for it is an argument, and `f` calls no Lua that could get at it again.
    let polled = unsafe { &mut *ffi::lua_touserdata(state, 1).cast::<Option<State>>() };
    let result = catch_unwind(AssertUnwindSafe(|| match polled {
        Some(polled) => f(polled).map_err(|error| errno_of(&error)),
        None => Err(libc::EBADF),
    }));
    match result {
        Ok(result) => result,
        // SAFETY: as the function's own.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

fn errno_of(error: &io::Error) -> c_int {
    // util.poll treats a number that select cannot hold as one that is no descriptor.
    error.raw_os_error().unwrap_or(libc::EBADF)
}

/// # Safety
/// Raises for want of memory: the caller holds nothing that needs dropping.
unsafe fn push_nil_and(state: *mut lua_State, text: &'static std::ffi::CStr) -> c_int {
    // SAFETY: as the function's own.
    unsafe {
        ffi::lua_pushnil(state);
        ffi::lua_pushstring(state, text.as_ptr());
    }
    2
}

/// # Safety
/// As [`push_nil_and`].
unsafe fn push_error(state: *mut lua_State, errno: c_int) -> c_int {
    // SAFETY: as the function's own; Lua copies what strerror(3) points to.
    unsafe {
        ffi::lua_pushnil(state);
        ffi::lua_pushstring(state, libc::strerror(errno));
        ffi::lua_pushinteger(state, errno.into());
    }
    3
}
