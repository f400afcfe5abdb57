//! Peers that speak something else, stall, or cut their records badly.

use std::io::Write as _;

use super::*;

#[test]
fn something_else_than_tls_is_said_in_the_words_of_openssl() {
    let mut driver = driver!();
    const WRONG: &str = "wrong version number";
    for (words, start, text) in [
        (
            &b"<?xml version='1.0'?><stream:stream>"[..],
            server(),
            WRONG,
        ),
        (b"GET / HTTP/1.1\r\n\r\n", server(), "http request"),
        (b"POST / HTTP/1.1\r\n\r\n", server(), "http request"),
        (
            b"CONNECT example.test:5222 HTTP/1.1\r\n\r\n",
            server(),
            "https proxy request",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", client(), WRONG),
        (&[0; 64], server(), WRONG),
        (&[0xff; 64], server(), WRONG),
    ] {
        let (key, mut stream) = driver.serve();
        driver.reactor.start_tls(key, named(start)).unwrap();
        stream.write_all(words).unwrap();
        let (reason, _) = driver.expect_closed(key);
        assert_eq!(reason, failed(text));
    }
    assert_eq!(driver.reactor.stats().tls_failures, 7);
    let failed = driver.reactor.tallies().failed_tls;
    assert_eq!((failed.get(WRONG), failed.get("http request")), (4, 2));
    assert_eq!(failed.iter().map(|(_, count)| count).sum::<u64>(), 7);
}

#[test]
fn a_peer_that_stalls_at_any_byte_is_given_up() {
    const TIMEOUT: Duration = Duration::from_millis(150);
    let mut driver = driver!(tls_handshake_timeout: TIMEOUT);
    let hello = driver.client_hello(client());
    let counts: Vec<usize> = (0..48).chain([hello.len() - 1]).collect();
    // All are there before the first one's time runs.
    let stalled: Vec<_> = counts.iter().map(|_| driver.serve()).collect();
    for ((key, stream), count) in stalled.iter().zip(counts) {
        driver.reactor.start_tls(*key, named(server())).unwrap();
        let mut sink = stream;
        sink.write_all(&hello[..count]).unwrap();
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
    let hello = driver.client_hello(client());
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
    let (mut got, mut reason) = (Vec::new(), None);
    let alert = driver.drive_peer(
        move || {
            let mut tls = peer_client(stream.try_clone().unwrap(), "example.test");
            tls.write_all(b"good").unwrap();
            tls.flush().unwrap();
            let mut garbage = vec![0x17, 3, 3, 0, 64];
            garbage.extend([0xaa; 64]);
            stream.write_all(&garbage).unwrap();
            tls.read_to_end(&mut Vec::new()).unwrap_err().to_string()
        },
        |_, event| match event {
            Seen::Data(_, data, _) => got.extend(data),
            Seen::Closed(_, why) => reason = Some(why),
            _ => {}
        },
    );
    assert_eq!(got, b"good");
    assert_eq!(reason, Some(failed("decryption failed or bad record mac")));
    assert!(alert.contains("BadRecordMac"), "{alert}");
}

#[test]
fn an_old_protocol_is_unsupported() {
    let mut driver = driver!();
    let (key, _stream) = driver.serve();
    let only13 = with!(server_settings(server_pair()), protocol: Some("tlsv1_3".into()));
    driver.reactor.destroy(key);
    let ends = driver.join_tls(
        named(context(&only13)),
        named(context(
            &with!(client_settings(), protocol: Some("tlsv1_2".into())),
        )),
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
        context(&with!(settings, protocol: Some("tlsv1_2".into()), ciphers: Some(list.into())))
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

/// A small generator (xorshift): the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Between the two ends, passes bytes on and spoils one of them; both ends must come to an end or go on, and nothing
/// that was not sent may be delivered.
#[test]
fn a_byte_changed_on_the_way_is_never_delivered() {
    const MESSAGE: &[u8] = b"this must arrive as it is or not at all";
    let mut driver = driver!(tls_handshake_timeout: Duration::from_millis(100));
    let mut random = Random(0x5eed);
    let (server, client) = (server(), client());
    for _ in 0..120 {
        let (left_key, left) = driver.serve();
        let (right_key, right) = driver.serve();
        let ends = Ends {
            server: left_key,
            client: right_key,
        };
        driver
            .reactor
            .start_tls(left_key, named(server.clone()))
            .unwrap();
        driver
            .reactor
            .start_tls(right_key, named(client.clone()))
            .unwrap();
        driver.reactor.write(left_key, MESSAGE).unwrap();
        driver.reactor.write(right_key, MESSAGE).unwrap();
        let mut spoil = [random.below(3000), random.below(3000)];
        let bit = 1 << random.below(8);
        for stream in [&left, &right] {
            stream.set_nonblocking(true).unwrap();
        }
        let mut over = 0;
        for _ in 0..12 {
            for (direction, (from, to)) in
                [(&left, &right), (&right, &left)].into_iter().enumerate()
            {
                let mut bytes = vec![0; 16 * 1024];
                let mut source = from;
                if let Ok(count) = source.read(&mut bytes) {
                    if let Some(byte) = bytes[..count].get_mut(spoil[direction]) {
                        *byte ^= bit;
                        spoil[direction] = usize::MAX;
                    } else {
                        spoil[direction] = spoil[direction].saturating_sub(count);
                    }
                    let mut sink = to;
                    let _ = sink.write_all(&bytes[..count]);
                }
            }
            for event in driver.turn() {
                match event {
                    Seen::Data(_, data, _) => assert_eq!(data, MESSAGE),
                    Seen::Closed(..) => over += 1,
                    _ => {}
                }
            }
        }
        let _ = over;
        driver.reactor.destroy(ends.server);
        driver.reactor.destroy(ends.client);
        driver.turn();
    }
}

#[test]
fn noise_before_and_after_the_hello_ends_in_an_error() {
    let mut driver = driver!(tls_handshake_timeout: Duration::from_millis(200));
    let hello = driver.client_hello(client());
    let mut random = Random(0xf00d);
    let streams: Vec<_> = (0..150).map(|_| driver.serve()).collect();
    for (key, stream) in &streams {
        driver.reactor.start_tls(*key, named(server())).unwrap();
        let mut bytes = hello.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        bytes.truncate(random.below(bytes.len()));
        bytes.extend((0..random.below(300)).map(|_| random.next() as u8));
        let mut sink = stream;
        sink.write_all(&bytes).unwrap();
    }
    let mut waiting = streams.len();
    driver.drive("every one of them to end", |_, event| match event {
        Seen::Closed(_, reason) => {
            assert!(
                matches!(reason, Reason::Tls(_) | Reason::HandshakeTimeout),
                "{reason:?}"
            );
            waiting -= 1;
            waiting == 0
        }
        Seen::Data(..) | Seen::Secured(_) => panic!("{event:?}"),
        _ => false,
    });
}
