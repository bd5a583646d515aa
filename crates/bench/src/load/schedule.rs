use std::time::Duration;

/// Which event is due when, by whom and on which topic: known beforehand, whatever the server does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Events a second, of all publishers together.
    pub(crate) rate: f64,
    pub(crate) events: u64,
    pub(crate) publishers: u32,
    pub(crate) topics: u32,
}

impl Schedule {
    /// When an event is due, from the beginning of the schedule.
    pub(crate) fn due(&self, event: u64) -> Duration {
        Duration::from_secs_f64(event as f64 / self.rate)
    }

    /// How many events are due by then: those before this number.
    pub(crate) fn due_by(&self, elapsed: Duration) -> u64 {
        let near = (elapsed.as_secs_f64() * self.rate) as u64;
        // Rounding may be off by one in either direction.
        let mut due = near.saturating_sub(1);
        while due < self.events && self.due(due) <= elapsed {
            due += 1;
        }
        due.min(self.events)
    }

    /// Publishers take turns, and so do topics: shifted by one each time all publishers had their turn, or with as many
    /// publishers as topics each would have its own.
    pub(crate) fn topic(&self, event: u64) -> u32 {
        let round = event / u64::from(self.publishers);
        ((event + round) % u64::from(self.topics)) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn events_are_due_one_after_the_other() {
        let schedule = Schedule { rate: 400.0, events: 3, publishers: 2, topics: 1 };
        assert_eq!([0, 1, 2].map(|event| schedule.due(event)), [0, 2_500, 5_000].map(Duration::from_micros));
        let by = |micros| schedule.due_by(Duration::from_micros(micros));
        assert_eq!([by(0), by(2_499), by(2_500), by(4_999), by(5_000), by(9_000_000)], [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn each_publisher_comes_to_each_topic() {
        let schedule = Schedule { rate: 1.0, events: 0, publishers: 4, topics: 4 };
        let mut pairs: Vec<_> = (0..16).map(|event| (event % 4, schedule.topic(event))).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 16);
    }

    proptest! {
        /// However time is rounded, an event counts as due from its time on and not before.
        #[test]
        fn what_is_due_is_due(rate in 0.1f64..1e6, events in 1u64..1_000_000, nanos in 0u64..100_000_000_000) {
            let schedule = Schedule { rate, events, publishers: 1, topics: 1 };
            let elapsed = Duration::from_nanos(nanos);
            let due = schedule.due_by(elapsed);
            prop_assert!(due <= events);
            prop_assert!(due == 0 || schedule.due(due - 1) <= elapsed);
            prop_assert!(due == events || schedule.due(due) > elapsed);
        }
    }
}
