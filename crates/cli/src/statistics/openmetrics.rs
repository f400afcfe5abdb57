//! The text format of OpenMetrics, with the names that Prosody's mod_trochee has, so that one dashboard and one set of rules do for both.

use std::fmt::Write;

use trochee::{Gauges, Stats};

use super::report::{Numbers, Report, number};

/// What every name begins with.
const PREFIX: &str = "prosody_mod_trochee__";

/// What an HTTP server calls it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A report as text.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    family(&mut text, "counter", Stats::describe(), &report.counters);
    family(&mut text, "gauge", Gauges::describe(), &report.gauges);
    let name = format!("{PREFIX}connections");
    let _ = writeln!(text, "# TYPE {name} gauge");
    let _ = writeln!(text, "# HELP {name} Connections by how far they have got.");
    for (stage, count) in &report.stages {
        let _ = writeln!(text, "{name}{{stage=\"{stage}\"}} {count}");
    }
    text.push_str("# EOF\n");
    text
}

fn family(
    text: &mut String,
    kind: &str,
    described: impl Iterator<Item = (&'static str, &'static str)>,
    numbers: &Numbers,
) {
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
        let name = format!("{PREFIX}{base}");
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if let Some((_, unit @ ("bytes" | "seconds"))) = base.rsplit_once('_') {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {about}");
        let suffix = if kind == "counter" { "_total" } else { "" };
        let _ = writeln!(text, "{name}{suffix} {value}");
    }
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
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
