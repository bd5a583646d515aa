use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use crate::keys::Keys;
use crate::trie::Trie;
use crate::{BaseUrl, HashParts, Matcher, MatcherSet, Pattern, Template, Topic};

/// Finds the keys whose matchers match an event: topics by hash, patterns and templates by what
/// they begin with. The cost is that of the keys found and of the patterns that begin like the
/// event's topics, however many others there are.
///
/// A key stands under one set at a time. The index costs nothing for topics that no key asks for.
#[derive(Clone, Debug)]
pub struct TopicIndex<K> {
    any: BTreeSet<K>,
    exact: HashParts<(Topic, Keys<K>)>,
    hasher: RandomState,
    /// Of a hub there is one base URL.
    patterns: Vec<(BaseUrl, Trie<Pattern, K>)>,
    templates: Trie<Template, K>,
}

impl<K: Copy + Ord> TopicIndex<K> {
    /// An index without keys.
    #[must_use]
    pub fn new() -> TopicIndex<K> {
        let (any, exact, hasher) = (BTreeSet::new(), HashParts::new(), RandomState::new());
        TopicIndex { any, exact, hasher, patterns: Vec::new(), templates: Trie::new() }
    }

    /// Puts a key under each matcher of a set. A key that is there already stays.
    pub fn insert(&mut self, matchers: &MatcherSet, key: K) {
        for matcher in matchers.iter() {
            match matcher {
                Matcher::Any => {
                    self.any.insert(key);
                }
                Matcher::Exact(topic) => {
                    let hash = self.hash(topic.as_str());
                    match self.exact.find_mut(hash, |(other, _)| *other == topic) {
                        Some((_, keys)) => keys.insert(key),
                        None => {
                            let hasher = &self.hasher;
                            self.exact
                                .insert(hash, (topic, Keys::One(key)), |(topic, _)| hasher.hash_one(topic.as_str()));
                        }
                    }
                }
                Matcher::Pattern(pattern) => {
                    let at = self.patterns.iter().position(|(base, _)| base == pattern.base());
                    let at = at.unwrap_or_else(|| {
                        self.patterns.push((pattern.base().clone(), Trie::new()));
                        self.patterns.len() - 1
                    });
                    self.patterns[at].1.insert(&pattern.route(), &pattern, key);
                }
                Matcher::Template(template) => {
                    for route in template.routes() {
                        self.templates.insert(&route, &template, key);
                    }
                }
            }
        }
    }

    /// Takes a key from under each matcher of a set: the one with which it was inserted. A key
    /// that is not there is passed over.
    pub fn remove(&mut self, matchers: &MatcherSet, key: K) {
        for matcher in matchers.iter() {
            match matcher {
                Matcher::Any => {
                    self.any.remove(&key);
                }
                Matcher::Exact(topic) => {
                    let hash = self.hash(topic.as_str());
                    let is_it = |(other, _): &(Topic, Keys<K>)| *other == topic;
                    if self.exact.find_mut(hash, is_it).is_some_and(|(_, keys)| keys.remove(key)) {
                        let hasher = &self.hasher;
                        self.exact.remove(hash, is_it, |(topic, _)| hasher.hash_one(topic.as_str()));
                    }
                }
                Matcher::Pattern(pattern) => {
                    self.patterns.retain_mut(|(base, patterns)| {
                        if base == pattern.base() {
                            patterns.remove(&pattern.route(), &pattern, key);
                        }
                        !patterns.is_empty()
                    });
                }
                Matcher::Template(template) => {
                    for route in template.routes() {
                        self.templates.remove(&route, &template, key);
                    }
                }
            }
        }
    }

    /// Shows each key that matches an event on these topics, once, even if several topics match
    /// or a topic is named twice.
    pub fn for_each<'a>(&self, topics: impl Iterator<Item = &'a str>, mut visit: impl FnMut(K)) {
        self.any.iter().copied().for_each(&mut visit);
        let mut found = Found { first: None, keys: Vec::new() };
        for topic in topics {
            if let Some((_, keys)) = self.exact.find(self.hash(topic), |(other, _)| other.as_str() == topic) {
                found.add(keys);
            }
            if !self.templates.is_empty() {
                self.templates.candidates(topic, &mut |template, keys| {
                    if template.matches(topic) {
                        found.add(keys);
                    }
                });
            }
            for (base, patterns) in &self.patterns {
                let Some(location) = base.locate(topic) else { continue };
                patterns.candidates(location.key(), &mut |pattern, keys| {
                    if pattern.matches_location(&location) {
                        found.add(keys);
                    }
                });
            }
        }
        found.visit(visit);
    }

    fn hash(&self, topic: &str) -> u64 {
        self.hasher.hash_one(topic)
    }

    /// How many topics have a key of their own; keys under other matchers are not among them.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.exact.len()
    }

    /// Whether no key stands in the index.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.exact.is_empty() && self.patterns.is_empty() && self.templates.is_empty()
    }
}

impl<K: Copy + Ord> Default for TopicIndex<K> {
    fn default() -> TopicIndex<K> {
        TopicIndex::new()
    }
}

