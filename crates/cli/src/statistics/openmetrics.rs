//! The text format of OpenMetrics, with the names that Prosody's mod_trochee has, so that one dashboard and one set of rules do for both.

use std::fmt::{Display, Write};

use trochee::{Gauges, Stats, Tallies};

use super::report::{Histogram, Listener, Numbers, Report, number};

/// What every name begins with.
const PREFIX: &str = "prosody_mod_trochee__";

/// What an HTTP server calls it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A report as text.
pub fn text(report: &Report) -> String {
    let mut text = Text(String::new());
    text.family("counter", Stats::describe(), &report.counters);
    text.family("gauge", Gauges::describe(), &report.gauges);
    text.head(
        "gauge",
        "connections",
        "Connections by how far they have got.",
    );
    for (stage, count) in &report.stages {
        text.sample("connections", &[("stage", stage)], count);
    }
    for (name, about) in Stats::describe_histograms() {
        if let Some(found) = report.histograms.get(name) {
            text.histogram(name, about, found);
        }
    }
    for (name, label, about) in Tallies::describe() {
        text.head("counter", name, about);
        for (kind, count) in report.tallies.get(name).into_iter().flatten() {
            text.sample(&format!("{name}_total"), &[(label, kind)], count);
        }
    }
    text.threads(report);
    text.listeners(report);
    text.0.push_str("# EOF\n");
    text.0
}

struct Text(String);

impl Text {
    /// What is said of a family before its samples.
    fn head(&mut self, kind: &str, base: &str, about: &str) {
        let name = format!("{PREFIX}{base}");
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        if let Some((_, unit @ ("bytes" | "seconds"))) = base.rsplit_once('_') {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP {name} {about}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{PREFIX}{name}{labels} {value}");
    }

    fn family(
        &mut self,
        kind: &str,
        described: impl Iterator<Item = (&'static str, &'static str)>,
        numbers: &Numbers,
    ) {
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (name, about) in described {
            let value = number(numbers, name);
            // OpenMetrics has seconds, and nothing smaller.
            let (base, about, value) = match name.strip_suffix("_nanoseconds") {
                Some(base) => (
                    format!("{base}_seconds"),
                    about.replacen("Nanoseconds", "Seconds", 1),
                    value / 1e9,
                ),
                None => (name.to_owned(), about.to_owned(), value),
            };
            self.head(kind, &base, &about);
            self.sample(&format!("{base}{suffix}"), &[], value);
        }
    }

    fn histogram(&mut self, name: &str, about: &str, found: &Histogram) {
        self.head("histogram", name, about);
        let bounds = found.bounds.iter().map(ToString::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&found.counts) {
            self.sample(&format!("{name}_bucket"), &[("le", &bound)], count);
        }
        self.sample(&format!("{name}_sum"), &[], found.sum);
        self.sample(&format!("{name}_count"), &[], found.count());
    }

    fn threads(&mut self, report: &Report) {
        let about = "Seconds that each thread was busy: 0 is the first one.";
        self.head("counter", "thread_busy_seconds", about);
        for (thread, counters) in report.threads.iter().enumerate() {
            let busy = number(counters, "busy_nanoseconds") / 1e9;
            let thread = thread.to_string();
            self.sample("thread_busy_seconds_total", &[("thread", &thread)], busy);
        }
    }

    fn listeners(&mut self, report: &Report) {
        type Row = (
            &'static str,
            &'static str,
            &'static str,
            fn(&Listener) -> u64,
        );
        let rows: [Row; 3] = [
            (
                "counter",
                "listener_accepted",
                "Connections that each listener accepted.",
                |it| it.accepted,
            ),
            (
                "counter",
                "listener_refused",
                "Connections that each listener refused at once.",
                |it| it.refused,
            ),
            (
                "gauge",
                "listener_connections",
                "Connections of each listener that are not over.",
                |it| it.open,
            ),
        ];
        for (kind, name, about, value) in rows {
            self.head(kind, name, about);
            let suffix = if kind == "counter" { "_total" } else { "" };
            for listener in &report.listeners {
                let port = listener
                    .port
                    .map_or_else(String::new, |port| port.to_string());
                let labels = [
                    ("service", &*listener.service),
                    ("address", &listener.address),
                    ("port", &port),
                ];
                self.sample(&format!("{name}{suffix}"), &labels, value(listener));
            }
        }
    }
}

/// The value of a label, as it is written between its quotation marks.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_units_are_those_of_openmetrics() {
        let mut report = Report::default();
        report.counters.insert("accepted".into(), 7.into());
        report
            .counters
            .insert("busy_nanoseconds".into(), 1_500_000_000.into());
        report
            .gauges
            .insert("queued_memory_bytes".into(), 12.into());
        report.stages.insert("opened".into(), 3.into());
        report.histograms.insert(
            "turn_seconds".into(),
            Histogram {
                bounds: vec![1e-6, 0.5],
                counts: vec![1, 2, 4],
                sum: 7.25,
            },
        );
        let kinds = Numbers::from([("a \"reason\"".into(), 5.into())]);
        report.tallies.insert("failed_tls".into(), kinds);
        report.threads = vec![Numbers::from([(
            "busy_nanoseconds".into(),
            500_000_000.into(),
        )])];
        report.listeners = vec![Listener {
            service: "c2s".into(),
            address: "::".into(),
            port: Some(5222),
            accepted: 9,
            refused: 8,
            open: 1,
        }];
        let text = text(&report);
        for line in [
            "# TYPE prosody_mod_trochee__accepted counter",
            "# HELP prosody_mod_trochee__accepted Connections that listeners accepted.",
            "prosody_mod_trochee__accepted_total 7",
            "# UNIT prosody_mod_trochee__busy_seconds seconds",
            "prosody_mod_trochee__busy_seconds_total 1.5",
            "# UNIT prosody_mod_trochee__queued_memory_bytes bytes",
            "prosody_mod_trochee__queued_memory_bytes 12",
            "prosody_mod_trochee__connections{stage=\"opened\"} 3",
            "# TYPE prosody_mod_trochee__turn_seconds histogram",
            "# UNIT prosody_mod_trochee__turn_seconds seconds",
            "prosody_mod_trochee__turn_seconds_bucket{le=\"0.000001\"} 1",
            "prosody_mod_trochee__turn_seconds_bucket{le=\"+Inf\"} 4",
            "prosody_mod_trochee__turn_seconds_sum 7.25",
            "prosody_mod_trochee__turn_seconds_count 4",
            r#"prosody_mod_trochee__failed_tls_total{reason="a \"reason\""} 5"#,
            "prosody_mod_trochee__thread_busy_seconds_total{thread=\"0\"} 0.5",
            r#"prosody_mod_trochee__listener_accepted_total{service="c2s",address="::",port="5222"} 9"#,
            r#"prosody_mod_trochee__listener_connections{service="c2s",address="::",port="5222"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
