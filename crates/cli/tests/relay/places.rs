//! Where a relay listens besides TCP, and what it tells a service manager.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::Signal;

use super::support::*;

/// `trochee relay` listening where no address is printed that a test could connect to.
#[track_caller]
fn listening(arguments: &[&str]) -> Relay {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
    command
        .arg("relay")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    Relay::spawn(command, 0)
}

#[track_caller]
fn connect_unix(path: &str) -> UnixStream {
    let mut stream = None;
    wait_for("the relay to listen", || {
        stream = UnixStream::connect(path).ok();
        stream.is_some()
    });
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_unix_socket_in_front() {
    let folder = Folder::new();
    let path = folder.path("front");
    let listen = format!("unix:{path}");
    let files = folder.certificate("a", "a.test");
    let mut relay = listening(&["--listen", &listen, "--to", &echo(), "--tls", &files]);
    let mut stream = Tls::new(client(&files, "a.test", &[]), connect_unix(&path));
    ask(&mut stream, b"hello").unwrap();
    let mut refused = connect_unix(&path);
    refused.write_all(b"this is no handshake at all").unwrap();
    let _ = refused.read_to_end(&mut Vec::new());
    relay.expect_said(&[&listen, "TLS"]);

    // One that is served is not taken away.
    let mut other = listening(&["--listen", &listen, "--to", "127.0.0.1:1"]);
    assert!(!other.wait().success());
    other.expect_said(&[&listen, "another program serves it"]);
    ask(&mut stream, b"hello").unwrap();
    drop(stream);
    relay.signal(Signal::TERM);
    assert!(relay.wait().success());
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn a_socket_that_nobody_serves_is_replaced_and_nothing_else_is() {
    let folder = Folder::new();
    let path = folder.path("front");
    let listen = format!("unix:{path}");
    drop(UnixListener::bind(&path).unwrap());
    let mut relay = listening(&["--listen", &listen, "--to", &echo()]);
    ask(&mut connect_unix(&path), b"hello").unwrap();
    // A successor has taken its name over.
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    relay.signal(Signal::TERM);
    assert!(relay.wait().success());
    assert!(fs::exists(&path).unwrap());

    let file = folder.path("file");
    fs::write(&file, "precious").unwrap();
    let mut relay = listening(&["--listen", &format!("unix:{file}"), "--to", &echo()]);
    assert!(!relay.wait().success());
    relay.expect_said(&[&file, "no socket"]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

/// Who may open the socket is believed.
#[test]
fn a_front_over_a_unix_socket_tells_who_the_client_is() {
    let folder = Folder::new();
    let path = folder.path("front");
    let relay = listening(&[
        "--listen",
        &format!("unix:{path}"),
        "--to",
        &echo(),
        "--accept-proxy-protocol",
        "--proxy-protocol",
        "v1",
    ]);
    let mut stream = connect_unix(&path);
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 5223\r\nhello";
    ask(&mut stream, line).unwrap();
    drop(relay);
}

/// `trochee relay` with `sockets` as its service manager would pass them on.
fn activated(sockets: [OwnedFd; 2], names: &str, arguments: &[&str]) -> Command {
    // dup2(2) clears close-on-exec, as a service manager does.
    let script = "exec 3<&0 4<&1 >/dev/null </dev/null; \
                  LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" relay \"$@\"";
    let [one, other] = sockets;
    let mut command = Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_trochee")])
        .args(arguments)
        .env("LISTEN_FDNAMES", names)
        .stdin(one)
        .stdout(other)
        .stderr(Stdio::piped());
    command
}

#[test]
fn sockets_of_a_service_manager() {
    let folder = Folder::new();
    let path = folder.path("front");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let address = tcp.local_addr().unwrap();
    let sockets = || -> [OwnedFd; 2] {
        [
            tcp.try_clone().unwrap().into(),
            unix.try_clone().unwrap().into(),
        ]
    };
    let to = echo();
    let all = ["--listen", "systemd", "--to", &to];
    let relay = Relay::spawn(activated(sockets(), "c2s:local", &all), 0);
    ask(&mut connect(address), b"hello").unwrap();
    ask(&mut connect_unix(&path), b"hello").unwrap();
    // Which tells what the relay has done to the socket: accepted ones inherit that.
    assert!(sockopt::socket_keepalive(&tcp).unwrap());
    let seconds = Duration::from_secs;
    assert_eq!(sockopt::tcp_keepidle(&tcp).unwrap(), seconds(300));
    assert_eq!(sockopt::tcp_keepintvl(&tcp).unwrap(), seconds(30));
    assert_eq!(sockopt::tcp_keepcnt(&tcp).unwrap(), 4);
    drop(relay);

    // By name, and the rest is told of.
    let named = ["--listen", "systemd:local", "--to", &to];
    let options = [
        "--keepalive",
        "60",
        "--keepalive-interval",
        "7",
        "--keepalive-count",
        "3",
    ];
    let command = activated(sockets(), "c2s:local", &[&named[..], &options].concat());
    let relay = Relay::spawn(command, 0);
    ask(&mut connect_unix(&path), b"hello").unwrap();
    relay.expect_said(&["not used", "\"c2s\""]);
    drop(relay);
    let named = ["--listen", "systemd:c2s", "--to", &to];
    let command = activated(sockets(), "c2s:local", &[&named[..], &options].concat());
    let relay = Relay::spawn(command, 0);
    ask(&mut connect(address), b"hello").unwrap();
    assert_eq!(sockopt::tcp_keepidle(&tcp).unwrap(), seconds(60));
    assert_eq!(sockopt::tcp_keepintvl(&tcp).unwrap(), seconds(7));
    assert_eq!(sockopt::tcp_keepcnt(&tcp).unwrap(), 3);
    drop(relay);
    let unknown = ["--listen", "systemd:s2s", "--to", &to];
    let mut relay = Relay::spawn(activated(sockets(), "c2s:local", &unknown), 0);
    assert!(!relay.wait().success());
    relay.expect_said(&["systemd:s2s", "c2s, local"]);
}

/// systemd's sockets take IPv4 and IPv6 unless told otherwise; an IPv4 client is one, whichever it came by.
#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_one() {
    let tcp = TcpListener::bind("[::ffff:127.0.0.1]:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let folder = Folder::new();
    let unix = UnixListener::bind(folder.path("unused")).unwrap();
    let to = echo();
    let sockets = [tcp.into(), unix.into()];
    let options = [
        "--listen",
        "systemd:c2s",
        "--to",
        &to,
        "--proxy-protocol",
        "v1",
    ];
    let _relay = Relay::spawn(activated(sockets, "c2s:local", &options), 0);
    let mut stream = connect(([127, 0, 0, 1], port).into());
    let from = stream.local_addr().unwrap().port();
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {port}\r\n");
    let mut got = vec![0; line.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), line);
}

/// A service manager that is told of the relay's life; `name` is what `NOTIFY_SOCKET` says.
#[track_caller]
fn life(manager: &UnixDatagram, name: &str) {
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
    command
        .args(["relay", "--listen", "127.0.0.1:0", "--to", &echo()])
        .args(["--tls", &files])
        .env("NOTIFY_SOCKET", name)
        .env("WATCHDOG_USEC", "300000")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut relay = Relay::spawn(command, 1);
    let next = || {
        let mut text = [0; 1000];
        let count = manager.recv(&mut text).unwrap();
        String::from_utf8(text[..count].to_vec()).unwrap()
    };
    let next_but_alive = || loop {
        let text = next();
        if text != "WATCHDOG=1" {
            return text;
        }
    };
    assert_eq!(next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    relay.signal(Signal::HUP);
    let text = next_but_alive();
    let (state, time) = text.split_once('\n').unwrap();
    assert_eq!(state, "RELOADING=1");
    let time = time.strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(time.parse::<u64>().unwrap() > 0);
    assert_eq!(next_but_alive(), "READY=1");
    let mut stays = tls(relay.connect(), &files, "a.test");
    ask(&mut stays, b"hello").unwrap();
    relay.signal(Signal::TERM);
    assert_eq!(next_but_alive(), "STOPPING=1");
    // It is alive while it drains.
    assert_eq!(next(), "WATCHDOG=1");
    assert_eq!(next(), "WATCHDOG=1");
    drop(stays);
    assert!(relay.wait().success());
}

#[test]
fn a_service_manager_is_told() {
    let folder = Folder::new();
    let path = folder.path("notify");
    life(&UnixDatagram::bind(&path).unwrap(), &path);
    let name = format!("trochee-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = UnixDatagram::bind_addr(&address).unwrap();
    life(&manager, &format!("@{name}"));
}

#[test]
fn a_service_manager_that_is_not_there_is_told_of() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
    command
        .args(["relay", "--listen", "127.0.0.1:0", "--to", &echo()])
        .env("NOTIFY_SOCKET", "/none/notify")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let relay = Relay::spawn(command, 1);
    ask(&mut relay.connect(), b"hello").unwrap();
    relay.expect_said(&["not told", "READY=1"]);
}

/// systemd itself takes the units, as they are and with sockets.
#[test]
fn units_are_valid() {
    let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd");
    let folder = Folder::new();
    let binary = env!("CARGO_BIN_EXE_trochee");
    for name in ["trochee-relay.service", "trochee-relay.socket"] {
        let text = fs::read_to_string(format!("{packaging}/{name}")).unwrap();
        let text = text.replace("/usr/local/bin/trochee", binary);
        fs::write(folder.path(name), text).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(["trochee-relay.service", "trochee-relay.socket"].map(|name| folder.path(name)))
        .output();
    let Ok(output) = output else {
        let text = "SKIP: systemd-analyze is not installed; scripts/setup does that";
        assert!(std::env::var_os("TROCHEE_NO_SKIPS").is_none(), "{text}");
        return eprintln!("{text}");
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("trochee-relay"), "{text}");
}
