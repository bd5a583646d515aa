//! The memory of request bodies that are under way, all together, and how long each may take of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How fast a body comes at least, in bytes a second, once it has had the time of one part: whoever sends a byte now and
/// then would else keep its memory for ever.
pub(crate) const BODY_RATE_MIN: u64 = 4 * 1024;
/// The same while bodies are crowded, and the most that a part may take then.
const CROWDED_RATE_MIN: u64 = 64 * 1024;
const CROWDED_PART: Duration = Duration::from_secs(1);

/// What the bodies under way have of the memory that is for them.
#[derive(Debug)]
pub(crate) struct Bodies {
    bytes_max: usize,
    bytes: AtomicUsize,
}

/// A body's part of it, which it has until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    bodies: Arc<Bodies>,
    bytes: usize,
}

impl Bodies {
    pub(crate) fn new(bytes_max: usize) -> Arc<Bodies> {
        Arc::new(Bodies { bytes_max, bytes: AtomicUsize::new(0) })
    }

    /// What they have, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Holds so much for a body. None where that is not to be had.
    pub(super) fn hold(self: &Arc<Bodies>, bytes: usize) -> Option<Held> {
        let mut held = Held { bodies: Arc::clone(self), bytes: 0 };
        held.grow_to(bytes).then_some(held)
    }

    /// When a body is late of which so much has come in this time, the last of it before `since_part`: how long it may
    /// take from now on, and 0 if it is late.
    pub(super) fn left(
        &self,
        received: usize,
        since_begin: Duration,
        since_part: Duration,
        part: Duration,
    ) -> Duration {
        let is_crowded = self.bytes() > self.bytes_max / 2;
        let (part, rate) = if is_crowded { (part.min(CROWDED_PART), CROWDED_RATE_MIN) } else { (part, BODY_RATE_MIN) };
        let whole = part + Duration::from_millis(received as u64 * 1_000 / rate);
        part.saturating_sub(since_part).min(whole.saturating_sub(since_begin))
    }
}

impl Held {
    /// Holds so much, if that is more than before. Whether it could be had.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let fits = |held: usize| held.checked_add(more).filter(|&held| held <= self.bodies.bytes_max);
        let is_held = self.bodies.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if is_held {
            self.bytes += more;
        }
        is_held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_hold_so_much_together_and_give_it_back() {
        let bodies = Bodies::new(10);
        let mut one = bodies.hold(4).expect("there is room");
        let other = bodies.hold(6).expect("there is room");
        assert!(bodies.hold(1).is_none() && bodies.hold(usize::MAX).is_none());
        assert!(one.grow_to(3) && !one.grow_to(5));
        assert_eq!(bodies.bytes(), 10);
        drop(other);
        assert!(one.grow_to(10) && !one.grow_to(11));
        drop(one);
        assert_eq!(bodies.bytes(), 0);
    }

    #[test]
    fn a_body_is_late_without_a_part_and_with_small_ones_that_never_end() {
        let seconds = Duration::from_secs;
        let bodies = Bodies::new(1 << 20);
        let left = |received, begin, part| bodies.left(received, seconds(begin), seconds(part), seconds(10));
        assert_eq!((left(0, 0, 0), left(0, 9, 9), left(0, 10, 10)), (seconds(10), seconds(1), seconds(0)));
        // At the least rate, and a little below it.
        assert_eq!((left(400 << 10, 100, 0), left(400 << 10, 109, 9)), (seconds(10), seconds(1)));
        assert_eq!((left(40 << 10, 19, 0), left(40 << 10, 20, 0)), (seconds(1), seconds(0)));
        let _held = bodies.hold((1 << 19) + 1).expect("there is room");
        assert_eq!((left(0, 0, 0), left(0, 1, 1), left(64 << 10, 2, 0)), (seconds(1), seconds(0), seconds(0)));
        assert_eq!(left(640 << 10, 10, 0), seconds(1));
    }
}
