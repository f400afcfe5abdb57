use super::*;

#[test]
fn data_goes_both_ways() {
    let mut driver = driver!();
    let ends = driver.pair(server(), client());
    let sent = pattern(300_000);
    driver.reactor.write(ends.client, &sent).unwrap();
    driver.expect_data(ends.server, &sent);
    driver.reactor.write(ends.server, &sent).unwrap();
    driver.expect_data(ends.client, &sent);
    let info = driver.reactor.tls_info(ends.client).unwrap();
    assert_eq!(info.protocol, "TLSv1.3");
    assert_eq!(info.cipher, "TLS_AES_256_GCM_SHA384");
    assert_eq!(info.bits, 256);
    assert_eq!(info.group.as_deref(), Some("X25519MLKEM768"));
    assert_eq!(info.server_name.as_deref(), Some("example.test"));
    assert!(!info.resumed);
    assert_eq!(driver.reactor.tls_info(ends.server).unwrap(), info);
}

#[test]
fn both_ends_export_the_same_key() {
    let mut driver = driver!();
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let ends = driver.pair(
            server(),
            context(&with!(client_settings(), protocol: Some(protocol.into()))),
        );
        let mut export = |key| {
            driver
                .reactor
                .export_keying_material(key, b"EXPORTER-Channel-Binding", Some(b""), 32)
                .unwrap()
        };
        assert_eq!(export(ends.client), export(ends.server));
    }
}

/// The peer's rustls derives it by itself.
#[test]
fn what_is_exported_is_what_the_standard_says() {
    for protocol in ["tlsv1_2", "tlsv1_3"] {
        let server =
            context(&with!(server_settings(server_pair()), protocol: Some(protocol.into())));
        for context in [None, Some(&b""[..]), Some(b"a context")] {
            // Less than a block of the hash, and more than one.
            for length in [1, 200] {
                let mut driver = driver!();
                let (key, stream) = driver.serve();
                driver
                    .reactor
                    .start_tls(key, named(server.clone()))
                    .unwrap();
                let mut ours = None;
                let theirs = driver.drive_peer(
                    move || {
                        let mut tls = peer_client(stream, "example.test");
                        tls.read_exact(&mut [0; 4]).unwrap();
                        tls.conn
                            .export_keying_material(vec![0; length], b"EXPORTER-test", context)
                            .unwrap()
                    },
                    |reactor, event| {
                        if matches!(event, Seen::Secured(_)) {
                            let mut export = |length| {
                                reactor.export_keying_material(
                                    key,
                                    b"EXPORTER-test",
                                    context,
                                    length,
                                )
                            };
                            ours = export(length);
                            assert_eq!(export(0), None);
                            assert_eq!(export(4097), None);
                            reactor.write(key, b"done").unwrap();
                        }
                    },
                );
                assert_eq!(ours, Some(theirs), "{protocol} {context:?} {length}");
            }
        }
    }
}

#[test]
fn a_direct_connection_is_connected_once_it_is_secured() {
    let mut driver = driver!();
    let (_, address) = driver.listen(ReadSize::All);
    let key = driver
        .reactor
        .connect(address, SocketKind::Stream, ReadSize::All)
        .unwrap();
    driver.reactor.start_tls(key, named(client())).unwrap();
    driver.reactor.write(key, b"early").unwrap();
    let server = server();
    let (mut order, mut got) = (Vec::new(), Vec::new());
    driver.drive("the data", |reactor, event| {
        match event {
            Seen::Accepted { key, .. } => reactor.start_tls(key, named(server.clone())).unwrap(),
            Seen::Secured(secured) if secured == key => order.push("secured"),
            Seen::Connected(_) => order.push("connected"),
            Seen::Data(_, data, _) => got.extend(data),
            _ => {}
        }
        got == b"early"
    });
    assert_eq!(order, ["secured", "connected"]);
}

#[test]
fn close_says_goodbye() {
    let mut driver = driver!();
    let ends = driver.pair(server(), client());
    driver.reactor.write(ends.client, b"last words").unwrap();
    assert_eq!(driver.reactor.close(ends.client), Close::Flushing);
    let mut got = Vec::new();
    driver.drive("the end of the server", |_, event| {
        if let Seen::Data(_, data, _) = &event {
            got.extend_from_slice(data);
        }
        matches!(&event, Seen::Closed(key, Reason::PeerClosed) if *key == ends.server)
    });
    assert_eq!(got, b"last words");
}
