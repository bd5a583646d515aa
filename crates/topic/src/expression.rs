//! Regular expressions whose matching takes linear time, and whose size is limited.

use regex::bytes::{Regex, RegexBuilder};

/// What a regular expression may take in memory, compiled, and again while it runs.
pub const REGEX_BYTES_MAX: usize = 32 * 1_024;

/// A regular expression of a pattern or template.
#[derive(Debug)]
pub(crate) struct Expression(Regex);

impl Expression {
    /// `None` if the text is no regular expression, or one that is too large.
    pub(crate) fn compile(text: &str) -> Option<Expression> {
        #[cfg(test)]
        COMPILED.set(COMPILED.get() + 1);
        // What is matched has no letters beyond ASCII unless the expression has: without the tables of Unicode it
        // takes a tenth of the memory.
        let build = |is_unicode| {
            let mut builder = RegexBuilder::new(text);
            builder.unicode(is_unicode).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().ok()
        };
        let plain = if text.is_ascii() { build(false) } else { None };
        plain.or_else(|| build(true)).map(Expression)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

#[cfg(test)]
thread_local! {
    /// How many were compiled.
    pub(crate) static COMPILED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
