//! The hub's own bytes: chunks that hold `retry:`, gaps, checkpoints and heartbeats.

use tidewire_log::HubId;

use crate::Gap;

/// What ends a chunked answer (RFC 9112, section 7.1).
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A comment of nothing, for a place that has not moved.
pub(crate) const COMMENT_CHUNK: &[u8] = b"2\r\n:\n\r\n";

/// What a gap quotes is cut here, in bytes.
const QUOTE_BYTES_MAX: usize = 256;

/// Appends a chunk which tells the client after how many milliseconds to reconnect.
pub(crate) fn retry(out: &mut Vec<u8>, retry_ms: u64) {
    chunk(out, |sse| {
        tidewire_sse::encode::retry(sse, retry_ms);
        tidewire_sse::encode::end(sse);
    });
}

/// Appends a chunk with a `tidewire.checkpoint` event. The data is there, though empty: Firefox and
/// WebKit drop the id of a block without any.
pub(crate) fn checkpoint(out: &mut Vec<u8>, place: HubId) {
    own_event(out, place, "tidewire.checkpoint", "");
}

/// Appends a chunk with a `tidewire.gap` event that goes on from `place`.
pub(crate) fn gap(out: &mut Vec<u8>, gap: &Gap, place: HubId) {
    let requested = serde_json::Value::from(quote(&gap.requested));
    let reason = gap.reason.as_str();
    let data = format!(r#"{{"requested":{requested},"resumed_from":"{place}","reason":"{reason}"}}"#);
    own_event(out, place, "tidewire.gap", &data);
}

fn own_event(out: &mut Vec<u8>, place: HubId, event_type: &str, data: &str) {
    chunk(out, |sse| {
        tidewire_sse::encode::id(sse, &place.to_string()).expect("a hub id is digits, # and -");
        tidewire_sse::encode::event_type(sse, event_type).expect("the hub's own types hold no newline");
        tidewire_sse::encode::data(sse, data);
        tidewire_sse::encode::end(sse);
    });
}

fn chunk(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut sse = Vec::with_capacity(128);
    fill(&mut sse);
    out.extend_from_slice(format!("{:x}\r\n", sse.len()).as_bytes());
    out.extend_from_slice(&sse);
    out.extend_from_slice(b"\r\n");
}

fn quote(text: &str) -> &str {
    let mut end = text.len().min(QUOTE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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

    #[test]
    fn a_checkpoint_has_an_empty_data_line() {
        let mut out = Vec::new();
        checkpoint(&mut out, HubId { ms: 5, seq: 1 });
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("id: #5-1\nevent: tidewire.checkpoint\ndata:"), "{text}");
    }
}
