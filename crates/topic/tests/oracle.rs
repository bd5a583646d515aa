//! The matchers and the index against the plainest code that can be right.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use tidewire_topic::{Matcher, MatcherSet, TopicIndex};

/// Few enough that sets and events often meet.
const TEXTS: [&str; 7] = ["a", "b", "c", "aa", "é", "**", "*"];

#[derive(Clone, Debug)]
enum Step {
    /// Puts the key under the set, in place of the one under which it stands.
    Insert(Vec<&'static str>, u8),
    Remove(u8),
    Ask(Vec<&'static str>),
}

fn step() -> impl Strategy<Value = Step> {
    let matchers = proptest::collection::vec(select(&TEXTS[..]), 1..5);
    let topics = proptest::collection::vec(select(&TEXTS[..TEXTS.len() - 1]), 0..5);
    prop_oneof![
        3 => (matchers, 0..12_u8).prop_map(|(texts, key)| Step::Insert(texts, key)),
        2 => (0..12_u8).prop_map(Step::Remove),
        3 => topics.prop_map(Step::Ask),
    ]
}

fn set(texts: &[&str]) -> MatcherSet {
    MatcherSet::new(texts.iter().map(|text| Matcher::parse(text).expect("a matcher"))).expect("a set")
}

fn naive_match(matchers: &[&str], topics: &[&str]) -> bool {
    matchers.iter().any(|matcher| *matcher == "*" || topics.iter().any(|topic| topic == matcher))
}

proptest! {
    #[test]
    fn a_set_matches_as_its_matchers_one_by_one(
        matchers in proptest::collection::vec(select(&TEXTS[..]), 1..8),
        topics in proptest::collection::vec(select(&TEXTS[..TEXTS.len() - 1]), 0..5),
    ) {
        prop_assert_eq!(set(&matchers).matches(topics.iter().copied()), naive_match(&matchers, &topics));
    }

    #[test]
    fn a_set_does_not_depend_on_order_or_repetition(
        (matchers, shuffled) in proptest::collection::vec(select(&TEXTS[..]), 1..8)
            .prop_flat_map(|matchers| (Just(matchers.clone()), Just([matchers.clone(), matchers].concat()).prop_shuffle())),
    ) {
        prop_assert_eq!(set(&matchers), set(&shuffled));
    }

    #[test]
    fn the_index_finds_what_asking_every_set_finds(steps in proptest::collection::vec(step(), 0..80)) {
        let mut index = TopicIndex::new();
        let mut oracle: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(texts, key) => {
                    if let Some(before) = oracle.insert(key, texts.clone()) {
                        index.remove(&set(&before), key);
                    }
                    index.insert(&set(&texts), key);
                }
                Step::Remove(key) => {
                    if let Some(texts) = oracle.remove(&key) {
                        index.remove(&set(&texts), key);
                    }
                }
                Step::Ask(topics) => {
                    let mut found = Vec::new();
                    index.for_each(topics.iter().copied(), |key| found.push(key));
                    found.sort_unstable();
                    let expected: Vec<u8> =
                        oracle.iter().filter(|(_, texts)| naive_match(texts, &topics)).map(|(&key, _)| key).collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
        for (key, texts) in oracle {
            index.remove(&set(&texts), key);
        }
        prop_assert!(index.is_empty());
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        if let Ok(matcher) = Matcher::parse(&text) {
            prop_assert_eq!(matcher.as_str(), text);
        }
    }
}
