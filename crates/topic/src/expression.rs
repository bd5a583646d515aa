//! Regular expressions whose matching takes linear time, and whose size is limited.

use regex::Error;
use regex::bytes::{Regex, RegexBuilder};

/// What a regular expression's program may take in memory, compiled. With what is kept beside it, and while it runs, it is
/// several times that.
pub const REGEX_BYTES_MAX: usize = 8 * 1_024;

/// The most bytes of a regular expression as text: reading and compiling costs what it has.
pub const REGEX_TEXT_BYTES_MAX: usize = 4 * 1_024;

/// What a regular expression weighs for each part of so many bytes that its program takes, where a wildcard weighs 1: what
/// a byte of a topic costs grows with the program, where no automaton of few states does its work.
pub(crate) const REGEX_WEIGHT: u32 = 200;
const WEIGHED_BYTES: usize = 4 * 1_024;
const _: () = assert!(REGEX_BYTES_MAX.is_multiple_of(WEIGHED_BYTES));

/// A regular expression of a pattern or template.
#[derive(Debug)]
pub(crate) struct Expression {
    regex: Regex,
    weight: u32,
}

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
        builder.unicode(false).dfa_size_limit(REGEX_BYTES_MAX);
        // How much it takes is not told, but that it is more than a limit.
        let mut weight = 0;
        for bytes in (WEIGHED_BYTES..=REGEX_BYTES_MAX).step_by(WEIGHED_BYTES) {
            weight += REGEX_WEIGHT;
            match builder.size_limit(bytes).build() {
                Ok(regex) => return Some(Expression { regex, weight }),
                Err(Error::CompiledTooBig(_)) => {}
                Err(_) => return None,
            }
        }
        None
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }

    /// What matching costs: see [`MATCHER_WEIGHT_MAX`](crate::MATCHER_WEIGHT_MAX).
    pub(crate) fn weight(&self) -> u32 {
        self.weight
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

    /// The story: five large ones, which no automaton of few states can do, took 12 ms for an event on a long topic, and
    /// weighed no more than five small ones.
    #[test]
    fn a_large_program_weighs_as_two_small_ones() {
        let weight = |count: usize| Expression::compile(&format!("(?:a|b)*a(?:a|b){{{count}}}c")).map(|it| it.weight());
        let weights: Vec<u32> = (1..1_000).map_while(weight).collect();
        assert!(weights.is_sorted() && weights.len() < 999);
        assert_eq!((weights.first(), weights.last()), (Some(&REGEX_WEIGHT), Some(&(2 * REGEX_WEIGHT))));
    }

    #[test]
    fn what_is_literal_is_found_by_its_bytes() {
        let expression = Expression::compile("^é(?:a|b)$").expect("an expression");
        assert!(expression.is_match("éa") && !expression.is_match("éc") && !expression.is_match("ea"));
    }
}
