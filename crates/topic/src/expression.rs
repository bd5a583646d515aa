//! Regular expressions whose matching takes linear time, and whose size is limited.

use regex::bytes::{Regex, RegexBuilder};

/// What a regular expression's program may take in memory, compiled. With what is kept beside it, and while it runs, it is
/// several times that.
pub const REGEX_BYTES_MAX: usize = 8 * 1_024;

/// The most bytes of a regular expression as text: reading and compiling costs what it has.
pub const REGEX_TEXT_BYTES_MAX: usize = 4 * 1_024;

/// What a regular expression weighs, where a wildcard weighs 1.
pub(crate) const REGEX_WEIGHT: u32 = 200;

/// A regular expression of a pattern or template.
#[derive(Debug)]
pub(crate) struct Expression(Regex);

impl Expression {
    /// `None` if the text is no regular expression, has flags, or is too large.
    pub(crate) fn compile(text: &str) -> Option<Expression> {
        if text.len() > REGEX_TEXT_BYTES_MAX || has_flags(text) {
            return None;
        }
        #[cfg(test)]
        COMPILED.set(COMPILED.get() + 1);
        // Without the tables of Unicode it takes a tenth of the time and memory. Locations have ASCII alone, and what
        // is literal in a template is found by its bytes.
        let mut builder = RegexBuilder::new(text);
        builder.unicode(false).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX);
        builder.build().ok().map(Expression)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

/// Whether there is a `(?` that does more than group: a flag may bring back the tables of Unicode.
fn has_flags(text: &str) -> bool {
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = match first {
            b'\\' => behind.get(1..).unwrap_or_default(),
            b'(' if behind.starts_with(b"?") && !behind.starts_with(b"?:") => return true,
            _ => behind,
        };
    }
    false
}

#[cfg(test)]
thread_local! {
    /// How many were compiled.
    pub(crate) static COMPILED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_of_text_more_than_the_limit_is_refused() {
        let many = |bytes: usize| format!("(?:{})", "(?:)".repeat((bytes - 4) / 4));
        assert!(Expression::compile(&many(REGEX_TEXT_BYTES_MAX)).is_some());
        assert!(Expression::compile(&(many(REGEX_TEXT_BYTES_MAX) + "a")).is_none());
    }

    #[test]
    fn what_is_literal_is_found_by_its_bytes() {
        let expression = Expression::compile("^é(?:a|b)$").expect("an expression");
        assert!(expression.is_match("éa") && !expression.is_match("éc") && !expression.is_match("ea"));
    }
}
