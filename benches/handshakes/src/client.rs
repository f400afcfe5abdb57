//! A client's connection, from connect(2) to its end.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, PeerIncompatible, SignatureScheme,
};

use crate::window::STALL;

/// Bytes of what a server is to echo.
const MESSAGE: usize = 256;

/// What a client has come to.
pub enum Progress {
    /// It waits for the server.
    Pending,
    /// The handshake is complete, and whether a ticket was taken.
    Established { resumed: bool },
    /// So is the connection.
    Over,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Handshake,
    Echo,
    End,
}

/// A connection.
pub struct Client {
    /// When it began to connect.
    pub since: Instant,
    socket: TcpStream,
    tls: ClientConnection,
    step: Step,
    message: Option<[u8; MESSAGE]>,
}

impl Client {
    /// Connects to a server on loopback and sends the ClientHello. With the number of a message, which no other message has,
    /// that has to come back before the end. The error is a sentence.
    pub fn connect(
        port: u16,
        configuration: Arc<ClientConfig>,
        message: Option<u32>,
    ) -> Result<Self, String> {
        let since = Instant::now();
        let name = ServerName::try_from("localhost").map_err(|why| why.to_string())?;
        let tls = ClientConnection::new(configuration, name).map_err(|why| why.to_string())?;
        let mut client = Self {
            since,
            socket: connected(port).map_err(|why| format!("connect: {why}"))?,
            tls,
            step: Step::Handshake,
            message: message.map(|number| {
                let mut bytes = [0; MESSAGE];
                bytes[..4].copy_from_slice(&number.to_ne_bytes()); // a stale or foreign echo must not count
                bytes
            }),
        };
        client.send().map_err(|why| format!("send: {why}"))?;
        Ok(client)
    }

    /// Goes as far as it gets with what has arrived.
    pub fn advance(&mut self) -> Result<Progress, String> {
        let step = self.step;
        self.receive().map_err(|why| format!("{step:?}: {why}"))
    }

    fn receive(&mut self) -> io::Result<Progress> {
        let end = match self.tls.read_tls(&mut self.socket) {
            Ok(bytes) => bytes == 0, // stock ends without close_notify
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Pending),
            Err(why) => return Err(why),
        };
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let (end, bytes) = (
            end || state.peer_has_closed(),
            state.plaintext_bytes_to_read(),
        );
        // Here, and not with what follows it: the server gets Finished alone, as from a client that has to think.
        self.send()?;
        match self.step {
            Step::Handshake if !self.tls.is_handshaking() => {
                self.established()?;
                let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
                Ok(Progress::Established { resumed })
            }
            Step::Echo if bytes >= MESSAGE => {
                let mut echo = [0; MESSAGE];
                self.tls.reader().read_exact(&mut echo)?;
                if self.message != Some(echo) {
                    return Err(io::Error::other("differs from what was sent"));
                }
                self.end()?;
                Ok(Progress::Over)
            }
            Step::End if bytes > 0 => Err(io::Error::other("there is data that nobody asked for")),
            Step::End if end => Ok(Progress::Over),
            _ if end => Err(io::Error::other("closed by the server")),
            _ => Ok(Progress::Pending),
        }
    }

    fn established(&mut self) -> io::Result<()> {
        if let Some(message) = &self.message {
            self.step = Step::Echo;
            self.tls.writer().write_all(message)?;
            return self.send();
        }
        // The server ends the connection when it has seen this: then its part of the handshake is done too.
        self.step = Step::End;
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.send()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// What is said is short, and the server reads: what cannot be sent at once is a fault, not a reason to wait.
    fn send(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn connected(port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = TcpStream::connect_timeout(&address, STALL)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What all clients offer, so that no server chooses something cheaper: TLS 1.3, X25519, AES-256-GCM.
pub fn configuration(resumption: Resumption) -> Result<Arc<ClientConfig>, String> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let verifier = SignatureOnly(provider.signature_verification_algorithms);
    let mut configuration = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| format!("cannot set up TLS: {why}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    configuration.resumption = resumption;
    Ok(Arc::new(configuration))
}

/// CertificateVerify is checked, as by any client; the chain is not, the certificates sign themselves.
#[derive(Debug)]
struct SignatureOnly(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for SignatureOnly {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
