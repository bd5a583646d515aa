//! The lines of an event, one function each.
//!
//! Every function appends whole lines to `out`, and appends nothing when it returns an error. A value is always
//! preceded by one space: a decoder strips one, so a value that begins with a space would lose its own without it.

use alloc::vec::Vec;

/// Why a value cannot be put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A CR, LF or NUL: the first two would begin a new line, and an id with a NUL is ignored by every decoder.
    #[error("{field} holds the byte {byte:#04x}, which cannot be sent")]
    ForbiddenByte {
        /// What was to be encoded.
        field: Field,
        /// The first byte that is refused.
        byte: u8,
    },
    /// An empty type reads as `message`, which is better said by leaving it out.
    #[error("event type is empty")]
    EmptyType,
}

/// The kinds of line whose value must fit on that line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `id: …`
    Id,
    /// `event: …`
    EventType,
    /// `: …`
    Comment,
}

impl core::fmt::Display for Field {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Id => "id",
            Self::EventType => "event type",
            Self::Comment => "comment",
        })
    }
}

/// Appends `id: …`. The empty id is allowed: it clears the reader's last event id.
///
/// # Errors
/// [`EncodeError::ForbiddenByte`] if the id holds CR, LF or NUL.
pub fn id(out: &mut Vec<u8>, id: &str) -> Result<(), EncodeError> {
    check_line(Field::Id, id)?;
    line(out, b"id", id.as_bytes());
    Ok(())
}

/// Appends `event: …`.
///
/// # Errors
/// [`EncodeError::ForbiddenByte`] if the type holds CR, LF or NUL, [`EncodeError::EmptyType`] if it is empty.
pub fn event_type(out: &mut Vec<u8>, event_type: &str) -> Result<(), EncodeError> {
    check_event_type(event_type)?;
    line(out, b"event", event_type.as_bytes());
    Ok(())
}

/// Appends one `data: …` line for each line of `data`, which is split on CR, LF and CRLF. The reader joins them with LF.
///
/// The empty string is one line without a value, since an event without any would not be dispatched. A newline at the
/// end survives as one more such line.
pub fn data(out: &mut Vec<u8>, data: &str) {
    let mut rest = data.as_bytes();
    out.reserve(rest.len() + DATA_LINE_OVERHEAD);
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        line(out, b"data", &rest[..at]);
        let terminator = if rest[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[at + terminator..];
    }
    line(out, b"data", rest);
}

/// Appends `retry: …`: after how many milliseconds the reader shall reconnect.
pub fn retry(out: &mut Vec<u8>, ms: u64) {
    use core::fmt::Write as _;
    let mut digits = Digits { bytes: [0; DIGITS_MAX], length: 0 };
    write!(digits, "{ms}").expect("a u64 has at most 20 digits");
    line(out, b"retry", &digits.bytes[..digits.length]);
}

/// Appends `: …`, which readers skip. An empty comment is `:` alone, the shortest heartbeat there is.
///
/// # Errors
/// [`EncodeError::ForbiddenByte`] if the text holds CR, LF or NUL.
pub fn comment(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    check_line(Field::Comment, text)?;
    if text.is_empty() {
        out.extend_from_slice(b":\n");
    } else {
        line(out, b"", text.as_bytes());
    }
    Ok(())
}

/// Appends the blank line that ends an event and dispatches it.
pub fn end(out: &mut Vec<u8>) {
    out.push(b'\n');
}

pub(crate) fn check_event_type(event_type: &str) -> Result<(), EncodeError> {
    if event_type.is_empty() {
        return Err(EncodeError::EmptyType);
    }
    check_line(Field::EventType, event_type)
}

pub(crate) fn check_line(field: Field, value: &str) -> Result<(), EncodeError> {
    match memchr::memchr3(b'\r', b'\n', 0, value.as_bytes()) {
        Some(at) => Err(EncodeError::ForbiddenByte { field, byte: value.as_bytes()[at] }),
        None => Ok(()),
    }
}

/// `data: ` and LF.
const DATA_LINE_OVERHEAD: usize = 7;

/// Of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// Formats a number without an allocation.
struct Digits {
    bytes: [u8; DIGITS_MAX],
    length: usize,
}

impl core::fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(core::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 3);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    #[test]
    fn data_is_split_on_every_line_ending() {
        assert_eq!(
            encoded(|out| data(out, "a\rb\nc\r\nd\n\re")),
            b"data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n"
        );
    }

    #[test]
    fn empty_data_is_one_line_and_a_last_newline_is_one_more() {
        assert_eq!(encoded(|out| data(out, "")), b"data: \n");
        assert_eq!(encoded(|out| data(out, "a\n")), b"data: a\ndata: \n");
        assert_eq!(encoded(|out| data(out, "\r\n")), b"data: \ndata: \n");
    }

    #[test]
    fn what_would_break_a_line_is_refused_and_leaves_nothing_behind() {
        let mut out = Vec::from(*b"before");
        for byte in [b'\r', b'\n', 0] {
            let text = alloc::format!("a{}b", char::from(byte));
            let refused = |field| Err(EncodeError::ForbiddenByte { field, byte });
            assert_eq!(id(&mut out, &text), refused(Field::Id));
            assert_eq!(event_type(&mut out, &text), refused(Field::EventType));
            assert_eq!(comment(&mut out, &text), refused(Field::Comment));
        }
        assert_eq!(event_type(&mut out, ""), Err(EncodeError::EmptyType));
        assert_eq!(out, b"before");
    }

    #[test]
    fn a_value_keeps_its_own_leading_space() {
        assert_eq!(encoded(|out| id(out, " 7").expect("no line ending in it")), b"id:  7\n");
    }

    #[test]
    fn the_empty_comment_is_two_bytes() {
        assert_eq!(encoded(|out| comment(out, "").expect("no line ending in it")), b":\n");
        assert_eq!(encoded(|out| comment(out, "hi").expect("no line ending in it")), b": hi\n");
    }

    #[test]
    fn retry_holds_any_number() {
        assert_eq!(encoded(|out| retry(out, 0)), b"retry: 0\n");
        assert_eq!(encoded(|out| retry(out, u64::MAX)), b"retry: 18446744073709551615\n");
    }
}
