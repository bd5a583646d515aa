//! What was erased: which records are hidden by it, and whose bytes are still to be overwritten.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, RangeInclusive};

use crate::HubId;
use crate::record::Head;

/// Tombstones that are kept, at most. Each stays until the low-water mark has passed it.
pub const TOMBSTONES_MAX: usize = 100_000;
/// What the topics of tombstones may take together, in bytes.
pub const TOMBSTONE_TOPICS_BYTES_MAX: usize = 16 << 20;

/// What was erased by one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tombstone {
    /// The event with this id.
    Event(HubId),
    /// Every event that bears the topic, up to a place.
    Topic { topic: Box<str>, through: HubId },
}

impl Tombstone {
    /// The newest place that it may hide.
    pub(crate) fn through(&self) -> HubId {
        match self {
            Tombstone::Event(id) => *id,
            Tombstone::Topic { through, .. } => *through,
        }
    }
}

/// The tombstones that are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tombstones {
    events: BTreeMap<HubId, Bytes>,
    topics: HashMap<Box<str>, (HubId, Bytes)>,
    topics_bytes: usize,
    /// Nothing at or below is retained, and no tombstone for it is kept.
    low_water: HubId,
}

/// What has become of the bytes of what was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// They may still be there.
    Pending,
    /// They are overwritten, durably.
    Overwritten,
}

impl Tombstones {
    pub(crate) fn len(&self) -> usize {
        self.events.len() + self.topics.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What their topics take together, in bytes.
    pub(crate) fn topics_bytes(&self) -> usize {
        self.topics_bytes
    }

    /// The place at or below which nothing is retained.
    pub(crate) fn low_water(&self) -> HubId {
        self.low_water
    }

    /// Whether a record was erased.
    pub(crate) fn cover(&self, head: &Head<'_>) -> bool {
        self.cover_event(head.id, head.topics())
    }

    /// Whether the event with this id and these topics was erased.
    pub(crate) fn cover_event<'a>(&self, id: HubId, mut topics: impl Iterator<Item = &'a str>) -> bool {
        let is_erased = |topic| self.topics.get(topic).is_some_and(|(through, _)| id <= *through);
        self.events.contains_key(&id) || !self.topics.is_empty() && topics.any(is_erased)
    }

    /// Whether all of these can be kept as well.
    pub(crate) fn have_room_for(&self, tombstones: &[Tombstone]) -> bool {
        let mut more = 0;
        let mut more_bytes = 0;
        for tombstone in tombstones {
            match tombstone {
                Tombstone::Event(id) => more += usize::from(!self.events.contains_key(id)),
                Tombstone::Topic { topic, .. } if !self.topics.contains_key(topic) => {
                    more += 1;
                    more_bytes += topic.len();
                }
                Tombstone::Topic { .. } => {}
            }
        }
        self.len() + more <= TOMBSTONES_MAX && self.topics_bytes + more_bytes <= TOMBSTONE_TOPICS_BYTES_MAX
    }

    /// Keeps a tombstone. One of the same topic is replaced, unless it reaches further.
    pub(crate) fn put(&mut self, tombstone: &Tombstone, bytes: Bytes) {
        if tombstone.through() <= self.low_water {
            return;
        }
        match tombstone {
            Tombstone::Event(id) => {
                self.events.insert(*id, bytes);
            }
            Tombstone::Topic { topic, through } => match self.topics.get_mut(topic) {
                Some(known) if known.0 > *through => {}
                Some(known) => *known = (*through, bytes),
                None => {
                    self.topics_bytes += topic.len();
                    self.topics.insert(topic.clone(), (*through, bytes));
                }
            },
        }
    }

    /// Forgets what lies at or below the low-water mark.
    pub(crate) fn drop_below(&mut self, low_water: HubId) {
        if low_water <= self.low_water {
            return;
        }
        self.low_water = low_water;
        self.events.retain(|id, _| *id > low_water);
        let topics_bytes = &mut self.topics_bytes;
        self.topics.retain(|topic, (through, _)| {
            let stays = *through > low_water;
            if !stays {
                *topics_bytes -= topic.len();
            }
            stays
        });
    }

