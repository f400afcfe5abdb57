//! Both ends of a TLS connection in one reactor.

use std::io::Read as _;

use super::*;

/// The keys of the two ends.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub server: Key,
    pub client: Key,
}

impl Driver {
    /// A TCP connection, both ends here.
    #[track_caller]
    pub fn join(&mut self, read_size: ReadSize) -> Ends {
        let (listener, address) = self.listen(read_size);
        let client = self
            .reactor
            .connect(address, SocketKind::Stream, read_size)
            .unwrap();
        let (mut server, mut connected) = (None, false);
        self.drive("both ends", |_, event| {
            match event {
                Seen::Accepted { key, .. } => server = Some(key),
                Seen::Connected(_) => connected = true,
                _ => {}
            }
            connected && server.is_some()
        });
        self.reactor.close(listener);
        Ends {
            server: server.unwrap(),
            client,
        }
    }

    /// The same with TLS begun on both ends.
    #[track_caller]
    pub fn join_tls(&mut self, server: Start, client: Start, read_size: ReadSize) -> Ends {
        let ends = self.join(read_size);
        self.reactor.start_tls(ends.server, server).unwrap();
        self.reactor.start_tls(ends.client, client).unwrap();
        ends
    }

    /// Runs turns until both ends are secured.
    #[track_caller]
    pub fn secure(&mut self, ends: Ends) {
        let mut secured = Vec::new();
        self.drive("both ends to be secured", |_, event| {
            match event {
                Seen::Secured(key) => secured.push(key),
                Seen::Predrain(_) | Seen::Drain(_) | Seen::Notice(..) => {}
                other => panic!("unexpected: {other:?}"),
            }
            secured.contains(&ends.client) && secured.contains(&ends.server)
        });
    }

    /// What our client with this context sends first.
    #[track_caller]
    pub fn client_hello(&mut self, client: Context) -> Vec<u8> {
        let (key, stream) = self.serve();
        self.reactor.start_tls(key, named(client)).unwrap();
        let hello = self.drive_peer(
            move || {
                let mut record = vec![0; 5];
                (&stream).read_exact(&mut record).unwrap();
                let length = u16::from_be_bytes([record[3], record[4]]);
                record.resize(5 + usize::from(length), 0);
                (&stream).read_exact(&mut record[5..]).unwrap();
                record
            },
            |_, _| {},
        );
        self.reactor.destroy(key);
        self.turn();
        hello
    }

    /// A secured pair.
    #[track_caller]
    pub fn pair(&mut self, server: Context, client: Context) -> Ends {
        let ends = self.join_tls(named(server), named(client), ReadSize::All);
        self.secure(ends);
        ends
    }

    /// Runs turns until both ends are over; gives the reasons of server and client.
    #[track_caller]
    pub fn both_closed(&mut self, ends: Ends) -> (Reason, Reason) {
        let (mut server, mut client) = (None, None);
        self.drive("both ends to be over", |_, event| {
            if let Seen::Closed(key, reason) = event {
                if key == ends.server {
                    server = Some(reason);
                } else if key == ends.client {
                    client = Some(reason);
                }
            }
            server.is_some() && client.is_some()
        });
        (server.unwrap(), client.unwrap())
    }
}

/// A start for example.test.
pub fn named(context: Context) -> Start {
    let mut start = Start::new(context);
    if start.context.mode() == Mode::Client {
        start.server_name = Some("example.test".into());
    }
    start
}

pub fn failed(text: &str) -> Reason {
    Reason::Tls(text.into())
}

/// What rustls's own clients trust.
pub fn roots() -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority().der.clone().into()).unwrap();
    roots
}

/// A rustls client of its own on a blocking stream.
pub fn peer_client<S: std::io::Read + std::io::Write>(
    stream: S,
    name: &str,
) -> rustls::StreamOwned<rustls::ClientConnection, S> {
    use rustls::pki_types::ServerName;
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(client, stream)
}

/// A stream that sends every byte in a packet of its own.
pub struct Slow(pub std::net::TcpStream);

impl std::io::Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::thread::sleep(Duration::from_micros(200));
        self.0.write(&bytes[..1])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Has a client from this address accepted, and its handshake begun.
pub fn serve_on(
    driver: &mut Driver,
    from: &str,
    address: std::net::SocketAddr,
    server: &Context,
) -> (Key, std::net::TcpStream) {
    let stream = peer_from(from, address);
    let key = driver.accepted();
    let start = named(server.clone());
    driver.reactor.start_tls(key, start).unwrap();
    // Nobody's ClientHello is waited for alone.
    driver.turn();
    (key, stream)
}
