//! What the log hears of those who are refused: who they are, at once and once in an interval, and then how many they were.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Blocks, Noted, Refusal};
use crate::event::Level;

/// How often an address is named, and how often all are summed up, in nanoseconds.
pub(crate) const INTERVAL: u64 = 10_000_000_000;

/// Addresses that are named in one interval. The lines of so many cost some ten kilobytes a second.
const MOST_NAMED: usize = 1024;

const KINDS: [Refusal; 3] = [Refusal::Rate, Refusal::Count, Refusal::Handshakes];

/// What one address has done in the interval.
struct Deeds {
    /// The last of those that count as one.
    address: IpAddr,
    failed: u32,
    /// How it has failed last.
    failure: String,
    refused: [u32; KINDS.len()],
}

#[derive(Default)]
struct Interval {
    began: u64,
    deeds: HashMap<u64, Deeds>,
    failed: u64,
    /// Of them, those that the log has heard of at a level that is usually read.
    failed_told: u64,
    refused: [u64; KINDS.len()],
    /// Of them, those that the log has heard of.
    told: [u64; KINDS.len()],
}

/// Nothing was refused for a while where there is no interval.
pub(super) struct Log {
    interval: Option<Interval>,
}

impl Log {
    pub(super) fn new() -> Log {
        Log { interval: None }
    }

    /// The interval, and whether it begins with this.
    fn interval(&mut self, now: u64) -> (&mut Interval, bool) {
        // Whoever was to ask for a report may be gone.
        let is_forgotten = |interval: &Interval| now > interval.began + 2 * INTERVAL;
        let begins = self.interval.as_ref().is_none_or(is_forgotten);
        let interval = self.interval.get_or_insert_default();
        if begins {
            interval.began = now;
        }
        (interval, begins)
    }

    pub(super) fn refused(
        &mut self,
        refusal: Refusal,
        address: IpAddr,
        named: bool,
        why: &str,
        now: u64,
    ) -> Noted {
        let kind = refusal as usize;
        let (interval, begins) = self.interval(now);
        let mut noted = Noted {
            report_later: begins,
            ..Noted::default()
        };
        interval.refused[kind] += 1;
        if begins {
            interval.told[kind] += 1;
            noted.lines.push((
                Level::Warn,
                format!("refusing connections, the first of them from {address}: {why}"),
            ));
        }
        if let Some(deeds) = interval.of(address) {
            deeds.refused[kind] += 1;
            if named && deeds.refused[kind] == 1 {
                noted
                    .lines
                    .push((Level::Info, format!("Stranger {address} refused: {why}")));
            }
        }
        noted
    }

    /// See [`Addresses::failed`](super::Addresses::failed).
    pub(super) fn failed(&mut self, address: IpAddr, what: &str, now: u64) -> Noted {
        let (interval, begins) = self.interval(now);
        interval.failed += 1;
        let first = interval.of(address).is_some_and(|deeds| {
            deeds.failed += 1;
            what.clone_into(&mut deeds.failure);
            deeds.failed == 1
        });
        let line = if first {
            interval.failed_told += 1;
            (Level::Info, format!("Stranger {address} failed: {what}"))
        } else {
            let text = format!("Connection from {address} failed: {what}");
            (Level::Debug, text)
        };
        Noted {
            lines: vec![line],
            report_later: begins,
        }
    }

    /// Ends the interval. Another one begins unless nothing has happened.
    pub(super) fn report(&mut self, why: impl Fn(Refusal) -> String, now: u64) -> Noted {
        let Some(interval) = self.interval.take() else {
            return Noted::default();
        };
        let seconds = now.saturating_sub(interval.began).div_ceil(1_000_000_000);
        let summed_up = KINDS.into_iter().filter_map(|refusal| {
            let kind = refusal as usize;
            let refused = interval.refused[kind];
            if refused <= interval.told[kind] {
                return None;
            }
            let most = interval
                .deeds
                .values()
                .max_by_key(|deeds| deeds.refused[kind])?;
            let text = format!(
                "{refused} connections were refused in the last {seconds} s, {} of them from {}: {}",
                most.refused[kind],
                most.address,
                why(refusal)
            );
            Some((Level::Warn, text))
        });
        let lines = summed_up.chain(interval.failures(seconds)).collect();
        let goes_on = !interval.deeds.is_empty();
        if goes_on {
            self.interval = Some(Interval {
                began: now,
                ..Interval::default()
            });
        }
        Noted {
            lines,
            report_later: goes_on,
        }
    }
}

impl Interval {
    /// How many have failed, and who most often, if the log has not heard of each.
    fn failures(&self, seconds: u64) -> Option<(Level, String)> {
        if self.failed <= self.failed_told {
            return None;
        }
        let most = self.deeds.values().max_by_key(|deeds| deeds.failed)?;
        let text = format!(
            "{} connections failed in the last {seconds} s, {} of them from {}, the last of these: {}",
            self.failed, most.failed, most.address, most.failure
        );
        Some((Level::Info, text))
    }

