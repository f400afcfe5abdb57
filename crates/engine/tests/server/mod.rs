//! The suite: one file for each property. The vocabulary they share is in `running.rs`.

/// Returns from the test if the poller is not available here.
macro_rules! available {
    () => {
        if Driver::open().is_none() {
            return;
        }
    };
}

mod ending;
mod handles;
mod outgoing;
mod proxied;
mod running;
mod secured;
mod serving;
mod snapshots;
mod threads;

#[allow(dead_code)]
#[path = "../tls/pki.rs"]
mod pki;
#[allow(dead_code)]
#[path = "../reactor/support.rs"]
mod support;
#[allow(dead_code)]
#[path = "../tls/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pki::*;
use running::*;
use support::*;
use trochee::server::{Builder, Contexts, Listen, ServerHandle, Status};
use trochee::tls::{Context, Mode, Settings, Start};
use trochee::{
    Config, Conn, Error, Handle, Handler, Key, Level, Name, ReadSize, Reason, Server, SocketKind,
    TimerId,
};
use wire::{named, peer_client};
