//! W3C Trace Context: which trace a request belongs to.

use std::fmt;

use http::HeaderMap;

/// The header's name, and the event's attribute's.
pub(crate) use tidewire_log::TRACEPARENT;

/// A `traceparent` as the first version of the specification has it, or what a later one begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent<'a>(&'a str);

/// Version, trace, parent and flags, with hyphens between them.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

impl<'a> TraceParent<'a> {
    /// Reads a header's value. What is not valid is no traceparent, and the request belongs to no trace (section 3.2.2).
    pub(crate) fn parse(value: &'a [u8]) -> Option<TraceParent<'a>> {
        let text = str::from_utf8(value.trim_ascii()).ok()?;
        let first = text.get(..LENGTH)?;
        let parts: Vec<&str> = first.split('-').collect();
        let [version, trace, parent, flags] = parts[..] else { return None };
        let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        let lengths = [version, trace, parent, flags].map(str::len);
        let is_form = lengths == [2, 32, 16, 2] && is_hex(version) && is_hex(trace) && is_hex(parent) && is_hex(flags);
        // The first version has no more than that; of a later one, what is more is set off, and is not passed on.
        let rest = &text[LENGTH..];
        let is_end = rest.is_empty() || version != "00" && rest.starts_with('-');
        (is_form && is_end && version != "ff" && !is_zero(trace) && !is_zero(parent)).then_some(TraceParent(first))
    }

    /// That of a request. Two are none (section 3.2.1).
    pub(crate) fn of(headers: &'a HeaderMap) -> Option<TraceParent<'a>> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let first = values.next()?;
        values.next().is_none().then(|| TraceParent::parse(first.as_bytes()))?
    }

    /// The text, as it is passed on.
    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }

    /// The trace's id: 32 hexadecimal digits.
    pub(crate) fn trace_id(self) -> &'a str {
        &self.0[3..35]
    }
}

impl fmt::Debug for TraceParent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parsed(value: &str) -> Option<&str> {
        TraceParent::parse(value.as_bytes()).map(TraceParent::as_str)
    }

    #[test]
    fn what_the_specification_allows_is_one() {
        assert_eq!(parsed(VALID), Some(VALID));
        assert_eq!(parsed(&format!(" {VALID} ")), Some(VALID));
        let id = TraceParent::parse(VALID.as_bytes()).map(TraceParent::trace_id);
        assert_eq!(id, Some("0af7651916cd43dd8448eb211c80319c"));
        let later = VALID.replacen("00", "cc", 1);
        assert_eq!(parsed(&later), Some(&*later));
        assert_eq!(parsed(&format!("{later}-what-comes")), Some(&*later));
    }

    #[test]
    fn anything_else_is_none() {
        let zeros = |from: usize, to: usize| format!("{}{}{}", &VALID[..from], "0".repeat(to - from), &VALID[to..]);
        for value in [
            String::new(),
            VALID[..54].to_owned(),
            format!("{VALID}-more"),
            format!("{VALID}0"),
            VALID.replacen("00", "ff", 1),
            format!("{}x", VALID.replacen("00", "cc", 1)),
            VALID.to_uppercase(),
            VALID.replace('-', "_"),
            VALID.replacen('a', "g", 1),
            zeros(3, 35),
            zeros(36, 52),
            VALID.replacen('0', "é", 1),
            format!("0{}", &VALID[..54]),
        ] {
            assert_eq!(parsed(&value), None, "{value:?}");
        }
        assert!(TraceParent::parse(b"\xff\xfe").is_none());
    }

    #[test]
    fn two_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of(&headers), None);
        headers.append(TRACEPARENT, VALID.parse().expect("a value"));
        assert_eq!(TraceParent::of(&headers).map(TraceParent::as_str), Some(VALID));
        headers.append(TRACEPARENT, VALID.parse().expect("a value"));
        assert_eq!(TraceParent::of(&headers), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut value in prop::collection::vec(any::<u8>(), 0..70), cut in 0usize..56) {
            let _ = TraceParent::parse(&value);
            value.splice(..0, VALID.bytes().take(cut));
            let _ = TraceParent::parse(&value);
        }
    }
}
