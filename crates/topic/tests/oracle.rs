//! The matchers and the index against the plainest code that can be right.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern, Template, TopicIndex, is_canonical_url};
use url::Url;
use urlpattern::{UrlPattern, UrlPatternInit, UrlPatternMatchInput, UrlPatternOptions};

/// Few enough that sets and events often meet. What follows `p:` is a pattern, what follows `t:` a template.
const TEXTS: [&str; 21] = [
    "a",
    "b",
    "c",
    "aa",
    "é",
    "**",
    "*",
    "p:/a*",
    "p:/:x",
    "p:a",
    "p:*",
    "p:/{a}?",
    "p:/:x/a",
    "p:https://*/b",
    "p:/a/:y",
    "p:urn\\:*",
    "t:{x}",
    "t:a{/x}",
    "t:a/{x}",
    "t:/{x}/a",
    "t:é",
];

/// What events are on.
const TOPICS: [&str; 14] = [
    "a",
    "b",
    "c",
    "aa",
    "é",
    "**",
    "/a",
    "a/a",
    "/a/a",
    "/b/a",
    "urn:a",
    "https://hub.example/a",
    "https://[",
    "//x/b",
];

#[derive(Clone, Debug)]
enum Step {
    /// Puts the key under the set, in place of the one under which it stands.
    Insert(Vec<&'static str>, u8),
    Remove(u8),
    Ask(Vec<&'static str>),
}

fn step() -> impl Strategy<Value = Step> {
    let matchers = proptest::collection::vec(select(&TEXTS[..]), 1..5);
    let topics = proptest::collection::vec(select(&TOPICS[..]), 0..5);
    prop_oneof![
        3 => (matchers, 0..12_u8).prop_map(|(texts, key)| Step::Insert(texts, key)),
        2 => (0..12_u8).prop_map(Step::Remove),
        3 => topics.prop_map(Step::Ask),
    ]
}

fn set(texts: &[&str]) -> MatcherSet {
    MatcherSet::new(texts.iter().map(|text| matcher(text))).expect("a set")
}

fn matcher(text: &str) -> Matcher {
    match text.split_once(':') {
        Some(("p", text)) => Matcher::Pattern(Pattern::parse(text, &base()).expect(text)),
        Some(("t", text)) => Matcher::Template(Template::parse(text).expect(text)),
        _ => Matcher::parse(text).expect(text),
    }
}

fn base() -> BaseUrl {
    BaseUrl::parse(HUB).expect("a URL")
}

fn naive_match(matchers: &[&str], topics: &[&str]) -> bool {
    matchers.iter().any(|text| match matcher(text) {
        Matcher::Any => true,
        Matcher::Exact(exact) => topics.contains(&exact.as_str()),
        Matcher::Pattern(pattern) => topics.iter().any(|topic| pattern.matches(topic)),
        Matcher::Template(template) => topics.iter().any(|topic| template.matches(topic)),
    })
}

const HUB: &str = "https://hub.example";

/// A pattern as the `urlpattern` crate has it, with all of its regular expressions. `None` where it refuses it, or panics.
fn whole(text: &str, base: &str) -> Option<UrlPattern> {
    std::panic::catch_unwind(|| {
        let mut init = UrlPatternInit::parse_constructor_string::<regex::Regex>(text, Url::parse(base).ok()).ok()?;
        if init.protocol.is_some() {
            init.base_url = None;
        }
        <UrlPattern>::parse(init, UrlPatternOptions::default()).ok()
    })
    .ok()
    .flatten()
}

fn whole_matches(pattern: &UrlPattern, topic: &str, base: &str) -> bool {
    let url = Url::parse(base).expect("a URL").join(topic);
    url.is_ok_and(|url| pattern.test(UrlPatternMatchInput::Url(url)).unwrap_or(false))
}

/// What means something in a pattern.
const PIECES: [&str; 56] = [
    "a",
    "b",
    "/",
    "/",
    "/",
    "//",
    ":x",
    ":y",
    "*",
    "*",
    "(.*)",
    "([^/]+?)",
    "(a|b)",
    "(?:a)",
    "{a}?",
    "{/b}?",
    "{/:z}*",
    "{/a}+",
    "{a:w}",
    "{-:v-}",
    "?",
    "\\?",
    "#",
    "+",
    ".",
    "..",
    "/./",
    "/../",
    "é",
    "日",
    "%C3%A9",
    "%2f",
    "%2F",
    "%",
    "@",
    "u:p@",
    "https://",
    "http{s}?://",
    "HTTPS://",
    "*://",
    "hub.example",
    "*.example",
    "HUB.example",
    "b\u{fc}cher.example",
    ":80",
    ":443",
    ":8080",
    ":*",
    "[\\:\\:1]",
    "urn\\:",
    "\\(",
    "A",
    " ",
    "-",
    "x=1&",
    "(.+?)",
];

/// What topics are made of.
const TOPIC_PIECES: [&str; 37] = [
    "a",
    "b",
    "/",
    "/",
    "/",
    "//",
    "x",
    "-",
    ".",
    "..",
    "/./",
    "/../",
    "é",
    "日",
    "%C3%A9",
    "%2f",
    "%2F",
    "%",
    "@",
    "u:p@",
    "https://",
    "http://",
    "HTTPS://",
    "hub.example",
    "www.example",
    "HUB.example",
    "b\u{fc}cher.example",
    ":80",
    ":443",
    ":8080",
    "[::1]",
    "urn:",
    "?",
    "#",
    "A",
    " ",
    "x=1&",
];

fn text(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(select(pieces), 1..9).prop_map(|pieces| pieces.concat())
}

/// A topic that a pattern may match: the same with its wildcards filled in.
fn likely(pattern: &str) -> String {
    let fillings = [
        (":x", "x"),
        (":y", "b-b"),
        (":z", "b"),
        (":w", "a"),
        (":v", "x"),
        ("(a|b)", "b"),
        ("{", ""),
        ("}?", ""),
        ("\\", ""),
    ];
    let mut topic = pattern.to_owned();
    for (from, to) in fillings {
        topic = topic.replace(from, to);
    }
    topic.replace(['}', '(', ')', '*', '+'], "")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_pattern_matches_what_the_urlpattern_crate_matches(
        pattern in text(&PIECES),
        topics in proptest::collection::vec(text(&TOPIC_PIECES), 4),
        base in select(&[HUB, "http://h.example:8080/a/b", "https://u:p@hub.example/"][..]),
    ) {
        let ours = Pattern::parse(&pattern, &BaseUrl::parse(base).expect("a URL"));
        let theirs = whole(&pattern, base);
        prop_assert_eq!(ours.is_ok(), theirs.is_some(), "{}: {:?}", pattern, ours);
        let (Ok(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
        let mut index = TopicIndex::new();
        let set = MatcherSet::new([Matcher::Pattern(ours.clone())]).expect("a set");
        index.insert(&set, ());
        let canonical = |topic: &String| Url::parse(base).expect("a URL").join(topic).map(String::from).unwrap_or_default();
        let canonical: Vec<String> = topics.iter().chain([&likely(&pattern)]).map(canonical).collect();
        let beginnings = set.beginnings();
        for topic in topics.iter().chain([&pattern, &likely(&pattern)]).chain(&canonical) {
            let expected = whole_matches(&theirs, topic, base);
            if expected && is_canonical_url(topic) {
                let is_begun = beginnings.iter().any(|beginning| topic.starts_with(beginning));
                prop_assert!(is_begun, "{} and {} begins with {:?}", pattern, topic, beginnings);
            }
            prop_assert_eq!(ours.matches(topic), expected, "{} and {} at {}", pattern, topic, base);
            let mut is_found = false;
            index.for_each(std::iter::once(topic.as_str()), |()| is_found = true);
            prop_assert_eq!(is_found, expected, "{} and {} at {}, by the index", pattern, topic, base);
        }
        index.remove(&set, ());
        prop_assert!(index.is_empty());
    }
}

proptest! {
    #[test]
    fn a_set_matches_as_its_matchers_one_by_one(
        matchers in proptest::collection::vec(select(&TEXTS[..]), 1..8),
        topics in proptest::collection::vec(select(&TOPICS[..]), 0..5),
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
