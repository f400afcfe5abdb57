//! `network_settings` as an operator may have written them: any Lua value for any setting, and names that are none. What is refused is
//! named and keeps the value that it had. What was taken is taken again, and is then the same. Nothing raises an error in Lua.
//!
//! `cargo +nightly fuzz run settings`
//!
//! It links the system's Lua 5.4 (liblua5.4-dev). `crates/lua/spec/settings_spec.lua` does the like in the real module.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/lua/src"]
mod lua {
    pub mod convert;
    pub mod settings;
    pub mod similar;
}

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lua::{convert, settings, similar};
use mlua::{Lua, Table, Value};
use settings::Settings;
use trochee::EventLoop;

/// Most settings that are given at once.
const SETTINGS: u8 = 4;
/// How deep tables are in tables.
const DEPTH: u8 = 3;
/// Most entries of a table.
const ENTRIES: u8 = 5;

/// The names of the settings, which are in no list but that of the source.
static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let source = include_str!("../../crates/lua/src/settings.rs");
    let table = source.split("const SETTINGS:").nth(1).unwrap();
    let table = table.split("\n];").next().unwrap();
    let names: Vec<&str> = table
        .split('(')
        .filter_map(|row| row.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    assert!(names.len() > 30 && names.contains(&"read_timeout"));
    names
});

fuzz_target!(|input: &[u8]| {
    let lua = Lua::new();
    let mut input = Input(input);
    let mut settings = Settings::default();
    let mut reactor = EventLoop::new();
    for _ in 0..2 {
        let given = input.table(&lua, DEPTH, true);
        let before = in_force(&mut settings, &lua);
        let messages = settings
            .apply(&Value::Table(given.clone()), &mut reactor)
            .unwrap();
        let after = in_force(&mut settings, &lua);
        for (_, text) in &messages {
            let Some(name) = refused(text) else {
                continue;
            };
            assert!(given.contains_key(name).unwrap(), "{text}");
            assert_eq!(of(&after, name), of(&before, name), "{text}");
        }
        let again = settings.apply(&Value::Table(given), &mut reactor).unwrap();
        assert_eq!(in_force(&mut settings, &lua), after);
        let refusals = |messages: &[settings::Message]| -> Vec<String> {
            let refused = messages.iter().filter(|(_, text)| refused(text).is_some());
            refused.map(|(_, text)| text.clone()).collect()
        };
        assert_eq!(refusals(&again), refusals(&messages));
    }
});

/// The name of the setting whose value is refused by this line of the log.
fn refused(text: &str) -> Option<&str> {
    let (name, rest) = text
        .strip_prefix("network_settings.")?
        .split_once(" must be ")?;
    rest.contains("; keeping ").then_some(name)
}

/// Names and values, as text, so that they can be compared.
fn in_force(settings: &mut Settings, lua: &Lua) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = settings
        .in_force(lua)
        .unwrap()
        .pairs::<String, Value>()
        .map(|pair| {
            let (name, value) = pair.unwrap();
            (name, value.to_string().unwrap())
        })
        .collect();
    all.sort();
    all
}

fn of<'a>(settings: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = settings.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// What is left of the input. Behind its end there are zeros.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn text(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte() & 0x7f).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        text.to_vec()
    }

    /// A table; the outermost one has settings.
    fn table(&mut self, lua: &Lua, depth: u8, of_settings: bool) -> Table {
        let table = lua.create_table().unwrap();
        let most = if of_settings { SETTINGS } else { ENTRIES };
        for index in 1..=self.byte() % (most + 1) {
            let kind = self.byte();
            let key = match kind & 3 {
                0 | 1 if of_settings => name(lua, usize::from(self.byte())),
                2 if of_settings && kind & 4 != 0 => {
                    Value::String(lua.create_string(self.text()).unwrap())
                }
                0 | 1 => Value::Integer(index.into()),
                2 => name(lua, usize::from(self.byte())),
                _ => self.value(lua, 0),
            };
            let value = self.value(lua, depth - 1);
            // nil and not-a-number are no keys, and Lua says so itself.
            let _ = table.raw_set(key, value);
        }
        table
    }

    fn value(&mut self, lua: &Lua, depth: u8) -> Value {
        match self.byte() & 15 {
            0 => Value::Nil,
            1 => Value::Boolean(self.byte() & 1 != 0),
            2 | 3 => Value::Integer(self.byte().into()),
            4 => Value::Integer(self.number().cast_signed()),
            5 => Value::Number(f64::from_bits(self.number())),
            6 => Value::Number(f64::from(self.byte()) / 4.0),
            7 => Value::Number(f64::INFINITY),
            8 => Value::String(lua.create_string("auto").unwrap()),
            9 | 10 => Value::String(lua.create_string(self.text()).unwrap()),
            11 => Value::Integer((u32::from(self.byte()) << 8 | u32::from(self.byte())).into()),
            12 => Value::Function(lua.create_function(|_, ()| Ok(())).unwrap()),
            _ if depth == 0 => Value::Boolean(false),
            _ => Value::Table(self.table(lua, depth, false)),
        }
    }
}

fn name(lua: &Lua, index: usize) -> Value {
    Value::String(lua.create_string(NAMES[index % NAMES.len()]).unwrap())
}
