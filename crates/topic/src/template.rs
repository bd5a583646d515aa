use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::expression::{Expression, REGEX_BYTES_MAX};
use crate::glob::Glob;
use crate::is_control_or_format;
use crate::pattern::RUNS_MAX;
use crate::trie::Route;

mod parse;

pub use parse::TEMPLATE_VARIABLES_MAX;

/// The most bytes a template may have, in UTF-8.
pub const TEMPLATE_BYTES_MAX: usize = 1_024;

/// A pattern of topics: a URI Template (RFC 6570). It matches the topics that some values of its
/// variables make of it, compared as text; nothing is resolved against any URL.
///
/// `{x}` stands for a run, possibly empty, of unreserved characters, commas and `%XX`, so it ends at
/// a slash; `{+x}` and `{#x}` for reserved characters as well. The other operators, `*` and
/// `:<length>` work too. What is literal matches as it is written, and as an expansion would write it.
///
/// A clone shares everything; templates are equal when their texts are.
#[derive(Clone)]
pub struct Template(Arc<Parsed>);

struct Parsed {
    text: Box<str>,
    form: Form,
}

enum Form {
    /// As it is written, and as an expansion writes it, if that is not the same.
    Globs(Glob, Option<Glob>),
    /// And the text that topics begin with, if that is the same in an expansion.
    Expression(Box<Expression>, Box<str>),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is empty.
    #[error("a template must not be empty")]
    Empty,
    /// The text is longer than [`TEMPLATE_BYTES_MAX`].
    #[error("a template of {bytes} bytes is longer than {TEMPLATE_BYTES_MAX}")]
    TooLong {
        /// The text's length in bytes.
        bytes: usize,
    },
    /// The text has a control character (C0, DEL, C1) or a format character (Unicode `Cf`), which
    /// no topic has.
    #[error("a template must not have the control or format character U+{:04X} (at byte {at})", u32::from(*character))]
    Control {
        /// The first such character.
        character: char,
        /// The byte at which it begins.
        at: usize,
    },
    /// The text is not a URI Template.
    #[error("{problem} (at byte {at})")]
    Syntax {
        /// What is wrong.
        problem: &'static str,
        /// The byte of the text at which it is.
        at: usize,
    },
    /// It has more than [`RUNS_MAX`] expressions.
    #[error("a template has at most {RUNS_MAX} expressions")]
    TooMany,
    /// Its expressions allow for too much.
    #[error("the template's expressions take a regular expression of more than {REGEX_BYTES_MAX} bytes")]
    TooLarge,
}

impl Template {
    /// Takes a text for a template.
    ///
    /// # Errors
    /// When the text is empty, too long, has a control or format character, is no URI Template, or allows for too much.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong { bytes: text.len() });
        }
        if let Some((at, character)) = text.char_indices().find(|&(_, c)| is_control_or_format(c)) {
            return Err(TemplateError::Control { character, at });
        }
        let form = parse::form(text)?;
        Ok(Template(Arc::new(Parsed { text: text.into(), form })))
    }

    /// Whether a text is read within microseconds, which is sure only where nothing in it may take a regular
    /// expression.
    #[must_use]
    pub fn is_quick(text: &str) -> bool {
        let mut inside = text.split('{').skip(1).map(|behind| behind.split('}').next().unwrap_or_default());
        inside.all(|it| it.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+,_".contains(&byte)))
    }

    /// Whether a topic matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        #[cfg(test)]
        crate::index::tests::TESTS_MADE.set(crate::index::tests::TESTS_MADE.get() + 1);
        match &self.0.form {
            Form::Globs(written, expanded) => {
                written.matches(topic) || expanded.as_ref().is_some_and(|expanded| expanded.matches(topic))
            }
            Form::Expression(expression, prefix) => topic.starts_with(&**prefix) && expression.is_match(topic),
        }
    }

    /// The template as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// What matching costs, at least 1: see [`MATCHER_WEIGHT_MAX`](crate::MATCHER_WEIGHT_MAX).
    #[must_use]
    pub fn weight(&self) -> u32 {
        match &self.0.form {
            Form::Globs(written, expanded) => {
                let expanded = expanded.as_ref().map_or(0, Glob::weight);
                written.weight().max(1).saturating_add(expanded)
            }
            Form::Expression(expression, _) => expression.weight(),
        }
    }

    /// The ways to it along topics.
    pub(crate) fn routes(&self) -> impl Iterator<Item = Route> {
        let (first, second) = match &self.0.form {
            Form::Globs(written, expanded) => {
                let route = |glob: &Glob| Route::new(String::new(), glob.pieces());
                (route(written), expanded.as_ref().map(route))
            }
            Form::Expression(_, prefix) => (Route::new(prefix.to_string(), &[]), None),
        };
        let second = second.filter(|second| *second != first);
        [Some(first), second].into_iter().flatten()
    }
}

impl Ord for Template {
    fn cmp(&self, other: &Template) -> Ordering {
        self.0.text.cmp(&other.0.text)
    }
}

impl PartialOrd for Template {
    fn partial_cmp(&self, other: &Template) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Template {}

impl Hash for Template {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests;
