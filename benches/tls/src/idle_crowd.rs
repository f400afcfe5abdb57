//! Connections that are silent: what the server keeps for each.

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
