//! `trochee stats`: what a running server has counted, once.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use crate::statistics::report::number;
use crate::statistics::{Client, Report, openmetrics, units};

/// `trochee stats`
#[derive(Args)]
pub struct Options {
    /// All that the server tells, as a line of JSON
    #[arg(long, conflicts_with = "openmetrics")]
    json: bool,
    /// The counters and gauges in the text format of OpenMetrics, as Prometheus reads it
    #[arg(long)]
    openmetrics: bool,
    /// The UNIX socket of the server: network_settings.stats_socket of Prosody, --stats-socket of the relay. Unless named, where
    /// Debian's Prosody has it
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// What to print.
///
/// # Errors
///
/// In words for the operator.
pub fn run(options: &Options) -> Result<String, String> {
    let mut client = Client::new(options.socket.as_deref());
    let (line, report) = client.ask(30)?;
    Ok(if options.json {
        line + "\n"
    } else if options.openmetrics {
        openmetrics::text(&report)
    } else {
        text(&report)
    })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}, trochee {}, poller {}, up {}",
        report.serves,
        report.trochee,
        report.poller,
        units::time(report.uptime)
    );
    let _ = writeln!(
        text,
        "{} connections from {} addresses: {}\n",
        report.connection_count,
        report.address_count,
        report.by_stage()
    );
    for (name, used) in &report.gauges {
        let value = match report.gauges.get(&allowed(name)) {
            Some(_) => {
                let most = number(&report.gauges, &allowed(name));
                units::part(number(&report.gauges, name), most, |n| format!("{n:.0}"))
            }
            None if name.contains("_allowed") => continue,
            None => used.to_string(),
        };
        let _ = writeln!(text, "{name:<24} {value}");
    }
    text.push('\n');
    for (name, value) in &report.counters {
        let _ = writeln!(text, "{name:<24} {value}");
    }
    text
}

/// The gauge that says how much there may be of another one.
fn allowed(name: &str) -> String {
    match name.strip_suffix("_bytes") {
        Some(base) => format!("{base}_allowed_bytes"),
        None => format!("{name}_allowed"),
    }
}
