//! The only clock of the benchmark, and its only pauses.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(2);

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time, and reads the clock here only")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `condition` holds, for at most `within`. Whether it does.
#[expect(clippy::disallowed_methods, reason = "it waits for another process, which tells nobody when it is done")]
pub(crate) fn wait_until(within: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let began = now();
    while !condition() {
        if began.elapsed() > within {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// Waits for a time, if it is not over.
#[expect(clippy::disallowed_methods, reason = "a schedule is kept by waiting for its times")]
pub(crate) fn sleep_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(now()));
}
