//! What all clients offer, and how they reach the server.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};

use crate::window::STALL;

/// TLS 1.3, X25519, AES-256-GCM and nothing else, so that no server chooses something cheaper.
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

/// A client's side of a connection that has not begun.
pub fn client(configuration: &Arc<ClientConfig>) -> Result<ClientConnection, String> {
    let name = ServerName::try_from("localhost").map_err(|why| why.to_string())?;
    ClientConnection::new(Arc::clone(configuration), name).map_err(|why| why.to_string())
}

/// A blocking socket that is connected to the server on loopback.
pub fn connected(port: u16) -> Result<TcpStream, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connect = || {
        let socket = match env::var("LOAD_SOURCE") {
            Ok(source) => connected_from(source.parse().map_err(io::Error::other)?, &address)?,
            Err(_) => TcpStream::connect_timeout(&address, STALL)?,
        };
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(STALL))?;
        socket.set_write_timeout(Some(STALL))?;
        io::Result::Ok(socket)
    };
    connect().map_err(|why| format!("connect: {why}"))
}

/// One address has ports for 28,000 connections.
fn connected_from(source: Ipv4Addr, address: &SocketAddr) -> io::Result<TcpStream> {
    let socket = net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    net::bind(&socket, &SocketAddr::from((source, 0)))?;
    net::connect(&socket, address)?;
    Ok(TcpStream::from(socket))
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
