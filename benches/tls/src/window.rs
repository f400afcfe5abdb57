//! The measured window of a load whose clients do the same over and over: so many seconds after the warm-up.

use std::time::{Duration, Instant};

use crate::poller::{Poller, Ready};
use crate::usage::{Server, Spent, Usage, micros};

const WARM_UP: Duration = Duration::from_millis(300);

/// How long a server may leave all clients waiting.
pub const STALL: Duration = Duration::from_secs(10);

/// The warm-up, and then the window.
pub struct Window<'a> {
    server: Server,
    poller: &'a Poller,
    begin: Instant,
    length: Duration,
    last: Instant,
    /// None during the warm-up.
    from: Option<Usage>,
}

impl<'a> Window<'a> {
    /// The warm-up begins.
    pub fn open(server: Server, poller: &'a Poller, length: Duration) -> Self {
        let last = Instant::now();
        Self {
            server,
            poller,
            begin: last + WARM_UP,
            length,
            last,
            from: None,
        }
    }

    /// Whether the warm-up is over.
    pub fn has_begun(&self) -> bool {
        self.from.is_some()
    }

    /// Looks who is ready. What was spent, once the window is over.
    pub fn turn(&mut self, ready: &mut Ready) -> Result<Option<Spent>, String> {
        self.poller.turn(ready)?;
        let now = Instant::now();
        match self.from {
            None if now >= self.begin => self.from = Some(self.server.usage()?),
            Some(from) if now >= from.wall + self.length => {
                return Spent::between(from, self.server.usage()?).map(Some);
            }
            _ => {}
        }
        if now.saturating_duration_since(self.last) > STALL {
            return Err(format!("no answer for {} s", STALL.as_secs()));
        }
        Ok(None)
    }

    /// The server has answered; when, if that counts.
    pub fn answered(&mut self) -> Option<Instant> {
        self.last = Instant::now();
        self.has_begun().then_some(self.last)
    }
}

/// How long each of what the clients do took.
#[derive(Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// What was begun at `since` is done.
    pub fn done(&mut self, window: &mut Window<'_>, since: Instant) {
        self.0.extend(window.answered().map(|now| now - since));
    }

    /// The line of JSON.
    pub fn line(self, spent: Spent) -> Result<String, String> {
        let count = self.0.len();
        self.line_of(spent, count)
    }

    /// The same where the server has done `count` things for what was timed, among which its costs are divided.
    pub fn line_of(mut self, spent: Spent, count: usize) -> Result<String, String> {
        if self.0.is_empty() {
            return Err(format!("nothing done in {:.1} s", spent.wall / 1e6));
        }
        self.0.sort_unstable();
        let percentile = |percent: usize| micros(self.0[self.0.len() * percent / 100]);
        let each = spent.wall / count as f64;
        Ok(format!(
            r#"{{"count": {count}, "per_second": {:.0}, "wall_us": {each:.3}, "p50_us": {:.1}, "p99_us": {:.1}, {}"#,
            1e6 / each,
            percentile(50),
            percentile(99),
            spent.json(count as f64),
        ))
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn the_line_has_percentiles_and_what_was_spent_on_each() {
        let usage = Server(getpid()).usage().unwrap();
        let mut later = usage;
        later.wall += Duration::from_secs(2);
        let spent = Spent::between(usage, later).unwrap();
        let latencies = Latencies((0..1000).rev().map(Duration::from_micros).collect());
        assert_eq!(
            latencies.line(spent).unwrap(),
            r#"{"count": 1000, "per_second": 500, "wall_us": 2000.000, "p50_us": 500.0, "p99_us": 990.0, "#
                .to_owned()
                + &spent.json(1000.0)
        );
        assert!(Latencies::default().line(spent).is_err());
    }
}
