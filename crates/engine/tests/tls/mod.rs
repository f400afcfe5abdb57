//! The suite: one file for each property.

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

mod handshakes;
mod pki;
#[allow(dead_code)]
#[path = "../reactor/support.rs"]
mod support;
mod wire;

use std::time::Duration;

use pki::*;
use support::*;
use trochee::tls::{self, Context, Mode, Settings, Start, Tlsa};
use trochee::{Chunk, Close, Error, Key, Reactor, ReadSize, Reason, SocketKind};
use wire::*;
