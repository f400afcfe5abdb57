//! The relay as a process, servers behind it, and TLS clients.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long it looks for what must not.
pub const SILENCE: Duration = Duration::from_millis(100);

/// Waits until `what` is so.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A folder of its own, which goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trochee-relay-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A certificate for `name` that certifies itself; gives what `--tls` takes.
    pub fn certificate(&self, file: &str, name: &str) -> String {
        let (certificate, key) = (
            self.path(&format!("{file}.crt")),
            self.path(&format!("{file}.key")),
        );
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        fs::write(&certificate, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        format!("{certificate},{key}")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `trochee relay`, running.
pub struct Relay {
    pub child: Child,
    pub addresses: Vec<SocketAddr>,
    /// What it said on standard error.
    pub said: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// With `--listen 127.0.0.1:0`.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Relay {
        Relay::run(&[&["--listen", "127.0.0.1:0"], arguments].concat(), 1)
    }

    #[track_caller]
    pub fn run(arguments: &[&str], listeners: usize) -> Relay {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trochee"));
        command
            .arg("relay")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Relay::spawn(command, listeners)
    }

    /// What is piped is read here.
    #[track_caller]
    pub fn spawn(mut command: Command, listeners: usize) -> Relay {
        let mut child = command.spawn().unwrap();
        // With it our copies of its pipes go.
        drop(command);
        let said = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            let lines = Arc::clone(&said);
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            });
        }
        let mut addresses = Vec::new();
        if listeners > 0 {
            let mut stdout = BufReader::new(child.stdout.take().unwrap());
            for _ in 0..listeners {
                let mut line = String::new();
                stdout.read_line(&mut line).unwrap();
                let address = line.split([' ', ',']).nth(2).unwrap_or_default().trim();
                let parsed = address.parse();
                addresses.push(
                    parsed.unwrap_or_else(|_| panic!("{line:?}, {:?}", said.lock().unwrap())),
                );
            }
        }
        Relay {
            child,
            addresses,
            said,
        }
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.addresses[0])
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line with all of `words`.
    #[track_caller]
    pub fn expect_said(&self, words: &[&str]) {
        let found = || {
            let said = self.said.lock().unwrap();
            said.iter()
                .any(|line| words.iter().all(|word| line.contains(word)))
        };
        let give_up = Instant::now() + PATIENCE;
        while !found() {
            let said = self.said.lock().unwrap();
            assert!(Instant::now() < give_up, "{words:?} is not in {said:?}");
            drop(said);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the relay to end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().split(' ').next().unwrap();
        kilobytes.parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// An address that nobody listens on.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Has a listener answer no more: nobody accepts, and its queue is full for as long as what this gives is kept.
pub fn fill_queue(listener: &TcpListener) -> Vec<TcpStream> {
    rustix::net::listen(listener, 0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
        assert!(waiting.len() < 100);
    }
    waiting
}

/// A server behind, which gives each connection a thread.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address.to_string()
}

/// One that echoes.
pub fn echo() -> String {
    server(|stream| {
        let _ = std::io::copy(&mut &stream, &mut &stream);
    })
}

pub type Tls<S = TcpStream> = StreamOwned<ClientConnection, S>;

/// A client that trusts the certificate of `files` (CERT,KEY) alone.
pub fn client(files: &str, name: &str, alpn: &[&str]) -> ClientConnection {
    use rustls::pki_types::pem::PemObject;
    let certificate = files.split(',').next().unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

pub fn tls(stream: TcpStream, files: &str, name: &str) -> Tls {
    StreamOwned::new(client(files, name, &[]), stream)
}

/// A pipe in which nothing has room, and its end to read from.
pub fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    for piece in [&[b'.'; 4096][..], b"."] {
        while (&writer).write(piece).is_ok() {}
    }
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

/// What comes until the reset that ends it.
#[track_caller]
pub fn read_until_reset(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => all,
        other => panic!("after {} bytes: {other:?} instead of a reset", all.len()),
    }
}

/// Has a close be a reset.
pub fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// Sends `text` and gets it back.
pub fn ask(stream: &mut (impl Read + Write), text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text)?;
    let mut got = vec![0; text.len()];
    stream.read_exact(&mut got)?;
    assert_eq!(got, text);
    Ok(())
}

/// Bytes that show when a piece is missing, twice there, or in the wrong place.
pub fn pattern(len: usize) -> Vec<u8> {
    const PERIOD: usize = 65_521;
    let mut all: Vec<u8> = (0..len.min(PERIOD) as u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    // Copied, for byte by byte a build without optimisation would take longer than the tests of it.
    while all.len() < len {
        all.extend_from_within(..(len - all.len()).min(all.len()));
    }
    all
}
