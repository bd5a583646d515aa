//! The hub's own bytes: chunks that hold `retry:`, gaps, checkpoints and heartbeats.

use tidewire_log::HubId;

use crate::{Gap, Start};

/// What ends a chunked answer (RFC 9112, section 7.1).
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A comment of nothing, for a place that has not moved.
pub(crate) const COMMENT_CHUNK: &[u8] = b"2\r\n:\n\r\n";

/// What a gap quotes is cut here, in bytes.
pub const QUOTE_BYTES_MAX: usize = 256;

/// And here, in bytes as they stand in JSON, where a control character takes six.
const ESCAPED_BYTES_MAX: usize = 384;

/// Appends the chunk with which a stream begins: after how many milliseconds to reconnect, and the
/// gap or else a checkpoint.
///
/// They are one block, with no blank line before its `id:`. WebKit keeps what it has of a block when
/// a connection breaks, and goes on with it on the next one: a blank line after `retry:` would
/// dispatch half an event under its own id, to be followed by the whole one. This way the remains
/// come as data of an event of the hub's, at a place which is right.
pub(crate) fn beginning(out: &mut Vec<u8>, retry_ms: u64, start: &Start) {
    chunk(out, |sse| begin(sse, retry_ms, start));
}

/// Appends the whole body of a stream that ends as it begins: what others begin with, the reason, and the last chunk.
pub(crate) fn ended_beginning(out: &mut Vec<u8>, retry_ms: u64, start: &Start) {
    chunk(out, |sse| {
        stopping(sse);
        begin(sse, retry_ms, start);
    });
    out.extend_from_slice(LAST_CHUNK);
}

/// Appends what a stream between two frames is ended with: one block without data, which no reader is shown, and the
/// last chunk.
pub(crate) fn farewell(out: &mut Vec<u8>, retry_ms: u64) {
    chunk(out, |sse| {
        stopping(sse);
        tidewire_sse::encode::retry(sse, retry_ms);
        tidewire_sse::encode::end(sse);
    });
    out.extend_from_slice(LAST_CHUNK);
}

fn stopping(sse: &mut Vec<u8>) {
    tidewire_sse::encode::comment(sse, "the hub is stopping").expect("it holds no newline");
}

fn begin(sse: &mut Vec<u8>, retry_ms: u64, start: &Start) {
    tidewire_sse::encode::retry(sse, retry_ms);
    match &start.gap {
        Some(gap) => gap_event(sse, gap, start.place),
        None => own_event(sse, start.place, "tidewire.checkpoint", ""),
    }
}

/// Appends a chunk with a `tidewire.checkpoint` event. The data is there, though empty: Firefox and
/// WebKit drop the id of a block without any.
pub(crate) fn checkpoint(out: &mut Vec<u8>, place: HubId) {
    chunk(out, |sse| own_event(sse, place, "tidewire.checkpoint", ""));
}

/// Appends a chunk with a `tidewire.gap` event that goes on from `place`.
pub(crate) fn gap(out: &mut Vec<u8>, gap: &Gap, place: HubId) {
    chunk(out, |sse| gap_event(sse, gap, place));
}

