//! `trochee relay`: terminates TLS on all cores for a server behind it.

use std::fs;
use std::io::Write;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use trochee::server::{Builder, Contexts, ServerHandle};
use trochee::{Event, Reactor};

use common::Relay;
use listening::Sockets;
use log::Log;
use manager::Manager;
use servers::Servers;
use session::Client;
use statistics::Statistics;

pub use options::Options;

mod addresses;
mod behind;
mod certificates;
mod common;
mod limits;
mod listening;
mod log;
mod manager;
mod options;
mod pair;
mod servers;
mod session;
mod statistics;

const SIGHUP: i32 = rustix::process::Signal::HUP.as_raw();
const SIGINT: i32 = rustix::process::Signal::INT.as_raw();
const SIGTERM: i32 = rustix::process::Signal::TERM.as_raw();

/// What one relay has that a reload makes anew.
struct Reloadable<'a> {
    relay: &'a options::Relay,
    contexts: Option<Contexts>,
    servers: Arc<Servers>,
}

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
    // Before anybody can be told of the address and send one.
    let mut reactor = Reactor::new();
    let mut watch = |signal| {
        let key = reactor.watch_signal(signal);
        key.map_err(|error| format!("signals: {error}"))
    };
    watch(SIGHUP)?;
    let mut ends = vec![watch(SIGINT)?, watch(SIGTERM)?];
    let waker = reactor.waker().map_err(|error| error.to_string())?;
    let clients = Arc::new(AtomicUsize::new(0));
    let mut sockets = Sockets::new();
    let mut builder = builder(&server, &log);
    let mut reloadable = Vec::new();
    let mut words = Vec::new();
    for (place, relay) in relays.iter().enumerate() {
        let wrong = |error: String| match &file {
            None => error,
            Some(file) => format!("{}: relay {}: {error}", file.display(), place + 1),
        };
        let session = session(relay, &server, &clients, &log).map_err(wrong)?;
        let session = Arc::new(session);
        let tls = if session.contexts.is_some() {
            ", TLS"
        } else {
            ""
        };
        let to: Vec<String> = relay.to.iter().map(ToString::to_string).collect();
        for listen in &relay.listen {
            for socket in sockets.open(listen).map_err(wrong)? {
                let session = Arc::clone(&session);
                let socket = socket.proxy_protocol(session.fronts.clone());
                builder = builder.listen(socket, move || Client::new(Arc::clone(&session)));
                words.push(format!("{tls}, to {}", to.join(", ")));
            }
        }
        reloadable.push(Reloadable {
            relay,
            contexts: session.contexts.clone(),
            servers: Arc::clone(&session.servers),
        });
    }
    for name in sockets.left() {
        log.say(&format!(
            "a socket that was passed on is not used: {name:?} (listen on systemd:NAME or on systemd)"
        ));
    }
    let builder = builder.config(limits::config(&server)?);
    let running = builder.build().map_err(|error| error.to_string())?;
    let handle = running.handle();
    // Whoever asks for statistics is served until the end of this function.
    let statistics = statistics::start(&server, &handle, &log)?;
    let asked_at = statistics
        .as_ref()
        .map_or_else(Vec::new, Statistics::addresses);
    thread::spawn({
        let handle = handle.clone();
        move || announce(&handle, &words, &asked_at)
    });
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let _ = done.send(running.run().map_err(|error| error.to_string()));
        drop(done);
        waker.wake();
    });
    let manager = Manager::from_environment(&log);
    manager.ready(&log);
    let watchdog = manager::watchdog_interval();
    let mut probe = handle.probe();
    if let Some(interval) = watchdog {
        reactor.set_timer(interval);
    }
    loop {
        if let Some(outcome) = outcome(&ended) {
            let code = match outcome {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    log.say(&error);
                    ExitCode::FAILURE
                }
            };
            log.finish();
            return Ok(code);
        }
        let mut stop = false;
        let mut is_time = false;
        reactor.begin_turn(None);
        while let Some(event) = reactor.next_event() {
            match event {
                Event::Signal { signal: SIGHUP, .. } => {
                    manager.reloading(&log);
                    reload(&reloadable, &log);
                    manager.ready(&log);
                }
                Event::Signal { .. } => stop = true,
                Event::Timer { .. } => is_time = true,
                Event::Notice { text, .. } => log.say(&text),
                _ => {}
            }
        }
        if let Some(interval) = watchdog.filter(|_| is_time) {
            // Where a thread is stuck nobody is told that all is well.
            if probe.is_answered() {
                manager.alive(&log);
                probe = handle.probe();
            }
            reactor.set_timer(interval);
        }
        if stop {
            // The next one has its usual action, for who does not want to wait. Who reloads has not asked for that.
            for key in ends.drain(..) {
                reactor.close(key);
            }
            let left = clients.load(Ordering::Relaxed);
            let within = server.drain_timeout;
            manager.stopping(&log);
            log.say(&format!("stopping: {left} clients have {within} s"));
            handle.shutdown(within.0);
        }
    }
}

