//! The sockets that clients connect to: bound here, or by the service manager.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use trochee::{Config, SocketFile, server};

use super::addresses::Listen;

/// The first descriptor that a service manager passes on: SD_LISTEN_FDS_START, sd_listen_fds(3).
const FIRST_INHERITED: i32 = 3;

/// What the relays of this process can listen on.
pub struct Sockets {
    /// Those of the service manager that no relay has taken yet, by name.
    inherited: Vec<(String, OwnedFd)>,
    /// Whether it passed on any.
    were_inherited: bool,
    files: Vec<SocketFile>,
}

impl Sockets {
    /// Takes what the service manager has passed on.
    pub fn new() -> Sockets {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let named = |fd: OwnedFd| {
            let place = usize::try_from(fd.as_raw_fd() - FIRST_INHERITED).ok();
            let name = place.and_then(|place| names.get(place)).copied();
            (name.unwrap_or_default().to_owned(), fd)
        };
        let inherited: Vec<_> = server::inherited().into_iter().map(named).collect();
        Sockets {
            were_inherited: !inherited.is_empty(),
            inherited,
            files: Vec::new(),
        }
    }

    /// The sockets that `listen` names; one, except where they are inherited.
    ///
    /// # Errors
    ///
    /// In words for the operator: the address, and why.
    pub fn open(&mut self, listen: &Listen) -> Result<Vec<server::Listen>, String> {
        match listen {
            Listen::Tcp(address) => Ok(vec![server::Listen::on(&**address)]),
            Listen::Unix(path) => {
                let socket = self
                    .bind(path)
                    .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
                Ok(vec![server::Listen::adopt(socket)])
            }
            Listen::Inherited(name) => {
                let wanted = |(own, _): &(String, _)| name.as_ref().is_none_or(|name| name == own);
                let (taken, rest) = std::mem::take(&mut self.inherited)
                    .into_iter()
                    .partition(wanted);
                self.inherited = rest;
                self.adopt(listen, taken)
            }
        }
    }

    fn adopt(
        &self,
        listen: &Listen,
        taken: Vec<(String, OwnedFd)>,
    ) -> Result<Vec<server::Listen>, String> {
        if !taken.is_empty() {
            let sockets = taken.into_iter().map(|(_, fd)| server::Listen::adopt(fd));
            return Ok(sockets.collect());
        }
        let others: Vec<&str> = self.inherited.iter().map(|(name, _)| &**name).collect();
        Err(if !self.were_inherited {
            format!(
                "cannot listen on {listen}: no socket was passed on (LISTEN_FDS); is there a .socket unit for it?"
            )
        } else if others.is_empty() {
            format!("cannot listen on {listen}: all sockets that were passed on are taken already")
        } else {
            format!(
                "cannot listen on {listen}: the sockets that were passed on are named {} (FileDescriptorName)",
                others.join(", ")
            )
        })
    }

    /// The names of those that nobody has asked for.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.inherited.iter().map(|(name, _)| &**name)
    }

    /// Listens on a UNIX socket. One that nobody serves any more is replaced.
    fn bind(&mut self, path: &Path) -> Result<OwnedFd, String> {
        let backlog = Config::default().backlog;
        let (socket, file) =
            trochee::listen_at_path(path, None, backlog).map_err(|error| error.to_string())?;
        self.files.push(file);
        Ok(socket)
    }
}
