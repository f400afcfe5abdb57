//! What stands in the place of TLS where the crate is built without it: types of which nothing can be made, with the interface of
//! those that they stand for. So only this folder knows of the feature, and the compiler drops what would need a session.

use std::convert::Infallible;
use std::net::IpAddr;

use super::{Info, Mode, Start, VerifyError};
use crate::buffer::OutQueue;
use crate::spares::Spares;

/// What handshakes are made with. This build has no TLS (feature `tls`), so there is no way to make one.
#[derive(Clone, Debug)]
pub struct Context {
    never: Infallible,
}

impl Context {
    /// Which end of a connection it is for.
    pub fn mode(&self) -> Mode {
        match self.never {}
    }
}

/// No context can be made.
pub(crate) fn contexts_alive() -> u64 {
    0
}

pub(crate) struct Session {
    never: Infallible,
    pub(crate) tell_connected: bool,
}

#[expect(dead_code, reason = "there is no handshake that could make progress")]
pub(crate) enum Progress {
    More,
    Asked {
        server_name: Option<String>,
        alpn: Vec<Vec<u8>>,
    },
    Waits,
    Done,
}

/// Methods of a session, of which none can be called.
macro_rules! methods {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)+) => {
        impl Session {
            $(pub(crate) fn $name(&mut self, $(_: $argument),*) $(-> $result)? {
                match self.never {}
            })+
        }
    };
}

/// The same for those that change nothing.
macro_rules! questions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)+) => {
        impl Session {
            $(pub(crate) fn $name(&self, $(_: $argument),*) -> $result {
                match self.never {}
            })+
        }
    };
}

impl Session {
    pub(crate) fn new(start: Start, _plaintext: OutQueue) -> Session {
        match start.context.never {}
    }

    // Their results borrow from the session.

    pub(crate) fn context(&self) -> &Context {
        match self.never {}
    }

    pub(crate) fn output(&self) -> &OutQueue {
        match self.never {}
    }

    pub(crate) fn errors(&self) -> &Vec<Vec<VerifyError>> {
        match self.never {}
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        match self.never {}
    }
}

methods! {
    begin(Option<IpAddr>, u64) -> Result<(), String>;
    handshake(&mut [u8], u64) -> Result<Progress, String>;
    accept(Context, Option<Vec<Vec<u8>>>) -> Result<(), String>;
    refuse();
    answer(u64) -> Result<Progress, String>;
    restart_step(u64, u64);
    take_in(&mut [u8], &mut [u8]) -> usize;
    take_out(&mut [u8]) -> usize;
    take_partial(&mut [u8]);
    seal_and_send(
        &mut OutQueue,
        &mut Spares,
        &mut &[u8],
        bool,
        impl FnOnce(&[u8]) -> rustix::io::Result<usize>
    ) -> Option<rustix::io::Result<usize>>;
    say_goodbye();
    output_sent(usize);
}

questions! {
    begun() -> u64;
    is_secured() -> bool;
    wants_handshake() -> bool;
    is_asked() -> bool;
    waits_for_answer() -> bool;
    has_all() -> bool;
    resumes() -> bool;
    deadline(u64) -> Option<u64>;
    has_input() -> bool;
    has_unread() -> bool;
    input_held() -> usize;
    partial() -> usize;
    is_at_end() -> bool;
    has_output() -> bool;
    output_left() -> usize;
    info() -> Option<Info>;
    version() -> Option<&'static str>;
    peer_certificates() -> Vec<Vec<u8>>;
    export(&[u8], Option<&[u8]>, usize) -> Option<Vec<u8>>;
}

/// Names of hosts, which only contexts have.
pub(crate) mod name {
    pub(crate) fn to_ascii(name: &[u8]) -> String {
        String::from_utf8_lossy(name).to_ascii_lowercase()
    }
}
