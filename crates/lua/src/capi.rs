//! The functions that run for every message, for every connection that begins or ends ([`life`]), and for every timer that is set and
//! stopped again. They are written against Lua's C API, because mlua's conversions would cost as much as all the rest of the loop.
//!
//! The rules here:
//!
//! - To raise an error is a longjmp. So no Rust value that has to be dropped may be alive during a call that may raise.
//! - A panic is caught by `catch_unwind` and becomes a Lua error.
//! - Whenever Lua allocates it may run finalisers, and these may call the same core. So nothing is borrowed at that time.
#![allow(unsafe_code)] // the C API of Lua

use std::borrow::Cow;
use std::ffi::{c_char, c_int};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Result, Table};
use trochee::{Chunk, Event, Key};

use crate::blocked::{clock, coarse_clock};
use crate::convert::{key_number, seconds, timer, timer_number};
use crate::core::{Core, Owner};

mod life;
mod writing;

pub(crate) use writing::WRITES_TOLD_TO;

const DATA: i64 = 1;
const DRAIN: i64 = 2;
const PREDRAIN: i64 = 3;
const ACCEPTED: i64 = 4;
const CONNECTED: i64 = 5;
const CLOSED: i64 = 6;
const READ_TIMEOUT: i64 = 7;
const READY: i64 = 8;
const TIMER: i64 = 9;
const SIGNAL: i64 = 10;
const NOTICE: i64 = 11;
const CLIENT_HELLO: i64 = 12;
const SECURED: i64 = 13;
const SLOW: i64 = 14;

/// The numbers that `next_event` returns for each kind of event.
pub(crate) fn kinds(lua: &Lua) -> Result<Table> {
    lua.create_table_from([
        ("DATA", DATA),
        ("DRAIN", DRAIN),
        ("PREDRAIN", PREDRAIN),
        ("ACCEPTED", ACCEPTED),
        ("CONNECTED", CONNECTED),
        ("CLOSED", CLOSED),
        ("READ_TIMEOUT", READ_TIMEOUT),
        ("READY", READY),
        ("TIMER", TIMER),
        ("SIGNAL", SIGNAL),
        ("NOTICE", NOTICE),
        ("CLIENT_HELLO", CLIENT_HELLO),
        ("SECURED", SECURED),
        ("SLOW", SLOW),
    ])
}

/// Adds these functions to the table of a core.
pub(crate) fn register(lua: &Lua, table: &Table, owner: Owner) -> Result<()> {
    for (name, function) in [
        ("next_event", next_event as ffi::lua_CFunction),
        ("write", writing::write),
        ("set_timer", set_timer),
        ("cancel_timer", cancel_timer),
        ("end_info", life::end_info),
        ("names", life::names),
        ("now", life::now),
        ("close", life::close),
        ("destroy", life::destroy),
    ] {
        let core: *const Core = owner.core();
        let owner = lua.create_userdata(owner.clone())?;
        // SAFETY: takes the owner from the stack and leaves a closure, whose upvalues are what UPVALUE_… say.
        let function: Function = unsafe {
            lua.exec_raw(owner, |state| {
                ffi::lua_pushlightuserdata(state, core.cast_mut().cast());
                ffi::lua_insert(state, -2);
                for name in [
                    c"timeout",
                    c"closed",
                    c"listeners",
                    c"ondrain",
                    c"onpredrain",
                ] {
                    ffi::lua_pushliteral(state, name);
                }
                ffi::lua_pushcclosure(state, function, 7);
            })?
        };
        table.set(name, function)?;
    }
    Ok(())
}

// The owner is upvalue 2. Nobody reads it: it is there to live as long as the closure.
const UPVALUE_CORE: c_int = 1;
const UPVALUE_TIMEOUT: c_int = 3;
const UPVALUE_CLOSED: c_int = 4;
const UPVALUE_LISTENERS: c_int = 5;
const UPVALUE_ONDRAIN: c_int = 6;
const UPVALUE_ONPREDRAIN: c_int = 7;

/// # Safety
/// Only within a function that [`register`] made.
unsafe fn core_of(state: *mut lua_State) -> &'static Core {
    // SAFETY: the upvalue is the address of a `Core`, and these are never freed.
    unsafe { &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(UPVALUE_CORE)).cast::<Core>() }
}

/// A result on its way to Lua. It does not have to be dropped.
#[derive(Clone, Copy)]
enum Pushed {
    Nothing,
    Integer(i64),
    Boolean(bool),
    /// Points into the reactor's read buffer, or into [`Core::text`]: valid until the next call of the core.
    Bytes(*const u8, usize),
    Upvalue(c_int),
}

