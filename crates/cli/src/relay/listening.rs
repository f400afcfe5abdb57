//! The sockets that clients connect to: bound here, or by the service manager.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use trochee::{Config, server};

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
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !is_socket(path) {
                    return Err("there is a file of that name which is no socket".into());
                }
                if is_served(path) {
                    return Err("another program serves it".into());
                }
                fs::remove_file(path)
                    .and_then(|()| UnixListener::bind(path))
                    .map_err(|error| error.to_string())?
            }
            bound => bound.map_err(|error| error.to_string())?,
        };
        // The standard library has chosen a shorter queue.
        let backlog = i32::try_from(Config::default().backlog).unwrap_or(i32::MAX);
        rustix::net::listen(&listener, backlog).map_err(|errno| errno.to_string())?;
        self.files.extend(SocketFile::of(path));
        Ok(listener.into())
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Whether somebody listens there; without waiting for a place in their queue.
fn is_served(path: &Path) -> bool {
    let connect = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)
    };
    connect() != Err(Errno::CONNREFUSED)
}

/// The file of a UNIX socket, which goes with it.
struct SocketFile {
    path: PathBuf,
    /// Device and inode: a successor may take the name over.
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> Option<SocketFile> {
        Some(SocketFile {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.st_dev(), found.st_ino()))
}
