//! LuaSocket's `getoption`: what the system says of a socket, by the names that LuaSocket has.
#![allow(unsafe_code)] // a number says nothing about who owns the descriptor

use std::os::fd::RawFd;

use mlua::{Lua, Table, Value};
use rustix::net::sockopt;

use crate::descriptor::borrow;

/// The value as LuaSocket gives it: a boolean, a number, for "linger" a table, for "error" a text or `nil`.
///
/// # Errors
///
/// A text for a name that LuaSocket's TCP objects do not have, and what the system says.
pub(crate) fn read(lua: &Lua, fd: RawFd, name: &str) -> Result<Value, String> {
    // SAFETY: to ask for an option changes nothing for whoever owns the descriptor, and an error is read by one caller or another.
    let fd = unsafe { borrow(fd)? };
    let seconds = |after: std::time::Duration| Value::Integer(after.as_secs() as i64);
    let bytes = |size: usize| Value::Integer(size as i64);
    let value = match name {
        "keepalive" => sockopt::socket_keepalive(fd).map(Value::Boolean),
        "reuseaddr" => sockopt::socket_reuseaddr(fd).map(Value::Boolean),
        "reuseport" => sockopt::socket_reuseport(fd).map(Value::Boolean),
        "tcp-nodelay" => sockopt::tcp_nodelay(fd).map(Value::Boolean),
        "tcp-keepidle" => sockopt::tcp_keepidle(fd).map(seconds),
        "tcp-keepintvl" => sockopt::tcp_keepintvl(fd).map(seconds),
        "tcp-keepcnt" => sockopt::tcp_keepcnt(fd).map(|count| Value::Integer(count.into())),
        "tcp-user-timeout" => {
            sockopt::tcp_user_timeout(fd).map(|ms| Value::Integer((ms / 1000).into()))
        }
        "recv-buffer-size" => sockopt::socket_recv_buffer_size(fd).map(bytes),
        "send-buffer-size" => sockopt::socket_send_buffer_size(fd).map(bytes),
        "linger" => match sockopt::socket_linger(fd) {
            Ok(after) => return linger(lua, after).map_err(|error| error.to_string()),
            Err(errno) => Err(errno),
        },
        "error" => match sockopt::socket_error(fd) {
            Ok(Ok(())) => Ok(Value::Nil),
            Ok(Err(pending)) => {
                let text = trochee::Error::from(pending).to_string();
                return lua
                    .create_string(text)
                    .map(Value::String)
                    .map_err(|error| error.to_string());
            }
            Err(errno) => Err(errno),
        },
        _ => return Err(format!("unsupported option '{name}'")),
    };
    value.map_err(|errno| trochee::Error::from(errno).to_string())
}

fn linger(lua: &Lua, after: Option<std::time::Duration>) -> mlua::Result<Value> {
    let table: Table = lua.create_table()?;
    table.set("on", after.is_some())?;
    table.set("timeout", after.unwrap_or_default().as_secs())?;
    Ok(Value::Table(table))
}
