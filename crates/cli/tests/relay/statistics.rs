//! Statistics of a running relay: for people, for programs, for Prometheus.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

use rustix::process::Signal;

use super::support::*;

fn stats(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
    command.arg("stats").args(arguments).output().unwrap()
}

/// What it prints, when it has to succeed.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = stats(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The number behind a name.
fn number(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn they_are_told_on_a_unix_socket_and_over_http() {
    let folder = Folder::new();
    let path = folder.path("stats.sock");
    let files = folder.certificate("it", "localhost");
    let to = echo();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--tls",
        &files,
        "--to",
        &to,
        "--stats-socket",
        &path,
        "--stats",
        "127.0.0.1:0",
        "--threads",
        "2",
    ];
    let mut relay = Relay::run(&arguments, 2);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = tls(relay.connect(), &files, "localhost");
    ask(&mut client, b"hello").unwrap();
    // One that fails.
    let mut stranger = relay.connect();
    stranger
        .write_all(b"this is no ClientHello\r\n\r\n")
        .unwrap();
    let _ = stranger.read_to_end(&mut Vec::new());
    relay.expect_said(&["TLS"]);

    let text = printed(&["--socket", &path]);
    assert!(text.starts_with("trochee relay, trochee "), "{text}");
    assert_eq!(number(&text, "accepted"), 2.0);
    let json = printed(&["--json", "--socket", &path]);
    for piece in [
        "\"serves\":\"trochee relay\"",
        "\"tls\":\"TLSv1.3\"",
        "\"service\":\"client\"",
        "\"service\":\"outgoing\"",
        "\"address\":\"127.0.0.1\"",
    ] {
        assert!(json.contains(piece), "{piece}: {json}");
    }
    assert!(
        json.contains(&client.sock.local_addr().unwrap().port().to_string()),
        "{json}"
    );
    assert_eq!(json.lines().count(), 1);

    let metrics = printed(&["--openmetrics", "--socket", &path]);
    let http = get(
        relay.addresses[1],
        "GET /metrics HTTP/1.1\r\nHost: it\r\n\r\n",
    );
    assert!(
        http.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text"),
        "{http}"
    );
    for text in [&metrics, &http] {
        let number = |name: &str| number(text, &format!("prosody_mod_trochee__{name}"));
        assert_eq!(number("accepted_total"), 2.0);
        assert_eq!(number("handshakes_total"), 1.0);
        assert_eq!(number("handshakes_tls13_total"), 1.0);
        assert!(number("tls_failures_total") >= 1.0);
        assert!(number("received_bytes_total") >= 10.0);
        assert!(number("places") >= 1.0);
        let listener = "service=\"client\",address=\"127.0.0.1\",port=";
        for sample in [
            "agreed_ciphers_total{cipher=\"TLS_",
            "failed_tls_total{reason=\"wrong version number\"} 1\n",
            "handshake_seconds_bucket{le=\"+Inf\"} 1\n",
            "thread_busy_seconds_total{thread=\"1\"} ",
            &format!("listener_accepted_total{{{listener}"),
        ] {
            let sample = format!("prosody_mod_trochee__{sample}");
            assert!(text.contains(&sample), "{sample}: {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
    assert!(get(relay.addresses[1], "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404"));
    relay.signal(Signal::TERM);
    drop(client);
    assert!(relay.wait().success());
    assert!(!fs::exists(&path).unwrap());
}

#[test]
fn whoever_asks_too_much_keeps_nobody_out() {
    let folder = Folder::new();
    let path = folder.path("stats.sock");
    let to = echo();
    let mut relay = Relay::start(&["--to", &to, "--stats-socket", &path]);
    let request = |stream: &mut BufReader<UnixStream>, text: &str| {
        stream.get_mut().write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line
    };
    let connect = || BufReader::new(UnixStream::connect(&path).unwrap());
    // A line without end is cut off, and nonsense is told so.
    let mut endless = UnixStream::connect(&path).unwrap();
    let _ = endless.write_all(&[b'x'; 20_000]);
    assert!(!matches!(endless.read(&mut [0]), Ok(1..)));
    let mut first = connect();
    assert!(request(&mut first, "all\n").contains("a request is"));
    // Many requests at once are answered one after the other.
    first
        .get_mut()
        .write_all("json 1\n".repeat(50).as_bytes())
        .unwrap();
    for _ in 0..50 {
        let mut line = String::new();
        first.read_line(&mut line).unwrap();
        assert!(line.starts_with('{') && line.contains("counters"), "{line}");
    }
    // Eight are enough, until one of them leaves.
    let mut others: Vec<_> = (0..7).map(|_| connect()).collect();
    for other in &mut others {
        assert!(request(other, "json\n").contains("counters"));
    }
    let mut line = String::new();
    connect().read_line(&mut line).unwrap();
    assert!(line.contains("others are served"), "{line}");
    drop(others);
    wait_for("a place", || {
        request(&mut connect(), "json\n").contains("counters")
    });
    relay.signal(Signal::TERM);
    assert!(relay.wait().success());
}

#[test]
fn what_cannot_be_is_said_with_what_to_do() {
    let folder = Folder::new();
    let to = echo();
    let long = folder.path(&"x".repeat(108));
    for (option, value, words) in [
        ("--stats", "192.0.2.1:9100", "an address of loopback"),
        ("--stats-socket", &long, "longer than 107 bytes"),
        ("--stats-socket", "/nowhere/at/all", "No such file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
        command.args([
            "relay",
            "--listen",
            "127.0.0.1:0",
            "--to",
            &to,
            option,
            value,
        ]);
        let output = command.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && complaint.contains(words),
            "{complaint}"
        );
    }
    let output = stats(&["--socket", &folder.path("nobody")]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{complaint}");
    assert!(
        complaint.contains("no server answers") && complaint.contains("--socket PATH"),
        "{complaint}"
    );
}
