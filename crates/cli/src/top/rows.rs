//! The lists of the screen: their columns, their orders, their rows.

use std::cmp::Ordering;

use ratatui::layout::Constraint;

use crate::statistics::Report;
use crate::statistics::report::{Address, Connection};
use crate::statistics::units::{bytes, count, rate, time};

/// A list that can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Connections,
    Addresses,
    Errors,
    Slow,
}

/// A column: its title and its width.
pub type Column = (&'static str, Constraint);

impl List {
    pub const ALL: [List; 4] = [List::Connections, List::Addresses, List::Errors, List::Slow];

    pub fn name(self) -> &'static str {
        match self {
            List::Connections => "connections",
            List::Addresses => "addresses",
            List::Errors => "errors",
            List::Slow => "slow callbacks",
        }
    }

    /// By what it can be sorted.
    pub fn orders(self) -> &'static [&'static str] {
        match self {
            List::Connections => &["rate", "queued", "round trip", "idle", "age", "traffic"],
            List::Addresses => &["connections", "newcomers", "rate", "received"],
            List::Errors => &["time"],
            List::Slow => &["time it took"],
        }
    }

    /// As many columns as the width has room for.
    pub fn columns(self, width: u16) -> Vec<Column> {
        use Constraint::{Fill, Length, Min};
        match self {
            List::Connections => {
                let mut columns = vec![
                    ("id", Length(8)),
                    ("address", Length(if width < 100 { 15 } else { 24 })),
                    ("port", Length(if width < 100 { 5 } else { 14 })),
                    ("stage", Length(5)),
                    ("TLS", Length(3)),
                    ("idle", Length(6)),
                    ("queued", Length(6)),
                    ("rate/s", Length(6)),
                    ("RTT", Length(6)),
                ];
                if width >= 130 {
                    columns.extend([
                        ("age", Length(7)),
                        ("in", Length(7)),
                        ("out", Length(7)),
                        ("unacked", Length(7)),
                        ("resent", Length(6)),
                    ]);
                }
                columns.push(("session", Fill(1)));
                columns
            }
            List::Addresses => vec![
                ("address", Min(15)),
                ("connections", Length(11)),
                ("newcomers", Length(9)),
                ("last one", Length(8)),
                ("received", Length(8)),
                ("rate", Length(8)),
            ],
            List::Errors => vec![("ago", Length(7)), ("what", Fill(1))],
            List::Slow => vec![
                ("took", Length(7)),
                ("ago", Length(7)),
                ("callback", Fill(1)),
            ],
        }
    }

    /// The cells of all rows that have the text of the filter, in the order that was chosen.
    pub fn rows(self, report: &Report, order: usize, filter: &str, width: u16) -> Vec<Vec<String>> {
        let ago = |then: f64| time((report.time - then).max(0.0));
        let rows: Vec<Vec<String>> = match self {
            List::Connections => {
                let sorted = sorted(&report.connections, |one| connection_size(one, order));
                let wide = width >= 130;
                sorted.iter().map(|one| connection(one, wide)).collect()
            }
            List::Addresses => {
                let sorted = sorted(&report.addresses, |one| address_size(one, order));
                sorted.iter().map(|one| address(one)).collect()
            }
            List::Errors => {
                let entries = report.errors.iter();
                entries
                    .map(|one| vec![ago(one.time), one.what.clone()])
                    .collect()
            }
            List::Slow => {
                let entries = report.slow.iter();
                let took = |seconds: Option<f64>| time(seconds.unwrap_or(0.0));
                entries
                    .map(|one| vec![took(one.seconds), ago(one.time), one.what.clone()])
                    .collect()
            }
        };
        let wanted = |row: &Vec<String>| filter.is_empty() || row.join(" ").contains(filter);
        rows.into_iter().filter(wanted).collect()
    }
}

/// The largest first.
fn sorted<T>(all: &[T], size: impl Fn(&T) -> f64) -> Vec<&T> {
    let mut sorted: Vec<&T> = all.iter().collect();
    sorted.sort_by(|a, b| size(b).partial_cmp(&size(a)).unwrap_or(Ordering::Equal));
    sorted
}

fn connection_size(one: &Connection, order: usize) -> f64 {
    match order {
        0 => one.rate,
        1 => one.queued as f64,
        2 => one.round_trip.unwrap_or(0.0),
        3 => one.idle,
        4 => one.age,
        _ => (one.received + one.sent) as f64,
    }
}

fn connection(one: &Connection, wide: bool) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let tls = match one.tls.as_deref() {
        Some("handshake") => "…".into(),
        version => or_dash(version.map(|version| version.replace("TLSv", ""))),
    };
    let address = match (&one.address, one.port) {
        (Some(address), Some(port)) if wide => format!("{address}:{port}"),
        (address, _) => or_dash(address.clone()),
    };
    let mut cells = vec![
        one.id.clone(),
        address,
        one.service.clone(),
        one.stage.chars().take(5).collect(),
        tls,
        time(one.idle),
        bytes(one.queued as f64),
        bytes(one.rate),
        or_dash(one.round_trip.map(time)),
    ];
    if wide {
        cells.extend([
            time(one.age),
            bytes(one.received as f64),
            bytes(one.sent as f64),
            or_dash(one.unacknowledged.map(|count| bytes(count as f64))),
            or_dash(one.retransmits.map(|number| count(number as f64))),
        ]);
    }
    cells.push(one.session.clone());
    cells
}

fn address_size(one: &Address, order: usize) -> f64 {
    match order {
        0 => one.connections as f64,
        1 => one.newcomers as f64,
        2 => one.rate,
        _ => one.received as f64,
    }
}

fn address(one: &Address) -> Vec<String> {
    vec![
        one.address.clone(),
        count(one.connections as f64),
        count(one.newcomers as f64),
        time(one.newest),
        bytes(one.received as f64),
        bytes(one.rate),
    ]
}

/// A rate, where it is known.
pub fn shown(a_second: Option<f64>) -> String {
    a_second.map_or_else(|| "-".into(), rate)
}
