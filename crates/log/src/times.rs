//! The clocks of a log: what bounds its ids, and what its retention goes by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::Clock;

/// How far ahead of the clock the floor is set, in milliseconds.
pub(crate) const FLOOR_AHEAD_MS: u64 = 60_000;

/// What the clocks say at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The wall clock: milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    /// No id may have more milliseconds than this: the floor, which is durable.
    pub(crate) id_ms_max: u64,
    /// The retention clock, in milliseconds.
    pub(crate) retention_ms: u64,
    /// The time since some moment, unmoved by what is done to the wall clock.
    pub(crate) monotonic: Duration,
}

impl Moment {
    /// The time that the next id takes its milliseconds from.
    pub(crate) fn id_ms(&self) -> u64 {
        self.now_ms.min(self.id_ms_max)
    }
}

/// What of the clocks outlives the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeptTimes {
    /// The floor: no id with more milliseconds was given out.
    pub(crate) floor_ms: u64,
    /// The retention clock when this was written.
    pub(crate) retention_ms: u64,
    /// The wall clock when this was written.
    pub(crate) wall_ms: u64,
}

/// A clock that ages events: the wall clock, but it never goes back, and jumps of the wall clock
/// hardly move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetentionClock {
    reading_ms: u64,
    wall_ms: u64,
    monotonic: Duration,
}

impl RetentionClock {
    /// Goes on from what was kept: by the wall time that has passed since, at most `catch_up_ms`.
    pub(crate) fn go_on(kept: &KeptTimes, now_ms: u64, monotonic: Duration, catch_up_ms: u64) -> RetentionClock {
        let passed_ms = now_ms.saturating_sub(kept.wall_ms).min(catch_up_ms);
        RetentionClock { reading_ms: kept.retention_ms.saturating_add(passed_ms), wall_ms: now_ms, monotonic }
    }

    /// Moves on with the wall clock, at most twice as fast as monotonic time. Returns the reading.
    pub(crate) fn advance(&mut self, now_ms: u64, monotonic: Duration) -> u64 {
        let wall_passed_ms = now_ms.saturating_sub(self.wall_ms);
        let passed_ms = u64::try_from(monotonic.saturating_sub(self.monotonic).as_millis()).unwrap_or(u64::MAX);
        if passed_ms > 0 {
            self.reading_ms = self.reading_ms.saturating_add(wall_passed_ms.min(passed_ms.saturating_mul(2)));
            // What is less than a millisecond stays for the next time.
            self.monotonic += Duration::from_millis(passed_ms);
            self.wall_ms = now_ms;
        }
        self.reading_ms
    }
}

/// The clocks of an open log, shared by its threads.
pub(crate) struct Times {
    clock: Arc<dyn Clock>,
    floor_ms: AtomicU64,
    retention: Mutex<RetentionClock>,
}

impl Times {
    /// Goes on from what was kept.
    pub(crate) fn go_on(kept: &KeptTimes, clock: Arc<dyn Clock>, catch_up: Duration) -> Times {
        let catch_up_ms = u64::try_from(catch_up.as_millis()).unwrap_or(u64::MAX);
        let retention = RetentionClock::go_on(kept, clock.now_ms(), clock.monotonic(), catch_up_ms);
        Times { clock, floor_ms: AtomicU64::new(kept.floor_ms), retention: Mutex::new(retention) }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// What the clocks say now.
    pub(crate) fn moment(&self) -> Moment {
        let now_ms = self.clock.now_ms();
        let mut retention = self.retention.lock().unwrap_or_else(PoisonError::into_inner);
        let monotonic = self.clock.monotonic();
        let retention_ms = retention.advance(now_ms, monotonic);
        Moment { now_ms, id_ms_max: self.floor_ms.load(Ordering::Acquire), retention_ms, monotonic }
    }

    /// What is to be kept now: the floor moved ahead, never back.
    pub(crate) fn to_keep(&self) -> KeptTimes {
        let Moment { now_ms, id_ms_max, retention_ms, .. } = self.moment();
        KeptTimes { floor_ms: id_ms_max.max(now_ms.saturating_add(FLOOR_AHEAD_MS)), retention_ms, wall_ms: now_ms }
    }

    /// Moves the retention clock on to a reading that was once seen.
    pub(crate) fn raise_retention(&self, retention_ms: u64) {
        let mut retention = self.retention.lock().unwrap_or_else(PoisonError::into_inner);
        retention.reading_ms = retention.reading_ms.max(retention_ms);
    }

    /// Lets ids go up to a floor that has become durable.
    pub(crate) fn raise_floor(&self, floor_ms: u64) {
        self.floor_ms.fetch_max(floor_ms, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn clock() -> RetentionClock {
        RetentionClock { reading_ms: 1_000, wall_ms: 50_000, monotonic: at(0) }
    }

    #[test]
    fn it_goes_with_the_wall_clock_and_not_back() {
        let mut clock = clock();
        assert_eq!(clock.advance(50_700, at(700)), 1_700);
        assert_eq!(clock.advance(40_000, at(1_000)), 1_700, "the wall clock was set back");
        assert_eq!(clock.advance(40_500, at(1_500)), 2_200);
    }

    #[test]
    fn a_jump_of_the_wall_clock_moves_it_by_twice_the_time_that_passed() {
        let mut clock = clock();
        assert_eq!(clock.advance(50_000 + 1_000_000_000, at(100)), 1_200);
        assert_eq!(clock.advance(50_000 + 1_000_000_100, at(200)), 1_300, "the jump is forgotten");
        assert_eq!(clock.advance(u64::MAX, at(200)), 1_300, "no time has passed");
    }

    #[test]
    fn parts_of_a_millisecond_are_not_lost() {
        let mut clock = clock();
        for tenth in 1..=100_u64 {
            clock.advance(50_000 + tenth / 10, Duration::from_micros(tenth * 100));
        }
        assert_eq!(clock.advance(50_010, at(10)), 1_010);
    }

    #[test]
    fn a_start_adds_the_wall_time_since_up_to_a_limit() {
        let kept = KeptTimes { floor_ms: 0, retention_ms: 1_000, wall_ms: 50_000 };
        let reading = |now_ms| RetentionClock::go_on(&kept, now_ms, at(5), 400).reading_ms;
        assert_eq!(reading(50_300), 1_300);
        assert_eq!(reading(50_401), 1_400);
        assert_eq!(reading(10), 1_000, "the clock went back");
    }
}
