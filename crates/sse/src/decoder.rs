use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::line::{Field, Line};

/// How much a decoder holds for a peer that never ends a line or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest line, in bytes without its ending. Less than [`Limits::LINE_BYTES_MAX_LEAST`] counts as that.
    pub line_bytes_max: usize,
    /// The longest data of one event, in bytes as received, with the LF between lines.
    pub event_bytes_max: usize,
}

impl Limits {
    /// The least that `line_bytes_max` can be: every known field name fits.
    pub const LINE_BYTES_MAX_LEAST: usize = 16;
}

/// 2 MiB each, so that 1 MiB of data fits whatever it holds: all of it in one line, or nothing but newlines.
impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes_max: 2 << 20, event_bytes_max: 2 << 20 }
    }
}

/// What a stream holds, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event was dispatched.
    Event(Message),
    /// A blank line committed this last event id without an event. It may be empty, which clears the id.
    Checkpoint(String),
    /// A comment, without its colon and one space.
    Comment(String),
    /// The reconnection time in milliseconds. What is beyond a `u64` is `u64::MAX`.
    Retry(u64),
}

/// One dispatched event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The last event id at the dispatch, which an earlier event may have set.
    pub id: String,
    /// `message` where the stream names no type.
    pub event_type: String,
    /// The data lines, joined by LF.
    pub data: String,
}

/// A part of the stream was over a limit and was left out. The decoder goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The line was left out, and with it the event, if the line was one of its `data`, `event` or `id`.
    #[error("line is longer than {limit} bytes")]
    LineTooLong {
        /// [`Limits::line_bytes_max`].
        limit: usize,
    },
    /// The event was left out.
    #[error("event is longer than {limit} bytes")]
    EventTooLong {
        /// [`Limits::event_bytes_max`].
        limit: usize,
    },
}

/// Decodes one stream, fed in pieces of any size. Any cutting of the same bytes gives the same items.
///
/// One decoder serves one connection. The last event id outlives it: begin the next with
/// [`Decoder::with_last_event_id`]. An event that the end of the stream left unfinished is discarded by dropping the
/// decoder.
///
/// Over a limit the decoder reports an error and goes on, for two reasons. The reader has been told of the loss; and a
/// reader who reconnected instead would ask for the same event again, for ever. So an event that was left out still
/// commits its id, as a [`Item::Checkpoint`].
///
/// Memory: the unfinished event takes at most `event_bytes_max` and three times `line_bytes_max`; the items
/// of what was fed wait until they are drained, so drain after each [`feed`](Decoder::feed).
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    start: Start,
    /// The byte before was a CR, which has ended its line already: an LF now belongs to it.
    after_cr: bool,
    line: Line,
    /// The value of the unfinished line, unless it is `data`.
    value: Vec<u8>,
    /// The data of the unfinished event, if it has any. Bytes, since a line may end inside a character.
    data: Option<Vec<u8>>,
    event_type: String,
    /// The id that the next blank line commits, and whether this block has set it.
    id: String,
    id_set: bool,
    /// The unfinished event was over a limit.
    left_out: bool,
    items: VecDeque<Result<Item, DecodeError>>,
    /// The id of the last item drained, not of the last one decoded: what waits has not been seen by anyone.
    last_event_id: String,
}

/// How far the byte order mark has been seen.
#[derive(Clone, Copy, Debug)]
enum Start {
    Mark { matched: usize },
    Over,
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

impl Decoder {
    /// A decoder for the first connection: the last event id is empty.
    pub fn new(limits: Limits) -> Self {
        Self::with_last_event_id(limits, "")
    }

    /// A decoder for a further connection: `id` stands until the stream sets another.
    pub fn with_last_event_id(limits: Limits, id: impl Into<String>) -> Self {
        let id = id.into();
        let line_bytes_max = limits.line_bytes_max.max(Limits::LINE_BYTES_MAX_LEAST);
        Self {
            limits: Limits { line_bytes_max, ..limits },
            start: Start::Mark { matched: 0 },
            after_cr: false,
            line: Line::default(),
            value: Vec::new(),
            data: None,
            event_type: String::new(),
            last_event_id: id.clone(),
            id,
            id_set: false,
            left_out: false,
            items: VecDeque::new(),
        }
    }

    /// Decodes the next bytes of the stream. Drain [`next`](Decoder::next) afterwards.
    pub fn feed(&mut self, bytes: &[u8]) {
        match self.start {
            Start::Over => self.lines(bytes),
            Start::Mark { matched } => self.first_bytes(bytes, matched),
        }
    }

