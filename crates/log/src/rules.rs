use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidewire_topic::Pattern;

/// The most rules there may be.
pub const RETENTION_RULES_MAX: usize = 100;

/// For how many topics the answer is remembered, of about 50 bytes each; beyond that all are
/// forgotten.
const REMEMBERED_TOPICS_MAX: usize = 10_000;

/// For how long the events of some topics are kept, where that is less than for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// The topics.
    pub pattern: Pattern,
    /// The age from which their events are not seen any more.
    pub age: Duration,
}

/// Rules in the order in which they are asked, at most [`RETENTION_RULES_MAX`]. An event falls
/// under the first rule whose pattern matches the event's first topic.
///
/// Matching costs microseconds, so answers are remembered. A clone shares them.
#[derive(Clone, Default)]
pub struct RetentionRules(Option<Arc<Rules>>);

struct Rules {
    rules: Vec<RetentionRule>,
    /// Answers by topic. A topic may have 4 KiB, so its hash stands for it; the hashes are keyed
    /// at random, so that nobody can make two topics collide.
    remembered: Mutex<HashMap<u128, Option<Duration>>>,
    high: RandomState,
    low: RandomState,
}

/// Why rules are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionRulesError {
    /// There are more than [`RETENTION_RULES_MAX`].
    #[error("there are {rules} rules, and {RETENTION_RULES_MAX} at most are allowed")]
    TooMany {
        /// How many there are.
        rules: usize,
    },
}

impl RetentionRules {
    /// These rules, in this order.
    ///
    /// # Errors
    /// When there are more than [`RETENTION_RULES_MAX`].
    pub fn new(rules: Vec<RetentionRule>) -> Result<RetentionRules, RetentionRulesError> {
        if rules.len() > RETENTION_RULES_MAX {
            return Err(RetentionRulesError::TooMany { rules: rules.len() });
        }
        if rules.is_empty() {
            return Ok(RetentionRules(None));
        }
        let remembered = Mutex::default();
        let (high, low) = (RandomState::new(), RandomState::new());
        Ok(RetentionRules(Some(Arc::new(Rules { rules, remembered, high, low }))))
    }

    /// The age that the rules give to an event, by its first topic; `None` if no rule is for it.
    #[must_use]
    pub fn age_for(&self, first_topic: &str) -> Option<Duration> {
        self.0.as_ref()?.age_for(first_topic)
    }

    /// The shortest age that a rule gives: no event that is younger is hidden by one. `None` if
    /// there are no rules.
    #[must_use]
    pub fn shortest_age(&self) -> Option<Duration> {
        self.iter().map(|rule| rule.age).min()
    }

    /// The rules in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &RetentionRule> {
        self.0.as_ref().map(|rules| rules.rules.iter()).unwrap_or_default()
    }
}

impl PartialEq for RetentionRules {
    fn eq(&self, other: &RetentionRules) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RetentionRules {}

impl fmt::Debug for RetentionRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Rules {
    fn age_for(&self, topic: &str) -> Option<Duration> {
        let half = |state: &RandomState| u128::from(state.hash_one(topic));
        let key = half(&self.high) << 64 | half(&self.low);
        if let Some(&age) = self.remembered().get(&key) {
            return age;
        }
        // The lock is not held meanwhile: two readers may work out the same answer.
        let age = self.rules.iter().find(|rule| rule.pattern.matches(topic)).map(|rule| rule.age);
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED_TOPICS_MAX {
            remembered.clear();
        }
        remembered.insert(key, age);
        age
    }

    /// The map is whole between any two statements, so a panic elsewhere spoils nothing.
    fn remembered(&self) -> MutexGuard<'_, HashMap<u128, Option<Duration>>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use tidewire_topic::BaseUrl;

    use super::*;

    fn rule(pattern: &str, seconds: u64) -> RetentionRule {
        let base = BaseUrl::parse("https://hub.example").expect("a URL");
        let pattern = Pattern::parse(pattern, &base).expect(pattern);
        RetentionRule { pattern, age: Duration::from_secs(seconds) }
    }

    fn rules(rules: &[(&str, u64)]) -> RetentionRules {
        RetentionRules::new(rules.iter().map(|(pattern, seconds)| rule(pattern, *seconds)).collect()).expect("rules")
    }

