//! Who serves changes all the time: nothing is lost, nothing comes twice, nothing is in another order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::EventLoop;
use crate::config::{Config, ReadSize, SocketKind};
use crate::event::{Event, Level};
use crate::name::Name;
use crate::registry::Key;
use crate::tls::Start;

/// What each client sends, how much of it may be on the way, and how many clients there are.
const LENGTH: usize = 2 << 20;
const WINDOW: usize = 200_000;
const CLIENTS: usize = 6;

/// Many reads: chances to change.
const READ: ReadSize = ReadSize::UpTo(5000);

/// The byte at a place of a stream: every part is known by where it is.
fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

fn patterned(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(pattern).collect()
}

#[derive(Default)]
struct Client {
    sent: usize,
    got: usize,
}

/// Numbers that look like chance, and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// Both ends of all connections are of one event loop: clients send, servers echo.
fn echo_while_switching(starts: Option<(Start, Start)>) {
    let mut event_loop = EventLoop::new();
    event_loop.set_backend("epoll").unwrap();
    event_loop.configure(Config {
        io_threads: 2,
        ..Config::default()
    });
    let listener = event_loop.listen("127.0.0.1", 0, READ).unwrap();
    let Some(Name::Inet(address)) = event_loop.local_name(listener) else {
        panic!("a listener without a name");
    };
    let mut clients = HashMap::<Key, Client>::new();
    for _ in 0..CLIENTS {
        let stream = SocketKind::Stream;
        let key = event_loop.connect(address, stream, READ).unwrap();
        if let Some((_, client)) = &starts {
            event_loop.start_tls(key, client.clone()).unwrap();
        }
        clients.insert(key, Client::default());
    }
    let (mut random, mut over, mut switches) = (Random(1), 0, 0);
    let give_up = Instant::now() + Duration::from_secs(300);
    while over < CLIENTS {
        assert!(Instant::now() < give_up, "{over} of {CLIENTS} are through");
        event_loop.begin_turn(Some(Duration::from_secs(10)));
        while let Some(event) = event_loop.next_event() {
            let mut goes_on = None;
            match event {
                Event::Accepted { key, .. } => {
                    if let Some((server, _)) = &starts {
                        event_loop.start_tls(key, server.clone()).unwrap();
                    }
                }
                Event::Connected { key } => goes_on = Some(key),
                Event::Data { key, data, .. } => match clients.get_mut(&key) {
                    None => {
                        let data = data.to_vec();
                        event_loop.write(key, &data).unwrap();
                    }
                    Some(client) => {
                        let wanted = patterned(client.got, data.len());
                        assert!(data == wanted, "not what was sent, at {}", client.got);
                        client.got += data.len();
                        over += usize::from(client.got == LENGTH);
                        goes_on = Some(key);
                    }
                },
                Event::Notice {
                    level: Level::Error,
                    text,
                } => panic!("{text}"),
                Event::Closed { reason, .. } => panic!("{reason:?}"),
                _ => {}
            }
            if let Some(key) = goes_on {
                let client = clients.get_mut(&key).unwrap();
                while client.sent < LENGTH && client.sent - client.got < WINDOW {
                    let count = (1 + random.below(30_000)).min(LENGTH - client.sent);
                    let data = patterned(client.sent, count);
                    event_loop.write(key, &data).unwrap();
                    client.sent += count;
                }
            }
            match random.below(20) {
                0 => {
                    event_loop.threads.switch();
                    switches += 1;
                }
                1 => event_loop.threads.lose_to_thread(random.below(2)),
                2 => {
                    let key = *clients.keys().next().unwrap();
                    assert!(event_loop.tcp_info(key).is_some());
                }
                _ => {}
            }
        }
    }
    assert!(switches > 100, "only {switches}");
    let stats = event_loop.stats();
    assert!(stats.taken_from_threads > 20, "{stats:?}");
    assert!(stats.given_to_threads > 20, "{stats:?}");
}

#[test]
fn streams_go_on_whoever_serves() {
    echo_while_switching(None);
}

#[cfg(feature = "tls")]
#[test]
fn streams_over_tls_go_on_whoever_serves() {
    use crate::tls::{Context, Mode, Settings};

    let directory = std::env::temp_dir().join(format!("trochee-switching-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["example.test".to_owned()]).unwrap();
    let certificate = file("certificate", &params.self_signed(&key).unwrap().pem());
    let server = Settings {
        mode: Mode::Server,
        certificate: Some(certificate),
        key: Some(file("key", &key.serialize_pem())),
        ..Settings::default()
    };
    let client = Settings {
        mode: Mode::Client,
        verify: vec!["none".to_owned()],
        ..Settings::default()
    };
    let start = |settings| Start::new(Context::build(settings).unwrap().0);
    let starts = (start(&server), start(&client));
    let _ = std::fs::remove_dir_all(&directory);
    echo_while_switching(Some(starts));
}
