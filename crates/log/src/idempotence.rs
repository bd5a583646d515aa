use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::record::{Attributes, Draft, Head, Topics};
use crate::{HubId, NewEvent, RecordView, TRACEPARENT};

/// What makes two publications one: a hash of first topic and publisher's id, and one of
/// everything else that the publisher said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) key: u128,
    pub(crate) content: u64,
}

/// Takes fingerprints. The hashes are keyed at random, so that nobody can make two keys collide;
/// they live as long as the process, and are taken again from the records after a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprints {
    high: RandomState,
    low: RandomState,
}

impl Fingerprints {
    /// The fingerprint of an event that is to be appended; none without a publisher's id.
    pub(crate) fn of_event(&self, event: &NewEvent, draft: &Draft) -> Option<Fingerprint> {
        let id = event.publisher_id()?.as_str();
        let topic = event.first_topic().as_str();
        Some(Fingerprint {
            key: self.key(topic, id),
            content: self.content(draft.flags, draft.type_bytes, draft.named(), draft.attributes(), draft.content()),
        })
    }

    /// The fingerprint of an event that was appended.
    pub(crate) fn of_record(&self, record: &RecordView<'_>) -> Option<Fingerprint> {
        Some(Fingerprint {
            key: self.key_of(record.head())?,
            content: self.content(
                record.flags(),
                record.type_bytes(),
                record.named(),
                record.attributes(),
                record.content(),
            ),
        })
    }

    /// The key of an event that was appended.
    pub(crate) fn key_of(&self, head: &Head<'_>) -> Option<u128> {
        let topic: Option<&str> = Topics::next(&mut head.topics());
        Some(self.key(topic?, head.publisher_id?))
    }

    fn key(&self, topic: &str, id: &str) -> u128 {
        let half = |state: &RandomState| u128::from(state.hash_one((topic, id)));
        half(&self.high) << 64 | half(&self.low)
    }

    fn content(&self, flags: u16, type_bytes: u16, names: &[u8], attributes: Attributes<'_>, content: &[u8]) -> u64 {
        let mut hasher = self.high.build_hasher();
        hasher.write_u16(flags);
        hasher.write_u16(type_bytes);
        hasher.write_usize(names.len());
        hasher.write(names);
        for (key, value) in attributes.filter(|(key, _)| *key != TRACEPARENT) {
            (key, value).hash(&mut hasher);
        }
        hasher.write(content);
        hasher.finish()
    }
}

/// The publications of the idempotence window. Times are those of the retention clock, which no jump of the wall
/// clock moves.
#[derive(Debug)]
pub(crate) struct Idempotence {
    window_ms: u64,
    entries_max: usize,
    entries: HashMap<u128, Entry>,
    /// In the order in which they came; an entry here may have been replaced in the map.
    order: VecDeque<(u128, HubId)>,
    pub(crate) evictions: u64,
}

/// An event that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: HubId,
    pub(crate) content: u64,
    /// When it was appended, on the retention clock.
    pub(crate) time_ms: u64,
}

impl Idempotence {
    /// Remembers publications for `window_ms` milliseconds, at most `entries_max` of them.
    pub(crate) fn new(window_ms: u64, entries_max: usize) -> Idempotence {
        Idempotence { window_ms, entries_max, entries: HashMap::new(), order: VecDeque::new(), evictions: 0 }
    }

