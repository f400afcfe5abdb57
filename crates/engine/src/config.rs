//! Every limit and timeout, its default, and the reason for it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::network::Networks;

/// The settings of a [`Reactor`](crate::Reactor), named as in Prosody's `network_settings`.
///
/// [`configure`](crate::Reactor::configure) may replace them at any time: timeouts and limits count from then on, socket
/// options for connections that begin later.
///
/// ```
/// let mut config = trochee::Config::default();
/// config.max_connections = Some(1000);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// How long a peer may be silent before [`Event::ReadTimeout`](crate::Event). 14 minutes, as Prosody: below the 15
    /// after which many NAT devices forget a connection.
    pub read_timeout: Duration,
    /// How long a peer may take no data while some is queued. 3 minutes, as Prosody.
    pub send_timeout: Duration,
    /// How long an outgoing connection may take to be established. 20 seconds, as Prosody.
    pub connect_timeout: Duration,
    /// How long the peer may take for each step of a TLS handshake; the whole may take three times as long. 60 seconds, as
    /// Prosody.
    pub tls_handshake_timeout: Duration,
    /// Most handshakes that wait for our answer to their ClientHello: it costs a signature, and they get it one after the
    /// other, clients that resume a session first. The connection of whoever comes then is closed, or that of the last who
    /// does not resume. 4096.
    pub max_waiting_handshakes: usize,
    /// How long a newcomer may take until its first data, on listeners that ask for
    /// [authentication](crate::Reactor::set_authentication); with TLS from the end of the handshake on, which has
    /// [`tls_handshake_timeout`](Config::tls_handshake_timeout). 60 seconds: clients and servers that speak XMPP begin at once.
    pub newcomer_data_timeout: Duration,
    /// How long a newcomer may take until it has authenticated, on such listeners. 10 minutes: Prosody itself ends a client
    /// after five, and says so in XMPP; and somebody may have to read and fill in a form to register.
    pub newcomer_timeout: Duration,
    /// Most bytes that a newcomer may deliver until it has authenticated, on such listeners. 1 MiB: a login takes a few
    /// thousand, a form with a picture some hundred thousand.
    pub newcomer_bytes: usize,
    /// Most newcomers of one such listener at a time; more wait to be accepted. 4096, as many as may wait for a handshake.
    pub max_newcomers: usize,
    /// How long a listener rests when the system has no descriptor and the reserved one does not help; any connection that ends
    /// meanwhile ends the rest. 10 seconds, as Prosody. For what a descriptor would not help (no memory, a firewall, a listener
    /// that another process has shut down) it rests one second, or less if this is less.
    pub accept_retry_interval: Duration,
    /// Connections that the system keeps waiting for accept(2). 4096, which the system lowers to its own limit
    /// (`net.core.somaxconn`): when all users reconnect at once, Prosody's 128 makes most of them wait for a resent SYN.
    pub backlog: u32,
    /// The largest read of connections in Lua for which nobody has given one, in bytes. `None`: 8192 at first, as Prosody, and more while
    /// reads come back full ([`ReadSize::Growing`]).
    pub read_size: Option<usize>,
    /// Most bytes that one connection may have queued, a single write into an empty queue excepted. 32 MiB, as Prosody 13.0: a peer that stops reading must not fill
    /// the memory.
    pub max_send_buffer_size: usize,
    /// Most bytes that all connections may hold together, those of all threads: what is queued for their peers, and input that is
    /// not whole. Beyond it newcomers end, and then others, of both first those that hold most, and of equal ones those that have
    /// waited longest for their peer. `None`: a quarter of the memory of the machine or, if that is less, of what the control group of
    /// the process may have.
    pub max_queued_memory: Option<usize>,
    /// How many bytes a second a peer must take, over [`send_timeout`](Config::send_timeout), while more than 1 MiB is queued for
    /// it. 1024, which any line can do: a peer that takes a byte now and then must not hold 32 MiB for days. `None`: any
    /// progress will do.
    pub min_send_rate: Option<usize>,
    /// Most bytes that one read may deliver, whatever its read size; never more than 64 KiB.
    pub max_receive_buffer_size: usize,
    /// Most connections that listeners have accepted and that last, on all listeners together; more wait in the system's queue.
    /// UNIX sockets are not counted. `None`: what the limit of descriptors allows (RLIMIT_NOFILE, or the 1024 of select(2)), less
    /// an eighth, which is kept for outgoing connections, files and the shell: at least 64 and at most 8192.
    pub max_connections: Option<usize>,
    /// Most connections that one address has to one listener at a time. An address is an IPv4 address or an IPv6 network of 64
    /// bits. 500: an office or the customers of a carrier behind one IPv4 address, and servers that connect once for each of
    /// their domains. Who has more is refused: its connection is reset, before anything is done for it. `usize::MAX`: no limit.
    pub max_connections_per_address: usize,
    /// How many new connections a second one address may open to one listener, once it has opened
    /// [`connection_burst_per_address`](Config::connection_burst_per_address) at once. 20. `usize::MAX`: no limit.
    pub connection_rate_per_address: usize,
    /// How many connections one address may open at once. It may do so again when it has come less than the rate allows for as
    /// long as that many take. 400: after a restart an office comes back within a second.
    pub connection_burst_per_address: usize,
    /// How many times as much one address may have on all listeners together. 2.
    pub all_listeners_multiple: usize,
    /// How many times as much an IPv6 network of 48 bits may have as an address. 8: some customers have such a network, and some
    /// carriers give their customers a network of 64 bits each out of one.
    pub ipv6_site_multiple: usize,
    /// Whose connections are not counted by address. The loopback addresses and the private ones: there are proxies in front of
    /// many servers, in containers too, and to count their connections would let one client shut out all others.
    pub exempt_addresses: Networks,
    /// How long a descriptor may outlive its connection while the peer still sends, so that the last bytes we wrote reach
    /// it; zero closes at once. 5 seconds.
    pub linger_timeout: Duration,
    /// Whether TCP probes idle peers, tcp(7). Off, as Prosody: each probe wakes the radio of a phone. Prosody itself asks after 14
    /// minutes of silence, and turns this on for its clients and servers, where the system's two hours of idle time never pass.
    pub tcp_keepalive: KeepAlive,
    /// Where TCP probes idle peers: how long it waits for the answer to one before the next, in whole seconds
    /// (TCP_KEEPINTVL). The system's (`net.ipv4.tcp_keepalive_intvl`) unless set.
    pub tcp_keepalive_interval: Option<Duration>,
    /// Where TCP probes idle peers: how many probes without an answer end the connection (TCP_KEEPCNT). The system's
    /// (`net.ipv4.tcp_keepalive_probes`) unless set.
    pub tcp_keepalive_count: Option<u32>,
    /// How long data may wait for the acknowledgement of a peer's system, until the connection ends with `"timeout"`
    /// (TCP_USER_TIMEOUT, in whole milliseconds, 49 days at most). The system's unless set: about 15 minutes
    /// (`net.ipv4.tcp_retries2`). A phone that was out of reach for minutes then gets what was sent meanwhile; a shorter time tells
    /// the program sooner that it is gone. With keepalive it goes before `tcp_keepalive_count`.
    pub tcp_user_timeout: Option<Duration>,
    /// What differs for the connections that come to these ports.
    pub port_options: BTreeMap<u16, PortOptions>,
    /// TCP_NODELAY. On: a turn sends all that was written in it at once, so waiting for more
    /// (Nagle's algorithm, RFC 896) can only delay. Prosody's setting `nagle` is the opposite.
    pub nodelay: bool,
    /// Queue length for TCP Fast Open (RFC 7413) on listeners. Off, as Prosody.
    pub tcp_fastopen: Option<u32>,
    /// TCP_DEFER_ACCEPT: how long to leave a connection to the system until its first data, tcp(7). Off, as Prosody.
    pub tcp_defer_accept: Option<Duration>,
    /// Who speaks for clients, and has to say so first. Nobody.
    pub proxy_protocol: ProxyProtocol,
    /// Whether the soft limit of open descriptors is raised to the hard limit at the first turn. On: systemd and login
    /// shells hand out 1024, sized for programs on select(2).
    pub raise_descriptor_limit: bool,
    /// Threads that do the I/O of TCP connections, TLS included, for an [`EventLoop`](crate::EventLoop); 0 does it all in its
    /// own, 127 is the most. With epoll it does so itself while there is little to do. Counts at the first turn and not later. A
    /// [`Reactor`](crate::Reactor) has one thread.
    pub io_threads: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            read_timeout: Duration::from_secs(14 * 60),
            send_timeout: Duration::from_secs(180),
            connect_timeout: Duration::from_secs(20),
            tls_handshake_timeout: Duration::from_secs(60),
            max_waiting_handshakes: 4096,
            newcomer_data_timeout: Duration::from_secs(60),
            newcomer_timeout: Duration::from_secs(600),
            newcomer_bytes: 1024 * 1024,
            max_newcomers: 4096,
            accept_retry_interval: Duration::from_secs(10),
            backlog: 4096,
            read_size: None,
            max_send_buffer_size: 32 * 1024 * 1024,
            max_queued_memory: None,
            min_send_rate: Some(1024),
            max_receive_buffer_size: usize::MAX,
            max_connections: None,
            max_connections_per_address: 500,
            connection_rate_per_address: 20,
            connection_burst_per_address: 400,
            all_listeners_multiple: 2,
            ipv6_site_multiple: 8,
            exempt_addresses: Networks::loopback_and_private(),
            linger_timeout: Duration::from_secs(5),
            tcp_keepalive: KeepAlive::Off,
            tcp_keepalive_interval: None,
            tcp_keepalive_count: None,
            tcp_user_timeout: None,
            port_options: BTreeMap::new(),
            nodelay: true,
            tcp_fastopen: None,
            tcp_defer_accept: None,
            proxy_protocol: ProxyProtocol::default(),
            raise_descriptor_limit: true,
            io_threads: 0,
        }
    }
}

