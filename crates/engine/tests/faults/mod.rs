//! The suite: one file for each kind of refusal.

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
