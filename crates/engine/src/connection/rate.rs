//! How many bytes a second a connection may deliver.

/// A token bucket: `rate` bytes a second, and at once what a tenth of a second brings.
pub(crate) struct RateLimit {
    rate: f64,
    burst: f64,
    tokens: f64,
    updated: u64,
    /// The bucket is empty, and nothing is read until then.
    pub(super) holds_until: Option<u64>,
}

impl RateLimit {
    /// Less at a time would cost more in system calls than the limit saves.
    const SMALLEST_BURST: f64 = 64.0;

    pub(super) fn new(rate: f64, now: u64) -> RateLimit {
        let burst = (rate / 10.0).max(RateLimit::SMALLEST_BURST);
        RateLimit {
            rate,
            burst,
            tokens: burst,
            updated: now,
            holds_until: None,
        }
    }

    pub(crate) fn allowance(&mut self, now: u64) -> usize {
        let seconds = now.saturating_sub(self.updated) as f64 / 1e9;
        self.tokens = (self.tokens + seconds * self.rate).min(self.burst);
        self.updated = now;
        (self.tokens as usize).max(1)
    }

    /// Takes tokens; when the bucket is empty, it holds until it will be full again.
    pub(crate) fn spend(&mut self, bytes: usize, now: u64) {
        self.tokens -= bytes as f64;
        self.holds_until = (self.tokens < 1.0).then(|| {
            let seconds = (self.burst - self.tokens) / self.rate;
            now.saturating_add((seconds * 1e9) as u64)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_keeps_its_rate_whatever_the_reader_does() {
        let mut limit = RateLimit::new(10_000.0, 0);
        let (mut now, mut bytes) = (0, 0);
        while now < 10_000_000_000 {
            let allowed = limit.allowance(now);
            bytes += allowed;
            limit.spend(allowed, now);
            now = limit.holds_until.unwrap_or(now + 1_000_000);
        }
        assert!(
            (95_000..=105_000).contains(&bytes),
            "{bytes} bytes in 10 s at 10 kB/s"
        );
    }
}