    fn seconds(rules: &RetentionRules, topic: &str) -> Option<u64> {
        rules.age_for(topic).map(|age| age.as_secs())
    }

    fn remembered(rules: &RetentionRules) -> usize {
        rules.0.as_ref().map_or(0, |rules| rules.remembered().len())
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = rules(&[("/chat/private/*", 60), ("/chat/*", 3_600), ("urn\\:*", 5), ("/*", 7_200)]);
        // Twice: worked out, and remembered.
        for _ in 0..2 {
            assert_eq!(seconds(&rules, "/chat/private/1"), Some(60));
            assert_eq!(seconds(&rules, "chat/1"), Some(3_600));
            assert_eq!(seconds(&rules, "/other"), Some(7_200));
            assert_eq!(seconds(&rules, "urn:uuid:1"), Some(5));
            assert_eq!(seconds(&rules, "https://other.example/chat/1"), None);
            assert_eq!(seconds(&rules, "https://["), None);
        }
        assert_eq!(remembered(&rules), 6);
        assert_eq!(rules.shortest_age(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn no_rules_give_no_age_and_cost_nothing() {
        for none in [RetentionRules::default(), rules(&[])] {
            assert!(none.0.is_none());
            assert_eq!((none.age_for("/a"), none.shortest_age(), none.iter().len()), (None, None, 0));
        }
    }

    #[test]
    fn one_rule_more_than_the_limit_is_refused() {
        let many = |count| RetentionRules::new((0..count).map(|n| rule(&format!("/{n}"), n as u64 + 1)).collect());
        let most = many(RETENTION_RULES_MAX).expect("the most there may be");
        assert_eq!(seconds(&most, "/99"), Some(100));
        let too_many = RetentionRulesError::TooMany { rules: RETENTION_RULES_MAX + 1 };
        assert_eq!(many(RETENTION_RULES_MAX + 1).expect_err("one too many"), too_many);
    }

    #[test]
    fn no_more_topics_are_remembered_than_the_limit_and_answers_stay_the_same() {
        let rules = rules(&[("/even/*", 2), ("/odd/*", 1)]);
        let ask = |n: usize| {
            let name = if n.is_multiple_of(2) { "even" } else { "odd" };
            let expected = if name == "even" { 2 } else { 1 };
            assert_eq!(seconds(&rules, &format!("/{name}/{n}")), Some(expected));
        };
        (0..REMEMBERED_TOPICS_MAX).for_each(ask);
        assert_eq!(remembered(&rules), REMEMBERED_TOPICS_MAX);
        ask(0);
        assert_eq!(remembered(&rules), REMEMBERED_TOPICS_MAX, "it was there");
        ask(REMEMBERED_TOPICS_MAX);
        assert_eq!(remembered(&rules), 1, "all but the newest are forgotten");
        (0..10).for_each(ask);
    }

    #[test]
    fn clones_share_what_is_remembered_and_threads_agree() {
        let rules = rules(&[("/a/*", 1), ("/*", 2)]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let rules = rules.clone();
                scope.spawn(move || {
                    for n in 0..1_000 {
                        assert_eq!(seconds(&rules, &format!("/a/{}", n % 50)), Some(1));
                        assert_eq!(seconds(&rules, &format!("/b/{}", n % 50)), Some(2));
                    }
                });
            }
        });
        assert_eq!(remembered(&rules), 100);
        assert_eq!(format!("{rules:?}").matches("https://hub.example").count(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The oracle asks every rule in turn and remembers nothing.
        #[test]
        fn answers_are_those_of_the_rules_asked_in_turn(
            chosen in prop::collection::vec((prop::sample::select(&["/a", "/a/*", "/b/:x", "/*", "/:x/1"][..]), 1..9_u64), 0..6),
            topics in prop::collection::vec("/[ab](/[12])?", 1..30),
        ) {
            let rules = rules(&chosen);
            for topic in &topics {
                let expected = chosen.iter().find(|(pattern, _)| rule(pattern, 1).pattern.matches(topic));
                prop_assert_eq!(seconds(&rules, topic), expected.map(|(_, seconds)| *seconds));
            }
        }
    }
}
