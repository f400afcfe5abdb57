use super::*;

fn vector(width: usize, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&len[4 - width..], body].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, body)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    let entry = [&[0][..], &vector(2, name)].concat();
    extension(SERVER_NAME, &vector(2, &entry))
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        &[3; 2 + 32][..],
        &vector(1, &[7; 32]),
        &vector(2, &[0x13, 1]),
        &vector(1, &[0]),
        &vector(2, &extensions.concat()),
    ];
    [&[CLIENT_HELLO][..], &vector(3, &body.concat())].concat()
}

/// In records of `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size)
        .flat_map(|part| [&[HANDSHAKE_RECORD, 3, 1][..], &vector(2, part)].concat())
        .collect()
}

#[test]
fn a_name_is_hidden_and_put_back_however_the_records_are_cut() {
    let sent = hello(&[
        extension(10, &[0, 2, 0, 29]),
        server_name(b"host:5223"),
        extension(43, &[2, 3, 4]),
    ]);
    for size in 1..=sent.len() {
        let mut records = records(&sent, size);
        assert_eq!(hide_name(&mut records).unwrap(), b"host:5223", "{size}");
        let hidden = message(&records).unwrap().into_owned();
        assert_ne!(hidden, sent, "{size}");
        assert_eq!(as_sent(&hidden), sent, "{size}");
        // Once is enough.
        assert_eq!(hide_name(&mut records), None);
        // As the hash of a binder has it: without the end.
        let short = &hidden[..hidden.len() - 3];
        assert_eq!(*as_sent(short), sent[..sent.len() - 3]);
    }
}

#[test]
fn behind_a_change_cipher_spec() {
    let hello = records(&hello(&[server_name(b"a b")]), 50);
    let mut retried = [&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1][..], &hello].concat();
    assert_eq!(hide_name(&mut retried).unwrap(), b"a b");
}

#[test]
fn what_rustls_takes_is_left_alone_and_what_openssl_refuses() {
    let long = [b'.'; 256];
    for extensions in [
        vec![],
        vec![server_name(b"example.test")],
        vec![server_name(b"my_host.test")],
        vec![server_name(b"127.0.0.1")],
        vec![server_name(b"a\0b")],
        vec![server_name(&long)],
        vec![extension(SERVER_NAME, b"")],
        vec![extension(SERVER_NAME, &vector(2, b"\x01\x00\x01a"))],
        vec![server_name(b"a b"), extension(HIDDEN, b"")],
    ] {
        let sent = records(&hello(&extensions), 1000);
        let mut records = sent.clone();
        assert_eq!(hide_name(&mut records), None, "{extensions:?}");
        assert_eq!(records, sent);
    }
}

#[test]
fn no_beginning_of_a_hello_is_one() {
    let sent = records(&hello(&[server_name(b"a b")]), 20);
    for len in 0..sent.len() {
        let mut part = sent[..len].to_vec();
        assert_eq!(hide_name(&mut part), None);
        assert_eq!(part, sent[..len]);
        assert_eq!(*as_sent(&part), part);
    }
}

#[test]
fn a_hello_is_whole_when_its_last_byte_is_there_however_the_records_are_cut() {
    let message = hello(&[extension(21, &[0; 200])]);
    for size in [1, 2, 3, 4, 5, 7, 100, message.len() - 1, message.len()] {
        for before in [&[][..], &[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]] {
            let records = [before, &records(&message, size)].concat();
            for there in 0..records.len() {
                let needed = least(&records[..there]).expect("it is not whole");
                assert!(
                    there < needed && needed <= records.len(),
                    "{size}, {there}: {needed}"
                );
            }
            assert_eq!(least(&records), None, "{size}");
            let followed = [&records[..], &[23, 3, 3]].concat();
            assert_eq!(least(&followed), None, "{size}");
            // Who waits for what is needed asks a few times.
            let (mut there, mut asked) = (0, 0);
            while let Some(needed) = least(&records[..there]) {
                (there, asked) = (needed, asked + 1);
            }
            assert_eq!(there, records.len());
            assert!(asked < 50, "{size}: {asked}");
        }
    }
}

#[test]
fn what_is_no_hello_need_not_be_waited_for() {
    for other in [
        &b"GET / HTTP/1.1"[..],
        &[HANDSHAKE_RECORD, 3, 1, 0, 0],
        &[HANDSHAKE_RECORD, 3, 1, 0, 9, 2],
        &[21, 3, 1, 0, 2],
        &[
            CHANGE_CIPHER_SPEC,
            3,
            3,
            0,
            1,
            1,
            CHANGE_CIPHER_SPEC,
            3,
            3,
            0,
            1,
        ],
    ] {
        assert_eq!(least(other), None, "{other:?}");
    }
}
