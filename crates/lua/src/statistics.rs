//! What Lua is told of what is counted beside the plain counters: histograms, tallies, listeners.

use mlua::{Lua, Result, Table};
use trochee::{Histogram, ListenerInfo, Name, Stats, Tallies, Tally, Unit};

use crate::convert::key_number;
use crate::core::Functions;

pub(crate) fn register(functions: &Functions<'_>) -> Result<()> {
    // histograms() → by name: the bounds of its buckets, how many were up to each and at the end how many in all, and their sum; times in
    // seconds
    functions.add("histograms", |lua, core, ()| {
        let stats = core.with(|reactor| reactor.stats()).unwrap_or_default();
        let all = stats.histograms();
        let tables = all.map(|(name, unit, found)| Ok((name, histogram(lua, unit, &found)?)));
        lua.create_table_from(tables.collect::<Result<Vec<_>>>()?)
    })?;
    // describe_histograms() → what each of them measures, by name
    functions.add("describe_histograms", |lua, _, ()| {
        lua.create_table_from(Stats::describe_histograms())
    })?;
    // tallies() → by name: how often each kind was counted, by the name of the kind
    functions.add("tallies", |lua, core, ()| {
        let tallies = core.with(|reactor| reactor.tallies()).unwrap_or_default();
        let tables = tallies
            .iter()
            .map(|(name, found)| Ok((name, tally(lua, found)?)));
        lua.create_table_from(tables.collect::<Result<Vec<_>>>()?)
    })?;
    // describe_tallies() → by name: what the kinds are called, and what is counted
    functions.add("describe_tallies", |lua, _, ()| {
        let all = Tallies::describe();
        let tables = all.map(|(name, label, about)| {
            Ok((
                name,
                lua.create_table_from([("label", label), ("about", about)])?,
            ))
        });
        lua.create_table_from(tables.collect::<Result<Vec<_>>>()?)
    })?;
    // listeners() → array of what is known of each: key, address, port, and numbers of connections
    functions.add("listeners", |lua, core, ()| {
        let listeners = core.with(|reactor| reactor.listeners());
        let described = listeners.unwrap_or_default().into_iter();
        let described = described.map(|info| listener(lua, &info));
        lua.create_sequence_from(described.collect::<Result<Vec<_>>>()?)
    })
}

fn histogram(lua: &Lua, unit: Unit, found: &Histogram) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("bounds", lua.create_sequence_from(Histogram::bounds(unit))?)?;
    table.raw_set("counts", lua.create_sequence_from(found.up_to())?)?;
    table.raw_set("sum", found.sum(unit))?;
    Ok(table)
}

fn tally(lua: &Lua, found: &Tally) -> Result<Table> {
    lua.create_table_from(found.iter())
}

fn listener(lua: &Lua, info: &ListenerInfo) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("key", key_number(info.key))?;
    match &info.name {
        Some(Name::Inet(address)) => {
            table.raw_set("address", address.ip().to_string())?;
            table.raw_set("port", address.port())?;
        }
        name => {
            let name = name.as_ref().map(ToString::to_string);
            table.raw_set("address", name.unwrap_or_default())?;
        }
    }
    table.raw_set("accepted", info.accepted)?;
    table.raw_set("refused", info.refused)?;
    table.raw_set("open", info.open)?;
    Ok(table)
}
