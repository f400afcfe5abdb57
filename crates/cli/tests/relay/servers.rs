//! Servers behind that fail, come back, move, and are several.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::support::*;

/// A name is not looked up again before that.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(1100);

/// A server that says `name` and then echoes; it listens at `address` until the listener that this gives is shut down.
fn named(address: &str, name: &'static str) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    let own = listener.try_clone().unwrap();
    thread::spawn(move || {
        for stream in own.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = (&stream).write_all(name.as_bytes());
                let _ = std::io::copy(&mut &stream, &mut &stream);
            });
        }
    });
    listener
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().unwrap().to_string()
}

/// Has a server accept nobody any more.
fn stop(listener: TcpListener) {
    rustix::net::shutdown(&listener, rustix::net::Shutdown::Both).unwrap();
}

/// Who serves `stream`: the first byte tells.
#[track_caller]
fn who(stream: &mut TcpStream) -> char {
    let mut name = [0];
    stream.read_exact(&mut name).unwrap();
    char::from(name[0])
}

#[test]
fn several_servers_take_turns() {
    let (a, b, c) = (
        named("127.0.0.1:0", "a"),
        named("127.0.0.1:0", "b"),
        named("127.0.0.1:0", "c"),
    );
    let [to_a, to_b, to_c] = [&a, &b, &c].map(address);
    let relay = Relay::start(&["--to", &to_a, "--to", &to_b, "--to", &to_c]);
    let mut names: Vec<char> = (0..9).map(|_| who(&mut relay.connect())).collect();
    names.sort_unstable();
    assert_eq!(names, ['a', 'a', 'a', 'b', 'b', 'b', 'c', 'c', 'c']);

    // Those that stay count, and those that went do not.
    let relay = Relay::start(&[
        "--to",
        &to_a,
        "--to",
        &to_b,
        "--balance",
        "least-connections",
    ]);
    let mut streams: Vec<TcpStream> = (0..6).map(|_| relay.connect()).collect();
    let names: Vec<char> = streams.iter_mut().map(who).collect();
    assert_eq!(names.iter().filter(|name| **name == 'a').count(), 3);
    let mut names = names.into_iter();
    streams.retain(|_| names.next() == Some('b'));
    wait_for("the relay to know that they went", || {
        let mut stream = relay.connect();
        let name = who(&mut stream);
        streams.push(stream);
        name == 'a'
    });
}

/// No client is lost, and what it sent early arrives once, at whoever takes it.
#[test]
fn a_server_that_fails_is_passed_over_until_it_is_back() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let (a, b) = (named("127.0.0.1:0", "a"), named("127.0.0.1:0", "b"));
    let (to_a, to_b) = (address(&a), address(&b));
    let relay = Relay::start(&[
        "--to",
        &to_a,
        "--to",
        &to_b,
        "--fail-timeout",
        "1",
        "--tls",
        &files,
    ]);
    let ask_one = || {
        let mut stream = tls(relay.connect(), &files, "a.test");
        stream.write_all(b"early").unwrap();
        stream.conn.send_close_notify();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(&answer[1..], "early");
        answer.starts_with('a')
    };
    assert_ne!(ask_one(), ask_one());
    stop(a);
    for _ in 0..20 {
        assert!(!ask_one());
    }
    relay.expect_said(&[&to_a, "connection refused"]);
    // Not all of them tried the one that is down first.
    let said = relay.said.lock().unwrap();
    let refused = said.iter().filter(|line| line.contains("refused")).count();
    drop(said);
    assert!(refused < 10, "{refused}");
    let _a = named(&to_a, "a");
    wait_for("the first to be back", ask_one);
    relay.expect_said(&[&to_a, "it answers again"]);
}

/// One that is started later than the relay is no mistake.
#[test]
fn a_server_may_come_later() {
    let address = free_address();
    let relay = Relay::start(&["--to", &address]);
    let mut rest = Vec::new();
    relay.connect().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    relay.expect_said(&[&address, "connection refused"]);
    let _server = named(&address, "a");
    assert_eq!(who(&mut relay.connect()), 'a');
}