fn gap_event(sse: &mut Vec<u8>, gap: &Gap, place: HubId) {
    let requested = serde_json::Value::from(quote(&gap.requested));
    let reason = gap.reason.as_str();
    let data = format!(r#"{{"requested":{requested},"resumed_from":"{place}","reason":"{reason}"}}"#);
    own_event(sse, place, "tidewire.gap", &data);
}

fn own_event(sse: &mut Vec<u8>, place: HubId, event_type: &str, data: &str) {
    tidewire_sse::encode::id(sse, &place.to_string()).expect("a hub id is digits, # and -");
    tidewire_sse::encode::event_type(sse, event_type).expect("the hub's own types hold no newline");
    tidewire_sse::encode::data(sse, data);
    tidewire_sse::encode::end(sse);
}

fn chunk(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut sse = Vec::with_capacity(128);
    fill(&mut sse);
    out.extend_from_slice(format!("{:x}\r\n", sse.len()).as_bytes());
    out.extend_from_slice(&sse);
    out.extend_from_slice(b"\r\n");
}

fn quote(text: &str) -> &str {
    let mut escaped = 0;
    let fits = |&(start, character): &(usize, char)| {
        escaped += match character {
            '"' | '\\' => 2,
            '\0'..='\u{1f}' => 6,
            _ => character.len_utf8(),
        };
        start + character.len_utf8() <= QUOTE_BYTES_MAX && escaped <= ESCAPED_BYTES_MAX
    };
    let last = text.char_indices().take_while(fits).last();
    &text[..last.map_or(0, |(start, character)| start + character.len_utf8())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GapReason;

    #[test]
    fn a_gap_is_one_chunk_and_quotes_at_most_256_bytes() {
        let requested = format!("{}\n\"{}", "x".repeat(250), "é".repeat(100));
        let mut out = Vec::new();
        gap(&mut out, &Gap { requested, reason: GapReason::Expired }, HubId { ms: 5, seq: 1 });
        let text = String::from_utf8(out).expect("text");
        let (length, rest) = text.split_once("\r\n").expect("a chunk");
        let sse = rest.strip_suffix("\r\n").expect("the chunk's end");
        assert_eq!(usize::from_str_radix(length, 16), Ok(sse.len()));
        assert!(sse.starts_with("id: #5-1\nevent: tidewire.gap\ndata: {"));
        let data: serde_json::Value =
            serde_json::from_str(sse.lines().nth(2).expect("data").trim_start_matches("data: ")).expect("JSON");
        assert_eq!(data["requested"], format!("{}\n\"éé", "x".repeat(250)));
        assert_eq!(data["resumed_from"], "#5-1");
        assert_eq!(data["reason"], "expired");
    }

    /// The story: a control character takes six bytes in JSON, so what a gap quoted of a last id made of them had
    /// 1,536, and what a stream that takes nothing is owed had more than its kilobyte. Then the head was taken to have 256
    /// bytes; with the lines for a page of another origin it has 400.
    #[test]
    fn what_a_stream_begins_with_is_at_most_a_kilobyte_whatever_was_asked() {
        for asked in ["\u{1}", "\"", "\\", "\n", "x", "é", "🌊", "x\u{1}"] {
            let place = HubId { ms: u64::MAX, seq: u64::MAX };
            let gap = Some(Gap { requested: asked.repeat(512), reason: GapReason::Expired });
            // As much as the head of a stream to a page of another origin.
            let mut out = vec![b'x'; 420];
            beginning(&mut out, 3_600_000, &Start { place, gap });
            assert!(out.len() <= 1_024, "{} bytes for {asked:?}", out.len());
            assert!(quote(&asked.repeat(512)).len() >= 64, "{asked:?}");
        }
    }

    /// WebKit carries the unfinished block of a broken connection over to the next one, and showed the
    /// page half an event, then the whole one: ten thousand events over twenty kills had five of them.
    #[test]
    fn what_a_browser_has_left_of_a_block_is_not_dispatched_as_an_event() {
        let whole = "id: #5-2\nevent: order\ndata: first\ndata: second\n\n";
        let place = HubId { ms: 5, seq: 1 };
        let mut out = Vec::new();
        beginning(&mut out, 2_000, &Start { place, gap: None });
        let sse = &out[out.windows(2).position(|w| w == b"\r\n").expect("a chunk") + 2..out.len() - 2];
        assert!(sse.starts_with(b"retry: 2000\n"));
        for cut in 0..whole.len() {
            let mut decoder = tidewire_sse::Decoder::new(tidewire_sse::Limits::default());
            decoder.feed(&whole.as_bytes()[..cut]);
            decoder.feed(sse);
            let mut seen = Vec::new();
            while let Some(item) = decoder.next() {
                if let tidewire_sse::Item::Event(message) = item.expect("no limit is near") {
                    seen.push((message.event_type, message.id));
                }
            }
            assert_eq!(seen, [("tidewire.checkpoint".to_owned(), place.to_string())], "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_is_ended_by_one_block_that_shows_nothing_and_its_last_chunk() {
        let mut out = Vec::new();
        farewell(&mut out, 2_345);
        assert_eq!(String::from_utf8(out).expect("text"), "23\r\n: the hub is stopping\nretry: 2345\n\n\r\n0\r\n\r\n");
    }

    /// It may be the first that a browser hears after a connection that was cut in the middle of a block.
    #[test]
    fn a_stream_that_ends_as_it_begins_has_a_place_in_its_one_block() {
        let mut out = Vec::new();
        ended_beginning(&mut out, 2_345, &Start { place: HubId { ms: 5, seq: 1 }, gap: None });
        let text = String::from_utf8(out).expect("text");
        let sse = text.split_once("\r\n").and_then(|(_, rest)| rest.strip_suffix("\r\n0\r\n\r\n")).expect("two chunks");
        let block = ": the hub is stopping\nretry: 2345\nid: #5-1\nevent: tidewire.checkpoint\ndata: \n\n";
        assert_eq!(sse, block);
    }

    #[test]
    fn a_checkpoint_has_an_empty_data_line() {
        let mut out = Vec::new();
        checkpoint(&mut out, HubId { ms: 5, seq: 1 });
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("id: #5-1\nevent: tidewire.checkpoint\ndata:"), "{text}");
    }
}
