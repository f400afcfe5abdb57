use super::*;

const FAIL_TIMEOUT: Duration = Duration::from_secs(3600);

fn servers(targets: &[&str], balance: Balance, fail_timeout: Duration) -> Arc<Servers> {
    let targets = targets.iter().map(|text| text.parse().unwrap()).collect();
    Servers::new(
        targets,
        balance,
        fail_timeout,
        Arc::new(Log::new().unwrap()),
    )
}

fn candidate(servers: &Arc<Servers>, attempts: &mut Attempts) -> Candidate {
    match servers.next(attempts) {
        Next::Try(candidate) => candidate,
        Next::Wait | Next::Nobody => panic!("nothing to try"),
    }
}

/// The servers that a client gets to try, in this order.
fn tries(servers: &Arc<Servers>) -> Vec<usize> {
    let mut attempts = Attempts::default();
    let next = || match servers.next(&mut attempts) {
        Next::Try(candidate) => Some(candidate.server),
        Next::Wait | Next::Nobody => None,
    };
    std::iter::from_fn(next).collect()
}

const THREE: [&str; 3] = ["192.0.2.1:1", "192.0.2.2:1", "unix:/three"];

#[test]
fn everybody_has_their_turn_and_the_others_are_next() {
    let servers = servers(&THREE, Balance::RoundRobin, FAIL_TIMEOUT);
    for first in [0, 1, 2, 0, 1, 2] {
        let mut all = tries(&servers);
        assert_eq!(all[0], first);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    }
}

#[test]
fn whoever_serves_the_fewest_is_first() {
    let servers = servers(&THREE, Balance::LeastConnections, FAIL_TIMEOUT);
    let take = || candidate(&servers, &mut Attempts::default());
    let held: Vec<Candidate> = (0..6).map(|_| take()).collect();
    let mut counts = [0; 3];
    for candidate in &held {
        counts[candidate.server] += 1;
    }
    assert_eq!(counts, [2, 2, 2]);
    // One of them has lost its clients.
    let held: Vec<Candidate> = held.into_iter().filter(|one| one.server != 1).collect();
    let more = [take(), take()];
    assert!(more.iter().all(|candidate| candidate.server == 1));
    drop(held);
}

#[test]
fn who_failed_comes_last_until_it_answers() {
    let servers = servers(&THREE, Balance::RoundRobin, FAIL_TIMEOUT);
    let mut attempts = Attempts::default();
    let failing = candidate(&servers, &mut attempts);
    servers.failed(&failing);
    assert_eq!(candidate(&servers, &mut attempts).server, 1);
    // The others share its clients.
    for first in [2, 1, 2, 1] {
        assert_eq!(tries(&servers), [first, 3 - first, 0]);
    }
    servers.answered(&failing);
    let mut firsts = [0; 3].map(|_| tries(&servers)[0]);
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2]);
}

/// Else all clients would wait for it at the same time.
#[test]
fn one_client_finds_out_whether_a_server_is_back() {
    let servers = servers(&THREE[..2], Balance::RoundRobin, Duration::from_secs(1));
    servers.failed(&candidate(&servers, &mut Attempts::default()));
    assert_eq!(tries(&servers), [1, 0]);
    thread::sleep(Duration::from_millis(1100));
    let first = |servers| candidate(servers, &mut Attempts::default()).server;
    assert_eq!(first(&servers), 0);
    assert_eq!(first(&servers), 1);
    assert_eq!(first(&servers), 1);
}

#[test]
fn families_take_turns() {
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    let found = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(parse);
    let wanted = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"].map(parse);
    assert_eq!(interleaved(found.to_vec()), wanted);
    let found = ["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"].map(parse);
    let wanted = ["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"].map(parse);
    assert_eq!(interleaved(found.to_vec()), wanted);
}

/// A name that there cannot be, so that nobody is asked: the answers of the look-ups are given here instead.
#[test]
fn names_are_looked_up_again_when_nothing_answers() {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let servers = servers(&["a..test:1"], Balance::RoundRobin, FAIL_TIMEOUT);
    let wait_for_look_up = || {
        let give_up = Instant::now() + Duration::from_secs(30);
        while servers.servers[0].addresses().looking_up {
            assert!(Instant::now() < give_up);
            thread::sleep(Duration::from_millis(1));
        }
    };
    let mut attempts = Attempts::default();
    assert!(matches!(servers.next(&mut attempts), Next::Wait));
    assert!(attempts.is_empty());
    wait_for_look_up();
    assert!(matches!(servers.next(&mut attempts), Next::Nobody));

    let found = vec![address("192.0.2.1:1"), address("192.0.2.2:1")];
    servers.found(0, Ok(found));
    let mut attempts = Attempts::default();
    for text in ["192.0.2.1:1", "192.0.2.2:1"] {
        let candidate = candidate(&servers, &mut attempts);
        assert_eq!(candidate.name, Name::Inet(address(text)));
        servers.failed(&candidate);
    }
    assert!(matches!(servers.next(&mut attempts), Next::Wait));
    wait_for_look_up();
    // The look-up brings one that was not tried, and one that failed comes last for the next client.
    let found = vec![address("192.0.2.2:1"), address("192.0.2.3:1")];
    servers.found(0, Ok(found));
    let new = Name::Inet(address("192.0.2.3:1"));
    assert_eq!(candidate(&servers, &mut attempts).name, new);
    assert_eq!(candidate(&servers, &mut Attempts::default()).name, new);
    // One that fails loses nothing.
    servers.found(0, Err(io::Error::other("no answer")));
    assert_eq!(candidate(&servers, &mut Attempts::default()).name, new);
}
