use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes a topic may have, in UTF-8.
pub const TOPIC_BYTES_MAX: usize = 4_096;

/// The name under which an event is published: any text without control or format characters,
/// of 1 to [`TOPIC_BYTES_MAX`] bytes, and not `*`. Topics are compared byte by byte.
///
/// A clone shares the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Why a text is not a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The text is empty.
    #[error("a topic must not be empty")]
    Empty,
    /// The text is longer than [`TOPIC_BYTES_MAX`].
    #[error("a topic of {bytes} bytes is longer than {TOPIC_BYTES_MAX}")]
    TooLong {
        /// The text's length in bytes.
        bytes: usize,
    },
    /// The text is `*`, which is the matcher of every topic.
    #[error("`*` stands for every topic and is not one")]
    Reserved,
    /// The text has a control character (C0, DEL, C1) or a format character (Unicode `Cf`).
    #[error("a topic must not have the control or format character U+{:04X} (at byte {at})", u32::from(*character))]
    Control {
        /// The first such character.
        character: char,
        /// The byte at which it begins.
        at: usize,
    },
}

impl Topic {
    /// Takes a text for a topic.
    ///
    /// # Errors
    /// When it is empty, too long, `*`, or has a control or format character.
    pub fn parse(text: &str) -> Result<Topic, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong { bytes: text.len() });
        }
        if text == "*" {
            return Err(TopicError::Reserved);
        }
        match text.char_indices().find(|&(_, c)| is_control_or_format(c)) {
            Some((at, character)) => Err(TopicError::Control { character, at }),
            None => Ok(Topic(text.into())),
        }
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

// `Hash`, `Eq` and `Ord` are those of the text, so that a map of topics can be asked with a `&str`.
impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Topic, TopicError> {
        Topic::parse(text)
    }
}

/// Whether a character is a control (C0, DEL, C1: Unicode `Cc`) or a format character (`Cf`, as
/// of Unicode 17). Neither is seen when it is printed, so that names which differ would look
/// alike; topics, ids and types refuse both.
#[must_use]
pub fn is_control_or_format(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(u32::from(c),
            0x00AD
            | 0x0600..=0x0605
            | 0x061C
            | 0x06DD
            | 0x070F
            | 0x0890..=0x0891
            | 0x08E2
            | 0x180E
            | 0x200B..=0x200F
            | 0x202A..=0x202E
            | 0x2060..=0x2064
            | 0x2066..=0x206F
            | 0xFEFF
            | 0xFFF9..=0xFFFB
            | 0x110BD
            | 0x110CD
            | 0x13430..=0x1343F
            | 0x1BCA0..=0x1BCA3
            | 0x1D173..=0x1D17A
            | 0xE0001
            | 0xE0020..=0xE007F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_kept_as_it_is() {
        for text in ["a", "urn:uuid:1", "https://example.com/a b?c#d", "**", " * ", "日本", "a/*", "\u{A0}"] {
            let topic = Topic::parse(text).expect(text);
            assert_eq!(topic.as_str(), text);
            assert_eq!(topic.to_string(), text);
        }
    }

    #[test]
    fn the_empty_text_and_the_star_are_no_topics() {
        assert_eq!(Topic::parse(""), Err(TopicError::Empty));
        assert_eq!(Topic::parse("*"), Err(TopicError::Reserved));
    }

    #[test]
    fn one_byte_more_than_the_limit_is_refused() {
        assert!(Topic::parse(&"a".repeat(TOPIC_BYTES_MAX)).is_ok());
        let bytes = TOPIC_BYTES_MAX + 1;
        assert_eq!(Topic::parse(&"a".repeat(bytes)), Err(TopicError::TooLong { bytes }));
        assert!(Topic::parse(&"é".repeat(TOPIC_BYTES_MAX / 2 + 1)).is_err(), "bytes count, not characters");
    }

    #[test]
    fn controls_and_format_characters_are_refused_with_their_place() {
        for c in
            ['\0', '\n', '\r', '\u{1F}', '\u{7F}', '\u{80}', '\u{9F}', '\u{AD}', '\u{200B}', '\u{FEFF}', '\u{E007F}']
        {
            let refused = TopicError::Control { character: c, at: 2 };
            assert_eq!(Topic::parse(&format!("é{c}x")), Err(refused), "{c:?}");
        }
        let error = Topic::parse("a\n").expect_err("a newline");
        assert_eq!(error.to_string(), "a topic must not have the control or format character U+000A (at byte 1)");
    }

    #[test]
    fn the_table_has_all_control_and_format_characters() {
        // 65 controls and 170 format characters in Unicode 17.
        assert_eq!((char::MIN..=char::MAX).filter(|&c| is_control_or_format(c)).count(), 65 + 170);
    }
}
