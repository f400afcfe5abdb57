//! What the service manager is told: sd_notify(3), and the watchdog of sd_watchdog_enabled(3).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::log::Log;

/// The service manager, if it wants to hear of us.
pub struct Manager(Option<(UnixDatagram, SocketAddr)>);

impl Manager {
    /// The one that `NOTIFY_SOCKET` names.
    pub fn from_environment(log: &Log) -> Manager {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Manager(None);
        };
        let open = || {
            let name = name.as_encoded_bytes();
            let address = match name {
                [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
                [b'/', ..] => SocketAddr::from_pathname(std::path::Path::new(
                    std::str::from_utf8(name).map_err(io::Error::other)?,
                ))?,
                _ => return Err(io::Error::other("neither a path nor an abstract socket")),
            };
            let socket = UnixDatagram::unbound()?;
            // Whoever is stuck there must not stop us.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        };
        let opened = open().map_err(|error: io::Error| {
            log.say(&format!(
                "the service manager cannot be told anything: NOTIFY_SOCKET {}: {error}",
                name.display()
            ));
        });
        Manager(opened.ok())
    }

    /// Clients can connect.
    pub fn ready(&self, log: &Log) {
        self.tell("READY=1", log);
    }

    /// Certificates are read anew, until [`ready`](Manager::ready).
    pub fn reloading(&self, log: &Log) {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        let text = format!("RELOADING=1\nMONOTONIC_USEC={microseconds}");
        self.tell(&text, log);
    }

    /// Nobody new is accepted any more.
    pub fn stopping(&self, log: &Log) {
        self.tell("STOPPING=1", log);
    }

    /// All threads do their work.
    pub fn alive(&self, log: &Log) {
        self.tell("WATCHDOG=1", log);
    }

    fn tell(&self, text: &str, log: &Log) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(text.as_bytes(), address)
        {
            log.say(&format!(
                "the service manager was not told {text:?}: {error}"
            ));
        }
    }
}

/// How often the service manager wants to hear that we are alive: a third of the time after which it takes us for dead.
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    if let Ok(pid) = std::env::var("WATCHDOG_PID")
        && pid.parse() != Ok(std::process::id())
    {
        return None;
    }
    let microseconds = number("WATCHDOG_USEC").filter(|time| *time > 0)?;
    Some(Duration::from_micros(microseconds) / 3)
}
