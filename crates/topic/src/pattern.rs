use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::base::Location;
use crate::expression::Expression;
use crate::glob::{Glob, Piece};
use crate::trie::Route;
use crate::{BaseUrl, is_control_or_format};

mod parse;

pub use parse::RUNS_MAX;

/// The most bytes a pattern may have, in UTF-8.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// A pattern of topics: a WHATWG URL Pattern, case-sensitive. Pattern and topic are taken as URL
/// references against the same base URL, so that `/orders/*` means the hub's own topics, however
/// they are written.
///
/// A pattern without groups of its own regular expressions takes at most 300 bytes beside its text.
/// Topics are matched in time that is linear in their length, whatever groups the pattern has. A
/// clone shares everything; patterns are equal when text and base URL are.
#[derive(Clone)]
pub struct Pattern(Arc<Parsed>);

struct Parsed {
    text: Box<str>,
    base: BaseUrl,
    /// What the keys of locations begin with, `scheme/host/port/`; `None` if that is not one text, and these are
    /// among the parts.
    origin: Option<Arc<str>>,
    /// What is not to be matched by everything.
    parts: Box<[Part]>,
}

/// A part of a URL and what it must be.
struct Part {
    of: Of,
    test: Test,
}

/// The parts of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Scheme,
    Host,
    Port,
    Path,
    Search,
    Hash,
    Username,
    Password,
}

enum Test {
    Glob(Glob),
    Expression(Box<Expression>),
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is empty.
    #[error("a pattern must not be empty")]
    Empty,
    /// The text is longer than [`PATTERN_BYTES_MAX`].
    #[error("a pattern of {bytes} bytes is longer than {PATTERN_BYTES_MAX}")]
    TooLong {
        /// The text's length in bytes.
        bytes: usize,
    },
    /// The text has a control character (C0, DEL, C1) or a format character (Unicode `Cf`), which
    /// no topic has.
    #[error("a pattern must not have the control or format character U+{:04X} (at byte {at})", u32::from(*character))]
    Control {
        /// The first such character.
        character: char,
        /// The byte at which it begins.
        at: usize,
    },
    /// The text is not a URL Pattern, or a regular expression in it is too large.
    #[error("{problem}{}", at.map(|at| format!(" (at byte {at})")).unwrap_or_default())]
    Syntax {
        /// What is wrong.
        problem: String,
        /// The byte of the text at which it is, or at which the part of the URL begins that it is in.
        at: Option<usize>,
    },
}

