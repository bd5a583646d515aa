use std::collections::{BTreeSet, HashMap};

use crate::{MatcherSet, Topic};

/// Finds the keys whose matchers match an event, by hash: the cost is that of the keys found,
/// however many stand under other topics.
///
/// A key stands under one set at a time. The index costs nothing for topics that no key asks for.
#[derive(Clone, Debug)]
pub struct TopicIndex<K> {
    any: BTreeSet<K>,
    exact: HashMap<Topic, Keys<K>>,
}

/// The keys of one topic. Most topics have a single one, which needs no allocation.
#[derive(Clone, Debug)]
enum Keys<K> {
    One(K),
    /// Two or more when made; removals leave at least one.
    Many(BTreeSet<K>),
}

/// Tables up to this many topics are kept when they empty.
const SHRINK_TOPICS_MIN: usize = 1_024;

impl<K: Copy + Ord> TopicIndex<K> {
    /// An index without keys.
    #[must_use]
    pub fn new() -> TopicIndex<K> {
        TopicIndex { any: BTreeSet::new(), exact: HashMap::new() }
    }

    /// Puts a key under each matcher of a set. A key that is there already stays.
    pub fn insert(&mut self, matchers: &MatcherSet, key: K) {
        if matchers.is_any() {
            self.any.insert(key);
            return;
        }
        for topic in matchers.exact() {
            match self.exact.get_mut(topic) {
                Some(keys) => keys.insert(key),
                None => {
                    self.exact.insert(topic.clone(), Keys::One(key));
                }
            }
        }
    }

    /// Takes a key from under each matcher of a set: the one with which it was inserted. A key
    /// that is not there is passed over.
    pub fn remove(&mut self, matchers: &MatcherSet, key: K) {
        if matchers.is_any() {
            self.any.remove(&key);
            return;
        }
        for topic in matchers.exact() {
            if self.exact.get_mut(topic).is_some_and(|keys| keys.remove(key)) {
                self.exact.remove(topic);
            }
        }
        // A table that many one-off topics have made large is given back, at a cost that those
        // who filled it have paid.
        let capacity = self.exact.capacity();
        if capacity > SHRINK_TOPICS_MIN && self.exact.len() < capacity / 8 {
            self.exact.shrink_to(self.exact.len() * 2);
        }
    }

    /// Shows each key that matches an event on these topics, once, even if several topics match
    /// or a topic is named twice.
    pub fn for_each<'a>(&self, topics: impl Iterator<Item = &'a str>, mut visit: impl FnMut(K)) {
        self.any.iter().copied().for_each(&mut visit);
        let mut matching = topics.filter_map(|topic| self.exact.get(topic));
        let Some(first) = matching.next() else { return };
        let Some(second) = matching.next() else { return first.for_each(&mut visit) };
        // Keys under several topics must be told apart: a list of what matches is the only cost.
        let mut found = Vec::new();
        for keys in [first, second].into_iter().chain(matching) {
            keys.for_each(&mut |key| found.push(key));
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().for_each(visit);
    }

    /// How many topics have a key of their own; keys under `*` are not among them.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.exact.len()
    }

    /// Whether no key stands in the index.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.exact.is_empty()
    }
}

impl<K: Copy + Ord> Default for TopicIndex<K> {
    fn default() -> TopicIndex<K> {
        TopicIndex::new()
    }
}

impl<K: Copy + Ord> Keys<K> {
    fn insert(&mut self, key: K) {
        match self {
            Keys::One(one) if *one == key => {}
            Keys::One(one) => *self = Keys::Many(BTreeSet::from([*one, key])),
            Keys::Many(many) => {
                many.insert(key);
            }
        }
    }

    /// Takes the key out, and says whether none is left.
    fn remove(&mut self, key: K) -> bool {
        match self {
            Keys::One(one) => *one == key,
            Keys::Many(many) => {
                many.remove(&key);
                many.is_empty()
            }
        }
    }

    fn for_each(&self, visit: &mut impl FnMut(K)) {
        match self {
            Keys::One(one) => visit(*one),
            Keys::Many(many) => many.iter().copied().for_each(visit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;
    use std::iter::once;

    use super::*;
    use crate::Matcher;

    thread_local! {
        static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    /// A key that counts how often one is compared.
    #[derive(Clone, Copy, Debug)]
    struct Counted(usize);

    impl Ord for Counted {
        fn cmp(&self, other: &Counted) -> Ordering {
            LOOKED_AT.set(LOOKED_AT.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Counted) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Counted) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    fn set(texts: &[&str]) -> MatcherSet {
        MatcherSet::new(texts.iter().map(|text| Matcher::parse(text).expect(text))).expect("a set")
    }

    fn found<K: Copy + Ord>(index: &TopicIndex<K>, topics: &[&str]) -> Vec<K> {
        let mut keys = Vec::new();
        index.for_each(topics.iter().copied(), |key| keys.push(key));
        keys
    }

    #[test]
    fn an_event_on_another_topic_visits_and_compares_no_keys() {
        let mut index = TopicIndex::new();
        for n in 0..10_000 {
            index.insert(&set(&["crowded"]), Counted(n));
            index.insert(&set(&[&format!("own/{n}")]), Counted(10_000 + n));
        }
        index.insert(&set(&["quiet"]), Counted(20_000));
        LOOKED_AT.set(0);
        assert_eq!(found(&index, &["nobody's"]).len(), 0);
        assert_eq!(found(&index, &["quiet"]).iter().map(|key| key.0).collect::<Vec<_>>(), [20_000]);
        assert_eq!(LOOKED_AT.get(), 0);
    }

    #[test]
    fn a_key_under_several_topics_is_shown_once() {
        let mut index = TopicIndex::new();
        index.insert(&set(&["a", "b"]), 1);
        index.insert(&set(&["b"]), 2);
        index.insert(&MatcherSet::any(), 3);
        assert_eq!(found(&index, &["a", "b", "b", "c"]), [3, 1, 2]);
        assert_eq!(found(&index, &["a", "a"]), [3, 1]);
        assert_eq!(found(&index, &[]), [3]);
    }

    #[test]
    fn what_is_inserted_or_removed_twice_counts_once() {
        let mut index = TopicIndex::new();
        index.insert(&set(&["a"]), 1);
        index.insert(&set(&["a"]), 1);
        index.insert(&set(&["a"]), 2);
        index.remove(&set(&["a"]), 2);
        index.remove(&set(&["a"]), 2);
        index.remove(&set(&["a"]), 7);
        assert_eq!(found(&index, &["a"]), [1]);
        index.remove(&set(&["a"]), 1);
        index.remove(&set(&["a"]), 1);
        assert!(index.is_empty());
    }

    #[test]
    fn one_off_topics_leave_nothing_behind() {
        let mut index = TopicIndex::new();
        let many = 50_000;
        for n in 0..many {
            index.insert(&set(&[&format!("t{n}")]), n);
        }
        assert_eq!(index.topics(), many);
        for n in 0..many {
            index.remove(&set(&[&format!("t{n}")]), n);
            index.for_each(once("t0"), |_| assert_eq!(n, many, "t0 was the first to go"));
        }
        assert!(index.is_empty());
        assert!(index.exact.capacity() <= SHRINK_TOPICS_MIN * 2, "{} of {many}", index.exact.capacity());
    }
}
