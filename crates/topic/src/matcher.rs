use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::{Topic, TopicError};

/// The most different matchers a set may have.
pub const MATCHERS_MAX: usize = 100;

/// What a subscriber asks for or a token grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matcher {
    /// Every topic; written `*`.
    Any,
    /// This topic alone.
    Exact(Topic),
}

/// One or more matchers, at most [`MATCHERS_MAX`]. An event matches the set if one of its topics
/// matches one of them.
///
/// Sets with the same matchers are equal, in whatever order and however often they were named;
/// `*` beside others is as `*` alone. A clone shares the list.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MatcherSet(Matchers);

/// Why matchers do not make a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherSetError {
    /// There is none.
    #[error("there is no topic")]
    Empty,
    /// There are more than [`MATCHERS_MAX`] different ones.
    #[error("there are more than {matchers_max} topics")]
    TooMany {
        /// How many there may be.
        matchers_max: usize,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Matchers {
    Any,
    /// Sorted, without duplicates, not empty.
    Exact(Arc<[Topic]>),
}

impl Matcher {
    /// Takes `*` for every topic, and any other text for a topic.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Matcher, TopicError> {
        if text == "*" { Ok(Matcher::Any) } else { Topic::parse(text).map(Matcher::Exact) }
    }

    /// The matcher as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Matcher::Any => "*",
            Matcher::Exact(topic) => topic.as_str(),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl MatcherSet {
    /// A set of these matchers.
    ///
    /// # Errors
    /// When there is none, or more than [`MATCHERS_MAX`] different ones (`*` counts as one).
    pub fn new(matchers: impl IntoIterator<Item = Matcher>) -> Result<MatcherSet, MatcherSetError> {
        let mut distinct = BTreeSet::new();
        for matcher in matchers {
            distinct.insert(matcher);
            if distinct.len() > MATCHERS_MAX {
                return Err(MatcherSetError::TooMany { matchers_max: MATCHERS_MAX });
            }
        }
        if distinct.is_empty() {
            return Err(MatcherSetError::Empty);
        }
        let exact: Option<Arc<[Topic]>> = distinct
            .into_iter()
            .map(|matcher| match matcher {
                Matcher::Any => None,
                Matcher::Exact(topic) => Some(topic),
            })
            .collect();
        Ok(exact.map_or_else(MatcherSet::any, |topics| MatcherSet(Matchers::Exact(topics))))
    }

    /// The set that matches every event.
    #[must_use]
    pub fn any() -> MatcherSet {
        MatcherSet(Matchers::Any)
    }

    /// Whether an event on these topics matches. An event without a topic matches no set but
    /// [`MatcherSet::any`].
    pub fn matches<'a>(&self, mut topics: impl Iterator<Item = &'a str>) -> bool {
        match &self.0 {
            Matchers::Any => true,
            Matchers::Exact(exact) => {
                topics.any(|topic| exact.binary_search_by(|probe| probe.as_str().cmp(topic)).is_ok())
            }
        }
    }

    /// Whether the set matches every event.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self.0, Matchers::Any)
    }

    /// The topics named, sorted; none for [`MatcherSet::any`].
    pub fn exact(&self) -> impl ExactSizeIterator<Item = &Topic> {
        match &self.0 {
            Matchers::Any => [].iter(),
            Matchers::Exact(topics) => topics.iter(),
        }
    }
}

impl fmt::Debug for MatcherSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Matchers::Any => f.write_str("{*}"),
            Matchers::Exact(topics) => f.debug_set().entries(topics.iter().map(Topic::as_str)).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter::{empty, once};

    use super::*;

    fn set(texts: &[&str]) -> MatcherSet {
        MatcherSet::new(texts.iter().map(|text| Matcher::parse(text).expect(text))).expect("a set")
    }

    fn numbered(count: usize) -> impl Iterator<Item = Matcher> {
        (0..count).map(|n| Matcher::parse(&format!("t{n}")).expect("a topic"))
    }

    #[test]
    fn a_star_is_any_and_the_rest_are_topics() {
        assert_eq!(Matcher::parse("*"), Ok(Matcher::Any));
        assert_eq!(Matcher::parse("**").expect("a topic").as_str(), "**");
        assert_eq!(Matcher::parse(""), Err(TopicError::Empty));
    }

    #[test]
    fn order_and_repetition_do_not_matter_and_any_swallows_the_rest() {
        assert_eq!(set(&["b", "a", "b"]), set(&["a", "b"]));
        assert_eq!(set(&["b", "*"]), MatcherSet::any());
        assert_eq!(set(&["b", "a", "b"]).exact().map(Topic::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(MatcherSet::any().exact().len(), 0);
        assert_eq!(format!("{:?} {:?}", set(&["b", "a"]), MatcherSet::any()), r#"{"a", "b"} {*}"#);
    }

    #[test]
    fn no_matcher_and_one_more_than_the_limit_are_refused() {
        assert_eq!(MatcherSet::new([]), Err(MatcherSetError::Empty));
        assert!(MatcherSet::new(numbered(MATCHERS_MAX).chain(numbered(MATCHERS_MAX))).is_ok(), "repeated");
        let too_many = Err(MatcherSetError::TooMany { matchers_max: MATCHERS_MAX });
        assert_eq!(MatcherSet::new(numbered(MATCHERS_MAX + 1)), too_many);
        assert_eq!(MatcherSet::new(numbered(MATCHERS_MAX).chain(once(Matcher::Any))), too_many);
        assert_eq!(MatcherSet::new(once(Matcher::Any).chain(numbered(MATCHERS_MAX))), too_many);
    }

    #[test]
    fn an_event_without_topics_matches_any_alone() {
        assert!(!set(&["a"]).matches(empty()));
        assert!(MatcherSet::any().matches(empty()));
    }
}
