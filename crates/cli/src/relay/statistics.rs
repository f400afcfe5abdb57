//! Statistics for whoever asks: a line of JSON for a line that says `json`, for `trochee top`; the text of OpenMetrics over HTTP, for
//! Prometheus. On a UNIX socket and on loopback alike.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trochee::server::{Listen, ServerHandle};
use trochee::{Config, Conn, Handler, Meter, Reactor, Server, SocketFile};

use super::log::Log;
use super::options;
use crate::statistics::openmetrics;
use crate::statistics::report::{Entry, Report};

/// So many may ask at a time.
const MOST_CLIENTS: usize = 8;

/// A longer request is none.
const LONGEST_REQUEST: usize = 8192;

/// For how long a client may say nothing, or take nothing.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// How long the threads of the relay may take to tell.
const PATIENCE: Duration = Duration::from_secs(3);

/// Connections in each order: unless the request says, and at most.
const USUAL_ROWS: usize = 30;
const MOST_ROWS: usize = 1000;

/// Those who serve statistics, until this is dropped.
pub struct Statistics {
    handle: ServerHandle,
    _file: Option<SocketFile>,
}

impl Statistics {
    /// Where to ask.
    pub fn addresses(&self) -> Vec<String> {
        let names = self.handle.addresses().iter();
        names.map(ToString::to_string).collect()
    }
}

impl Drop for Statistics {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
    }
}

/// Serves what the options name, if anything.
///
/// # Errors
///
/// In words for the operator.
pub fn start(
    options: &options::Server,
    relay: &ServerHandle,
    log: &Arc<Log>,
) -> Result<Option<Statistics>, String> {
    let mut listen = Vec::new();
    let mut kept = None;
    if let Some(address) = options.stats {
        listen.push(on_loopback(address)?);
    }
    if let Some(path) = &options.stats_socket {
        let (socket, file) = at_path(path)?;
        listen.push(socket);
        kept = Some(file);
    }
    if listen.is_empty() {
        return Ok(None);
    }
    let known = Arc::new(Known {
        relay: relay.clone(),
        log: Arc::clone(log),
        began: Instant::now(),
        poller: poller(&options.backend),
        clients: AtomicUsize::new(0),
    });
    let mut config = Config::default();
    config.read_timeout = LONGEST_SILENCE;
    config.send_timeout = LONGEST_SILENCE;
    let mut builder = Server::builder().config(config);
    for socket in listen {
        let known = Arc::clone(&known);
        builder = builder.listen(socket, move || Client::new(Arc::clone(&known)));
    }
    let server = builder.build().map_err(|error| format!("stats: {error}"))?;
    let handle = server.handle();
    let log = Arc::clone(log);
    thread::spawn(move || {
        if let Err(error) = server.run() {
            log.say(&format!("statistics are served no more: {error}"));
        }
    });
    Ok(Some(Statistics {
        handle,
        _file: kept,
    }))
}

fn at_path(path: &Path) -> Result<(Listen, SocketFile), String> {
    let backlog = Config::default().backlog;
    let (socket, file) = trochee::listen_at_path(path, Some(0o600), backlog)
        .map_err(|error| format!("stats-socket {}: {error}", path.display()))?;
    Ok((Listen::adopt(socket), file))
}

fn on_loopback(address: SocketAddr) -> Result<Listen, String> {
    if address.ip().is_loopback() {
        return Ok(Listen::from(address));
    }
    Err(format!(
        "stats {address}: anybody who reaches it could ask; give an address of loopback, such as 127.0.0.1:{}",
        address.port()
    ))
}

/// What the poller in use calls itself.
fn poller(name: &str) -> String {
    let mut reactor = Reactor::new();
    match reactor.set_backend(name) {
        Ok(()) => reactor.backend().to_owned(),
        Err(_) => name.to_owned(),
    }
}

/// What all clients are told of.
struct Known {
    relay: ServerHandle,
    log: Arc<Log>,
    began: Instant,
    poller: String,
    clients: AtomicUsize,
}

