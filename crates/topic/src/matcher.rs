use std::fmt;
use std::sync::Arc;

use crate::base::Location;
use crate::{BaseUrl, Pattern, Template, Topic, TopicError};

/// The most different matchers a set may have.
pub const MATCHERS_MAX: usize = 100;

/// The most that the patterns and templates of a set may weigh together: what an event costs that is tested against all of
/// them. A wildcard, name or plain expression weighs 1, or 4 beside others in a part where there is more than one way to
/// match; a regular expression weighs 200 for each 4 KiB of its program;
/// a pattern or template at least 1, and a topic nothing.
pub const MATCHER_WEIGHT_MAX: u32 = 1_000;

/// What a subscriber asks for or a token grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matcher {
    /// Every topic; written `*`.
    Any,
    /// This topic alone.
    Exact(Topic),
    /// The topics that a URL Pattern matches.
    Pattern(Pattern),
    /// The topics that a URI Template may become.
    Template(Template),
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
    #[error("there are more than {matchers_max} topics, patterns and templates")]
    TooMany {
        /// How many there may be.
        matchers_max: usize,
    },
    /// They weigh more than [`MATCHER_WEIGHT_MAX`].
    #[error(
        "the patterns and templates weigh more than {weight_max} together: each wildcard and name 1 to 4, and 200 each 4 KiB of a \
         regular expression, as groups of their own and operators need one"
    )]
    TooHeavy {
        /// How much they may weigh.
        weight_max: u32,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Matchers {
    Any,
    /// Sorted, without duplicates, not empty.
    Exact(Arc<[Topic]>),
    /// Sorted, without duplicates and [`Matcher::Any`]; some are not exact.
    Mixed(Arc<[Matcher]>),
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
            Matcher::Pattern(pattern) => pattern.as_str(),
            Matcher::Template(template) => template.as_str(),
        }
    }

    fn weight(&self) -> u32 {
        match self {
            Matcher::Any | Matcher::Exact(_) => 0,
            Matcher::Pattern(pattern) => pattern.weight(),
            Matcher::Template(template) => template.weight(),
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
    /// When there is none, more than [`MATCHERS_MAX`] different ones (`*` counts as one), or when they weigh more than
    /// [`MATCHER_WEIGHT_MAX`].
    pub fn new(matchers: impl IntoIterator<Item = Matcher>) -> Result<MatcherSet, MatcherSetError> {
        let mut distinct: Vec<Matcher> = Vec::new();
        let mut weight = 0_u32;
        for matcher in matchers {
            let Err(at) = distinct.binary_search(&matcher) else { continue };
            if distinct.len() == MATCHERS_MAX {
                return Err(MatcherSetError::TooMany { matchers_max: MATCHERS_MAX });
            }
            weight = weight.saturating_add(matcher.weight());
            if weight > MATCHER_WEIGHT_MAX {
                return Err(MatcherSetError::TooHeavy { weight_max: MATCHER_WEIGHT_MAX });
            }
            distinct.insert(at, matcher);
        }
        match distinct.first() {
            None => return Err(MatcherSetError::Empty),
            Some(Matcher::Any) => return Ok(MatcherSet::any()),
            Some(_) => {}
        }
        let exact: Option<Arc<[Topic]>> = distinct
            .iter()
            .map(|matcher| match matcher {
                Matcher::Exact(topic) => Some(topic.clone()),
                _ => None,
            })
            .collect();
        Ok(MatcherSet(exact.map_or_else(|| Matchers::Mixed(distinct.into()), Matchers::Exact)))
    }

    /// A set of what is read one after the other, which ends at the first that is refused or too much: nothing behind it
    /// is read.
    ///
    /// # Errors
    /// The first of those in reading; inside, as [`MatcherSet::new`].
    pub fn read<E>(
        matchers: impl IntoIterator<Item = Result<Matcher, E>>,
    ) -> Result<Result<MatcherSet, MatcherSetError>, E> {
        let mut refused = None;
        let set =
            MatcherSet::new(matchers.into_iter().map_while(|read| read.map_err(|error| refused = Some(error)).ok()));
        refused.map_or(Ok(set), Err)
    }

    /// What the patterns and templates weigh together, at most [`MATCHER_WEIGHT_MAX`].
    #[must_use]
    pub fn weight(&self) -> u32 {
        match &self.0 {
            Matchers::Any | Matchers::Exact(_) => 0,
            Matchers::Mixed(matchers) => matchers.iter().map(Matcher::weight).sum(),
        }
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
            Matchers::Mixed(matchers) => topics.any(|topic| {
                let mut asked = Asked { topic, located: None };
                matchers.iter().any(|matcher| asked.matches(matcher))
            }),
        }
    }

    /// Whether the set matches every event.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self.0, Matchers::Any)
    }

    /// Whether nothing but the topics named matches.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.0, Matchers::Exact(_))
    }

    /// The topics named, sorted; none for [`MatcherSet::any`].
    pub fn exact(&self) -> impl Iterator<Item = &Topic> {
        let (exact, mixed) = match &self.0 {
            Matchers::Any => (&[][..], &[][..]),
            Matchers::Exact(topics) => (&**topics, &[][..]),
            Matchers::Mixed(matchers) => (&[][..], &**matchers),
        };
        exact.iter().chain(mixed.iter().filter_map(|matcher| match matcher {
            Matcher::Exact(topic) => Some(topic),
            _ => None,
        }))
    }

    /// What canonical URLs begin with that a pattern or template of the set may match
    /// ([`crate::is_canonical_url`]), sorted; no text is there that begins with another. Of other topics this says
    /// nothing.
    #[must_use]
    pub fn beginnings(&self) -> Vec<String> {
        let mut beginnings: Vec<String> = Vec::new();
        for matcher in self.iter() {
            match matcher {
                Matcher::Any => beginnings.push(String::new()),
                Matcher::Exact(_) => {}
                Matcher::Pattern(pattern) => beginnings.push(pattern.beginning()),
                Matcher::Template(template) => {
                    beginnings.extend(template.routes().map(|route| route.beginning().to_owned()));
                }
            }
        }
        beginnings.sort_unstable();
        beginnings.dedup_by(|longer, shorter| longer.starts_with(shorter.as_str()));
        beginnings
    }

    /// Every matcher, sorted.
    pub fn iter(&self) -> impl Iterator<Item = Matcher> {
        let (any, mixed) = match &self.0 {
            Matchers::Any => (Some(Matcher::Any), &[][..]),
            Matchers::Exact(_) => (None, &[][..]),
            Matchers::Mixed(matchers) => (None, &**matchers),
        };
        let exact = mixed.is_empty().then(|| self.exact().cloned().map(Matcher::Exact));
        any.into_iter().chain(exact.into_iter().flatten()).chain(mixed.iter().cloned())
    }
}

