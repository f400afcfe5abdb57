//! The measured window: so many seconds after the warm-up, what was done in them, and what the server spent.

use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity};

const WARM_UP: Duration = Duration::from_millis(300);

/// How long a server may leave all clients waiting.
pub const STALL: Duration = Duration::from_secs(10);

/// The server's process.
pub struct Server(pub Pid);

/// What it has spent, up to a moment.
#[derive(Clone, Copy)]
struct Usage {
    wall: Instant,
    /// CPU time of the process and of those that it has started, as nginx does.
    server: Duration,
    /// Of it in the server's main thread, where Lua runs: exact to a tick of the scheduler.
    main: Duration,
    /// The server's main thread was runnable while another process had its core.
    waited: Duration,
}

impl Server {
    fn usage(&self) -> Result<Usage, String> {
        let pid = self.0.as_raw_pid();
        // The first is absent in kernels without CONFIG_SCHED_INFO: then 0.
        let times: Vec<u64> = numbers(&format!("/proc/{pid}/schedstat"));
        let started: Vec<libc::pid_t> = numbers(&format!("/proc/{pid}/task/{pid}/children"));
        let time = |index: usize| Duration::from_nanos(times.get(index).copied().unwrap_or(0));
        let wall = Instant::now();
        let server = std::iter::once(pid)
            .chain(started)
            .map(|pid| cpu_time(pid).ok_or("the server is gone"))
            .sum::<Result<_, _>>()?;
        Ok(Usage {
            wall,
            server,
            main: time(0),
            waited: time(1),
        })
    }

    /// Whoever wakes a sleeping process pays for it, in a virtual machine more than for the handshake. A load that slept would
    /// put that on the server's bill, and most on that of the slowest server, for which it waits longest. On a core of its own
    /// it never sleeps; on a shared core it must, or the server would not run.
    pub fn may_sleep(&self) -> bool {
        let (Ok(own), Ok(servers)) = (sched_getaffinity(None), sched_getaffinity(Some(self.0)))
        else {
            return true;
        };
        (0..CpuSet::MAX_CPU).any(|core| own.is_set(core) && servers.is_set(core))
    }
}

/// The numbers that a file of proc(5) begins with; none if it is not there.
fn numbers<N: FromStr>(path: &str) -> Vec<N> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect()
}

/// By the process's CPU clock: nanoseconds, all threads, user and kernel. None if there is no such process.
#[allow(unsafe_code)] // rustix has no clocks of other processes
fn cpu_time(pid: libc::pid_t) -> Option<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: each writes to the variable that it is given, and nowhere else.
    let read = unsafe {
        libc::clock_getcpuclockid(pid, &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0
    };
    read.then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The window of a load whose clients do the same over and over.
pub struct Window {
    server: Server,
    begin: Instant,
    length: Duration,
    last: Instant,
    /// None during the warm-up.
    from: Option<Usage>,
    latencies: Vec<Duration>,
}

impl Window {
    /// The warm-up begins.
    pub fn open(server: Server, length: Duration) -> Self {
        let last = Instant::now();
        Self {
            server,
            begin: last + WARM_UP,
            length,
            last,
            from: None,
            latencies: Vec::new(),
        }
    }

    /// Whether the warm-up is over.
    pub fn has_begun(&self) -> bool {
        self.from.is_some()
    }

    /// To be called each turn; after the window, its line of JSON.
    pub fn turn(&mut self) -> Result<Option<String>, String> {
        let now = Instant::now();
        match self.from {
            None if now >= self.begin => self.from = Some(self.server.usage()?),
            Some(from) if now >= from.wall + self.length => {
                return line(from, self.server.usage()?, &mut self.latencies).map(Some);
            }
            _ => {}
        }
        if now.saturating_duration_since(self.last) > STALL {
            return Err(format!("no answer for {} s", STALL.as_secs()));
        }
        Ok(None)
    }

    /// What was begun at `since` is done.
    pub fn done(&mut self, since: Instant) {
        self.last = Instant::now();
        if self.has_begun() {
            self.latencies.push(self.last - since);
        }
    }
}

/// The keys are those that peers/window.h prints.
fn line(from: Usage, to: Usage, latencies: &mut [Duration]) -> Result<String, String> {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let spent = |to: Duration, from: Duration| {
        let time = to.checked_sub(from);
        time.map(micros).ok_or("a process of the server is gone")
    };
    let wall = micros(to.wall - from.wall);
    let server = spent(to.server, from.server)?;
    let main = spent(to.main, from.main)?;
    let waited = spent(to.waited, from.waited)?;
    if latencies.is_empty() {
        return Err(format!("nothing done in {:.1} s", wall / 1e6));
    }
    latencies.sort_unstable();
    let count = latencies.len();
    let percentile = |percent: usize| micros(latencies[count * percent / 100]);
    let each = |total: f64| total / count as f64;
    Ok(format!(
        concat!(
            r#"{{"count": {}, "per_second": {:.0}, "wall_us": {:.3}, "p50_us": {:.1}, "p99_us": {:.1}, "#,
            r#""cpu_us": {:.4}, "loop_us": {:.4}, "seconds": {:.3}, "server_busy": {:.3}, "server_waited": {:.3}}}"#
        ),
        count,
        1e6 / each(wall),
        each(wall),
        percentile(50),
        percentile(99),
        each(server),
        each(main),
        wall / 1e6,
        server / wall,
        waited / wall,
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_line_has_what_was_spent_on_each_and_percentiles() {
        let usage = |wall, server, main, waited| Usage {
            wall,
            server: Duration::from_millis(server),
            main: Duration::from_millis(main),
            waited: Duration::from_millis(waited),
        };
        let begin = Instant::now();
        let from = usage(begin, 5000, 4000, 0);
        let to = usage(begin + Duration::from_secs(2), 6000, 4200, 20);
        let mut latencies: Vec<_> = (0..1000).rev().map(Duration::from_micros).collect();
        assert_eq!(
            line(from, to, &mut latencies).unwrap(),
            r#"{"count": 1000, "per_second": 500, "wall_us": 2000.000, "p50_us": 500.0, "p99_us": 990.0, "#
                .to_owned()
                + r#""cpu_us": 1000.0000, "loop_us": 200.0000, "seconds": 2.000, "server_busy": 0.500, "server_waited": 0.010}"#
        );
        line(from, to, &mut []).unwrap_err();
    }

    #[test]
    fn processes_that_the_server_started_are_charged_to_it() {
        let mut shell = Command::new("sh")
            .args(["-c", "while :; do :; done & wait"])
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&shell);
        let limit = Instant::now() + Duration::from_secs(30);
        let charged = loop {
            let server = Server(pid).usage().unwrap().server;
            let others = server.saturating_sub(cpu_time(pid.as_raw_pid()).unwrap());
            if others > Duration::from_millis(50) || Instant::now() > limit {
                break others;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert!(charged > Duration::from_millis(50), "{charged:?}");
    }
}
