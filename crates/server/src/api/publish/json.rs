use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// More elements than this are counted, not kept: an array of many small values would take a
/// multiple of its text.
const ELEMENTS_MAX: usize = 1_000_000;

/// An array's elements as they stand in its text.
pub(super) struct Elements<'a> {
    pub(super) first: Vec<&'a RawValue>,
    /// How many there are in all.
    pub(super) count: usize,
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < ELEMENTS_MAX {
            match sequence.next_element()? {
                Some(element) => first.push(element),
                None => return Ok(Elements { count: first.len(), first }),
            }
        }
        let mut count = first.len();
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Elements { first, count })
    }
}

/// A string, borrowed from the text where it has no escapes.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// The first byte of a JSON text that is not white space.
pub(super) fn first_byte(text: &str) -> Option<u8> {
    text.bytes().find(|&b| !is_space(b))
}

/// What a valid JSON value is, for an error.
pub(super) fn kind(value: &str) -> &'static str {
    match first_byte(value) {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number like this one",
    }
}

/// A valid JSON value without the white space between its tokens. Numbers keep their digits and
/// objects their order.
pub(super) fn compact(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut in_string = false;
    let mut escaped = false;
    for piece in value.chars() {
        if in_string {
            (in_string, escaped) = (escaped || piece != '"', !escaped && piece == '\\');
        } else if piece.is_ascii() && is_space(piece as u8) {
            continue;
        } else {
            in_string = piece == '"';
        }
        out.push(piece);
    }
    out
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_between_tokens_goes() {
        let value = "{ \"b\" : [ 1.50 , 1e400, -0 ],\r\n\t\"a\\\" \\\\\" : \" x \\n\" , \"b\": 1 }";
        assert_eq!(compact(value), r#"{"b":[1.50,1e400,-0],"a\" \\":" x \n","b":1}"#);
        assert_eq!(compact("\"\\\\\" "), "\"\\\\\"");
    }

    proptest::proptest! {
        #[test]
        fn compact_text_means_the_same(value in value(3)) {
            let value: serde_json::Value = value;
            let pretty = serde_json::to_string_pretty(&value).expect("JSON");
            proptest::prop_assert_eq!(compact(&pretty), value.to_string());
        }
    }

    fn value(depth: u32) -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".*".prop_map(serde_json::Value::from)
        ];
        leaf.prop_recursive(depth, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
