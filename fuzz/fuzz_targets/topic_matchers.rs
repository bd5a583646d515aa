//! No text makes reading a pattern or a template panic, nor matching a topic. The index finds what matches and nothing
//! else, and a canonical URL that matches begins as it was told.
//!
//! Lines: the first is a pattern, the second a template, the others are topics.
#![no_main]

use std::iter::once;

use libfuzzer_sys::fuzz_target;
use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern, Template, TopicIndex, is_canonical_url};

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (Some(pattern), Some(template)) = (lines.next(), lines.next()) else { return };
    let base = BaseUrl::parse("https://hub.example:8443/a/").expect("a URL");
    let pattern = Pattern::parse(pattern, &base).ok().map(Matcher::Pattern);
    let template = Template::parse(template).ok().map(Matcher::Template);
    let sets = [pattern, template].map(|matcher| matcher.and_then(|matcher| MatcherSet::new([matcher]).ok()));
    let mut index = TopicIndex::new();
    for (key, set) in sets.iter().enumerate() {
        set.iter().for_each(|set| index.insert(set, key));
    }
    for topic in lines {
        let mut found = Vec::new();
        index.for_each(once(topic), |key| found.push(key));
        found.sort_unstable();
        let matching = |set: &MatcherSet| set.matches(once(topic));
        let expected = sets.iter().enumerate().filter(|(_, set)| set.as_ref().is_some_and(matching));
        assert_eq!(found, expected.map(|(key, _)| key).collect::<Vec<_>>(), "{topic:?}");
        for set in sets.iter().flatten().filter(|set| matching(set) && is_canonical_url(topic)) {
            let beginnings = set.beginnings();
            assert!(beginnings.iter().any(|beginning| topic.starts_with(beginning)), "{topic:?}: {beginnings:?}");
        }
    }
    for (key, set) in sets.iter().enumerate() {
        set.iter().for_each(|set| index.remove(set, key));
    }
    assert!(index.is_empty());
});
