//! Medians, and histograms of latency.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency told apart, in nanoseconds: beyond, it is this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Digits that count.
const LATENCY_DIGITS: u8 = 3;

/// The middle of a number of values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Spread { median: quantile(&values, 0.5), min, max })
    }
}

/// Within which values the median lies with a probability of 95 %, or more, whatever the distribution: from so few values
/// as cannot tell, none.
pub(crate) fn median_interval(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    // How many values lie below the median is binomial: `outside` may be cut off at either end.
    let (mut probability, mut below, mut outside) = (0.5f64.powi(count as i32), 0.0, 0);
    while below + probability <= 0.025 {
        below += probability;
        probability *= (count - outside) as f64 / (outside + 1) as f64;
        outside += 1;
    }
    let last = count.checked_sub(outside)?;
    (outside > 0).then(|| (values[outside - 1], values[last]))
}

/// The value below which so much of the sorted values lies, at least one, and between two of them where it falls there.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// How long things took.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Latency {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, LATENCY_DIGITS);
        Latency(histogram.expect("the bounds are constant and tested"))
    }

    pub(crate) fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time within which so much of them was done, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e6
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).map(|spread| spread.median), Some(2.5));
    }

    #[test]
    fn intervals_of_the_median() {
        let interval = |count: u32| median_interval((1..=count).map(f64::from));
        // As tables of the sign test have it.
        assert_eq!([interval(0), interval(1), interval(5)], [None; 3]);
        assert_eq!(interval(6), Some((1.0, 6.0)));
        assert_eq!(interval(15), Some((4.0, 12.0)));
        assert_eq!(interval(20), Some((6.0, 15.0)));
        assert_eq!(interval(100), Some((40.0, 61.0)));
    }

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [0.0, 50.0, 99.0, 100.0]);
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
    }

    #[test]
    fn latencies_are_kept_to_three_digits() {
        let mut latency = Latency::new();
        for ms in 1..=1_000 {
            latency.record(Duration::from_millis(ms));
        }
        latency.record(Duration::MAX);
        assert_eq!(latency.count(), 1_001);
        for (share, ms) in [(0.5, 501.0), (0.99, 991.0)] {
            let measured = latency.quantile_ms(share);
            assert!((measured - ms).abs() < ms / 500.0, "{measured} for {ms}");
        }
        assert!(latency.max_ms() >= 600_000.0);
    }
}
