//! The suite: one file for each kind of refusal.

macro_rules! driver {
    () => {
        match Driver::open() {
            Some(driver) => driver,
            None => return,
        }
    };
    ($($setting:ident: $value:expr),+ $(,)?) => {{
        let mut driver = driver!();
        let mut config = driver.reactor.config().clone();
        $(config.$setting = $value;)+
        driver.reactor.configure(config);
        driver
    }};
}

mod accepting;
mod matrix;
#[allow(dead_code)]
#[path = "../reactor/support.rs"]
mod support;
mod waiting;
mod watching;

use std::io::{Read, Write};
use std::time::Duration;

use super::interpose::{self, Call, Which, exempt};
use support::*;
use trochee::{Error, Interest, ReadSize, SocketKind};