fn builder(server: &options::Server, log: &Arc<Log>) -> Builder {
    let log = Arc::clone(log);
    trochee::Server::builder()
        .backend(&*server.backend)
        .threads(server.threads.unwrap_or_else(limits::cores))
        .on_notice(move |level, text| {
            if level >= trochee::Level::Warn {
                log.say(text);
            }
        })
}

/// What the connections of one relay have in common.
fn session(
    relay: &options::Relay,
    server: &options::Server,
    clients: &Arc<AtomicUsize>,
    log: &Arc<Log>,
) -> Result<Relay, String> {
    if relay.to.is_empty() {
        return Err("no server behind: give --to ADDR (in a file: to)".into());
    }
    if relay.listen.is_empty() {
        return Err("nothing to listen on: give --listen ADDR (in a file: listen)".into());
    }
    if relay.alpn_strict && relay.alpn.is_empty() {
        return Err("alpn-strict needs alpn: without protocols of ours all clients that offer some would be refused".into());
    }
    let contexts = certificates::load(relay, log)?;
    Ok(Relay {
        servers: Servers::new(
            relay.to.clone(),
            relay.balance,
            server.fail_timeout.0,
            Arc::clone(log),
        ),
        contexts: contexts.map(|(default, names)| Contexts::with_names(default, names)),
        proxy_protocol: relay.proxy_protocol,
        fronts: relay.accept_proxy_protocol.clone(),
        buffer: server.buffer,
        connect_timeout: server.connect_timeout.0,
        idle_timeout: server.idle_timeout.limit(),
        half_close_timeout: server.half_close_timeout.limit(),
        clients: Arc::clone(clients),
        log: Arc::clone(log),
    })
}

/// How the server has ended, once it has.
fn outcome(ended: &Receiver<Result<(), String>>) -> Option<Result<(), String>> {
    match ended.try_recv() {
        Ok(result) => Some(result),
        Err(TryRecvError::Disconnected) => Some(Err("the server panicked".into())),
        Err(TryRecvError::Empty) => None,
    }
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

/// A line for each listener, once it accepts, and for each place where statistics are asked for. Waits for whoever reads standard
/// output.
fn announce(handle: &ServerHandle, words: &[String], asked_at: &[String]) {
    let mut out = std::io::stdout();
    for (address, words) in handle.addresses().iter().zip(words) {
        // Standard output may be closed, which is no reason not to serve.
        let _ = writeln!(out, "listening on {address}{words}");
    }
    for address in asked_at {
        let _ = writeln!(out, "statistics on {address}");
    }
    let _ = out.flush();
}

/// Reads all certificates anew, and looks all names up. A relay whose files are wrong keeps what it has.
fn reload(all: &[Reloadable<'_>], log: &Log) {
    for Reloadable {
        relay,
        contexts,
        servers,
    } in all
    {
        servers.look_up_all();
        let Some(contexts) = contexts else {
            continue;
        };
        let listen: Vec<String> = relay.listen.iter().map(ToString::to_string).collect();
        let listen = listen.join(" ");
        match certificates::load(relay, log) {
            Ok(Some((default, names))) => {
                contexts.replace(default, names);
                log.say(&format!("{listen}: certificates reloaded"));
            }
            Ok(None) => {}
            Err(error) => log.say(&format!("{listen}: the old certificates stay: {error}")),
        }
    }
}
