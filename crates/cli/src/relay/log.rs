//! Lines for the operator, on standard error.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines within [`INTERVAL`] that tell of connections. Peers must not fill the disk.
const MOST: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Log(Mutex<Window>);

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    dropped: u64,
}

impl Log {
    /// A line about the relay itself.
    pub fn say(&self, text: &str) {
        // Standard error may be closed, which is no reason to stop serving.
        let _ = writeln!(std::io::stderr(), "trochee relay: {text}");
    }

    /// A line about one connection, of which there may be too many.
    pub fn tell(&self, text: &str) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if window
            .began
            .is_none_or(|began| now.duration_since(began) >= INTERVAL)
        {
            let dropped = window.dropped;
            *window = Window {
                began: Some(now),
                ..Window::default()
            };
            if dropped > 0 {
                self.say(&format!("{dropped} lines left out"));
            }
        }
        if window.lines < MOST {
            window.lines += 1;
            self.say(text);
        } else {
            window.dropped += 1;
        }
    }
}
