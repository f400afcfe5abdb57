//! `trochee relay`: terminates TLS on all cores for a server behind it.

use std::fs;
use std::io::Write;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use trochee::server::{Contexts, ServerHandle};
use trochee::{Config, Event, KeepAlive, Reactor};

use log::Log;
use session::Client;

pub use options::Options;

mod certificates;
mod log;
mod options;
mod pair;
mod proxy_protocol;
mod session;

const SIGHUP: i32 = rustix::process::Signal::HUP.as_raw();
const SIGINT: i32 = rustix::process::Signal::INT.as_raw();
const SIGTERM: i32 = rustix::process::Signal::TERM.as_raw();

/// Descriptors that are no connection's: listeners, pollers, standard streams, and some to spare.
const OTHER_DESCRIPTORS: u64 = 64;

/// Relays until SIGTERM or SIGINT. Of what goes wrong once it serves the log tells.
///
/// # Errors
///
/// What is wrong with the options, the file or the system, in words for the operator.
pub fn run(options: Options) -> Result<ExitCode, String> {
    let file = options.config.clone();
    let (server, relays) = read(options)?;
    let log = Log::new().map_err(|error| format!("cannot start the log: {error}"))?;
    let log = Arc::new(log);
    // The standard library's word on a panic would wait for whoever reads standard error.
    panic::set_hook({
        let log = Arc::clone(&log);
        Box::new(move |panic| log.say(&panic.to_string()))
    });
    let clients = Arc::new(AtomicUsize::new(0));
    let listeners = relays.iter().map(|relay| relay.listen.len()).sum();
    let mut builder = trochee::Server::builder()
        .backend(&*server.backend)
        .threads(server.threads.unwrap_or_else(cores))
        .config(config(&server, listeners)?)
        .on_notice({
            let log = Arc::clone(&log);
            move |level, text| {
                if level >= trochee::Level::Warn {
                    log.say(text);
                }
            }
        });
    let mut secured = Vec::new();
    let mut words = Vec::new();
    for (place, relay) in relays.iter().enumerate() {
        let wrong = |error: String| match &file {
            None => error,
            Some(file) => format!("{}: relay {}: {error}", file.display(), place + 1),
        };
        let target = relay
            .to
            .as_ref()
            .ok_or_else(|| wrong("no server behind: give --to ADDR (in a file: to)".into()))?;
        if relay.listen.is_empty() {
            return Err(wrong(
                "nothing to listen on: give --listen ADDR (in a file: listen)".into(),
            ));
        }
        let contexts = certificates::load(relay, &log)
            .map_err(wrong)?
            .map(|(default, names)| Contexts::with_names(default, names));
        if let Some(contexts) = &contexts {
            secured.push((relay, contexts.clone()));
        }
        let tls = if contexts.is_some() { ", TLS" } else { "" };
        let session = Arc::new(session::Relay {
            to: target.0.clone(),
            contexts,
            proxy_protocol: relay.proxy_protocol,
            fronts: relay.accept_proxy_protocol.clone(),
            buffer: server.buffer,
            handshake_timeout: server.handshake_timeout.0,
            idle_timeout: server.idle_timeout.limit(),
            half_close_timeout: server.half_close_timeout.limit(),
            clients: Arc::clone(&clients),
            log: Arc::clone(&log),
        });
        for address in &relay.listen {
            let session = Arc::clone(&session);
            builder = builder.listen(&**address, move || Client::new(Arc::clone(&session)));
            words.push(format!("{tls}, to {}", target.0));
        }
    }
    // Before anybody can be told of the address and send one.
    let mut reactor = Reactor::new();
    let mut watch = |signal| {
        let key = reactor.watch_signal(signal);
        key.map_err(|error| format!("signals: {error}"))
    };
    watch(SIGHUP)?;
    let mut ends = vec![watch(SIGINT)?, watch(SIGTERM)?];
    let waker = reactor.waker().map_err(|error| error.to_string())?;

    let server_built = builder.build().map_err(|error| error.to_string())?;
    let handle = server_built.handle();
    thread::spawn({
        let handle = handle.clone();
        move || announce(&handle, &words)
    });
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let _ = done.send(server_built.run());
        drop(done);
        waker.wake();
    });
    loop {
        match ended.try_recv() {
            Ok(Ok(())) => return Ok(ended_with(ExitCode::SUCCESS, &log)),
            Ok(Err(error)) => {
                log.say(&error.to_string());
                return Ok(ended_with(ExitCode::FAILURE, &log));
            }
            Err(TryRecvError::Disconnected) => {
                log.say("the server panicked");
                return Ok(ended_with(ExitCode::FAILURE, &log));
            }
            Err(TryRecvError::Empty) => {}
        }
        let mut stop = false;
        reactor.begin_turn(None);
        while let Some(event) = reactor.next_event() {
            match event {
                Event::Signal { signal: SIGHUP, .. } => reload(&secured, &log),
                Event::Signal { .. } => stop = true,
                Event::Notice { text, .. } => log.say(&text),
                _ => {}
            }
        }
        if stop {
            // The next one has its usual action, for who does not want to wait. Who reloads has not asked for that.
            for key in ends.drain(..) {
                reactor.close(key);
            }
            let left = clients.load(Ordering::Relaxed);
            let within = server.drain_timeout;
            log.say(&format!("stopping: {left} clients have {within} s"));
            handle.shutdown(within.0);
        }
    }
}

