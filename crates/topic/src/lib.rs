//! Topics, matchers and the index from a topic to its matchers.
//!
//! A [`Topic`] is what an event is published on. A [`Matcher`] is what a subscriber asks for or
//! a token grants: one topic, all topics of a form (a [`Pattern`] or a [`Template`]), or `*` for all
//! of them. A [`MatcherSet`] is several of them, OR'd, and a [`TopicIndex`] finds the sets that match
//! an event without looking at the others.

mod base;
mod canonical;
mod expression;
mod glob;
mod index;
mod keys;
mod matcher;
mod parts;
mod pattern;
mod template;
mod topic;
mod trie;

pub use base::{BaseUrl, BaseUrlError};
pub use canonical::is_canonical_url;
pub use expression::{REGEX_BYTES_MAX, REGEX_TEXT_BYTES_MAX};
pub use index::TopicIndex;
pub use matcher::{MATCHER_WEIGHT_MAX, MATCHERS_MAX, Matcher, MatcherSet, MatcherSetError};
pub use parts::HashParts;
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError, RUNS_MAX};
pub use template::{TEMPLATE_BYTES_MAX, TEMPLATE_VARIABLES_MAX, Template, TemplateError};
pub use topic::{TOPIC_BYTES_MAX, Topic, TopicError, is_control_or_format};