/// next_event(goes on, kind before) → kind, key, a, b | nothing: the turn is over.
///
/// It is the iterator of a `for` over one turn. Without a kind before, it begins a turn, unless it is told to go on with one that
/// has begun.
///
/// | kind                   | key      | a                | b                                        |
/// |------------------------|----------|------------------|------------------------------------------|
/// | DATA                   | handle   | string           | nil, "timeout" (all for now) or "closed" |
/// | ACCEPTED               | handle   | listener's key   |                                          |
/// | CLOSED                 | handle   | reason or nil    | whether something may be cut off         |
/// | READY                  | watch    | readable         | writable                                 |
/// | SIGNAL                 | watch    | signal           |                                          |
/// | TIMER                  | timer id |                  |                                          |
/// | NOTICE                 | 0        | level            | text                                     |
/// | CLIENT_HELLO           | handle   | name or nil      | protocols, each behind a byte of length  |
/// | SLOW                   | that of the last event | its kind | milliseconds until this call            |
/// | CONNECTED, SECURED, READ_TIMEOUT, PREDRAIN, DRAIN | handle | |                                 |
unsafe extern "C-unwind" fn next_event(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`.
    let core = unsafe { core_of(state) };
    // SAFETY: reads the arguments; a missing one reads as nil.
    let begins =
        unsafe { ffi::lua_isnoneornil(state, 2) != 0 && ffi::lua_toboolean(state, 1) == 0 };
    let mut told = Told::new(0, 0);
    match catch_unwind(AssertUnwindSafe(|| {
        if begins {
            begin(core);
        }
        next(core, state, &mut told)
    })) {
        Ok(true) => {}
        Ok(false) => return 0,
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    };
    // SAFETY: C functions have room for 20 values; nothing used the core since `pull`, so pointers hold.
    unsafe {
        ffi::lua_pushinteger(state, told.kind);
        ffi::lua_pushinteger(state, told.key);
        if matches!(told.b, Pushed::Nothing) {
            if matches!(told.a, Pushed::Nothing) {
                return 2;
            }
            push(state, told.a);
            return 3;
        }
        push(state, told.a);
        push(state, told.b);
    }
    4
}

/// What `next_event` returns to Lua.
struct Told {
    kind: i64,
    key: i64,
    a: Pushed,
    b: Pushed,
}

impl Told {
    fn new(kind: i64, key: i64) -> Told {
        Told {
            kind,
            key,
            a: Pushed::Nothing,
            b: Pushed::Nothing,
        }
    }

    fn with(self, a: Pushed, b: Pushed) -> Told {
        Told { a, b, ..self }
    }
}

fn begin(core: &Core) {
    // An error may have left the last turn. What came since is nobody's callback.
    core.busy.end();
    core.sample.give_up();
    core.watch();
    core.with(|reactor| reactor.begin_turn(Some(core.max_wait.get())));
}

/// The next event, or before it that what Lua did about the last one took too long. False where the turn is over.
#[inline]
fn next(core: &Core, state: *mut lua_State, told: &mut Told) -> bool {
    if let Some(took) = core.sample.end() {
        core.with(|reactor| reactor.count_callback(took));
    }
    if let Some(began) = core.busy.end()
        && let Some(most) = core.slow_callback.get()
    {
        let now = coarse_clock();
        core.looked.set(now);
        if now - began >= most {
            *told = tell_slow(core, began);
            return true;
        }
    }
    if !pull(core, told) {
        return false;
    }
    core.last.set((told.kind, told.key));
    core.sample.begin();
    if core.slow_callback.get().is_some() {
        core.busy.begin(state, beginning(core, told.kind));
    }
    true
}

/// When the event begins that Lua is about to be given. The clock was looked at when Lua had dealt with the event before, and by the
/// reactor after its last wait: the later of the two costs nothing.
#[inline]
fn beginning(core: &Core, kind: i64) -> i64 {
    let looked = core.looked.get();
    match kind {
        DATA | ACCEPTED | TIMER | READY if looked != 0 => looked.max(core.turned.get()),
        // The others may come before the wait, and nobody has looked since the turn before.
        _ => coarse_clock(),
    }
}

#[cold]
fn tell_slow(core: &Core, began: i64) -> Told {
    // The other clock is some milliseconds late.
    let took = clock() - began;
    core.with(|reactor| reactor.count_slow_callback());
    core.slow_since.set(began);
    // To tell of it takes time as well.
    core.looked.set(0);
    let (kind, key) = core.last.get();
    let (kind, took) = (Pushed::Integer(kind), Pushed::Integer(took / 1_000_000));
    Told::new(SLOW, key).with(kind, took)
}

/// Takes the next event from the reactor, if there is one. Nearly always it is data.
#[inline]
fn pull(core: &Core, told: &mut Told) -> bool {
    let pulled = core.with(|reactor| {
        let Some(event) = reactor.next_event() else {
            return false;
        };
        if let Event::Data { key, data, end } = event {
            let data = Pushed::Bytes(data.as_ptr(), data.len());
            let err = match end {
                Chunk::Full => Pushed::Nothing,
                Chunk::Short => Pushed::Upvalue(UPVALUE_TIMEOUT),
                Chunk::Last => Pushed::Upvalue(UPVALUE_CLOSED),
            };
            *told = Told::new(DATA, key_number(key)).with(data, err);
            // There is nothing in it to be dropped, which the compiler would have looked for.
            forget(event);
        } else {
            *told = other(core, event);
        }
        core.turned.set(reactor.clock() as i64);
        true
    });
    pulled.unwrap_or(false)
}

/// What Lua is told of an event that is no data.
#[inline(never)]
fn other(core: &Core, event: Event<'_>) -> Told {
    use Pushed::*;
    let text = |text: &str| {
        let mut kept = core.text.borrow_mut();
        kept.clear();
        kept.push_str(text);
        Bytes(kept.as_ptr(), kept.len())
    };
    let of = |kind: i64, key: Key| Told::new(kind, key_number(key));
    match event {
        Event::Drain { key } => of(DRAIN, key),
        Event::Predrain { key } => of(PREDRAIN, key),
        Event::Accepted { listener, key } => {
            of(ACCEPTED, key).with(Integer(key_number(listener)), Nothing)
        }
        Event::Connected { key } => of(CONNECTED, key),
        Event::Closed { key, reason, info } => {
            core.ended.set(Some((key, info)));
            let cut_off = Boolean(!reason.is_orderly());
            let reason = reason
                .text()
                .map_or(Nothing, |reason: Cow<str>| text(&reason));
            of(CLOSED, key).with(reason, cut_off)
        }
        Event::ReadTimeout { key } => of(READ_TIMEOUT, key),
        Event::Secured { key } => of(SECURED, key),
        Event::ClientHello {
            key,
            server_name,
            alpn,
        } => {
            let mut kept = core.bytes.borrow_mut();
            kept.clear();
            for name in &alpn {
                // As in the protocol, where none is longer
                kept.push(name.len() as u8);
                kept.extend_from_slice(name);
            }
            let protocols = Bytes(kept.as_ptr(), kept.len());
            let server_name = server_name.map_or(Nothing, |name| text(&name));
            of(CLIENT_HELLO, key).with(server_name, protocols)
        }
        Event::Ready {
            key,
            readable,
            writable,
        } => of(READY, key).with(Boolean(readable), Boolean(writable)),
        Event::Timer { id } => Told::new(TIMER, timer_number(id)),
        Event::Signal { key, signal } => of(SIGNAL, key).with(Integer(signal.into()), Nothing),
        Event::Notice {
            level,
            text: notice,
        } => {
            let level = level.as_str();
            let level = Bytes(level.as_ptr(), level.len());
            Told::new(NOTICE, 0).with(level, text(&notice))
        }
        // A kind that a later engine has, and that Lua does not know.
        _ => Told::new(0, 0),
    }
}

/// set_timer(seconds) → id
unsafe extern "C-unwind" fn set_timer(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`; reads the argument, nil reads as 0.
    let (core, after) = unsafe { (core_of(state), ffi::lua_tonumber(state, 1)) };
    match catch_unwind(AssertUnwindSafe(|| {
        core.with(|reactor| reactor.set_timer(seconds(after)))
    })) {
        Ok(Some(id)) => {
            // SAFETY: as in `next_event`.
            unsafe { ffi::lua_pushinteger(state, timer_number(id)) };
            1
        }
        Ok(None) => 0,
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

/// cancel_timer(id) → whether it was still to come
unsafe extern "C-unwind" fn cancel_timer(state: *mut lua_State) -> c_int {
    // SAFETY: a closure of `register`; reads the argument, nil reads as 0.
    let (core, id) = unsafe { (core_of(state), ffi::lua_tointeger(state, 1)) };
    match catch_unwind(AssertUnwindSafe(|| {
        core.with(|reactor| reactor.cancel_timer(timer(id)))
    })) {
        Ok(was_to_come) => {
            // SAFETY: as in `next_event`.
            unsafe { ffi::lua_pushboolean(state, was_to_come.unwrap_or(false).into()) };
            1
        }
        // SAFETY: no Rust value lives here that needs dropping.
        Err(panic) => unsafe { fail(state, panic) },
    }
}

/// # Safety
/// The stack has room, and what a `Bytes` points to is alive; Lua copies it before it may run a finaliser.
unsafe fn push(state: *mut lua_State, value: Pushed) {
    // SAFETY: as the function's own.
    unsafe {
        match value {
            Pushed::Nothing => ffi::lua_pushnil(state),
            Pushed::Integer(number) => ffi::lua_pushinteger(state, number),
            Pushed::Boolean(value) => ffi::lua_pushboolean(state, value.into()),
            Pushed::Bytes(bytes, length) => {
                ffi::lua_pushlstring(state, bytes.cast::<c_char>(), length);
            }
            Pushed::Upvalue(index) => ffi::lua_pushvalue(state, ffi::lua_upvalueindex(index)),
        }
    }
}

/// Turns a panic into a Lua error. A panic is a mistake in this program, not in what Lua did.
///
/// # Safety
/// Raises: the caller holds nothing that needs dropping.
pub(crate) unsafe fn fail(state: *mut lua_State, panic: Box<dyn std::any::Any + Send>) -> ! {
    drop(panic);
    // SAFETY: as the function's own.
    unsafe {
        ffi::lua_pushliteral(
            state,
            c"trochee: internal error, please report it with the text on standard error",
        );
        ffi::lua_error(state)
    }
}
