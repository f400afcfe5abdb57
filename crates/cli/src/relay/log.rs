//! Lines for the operator, on standard error. Nobody waits for whoever reads them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use trochee::server::LogWriter;

/// Lines within [`INTERVAL`] that tell of connections. Peers must not fill the disk.
const MOST: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(1);

/// So many of the last lines are remembered, for whoever asks.
const REMEMBERED: usize = 100;

pub struct Log {
    writer: LogWriter,
    window: Mutex<Window>,
    recent: Mutex<VecDeque<(SystemTime, String)>>,
}

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    dropped: u64,
}

impl Log {
    /// # Errors
    ///
    /// The system refuses the thread that writes.
    pub fn new() -> io::Result<Log> {
        Ok(Log {
            writer: LogWriter::new(io::stderr())?,
            window: Mutex::default(),
            recent: Mutex::default(),
        })
    }

    /// A line about the relay itself.
    pub fn say(&self, text: &str) {
        self.writer.line(format!("trochee relay: {text}"));
        self.remember(text);
    }

    fn remember(&self, text: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(REMEMBERED - 1);
        recent.push_front((SystemTime::now(), text.to_owned()));
    }

    /// The last lines, the newest first, those included that were left out.
    pub fn recent(&self) -> Vec<(SystemTime, String)> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().cloned().collect()
    }

    /// A line about one connection, of which there may be too many.
    pub fn tell(&self, text: &str) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
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
                self.say(&format!(
                    "{dropped} lines about connections left out: {MOST} a second are enough"
                ));
            }
        }
        if window.lines < MOST {
            window.lines += 1;
            self.say(text);
        } else {
            window.dropped += 1;
            self.remember(text);
        }
    }

    /// Waits for the last lines before the process ends, though not for a reader that is stuck.
    pub fn finish(&self) {
        self.writer.flush(Duration::from_secs(1));
    }
}
