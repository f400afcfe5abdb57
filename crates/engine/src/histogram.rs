//! How often something was how large: buckets whose bounds are powers of two, so that a sample costs two additions.

use std::ops::AddAssign;

/// How many buckets there are. The last one has no bound.
const BUCKETS: usize = 25;

/// What the numbers of a histogram are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Times: the bounds are 1 µs, 2 µs, 4 µs, and so on up to 8.4 s.
    Seconds,
    /// Whole numbers: the bounds are 0, 1, 3, 7, and so on, each inclusive.
    Number,
}

impl Unit {
    /// By the end of a histogram's name.
    pub(crate) const fn of(name: &str) -> Unit {
        match name.as_bytes() {
            [.., b'_', b's', b'e', b'c', b'o', b'n', b'd', b's'] => Unit::Seconds,
            _ => Unit::Number,
        }
    }

    /// How many of what the sum counts are one of the unit.
    fn scale(self) -> f64 {
        match self {
            Unit::Seconds => 1e9,
            Unit::Number => 1.0,
        }
    }
}

/// How often something was how large, and how much it was together: see [`Stats::histograms`](crate::Stats::histograms).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    /// Nanoseconds, or what the numbers are.
    sum: u64,
}

impl Histogram {
    /// Adds something that took so many nanoseconds.
    #[inline]
    pub(crate) fn took(&mut self, nanoseconds: u64) {
        self.add(nanoseconds / 1000);
        self.sum = self.sum.wrapping_add(nanoseconds);
    }

    /// Adds a number.
    #[inline]
    pub(crate) fn number(&mut self, number: u64) {
        self.add(number);
        self.sum = self.sum.wrapping_add(number);
    }

    #[inline]
    fn add(&mut self, size: u64) {
        let bits = (u64::BITS - size.leading_zeros()) as usize;
        self.counts[bits.min(BUCKETS - 1)] += 1;
    }

    /// The upper bounds of the buckets, in this unit. The last bucket, which has none, is not among them.
    pub fn bounds(unit: Unit) -> impl Iterator<Item = f64> {
        (0..BUCKETS - 1).map(move |bits| match unit {
            Unit::Seconds => (1u64 << bits) as f64 / 1e6,
            Unit::Number => ((1u64 << bits) - 1) as f64,
        })
    }

    /// How many there were up to each bound, and at the end how many in all.
    pub fn up_to(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What they were together, in this unit.
    pub fn sum(&self, unit: Unit) -> f64 {
        self.sum as f64 / unit.scale()
    }
}

impl AddAssign for Histogram {
    fn add_assign(&mut self, other: Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound of the bucket that a histogram with one sample has it in; `None` for the last bucket.
    fn bucket(histogram: &Histogram, unit: Unit) -> Option<f64> {
        let mut buckets = Histogram::bounds(unit).zip(histogram.up_to());
        buckets
            .find(|(_, count)| *count == 1)
            .map(|(bound, _)| bound)
    }

    #[test]
    fn times_are_below_their_bounds() {
        for (nanoseconds, bound) in [
            (0, Some(1e-6)),
            (999, Some(1e-6)),
            (1000, Some(2e-6)),
            (3_000_000, Some(4096e-6)),
            (8_388_607_999, Some(8.388608)),
            (8_388_608_000, None),
            (u64::MAX, None),
        ] {
            let mut histogram = Histogram::default();
            histogram.took(nanoseconds);
            assert_eq!(bucket(&histogram, Unit::Seconds), bound, "{nanoseconds}");
            assert_eq!(histogram.count(), 1);
            assert_eq!(histogram.sum(Unit::Seconds), nanoseconds as f64 / 1e9);
        }
    }

    #[test]
    fn numbers_are_at_most_their_bounds() {
        for (number, bound) in [
            (0, 0.0),
            (1, 1.0),
            (2, 3.0),
            (3, 3.0),
            (4, 7.0),
            (1000, 1023.0),
        ] {
            let mut histogram = Histogram::default();
            histogram.number(number);
            assert_eq!(bucket(&histogram, Unit::Number), Some(bound), "{number}");
        }
    }

    #[test]
    fn they_add_up() {
        let mut histogram = Histogram::default();
        histogram.number(1);
        let mut other = Histogram::default();
        other.number(1);
        other.number(5);
        histogram += other;
        assert_eq!((histogram.count(), histogram.sum(Unit::Number)), (3, 7.0));
        assert_eq!(histogram.up_to().take(4).collect::<Vec<_>>(), [0, 2, 2, 3]);
        assert_eq!(Unit::of("turn_seconds"), Unit::Seconds);
        assert_eq!(Unit::of("events_per_turn"), Unit::Number);
    }
}