    /// The publication with this key in the window before `now_ms`.
    pub(crate) fn find(&self, key: u128, now_ms: u64) -> Option<Entry> {
        self.entries.get(&key).copied().filter(|entry| self.is_live(entry.time_ms, now_ms))
    }

    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, id: HubId, time_ms: u64) {
        if self.entries_max == 0 {
            return;
        }
        let entry = Entry { id, content: fingerprint.content, time_ms };
        self.entries.insert(fingerprint.key, entry);
        self.order.push_back((fingerprint.key, id));
        while self.order.len() > self.entries_max {
            self.evictions += u64::from(self.drop_oldest());
        }
    }

    /// Forgets the publications after a place: they were not committed.
    pub(crate) fn forget_after(&mut self, place: HubId) {
        while let Some((key, id)) = self.order.pop_back_if(|(_, id)| *id > place) {
            if self.entries.get(&key).is_some_and(|entry| entry.id == id) {
                self.entries.remove(&key);
            }
        }
    }

    /// Lets go what the window has passed.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(&(key, id)) = self.order.front() {
            let entry = self.entries.get(&key).filter(|entry| entry.id == id);
            if entry.is_some_and(|entry| self.is_live(entry.time_ms, now_ms)) {
                break;
            }
            self.drop_oldest();
        }
    }

    /// Forgets what was published at or below a place.
    pub(crate) fn forget(&mut self, through: HubId) {
        while self.order.front().is_some_and(|(_, id)| *id <= through) {
            self.drop_oldest();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a publication of `time_ms` still counts at `now_ms`. After the clock went back it
    /// counts: better a retry recognised for too long than an event twice.
    pub(crate) fn is_live(&self, time_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(time_ms) < self.window_ms
    }

    /// Whether that was a live entry and not one that has been replaced.
    fn drop_oldest(&mut self) -> bool {
        let Some((key, id)) = self.order.pop_front() else { return false };
        let is_current = self.entries.get(&key).is_some_and(|entry| entry.id == id);
        if is_current {
            self.entries.remove(&key);
        }
        is_current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(key: u128) -> Fingerprint {
        Fingerprint { key, content: 0 }
    }

    fn id(seq: u64) -> HubId {
        HubId { ms: 1, seq }
    }

    #[test]
    fn an_entry_lives_for_the_window() {
        let mut held = Idempotence::new(100, 10);
        held.insert(print(1), id(1), 1_000);
        assert!(held.find(1, 1_099).is_some());
        assert!(held.find(1, 900).is_some(), "the clock went back");
        assert!(held.find(1, 1_100).is_none());
        held.expire(1_099);
        assert_eq!(held.len(), 1);
        held.expire(1_100);
        assert_eq!((held.len(), held.order.len(), held.evictions), (0, 0, 0));
    }

    #[test]
    fn one_entry_more_than_the_limit_drops_the_oldest_and_is_counted() {
        let mut held = Idempotence::new(100, 2);
        held.insert(print(1), id(1), 0);
        held.insert(print(2), id(2), 0);
        assert_eq!(held.evictions, 0);
        held.insert(print(3), id(3), 0);
        assert_eq!((held.len(), held.evictions), (2, 1));
        assert!(held.find(1, 0).is_none());
        assert!(held.find(2, 0).is_some() && held.find(3, 0).is_some());
    }

    #[test]
    fn what_lies_at_or_below_a_place_is_forgotten_and_is_no_eviction() {
        let mut held = Idempotence::new(100, 10);
        for key in 1..=4 {
            held.insert(print(key.into()), id(key), 0);
        }
        held.insert(print(1), id(5), 0);
        held.forget(id(3));
        assert!(held.find(2, 0).is_none() && held.find(3, 0).is_none());
        assert!(held.find(1, 0).is_some(), "it was published again since");
        assert_eq!((held.len(), held.order.len(), held.evictions), (2, 2, 0));
    }

    #[test]
    fn what_was_not_committed_is_forgotten_and_the_rest_is_not() {
        let mut held = Idempotence::new(100, 10);
        held.insert(print(1), id(1), 0);
        held.insert(print(2), id(2), 0);
        held.insert(print(3), id(3), 0);
        held.forget_after(id(1));
        assert!(held.find(1, 0).is_some());
        assert!(held.find(2, 0).is_none() && held.find(3, 0).is_none());
        assert_eq!((held.len(), held.order.len(), held.evictions), (1, 1, 0));
    }

    #[test]
    fn a_key_used_again_after_the_window_is_held_as_long_as_the_new_one() {
        let mut held = Idempotence::new(100, 10);
        held.insert(print(1), id(1), 0);
        held.insert(print(1), id(2), 150);
        held.expire(150);
        assert_eq!(held.find(1, 150).map(|entry| entry.id), Some(id(2)));
        held.expire(249);
        assert_eq!(held.len(), 1);
        held.expire(250);
        assert_eq!((held.len(), held.order.len()), (0, 0));
    }
}
