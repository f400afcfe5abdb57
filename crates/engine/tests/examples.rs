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

    /// The next line that it prints with all of `words`.
    #[cfg(feature = "tracing")]
    fn expect(&mut self, words: &[&str]) -> String {
        let mut seen = String::new();
        loop {
            if self.stdout.buffer().is_empty() {
                use rustix::event::{PollFd, PollFlags, Timespec, poll};
                let timeout = Timespec::try_from(PATIENCE).unwrap();
                let mut stdout = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
                let ready = poll(&mut stdout, Some(&timeout)).unwrap();
                assert!(ready > 0, "{words:?} is not in {seen}");
            }
            let mut line = String::new();
            let count = self.stdout.read_line(&mut line).unwrap();
            assert!(count > 0, "{words:?} is not in {seen}");
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
            seen += &line;
        }
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

/// A certificate for localhost and its key, in a folder of their own.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Files {
        let folder = format!("trochee-examples-{name}-{}", std::process::id());
        let files = Files(std::env::temp_dir().join(folder));
        std::fs::create_dir_all(&files.0).unwrap();
        let pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&pair).unwrap().pem();
        std::fs::write(files.path("cert.pem"), certificate).unwrap();
        std::fs::write(files.path("key.pem"), pair.serialize_pem()).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Has OpenSSL's client say hello, and hear it.
    fn hello(&self, address: &str) {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error"])
            .args(["-CAfile", &self.path("cert.pem")])
            .args(["-servername", "localhost", "-connect", address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(b"hello\n").unwrap();
        let mut answer = [0; 6];
        let mut stdout = client.stdout.take().unwrap();
        stdout.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello\n");
        client.kill().unwrap();
        client.wait().unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tls() {
    let files = Files::new("tls");
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let arguments = ["--certificate", &certificate, "--key", &key];
    let places = ["--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0"];
    let mut tls = Example::start("tls", &[arguments, places].concat());
    let (direct, plain) = (tls.address(), tls.address());
    assert_eq!(ask(&plain, b"in the clear"), b"in the clear");
    files.hello(&direct);
}

/// What became of each connection is told, with the reasons and the names of the counters.
#[cfg(feature = "tracing")]
#[test]
fn tracing() {
    let files = Files::new("tracing");
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let arguments = ["--certificate", &certificate, "--key", &key];
    let limits = ["--listen", "127.0.0.1:0", "--most", "3"];
    let mut example = Example::start("tracing", &[arguments, limits].concat());
    let address = example.address();

    files.hello(&address);
    let peer = example.expect(&["DEBUG connection{", "accepted", "counter=\"accepted\""]);
    let done = example.expect(&[
        "handshake done",
        "counter=\"handshakes\"",
        "protocol=\"TLSv1.3\"",
    ]);
    assert!(done.contains("resumed=false") && done.contains("seconds="));
    let closed = example.expect(&["closed", "counter=\"ended\"", "received=6", "seconds="]);
    // One span for all of it.
    let span = |line: &str| line[line.find('{').unwrap()..=line.find('}').unwrap()].to_owned();
    assert_eq!(span(&peer), span(&done));
    assert_eq!(span(&peer), span(&closed));
    assert!(peer.contains("peer=127.0.0.1:"));

    let mut wrong = connect(&address);
    wrong.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let failed = example.expect(&["handshake failed", "counter=\"tls_failures\""]);
    assert!(failed.contains("reason=http request"), "{failed}");
    example.expect(&["closed", "reason=http request", "orderly=false"]);

    let _many: Vec<TcpStream> = (0..5).map(|_| connect(&address)).collect();
    let counter = "counter=\"refused_by_count\"";
    example.expect(&["refused", counter, "address=127.0.0.1"]);
    // And what is throttled, at the level of the log.
    example.expect(&["INFO", "refused", "max_connections_per_address"]);
}
