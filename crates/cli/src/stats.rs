//! `trochee stats`: what a running server has counted, once.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use crate::statistics::report::{Histogram, number};
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
    text.push('\n');
    for (name, found) in &report.histograms {
        let _ = writeln!(text, "{name:<24} {}", spread(name, found));
    }
    for (name, kinds) in &report.tallies {
        for (kind, count) in kinds {
            let _ = writeln!(text, "{name:<24} {count:<8} {kind}");
        }
    }
    text.push('\n');
    for one in &report.listeners {
        let place = match one.port {
            Some(port) => format!("{} {port}", one.address),
            None => one.address.clone(),
        };
        let _ = writeln!(
            text,
            "listener {} at {place}: {} connections, {} accepted, {} refused",
            one.service, one.open, one.accepted, one.refused
        );
    }
    text
}

/// What a histogram has, in a few words.
fn spread(name: &str, found: &Histogram) -> String {
    let is_time = name.ends_with("_seconds");
    let show = |value: f64| match value {
        v if v.is_infinite() => "more".to_owned(),
        v if is_time => units::time(v),
        v => units::count(v),
    };
    let up_to = |part| found.quantile(part).map_or_else(|| "-".into(), show);
    let mean = found.sum / (found.count().max(1) as f64);
    format!(
        "{:<8} half up to {}, 99 % up to {}, all up to {}, {} on average",
        found.count(),
        up_to(0.5),
        up_to(0.99),
        up_to(1.0),
        show(mean)
    )
}

/// The gauge that says how much there may be of another one.
fn allowed(name: &str) -> String {
    match name.strip_suffix("_bytes") {
        Some(base) => format!("{base}_allowed_bytes"),
        None => format!("{name}_allowed"),
    }
}
