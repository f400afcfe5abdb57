//! A timeout is silence of the peer. Where it is the consumer who was late, nobody is given up whose data, room or answer is waiting.

use std::collections::HashMap;
use std::process::Command;
use std::thread::{self, JoinHandle};

use super::*;

const TIMEOUT: Duration = Duration::from_millis(100);
/// How long the consumer is busy.
const LATE: Duration = Duration::from_millis(350);

/// What peers have done while nobody looked, more than one turn can serve.
struct Crowd {
    peers: HashMap<Key, TcpStream>,
    heard: HashMap<Key, usize>,
}

impl Crowd {
    /// Peers that are in, and have been heard.
    fn gather(driver: &mut Driver, count: usize) -> Crowd {
        let (_, address) = driver.listen(ReadSize::All);
        let mut peers = HashMap::new();
        for _ in 0..count {
            let stream = peer(address);
            peers.insert(driver.accepted(), stream);
        }
        let heard = HashMap::new();
        set_read_timeout(driver);
        Crowd { peers, heard }
    }

    fn speak(&self) {
        for mut stream in self.peers.values() {
            stream.write_all(b"here").unwrap();
        }
    }

    /// Runs turns until everybody was heard. The consumer takes its time, so each turn serves a few.
    fn hear(&mut self, driver: &mut Driver) {
        driver.drive("everybody to be heard", |_, event| {
            match event {
                Seen::Data(key, data, _) => {
                    *self.heard.entry(key).or_default() += data.len();
                    thread::sleep(Duration::from_millis(2));
                }
                // Whoever has been heard may be silent for long enough since.
                Seen::ReadTimeout(key) => {
                    assert!(self.heard.contains_key(&key), "given up unheard");
                }
                Seen::Notice(..) | Seen::Closed(_, Reason::Local) => {}
                other => panic!("unexpected: {other:?}"),
            }
            self.heard.len() == self.peers.len()
        });
    }
}

/// From now on, for all connections: under load it takes a while until a crowd is in.
fn set_read_timeout(driver: &mut Driver) {
    let mut config = driver.reactor.config().clone();
    config.read_timeout = TIMEOUT;
    driver.reactor.configure(config);
}

fn set_send_timeout(driver: &mut Driver, timeout: Duration) {
    let mut config = driver.reactor.config().clone();
    config.send_timeout = timeout;
    driver.reactor.configure(config);
}

#[test]
fn whoever_has_spoken_is_heard_first() {
    let mut driver = driver!();
    let mut crowd = Crowd::gather(&mut driver, 60);
    crowd.speak();
    thread::sleep(LATE);
    crowd.hear(&mut driver);
    // And silence is noticed as ever.
    driver.drive("a timeout", |_, event| {
        matches!(event, Seen::ReadTimeout(_))
    });
}

/// More than one wait tells of, and more than one turn accepts and reads.
#[test]
fn a_crowd_that_comes_while_nobody_looks_is_served() {
    let mut driver = driver!(read_timeout: TIMEOUT);
    let (_, address) = driver.listen(ReadSize::All);
    driver.turn();
    // select(2) has no room for more descriptors, both ends counted, while other tests run.
    let count = if poller_name() == "select" { 60 } else { 300 };
    let peers: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = peer(address);
            stream.write_all(b"here").unwrap();
            stream
        })
        .collect();
    let (mut heard, mut late) = (Vec::new(), true);
    driver.drive("everybody to be heard", |_, event| {
        match event {
            Seen::Accepted { .. } if std::mem::take(&mut late) => thread::sleep(LATE),
            Seen::Accepted { .. } | Seen::Notice(..) => {}
            Seen::Data(key, ..) => heard.push(key),
            Seen::ReadTimeout(key) => assert!(heard.contains(&key), "given up unheard"),
            other => panic!("unexpected: {other:?}"),
        }
        heard.len() == peers.len()
    });
}

/// With I/O threads the news of the silence is on its way for as long as the consumer is busy.
#[test]
fn whoever_speaks_before_the_consumer_hears_of_the_silence_is_not_silent() {
    let mut driver = driver!(read_timeout: TIMEOUT);
    let (key, mut stream) = driver.serve();
    // Any news of a silence before is not what this is about.
    driver.turn();
    let speaker = thread::spawn(move || {
        thread::sleep(TIMEOUT * 2);
        stream.write_all(b"here").unwrap();
        stream
    });
    thread::sleep(TIMEOUT * 4);
    let _stream = speaker.join().unwrap();
    driver.drive("what was said", |_, event| {
        assert!(
            matches!(event, Seen::Data(from, ..) if from == key),
            "{event:?}"
        );
        true
    });
}

/// The peer has its time from the moment at which it can have the answer.
#[test]
fn a_peer_that_waits_for_the_answer_is_not_silent() {
    let mut driver = driver!(read_timeout: TIMEOUT * 2);
    let (key, mut stream) = driver.serve();
    stream.write_all(b"a question").unwrap();
    driver.drive("the question", |_, event| matches!(event, Seen::Data(..)));
    thread::sleep(LATE);
    let answered = Instant::now();
    driver.reactor.write(key, b"an answer").unwrap();
    driver.drive("a timeout", |_, event| event == Seen::ReadTimeout(key));
    let passed = answered.elapsed();
    assert!(passed >= TIMEOUT * 2, "after {passed:?}");
}

