//! Topics, matchers and the index from a topic to its matchers.
//!
//! A [`Topic`] is what an event is published on. A [`Matcher`] is what a subscriber asks for or
//! a token grants: one topic, or `*` for all of them. A [`MatcherSet`] is several of them, OR'd,
//! and a [`TopicIndex`] finds the sets that match an event without looking at the others. A
//! [`Pattern`] stands for all topics of a form.

mod canonical;
mod index;
mod matcher;
mod pattern;
mod topic;

pub use canonical::is_canonical_url;
pub use index::TopicIndex;
pub use matcher::{MATCHERS_MAX, Matcher, MatcherSet, MatcherSetError};
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError};
pub use topic::{TOPIC_BYTES_MAX, Topic, TopicError, is_control_or_format};
