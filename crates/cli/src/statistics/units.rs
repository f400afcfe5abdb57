//! Numbers as people read them, each in a few characters.

/// A time in seconds: `34 µs`, `0.3 s`, `12 min`, `3 h`, `9 d`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s > 0.0 && s < 0.00095 => format!("{:.0} µs", s * 1_000_000.0),
        s if s < 0.0995 => format!("{:.0} ms", s * 1000.0),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", (s / 60.0).floor()),
        s if s < 172_800.0 => format!("{:.0} h", (s / 3600.0).floor()),
        s => format!("{:.0} d", (s / 86_400.0).floor()),
    }
}

/// A number of bytes: `12 B`, `1.2 kB`, `34 MB`.
pub fn bytes(count: f64) -> String {
    scaled(count, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], " ")
}

/// A number of anything: `12`, `1.2k`, `34M`.
pub fn count(number: f64) -> String {
    scaled(number, &["", "k", "M", "G", "T", "P", "E"], "")
}

/// How often a second.
pub fn rate(a_second: f64) -> String {
    match a_second {
        r if r > 0.0 && r < 9.95 => format!("{r:.1}/s"),
        r => format!("{}/s", count(r)),
    }
}

/// How much of what there may be.
pub fn part(used: f64, allowed: f64, show: impl Fn(f64) -> String) -> String {
    if allowed >= 1e18 {
        return show(used);
    }
    format!("{}/{}", show(used), show(allowed))
}

fn scaled(mut number: f64, units: &[&str], gap: &str) -> String {
    let mut place = 0;
    while number >= 999.5 && place + 1 < units.len() {
        number /= 1000.0;
        place += 1;
    }
    let unit = units.get(place).copied().unwrap_or_default();
    let figures = if place > 0 && number < 9.95 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    };
    format!("{figures}{gap}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_short() {
        let times = [
            0.0, 34e-6, 0.0312, 0.25, 9.97, 119.0, 125.0, 7300.0, 900_000.0,
        ]
        .map(time);
        let expected = [
            "0 ms", "34 µs", "31 ms", "0.2 s", "10 s", "119 s", "2 min", "2 h", "10 d",
        ];
        assert_eq!(times, expected);
        let sizes = [0.0, 999.0, 1234.0, 12_345.0, 999_600.0, 5e9].map(bytes);
        assert_eq!(
            sizes,
            ["0 B", "999 B", "1.2 kB", "12 kB", "1.0 MB", "5.0 GB"]
        );
        assert_eq!(
            [0.0, 1.25, 12.0, 4096.0].map(rate),
            ["0/s", "1.2/s", "12/s", "4.1k/s"]
        );
        assert_eq!(part(3.0, 1024.0, count), "3/1.0k");
        assert_eq!(part(3.0, 1.8e19, count), "3");
    }
}
