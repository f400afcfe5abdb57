//! The only home of socket system calls: making, accepting, reading, writing, options, names.
#![allow(unsafe_code)] // descriptors given as numbers, and two options of tcp(7) that rustix does not offer

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType, ipproto,
};

use crate::config::{Config, SocketKind, SocketOption};
use crate::error::Error;
use crate::name::{Name, unmapped};

mod ending;
mod files;
mod liveness;
mod tcp;

pub(crate) use ending::{Goodbye, finish, make_abortive, shutdown_write};
pub use files::{ListenAtError, SocketFile, listen_at_path};
pub(crate) use tcp::{tcp_info, unacknowledged};

/// Most slices that one vectored write carries.
const VECTORED: usize = 64;

/// Makes a listening TCP socket.
///
/// `host` is `"*"` (every IPv4 address), `"::"` (every IPv6 address and no IPv4 one, so that both can listen on one
/// port), an address, or a name, which is looked up and waited for.
pub(crate) fn listen(host: &str, port: u16, config: &Config) -> Result<OwnedFd, Error> {
    let mut refused = Error::UnknownHost;
    for address in resolve(host, port)? {
        match listen_at(address, config) {
            Ok(fd) => return Ok(fd),
            Err(errno) => refused = errno.into(),
        }
    }
    Err(refused)
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    if host == "*" {
        return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    Ok((host, port)
        .to_socket_addrs()
        .map_err(|_| Error::UnknownHost)?
        .collect())
}

fn listen_at(address: SocketAddr, config: &Config) -> rustix::io::Result<OwnedFd> {
    let fd = stream_socket(address)?;
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    rustix::net::bind(&fd, &address)?;
    set_listener_options(&fd, config);
    rustix::net::listen(&fd, i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
    Ok(fd)
}

/// Options that accepted connections inherit from their listener, which spares a system call on each of them.
///
/// An option that the system does not know, or a UNIX socket, is no reason not to listen.
pub(crate) fn set_listener_options(fd: &OwnedFd, config: &Config) {
    let _ = sockopt::set_tcp_nodelay(fd, config.nodelay);
    liveness::set_limits_of_listener(fd, config);
    let seconds = config
        .tcp_defer_accept
        .map_or(0, |after| after.as_secs().max(1));
    let _ = set_tcp_option(
        fd,
        libc::TCP_DEFER_ACCEPT,
        i32::try_from(seconds).unwrap_or(i32::MAX),
    );
    if let Some(length) = config.tcp_fastopen {
        let _ = set_tcp_option(
            fd,
            libc::TCP_FASTOPEN,
            i32::try_from(length).unwrap_or(i32::MAX),
        );
    }
}

/// The options that the configuration asks for on every TCP connection; others do not have them.
pub(crate) fn set_default_options(fd: &OwnedFd, config: &Config) {
    let _ = sockopt::set_tcp_nodelay(fd, config.nodelay);
    liveness::set_limits(fd, config);
}

pub(crate) fn set_option(fd: &OwnedFd, option: SocketOption) -> rustix::io::Result<()> {
    match option {
        SocketOption::NoDelay(on) => sockopt::set_tcp_nodelay(fd, on),
        SocketOption::KeepAlive(on) => sockopt::set_socket_keepalive(fd, on),
        SocketOption::KeepIdle(after) => sockopt::set_tcp_keepidle(fd, after),
        SocketOption::KeepInterval(every) => sockopt::set_tcp_keepintvl(fd, every),
        SocketOption::KeepCount(count) => sockopt::set_tcp_keepcnt(fd, count),
        SocketOption::UserTimeout(after) => liveness::set_user_timeout(fd, after),
    }
}

fn set_tcp_option(fd: &OwnedFd, option: libc::c_int, value: libc::c_int) -> rustix::io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives across the call; `fd` is open.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    )
}

fn stream_socket(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    open(address, SocketType::STREAM, Some(ipproto::TCP))
}

fn open(
    address: SocketAddr,
    kind: SocketType,
    protocol: Option<rustix::net::Protocol>,
) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    rustix::net::socket_with(
        family,
        kind,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        protocol,
    )
}

/// Connects to a UNIX stream socket: at once, or never. EAGAIN says that too many wait there.
pub(crate) fn connect_unix(name: &Name) -> rustix::io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&fd, &name.to_unix()?)?;
    Ok(fd)
}

/// The listening sockets that whoever started this process opened for it: sd_listen_fds(3). None if they are for
/// another process, there are none, or they were asked for before.
pub(crate) fn inherited() -> Vec<OwnedFd> {
    /// SD_LISTEN_FDS_START
    const FIRST: RawFd = 3;
    /// More is no number of sockets.
    const MOST: RawFd = 1024;
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").map_or(0, |count| RawFd::try_from(count).unwrap_or(MOST));
    (FIRST..FIRST + count.min(MOST))
        .filter(|&fd| {
            // SAFETY: whether it is open is the question, and to ask for the type of a socket changes nothing.
            let fd = unsafe { borrow(fd) };
            fd.is_some_and(|fd| sockopt::socket_type(fd).is_ok())
        })
        .map(|fd| {
            // SAFETY: it is open, for it is a socket; the variables say that it is there for us to own, and nobody else
            // has got it from here.
            unsafe { OwnedFd::from_raw_fd(fd) }
        })
        .collect()
}

/// Begins a connection; it is established, or has failed, when the socket becomes writable.
pub(crate) fn connect(
    peer: SocketAddr,
    kind: SocketKind,
    config: &Config,
) -> rustix::io::Result<OwnedFd> {
    let fd = match kind {
        SocketKind::Stream => stream_socket(peer)?,
        SocketKind::Datagram => open(peer, SocketType::DGRAM, None)?,
    };
    if kind == SocketKind::Stream {
        set_default_options(&fd, config);
    }
    match rustix::net::connect(&fd, &peer) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(errno) => Err(errno),
    }
}