/// What an event matches. Keys under several matchers must be told apart: a list of them is the
/// only cost, where there is more than one.
struct Found<'a, K> {
    first: Option<&'a Keys<K>>,
    keys: Vec<K>,
}

impl<'a, K: Copy + Ord> Found<'a, K> {
    fn add(&mut self, keys: &'a Keys<K>) {
        match self.first {
            None => self.first = Some(keys),
            Some(first) => {
                if self.keys.is_empty() {
                    first.for_each(&mut |key| self.keys.push(key));
                }
                keys.for_each(&mut |key| self.keys.push(key));
            }
        }
    }

    fn visit(mut self, mut visit: impl FnMut(K)) {
        if self.keys.is_empty() {
            if let Some(first) = self.first {
                first.for_each(&mut visit);
            }
            return;
        }
        self.keys.sort_unstable();
        self.keys.dedup();
        self.keys.into_iter().for_each(visit);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;
    use std::iter::once;

    use super::*;

    thread_local! {
        static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
        /// How many patterns and templates were tested.
        pub(crate) static TESTS_MADE: Cell<usize> = const { Cell::new(0) };
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

    fn base() -> BaseUrl {
        BaseUrl::parse("https://hub.example").expect("a URL")
    }

    fn patterns(texts: &[&str]) -> MatcherSet {
        let patterns = texts.iter().map(|text| Matcher::Pattern(Pattern::parse(text, &base()).expect(text)));
        MatcherSet::new(patterns).expect("a set")
    }

    fn templates(texts: &[&str]) -> MatcherSet {
        let templates = texts.iter().map(|text| Matcher::Template(Template::parse(text).expect(text)));
        MatcherSet::new(templates).expect("a set")
    }

    fn tests_made(index: &TopicIndex<usize>, topic: &str) -> (usize, usize) {
        TESTS_MADE.set(0);
        let found = found(index, &[topic]).len();
        (found, TESTS_MADE.get())
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
    }

    #[test]
    fn an_event_tests_none_but_the_patterns_that_begin_as_its_topic_does() {
        let mut index = TopicIndex::new();
        for n in 0..10_000 {
            index.insert(&patterns(&[&format!("/users/u{n}/*")]), n);
            index.insert(&patterns(&[&format!("/tenants/:t/rooms/r{n}/*")]), 10_000 + n);
            index.insert(&patterns(&[&format!("https://h{n}.example/*")]), 20_000 + n);
            index.insert(&templates(&[&format!("/users/{{user}}/t{n}/{{x}}")]), 30_000 + n);
            // Subscribers with the same pattern share the test.
            index.insert(&patterns(&["/crowd/*"]), 40_000 + n);
        }
        assert_eq!(tests_made(&index, "/users/u77/inbox"), (1, 1));
        assert_eq!(tests_made(&index, "users/u77/inbox"), (1, 1));
        assert_eq!(tests_made(&index, "https://hub.example/users/%75/../u77/a?b"), (1, 1));
        assert_eq!(tests_made(&index, "/users/u9999/t77/a"), (2, 2));
        assert_eq!(tests_made(&index, "/tenants/any/rooms/r77/a"), (1, 1));
        assert_eq!(tests_made(&index, "https://h77.example/a"), (1, 1));
        assert_eq!(tests_made(&index, "/crowd/a"), (10_000, 1));
        for nobodys in ["/users/", "/users/u/a", "/other", "urn:users:u77", "https://h.example/", "https://["] {
            assert_eq!(tests_made(&index, nobodys), (0, 0), "{nobodys}");
        }
    }

    #[test]
    fn patterns_and_templates_leave_nothing_behind() {
        let mut index = TopicIndex::new();
        let sets: Vec<MatcherSet> = (0..1_000)
            .flat_map(|n| {
                [
                    patterns(&[&format!("/a/:x/{n}/:y"), &format!("/a/{n}*"), "*", &format!("http{{s}}?://h{n}/*")]),
                    templates(&[&format!("/a/{{x}}/{n}"), &format!("/\u{e9}/{n}{{/x}}"), &format!("\u{e9}{n}/{{x}}")]),
                ]
            })
            .collect();
        for (n, set) in sets.iter().enumerate() {
            index.insert(set, n);
            index.insert(set, n);
        }
        let elsewhere = BaseUrl::parse("https://elsewhere.example").expect("a URL");
        let other = Matcher::Pattern(Pattern::parse("/a/*", &elsewhere).expect("a pattern"));
        let other = MatcherSet::new([other]).expect("a set");
        index.insert(&other, sets.len());
        assert_eq!(index.patterns.len(), 2);
        for (n, set) in sets.iter().enumerate().rev() {
            index.remove(set, n);
            index.remove(set, n);
        }
        assert_eq!(found(&index, &["https://elsewhere.example/a/1", "/a/1"]), [sets.len()]);
        index.remove(&other, sets.len());
        assert!(index.is_empty() && index.patterns.is_empty() && index.templates.is_empty());
    }
}