impl Pattern {
    /// Takes a text for a pattern, relative to a base URL.
    ///
    /// # Errors
    /// When the text is empty, too long, has a control or format character, or is no URL Pattern.
    pub fn parse(text: &str, base: &BaseUrl) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        if let Some((at, character)) = text.char_indices().find(|&(_, c)| is_control_or_format(c)) {
            return Err(PatternError::Control { character, at });
        }
        let mut parts = parse::parts(text, base)?;
        let origin = literal_origin(&parts);
        if origin.is_some() {
            parts.drain(..3);
        }
        let of_base = base.shared_origin();
        let origin = origin.map(|origin| if *origin == **of_base { Arc::clone(of_base) } else { origin.into() });
        let (text, base) = (text.into(), base.clone());
        Ok(Pattern(Arc::new(Parsed { text, base, origin, parts: parts.into() })))
    }

    /// Whether a text is read within microseconds, which is sure only where nothing in it may take a regular
    /// expression.
    #[must_use]
    pub fn is_quick(text: &str) -> bool {
        !text.contains(['(', '{', '+', '?']) && !text.contains("**")
    }

    /// Whether a topic matches. One that is no URL reference matches no pattern.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        !self.rules_out(topic) && self.0.base.locate(topic).is_some_and(|location| self.matches_location(&location))
    }

    /// Whether it is known without locating a topic that it does not match, which takes a fraction of the time.
    pub(crate) fn rules_out(&self, topic: &str) -> bool {
        let Some(Part { of: Of::Path, test: Test::Glob(glob) }) = self.0.parts.first() else { return false };
        let Some(Piece::Literal(prefix)) = glob.pieces().first() else { return false };
        let is_at_base = self.0.origin.as_ref().is_some_and(|origin| Arc::ptr_eq(origin, self.0.base.shared_origin()));
        is_at_base && self.0.base.rules_out(topic, prefix)
    }

    /// Whether a topic matches, as its base URL located it.
    pub(crate) fn matches_location(&self, location: &Location) -> bool {
        #[cfg(test)]
        crate::index::tests::TESTS_MADE.set(crate::index::tests::TESTS_MADE.get() + 1);
        let is_there = self.0.origin.as_ref().is_none_or(|origin| location.key().starts_with(&**origin));
        is_there && self.0.parts.iter().all(|part| part.matches(location))
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// What it is relative to.
    #[must_use]
    pub fn base(&self) -> &BaseUrl {
        &self.0.base
    }

    /// What matching costs, at least 1: see [`MATCHER_WEIGHT_MAX`](crate::MATCHER_WEIGHT_MAX).
    #[must_use]
    pub fn weight(&self) -> u32 {
        let weights = self.0.parts.iter().map(|part| match &part.test {
            Test::Glob(glob) => glob.weight(),
            Test::Expression(expression) => expression.weight(),
        });
        weights.fold(0, u32::saturating_add).max(1)
    }

    /// What every canonical URL begins with that it matches.
    pub(crate) fn beginning(&self) -> String {
        let route = self.route();
        let mut parts = route.beginning().splitn(4, '/');
        let (Some(scheme), Some(host), Some(port), Some(path)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return String::new();
        };
        match (host, port) {
            // There may be two slashes with nothing behind them.
            ("", _) => format!("{scheme}:"),
            (_, "") => format!("{scheme}://{host}{path}"),
            _ => format!("{scheme}://{host}:{port}{path}"),
        }
    }

    /// The way to it along the keys of locations.
    pub(crate) fn route(&self) -> Route {
        let Some(origin) = &self.0.origin else {
            let begin = [Of::Scheme, Of::Host].into_iter().zip(&self.0.parts);
            let literals = begin.map_while(|(of, part)| part.literal().filter(|_| part.of == of));
            return Route::new(literals.flat_map(|text| [text, "/"]).collect(), &[]);
        };
        let prefix = origin.to_string();
        match self.0.parts.first() {
            Some(Part { of: Of::Path, test: Test::Glob(glob) }) => Route::new(prefix, glob.pieces()),
            _ => Route::new(prefix, &[]),
        }
    }
}

/// `scheme/host/port/`, if each of them is one text.
fn literal_origin(parts: &[Part]) -> Option<String> {
    let [scheme, host, port, ..] = parts else { return None };
    if [scheme.of, host.of, port.of] != [Of::Scheme, Of::Host, Of::Port] {
        return None;
    }
    Some(format!("{}/{}/{}/", scheme.literal()?, host.literal()?, port.literal()?))
}

impl Part {
    fn matches(&self, location: &Location) -> bool {
        let text = match self.of {
            Of::Scheme => location.scheme(),
            Of::Host => location.host(),
            Of::Port => location.port(),
            Of::Path => location.path(),
            Of::Search => location.search(),
            Of::Hash => location.hash(),
            Of::Username => location.username(),
            Of::Password => location.password(),
        };
        match &self.test {
            Test::Glob(glob) => glob.matches(text),
            Test::Expression(expression) => expression.is_match(text),
        }
    }

    fn literal(&self) -> Option<&str> {
        match &self.test {
            Test::Glob(glob) => glob.literal(),
            Test::Expression(_) => None,
        }
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> Ordering {
        self.0.text.cmp(&other.0.text).then_with(|| self.0.base.cmp(&other.0.base))
    }
}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
        self.0.base.hash(state);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?} at {:?})", self.as_str(), self.0.base)
    }
}

#[cfg(test)]
mod tests;