#[test]
fn a_peer_that_waits_for_our_first_words_is_not_silent() {
    let mut driver = driver!(read_timeout: TIMEOUT * 2);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = far.local_addr().unwrap();
    let connect = driver
        .reactor
        .connect(address, SocketKind::Stream, ReadSize::All);
    let key = connect.unwrap();
    let told = driver.turn().contains(&Seen::Connected(key));
    let told = told.then(Instant::now);
    // With I/O threads it stands by now, and the consumer has mostly not heard of it.
    thread::sleep(LATE);
    let told = told.unwrap_or_else(|| {
        driver.drive("the connection", |_, event| event == Seen::Connected(key));
        Instant::now()
    });
    driver.drive("a timeout", |_, event| event == Seen::ReadTimeout(key));
    let passed = told.elapsed();
    assert!(passed >= TIMEOUT, "after {passed:?}");
}

/// Reads everything until the end, in a thread of its own.
fn reader(stream: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || read_to_end(&stream))
}

/// I/O threads would go on meanwhile; for them there is the process that was stopped.
#[test]
fn whoever_has_made_room_is_written_to() {
    one_thread!();
    const LENGTH: usize = 6 << 20;
    let mut driver = driver!();
    let mut crowd = Crowd::gather(&mut driver, 40);
    let (keys, streams): (Vec<_>, Vec<_>) = (0..5).map(|_| driver.serve_narrow()).unzip();
    let data = pattern(LENGTH);
    // The time of each begins with its write; a machine that is busy takes some for all of them.
    set_send_timeout(&mut driver, LATE);
    for key in &keys {
        driver.reactor.write(*key, &data).unwrap();
    }
    driver.turn();
    crowd.speak();
    let readers: Vec<_> = streams.into_iter().map(reader).collect();
    thread::sleep(LATE * 2);
    for key in keys {
        driver.reactor.close(key);
    }
    crowd.hear(&mut driver);
    // From here on it is the machine that may be late.
    set_send_timeout(&mut driver, PATIENCE);
    while readers.iter().any(|reader| !reader.is_finished()) {
        driver.drive_for(SILENCE, |_, event| no_timeout(&event));
    }
    for reader in readers {
        assert!(reader.join().unwrap() == data);
    }
}

fn no_timeout(event: &Seen) {
    if let Seen::Closed(_, reason) = event {
        assert_eq!(*reason, Reason::Local);
    }
}

#[test]
fn whoever_has_answered_the_connect_is_connected() {
    let mut driver = driver!(connect_timeout: TIMEOUT);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = far.local_addr().unwrap();
    let keys: Vec<_> = (0..20)
        .map(|_| {
            let connect = driver
                .reactor
                .connect(address, SocketKind::Stream, ReadSize::All);
            connect.unwrap()
        })
        .collect();
    thread::sleep(LATE);
    let mut connected = 0;
    driver.drive("all connections", |_, event| {
        match event {
            Seen::Connected(_) => {
                connected += 1;
                thread::sleep(Duration::from_millis(2));
            }
            Seen::Closed(..) => panic!("{event:?}"),
            _ => {}
        }
        connected == keys.len()
    });
}

/// A process that was stopped has looked at nobody meanwhile.
#[test]
fn a_process_that_was_stopped_serves_before_it_gives_up() {
    alone!(a_process_that_was_stopped_serves_before_it_gives_up);
    let mut driver = driver!(send_timeout: TIMEOUT * 6);
    let mut crowd = Crowd::gather(&mut driver, 60);
    let (blocked, stream) = driver.serve_narrow();
    driver.reactor.write(blocked, &pattern(6 << 20)).unwrap();
    driver.reactor.close(blocked);
    driver.turn();
    crowd.speak();
    // The peer is another process: what it takes out of its socket, it takes while this one is stopped.
    let script = "sleep 0.5; timeout 0.4 cat >/dev/null; kill -CONT $0; exec cat >/dev/null";
    let copy = stream.try_clone().unwrap();
    let mut other = Command::new("sh")
        .args(["-c", script, &std::process::id().to_string()])
        .stdin(std::os::fd::OwnedFd::from(copy))
        .spawn()
        .unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
        .unwrap();
    crowd.peers.retain(|key, _| *key != blocked);
    let mut over = None;
    while over.is_none() || crowd.heard.len() < crowd.peers.len() {
        driver.drive("all to be served", |_, event| {
            match event {
                Seen::Data(key, ..) => {
                    crowd.heard.insert(key, 4);
                    thread::sleep(Duration::from_millis(1));
                }
                Seen::ReadTimeout(key) => assert!(crowd.heard.contains_key(&key)),
                Seen::Closed(key, reason) => {
                    assert_eq!((key, reason.clone()), (blocked, Reason::Local));
                    over = Some(reason);
                }
                other => panic!("unexpected: {other:?}"),
            }
            true
        });
    }
    drop(stream);
    assert!(other.wait().unwrap().success());
}