/// A topic that several matchers are asked about: it is located once.
struct Asked<'t> {
    topic: &'t str,
    located: Option<(BaseUrl, Option<Location>)>,
}

impl Asked<'_> {
    fn matches(&mut self, matcher: &Matcher) -> bool {
        match matcher {
            Matcher::Any => true,
            Matcher::Exact(topic) => topic.as_str() == self.topic,
            Matcher::Template(template) => template.matches(self.topic),
            Matcher::Pattern(pattern) if self.located.is_none() && pattern.rules_out(self.topic) => false,
            Matcher::Pattern(pattern) => {
                let located = self.located.take().filter(|(base, _)| base == pattern.base());
                let located = located.unwrap_or_else(|| (pattern.base().clone(), pattern.base().locate(self.topic)));
                let (_, location) = self.located.insert(located);
                location.as_ref().is_some_and(|location| pattern.matches_location(location))
            }
        }
    }
}

impl fmt::Debug for MatcherSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Matchers::Any => f.write_str("{*}"),
            Matchers::Exact(topics) => f.debug_set().entries(topics.iter().map(Topic::as_str)).finish(),
            Matchers::Mixed(matchers) => f.debug_set().entries(matchers.iter()).finish(),
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
        assert_eq!(MatcherSet::any().exact().count(), 0);
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

    #[test]
    fn a_set_may_have_every_kind_of_matcher() {
        let base = BaseUrl::parse("https://hub.example").expect("a URL");
        let pattern = |text: &str| Matcher::Pattern(Pattern::parse(text, &base).expect(text));
        let template = |text: &str| Matcher::Template(Template::parse(text).expect(text));
        let exact = |text: &str| Matcher::parse(text).expect(text);
        let matchers = [template("t/{x}"), pattern("/p/*"), exact("e"), pattern("/p/*"), exact("/p/*")];
        let set = MatcherSet::new(matchers.clone()).expect("a set");
        assert_eq!(set, MatcherSet::new(matchers.into_iter().rev()).expect("a set"));
        assert_eq!(set.iter().map(|matcher| matcher.to_string()).collect::<Vec<_>>(), ["/p/*", "e", "/p/*", "t/{x}"]);
        assert_eq!(set.exact().map(Topic::as_str).collect::<Vec<_>>(), ["/p/*", "e"]);
        assert!(!set.is_exact() && !set.is_any());
        for (topic, matches) in
            [("e", true), ("p/1", true), ("t/1", true), ("t/{x}", false), ("/t/1", false), ("x", false)]
        {
            assert_eq!(set.matches(once(topic)), matches, "{topic}");
        }
        assert!(MatcherSet::new([exact("e"), pattern("/x"), Matcher::Any]).expect("a set").is_any());
    }

    #[test]
    fn one_more_than_the_weight_is_refused() {
        let base = BaseUrl::parse("https://hub.example").expect("a URL");
        let weighing = |plain: u32| {
            let expressions = ["/(a)", "/(b)"].map(|text| Matcher::Pattern(Pattern::parse(text, &base).expect(text)));
            let template = Matcher::Template(Template::parse("a{?x}").expect("a template"));
            let many = (0..plain / 10).map(|n| format!("/{n}{}", "/*a".repeat(10)));
            let few = (0..plain % 10).map(|n| format!("/{n}/:a"));
            let plain = many.chain(few).map(|text| Matcher::Pattern(Pattern::parse(&text, &base).expect("a pattern")));
            MatcherSet::new(expressions.into_iter().chain([template]).chain(plain))
        };
        assert_eq!(weighing(400).map(|set| set.weight()), Ok(MATCHER_WEIGHT_MAX));
        assert_eq!(weighing(401), Err(MatcherSetError::TooHeavy { weight_max: MATCHER_WEIGHT_MAX }));
        assert_eq!((set(&["a", "b"]).weight(), MatcherSet::any().weight()), (0, 0));
    }

    /// The story: all patterns of a token and of a request were read, and compiled, before they were counted.
    #[test]
    fn nothing_is_read_behind_what_is_refused() {
        let mut asked = 0;
        let mut numbered = |refused_at: usize| {
            asked = 0;
            let read = MatcherSet::read((0..1_000).map(|n| {
                asked += 1;
                if n == refused_at { Err(n) } else { Ok(Matcher::parse(&format!("t{n}")).expect("a topic")) }
            }));
            (read, asked)
        };
        assert_eq!(numbered(7), (Err(7), 8));
        let too_many = MatcherSetError::TooMany { matchers_max: MATCHERS_MAX };
        assert_eq!(numbered(200), (Ok(Err(too_many)), MATCHERS_MAX + 1));
        assert_eq!(MatcherSet::read([Matcher::parse("a")]), Ok(Ok(set(&["a"]))));
    }
}
