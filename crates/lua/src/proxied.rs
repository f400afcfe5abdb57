//! What a proxy has told of its client, as Lua sees it.

use mlua::{Lua, Result, Table};
use trochee::proxy_protocol::{Header, Proxied, Tls};

use crate::convert::key;
use crate::core::Functions;

pub(crate) fn register(functions: &Functions<'_>) -> Result<()> {
    // proxied(key) → table, as trochee.ProxyHeader of types.d.lua says | nil
    functions.add("proxied", |lua, core, number: Option<i64>| {
        let proxied = core.with(|reactor| reactor.proxied(key(number)));
        let proxied = proxied.flatten();
        proxied.map(|proxied| table(lua, &proxied)).transpose()
    })
}

fn table(lua: &Lua, Proxied { proxy, header, .. }: &Proxied) -> Result<Table> {
    let table = lua.create_table()?;
    if let Some(proxy) = proxy {
        table.raw_set("proxy_ip", proxy.ip().to_string())?;
        table.raw_set("proxy_port", proxy.port())?;
    }
    if let Some(ends) = header.ends {
        table.raw_set("source_ip", ends.source.ip().to_string())?;
        table.raw_set("source_port", ends.source.port())?;
        table.raw_set("destination_ip", ends.destination.ip().to_string())?;
        table.raw_set("destination_port", ends.destination.port())?;
    }
    table.raw_set("authority", header.authority())?;
    table.raw_set("alpn", bytes(lua, header.alpn())?)?;
    table.raw_set("unique_id", bytes(lua, header.unique_id())?)?;
    table.raw_set("tls", header.tls().map(|tls| facts(lua, &tls)).transpose()?)?;
    table.raw_set("tlvs", tlvs(lua, header)?)?;
    Ok(table)
}

fn bytes(lua: &Lua, bytes: Option<&[u8]>) -> Result<Option<mlua::LuaString>> {
    bytes.map(|bytes| lua.create_string(bytes)).transpose()
}

fn facts(lua: &Lua, tls: &Tls<'_>) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("version", tls.version)?;
    table.raw_set("cipher", tls.cipher)?;
    table.raw_set("has_certificate", tls.has_certificate)?;
    table.raw_set("is_verified", tls.is_verified)?;
    table.raw_set("common_name", tls.common_name)?;
    table.raw_set("signature_algorithm", tls.signature_algorithm)?;
    table.raw_set("key_algorithm", tls.key_algorithm)?;
    Ok(table)
}

/// The first value of each type.
fn tlvs(lua: &Lua, header: &Header) -> Result<Table> {
    let table = lua.create_table()?;
    for (kind, value) in header.tlvs() {
        if !table.contains_key(kind)? {
            table.raw_set(kind, lua.create_string(value)?)?;
        }
    }
    Ok(table)
}
