use std::time::{Duration, Instant};

use tidewire_sim::Moment;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// The clock of one test: microseconds since it began.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { began: instant() }
    }

    /// The moment now.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// If it does not within `within`; the message says what was waited for.
#[track_caller]
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let began = instant();
    while !condition() {
        assert!(began.elapsed() < within, "{what}: not within {within:?}");
        pause(POLL);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's deadline and clock are read here and nowhere else")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// For paces and between attempts, never to hide a race.
#[expect(
    clippy::disallowed_methods,
    reason = "a slow reader is slow, and a port that refuses is asked again a little later"
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
