//! One world: what happens next is decided by its seed.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use trochee::{Close, Config, Event, Key, Reactor, ReadSize, TimerId};

use super::kernel::{self, Random};
use super::model::Line;

const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Most connections that live at a time.
const MOST: usize = 12;

/// One system call of so many is disturbed.
const STORMS: [u64; 4] = [0, 20, 5, 2];

pub struct World {
    seed: u64,
    random: Random,
    reactor: Reactor,
    lines: Vec<Line>,
    begun: u64,
    timers: HashMap<TimerId, u64>,
    storm: u64,
}

/// Names the world in which a check has failed.
struct Named<'a>(&'a str, u64);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "in the world of TROCHEE_SIMULATION_SEED={} on {}",
                self.1, self.0
            );
        }
    }
}

impl World {
    pub fn new(poller: &str, seed: u64) -> World {
        kernel::begin(seed);
        let mut reactor = Reactor::new();
        reactor.set_backend(poller).unwrap();
        let mut config = Config::default();
        config.read_timeout = READ_TIMEOUT;
        // Peers that read nothing for long are none of the errors looked for.
        config.send_timeout = Duration::from_secs(1 << 30);
        reactor.configure(config);
        let mut random = Random::new(seed);
        let storm = STORMS[random.below(STORMS.len() as u64) as usize];
        World {
            seed,
            random,
            reactor,
            lines: Vec::new(),
            begun: 0,
            timers: HashMap::new(),
            storm,
        }
    }

    pub fn run(mut self, steps: u64) {
        let poller = self.reactor.backend();
        let _named = Named(poller, self.seed);
        for _ in 0..steps {
            self.step();
        }
        self.settle();
    }

    fn step(&mut self) {
        let amount = match self.random.below(8) {
            0 => self.random.below(200_000),
            1..=3 => self.random.below(5000),
            _ => self.random.below(100),
        } + 1;
        let action = self.random.below(24);
        match action {
            0..=1 => return self.open(),
            2..=7 => return self.turn(),
            8 => {
                let after = self.random.below(2_000_000_000);
                let id = self.reactor.set_timer(Duration::from_nanos(after));
                self.timers.insert(id, kernel::now() + after);
                return;
            }
            9 => {
                if let Some(&id) = self.timers.keys().min_by_key(|id| id.to_bits())
                    && self.random.below(2) == 0
                {
                    assert!(self.reactor.cancel_timer(id));
                    self.timers.remove(&id);
                }
                return;
            }
            10 => return kernel::advance(self.random.below(300_000_000)),
            11 if self.random.below(8) == 0 => {
                return kernel::advance(self.random.below(30_000_000_000));
            }
            _ => {}
        }
        if self.lines.is_empty() {
            return;
        }
        let index = self.random.below(self.lines.len() as u64) as usize;
        let line = &mut self.lines[index];
        match action {
            12..=14 => line.say(amount),
            15..=16 => {
                line.read(amount as usize);
            }
            17 if amount < 20 => line.shut(),
            18 if amount < 20 => line.leave(),
            _ if !line.over => self.command(action, amount, index),
            _ => {}
        }
    }

    fn open(&mut self) {
        if self.lines.iter().filter(|line| !line.over).count() == MOST {
            return;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        kernel::disturb(self.storm);
        let key = self.reactor.adopt(ours.into(), ReadSize::All).unwrap();
        kernel::disturb(0);
        self.begun += 1;
        self.lines.push(Line::new(key, self.begun, theirs));
    }

    /// What a consumer may do at any time.
    fn command(&mut self, action: u64, amount: u64, index: usize) {
        let line = &mut self.lines[index];
        let (key, reactor) = (line.key, &mut self.reactor);
        kernel::disturb(self.storm);
        match action {
            19..=20 if !line.closed => {
                let words = line.answer(amount);
                if reactor.write(key, &words).is_ok() {
                    line.written += amount;
                }
            }
            21 => {
                line.paused = !line.paused;
                let _ = if line.paused {
                    reactor.pause(key)
                } else {
                    reactor.resume(key)
                };
            }
            22 if !line.closed => {
                line.writes_paused = !line.writes_paused;
                let _ = if line.writes_paused {
                    reactor.pause_writes(key)
                } else {
                    reactor.resume_writes(key)
                };
            }
            23 if amount < 20 => {
                line.closed = true;
                // What was written before it stands is for nobody.
                line.whole &= line.connected;
                match reactor.close(key) {
                    Close::Done | Close::Gone => line.over = true,
                    Close::Flushing => {}
                }
            }
            18 if amount > 90 => {
                reactor.destroy(key);
                (line.over, line.whole) = (true, false);
            }
            17 => {
                reactor.notify_flush(key, true);
            }
            _ => {}
        }
        kernel::disturb(0);
    }

    fn turn(&mut self) {
        kernel::disturb(self.storm);
        self.reactor.begin_turn(Some(Duration::ZERO));
        loop {
            let pending = |reactor: &Reactor, key| reactor.pending(key);
            let drained = match self.reactor.next_event() {
                None => break,
                Some(event) => happened(&mut self.lines, &mut self.timers, &event),
            };
            if let Some(key) = drained {
                assert_eq!(
                    pending(&self.reactor, key),
                    0,
                    "a drain with something queued"
                );
            }
        }
        kernel::disturb(0);
    }

    /// The weather clears, everybody reads, and what was begun comes to its end.
    fn settle(&mut self) {
        self.storm = 0;
        for line in self.lines.iter_mut().filter(|line| !line.over) {
            self.reactor.resume(line.key);
            self.reactor.resume_writes(line.key);
            (line.paused, line.writes_paused) = (false, false);
        }
        for _ in 0..40 {
            kernel::advance(200_000_000);
            self.turn();
            for line in &mut self.lines {
                while line.read(1 << 14) {}
            }
        }
        for line in &self.lines {
            line.settle();
        }
        let late = self
            .timers
            .values()
            .filter(|due| **due + 1_000_000_000 < kernel::now());
        assert_eq!(late.count(), 0, "timers that never came");
        let open = self.lines.iter().filter(|line| !line.over).count();
        assert_eq!(self.reactor.len(), open, "sources that nobody knows");
    }
}

/// Checks an event; gives the key of a connection whose queue must be empty.
fn happened(
    lines: &mut [Line],
    timers: &mut HashMap<TimerId, u64>,
    event: &Event<'_>,
) -> Option<Key> {
    let find = |lines: &mut [Line], key: Key| {
        let found = lines.iter().position(|line| line.key == key);
        found.unwrap_or_else(|| panic!("{key:?} is nobody's"))
    };
    match event {
        Event::Connected { key } => {
            let line = &mut lines[find(lines, *key)];
            assert!(!line.connected && !line.over);
            line.connected = true;
        }
        Event::Data { key, data, .. } => lines[find(lines, *key)].hear(data),
        Event::ReadTimeout { key } => {
            let line = &lines[find(lines, *key)];
            assert!(line.connected && !line.paused && !line.over && !line.closed);
            assert!(line.is_heard(), "{key:?} is given up unheard");
        }
        Event::Predrain { key } => assert!(!lines[find(lines, *key)].over),
        Event::Drain { key } => {
            assert!(!lines[find(lines, *key)].over);
            return Some(*key);
        }
        Event::Closed { key, reason, .. } => lines[find(lines, *key)].end(reason),
        Event::Timer { id } => {
            let due = timers.remove(id).expect("a timer that nobody has set");
            assert!(due <= kernel::now(), "a timer that comes early");
        }
        Event::Notice { .. } => {}
        other => panic!("{other:?}"),
    }
    None
}
