//! What the server spends, read from its process and those that it has started, as nginx does.

use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// The server's process.
#[derive(Clone, Copy)]
pub struct Server(pub Pid);

/// What it has spent, up to a moment.
#[derive(Clone, Copy)]
pub struct Usage {
    /// When.
    pub wall: Instant,
    /// CPU time of all its processes.
    server: Duration,
    /// Of it in the server's main thread, where Lua runs: exact to a tick of the scheduler.
    main: Duration,
    /// The server's main thread was runnable while another process had its core.
    waited: Duration,
}

/// And between two moments, in microseconds.
#[derive(Clone, Copy)]
pub struct Spent {
    pub wall: f64,
    pub server: f64,
    pub main: f64,
    waited: f64,
}

impl Server {
    /// What it has spent up to now.
    pub fn usage(self) -> Result<Usage, String> {
        let pid = self.0.as_raw_pid();
        // Absent in kernels without CONFIG_SCHED_INFO: then 0.
        let times: Vec<u64> = numbers(&format!("/proc/{pid}/schedstat"));
        let time = |index: usize| Duration::from_nanos(times.get(index).copied().unwrap_or(0));
        let processes = self.processes();
        let wall = Instant::now();
        let server = processes
            .into_iter()
            .map(|pid| cpu_time(pid).ok_or("the server is gone"))
            .sum::<Result<_, _>>()?;
        Ok(Usage {
            wall,
            server,
            main: time(0),
            waited: time(1),
        })
    }

    /// The memory of all its processes that is in RAM, in bytes.
    pub fn resident(self) -> Result<f64, String> {
        self.processes().into_iter().map(resident).sum()
    }

    fn processes(self) -> Vec<libc::pid_t> {
        let pid = self.0.as_raw_pid();
        let mut all = vec![pid];
        all.extend(numbers::<libc::pid_t>(&format!(
            "/proc/{pid}/task/{pid}/children"
        )));
        all
    }
}

impl Spent {
    pub fn between(from: Usage, to: Usage) -> Result<Self, String> {
        let spent = |to: Duration, from: Duration| {
            let time = to.checked_sub(from);
            time.map(micros).ok_or("a process of the server is gone")
        };
        Ok(Self {
            wall: micros(to.wall - from.wall),
            server: spent(to.server, from.server)?,
            main: spent(to.main, from.main)?,
            waited: spent(to.waited, from.waited)?,
        })
    }

    /// The server's part of a core.
    pub fn busy(&self) -> f64 {
        self.server / self.wall
    }

    /// The last part of a line of JSON, whose keys are those of peers/load.h, divided by what the server did for it.
    pub fn json(&self, count: f64) -> String {
        format!(
            r#""cpu_us": {:.4}, "loop_us": {:.4}, "seconds": {:.3}, "server_busy": {:.3}, "server_waited": {:.3}}}"#,
            self.server / count,
            self.main / count,
            self.wall / 1e6,
            self.busy(),
            self.waited / self.wall,
        )
    }
}

pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The numbers that a file of proc(5) begins with; none if it is not there.
fn numbers<N: FromStr>(path: &str) -> Vec<N> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect()
}

/// smaps_rollup is exact, where statm is off by what each core has not yet added up.
fn resident(pid: libc::pid_t) -> Result<f64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"))?;
    let kilobytes = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("Rss:")?
                .strip_suffix("kB")?
                .trim()
                .parse::<f64>()
                .ok()
        })
        .ok_or_else(|| format!("{path}: no Rss"))?;
    Ok(kilobytes * 1024.0)
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

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_was_spent_is_divided_by_what_was_done() {
        let usage = |wall, server, main, waited| Usage {
            wall,
            server: Duration::from_millis(server),
            main: Duration::from_millis(main),
            waited: Duration::from_millis(waited),
        };
        let begin = Instant::now();
        let from = usage(begin, 5000, 4000, 0);
        let to = usage(begin + Duration::from_secs(2), 6000, 4200, 20);
        assert_eq!(
            Spent::between(from, to).unwrap().json(1000.0),
            r#""cpu_us": 1000.0000, "loop_us": 200.0000, "seconds": 2.000, "server_busy": 0.500, "server_waited": 0.010}"#
        );
        assert!(Spent::between(to, from).is_err());
    }

    #[test]
    fn processes_that_the_server_started_are_charged_to_it() {
        let mut shell = Command::new("sh")
            .args(["-c", "while :; do :; done & wait"])
            .process_group(0)
            .spawn()
            .unwrap();
        let server = Server(Pid::from_child(&shell));
        let limit = Instant::now() + Duration::from_secs(30);
        let charged = loop {
            let whole = server.usage().unwrap().server;
            let others = whole.saturating_sub(cpu_time(server.0.as_raw_pid()).unwrap());
            if others > Duration::from_millis(50) || Instant::now() > limit {
                break others;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let alone = resident(server.0.as_raw_pid()).unwrap();
        assert!(server.resident().unwrap() > alone);
        rustix::process::kill_process_group(server.0, rustix::process::Signal::KILL).unwrap();
        shell.wait().unwrap();
        assert!(charged > Duration::from_millis(50), "{charged:?}");
    }
}
