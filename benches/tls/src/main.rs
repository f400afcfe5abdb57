//! The load over TLS 1.3, by rustls: it spends less on its side of a message than OpenSSL, and of a handshake a third, and what is
//! measured should be the server at work, not waiting for the load. What `peers/load.h` says of the server's costs holds
//! here too.
//!
//! Prints one line of JSON, or a reason on stderr and exits with 1. A server without tickets: `{"absent": WHY}`.

mod again;
mod config;
mod download;
mod handshakes;
mod honest;
mod idle_crowd;
mod operations;
mod ping_pong;
mod poller;
mod proxy65;
mod pump;
mod readers;
mod scram;
mod session;
mod storm;
mod strangers;
mod talk;
mod upload;
mod usage;
mod window;
mod xmpp;

use std::env;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use rustix::process::Pid;

use handshakes::Shape;
use strangers::Kind;
use usage::Server;

const USAGE: &str = "\
usage: tls_load full PORT PID CLIENTS SECONDS       each client connects, shakes hands, closes, and begins again
       tls_load resumed PORT PID CLIENTS SECONDS    the same with the ticket of the connection before
       tls_load login PORT PID SECONDS              one client connects, shakes hands, has a message echoed, begins again
       tls_load ping-pong PORT PID CLIENTS SECONDS  each client has one message after the other echoed on one connection
       tls_load pump PORT PID STREAMS SECONDS       each has a stream echoed
       tls_load idle-crowd PORT PID CLIENTS         each connects, later has one message echoed
       tls_load hold PORT PID CLIENTS               each connects, and stays until standard input ends
of no server:
       tls_load operations p256|rsa2048 SECONDS     what a handshake's cryptography takes by itself
of a Prosody that has the file /files/data:
       tls_load download PORT PID SCHEME SECONDS    one client downloads it by http or https, again and again
of a Prosody with mod_http_file_share at files.localhost, whose secret is in upload.rs:
       tls_load upload PORT PID SECONDS             one client uploads a file of 5 MB, again and again
of a Prosody with mod_proxy65 that activates what two have joined:
       tls_load proxy65 PORT PID SECONDS            a stream from one client to the other
of a Prosody with the accounts u0, u1, ...:
       tls_load storm PORT PID CLIENTS              all log in at once, leave, and come back, while two others talk
       tls_load talk PORT PID CLIENTS ACTORS ROOM MIX SECONDS
                                                    the first ACTORS of them do what MIX says: talk.rs
       tls_load strangers PORT PID KIND COUNT SECONDS
                                                    so many at a time connect, go as far as KIND says, and drop: strangers.rs
       tls_load come-back PORT PID CLIENTS SECONDS  all log in at once, leave, and come back
       tls_load stall PORT PID CLIENTS SECONDS      each logs in, has much sent to it, does not read, and drops
       tls_load honest PORT PID                     one pings, one logs in again and again, until it is killed: honest.rs
LOAD_SOURCE in the environment is the address that connections come from.";

/// Bytes of what a server is to echo.
const MESSAGE: usize = 256;

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
    if let ["operations", certificate, time] = arguments {
        return operations::run(certificate, seconds(time)?);
    }
    let [shape, port, pid, numbers @ ..] = arguments else {
        return Err(USAGE.to_owned());
    };
    let port = number("PORT", port)?;
    let server = Server(Pid::from_raw(number("PID", pid)?).ok_or("PID: 0 is no process")?);
    match (*shape, numbers) {
        ("full", [count, time]) => {
            handshakes::run(Shape::Full, port, server, clients(count)?, seconds(time)?)
        }
        ("resumed", [count, time]) => handshakes::run(
            Shape::Resumed,
            port,
            server,
            clients(count)?,
            seconds(time)?,
        ),
        ("login", [time]) => handshakes::run(Shape::Login, port, server, 1, seconds(time)?),
        ("ping-pong", [count, time]) => {
            ping_pong::run(port, server, clients(count)?, seconds(time)?)
        }
        ("pump", [count, time]) => pump::run(port, server, clients(count)?, seconds(time)?),
        ("idle-crowd", [count]) => idle_crowd::run(port, server, clients(count)?),
        ("hold", [count]) => idle_crowd::hold(port, clients(count)?),
        ("download", [scheme, time]) => download::run(port, server, scheme, seconds(time)?),
        ("upload", [time]) => upload::run(port, server, seconds(time)?),
        ("proxy65", [time]) => proxy65::run(port, server, seconds(time)?),
        ("storm", [count]) => storm::run(port, server, clients(count)?),
        ("talk", [count, actors, room, mix, time]) => {
            let (actors, room) = (number("ACTORS", actors)?, number("ROOM", room)?);
            talk::run(
                port,
                server,
                clients(count)?,
                actors,
                room,
                mix,
                seconds(time)?,
            )
        }
        ("strangers", [kind, count, time]) => {
            let kind = Kind::named(kind).ok_or_else(|| format!("KIND cannot be {kind:?}"))?;
            strangers::run(kind, port, server, clients(count)?, seconds(time)?)
        }
        ("come-back", [count, time]) => {
            readers::come_back(port, server, clients(count)?, seconds(time)?)
        }
        ("stall", [count, time]) => readers::stall(port, server, clients(count)?, seconds(time)?),
        ("honest", []) => honest::run(port, server),
        _ => Err(USAGE.to_owned()),
    }
}

fn clients(text: &str) -> Result<usize, String> {
    number("CLIENTS", text)
}

fn seconds(text: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number("SECONDS", text)?).map_err(|why| format!("SECONDS: {why}"))
}

fn number<N: FromStr>(name: &str, text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| format!("{name} cannot be {text:?}"))
}
