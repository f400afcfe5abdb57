//! What a service that was restarted runs on.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::systemctl;
use crate::unit::UNIT;

/// Prosody reads its configuration before it loads its backend, and for systemd the restart is complete before either.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a restart that was to bring trochee.
pub enum Outcome {
    Trochee,
    AnotherBackend,
    Ended,
}

/// Waits until the service has mapped the module of `root`, and no longer than `PATIENCE`.
pub fn outcome(root: &Path) -> Result<Outcome, String> {
    let module = root.join("trochee.so").to_string_lossy().into_owned();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let maps =
            main_process()?.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/maps")).ok());
        if maps.as_ref().is_some_and(|maps| maps.contains(&module)) {
            return Ok(Outcome::Trochee);
        }
        if Instant::now() > deadline {
            return Ok(maps.map_or(Outcome::Ended, |_| Outcome::AnotherBackend));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The number of its process, if it runs.
fn main_process() -> Result<Option<u32>, String> {
    let said = systemctl(&["show", "--property=MainPID", "--value", UNIT])?;
    Ok(said.trim().parse().ok().filter(|&pid| pid > 0))
}