/// While the relay waits for a server, the client is not read: what it says is for whoever accepts.
#[test]
fn what_a_client_says_early_goes_to_the_server_that_accepts() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let _waiting = fill_queue(&silent);
    let b = named("127.0.0.1:0", "b");
    let (silent, b) = (address(&silent), address(&b));
    let relay = Relay::start(&["--to", &silent, "--to", &b, "--connect-timeout", "0.5"]);
    let mut stream = relay.connect();
    stream.write_all(b"all").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"ball");
    relay.expect_said(&[&silent, "connection timeout"]);
}

/// `trochee relay` with a hosts(5) file of its own.
fn with_hosts(file: &str, arguments: &[&str]) -> Command {
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", script, file])
        .args([env!("CARGO_BIN_EXE_trochee"), "relay"])
        .args(arguments)
        // resolv.conf(5): whoever does not know the name says so soon, or is not waited for.
        .env("RES_OPTIONS", "attempts:1 timeout:1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Whether this machine lets a test have a hosts(5) file of its own. Where nothing may be skipped it has to.
fn has_hosts(file: &str) -> bool {
    let script = "mount --bind \"$0\" /etc/hosts";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, file])
        .output();
    let can = output.is_ok_and(|output| output.status.success());
    if !can {
        let text = "SKIP: no mount namespaces here (unshare --mount), so no names of our own";
        assert!(std::env::var_os("TROCHEE_NO_SKIPS").is_none(), "{text}");
        eprintln!("{text}");
    }
    can
}

#[test]
fn all_addresses_of_a_name_are_tried_and_looked_up_again() {
    let folder = Folder::new();
    let hosts = folder.path("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    if !has_hosts(&hosts) {
        return;
    }
    let first = named("127.0.0.2:0", "2");
    let port = first.local_addr().unwrap().port();
    let to = format!("behind.test:{port}");
    let listen = ["--listen", "127.0.0.1:0", "--to", &to];
    let fail_timeout = ["--fail-timeout", "600"];
    let arguments = [&listen[..], &fail_timeout].concat();

    // A name that is not known yet is no mistake either.
    let relay = Relay::spawn(with_hosts(&hosts, &arguments), 1);
    relay.expect_said(&[&to, "cannot be looked up"]);
    let _ = relay.connect().read_to_end(&mut Vec::new());
    relay.expect_said(&["turned away", "no address"]);
    // Once it is, the next client is served; the second address is tried where the first one fails.
    fs::write(&hosts, "127.0.0.3 behind.test\n127.0.0.2 behind.test\n").unwrap();
    thread::sleep(LOOK_UP_INTERVAL);
    assert_eq!(who(&mut relay.connect()), '2');
    relay.expect_said(&[&to, "looked up: 127.0.0.3", "127.0.0.2"]);
    relay.expect_said(&[&to, "127.0.0.3", "connection refused"]);
    // It has moved: the client that finds all of them dead waits for the look-up, and is served.
    stop(first);
    let moved = SocketAddr::new([127, 0, 0, 4].into(), port).to_string();
    let _moved = named(&moved, "4");
    fs::write(&hosts, "127.0.0.4 behind.test\n").unwrap();
    thread::sleep(LOOK_UP_INTERVAL);
    assert_eq!(who(&mut relay.connect()), '4');
    // A look-up that fails loses nothing.
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    relay.signal(Signal::HUP);
    relay.expect_said(&[
        &to,
        "cannot be looked up",
        "the addresses known so far stay",
    ]);
    assert_eq!(who(&mut relay.connect()), '4');
    // SIGHUP is enough for new addresses, though the old ones answer.
    fs::write(&hosts, "127.0.0.2 behind.test\n127.0.0.4 behind.test\n").unwrap();
    relay.signal(Signal::HUP);
    relay.expect_said(&[&to, "looked up: 127.0.0.2", "127.0.0.4"]);
    drop(relay);

    // One whose name is not known yet joins the others later.
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let other = address(&named("127.0.0.1:0", "o"));
    let arguments = [&listen[..], &["--to", &other, "--fail-timeout", "1"]].concat();
    let relay = Relay::spawn(with_hosts(&hosts, &arguments), 1);
    assert_eq!(who(&mut relay.connect()), 'o');
    fs::write(&hosts, "127.0.0.4 behind.test\n").unwrap();
    wait_for("it to be known", || who(&mut relay.connect()) == '4');
}
