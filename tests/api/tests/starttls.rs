//! A protocol that begins in plaintext and goes on in TLS, with both ends in this program: a server, and connections that it begins.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};

use trochee::server::{Contexts, Status, Thread};
use trochee::tls::{Context, Settings, Start};
use trochee::{Conn, Error, Handler, Name, Reason, Server};
use trochee_api::{Running, next};

/// A certificate for localhost that certifies itself, and its key.
fn certificate() -> io::Result<(PathBuf, PathBuf)> {
    let folder = std::env::temp_dir().join(format!("trochee-api-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    assert!(made.status.success(), "{made:?}");
    Ok((certificate, key))
}

/// The server's end.
struct Serves(Contexts);

impl Handler for Serves {
    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        if conn.is_tls() {
            let _ = conn.write(data);
        } else if data == b"STARTTLS\n" {
            let _ = conn.write(b"OK\n");
            let _ = conn.serve_tls(&self.0);
        } else {
            conn.close();
        }
    }
}

/// What came back and what both ends can derive; or how it ended.
type Answer = Result<(Vec<u8>, Vec<u8>), Reason>;

/// The end that the program has begun.
struct Asks {
    context: Context,
    name: &'static str,
    told: Sender<Answer>,
}

impl Handler for Asks {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        let _ = conn.write(b"STARTTLS\n");
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        if conn.is_tls() {
            let secret = conn.export_keying_material(b"EXPORTER-test", None, 32);
            assert!(conn.peer_verification().is_empty());
            let answer = (data.to_vec(), secret.unwrap_or_default());
            let _ = self.told.send(Ok(answer));
            conn.close();
        } else {
            let mut start = Start::new(self.context.clone());
            start.server_name = Some(self.name.to_owned());
            assert!(conn.start_tls(start).is_ok());
        }
    }

    fn on_status(&mut self, conn: &mut Conn<'_>, status: Status) {
        if status == Status::Secured {
            let _ = conn.write(b"in secret");
        }
    }

    fn on_disconnect(&mut self, _conn: &mut Conn<'_>, reason: &Reason) {
        let _ = self.told.send(Err(reason.clone()));
    }
}

#[test]
fn connections_that_nobody_asked_for_upgrade_and_verify() -> Result<(), Box<dyn std::error::Error>>
{
    let (certificate, key) = certificate()?;
    let (context, _) = Context::build(&Settings::server(&certificate, key))?;
    let contexts = Contexts::new(context);
    let builder = Server::builder()
        .threads(2)
        .listen("127.0.0.1:0", move || Serves(contexts.clone()));
    let server = Running::new(builder)?;
    let mut settings = Settings::client();
    settings.cafile = Some(certificate);
    let (context, _) = Context::build(&settings)?;
    let target = Name::from(server.address());
    let (tell, told) = channel();
    let ask = |thread: usize, name: &'static str| {
        let (target, tell, context) = (target.clone(), tell.clone(), context.clone());
        let task = move |thread: &mut Thread<'_>| {
            let told = tell.clone();
            let handler = Asks {
                context,
                name,
                told,
            };
            if let Err(error) = thread.connect(&target, handler) {
                panic!("{error}");
            }
        };
        while matches!(
            server.handle.run_on(thread, task.clone()),
            Err(Error::Closed)
        ) {
            // The server is about to begin.
            std::thread::yield_now();
        }
    };
    for thread in [0, 1] {
        ask(thread, "localhost");
        let (data, secret) = next(&told).map_err(|reason| reason.to_string())?;
        assert_eq!((&data[..], secret.len()), (&b"in secret"[..], 32));
        assert_eq!(next(&told), Err(Reason::Local));
    }
    // A certificate for another name is refused.
    ask(0, "example.org");
    let Err(Reason::Tls(why)) = next(&told) else {
        panic!("it was taken for another");
    };
    assert!(!why.is_empty());
    Ok(())
}
