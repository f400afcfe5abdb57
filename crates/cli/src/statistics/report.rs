//! The answer of a server, a line of JSON. crates/lua/lua/trochee/plugins/mod_trochee/report.lib.lua writes the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Number;
use trochee::server::Snapshot;
use trochee::{ListenerInfo, Meter, Name, Stage, Unit};

/// Numbers by name. From Lua some are written as floats.
pub type Numbers = BTreeMap<String, Number>;

/// All that there is to tell at one moment. What a server does not know is not there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The version of trochee.
    pub trochee: String,
    /// The program, such as `Prosody 13.0.2`.
    pub serves: String,
    pub poller: String,
    /// When it was made, in seconds since 1970.
    pub time: f64,
    /// Seconds since the start of the program.
    pub uptime: f64,
    pub counters: Numbers,
    pub histograms: BTreeMap<String, Histogram>,
    /// By name, and then by kind.
    pub tallies: BTreeMap<String, Numbers>,
    pub listeners: Vec<Listener>,
    pub gauges: Numbers,
    pub stages: Numbers,
    /// The counters of each thread; Prosody's own is the first one.
    pub threads: Vec<Numbers>,
    /// Those that are worth a look: see [`Meter`].
    pub connections: Vec<Connection>,
    /// How many there are in all.
    pub connection_count: usize,
    /// Those with the most connections.
    pub addresses: Vec<Address>,
    /// How many there are in all.
    pub address_count: usize,
    /// What went wrong lately, the newest first.
    pub errors: Vec<Entry>,
    /// The callbacks that held the loop longest.
    pub slow: Vec<Entry>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How often something was how large. Times are in seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    pub bounds: Vec<f64>,
    /// How many were up to each bound, and at the end how many in all.
    pub counts: Vec<u64>,
    pub sum: f64,
}

impl Histogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.last().copied().unwrap_or(0)
    }

    /// The bound that this part of them is not above; infinity where it is above all. `None`: there were none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let wanted = self.count() as f64 * part;
        let place = self
            .counts
            .iter()
            .position(|count| *count > 0 && *count as f64 >= wanted)?;
        Some(self.bounds.get(place).copied().unwrap_or(f64::INFINITY))
    }

    /// What came since an earlier look.
    pub fn since(&self, before: &Histogram) -> Histogram {
        let counts = self.counts.iter().zip(&before.counts);
        Histogram {
            bounds: self.bounds.clone(),
            counts: counts
                .map(|(now, then)| now.saturating_sub(*then))
                .collect(),
            sum: (self.sum - before.sum).max(0.0),
        }
    }
}

/// A listener, and what it had.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// What Prosody calls it.
    pub service: String,
    pub address: String,
    pub port: Option<u16>,
    pub accepted: u64,
    pub refused: u64,
    /// Of the accepted ones, those that are not over.
    pub open: u64,
}

/// A connection. Times are in seconds, sizes in bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    pub id: String,
    pub stage: String,
    /// The peer's; `None` for a UNIX socket.
    pub address: Option<String>,
    pub port: Option<u16>,
    /// What it came to, or `outgoing`.
    pub service: String,
    pub tls: Option<String>,
    pub age: f64,
    pub idle: f64,
    pub reads: u64,
    pub received: u64,
    pub sent: u64,
    pub queued: u64,
    /// Bytes a second, in both directions.
    pub rate: f64,
    pub round_trip: Option<f64>,
    pub retransmits: Option<u64>,
    pub unacknowledged: Option<u64>,
    /// Whose it is, if that is known.
    pub session: String,
}

/// What the connections from one address have in common.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    pub address: String,
    pub connections: u64,
    /// How many of these are not established.
    pub newcomers: u64,
    /// How many seconds ago the last one began.
    pub newest: f64,
    pub received: u64,
    pub rate: f64,
}

/// Something that happened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// In seconds since 1970.
    pub time: f64,
    /// For how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    pub what: String,
}

/// A number by its name; 0 where there is none.
pub fn number(numbers: &Numbers, name: &str) -> f64 {
    numbers.get(name).and_then(Number::as_f64).unwrap_or(0.0)
}

impl Report {
    /// How many connections there are in each stage, the earliest first.
    pub fn by_stage(&self) -> String {
        let stages = Stage::ALL.iter().map(|stage| stage.as_str());
        let counts: Vec<String> = stages
            .map(|name| format!("{} {name}", number(&self.stages, name)))
            .collect();
        counts.join(", ")
    }

