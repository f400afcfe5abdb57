//! One transfer again and again: how long each takes, and what the server spends on it.

use std::time::{Duration, Instant};

use crate::usage::{Server, Spent, micros};

/// Fewest transfers that have a median.
const LEAST: usize = 3;

/// The line of JSON. `transfer` is given its number and says how many bytes it was; the first goes before anything counts.
pub fn again(
    server: Server,
    seconds: Duration,
    mut transfer: impl FnMut(usize) -> Result<usize, String>,
) -> Result<String, String> {
    transfer(0)?;
    let from = server.usage()?;
    let mut times = Vec::new();
    let mut bytes = 0;
    while times.len() < LEAST || from.wall.elapsed() < seconds {
        let begin = Instant::now();
        bytes += transfer(times.len() + 1)?;
        times.push(begin.elapsed());
    }
    let spent = Spent::between(from, server.usage()?)?;
    times.sort_unstable();
    let megabytes = bytes as f64 / 1e6;
    Ok(format!(
        r#"{{"count": {}, "ms": {:.1}, "per_second": {:.1}, {}"#,
        times.len(),
        micros(times[times.len() / 2]) / 1e3,
        megabytes / (spent.wall / 1e6),
        spent.json(megabytes),
    ))
}
