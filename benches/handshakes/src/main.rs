//! The load of TLS 1.3 handshakes, by rustls: one costs it a third of what it costs OpenSSL, and what is measured should be the
//! server at work, not waiting for the load. What `peers/load.h` says of the server's costs holds here too.
//!
//! Prints one line of JSON, or a reason on stderr and exits with 1. A server without tickets: `{"absent": WHY}`.

mod client;
mod window;

use std::env;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::Pid;
use rustls::client::Resumption;

use client::{Client, Progress, configuration};
use window::{Server, Window};

const USAGE: &str = "\
usage: handshake_load full PORT PID CLIENTS SECONDS       each client connects, shakes hands, closes, and begins again
       handshake_load resumed PORT PID CLIENTS SECONDS    the same with the ticket of the connection before
       handshake_load login PORT PID SECONDS              one client connects, shakes hands, has a message echoed, begins again";

/// Most events of a turn.
const EVENTS: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Full,
    Resumed,
    Login,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The line of JSON, or the reason.
fn run(arguments: &[&str]) -> Result<String, String> {
    let (shape, port, pid, clients, seconds) = match *arguments {
        ["full", port, pid, clients, seconds] => (Shape::Full, port, pid, clients, seconds),
        ["resumed", port, pid, clients, seconds] => (Shape::Resumed, port, pid, clients, seconds),
        ["login", port, pid, seconds] => (Shape::Login, port, pid, "1", seconds),
        _ => return Err(USAGE.to_owned()),
    };
    let pid = Pid::from_raw(number("PID", pid)?).ok_or("PID: 0 is no process")?;
    let seconds = Duration::try_from_secs_f64(number("SECONDS", seconds)?)
        .map_err(|why| format!("SECONDS: {why}"))?;
    let (port, clients) = (number("PORT", port)?, number("CLIENTS", clients)?);
    handshakes(shape, port, Server(pid), clients, seconds)
}

fn number<N: FromStr>(name: &str, text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| format!("{name} cannot be {text:?}"))
}

/// Each client has one after the other.
fn handshakes(
    shape: Shape,
    port: u16,
    server: Server,
    count: usize,
    seconds: Duration,
) -> Result<String, String> {
    let poller =
        epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|why| format!("epoll: {why}"))?;
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: if server.may_sleep() { 100_000_000 } else { 0 },
    };
    // Each has a store of its own: a ticket is for who got it.
    let configurations = (0..count)
        .map(|_| match shape {
            Shape::Resumed => configuration(Resumption::in_memory_sessions(1)),
            Shape::Full | Shape::Login => configuration(Resumption::disabled()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut connections = 0;
    let mut connect = |index: usize| {
        connections += 1;
        let message = (shape == Shape::Login).then_some(connections);
        let client = Client::connect(port, Arc::clone(&configurations[index]), message)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&poller, &client, data, epoll::EventFlags::IN)
            .map_err(|why| format!("epoll: {why}"))?;
        Ok::<_, String>(client)
    };

    let mut window = Window::open(server, seconds);
    let mut clients = (0..count)
        .map(&mut connect)
        .collect::<Result<Vec<_>, _>>()?;
    let mut events = Vec::with_capacity(EVENTS);
    let mut any_resumed = false;
    loop {
        events.clear();
        match epoll::wait(&poller, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(why) => return Err(format!("epoll: {why}")),
        }
        if let Some(line) = window.turn()? {
            return Ok(line);
        }
        let must_resume = shape == Shape::Resumed && window.has_begun();
        if must_resume && !any_resumed {
            return Ok(r#"{"absent": "n/a: no resumption"}"#.to_owned());
        }
        for event in &events {
            let index = event.data.u64() as usize;
            match clients[index].advance()? {
                Progress::Pending => {}
                Progress::Established { resumed } => {
                    any_resumed |= resumed;
                    if must_resume && !resumed {
                        return Err("a handshake was not resumed".to_owned());
                    }
                }
                Progress::Over => {
                    window.done(clients[index].since);
                    clients[index] = connect(index)?;
                }
            }
        }
    }
}
