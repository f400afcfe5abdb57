//! Starting, files, failures, limits, and ends.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::*;

#[test]
fn a_file_has_any_number_of_relays() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let (one, two) = (echo(), echo());
    let file = folder.path("relay.toml");
    let text = format!(
        r#"
        [server]
        threads = 2

        [[relay]]
        listen = ["127.0.0.1:0", "127.0.0.1:0"]
        to = "{one}"

        [[relay]]
        listen = ["127.0.0.1:0"]
        tls = ["{files}"]
        to = "{two}"
        "#
    );
    fs::write(&file, text).unwrap();
    let relay = Relay::run(&["--config", &file], 3);
    ask(&mut connect(relay.addresses[0]), b"hello").unwrap();
    ask(&mut connect(relay.addresses[1]), b"hello").unwrap();
    let stream = connect(relay.addresses[2]);
    ask(&mut tls(stream, &files, "a.test"), b"hello").unwrap();
}

#[test]
fn what_is_wrong_is_named() {
    let folder = Folder::new();
    let number = std::cell::Cell::new(0);
    let with_file = |text: &str| {
        number.set(number.get() + 1);
        let file = folder.path(&format!("{}relay.toml", number.get()));
        fs::write(&file, text).unwrap();
        vec!["--config".to_owned(), file]
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let listen = ["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"];
    let long = format!("unix:/{}", "x".repeat(107));
    let cases: Vec<(Vec<String>, &[&str])> = vec![
        (words(&[]), &["--to"]),
        (words(&listen[..2]), &["--to"]),
        (words(&listen[2..]), &["--listen"]),
        (
            words(&["--listen", "127.0.0.1", "--to", "127.0.0.1:1"]),
            &["--listen", "\"127.0.0.1\" has no port: 127.0.0.1:5222"],
        ),
        (
            words(&["--listen", "127.0.0.1:99999", "--to", "127.0.0.1:1"]),
            &["--listen", "\"99999\" is no port", "65535"],
        ),
        (
            words(&["--listen", "unix:", "--to", "127.0.0.1:1"]),
            &["--listen", "no path"],
        ),
        (
            words(&["--listen", &long, "--to", "127.0.0.1:1"]),
            &["--listen", "unix:/xxx", "108 bytes", "107"],
        ),
        (words(&["--to", &long]), &["--to", "unix:/xxx", "108 bytes"]),
        (
            words(&["--to", "localhost:0"]),
            &["--to", "localhost:0", "port 0"],
        ),
        (words(&["--to", "nowhere"]), &["--to", "nowhere", "port"]),
        (
            words(&["--listen", "unix:/none/socket", "--to", "127.0.0.1:1"]),
            &["cannot listen on unix:/none/socket", "No such file"],
        ),
        (
            words(&["--listen", "systemd", "--to", "127.0.0.1:1"]),
            &["cannot listen on systemd", "LISTEN_FDS", ".socket"],
        ),
        (
            with_file("[[relay]]\nlisten = ['127.0.0.1']\nto = '127.0.0.1:1'"),
            &["relay.toml", "line 2", "\"127.0.0.1\" has no port"],
        ),
        (
            with_file("[[relay]]\nlisten = ['127.0.0.1:0']\nto = ['127.0.0.1:1', 'b:0']"),
            &["relay.toml", "line 3", "port 0"],
        ),
        (
            words(&[&listen[..], &["--tls", "/none.crt,/none.key"]].concat()),
            &["tls", "/none.key", "No such file"],
        ),
        (
            words(&[&listen[..], &["--alpn", "h2"]].concat()),
            &["alpn needs tls"],
        ),
        (
            words(&[&listen[..], &["--alpn-strict"]].concat()),
            &["alpn-strict needs alpn"],
        ),
        (
            words(&[&listen[..], &["--backend", "kqueue"]].concat()),
            &["kqueue", "poll"],
        ),
        (
            words(&[&listen[..], &["--threads", "0"]].concat()),
            &["0 threads"],
        ),
        (
            words(&[&listen[..], &["--max-connections", "0"]].concat()),
            &["--max-connections", "non-zero"],
        ),
        (
            words(&[&listen[..], &["--send-timeout", "0"]].concat()),
            &["send-timeout 0", "no time"],
        ),
        (
            words(&[&listen[..], &["--keepalive-count", "128"]].concat()),
            &["keepalive-count 128", "127"],
        ),
        (
            with_file("[[relay]]\nlissen = []"),
            &["relay.toml", "lissen"],
        ),
        (
            with_file("[server]\nthreads = 1"),
            &["relay.toml", "[[relay]]"],
        ),
        (
            with_file("[[relay]]\nlisten = ['127.0.0.1:0']\nto = '127.0.0.1:1'\n[[relay]]\n"),
            &["relay.toml: relay 2: ", "to"],
        ),
    ];
    for (arguments, wanted) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_trochee"))
            .arg("relay")
            .args(&arguments)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        for word in wanted {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
    }
}

/// Rather than to serve nobody in silence.
#[test]
fn too_few_descriptors_are_told_of() {
    let script = "ulimit -n 65; exec \"$0\" relay --listen 127.0.0.1:0 --to 127.0.0.1:1";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_trochee")])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("65 file descriptors are too few"), "{text}");
    assert!(text.contains("LimitNOFILE"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_told_of_and_costs_one_connection() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let relay = Relay::start(&["--to", &address]);
    // So many that the log leaves some out.
    for _ in 0..30 {
        let mut rest = Vec::new();
        let _ = relay.connect().read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
    relay.expect_said(&[&address, "connection refused"]);
    assert!(relay.said.lock().unwrap().len() < 30);
    let relay = Relay::start(&["--to", "unix:/nowhere"]);
    let _ = relay.connect().read(&mut [0]);
    relay.expect_said(&["unix:/nowhere", "No such file"]);
}

/// A listener that answers no more: nobody accepts, and its queue is full.
#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _waiting = fill_queue(&listener);
    let relay = Relay::start(&["--to", &address.to_string(), "--connect-timeout", "0.3"]);
    let mut rest = Vec::new();
    relay.connect().read_to_end(&mut rest).unwrap();
    relay.expect_said(&[&address.to_string(), "connection timeout"]);
}

#[test]
fn limits_hold() {
    let relay = Relay::start(&["--to", &echo(), "--max-connections", "1"]);
    let mut first = relay.connect();
    ask(&mut first, b"hello").unwrap();
    let mut second = relay.connect();
    second.write_all(b"hello").unwrap();
    second.set_read_timeout(Some(SILENCE)).unwrap();
    second.read(&mut [0]).unwrap_err();
    drop(first);
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut got = [0; 5];
    second.read_exact(&mut got).unwrap();

    let relay = Relay::start(&["--to", &echo(), "--idle-timeout", "0.5"]);
    let mut idle = relay.connect();
    let began = Instant::now();
    // Neither side has ended, so it is no end to either.
    assert_eq!(read_until_reset(&mut idle), b"");
    assert!(began.elapsed() >= Duration::from_millis(450));
}

/// One side that is silent is not idle while the other talks.
#[test]
fn one_side_may_be_silent() {
    let behind = server(|mut stream| {
        for _ in 0..20 {
            let _ = stream.write_all(b".");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let relay = Relay::start(&["--to", &behind, "--idle-timeout", "1"]);
    let mut got = Vec::new();
    relay.connect().read_to_end(&mut got).unwrap();
    assert_eq!(got, [b'.'; 20]);
}

/// The side that was heard last may have ended since, and is no longer waited for.
#[test]
fn silence_is_counted_from_the_last_byte_of_either_side() {
    let (ended, end) = std::sync::mpsc::channel();
    let behind = server(move |mut stream| {
        // After the client has begun to be silent.
        std::thread::sleep(SILENCE);
        stream.write_all(b".").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let began = Instant::now();
        let _ = stream.read(&mut [0]);
        ended.send(began.elapsed()).unwrap();
    });
    let relay = Relay::start(&["--to", &behind, "--idle-timeout", "2"]);
    let mut client = relay.connect();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    let took = end.recv_timeout(PATIENCE).unwrap();
    let wanted = Duration::from_millis(1900)..Duration::from_millis(3700);
    assert!(wanted.contains(&took), "{took:?}");
}

/// A reader that pauses for longer is not idle, and gets all of it.
#[test]
fn data_that_waits_is_not_silence() {
    let all = pattern(20_000_000);
    let sent = all.clone();
    let behind = server(move |mut stream| {
        let _ = stream.write_all(&sent);
    });
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let relay = Relay::start(&["--to", &behind, "--tls", &files, "--idle-timeout", "0.4"]);
    let mut client = tls(relay.connect(), &files, "a.test");
    let mut got = vec![0; 1000];
    client.read_exact(&mut got).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    client.read_to_end(&mut got).unwrap();
    assert!(got == all, "{} bytes", got.len());
}

/// Where one side has ended, the other one may not be silent for as long as if both went on.
#[test]
fn half_closed_connections_have_a_time_limit_of_their_own() {
    let (ended, end) = std::sync::mpsc::channel();
    let behind = server(move |mut stream| {
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        let began = Instant::now();
        match &word {
            // An answer that takes longer in all than silence may.
            b"slow" => {
                let _ = stream.read(&mut word);
                for _ in 0..10 {
                    std::thread::sleep(Duration::from_millis(200));
                    stream.write_all(b".").unwrap();
                }
                return;
            }
            b"mute" => {}
            _ => stream.shutdown(std::net::Shutdown::Write).unwrap(),
        }
        while stream.read(&mut [0; 100]).is_ok_and(|count| count > 0) {}
        if word == *b"mute" {
            // That was the client's end; the relay's is told to the client.
            return std::thread::sleep(PATIENCE);
        }
        ended.send(began.elapsed()).unwrap();
    });
    let relay = Relay::start(&["--to", &behind, "--half-close-timeout", "1"]);
    let ask = |word: &[u8; 4], end: bool| {
        let mut stream = relay.connect();
        stream.write_all(word).unwrap();
        if end {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        // The server that says nothing may still have had something to say.
        assert_eq!(end.is_ok(), word != b"mute", "{end:?}");
        (rest, stream)
    };
    let long = Duration::from_millis(900)..Duration::from_secs(20);
    // The client has ended, and the server says nothing.
    let began = Instant::now();
    ask(b"mute", true);
    assert!(long.contains(&began.elapsed()), "{:?}", began.elapsed());
    // The server has ended, and the client says nothing.
    let (_, stream) = ask(b"ends", false);
    let took = end.recv_timeout(PATIENCE).unwrap();
    assert!(long.contains(&took), "{took:?}");
    drop(stream);
    // Nobody is cut off who still speaks.
    assert_eq!(ask(b"slow", true).0, [b'.'; 10]);
    // Nor who is silent while both go on.
    let mut both = relay.connect();
    both.set_read_timeout(Some(Duration::from_millis(1500)))
        .unwrap();
    let error = both.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn sigterm_drains() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let mut relay = Relay::start(&["--to", &echo(), "--tls", &files]);
    let mut stream = tls(relay.connect(), &files, "a.test");
    ask(&mut stream, b"hello").unwrap();
    relay.signal(Signal::TERM);
    relay.expect_said(&["stopping", "1 clients"]);
    wait_for("nobody to listen any more", || {
        TcpStream::connect(relay.addresses[0]).is_err()
    });
    // Whoever renews the certificates does not know that it is about to end.
    relay.signal(Signal::HUP);
    relay.expect_said(&["certificates reloaded"]);
    ask(&mut stream, &pattern(100_000)).unwrap();
    assert!(relay.child.try_wait().unwrap().is_none());
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(relay.wait().success());
}

#[test]
fn a_drain_has_a_deadline_and_what_it_cuts_off_is_reset() {
    let folder = Folder::new();
    let files = folder.certificate("a", "a.test");
    let mut relay = Relay::start(&["--to", &echo(), "--tls", &files, "--drain-timeout", "0.3"]);
    let mut stream = tls(relay.connect(), &files, "a.test");
    ask(&mut stream, b"hello").unwrap();
    relay.signal(Signal::INT);
    assert_eq!(read_until_reset(&mut stream), b"");
    assert!(relay.wait().success());
}