impl Known {
    fn report(&self, meter: &mut Meter, most: usize) -> Report {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_secs_f64()
        };
        let Some(snapshot) = self.relay.snapshot(PATIENCE) else {
            return Report {
                error: Some("a thread of the relay does not answer, or it is ending".into()),
                ..Report::default()
            };
        };
        let errors = self.log.recent().into_iter().map(|(time, what)| Entry {
            time: seconds(time),
            what,
            seconds: None,
        });
        Report {
            serves: "trochee relay".into(),
            poller: self.poller.clone(),
            time: seconds(SystemTime::now()),
            uptime: self.began.elapsed().as_secs_f64(),
            errors: errors.collect(),
            ..Report::of(snapshot, meter, most)
        }
    }
}

/// One who asks.
struct Client {
    known: Arc<Known>,
    meter: Meter,
    /// What it has sent and was not answered yet.
    waiting: Vec<u8>,
    may_ask: bool,
}

impl Client {
    fn new(known: Arc<Known>) -> Client {
        let others = known.clients.fetch_add(1, Ordering::Relaxed);
        Client {
            known,
            meter: Meter::default(),
            waiting: Vec::new(),
            may_ask: others < MOST_CLIENTS,
        }
    }

    /// Answers the first request, if it is complete. What waits behind it is looked at when the answer is sent.
    fn answer_next(&mut self, conn: &mut Conn<'_>) {
        let is_http = self.waiting.starts_with(b"GET ") || self.waiting.starts_with(b"HEAD ");
        let end: &[u8] = if is_http { b"\r\n\r\n" } else { b"\n" };
        let Some(place) = find(&self.waiting, end) else {
            if self.waiting.len() > LONGEST_REQUEST {
                conn.destroy();
            }
            return;
        };
        let request = self.waiting.drain(..place + end.len()).take(place);
        let request: Vec<u8> = request.collect();
        let request = String::from_utf8_lossy(&request);
        let answer = if is_http {
            self.http(&request)
        } else {
            self.line(request.trim_end())
        };
        // More than may be queued ends the connection.
        let _ = conn.write(answer.as_bytes());
        if is_http {
            conn.close();
        } else {
            conn.pause();
            conn.notify_flush();
        }
    }

    fn line(&mut self, request: &str) -> String {
        let most = match request.split_once(' ') {
            None if request == "json" => Some(USUAL_ROWS),
            Some(("json", most)) => most.parse().ok(),
            _ => None,
        };
        let report = match most {
            Some(most) => self.known.report(&mut self.meter, most.min(MOST_ROWS)),
            None => Report {
                error: Some("a request is: json, or json and the most rows".into()),
                ..Report::default()
            },
        };
        // Of numbers and texts: nothing in it cannot be written.
        serde_json::to_string(&report).unwrap_or_default() + "\n"
    }

    fn http(&mut self, request: &str) -> String {
        let mut words = request.split(' ');
        let (method, path) = (words.next(), words.next());
        let (status, kind, body) = match path {
            Some("/metrics") => {
                let report = self.known.report(&mut self.meter, 0);
                match report.error {
                    Some(error) => ("503 Service Unavailable", "text/plain", error + "\n"),
                    None => (
                        "200 OK",
                        openmetrics::CONTENT_TYPE,
                        openmetrics::text(&report),
                    ),
                }
            }
            _ => (
                "404 Not Found",
                "text/plain",
                "there is /metrics\n".to_owned(),
            ),
        };
        let mut answer = String::new();
        let _ = write!(
            answer,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if method != Some("HEAD") {
            answer.push_str(&body);
        }
        answer
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.known.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handler for Client {
    fn on_connect(&mut self, conn: &mut Conn<'_>) {
        if !self.may_ask {
            let _ = conn.write(b"{\"error\":\"others are served already\"}\n");
            conn.close();
        }
    }

    fn on_incoming(&mut self, conn: &mut Conn<'_>, data: &[u8]) {
        if self.may_ask {
            self.waiting.extend_from_slice(data);
            self.answer_next(conn);
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        conn.resume();
        self.answer_next(conn);
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
