//! A log that nobody has to read.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread;
use std::time::Duration;

use crate::signals;

/// Lines that wait for the writer. A burst fits in; what a stuck reader leaves here is some hundred kilobytes.
const QUEUE: usize = 1024;

/// How long the end of a log waits for its last lines.
const GOODBYE: Duration = Duration::from_secs(1);

/// Lines for the log, written by a thread of their own.
///
/// A pipe that nobody reads blocks whoever writes to it, and on the thread of a [`Server`](super::Server) all of its
/// connections with them. So [`line`](LogWriter::line) only queues: up to 1024 lines wait for the reader, what comes then is
/// left out, and the log says how much that was as soon as it is read again.
///
/// Dropping it waits for the lines that are queued, for a second at most.
pub struct LogWriter {
    queue: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

enum Entry {
    Line(String),
    /// Everything before this is written.
    Flushed(SyncSender<()>),
}

impl LogWriter {
    /// Begins a log that goes to `to`, such as [`std::io::stderr`]. A line that cannot be written counts as left out.
    ///
    /// # Errors
    ///
    /// The system refuses the thread.
    pub fn new(to: impl Write + Send + 'static) -> io::Result<LogWriter> {
        let (queue, entries) = mpsc::sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            to,
            lost: Arc::clone(&lost),
        };
        let builder = thread::Builder::new().name("trochee-log".to_owned());
        // Signals are for threads that look at them.
        signals::without_signals(|| builder.spawn(move || writer.run(&entries)))?;
        Ok(LogWriter { queue, lost })
    }

    /// Has one line written, a line feed added. Never waits.
    pub fn line(&self, text: impl Into<String>) {
        if self.queue.try_send(Entry::Line(text.into())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything so far is written, for as long as `within`. False if it is not by then.
    pub fn flush(&self, within: Duration) -> bool {
        let (tell, told) = mpsc::sync_channel(1);
        // A full queue means that the reader is not there.
        self.queue.try_send(Entry::Flushed(tell)).is_ok() && told.recv_timeout(within).is_ok()
    }
}

/// For those who write a whole line at a time, such as what formats the events of `tracing`. Never waits, and never fails.
impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(String::from_utf8_lossy(line).trim_end_matches('\n'));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.flush(GOODBYE);
    }
}

struct Writer<W> {
    to: W,
    lost: Arc<AtomicU64>,
}

impl<W: Write> Writer<W> {
    fn run(&mut self, entries: &Receiver<Entry>) {
        let mut until_told = QUEUE;
        loop {
            let next = match entries.try_recv() {
                Ok(entry) => entry,
                Err(TryRecvError::Empty) => {
                    // All that was there before the lost ones is written.
                    self.tell_lost();
                    match entries.recv() {
                        Ok(entry) => entry,
                        Err(_) => return,
                    }
                }
                Err(TryRecvError::Disconnected) => return,
            };
            match next {
                Entry::Line(text) => {
                    if self.write(text).is_err() {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                    }
                    until_told -= 1;
                    if until_told == 0 {
                        // More lines come than can be written, and the queue may never be empty.
                        until_told = QUEUE;
                        self.tell_lost();
                    }
                }
                Entry::Flushed(tell) => {
                    self.tell_lost();
                    let _ = self.to.flush();
                    // Whoever has waited long enough is gone.
                    let _ = tell.send(());
                }
            }
        }
    }

    fn tell_lost(&mut self) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let text = format!("{lost} lines of the log were left out: nobody read it in time");
        if self.write(text).is_err() {
            self.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// In one piece: others may write to the same file.
    fn write(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        self.to.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_learns_what_it_missed() {
        let (reader, writer) = io::pipe().unwrap();
        let log = LogWriter::new(writer).unwrap();
        let long = "x".repeat(1000);
        let most = 10 * QUEUE;
        let began = Instant::now();
        for number in 0..most {
            log.line(format!("{number} {long}"));
        }
        assert!(!log.flush(Duration::from_millis(10)), "the pipe is full");
        assert!(began.elapsed() < Duration::from_secs(30));
        let read = thread::spawn(move || {
            let lines = BufReader::new(reader).lines().map_while(Result::ok);
            lines.collect::<Vec<_>>()
        });
        // It has room again, sooner or later.
        while !log.flush(Duration::from_secs(30)) {
            thread::sleep(Duration::from_millis(1));
        }
        log.line("the last one");
        drop(log);
        let lines = read.join().unwrap();
        let lost = |line: &String| {
            let (number, rest) = line.split_once(' ').unwrap();
            let told = rest == "lines of the log were left out: nobody read it in time";
            told.then(|| number.parse::<usize>().unwrap())
        };
        let left_out: usize = lines.iter().filter_map(lost).sum();
        assert!(left_out > 0);
        let written = lines.iter().filter(|line| line.ends_with(&long)).count();
        assert_eq!(written + left_out, most);
        assert!(written >= QUEUE);
        assert_eq!(lines.last().unwrap(), "the last one");
    }

    #[test]
    fn the_end_waits_for_the_last_lines_and_for_no_reader() {
        let (reader, writer) = io::pipe().unwrap();
        let log = LogWriter::new(writer).unwrap();
        for _ in 0..100 {
            log.line("hello");
        }
        drop(log);
        assert_eq!(BufReader::new(reader).lines().count(), 100);

        let (_reader, writer) = io::pipe().unwrap();
        let log = LogWriter::new(writer).unwrap();
        for _ in 0..QUEUE {
            log.line("x".repeat(1000));
        }
        let began = Instant::now();
        drop(log);
        assert!(began.elapsed() < 10 * GOODBYE);
    }
}
