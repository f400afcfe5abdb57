//! `conn:write(data)`: what it writes, and whether somebody wants to hear of the flush. The fields of the handle are looked at here,
//! because each instruction of Lua's virtual machine costs as much as half of such a look.
#![allow(unsafe_code)] // the C API of Lua

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{self, lua_State};
use trochee::{Error, Key};

use super::{Pushed, UPVALUE_LISTENERS, UPVALUE_ONDRAIN, UPVALUE_ONPREDRAIN, core_of, fail, push};
use crate::core::Core;

/// Where in Lua's registry the function is that hears of each write, while [`Core::tells_writes`] says that there is one.
pub(crate) const WRITES_TOLD_TO: &CStr = c"trochee.writes";

/// write(handle, data) → bytes taken | false: too many queued | nil: over, or closing | nil, why not.
///
/// `handle[1]` is the key. PREDRAIN and DRAIN follow where the listeners of the handle have a callback for one of these, or where the
/// handle has an `ondrain` of its own.
pub(super) unsafe extern "C-unwind" fn write(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`.
    let core = unsafe { core_of(state) };
    let (mut is_key, mut length) = (0, 0);
    // SAFETY: reads the arguments; a missing one reads as nil. The string stays on the stack for as long as it is used. To look up a field
    // may raise, and nothing lives here that needs dropping.
    let (key, data, notify) = unsafe {
        let data = ffi::lua_tolstring(state, 2, &mut length);
        if data.is_null() {
            return bad_data(state);
        }
        ffi::lua_geti(state, 1, 1);
        let key = ffi::lua_tointegerx(state, -1, &mut is_key);
        let notify = wants_flush(state);
        (
            key,
            std::slice::from_raw_parts(data.cast::<u8>(), length),
            notify,
        )
    };
    if is_key == 0 {
        return 0;
    }
    let queued = catch_unwind(AssertUnwindSafe(|| {
        queue(core, Key::from_bits(key as u64), data, notify)
    }));
    let [result, reason] = match queued {
        Ok(results) => results,
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    };
    let mut count = 1;
    // SAFETY: C functions have room for 20 values, and nothing has used the core since `queue`.
    unsafe {
        push(state, result);
        if !matches!(reason, Pushed::Nothing) {
            push(state, reason);
            count = 2;
        }
        if core.tells_writes.get() {
            tell(state, count);
        }
    }
    count
}

/// Tells of a write whose results, so many, are on top of the stack, where they stay: calls what `tell_writes` was given with the handle,
/// the data and these.
///
/// # Safety
/// May raise: the caller holds nothing that needs dropping.
#[cold]
unsafe fn tell(state: *mut lua_State, count: c_int) {
    // SAFETY: as the function's own. There is room for these six values beside the few that `write` has pushed.
    unsafe {
        ffi::lua_getfield(state, ffi::LUA_REGISTRYINDEX, WRITES_TOLD_TO.as_ptr());
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushvalue(state, 2);
        for _ in 0..count {
            ffi::lua_pushvalue(state, -(3 + count));
        }
        ffi::lua_call(state, 2 + count, 0);
    }
}

/// Whether somebody wants to hear of the flush. Leaves up to four values on the stack.
///
/// # Safety
/// The handle is the first argument. May raise: the caller holds nothing that needs dropping.
unsafe fn wants_flush(state: *mut lua_State) -> bool {
    // SAFETY: as the function's own; the names are upvalues of a closure of `register`.
    unsafe {
        if is_set(state, 1, UPVALUE_LISTENERS)
            && (is_set(state, -2, UPVALUE_ONDRAIN) || is_set(state, -3, UPVALUE_ONPREDRAIN))
        {
            return true;
        }
        // The method `ondrain` is in the metatable, and calls that of the listeners.
        ffi::lua_type(state, 1) == ffi::LUA_TTABLE && {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(UPVALUE_ONDRAIN));
            ffi::lua_rawget(state, 1) != ffi::LUA_TNIL
        }
    }
}

/// Pushes a field of what is at `index` when the field's name is on top of the stack; whether it is neither nil nor false.
///
/// # Safety
/// May raise: the caller holds nothing that needs dropping. `name` is an upvalue of a closure of `register`.
#[inline]
unsafe fn is_set(state: *mut lua_State, index: c_int, name: c_int) -> bool {
    // SAFETY: as the function's own.
    unsafe {
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(name));
        ffi::lua_gettable(state, index) != ffi::LUA_TNIL && ffi::lua_toboolean(state, -1) != 0
    }
}

fn queue(core: &Core, key: Key, data: &[u8], notify: bool) -> [Pushed; 2] {
    use Pushed::*;
    let written = core.with(|reactor| {
        if notify {
            reactor.notify_flush(key, true);
        }
        reactor.write(key, data)
    });
    match written {
        Some(Ok(count)) => [Integer(count as i64), Nothing],
        Some(Err(Error::SendBufferFull)) => [Boolean(false), Nothing],
        Some(Err(Error::Closed)) | None => [Nothing, Nothing],
        Some(Err(error)) => {
            let mut kept = core.text.borrow_mut();
            *kept = error.to_string();
            [Nothing, Bytes(kept.as_ptr(), kept.len())]
        }
    }
}

/// Raises an error about the second argument. It names the handle's method, and the place where that was called.
///
/// # Safety
/// Raises: the caller holds nothing that needs dropping.
unsafe fn bad_data(state: *mut lua_State) -> c_int {
    // SAFETY: as the function's own.
    unsafe {
        let found = ffi::luaL_typename(state, 2);
        // 0 is the handle's method, 1 who called it
        ffi::luaL_where(state, 1);
        ffi::lua_pushliteral(state, c"bad argument #1 to 'write' (string expected, got ");
        ffi::lua_pushstring(state, found);
        ffi::lua_pushliteral(state, c")");
        ffi::lua_concat(state, 4);
        ffi::lua_error(state)
    }
}
