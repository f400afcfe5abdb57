//! ClientHellos in which there is much of something. To look at one costs no more than to answer an honest one, or some ten of them.

use std::io::Write as _;

use super::*;

const SERVER_NAME: u16 = 0;
const GROUPS: u16 = 10;
const SIGNATURES: u16 = 13;
const PRE_SHARED_KEY: u16 = 41;
const VERSIONS: u16 = 43;
const PSK_MODES: u16 = 45;
const KEY_SHARE: u16 = 51;
/// What rustls has never heard of.
const UNKNOWN: u16 = 0xfa00;
const X25519: u16 = 29;
const AES_256_GCM: u16 = 0x1302;

fn vector(width: usize, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&len[4 - width..], body].concat()
}

fn numbers(numbers: impl IntoIterator<Item = u16>) -> Vec<u8> {
    numbers.into_iter().flat_map(u16::to_be_bytes).collect()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(2, body)].concat()
}

fn share(group: u16) -> Vec<u8> {
    [&group.to_be_bytes()[..], &vector(2, &[9; 32])].concat()
}

/// What an honest ClientHello has.
fn honest() -> Vec<(u16, Vec<u8>)> {
    vec![
        (VERSIONS, vector(1, &numbers([0x0304]))),
        (GROUPS, vector(2, &numbers([X25519]))),
        (SIGNATURES, vector(2, &numbers([0x0403, 0x0804]))),
        (KEY_SHARE, vector(2, &share(X25519))),
        (PSK_MODES, vector(1, &[1])),
    ]
}

/// In records of `size` bytes.
fn records(suites: &[u16], extensions: &[(u16, Vec<u8>)], size: usize) -> Vec<u8> {
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, body)| extension(*kind, body))
        .collect();
    let body = [
        &[3; 2 + 32][..],
        &vector(1, &[7; 32]),
        &vector(2, &numbers(suites.iter().copied())),
        &vector(1, &[0]),
        &vector(2, &extensions),
    ];
    let message = [&[1][..], &vector(3, &body.concat())].concat();
    message
        .chunks(size)
        .flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat())
        .collect()
}

/// The processor time that it takes to answer `hello` or to end its connection, and whether it was answered.
fn cost(driver: &mut Driver, server: &Context, hello: &[u8]) -> (Duration, bool) {
    let (key, mut stream) = driver.serve();
    let start = named(server.clone());
    driver.reactor.start_tls(key, start).unwrap();
    // The system takes all of it at once.
    stream.write_all(hello).unwrap();
    let before = thread_time();
    let give_up = std::time::Instant::now() + PATIENCE;
    let mut ended = false;
    while !ended && unread(&stream) == 0 {
        assert!(std::time::Instant::now() < give_up);
        for event in driver.turn() {
            ended |= matches!(event, Seen::Closed(..));
        }
    }
    let took = thread_time() - before;
    let mut kind = [0];
    let answered = matches!(stream.read(&mut kind), Ok(1)) && kind == [22];
    driver.reactor.destroy(key);
    driver.turn();
    (took, answered)
}

#[test]
fn much_of_anything_costs_little() {
    const MOST: Duration = Duration::from_millis(60);
    let mut driver = driver!();
    let server = server();
    let suites = [AES_256_GCM];
    let with = |kind: u16, body: Vec<u8>| {
        let mut extensions = honest();
        extensions.retain(|(other, _)| *other != kind);
        extensions.push((kind, body));
        extensions
    };
    let unknown: Vec<(u16, Vec<u8>)> = (0..7000).map(|kind| (UNKNOWN - kind, vec![])).collect();
    let many_suites: Vec<u16> = (0..15_000)
        .map(|number| 0x4000 + number)
        .chain(suites)
        .collect();
    let versions = numbers((0..126).map(|number| 0x7f00 + number).chain([0x0304]));
    let groups = numbers((0..15_000).map(|number| 0x4000 + number).chain([X25519]));
    let schemes = numbers((0..15_000).map(|number| 0x4000 + number).chain([0x0403]));
    let shares: Vec<u8> = (0..800).chain([X25519]).flat_map(share).collect();
    let shares_again: Vec<u8> = [X25519; 800].into_iter().flat_map(share).collect();
    let names: Vec<u8> = (0..500)
        .flat_map(|number| [&[0][..], &vector(2, format!("a{number}.test").as_bytes())].concat())
        .collect();
    // As long as tickets of ours are.
    let identity = [&vector(2, &[6; 180])[..], &[0; 4]].concat();
    let psk = |count: usize| {
        let identities = vector(2, &identity.repeat(count));
        let binders = vector(2, &vector(1, &[8; 48]).repeat(count));
        [identities, binders].concat()
    };
    let cases = [
        ("an honest one", records(&suites, &honest(), 16_000)),
        ("in records of a byte", records(&suites, &honest(), 1)),
        (
            "an extension of 30,000 bytes",
            records(&suites, &with(UNKNOWN, vec![1; 30_000]), 16_000),
        ),
        (
            "7,000 extensions",
            records(&suites, &[honest(), unknown].concat(), 16_000),
        ),
        ("15,000 suites", records(&many_suites, &honest(), 16_000)),
        (
            "127 versions",
            records(&suites, &with(VERSIONS, vector(1, &versions)), 16_000),
        ),
        (
            "15,000 groups",
            records(&suites, &with(GROUPS, vector(2, &groups)), 16_000),
        ),
        (
            "15,000 ways to sign",
            records(&suites, &with(SIGNATURES, vector(2, &schemes)), 16_000),
        ),
        (
            "800 keys",
            records(&suites, &with(KEY_SHARE, vector(2, &shares)), 16_000),
        ),
        (
            "the same key 800 times",
            records(&suites, &with(KEY_SHARE, vector(2, &shares_again)), 16_000),
        ),
        (
            "500 names",
            records(&suites, &with(SERVER_NAME, vector(2, &names)), 16_000),
        ),
        (
            "a ticket of somebody else",
            records(&suites, &with(PRE_SHARED_KEY, psk(1)), 16_000),
        ),
        (
            "130 tickets of somebody else",
            records(&suites, &with(PRE_SHARED_KEY, psk(130)), 16_000),
        ),
    ];
    for (what, hello) in cases {
        assert!(hello.len() < 32 * 1024, "{what}: {}", hello.len());
        let all: Vec<_> = (0..5).map(|_| cost(&mut driver, &server, &hello)).collect();
        let (least, answered) = all.into_iter().min().unwrap();
        println!("{what}: {least:?}, answered: {answered}");
        assert!(least < MOST, "{what}: {least:?}");
    }
}

/// Beyond what is collected it is not looked at.
#[test]
fn more_than_is_collected_ends_the_connection() {
    let mut driver = driver!();
    let (key, mut stream) = driver.serve();
    driver.reactor.start_tls(key, named(server())).unwrap();
    let extensions = [honest(), vec![(UNKNOWN, vec![1; 40_000])]].concat();
    let hello = records(&[AES_256_GCM], &extensions, 16_000);
    stream.write_all(&hello).unwrap();
    let (reason, _) = driver.expect_closed(key);
    assert_eq!(reason, failed("excessive message size"));
}