    /// What a [`Server`](trochee::Server) tells. The rest is up to the caller.
    pub fn of(snapshot: Snapshot, meter: &mut Meter, most: usize) -> Report {
        let named = |numbers: &mut dyn Iterator<Item = (&'static str, u64)>| {
            let numbers = numbers.map(|(name, value)| (name.to_owned(), value.into()));
            numbers.collect::<Numbers>()
        };
        let mut stages = Stage::ALL
            .iter()
            .zip(snapshot.stages)
            .map(|(stage, count)| (stage.as_str(), count as u64));
        let threads = snapshot.threads.iter();
        let stats = snapshot.stats();
        let mut report = Report {
            trochee: env!("CARGO_PKG_VERSION").to_owned(),
            counters: named(&mut stats.iter()),
            histograms: stats.histograms().map(histogram).collect(),
            tallies: snapshot
                .tallies
                .iter()
                .map(|(name, tally)| {
                    let kinds = tally
                        .iter()
                        .map(|(kind, count)| (kind.to_owned(), count.into()));
                    (name.to_owned(), kinds.collect())
                })
                .collect(),
            listeners: snapshot.listeners.iter().map(listener).collect(),
            gauges: named(&mut snapshot.gauges.iter()),
            stages: named(&mut stages),
            threads: threads.map(|stats| named(&mut stats.iter())).collect(),
            ..Report::default()
        };
        let seen = meter.look(snapshot.connections, most);
        report.connection_count = seen.connection_count;
        report.address_count = seen.address_count;
        report.connections = seen
            .connections
            .iter()
            .map(|one| {
                let info = &one.info;
                let tcp = info.tcp;
                Connection {
                    id: info.key.to_bits().to_string(),
                    stage: info.stage.as_str().to_owned(),
                    address: info.peer.map(|peer| peer.ip().to_string()),
                    port: info.peer.map(|peer| peer.port()),
                    service: if info.is_accepted {
                        "client"
                    } else {
                        "outgoing"
                    }
                    .to_owned(),
                    tls: info.tls.map(str::to_owned),
                    age: info.age.as_secs_f64(),
                    idle: info.idle.as_secs_f64(),
                    reads: info.reads.into(),
                    received: info.received,
                    sent: info.sent,
                    queued: info.queued as u64,
                    rate: one.rate,
                    round_trip: tcp.map(|tcp| tcp.round_trip.as_secs_f64()),
                    retransmits: tcp.map(|tcp| tcp.retransmits.into()),
                    unacknowledged: tcp.map(|tcp| tcp.unacknowledged as u64),
                    session: String::new(),
                }
            })
            .collect();
        report.addresses = seen
            .addresses
            .iter()
            .map(|found| Address {
                address: found.address.to_string(),
                connections: found.connections as u64,
                newcomers: found.newcomers as u64,
                newest: found.newest.as_secs_f64(),
                received: found.received,
                rate: found.rate,
            })
            .collect();
        report
    }
}

fn histogram((name, unit, found): (&str, Unit, trochee::Histogram)) -> (String, Histogram) {
    let histogram = Histogram {
        bounds: trochee::Histogram::bounds(unit).collect(),
        counts: found.up_to().collect(),
        sum: found.sum(unit),
    };
    (name.to_owned(), histogram)
}

fn listener(info: &ListenerInfo) -> Listener {
    let (address, port) = match &info.name {
        Some(Name::Inet(address)) => (address.ip().to_string(), Some(address.port())),
        Some(name) => (name.to_string(), None),
        None => (String::new(), None),
    };
    Listener {
        service: "client".into(),
        address,
        port,
        accepted: info.accepted,
        refused: info.refused,
        open: info.open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lua_writes_is_read() {
        let text = r#"{"trochee":"0.1.0","serves":"Prosody 13.0.2","time":1700000000.5,"counters":{"turns":7},
            "gauges":{"places":1,"places_allowed":1.844674407371e+19},"stages":{"opened":1},"threads":[{"turns":7}],
            "connections":[{"id":"conn1","stage":"opened","age":0.25,"received":12,"rate":1e-05,"service":"c2s"}],
            "addresses":[],"errors":[{"time":1700000000,"what":"a thing"}],"slow":[{"time":1,"seconds":0.5,"what":"x"}],
            "histograms":{"turn_seconds":{"bounds":[1e-06,2e-06],"counts":[3,4,5],"sum":0.25}},"tallies":{"failed_tls":{"bad message":2}},
            "listeners":[{"service":"c2s","address":"::","port":5222,"accepted":7,"refused":0,"open":1}]}"#;
        let report: Report = serde_json::from_str(text).unwrap();
        assert_eq!(number(&report.counters, "turns"), 7.0);
        assert_eq!(number(&report.counters, "unknown"), 0.0);
        assert!(number(&report.gauges, "places_allowed") > 1e19);
        assert_eq!(report.connections[0].received, 12);
        assert_eq!(report.connections[0].address, None);
        assert_eq!(report.slow[0].seconds, Some(0.5));
        let turns = &report.histograms["turn_seconds"];
        assert_eq!((turns.count(), turns.sum), (5, 0.25));
        assert_eq!(number(&report.tallies["failed_tls"], "bad message"), 2.0);
        assert_eq!(report.listeners[0].port, Some(5222));
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let histogram = Histogram {
            bounds: vec![1.0, 2.0, 4.0],
            counts: vec![0, 50, 99, 100],
            sum: 200.0,
        };
        assert_eq!(histogram.quantile(0.0), Some(2.0));
        assert_eq!(histogram.quantile(0.5), Some(2.0));
        assert_eq!(histogram.quantile(0.51), Some(4.0));
        assert_eq!(histogram.quantile(0.99), Some(4.0));
        assert_eq!(histogram.quantile(1.0), Some(f64::INFINITY));
        assert_eq!(histogram.since(&histogram).quantile(0.5), None);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