    /// What an address has done, if there is room to note it.
    fn of(&mut self, address: IpAddr) -> Option<&mut Deeds> {
        let block = Blocks::of(address).address;
        if self.deeds.len() >= MOST_NAMED && !self.deeds.contains_key(&block) {
            return None;
        }
        let deeds = self.deeds.entry(block).or_insert(Deeds {
            address,
            failed: 0,
            failure: String::new(),
            refused: [0; KINDS.len()],
        });
        deeds.address = address;
        Some(deeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(log: &mut Log, address: &str, now: u64) -> Noted {
        let address = address.parse().unwrap();
        log.refused(Refusal::Rate, address, true, "too much", now)
    }

    fn texts(noted: &Noted) -> Vec<&str> {
        noted.lines.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn a_flood_is_told_at_once_and_summed_up_once_in_an_interval() {
        let mut log = Log::new();
        let first = refused(&mut log, "192.0.2.1", 5);
        assert!(first.report_later);
        assert_eq!(
            texts(&first),
            [
                "refusing connections, the first of them from 192.0.2.1: too much",
                "Stranger 192.0.2.1 refused: too much",
            ]
        );
        for now in 6..100 {
            let next = refused(&mut log, "192.0.2.1", now);
            assert!(next.lines.is_empty() && !next.report_later);
        }
        // Whoever else comes is named, too.
        let other = refused(&mut log, "2001:db8::1", 100);
        assert_eq!(texts(&other), ["Stranger 2001:db8::1 refused: too much"]);
        assert!(texts(&refused(&mut log, "2001:db8::2", 100)).is_empty());
        let report = log.report(|_| "too much".into(), 5 + INTERVAL);
        assert_eq!(
            texts(&report),
            ["97 connections were refused in the last 10 s, 95 of them from 192.0.2.1: too much"]
        );
        assert!(report.report_later);
        // In the next interval the address is named again, and there is no other word until its end.
        let again = refused(&mut log, "192.0.2.1", 6 + INTERVAL);
        assert_eq!(texts(&again), ["Stranger 192.0.2.1 refused: too much"]);
        let report = log.report(|_| "too much".into(), 5 + 2 * INTERVAL);
        assert_eq!(report.lines.len(), 1);
        let report = log.report(|_| "too much".into(), 5 + 3 * INTERVAL);
        assert!(report.lines.is_empty() && !report.report_later);
    }

    #[test]
    fn a_single_refusal_is_told_once() {
        let mut log = Log::new();
        assert_eq!(refused(&mut log, "192.0.2.1", 0).lines.len(), 2);
        let report = log.report(|_| "too much".into(), INTERVAL);
        assert!(report.lines.is_empty() && report.report_later);
        assert!(!log.report(|_| "too much".into(), 2 * INTERVAL).report_later);
        assert_eq!(refused(&mut log, "192.0.2.1", 3 * INTERVAL).lines.len(), 2);
    }

    #[test]
    fn a_failure_is_loud_once_for_an_address_in_an_interval() {
        let mut log = Log::new();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = log.failed(one, "why", 0);
        assert!(first.report_later);
        assert_eq!(texts(&first), ["Stranger 192.0.2.1 failed: why"]);
        let second = log.failed(one, "why", 1);
        assert_eq!(texts(&second), ["Connection from 192.0.2.1 failed: why"]);
        assert_eq!(second.lines[0].0, Level::Debug);
        let others = log.failed(other, "why", 2);
        assert_eq!(others.lines[0].0, Level::Info);
        let report = log.report(|_| String::new(), INTERVAL);
        assert_eq!(
            texts(&report),
            [
                "3 connections failed in the last 10 s, 2 of them from 192.0.2.1, the last of these: why"
            ]
        );
        let later = log.failed(one, "why", INTERVAL + 1);
        assert_eq!(later.lines[0].0, Level::Info);
        // One that was named need not be summed up.
        assert!(log.report(|_| String::new(), 2 * INTERVAL).lines.is_empty());
    }

    #[test]
    fn no_more_than_a_bounded_number_is_named() {
        let mut log = Log::new();
        let lines: usize = (0..5000u32)
            .map(|n| {
                let address = IpAddr::from(std::net::Ipv4Addr::from_bits(n));
                log.refused(Refusal::Count, address, true, "too much", 0)
                    .lines
                    .len()
            })
            .sum();
        assert_eq!(lines, MOST_NAMED + 1);
        let report = log.report(|_| "too much".into(), INTERVAL);
        assert!(texts(&report)[0].starts_with("5000 connections were refused"));
    }
}
