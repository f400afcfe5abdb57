//! Each example runs, and does what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// An example, running.
struct Example {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Example {
    /// Cargo builds the examples with the tests, and puts them beside these.
    fn start(name: &str, arguments: &[&str]) -> Example {
        let tests: PathBuf = std::env::current_exe().unwrap();
        let program = tests
            .ancestors()
            .nth(2)
            .unwrap()
            .join("examples")
            .join(name);
        let mut child = Command::new(&program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Example { child, stdout }
    }

    /// The address in the next line that it prints.
    fn address(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let words = line.split_whitespace();
        let mut addresses = words.filter(|word| word.starts_with("127.0.0.1:"));
        addresses
            .next()
            .unwrap_or_else(|| panic!("{line:?}"))
            .to_owned()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `question` and ends its side; all that comes back.
fn ask(address: &str, question: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(question).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn echo() {
    let mut echo = Example::start("echo", &["--listen", "127.0.0.1:0", "--threads", "2"]);
    assert_eq!(ask(&echo.address(), b"hello"), b"hello");
}

#[test]
fn chat() {
    let mut chat = Example::start("chat", &["--listen", "127.0.0.1:0"]);
    let address = chat.address();
    let mut peers: Vec<_> = (0..2).map(|_| BufReader::new(connect(&address))).collect();
    let mut heard = String::new();
    for peer in &mut peers {
        peer.read_line(&mut heard).unwrap();
    }
    peers[0].get_mut().write_all(b"good evening\n").unwrap();
    while !heard.contains("> good evening") {
        heard.clear();
        peers[1].read_line(&mut heard).unwrap();
    }
}

#[test]
fn proxy() {
    let behind = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = behind.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in behind.incoming().map_while(Result::ok) {
            let _ = std::io::copy(&mut &stream, &mut &stream);
        }
    });
    let mut proxy = Example::start("proxy", &["--listen", "127.0.0.1:0", "--to", &to]);
    assert_eq!(ask(&proxy.address(), b"hello"), b"hello");
}

#[test]
fn tls() {
    let folder = std::env::temp_dir().join(format!("trochee-examples-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (file("cert.pem"), file("key.pem"));
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let arguments = ["--certificate", &certificate, "--key", &key];
    let places = ["--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0"];
    let mut tls = Example::start("tls", &[arguments, places].concat());
    let (direct, plain) = (tls.address(), tls.address());
    assert_eq!(ask(&plain, b"in the clear"), b"in the clear");
    let mut client = Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-CAfile",
            &certificate,
        ])
        .args(["-servername", "localhost", "-connect", &direct])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = client.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    let mut answer = [0; 6];
    client
        .stdout
        .take()
        .unwrap()
        .read_exact(&mut answer)
        .unwrap();
    assert_eq!(&answer, b"hello\n");
    client.kill().unwrap();
    client.wait().unwrap();
    let _ = std::fs::remove_dir_all(folder);
}
