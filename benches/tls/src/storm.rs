//! All log in at once, leave, and come back at once with their TLS tickets. Meanwhile a pair that is online already exchanges
//! messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::poller::{Poller, Ready};
use crate::usage::{Server, Spent, micros};
use crate::xmpp::{self, Client};

/// From one message of the pair to the next.
const PERIOD: Duration = Duration::from_millis(10);

/// How long the server may have to do with what is behind.
const QUIET: Duration = Duration::from_secs(20);

/// What the two threads know of each other.
struct Shared {
    /// 0: nothing to measure; which storm it is; or the end.
    phase: AtomicUsize,
    /// How long each message of the pair took, with the phase in which it was sent.
    delays: Mutex<Vec<(usize, Duration)>>,
}

const STORMS: [&str; 2] = ["full", "again"];
const END: usize = usize::MAX;

/// The line of JSON.
pub fn run(port: u16, server: Server, count: usize) -> Result<String, String> {
    let shared = Shared {
        phase: AtomicUsize::new(0),
        delays: Mutex::new(Vec::new()),
    };
    thread::scope(|scope| {
        let (online, is_online) = mpsc::channel();
        // In a thread of its own: what the pair sees must not wait for the load.
        let pair = scope.spawn(|| pair(port, server, count, &shared, online));
        let storms = is_online
            .recv()
            .map_err(|_| String::new())
            .and_then(|()| storms(port, server, count, &shared));
        shared.phase.store(END, Ordering::Relaxed);
        match pair.join() {
            Ok(Ok(())) => storms,
            Ok(Err(why)) => Err(format!("the pair: {why}")),
            Err(_) => Err("the pair's thread failed".to_owned()),
        }
    })
}

fn storms(port: u16, server: Server, count: usize, shared: &Shared) -> Result<String, String> {
    let mut clients = xmpp::clients(0, count, None)?;
    await_quiet(server)?;
    let before = server.resident()?;
    let mut line = String::from("{");
    let mut after = before;
    for (index, name) in STORMS.into_iter().enumerate() {
        if index > 0 {
            xmpp::leave(&mut clients)?;
            await_quiet(server)?;
        }
        line += &storm(port, server, &mut clients, shared, index + 1, name)?;
        if index == 0 {
            after = server.resident()?;
        }
    }
    let each = (after - before) / count as f64;
    Ok(format!(
        r#"{line}"failures": 0, "session_bytes": {each:.0}}}"#
    ))
}

/// One storm: its part of the line.
fn storm(
    port: u16,
    server: Server,
    clients: &mut [Client],
    shared: &Shared,
    phase: usize,
    name: &str,
) -> Result<String, String> {
    let own = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    let poller = Poller::open(server)?;
    shared.phase.store(phase, Ordering::Relaxed);
    let (from, own_from) = (server.usage()?, own());
    let mut times = xmpp::log_in(port, &poller, clients, &mut |_, _| Ok(()))?;
    let spent = Spent::between(from, server.usage()?)?;
    let load = micros(own() - own_from) / clients.len() as f64;
    shared.phase.store(0, Ordering::Relaxed);
    // The pair's last messages are there, too.
    await_quiet(server)?;
    let mut delays: Vec<Duration> = shared
        .delays()
        .iter()
        .filter(|(of, _)| *of == phase)
        .map(|(_, delay)| *delay)
        .collect();
    if delays.is_empty() {
        return Err("no message of the pair came during the logins".to_owned());
    }
    times.sort_unstable();
    delays.sort_unstable();
    let millis = |times: &[Duration], percent: usize| {
        let index = (times.len() * percent / 100).min(times.len() - 1);
        micros(times[index]) / 1e3
    };
    let resumed = clients.iter().filter(|client| client.resumed).count();
    let count = clients.len() as f64;
    Ok(format!(
        concat!(
            r#""{0}_ms": {1:.1}, "{0}_p50_ms": {2:.1}, "{0}_p99_ms": {3:.1}, "{0}_resumed": {4}, "#,
            r#""{0}_cpu_us": {5:.0}, "{0}_loop_us": {6:.0}, "{0}_load_us": {7:.0}, "#,
            r#""{0}_pair": {8}, "{0}_pair_p50_ms": {9:.2}, "{0}_pair_p99_ms": {10:.2}, "{0}_pair_max_ms": {11:.2}, "#
        ),
        name,
        spent.wall / 1e3,
        millis(&times, 50),
        millis(&times, 99),
        resumed,
        spent.server / count,
        spent.main / count,
        load,
        delays.len(),
        millis(&delays, 50),
        millis(&delays, 99),
        millis(&delays, 100),
    ))
}

/// Until the server has dealt with all that came before: it spends less than a tenth of a core.
pub fn await_quiet(server: Server) -> Result<(), String> {
    let limit = Instant::now() + QUIET;
    loop {
        let from = server.usage()?;
        thread::sleep(Duration::from_millis(100));
        if Spent::between(from, server.usage()?)?.busy() < 0.1 {
            return Ok(());
        }
        if Instant::now() > limit {
            return Err(format!(
                "the server is still busy after {} s",
                QUIET.as_secs()
            ));
        }
    }
}

impl Shared {
    fn delays(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Duration)>> {
        self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The accounts behind those of the storm. One sends on schedule, whether the message before has come or not: a delay must not
/// hide others.
fn pair(
    port: u16,
    server: Server,
    first: usize,
    shared: &Shared,
    online: mpsc::Sender<()>,
) -> Result<(), String> {
    let poller = Poller::open(server)?;
    let mut two = xmpp::clients(first, 2, None)?;
    xmpp::log_in(port, &poller, &mut two, &mut |_, _| Ok(()))?;
    let _ = online.send(());
    let began = Instant::now();
    let mut hear = |_: &mut Client, stanza: &str| {
        let body = stanza.split_once("<body>").map_or("", |(_, body)| body);
        let mut words = body.split(['.', '<']);
        if let (Some(Ok(phase)), Some(Ok(sent))) = (
            words.next().map(str::parse),
            words.next().map(str::parse::<u64>),
        ) {
            let delay = began.elapsed().saturating_sub(Duration::from_nanos(sent));
            shared.delays().push((phase, delay));
        }
        Ok(())
    };
    let mut ready = Ready::new();
    let mut next = Instant::now();
    loop {
        let phase = shared.phase.load(Ordering::Relaxed);
        if phase == END {
            return Ok(());
        }
        let now = Instant::now();
        if now >= next {
            let sent = (now - began).as_nanos();
            let to = first + 1;
            two[0].say(&format!(
                "<message type='chat' to='u{to}@localhost/bench'><body>{phase}.{sent}</body></message>"
            ))?;
            next += PERIOD;
            continue;
        }
        poller.wait(&mut ready, next - now)?;
        for index in ready.clients() {
            two[index].receive(&mut hear)?;
        }
    }
}