    /// The next item of what was fed, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`DecodeError`] where something was left out. The decoder goes on behind it.
    #[expect(clippy::should_implement_trait, reason = "None is not the end: feed brings more")]
    pub fn next(&mut self) -> Option<Result<Item, DecodeError>> {
        let item = self.items.pop_front();
        if let Some(Ok(Item::Event(Message { id, .. }) | Item::Checkpoint(id))) = &item {
            self.last_event_id.clone_from(id);
        }
        item
    }

    /// The last event id of the items drained so far: from where to resume.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    fn first_bytes(&mut self, bytes: &[u8], matched: usize) {
        let expected = &BYTE_ORDER_MARK[matched..];
        let more = expected.iter().zip(bytes).take_while(|(mark, byte)| mark == byte).count();
        if more == expected.len() {
            self.start = Start::Over;
            self.lines(&bytes[more..]);
        } else if more == bytes.len() {
            self.start = Start::Mark { matched: matched + more };
        } else {
            self.start = Start::Over;
            self.lines(&BYTE_ORDER_MARK[..matched]);
            self.lines(bytes);
        }
    }

    fn lines(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(at) = memchr::memchr2(b'\r', b'\n', bytes) else {
                self.part_of_line(bytes);
                return;
            };
            self.part_of_line(&bytes[..at]);
            self.end_line();
            self.after_cr = bytes[at] == b'\r';
            bytes = &bytes[at + 1..];
        }
    }

    fn part_of_line(&mut self, part: &[u8]) {
        let limit = self.limits.line_bytes_max;
        let room = limit - self.line.length;
        let kept = &part[..part.len().min(room)];
        self.line.length += kept.len();

        let named = self.line.is_named();
        let value = self.line.take_name(kept);
        if !named && self.line.is_data() {
            self.begin_data_line();
        }
        if self.line.is_data() {
            self.append_data(value);
        } else if self.line.holds_value() {
            self.value.extend_from_slice(value);
        }

        if part.len() > room && !self.line.too_long {
            self.line.too_long = true;
            self.items.push_back(Err(DecodeError::LineTooLong { limit }));
        }
    }

    fn begin_data_line(&mut self) {
        match &self.data {
            None if self.left_out => {}
            None => self.data = Some(Vec::new()),
            Some(_) => self.append_data(b"\n"),
        }
    }

    fn append_data(&mut self, bytes: &[u8]) {
        let limit = self.limits.event_bytes_max;
        let Some(data) = &mut self.data else { return };
        if data.len() + bytes.len() <= limit {
            data.extend_from_slice(bytes);
        } else {
            self.leave_out();
            self.items.push_back(Err(DecodeError::EventTooLong { limit }));
        }
    }

    fn leave_out(&mut self) {
        self.left_out = true;
        self.data = None;
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        if line.length == 0 {
            return self.end_event();
        }
        let field = line.field();
        if field == Field::Data && !line.is_named() {
            // A lone `data`, without a colon.
            self.begin_data_line();
        }
        let value = mem::take(&mut self.value);
        if line.too_long {
            if matches!(field, Field::Data | Field::Event | Field::Id) {
                self.leave_out();
            }
            return;
        }
        match field {
            Field::Event => self.event_type = text(value),
            Field::Id if memchr::memchr(0, &value).is_none() => {
                self.id = text(value);
                self.id_set = true;
            }
            Field::Retry => self.items.extend(milliseconds(&value).map(|ms| Ok(Item::Retry(ms)))),
            Field::Comment => self.items.push_back(Ok(Item::Comment(text(value)))),
            Field::Id | Field::Data | Field::Unknown => {}
        }
    }

    fn end_event(&mut self) {
        let event_type = mem::take(&mut self.event_type);
        let id_set = mem::take(&mut self.id_set);
        self.left_out = false;
        if let Some(data) = self.data.take() {
            let event_type = if event_type.is_empty() { String::from("message") } else { event_type };
            let message = Message { id: self.id.clone(), event_type, data: text(data) };
            self.items.push_back(Ok(Item::Event(message)));
        } else if id_set {
            self.items.push_back(Ok(Item::Checkpoint(self.id.clone())));
        }
    }
}