impl Config {
    /// How much one read delivers where nobody has said it: see [`read_size`](Config::read_size).
    pub fn usual_read_size(&self) -> ReadSize {
        /// Prosody's.
        const AT_FIRST: usize = 8192;
        self.read_size
            .map_or(ReadSize::Growing(AT_FIRST), ReadSize::UpTo)
    }
}

/// Whether and when TCP probes an idle peer, tcp(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Never.
    Off,
    /// After the system's idle time (`net.ipv4.tcp_keepalive_time`).
    On,
    /// After this idle time, in whole seconds.
    Idle(Duration),
}

/// Of whom listeners expect the [PROXY protocol](crate::proxy_protocol).
///
/// A connection from such a source has to begin with a header. Until that is complete no event tells of the connection; from then
/// on it has the addresses that the header tells. A connection of anybody else is served as if there were no such protocol, and
/// a header that it sends is data like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyProtocol {
    /// The sources whose headers are believed: load balancers and other proxies.
    pub trusted: Networks,
    /// The ports on which they have to send one; `None` for every TCP port.
    pub ports: Option<Vec<u16>>,
    /// How long they may take for it. 5 seconds, as Postfix: it is in the first packet, and only a lost one delays it.
    pub timeout: Duration,
}

impl Default for ProxyProtocol {
    fn default() -> ProxyProtocol {
        ProxyProtocol {
            trusted: Networks::default(),
            ports: None,
            timeout: Duration::from_secs(5),
        }
    }
}

