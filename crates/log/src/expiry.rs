use std::collections::VecDeque;

use crate::visibility::Visibility;
use crate::{HubId, RecordView};

/// Into about so many stretches an age is divided: what a follower was given leaves it by stretches.
const STRETCHES_AN_AGE: u64 = 1_000;

/// When rules will hide what a follower was given. It costs some bytes a stretch of time, not a record.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    ages: Vec<Age>,
}

/// The records of one age.
#[derive(Debug)]
struct Age {
    age_ms: u64,
    /// Oldest first.
    stretches: VecDeque<Stretch>,
}

#[derive(Debug)]
struct Stretch {
    /// The retention clock of its first record.
    from_ms: u64,
    /// Its last record.
    last: HubId,
}

impl Expiry {
    /// Notes what a follower is given.
    pub(crate) fn note(&mut self, records: &[RecordView<'_>], visibility: &Visibility) {
        if !visibility.has_rules() {
            return;
        }
        for record in records {
            let age = Iterator::next(&mut record.topics()).and_then(|first| visibility.age_for(first));
            let Some(age) = age else { continue };
            self.add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), record.retention_ms(), record.id);
        }
    }

    fn add(&mut self, age_ms: u64, born_ms: u64, id: HubId) {
        let known = self.ages.iter().position(|age| age.age_ms == age_ms);
        let index = known.unwrap_or_else(|| {
            self.ages.push(Age { age_ms, stretches: VecDeque::new() });
            self.ages.len() - 1
        });
        let stretches = &mut self.ages[index].stretches;
        match stretches.back_mut() {
            Some(last) if born_ms <= last.from_ms.saturating_add(age_ms / STRETCHES_AN_AGE) => last.last = id,
            _ => stretches.push_back(Stretch { from_ms: born_ms, last: id }),
        }
    }

    /// The place up to which a follower has to forget what it was given: nothing behind it is hidden by a
    /// rule. It may be a little early for the last of them.
    pub(crate) fn due(&mut self, now_ms: u64) -> Option<HubId> {
        let mut through = None;
        for Age { age_ms, stretches } in &mut self.ages {
            while let Some(stretch) = stretches.pop_front_if(|first| now_ms.saturating_sub(first.from_ms) > *age_ms) {
                through = through.max(Some(stretch.last));
            }
        }
        through
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> HubId {
        HubId { ms: 1, seq }
    }

    #[test]
    fn each_age_is_due_in_its_time_and_the_newest_counts() {
        let mut expiry = Expiry::default();
        for (n, born_ms) in [0, 10, 20, 30].into_iter().enumerate() {
            expiry.add(if n % 2 == 0 { 100 } else { 500 }, born_ms, id(n as u64));
        }
        assert_eq!(expiry.due(100), None, "not older than its age");
        assert_eq!(expiry.due(101), Some(id(0)));
        assert_eq!(expiry.due(101), None, "once");
        assert_eq!(expiry.due(511), Some(id(2)), "of both ages");
        assert_eq!(expiry.due(10_000), Some(id(3)));
    }

    #[test]
    fn nothing_stays_for_longer_and_stretches_are_few() {
        let mut expiry = Expiry::default();
        let age_ms = 60_000;
        let mut forgotten = None;
        for now_ms in 0..300_000_u64 {
            expiry.add(age_ms, now_ms, id(now_ms));
            forgotten = forgotten.max(expiry.due(now_ms));
            let hidden = now_ms.checked_sub(age_ms + 1).map(id);
            assert!(forgotten >= hidden, "at {now_ms}");
            assert!(expiry.ages[0].stretches.len() as u64 <= STRETCHES_AN_AGE + 2);
        }
    }
}