fn ended_with(code: ExitCode, log: &Log) -> ExitCode {
    log.finish();
    code
}

/// The options, or the file that they name.
fn read(options: Options) -> Result<(options::Server, Vec<options::Relay>), String> {
    let Some(path) = options.config else {
        return Ok((options.server, vec![options.relay]));
    };
    let wrong = |error: String| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    let file: options::File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if file.relay.is_empty() {
        return Err(wrong("there is no [[relay]] in it".into()));
    }
    Ok((file.server, file.relay))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn config(server: &options::Server, listeners: usize) -> Result<Config, String> {
    for (name, timeout) in [
        ("connect-timeout", server.connect_timeout),
        ("handshake-timeout", server.handshake_timeout),
        ("send-timeout", server.send_timeout),
    ] {
        if timeout.0.is_zero() {
            return Err(format!(
                "{name} 0 leaves no time at all; only idle-timeout and half-close-timeout take 0 for no limit"
            ));
        }
    }
    for (name, value, most) in [
        ("keepalive", server.keepalive, 32_767),
        (
            "keepalive-interval",
            server.keepalive_interval.get(),
            32_767,
        ),
        ("keepalive-count", server.keepalive_count.get().into(), 127),
    ] {
        if value > most {
            return Err(format!(
                "{name} {value} is more than the system takes: {most}, see tcp(7)"
            ));
        }
    }
    let keepalive = match server.keepalive {
        0 => KeepAlive::Off,
        idle => KeepAlive::Idle(Duration::from_secs(idle.into())),
    };
    let most = match server.max_connections {
        Some(most) => most.get(),
        None => most(listeners)?,
    };
    Ok(Config {
        read_timeout: server.idle_timeout.limit().unwrap_or(Duration::MAX),
        tcp_keepalive: keepalive,
        tcp_keepalive_interval: Some(Duration::from_secs(server.keepalive_interval.get().into())),
        tcp_keepalive_count: Some(server.keepalive_count.get().into()),
        send_timeout: server.send_timeout.0,
        connect_timeout: server.connect_timeout.0,
        tls_handshake_timeout: server.handshake_timeout.0,
        max_connections: most,
        // One side is paused above `buffer`, and what was read before that goes on top.
        max_send_buffer_size: server.buffer.saturating_add(1 << 20),
        ..Config::default()
    })
}

/// A client takes two descriptors: its own, and one to the server behind.
///
/// # Errors
///
/// There are too few for anybody.
fn most(listeners: usize) -> Result<usize, String> {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let clients = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    match usize::try_from(clients).unwrap_or(usize::MAX) / listeners.max(1) {
        0 => Err(format!(
            "{descriptors} file descriptors are too few for {listeners} listeners: raise the limit (LimitNOFILE in systemd, ulimit -n)"
        )),
        most => Ok(most),
    }
}

/// A line for each listener, once it accepts. Waits for whoever reads standard output.
fn announce(handle: &ServerHandle, words: &[String]) {
    let mut out = std::io::stdout();
    for (address, words) in handle.addresses().iter().zip(words) {
        // Standard output may be closed, which is no reason not to serve.
        let _ = writeln!(out, "listening on {address}{words}");
    }
    let _ = out.flush();
}

/// Reads all certificates anew. A relay whose files are wrong keeps what it has.
fn reload(secured: &[(&options::Relay, Contexts)], log: &Log) {
    for (relay, contexts) in secured {
        match certificates::load(relay, log) {
            Ok(Some((default, names))) => {
                contexts.replace(default, names);
                log.say(&format!(
                    "{}: certificates reloaded",
                    relay.listen.join(" ")
                ));
            }
            Ok(None) => {}
            Err(error) => log.say(&format!(
                "{}: the old certificates stay: {error}",
                relay.listen.join(" ")
            )),
        }
    }
}