/// What differs on a port from the settings of the same names in [`Config`]; `None` where nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // said there
#[non_exhaustive]
pub struct PortOptions {
    pub tcp_keepalive: Option<KeepAlive>,
    pub tcp_keepalive_interval: Option<Duration>,
    pub tcp_keepalive_count: Option<u32>,
    /// Zero for the system's.
    pub tcp_user_timeout: Option<Duration>,
}

/// How much one read delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadSize {
    /// At most so many bytes.
    UpTo(usize),
    /// At most so many bytes at first; twice as many, up to 64 KiB, after each read that came back full; and half as many, not fewer
    /// than at first, after one that was less than half full.
    Growing(usize),
    /// What is there: LuaSocket's `"*a"` on a non-blocking socket.
    All,
}

/// Stream or datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketKind {
    /// TCP, or a UNIX stream socket.
    Stream,
    /// UDP, or a UNIX datagram socket: every write is one datagram.
    Datagram,
}

/// An option of a connection, as in LuaSocket's `setoption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketOption {
    /// `"tcp-nodelay"`
    NoDelay(bool),
    /// `"keepalive"`
    KeepAlive(bool),
    /// `"tcp-keepidle"`, in whole seconds.
    KeepIdle(Duration),
    /// `"tcp-keepintvl"`, in whole seconds.
    KeepInterval(Duration),
    /// `"tcp-keepcnt"`
    KeepCount(u32),
    /// `"tcp-user-timeout"`, which LuaSocket does not have: see [`Config::tcp_user_timeout`]. Zero for the system's.
    UserTimeout(Duration),
}
