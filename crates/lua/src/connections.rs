//! What Lua is told of connections.

use std::cell::RefCell;

use mlua::{Lua, Result, Table};
use trochee::{AddressInfo, ConnectionInfo, Meter, Overview};

use crate::convert::key_number;
use crate::core::Functions;

pub(crate) fn register(functions: &Functions<'_>) -> Result<()> {
    // connections() → array of what is known of each: key, stage, and numbers in seconds and bytes
    functions.add("connections", |lua, core, ()| {
        let connections = core.with(|reactor| reactor.connections());
        let described = connections.unwrap_or_default().into_iter();
        let described = described.map(|info| connection(lua, &info));
        lua.create_sequence_from(described.collect::<Result<Vec<_>>>()?)
    })?;
    // meter() → function (most): the connections and addresses that are worth a look; busy is what moved since its last call
    let owner = functions.owner.clone();
    functions.add("meter", move |lua, _, ()| {
        let (owner, meter) = (owner.clone(), RefCell::new(Meter::default()));
        lua.create_function(move |lua, most: usize| {
            let connections = owner.core().with(|reactor| reactor.connections());
            let seen = meter
                .borrow_mut()
                .look(connections.unwrap_or_default(), most);
            overview(lua, &seen)
        })
    })
}

fn connection(lua: &Lua, info: &ConnectionInfo) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("key", key_number(info.key))?;
    table.raw_set("stage", info.stage.as_str())?;
    table.raw_set("tls", info.tls)?;
    table.raw_set("age", info.age.as_secs_f64())?;
    table.raw_set("idle", info.idle.as_secs_f64())?;
    table.raw_set("reads", info.reads)?;
    table.raw_set("received", info.received)?;
    table.raw_set("sent", info.sent)?;
    table.raw_set("queued", info.queued)?;
    if let Some(tcp) = info.tcp {
        table.raw_set("round_trip", tcp.round_trip.as_secs_f64())?;
        table.raw_set("retransmits", tcp.retransmits)?;
        table.raw_set("unacknowledged", tcp.unacknowledged)?;
    }
    Ok(table)
}

fn address(lua: &Lua, found: &AddressInfo) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("address", found.address.to_string())?;
    table.raw_set("connections", found.connections)?;
    table.raw_set("newcomers", found.newcomers)?;
    table.raw_set("newest", found.newest.as_secs_f64())?;
    table.raw_set("received", found.received)?;
    table.raw_set("rate", found.rate)?;
    Ok(table)
}

fn overview(lua: &Lua, seen: &Overview) -> Result<Table> {
    let connections = seen.connections.iter().map(|one| {
        let table = connection(lua, &one.info)?;
        table.raw_set("rate", one.rate)?;
        Ok(table)
    });
    let addresses = seen.addresses.iter().map(|found| address(lua, found));
    let table = lua.create_table()?;
    let connections = connections.collect::<Result<Vec<_>>>()?;
    table.raw_set("connections", lua.create_sequence_from(connections)?)?;
    table.raw_set("connection_count", seen.connection_count)?;
    let addresses = addresses.collect::<Result<Vec<_>>>()?;
    table.raw_set("addresses", lua.create_sequence_from(addresses)?)?;
    table.raw_set("address_count", seen.address_count)?;
    Ok(table)
}