/// Bad bytes become U+FFFD. Done a value at a time, which is the same as for the whole stream: what ends a value is
/// ASCII, and ends an unfinished character too. Good text is moved, not copied.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// ASCII digits only: no sign, no space, not nothing.
fn milliseconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |ms: u64, byte: &u8| ms.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Some(value.iter().fold(0, digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits { line_bytes_max: 16, event_bytes_max: 16 };

    fn decode(limits: Limits, stream: &[u8]) -> Vec<Result<Item, DecodeError>> {
        let mut decoder = Decoder::new(limits);
        decoder.feed(stream);
        core::iter::from_fn(|| decoder.next()).collect()
    }

    fn event(id: &str, data: &str) -> Result<Item, DecodeError> {
        Ok(Item::Event(Message { id: id.into(), event_type: "message".into(), data: data.into() }))
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_not_one_byte_longer() {
        assert_eq!(decode(SMALL, b"data: 0123456789\n\n"), [event("", "0123456789")]);
        let too_long = Err(DecodeError::LineTooLong { limit: 16 });
        assert_eq!(decode(SMALL, b"data: 0123456789a\n\ndata: b\n\n"), [too_long, event("", "b")]);
    }

    #[test]
    fn an_event_may_be_as_long_as_the_limit_and_not_one_byte_longer() {
        assert_eq!(decode(SMALL, b"data: 0123456\ndata: 89abcdef\n\n"), [event("", "0123456\n89abcdef")]);
        let too_long = Err(DecodeError::EventTooLong { limit: 16 });
        let stream = b"data: 0123456\ndata: 89abcdefg\ndata: more\n\ndata: b\n\n";
        assert_eq!(decode(SMALL, stream), [too_long.clone(), event("", "b")]);
        let newlines = b"data\n".repeat(17);
        assert_eq!(decode(SMALL, &[&newlines[..], b"\n"].concat()), [event("", &"\n".repeat(16))]);
        assert_eq!(decode(SMALL, &[&newlines[..], b"data\n\n"].concat()), [too_long]);
    }

    #[test]
    fn an_event_left_out_still_commits_its_id() {
        let stream = b"id: 1\ndata: 0123456789a\n\ndata: 0123456789a\nid: 2\n\n";
        let too_long = || Err(DecodeError::LineTooLong { limit: 16 });
        let checkpoint = |id: &str| Ok(Item::Checkpoint(id.into()));
        assert_eq!(decode(SMALL, stream), [too_long(), checkpoint("1"), too_long(), checkpoint("2")]);
    }

    #[test]
    fn a_long_comment_does_not_cost_the_event() {
        let stream = b"data: a\n:0123456789abcdef\nunknown:0123456789\n\n";
        let too_long = || Err(DecodeError::LineTooLong { limit: 16 });
        assert_eq!(decode(SMALL, stream), [too_long(), too_long(), event("", "a")]);
    }

    #[test]
    fn an_endless_line_is_reported_before_it_ends_and_takes_no_memory() {
        let mut decoder = Decoder::new(SMALL);
        decoder.feed(b"data: ");
        for _ in 0..1_000 {
            decoder.feed(&[b'x'; 1_000]);
        }
        assert_eq!(decoder.next(), Some(Err(DecodeError::LineTooLong { limit: 16 })));
        assert_eq!(decoder.next(), None);
        assert!(decoder.data.is_some_and(|data| data.capacity() <= 64));
    }

    #[test]
    fn one_mebibyte_of_anything_fits_the_default_limits() {
        for unit in ["x", "\n", "\u{e9}", "\u{1f600}"] {
            let data = unit.repeat((1 << 20) / unit.len());
            let mut wire = Vec::new();
            crate::Event::new(data.as_str()).encode(&mut wire);
            assert!(decode(Limits::default(), &wire) == [event("", &data)], "{unit:?}");
        }
        let bad = [b"data: ".as_slice(), &[0xff; 1 << 20], b"\n\n"].concat();
        assert!(decode(Limits::default(), &bad) == [event("", &"\u{fffd}".repeat(1 << 20))]);
    }

    #[test]
    fn the_last_event_id_is_that_of_what_was_drained() {
        let mut decoder = Decoder::with_last_event_id(Limits::default(), "0");
        decoder.feed(b"data: a\n\nid: 1\ndata: b\n\nid: 2\n\nid: 3\ndata: unfinished");
        assert_eq!((decoder.next(), decoder.last_event_id()), (Some(event("0", "a")), "0"));
        assert_eq!((decoder.next(), decoder.last_event_id()), (Some(event("1", "b")), "1"));
        assert_eq!((decoder.next(), decoder.last_event_id()), (Some(Ok(Item::Checkpoint("2".into()))), "2"));
        assert_eq!((decoder.next(), decoder.last_event_id()), (None, "2"));
    }

    #[test]
    fn retry_beyond_a_u64_is_the_largest() {
        assert_eq!(milliseconds(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(milliseconds(b"18446744073709551616"), Some(u64::MAX));
        assert_eq!(milliseconds(b"0000000000000000000000000000010"), Some(10));
    }

    #[test]
    fn limits_too_small_for_a_field_name_are_raised() {
        let none = Limits { line_bytes_max: 0, event_bytes_max: 1 };
        assert_eq!(decode(none, b"data: x\n\n"), [event("", "x")]);
    }
}
