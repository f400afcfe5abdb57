//! The engine as a Lua module: `require "trochee"`.
//!
//! The module knows numbers and strings only. `new` returns a table of functions for one reactor. Connections, listeners,
//! watches and signals are integer keys there. What Prosody calls a backend (handles, listeners, the loop) is written in Lua
//! on top of it, in `net/server_trochee.lua`. So no Rust frame is on the stack below a callback that yields, raises or calls
//! `os.exit`.
//!
//! Functions that may fail return `nil` and a text, as Lua's own libraries do. Nothing here panics because of what Lua passed.

mod blocked;
mod capi;
mod commands;
mod connections;
mod convert;
mod core;
mod descriptor;
mod proxied;
mod sample;
mod settings;
mod similar;
mod socket_option;
mod statistics;
mod tls;
mod util_poll;

use mlua::{Lua, Result, Table};

/// Entry point: the table with `new`, the numbers of the events, util.poll, `similar`, and the version.
#[mlua::lua_module(name = "trochee")]
fn trochee_module(lua: &Lua) -> Result<Table> {
    let module = lua.create_table()?;
    module.set("new", lua.create_function(|lua, ()| commands::new(lua))?)?;
    module.set("events", capi::kinds(lua)?)?;
    module.set(
        "util_poll",
        lua.create_function(|lua, arguments| {
            convert::answer(lua, util_poll::module(lua, arguments)?)
        })?,
    )?;
    // similar(word, names) → the name that was meant | nil
    module.set(
        "similar",
        lua.create_function(|_, (word, names): (String, Vec<String>)| {
            Ok(similar::similar(&word, names.iter().map(String::as_str)).map(str::to_owned))
        })?,
    )?;
    // give_back(): memory that was freed goes back to the system
    module.set(
        "give_back",
        lua.create_function(|_, ()| {
            trochee::memory::give_back();
            Ok(())
        })?,
    )?;
    module.set("_VERSION", env!("CARGO_PKG_VERSION"))?;
    Ok(module)
}
