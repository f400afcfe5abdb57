//! Arbitrary bytes before, during and after a TLS handshake, in pieces, with the consumer pausing and closing between
//! them. Nothing may panic, hang, or be delivered that did not come through TLS.
//!
//! The first byte of an input picks the scene, the second into how many pieces the rest is cut.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use trochee::tls::{Context, Material, OwnCertificate, Settings, Start};
use trochee::{Event, Key, Reactor, ReadSize};

/// Most pieces of one scene.
const PIECES: usize = 24;

struct Contexts {
    server: Context,
    client: Context,
    peer: Arc<rustls::ClientConfig>,
}

/// Made once: a certificate of its own, which the client trusts.
fn contexts() -> &'static Contexts {
    static CONTEXTS: OnceLock<Contexts> = OnceLock::new();
    CONTEXTS.get_or_init(|| {
        #[allow(unsafe_code)] // sets how the process takes a signal
        // SAFETY: no handler is installed. The peer's end here writes into broken connections; the engine never lets a
        // signal come of that, which its own tests see to.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN)
        };
        let made = rcgen::generate_simple_self_signed(vec!["example.test".into()]).unwrap();
        let own = OwnCertificate::new(
            Material::Memory(made.cert.pem().into_bytes()),
            Material::Memory(made.signing_key.serialize_pem().into_bytes()),
        );
        let mut server = Settings::default();
        server.certificates = vec![own];
        server.alpn = vec!["xmpp-client".into()];
        server.verify = vec!["peer".into()];
        server.verifyext = vec!["lsec_continue".into()];
        let mut client = Settings::client();
        client.system_trust = false;
        client.verify = vec!["peer".into()];
        client.verifyext = vec!["lsec_continue".into()];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let peer = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Contexts {
            server: Context::build(&server).unwrap().0,
            client: Context::build(&client).unwrap().0,
            peer: Arc::new(peer),
        }
    })
}

/// One scene, from the first byte to the end of the connection.
pub fn run(input: &[u8]) {
    let [scene, cut, bytes @ ..] = input else {
        return;
    };
    let contexts = contexts();
    let mut reactor = Reactor::new();
    reactor.set_backend("poll").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let size = if scene & 0x40 == 0 {
        ReadSize::All
    } else {
        ReadSize::UpTo(7)
    };
    let key = reactor.adopt(ours.into(), size).unwrap();
    turn(&mut reactor, key, 0, &[]);

    let context = if scene & 1 == 0 {
        &contexts.server
    } else {
        &contexts.client
    };
    let mut start = Start::new(context.clone());
    start.choose = scene & 2 != 0;
    start.server_name = Some("example.test".into());
    let pieces = bytes.chunks(bytes.len().div_ceil(usize::from(*cut) % PIECES + 1).max(1));

    if scene & 4 != 0 && scene & 1 == 0 {
        // After a handshake with a real peer: its own words, then the input.
        reactor.start_tls(key, start).unwrap();
        let name = "example.test".try_into().unwrap();
        let mut peer = rustls::ClientConnection::new(Arc::clone(&contexts.peer), name).unwrap();
        for _ in 0..8 {
            exchange(&mut peer, &theirs);
            turn(&mut reactor, key, *scene & 0x42, b"hello");
        }
        assert!(!peer.is_handshaking());
        peer.writer().write_all(b"hello").unwrap();
        exchange(&mut peer, &theirs);
        for piece in pieces {
            if scene & 8 != 0 {
                // Well sealed: delivered as it is.
                let _ = peer.writer().write_all(b"hello");
                exchange(&mut peer, &theirs);
            }
            let _ = (&theirs).write(piece);
            turn(&mut reactor, key, *scene, b"hello");
        }
    } else {
        if scene & 16 != 0 {
            let _ = reactor.write(key, b"plaintext from before");
        }
        reactor.start_tls(key, start).unwrap();
        for piece in pieces {
            let _ = (&theirs).write(piece);
            turn(&mut reactor, key, *scene, &[]);
        }
    }
    drop(theirs);
    for _ in 0..4 {
        turn(&mut reactor, key, 0, b"hello");
    }
}

/// Carries records between the peer and its socket.
fn exchange(peer: &mut rustls::ClientConnection, mut socket: &UnixStream) {
    while peer.wants_write() && peer.write_tls(&mut socket).is_ok() {}
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = socket.read(&mut bytes) {
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            if peer.read_tls(&mut rest).is_err() || peer.process_new_packets().is_err() {
                return;
            }
        }
    }
    while peer.wants_write() && peer.write_tls(&mut socket).is_ok() {}
}

/// One turn that does not wait, with a consumer that does this and that. Whatever is delivered is a part of `sent`,
/// again and again.
fn turn(reactor: &mut Reactor, key: Key, scene: u8, sent: &[u8]) {
    reactor.begin_turn(Some(Duration::ZERO));
    let mut asked = false;
    let mut events = 0;
    while let Some(event) = reactor.next_event() {
        events += 1;
        assert!(events < 100_000, "a turn without end");
        match event {
            Event::Data { data, .. } => assert!(
                data.iter().all(|byte| sent.contains(byte)),
                "delivered: {data:?}"
            ),
            Event::ClientHello { .. } => asked = true,
            _ => {}
        }
        if asked {
            asked = false;
            if scene & 0x20 == 0 {
                let _ = reactor.accept_tls(key, contexts().server.clone(), None);
            } else {
                let _ = reactor.refuse_tls(key);
            }
        }
    }
    if scene & 0x80 != 0 {
        reactor.pause(key);
        let _ = reactor.write(key, b"an answer");
        reactor.resume(key);
    }
}