    /// Every tombstone, with what has become of the bytes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tombstone, Bytes)> + '_ {
        let events = self.events.iter().map(|(id, bytes)| (Tombstone::Event(*id), *bytes));
        let topics = self
            .topics
            .iter()
            .map(|(topic, (through, bytes))| (Tombstone::Topic { topic: topic.clone(), through: *through }, *bytes));
        events.chain(topics)
    }

    /// Whether the bytes of some are still to be overwritten.
    pub(crate) fn are_pending(&self) -> bool {
        let of_topics = self.topics.values().map(|(_, bytes)| bytes);
        of_topics.chain(self.events.values()).any(|bytes| *bytes == Bytes::Pending)
    }

    /// Those whose bytes are still to be overwritten.
    pub(crate) fn pending(&self) -> Tombstones {
        let mut pending = Tombstones { low_water: self.low_water, ..Tombstones::default() };
        for (tombstone, _) in self.iter().filter(|(_, bytes)| *bytes == Bytes::Pending) {
            pending.put(&tombstone, Bytes::Pending);
        }
        pending
    }

    /// The events of a stretch of the log (`after` itself is not of it) that were erased by their id.
    pub(crate) fn events_in(&self, after: HubId, through: HubId) -> impl Iterator<Item = HubId> + '_ {
        let range = (Bound::Excluded(after), Bound::Included(through.max(after)));
        // An empty stretch is no range of a map.
        let events = (after < through).then(|| self.events.range(range));
        events.into_iter().flatten().map(|(id, _)| *id)
    }

    /// Between which places of a stretch of the log (`after` itself is not of it) something may be covered.
    pub(crate) fn reach(&self, after: HubId, last: HubId) -> Option<RangeInclusive<HubId>> {
        if last <= after {
            return None;
        }
        let of_topics = self.topics.values().map(|(through, _)| *through).filter(|through| *through > after).max();
        let mut events = self.events.range((Bound::Excluded(after), Bound::Included(last)));
        let first_event = events.next().map(|(id, _)| *id);
        let last_event = events.next_back().map(|(id, _)| *id).or(first_event);
        let first = if of_topics.is_some() { after } else { first_event? };
        Some(first..=of_topics.map(|through| through.min(last)).max(last_event)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> HubId {
        HubId { ms: 1, seq }
    }

    fn topic(topic: &str, through: u64) -> Tombstone {
        Tombstone::Topic { topic: topic.into(), through: id(through) }
    }

    fn covers(tombstones: &Tombstones, seq: u64, topics: &[&str]) -> bool {
        tombstones.cover_event(id(seq), topics.iter().copied())
    }

    #[test]
    fn an_event_is_covered_by_its_id_or_by_any_of_its_topics_up_to_a_place() {
        let mut tombstones = Tombstones::default();
        tombstones.put(&Tombstone::Event(id(3)), Bytes::Pending);
        tombstones.put(&topic("a", 5), Bytes::Pending);
        assert!(covers(&tombstones, 3, &["x"]) && !covers(&tombstones, 4, &["x"]));
        assert!(covers(&tombstones, 5, &["x", "a"]) && !covers(&tombstones, 6, &["x", "a"]));
        tombstones.put(&topic("a", 4), Bytes::Overwritten);
        assert!(covers(&tombstones, 5, &["a"]), "one that reaches less far changes nothing");
        tombstones.put(&topic("a", 5), Bytes::Overwritten);
        assert_eq!(tombstones.pending().iter().collect::<Vec<_>>(), [(Tombstone::Event(id(3)), Bytes::Pending)]);
        tombstones.put(&topic("a", 9), Bytes::Pending);
        assert_eq!((tombstones.pending().len(), tombstones.len()), (2, 2), "there is more to overwrite now");
    }

    #[test]
    fn one_more_than_the_limit_has_no_room_until_the_mark_has_passed_others() {
        let mut tombstones = Tombstones::default();
        for seq in 1..=TOMBSTONES_MAX as u64 {
            assert!(tombstones.have_room_for(&[Tombstone::Event(id(seq))]), "{seq}");
            tombstones.put(&Tombstone::Event(id(seq)), Bytes::Pending);
        }
        let one_more = Tombstone::Event(id(1 << 40));
        assert!(!tombstones.have_room_for(std::slice::from_ref(&one_more)));
        assert!(tombstones.have_room_for(&[Tombstone::Event(id(7))]), "it is kept already");
        tombstones.drop_below(id(1));
        assert!(tombstones.have_room_for(std::slice::from_ref(&one_more)));
        assert!(!tombstones.have_room_for(&[one_more, topic("a", 1 << 40)]));
    }

    #[test]
    fn topics_have_a_limit_in_bytes() {
        let mut tombstones = Tombstones::default();
        let name = |n: usize| format!("{n:04096}");
        for n in 0..TOMBSTONE_TOPICS_BYTES_MAX / 4096 {
            tombstones.put(&topic(&name(n), 5), Bytes::Pending);
        }
        assert!(tombstones.have_room_for(&[topic(&name(0), 9), Tombstone::Event(id(1))]));
        assert!(!tombstones.have_room_for(&[topic("a", 9)]));
        tombstones.drop_below(id(5));
        assert!(tombstones.is_empty() && tombstones.have_room_for(&[topic("a", 9)]));
        tombstones.put(&topic("a", 5), Bytes::Pending);
        assert!(tombstones.is_empty(), "there is nothing left of it");
    }

    #[test]
    fn what_it_reaches_of_a_stretch_is_told() {
        let mut tombstones = Tombstones::default();
        assert_eq!(tombstones.reach(id(0), id(100)), None);
        tombstones.put(&Tombstone::Event(id(10)), Bytes::Pending);
        tombstones.put(&Tombstone::Event(id(20)), Bytes::Pending);
        assert_eq!(tombstones.reach(id(0), id(100)), Some(id(10)..=id(20)));
        assert_eq!(tombstones.reach(id(10), id(100)), Some(id(20)..=id(20)));
        assert_eq!(tombstones.reach(id(20), id(100)), None);
        assert_eq!(tombstones.reach(id(5), id(5)), None);
        tombstones.put(&topic("a", 15), Bytes::Pending);
        assert_eq!(tombstones.reach(id(0), id(12)), Some(id(0)..=id(12)));
        assert_eq!(tombstones.reach(id(12), id(100)), Some(id(12)..=id(20)));
        assert_eq!(tombstones.reach(id(15), id(19)), None);
    }
}
