//! UNIX sockets that listen at a path: the file is made, taken over from whoever serves it no more, and removed.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Why nobody can listen at a path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenAtError {
    /// The path does not fit into an address: unix(7).
    #[error("the path is longer than 107 bytes, or empty")]
    Path,
    /// Something else has this name.
    #[error("there is a file of that name which is no socket")]
    NoSocket,
    /// Somebody accepts connections there.
    #[error("another program serves it")]
    Served,
    /// The system refuses.
    #[error("{0}")]
    Os(#[from] io::Error),
}

impl From<Errno> for ListenAtError {
    fn from(errno: Errno) -> ListenAtError {
        ListenAtError::Os(errno.into())
    }
}

/// Makes a UNIX socket that listens at `path`, and tells whose the file is. A socket that nobody serves any more is replaced.
///
/// `mode` is what the file allows, such as 0o600, less what the umask(2) takes away; `None` leaves it to the umask alone.
///
/// # Errors
///
/// [`ListenAtError`].
pub fn listen_at_path(
    path: &Path,
    mode: Option<u32>,
    backlog: u32,
) -> Result<(OwnedFd, SocketFile), ListenAtError> {
    if path.as_os_str().is_empty() {
        return Err(ListenAtError::Path);
    }
    let address = SocketAddrUnix::new(path).map_err(|_| ListenAtError::Path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    if let Some(mode) = mode {
        // Before the file is there, so that at no time it allows more: Linux gives it the mode of the socket.
        fchmod(&fd, Mode::from_raw_mode(mode))?;
    }
    match rustix::net::bind(&fd, &address) {
        Err(Errno::ADDRINUSE) => {
            if !is_socket(path) {
                return Err(ListenAtError::NoSocket);
            }
            if is_served(&address) {
                return Err(ListenAtError::Served);
            }
            fs::remove_file(path)?;
            rustix::net::bind(&fd, &address)?;
        }
        bound => bound?,
    }
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path),
    };
    rustix::net::listen(&fd, i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok((fd, file))
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Whether somebody listens there; without waiting for a place in their queue.
fn is_served(address: &SocketAddrUnix) -> bool {
    let connect = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&fd, address)
    };
    connect() != Err(Errno::CONNREFUSED)
}

/// The file of a UNIX socket. Dropping this removes the file, unless another one has taken the name over.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.st_dev(), found.st_ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("trochee-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_socket_has_its_mode_is_not_taken_from_whoever_serves_it_and_goes_with_its_owner() {
        let folder = folder("files");
        let path = folder.join("it");
        let (fd, file) = listen_at_path(&path, Some(0o600), 5).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        let refused = listen_at_path(&path, None, 5).unwrap_err();
        assert!(matches!(refused, ListenAtError::Served), "{refused}");
        // Nobody serves it any more, but the file is there: of a process that was killed.
        drop(fd);
        std::mem::forget(file);
        let (_successor, file) = listen_at_path(&path, None, 5).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_listened_at_is_named() {
        let folder = folder("no-files");
        let path = folder.join("text");
        fs::write(&path, "not a socket").unwrap();
        let refused = listen_at_path(&path, None, 5).unwrap_err();
        assert!(matches!(refused, ListenAtError::NoSocket), "{refused}");
        assert!(path.exists());
        for wrong in [folder.join("x".repeat(108)), PathBuf::new()] {
            let refused = listen_at_path(&wrong, None, 5).unwrap_err();
            assert!(matches!(refused, ListenAtError::Path), "{refused}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