/// A UDP socket on this address.
pub(crate) fn bind_datagrams(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let fd = open(address, SocketType::DGRAM, None)?;
    rustix::net::bind(&fd, &address)?;
    Ok(fd)
}

/// One datagram, and who sent it.
pub(crate) fn receive_from(
    fd: &OwnedFd,
    buffer: &mut [u8],
) -> rustix::io::Result<(usize, Option<Name>)> {
    loop {
        match rustix::net::recvfrom(fd, &mut *buffer, RecvFlags::empty()) {
            Ok((count, _, from)) => return Ok((count, from.and_then(Name::from_system))),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
    }
}

pub(crate) fn send_to(fd: &OwnedFd, data: &[u8], to: SocketAddr) -> rustix::io::Result<usize> {
    loop {
        match rustix::net::sendto(fd, data, SendFlags::NOSIGNAL, &to) {
            Err(Errno::INTR) => continue,
            result => return result,
        }
    }
}

/// Readies a socket that somebody else made: non-blocking, and not for child programs.
pub(crate) fn adopt(fd: &OwnedFd) -> rustix::io::Result<SocketKind> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)?;
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    match sockopt::socket_type(fd)? {
        SocketType::STREAM => Ok(SocketKind::Stream),
        SocketType::DGRAM => Ok(SocketKind::Datagram),
        _ => Err(Errno::PROTOTYPE),
    }
}

/// The same for one that listens already.
pub(crate) fn adopt_listener(fd: &OwnedFd) -> Result<(), Error> {
    adopt(fd)?;
    // On another accept(2) fails for ever, and the poller would report it again and again.
    if !sockopt::socket_acceptconn(fd)? {
        return Err(Error::NotListening);
    }
    Ok(())
}

/// Lends a descriptor that is known by its number only; `None` for a negative one.
///
/// # Safety
///
/// The descriptor must be open for `'a`, or the number may only go into a system call that does no harm to a descriptor of
/// somebody else.
pub(crate) unsafe fn borrow<'a>(fd: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: the number is not negative, so not -1; the rest is the caller's promise.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// The next waiting connection and its peer's address.
pub(crate) fn accept(listener: &OwnedFd) -> rustix::io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (fd, peer) =
        rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    Ok((fd, peer.map(unmapped)))
}

#[inline]
pub(crate) fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    receive_with(fd, buffer, RecvFlags::empty())
}

#[inline]
fn receive_with(fd: &OwnedFd, buffer: &mut [u8], flags: RecvFlags) -> rustix::io::Result<usize> {
    loop {
        match rustix::net::recv(fd, &mut *buffer, flags) {
            Ok((count, _)) => return Ok(count),
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        }
    }
}

/// What a read would meet now, taking nothing: bytes, the end, an error.
pub(crate) fn peek(fd: &OwnedFd) -> rustix::io::Result<usize> {
    look_at(fd, &mut [0u8; 1])
}

/// The bytes that a read would deliver now, without taking them.
pub(crate) fn look_at(fd: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    receive_with(fd, buffer, RecvFlags::PEEK)
}

#[inline]
pub(crate) fn send(fd: &OwnedFd, data: &[u8]) -> rustix::io::Result<usize> {
    loop {
        match rustix::net::send(fd, data, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => continue,
            result => return result,
        }
    }
}

/// One vectored write of the front of `queue`.
#[inline]
pub(crate) fn send_queue(
    fd: &OwnedFd,
    queue: &crate::buffer::OutQueue,
) -> rustix::io::Result<usize> {
    match queue.only() {
        Some(only) => send(fd, only),
        None => send_chunks(fd, queue),
    }
}

#[inline(never)]
fn send_chunks(fd: &OwnedFd, queue: &crate::buffer::OutQueue) -> rustix::io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); VECTORED];
    let filled = queue.fill(&mut slices);
    send_slices(fd, &slices[..filled])
}

/// One vectored write of all that is in `queue`, and of `data` behind it. Of a long queue it sends the front alone.
pub(crate) fn send_queue_and(
    fd: &OwnedFd,
    queue: &crate::buffer::OutQueue,
    data: &[u8],
) -> rustix::io::Result<usize> {
    if queue.is_empty() {
        return send(fd, data);
    }
    let mut slices = [IoSlice::new(&[]); VECTORED];
    let mut filled = queue.fill(&mut slices);
    if filled < VECTORED {
        slices[filled] = IoSlice::new(data);
        filled += 1;
    }
    send_slices(fd, &slices[..filled])
}

/// One vectored write.
pub(crate) fn send_slices(fd: &OwnedFd, slices: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    if let [slice] = slices {
        return send(fd, slice);
    }
    loop {
        match rustix::net::sendmsg(
            fd,
            slices,
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        ) {
            Err(Errno::INTR) => continue,
            result => return result,
        }
    }
}

/// Has nobody accept any more, in whatever thread, and frees the port for the next who listens.
pub(crate) fn stop_listening(fd: &OwnedFd) {
    let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Both);
}

/// The error that the system keeps for the socket; reading it clears it.
pub(crate) fn take_error(fd: &OwnedFd) -> Result<(), Errno> {
    sockopt::socket_error(fd).unwrap_or_else(Err)
}

pub(crate) fn peer_name(fd: &OwnedFd) -> Option<Name> {
    rustix::net::getpeername(fd)
        .ok()
        .flatten()
        .and_then(Name::from_system)
}

pub(crate) fn local_name(fd: &OwnedFd) -> Option<Name> {
    rustix::net::getsockname(fd)
        .ok()
        .and_then(Name::from_system)
}
