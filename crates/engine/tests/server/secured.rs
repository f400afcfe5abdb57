//! TLS, direct and by STARTTLS.

use super::*;

/// A context of `name`'s own.
fn context_for(name: &str) -> Context {
    context(&server_settings(&authority().issue(params(name))))
}

/// Says hello to `name` there and echoes one message.
#[track_caller]
fn hello(server: &Running, name: &str) -> std::io::Result<()> {
    let mut tls = peer_client(server.connect(), name);
    tls.write_all(b"hello")?;
    let mut got = [0; 5];
    tls.read_exact(&mut got)?;
    assert_eq!(&got, b"hello");
    Ok(())
}

#[test]
fn each_name_gets_its_certificate_and_a_reload_reaches_newcomers() {
    available!();
    for threads in THREADS {
        let names = [
            ("one.test".to_owned(), context_for("one.test")),
            ("*.wild.test".to_owned(), context_for("*.wild.test")),
        ];
        let contexts = Contexts::with_names(context_for("default.test"), names);
        let server = run(threads, |builder| {
            builder.listen(Listen::on("127.0.0.1:0").tls(&contexts), || Echo)
        });
        hello(&server, "one.test").unwrap();
        hello(&server, "ONE.test").unwrap();
        hello(&server, "a.wild.test").unwrap();
        hello(&server, "default.test").unwrap();
        // It gets the default one, which does not have that name.
        hello(&server, "two.test").unwrap_err();
        let mut old = peer_client(server.connect(), "one.test");
        old.write_all(b"old").unwrap();
        expect(&mut old, b"old");

        let names = [("two.test".to_owned(), context_for("two.test"))];
        contexts.replace(context_for("default.test"), names);
        hello(&server, "two.test").unwrap();
        hello(&server, "one.test").unwrap_err();
        old.write_all(b"goes on").unwrap();
        expect(&mut old, b"goes on");
    }
}

#[test]
fn direct_tls_is_connected_once_it_is_secured() {
    available!();
    let (make, calls) = probe(|_, _| {});
    let contexts = Contexts::new(server());
    let server = run(1, |builder| {
        builder.listen(Listen::on("127.0.0.1:0").tls(&contexts), make)
    });
    let mut tls = peer_client(server.connect(), "example.test");
    tls.write_all(b"secret").unwrap();
    let name = Some("example.test".to_owned());
    for wanted in [
        Call::Secured(name),
        Call::Connect,
        Call::Incoming(b"secret".to_vec()),
    ] {
        assert_eq!(next(&calls), wanted);
    }
    // What is no TLS never begins.
    let mut plain = server.connect();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(matches!(next(&calls), Call::Disconnect(Reason::Tls(_))));
}

#[test]
fn starttls() {
    available!();
    let contexts = Contexts::with_names(server(), [("one.test".into(), context_for("one.test"))]);
    let (make, calls) = probe(move |conn: &mut Conn<'_>, call: &Call| {
        if *call == Call::Incoming(b"STARTTLS".to_vec()) {
            conn.write(b"OK").unwrap();
            conn.serve_tls(&contexts).unwrap();
        }
    });
    let server = serve(1, make);
    for name in ["example.test", "one.test"] {
        let mut stream = server.connect();
        stream.write_all(b"STARTTLS").unwrap();
        expect(&mut stream, b"OK");
        let mut tls = peer_client(stream, name);
        tls.write_all(b"secret").unwrap();
        tls.flush().unwrap();
        for wanted in [
            Call::Connect,
            Call::Incoming(b"STARTTLS".to_vec()),
            Call::Secured(Some(name.to_owned())),
            Call::Incoming(b"secret".to_vec()),
        ] {
            assert_eq!(next(&calls), wanted);
        }
        drop(tls);
        assert!(matches!(next(&calls), Call::Disconnect(_)));
    }
}
