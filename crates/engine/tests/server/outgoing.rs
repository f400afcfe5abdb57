//! Connections that a handler begins, and the two ends of a proxy.

use std::path::PathBuf;

use super::*;

/// One end of a proxied connection, which knows the other.
struct End {
    target: Option<Name>,
    start: Option<Start>,
    other: Option<Key>,
    told: Sender<Reason>,
}

impl Handler for End {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        conn.set_half_open(true);
        if let Some(target) = self.target.take() {
            let back = End {
                target: None,
                start: None,
                other: Some(conn.key()),
                told: self.told.clone(),
            };
            let key = conn.connect(&target, back).unwrap();
            if let Some(start) = self.start.take() {
                conn.other(key).start_tls(start).unwrap();
            }
            self.other = Some(key);
        }
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        conn.other(self.other.unwrap()).write(data).unwrap();
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        conn.other(self.other.unwrap()).finish();
    }

    fn on_disconnect(&mut self, conn: &mut Conn<'_>, reason: &Reason) {
        conn.other(self.other.unwrap()).close();
        let _ = self.told.send(reason.clone());
    }
}

#[track_caller]
fn proxy(threads: usize, target: Name, start: Option<Start>) -> (Running, Receiver<Reason>) {
    let (told, reasons) = mpsc::channel();
    let server = serve(threads, move || End {
        target: Some(target.clone()),
        start: start.clone(),
        other: None,
        told: told.clone(),
    });
    (server, reasons)
}

/// Sends, ends its side, and gets the answer that comes only then.
#[track_caller]
fn ask(server: &Running) {
    let mut stream = server.connect();
    let question = pattern(200_000);
    stream.write_all(&question).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&stream) == question);
}

/// Answers with all that it got, once it has got all.
struct Patient(Vec<u8>);

impl Handler for Patient {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        conn.set_half_open(true);
    }

    fn on_incoming(&mut self, _conn: &mut Conn<'_>, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    fn on_end(&mut self, conn: &mut Conn<'_>) {
        conn.write(&self.0).unwrap();
        conn.finish();
    }
}

#[test]
fn a_proxy_passes_both_ends_on() {
    available!();
    for threads in THREADS {
        let behind = serve(threads, || Patient(Vec::new()));
        let (server, reasons) = proxy(threads, Name::Inet(behind.address()), None);
        for _ in 0..4 {
            ask(&server);
            for _ in 0..2 {
                let reason = next(&reasons);
                assert!(
                    matches!(reason, Reason::PeerClosed | Reason::Local),
                    "{reason:?}"
                );
            }
        }
    }
}

#[test]
fn tls_to_what_is_behind() {
    available!();
    let contexts = Contexts::new(server());
    let behind = run(1, |builder| {
        builder.listen(Listen::on("127.0.0.1:0").tls(&contexts), || {
            Patient(Vec::new())
        })
    });
    let target = Name::Inet(behind.address());
    let (server, _reasons) = proxy(1, target, Some(named(client())));
    ask(&server);
}

#[test]
fn unix_sockets_on_both_sides() {
    available!();
    let path: PathBuf = directory().join("behind");
    let _ = std::fs::remove_file(&path);
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let behind = run(1, |builder| {
        builder.listen(Listen::adopt(socket.into()), || Patient(Vec::new()))
    });
    assert_eq!(behind.handle.addresses(), [Name::Unix(path.clone())]);
    let (server, _reasons) = proxy(1, Name::Unix(path), None);
    ask(&server);
}

#[test]
fn abstract_sockets_on_both_sides() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    available!();
    let name = format!("trochee-{}-{}", std::process::id(), poller_name());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixListener::bind_addr(&address).unwrap();
    let behind = run(1, |builder| {
        builder.listen(Listen::adopt(socket.into()), || Patient(Vec::new()))
    });
    let wanted = Name::Abstract(name.into_bytes());
    assert_eq!(behind.handle.addresses(), std::slice::from_ref(&wanted));
    let (server, _reasons) = proxy(1, wanted, None);
    ask(&server);
}

#[test]
fn what_can_not_be_reached_is_told() {
    available!();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let (server, reasons) = proxy(1, Name::Inet(address), None);
    assert_eq!(read_to_end(&server.connect()), b"");
    let two = [next(&reasons), next(&reasons)];
    assert!(
        two.contains(&Reason::Os(rustix::io::Errno::CONNREFUSED)),
        "{two:?}"
    );
}
