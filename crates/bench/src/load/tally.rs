use std::collections::HashMap;

use super::events::Found;

/// Stretches of missing events that are remembered, so that what comes late is told from what comes twice. Beyond, what is
/// late counts as doubled.
const STRETCHES_MAX: usize = 1 << 20;

/// What each subscriber has received, beside what was sent to it: on each lane its topic's events are numbered from 0, and
/// are to come once and in order.
#[derive(Debug)]
pub(crate) struct Tally {
    lanes: usize,
    topics: u32,
    run: u32,
    /// The number that is due, for each subscriber and lane.
    due: Vec<u32>,
    /// What is missing below that, as first and last number.
    missing: HashMap<usize, Vec<(u32, u32)>>,
    stretches: usize,
    counts: Counts,
}

/// Deliveries, by what is to be said of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Each counted once, whenever it came.
    pub(crate) delivered: u64,
    pub(crate) doubled: u64,
    /// They came behind a later one of the same lane.
    pub(crate) reordered: u64,
    /// Of another subscriber's topic, or of no lane.
    pub(crate) strayed: u64,
    /// Without a stamp, or with that of another run.
    pub(crate) foreign: u64,
    /// Of those delivered: with other data than was published.
    pub(crate) changed: u64,
}

impl Tally {
    /// Subscriber `n` watches topic `n % topics`.
    pub(crate) fn new(run: u32, subscribers: usize, topics: u32, lanes: usize) -> Tally {
        Tally {
            lanes,
            topics,
            run,
            due: vec![0; subscribers * lanes],
            missing: HashMap::new(),
            stretches: 0,
            counts: Counts::default(),
        }
    }

    /// One event was delivered. Whether it is one that the subscriber was to get, and had not.
    pub(crate) fn deliver(&mut self, subscriber: usize, found: Option<Found>) -> bool {
        let Some(Found { stamp, is_whole }) = found.filter(|found| found.stamp.run == self.run) else {
            self.counts.foreign += 1;
            return false;
        };
        let lane = stamp.lane as usize;
        if lane >= self.lanes || stamp.topic != subscriber as u32 % self.topics {
            self.counts.strayed += 1;
            return false;
        }
        let place = subscriber * self.lanes + lane;
        let due = &mut self.due[place];
        if stamp.number == *due {
            *due += 1;
        } else if stamp.number > *due {
            if self.stretches < STRETCHES_MAX {
                self.missing.entry(place).or_default().push((*due, stamp.number - 1));
                self.stretches += 1;
            }
            *due = stamp.number + 1;
        } else if self.take_missing(place, stamp.number) {
            self.counts.reordered += 1;
        } else {
            self.counts.doubled += 1;
            return false;
        }
        self.counts.delivered += 1;
        self.counts.changed += u64::from(!is_whole);
        true
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The number is not missing any more. Whether it was.
    fn take_missing(&mut self, place: usize, number: u32) -> bool {
        let Some(stretches) = self.missing.get_mut(&place) else { return false };
        let Some(at) = stretches.iter().position(|&(first, last)| (first..=last).contains(&number)) else {
            return false;
        };
        let (first, last) = stretches.swap_remove(at);
        self.stretches -= 1;
        for (first, last) in [(first, number.wrapping_sub(1)), (number + 1, last)] {
            // The first is empty where the number is the first one, also where that is 0.
            if first <= last && last != u32::MAX {
                stretches.push((first, last));
                self.stretches += 1;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::stamp::Stamp;
    use super::*;

    fn found(topic: u32, lane: u32, number: u32) -> Option<Found> {
        Some(Found { stamp: Stamp { run: 7, topic, lane, number, due: Duration::ZERO }, is_whole: true })
    }

    fn counts(delivered: &[(u32, u32)]) -> Counts {
        let mut tally = Tally::new(7, 1, 1, 2);
        delivered.iter().for_each(|&(lane, number)| _ = tally.deliver(0, found(0, lane, number)));
        tally.counts()
    }

    #[test]
    fn lanes_have_an_order_each() {
        let all = counts(&[(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)]);
        assert_eq!(all, Counts { delivered: 5, ..Counts::default() });
    }

    #[test]
    fn doubled_and_late_are_told_apart() {
        assert_eq!(counts(&[(0, 0), (0, 0)]), Counts { delivered: 1, doubled: 1, ..Counts::default() });
        assert_eq!(counts(&[(0, 1), (0, 0)]), Counts { delivered: 2, reordered: 1, ..Counts::default() });
        assert_eq!(
            counts(&[(0, 5), (0, 3), (0, 3), (0, 5)]),
            Counts { delivered: 2, reordered: 1, doubled: 2, ..Counts::default() }
        );
    }

    #[test]
    fn what_nobody_sent_there_is_strayed_or_foreign() {
        let mut tally = Tally::new(7, 3, 2, 1);
        assert!(tally.deliver(2, found(0, 0, 0)));
        assert!(!tally.deliver(1, found(0, 0, 0)), "it is of another topic");
        assert!(!tally.deliver(0, found(0, 1, 0)), "there is one lane");
        assert!(!tally.deliver(0, None));
        let other = found(0, 0, 0).map(|found| Found { stamp: Stamp { run: 8, ..found.stamp }, ..found });
        assert!(!tally.deliver(0, other));
        assert_eq!(tally.counts(), Counts { delivered: 1, strayed: 2, foreign: 2, ..Counts::default() });
    }

    #[test]
    fn what_is_changed_is_delivered_and_told() {
        let mut tally = Tally::new(7, 1, 1, 1);
        assert!(tally.deliver(0, found(0, 0, 0).map(|found| Found { is_whole: false, ..found })));
        assert_eq!(tally.counts(), Counts { delivered: 1, changed: 1, ..Counts::default() });
    }

    proptest! {
        /// Each number counts once, in whatever order they come.
        #[test]
        fn a_set_says_the_same(numbers in prop::collection::vec(0..40u32, 0..200)) {
            let (mut seen, mut reordered, mut highest) = (HashSet::new(), 0, None);
            for &number in &numbers {
                if seen.insert(number) {
                    reordered += u64::from(highest.is_some_and(|highest| number < highest));
                }
                highest = highest.max(Some(number));
            }
            let (delivered, doubled) = (seen.len() as u64, (numbers.len() - seen.len()) as u64);
            let deliveries: Vec<_> = numbers.iter().map(|&number| (0, number)).collect();
            prop_assert_eq!(counts(&deliveries), Counts { delivered, doubled, reordered, ..Counts::default() });
        }
    }
}
