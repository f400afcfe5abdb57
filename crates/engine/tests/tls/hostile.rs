//! Peers that speak something else, stall, or cut their records badly.

use std::io::Write as _;

use super::*;

/// What our client sends first.
fn client_hello(driver: &mut Driver) -> Vec<u8> {
    let (key, stream) = driver.serve();
    driver.reactor.start_tls(key, named(client())).unwrap();
    let hello = driver.drive_peer(
        move || {
            let mut header = [0; 5];
            (&stream).read_exact(&mut header).unwrap();
            let mut record = header.to_vec();
            record.resize(
                5 + usize::from(u16::from_be_bytes([header[3], header[4]])),
                0,
            );
            (&stream).read_exact(&mut record[5..]).unwrap();
            record
        },
        |_, _| {},
    );
    driver.reactor.destroy(key);
    driver.turn();
    hello
}

#[test]
fn something_else_than_tls_is_a_wrong_version_number() {
    let mut driver = driver!();
    for (words, start) in [
        (&b"<?xml version='1.0'?><stream:stream>"[..], server()),
        (b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", server()),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", client()),
        (&[0; 64], server()),
        (&[0xff; 64], server()),
    ] {
        let (key, mut stream) = driver.serve();
        driver.reactor.start_tls(key, named(start)).unwrap();
        stream.write_all(words).unwrap();
        let (reason, _) = driver.expect_closed(key);
        assert_eq!(reason, failed("wrong version number"));
    }
}

#[test]
fn a_peer_that_stalls_at_any_byte_is_given_up() {
    const TIMEOUT: Duration = Duration::from_millis(150);
    let mut driver = driver!(tls_handshake_timeout: TIMEOUT);
    let hello = client_hello(&mut driver);
    let mut stalled = Vec::new();
    for count in (0..48).chain([hello.len() - 1]) {
        let (key, mut stream) = driver.serve();
        driver.reactor.start_tls(key, named(server())).unwrap();
        stream.write_all(&hello[..count]).unwrap();
        stalled.push((key, stream));
    }
    let mut over = 0;
    driver.drive("all of them to be given up", |_, event| {
        if let Seen::Closed(_, reason) = event {
            assert_eq!(reason, Reason::HandshakeTimeout);
            over += 1;
        }
        over == stalled.len()
    });
}

#[test]
fn a_peer_that_drips_is_given_up_after_three_steps_at_most() {
    const TIMEOUT: Duration = Duration::from_millis(100);
    let mut driver = driver!(tls_handshake_timeout: TIMEOUT);
    let hello = client_hello(&mut driver);
    let (key, mut stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let start = std::time::Instant::now();
    driver.drive_peer(
        move || {
            for byte in hello {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        },
        |_, _| {},
    );
    assert!(start.elapsed() < TIMEOUT * 6, "{:?}", start.elapsed());
    assert_eq!(driver.reactor.local_name(key), None);
}

#[test]
fn records_may_be_split_at_every_byte() {
    let mut driver = driver!();
    let (key, stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let mut got = Vec::new();
    driver.drive_peer(
        move || {
            stream.set_nodelay(true).unwrap();
            let mut tls = peer_client(Slow(stream), "example.test");
            tls.write_all(b"one byte at a time").unwrap();
            tls.flush().unwrap();
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        },
        |_, event| {
            if let Seen::Data(_, data, _) = event {
                got.extend(data);
            }
        },
    );
    while got.len() < 18 {
        driver.drive("the rest", |_, event| {
            if let Seen::Data(_, data, _) = event {
                got.extend(data);
            }
            true
        });
    }
    assert_eq!(got, b"one byte at a time");
}

#[test]
fn garbage_after_the_handshake_is_a_bad_record() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    driver.drive_peer(
        move || {
            let mut tls = peer_client(stream.try_clone().unwrap(), "example.test");
            tls.write_all(b"good").unwrap();
            tls.flush().unwrap();
            let mut garbage = vec![0x17, 3, 3, 0, 64];
            garbage.extend([0xaa; 64]);
            stream.write_all(&garbage).unwrap();
        },
        |_, event| {
            if let Seen::Data(_, data, _) = event {
                assert_eq!(data, b"good");
            }
        },
    );
    if driver.reactor.tls_info(key).is_some() {
        let (reason, _) = driver.expect_closed(key);
        assert_eq!(reason, failed("decryption failed or bad record mac"));
    }
}

#[test]
fn an_old_protocol_is_unsupported() {
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    let only13 = Settings {
        protocol: Some("tlsv1_3".into()),
        ..server_settings(server_pair())
    };
    driver.reactor.destroy(key);
    let ends = driver.join_tls(
        named(context(&only13)),
        named(context(&Settings {
            protocol: Some("tlsv1_2".into()),
            ..client_settings()
        })),
        ReadSize::All,
    );
    let (server, client) = driver.both_closed(ends);
    assert_eq!(server, failed("unsupported protocol"));
    assert_eq!(client, failed("tlsv1 alert protocol version"));
}

#[test]
fn nothing_in_common_is_no_shared_cipher() {
    let mut driver = driver!();
    let one = |list: &str, settings: Settings| {
        context(&Settings {
            protocol: Some("tlsv1_2".into()),
            ciphers: Some(list.into()),
            ..settings
        })
    };
    let ends = driver.join_tls(
        named(one(
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            server_settings(server_pair()),
        )),
        named(one("ECDHE-RSA-AES256-GCM-SHA384", client_settings())),
        ReadSize::All,
    );
    let (server, client) = driver.both_closed(ends);
    assert_eq!(server, failed("no shared cipher"));
    assert_eq!(client, failed("sslv3 alert handshake failure"));
}
