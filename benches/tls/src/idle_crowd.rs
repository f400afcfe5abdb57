//! Connections that are silent: what the server keeps for each, and a crowd of them that stays.

use std::io::{self, Write as _};
use std::time::Instant;

use rustls::client::Resumption;

use crate::config;
use crate::session::{self, Session};
use crate::usage::Server;

/// So many messages touch the code and the buffers that the first ones need.
const WARM_UP: usize = 100;

/// The line of JSON.
pub fn run(port: u16, server: Server, count: usize) -> Result<String, String> {
    let configuration = config::configuration(Resumption::disabled())?;
    let mut first = Session::establish(port, &configuration)?;
    for _ in 0..WARM_UP {
        first.echo()?;
    }
    first.close().map_err(|why| format!("close: {why}"))?;
    session::settle(port, &configuration)?;

    let before = server.resident()?;
    let mut all = session::crowd(port, count)?;
    let silent = server.resident()?;
    for session in &mut all {
        session.echo()?;
    }
    let spoken = server.resident()?;
    let each = |now: f64| (now - before) / count as f64;
    Ok(format!(
        r#"{{"silent_bytes": {:.0}, "spoken_bytes": {:.0}, "before_bytes": {before:.0}}}"#,
        each(silent),
        each(spoken),
    ))
}

/// A crowd that stays until standard input ends. The line of JSON is printed when all are there.
pub fn hold(port: u16, count: usize) -> Result<String, String> {
    let begun = Instant::now();
    let all = session::crowd(port, count)?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(r#"{{"connections": {count}, "seconds": {seconds:.3}}}"#);
    let _ = io::stdout().flush();
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    drop(all);
    Ok(String::new())
}
