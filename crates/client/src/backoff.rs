use std::time::Duration;

/// How long to wait before the next try. Full jitter: anywhere between nothing and a ceiling that doubles with each
/// failure, so that many clients that lost one server do not come back together. On top of what the server asked for.
///
/// It never gives up. Randomness is an argument.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    floor: Duration,
    failures: u32,
}

impl Backoff {
    /// The ceiling after the first failure.
    pub const FIRST_DEFAULT: Duration = Duration::from_secs(1);
    /// The ceiling that is never passed.
    pub const LONGEST_DEFAULT: Duration = Duration::from_secs(30);
    /// The most that a server can ask for, and the most that `longest` can be: a client must not be sent away for good
    /// by one number.
    pub const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

    /// A rule with these ceilings, after no failure. `longest` is at most [`Backoff::WAIT_MAX`].
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.min(Self::WAIT_MAX), floor: Duration::ZERO, failures: 0 }
    }

    /// The server's reconnection time (`retry:`): no wait is shorter, until it names another. At most
    /// [`Backoff::WAIT_MAX`].
    pub fn set_floor(&mut self, floor: Duration) {
        self.floor = floor.min(Self::WAIT_MAX);
    }

    /// A connection was of use: the next failure is the first again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure, and says how long to wait: at least the floor and `at_least` (a `Retry-After`, at most
    /// [`Backoff::WAIT_MAX`]), and in addition `random` of the ceiling. `random` is from 0 to 1; anything
    /// else counts as the nearer of them, NaN as 0.
    pub fn failed(&mut self, at_least: Duration, random: f64) -> Duration {
        let doubled = 1u32.checked_shl(self.failures).and_then(|factor| self.first.checked_mul(factor));
        let ceiling = doubled.unwrap_or(self.longest).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let floor = self.floor.max(at_least.min(Self::WAIT_MAX));
        let share = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
        floor.saturating_add(ceiling.mul_f64(share))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Self::FIRST_DEFAULT, Self::LONGEST_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_and_stays_there() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<Duration> = (0..7).map(|_| backoff.failed(Duration::ZERO, 1.0)).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 30, 30].map(seconds));
        assert!((0..10_000).all(|_| backoff.failed(Duration::ZERO, 1.0) == seconds(30)));
    }

    #[test]
    fn the_wait_is_anywhere_below_the_ceiling() {
        let mut backoff = Backoff::default();
        backoff.failed(Duration::ZERO, 0.0);
        assert_eq!(backoff.clone().failed(Duration::ZERO, 0.0), Duration::ZERO);
        assert_eq!(backoff.clone().failed(Duration::ZERO, 0.25), Duration::from_millis(500));
        for (random, expected) in [(f64::NAN, 0), (-1.0, 0), (f64::INFINITY, 2)] {
            assert_eq!(backoff.clone().failed(Duration::ZERO, random), seconds(expected));
        }
    }

    #[test]
    fn a_success_begins_anew_and_keeps_the_floor() {
        let mut backoff = Backoff::default();
        backoff.set_floor(seconds(5));
        backoff.failed(Duration::ZERO, 1.0);
        assert_eq!(backoff.failed(Duration::ZERO, 1.0), seconds(7));
        backoff.succeeded();
        assert_eq!(backoff.failed(Duration::ZERO, 1.0), seconds(6));
    }

    #[test]
    fn the_longer_of_what_the_server_asked_for_counts_up_to_an_hour() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(seconds(7), 0.0), seconds(7));
        backoff.set_floor(seconds(9));
        assert_eq!(backoff.failed(seconds(7), 0.0), seconds(9));
        assert_eq!(backoff.failed(Backoff::WAIT_MAX + seconds(1), 0.0), Backoff::WAIT_MAX);
        backoff.set_floor(Duration::MAX);
        assert_eq!(backoff.failed(Duration::ZERO, 0.0), Backoff::WAIT_MAX);
        let mut endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(endless.failed(Duration::ZERO, 1.0), Backoff::WAIT_MAX);
    }
}
