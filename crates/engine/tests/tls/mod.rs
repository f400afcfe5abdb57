//! The suite: one file for each property.

mod admission;
#[allow(dead_code)] // whoever measures asks for one number
#[path = "../security/bounds.rs"]
mod bounds;
mod choosing;
mod early;
mod floods;
mod forger;
mod handshakes;
mod hostile;
mod inline;
mod kinds;
mod late;
mod loading;
mod newcomers;
mod openssl;
mod oversize;
mod pki;
mod reading;
mod replaying;
mod resuming;
mod retrying;
mod s_server;
mod starttls;
mod streams;
#[allow(dead_code)]
#[path = "../reactor/support.rs"]
mod support;
mod unexpected;
mod verifying;
mod wire;

use std::io::Read as _;
use std::time::Duration;

use choosing::choosing;
use pki::*;
use support::*;
use trochee::tls::{Context, Material, Mode, OwnCertificate, Settings, Start, Tlsa, TrustedFiles};
use trochee::{Chunk, Close, Error, Key, ReadSize, Reason, SocketKind};
use wire::*;
