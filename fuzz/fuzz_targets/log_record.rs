//! No bytes make reading a record panic, and what is read lies within them.
//!
//! Each input is read as it is, and once more with right checksums, or nothing behind them would be reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_log::{Data, RecordView};

fuzz_target!(|input: &[u8]| {
    look_at(input);
    look_at(&with_right_checksums(input.to_vec()));
});

fn look_at(bytes: &[u8]) {
    let Ok((record, rest)) = RecordView::parse_first(bytes) else { return };
    assert!(bytes.ends_with(rest) && rest.len() + record.frame.len() < bytes.len());
    assert!(record.frame[record.sse_range()] == *record.sse());
    let names: usize = record.topics().map(str::len).sum::<usize>()
        + record.attributes().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    assert!(names < bytes.len());
    let (Data::Text(data) | Data::Json(data)) = record.data();
    // A byte that is no UTF-8 becomes three.
    assert!(data.len() <= 3 * record.frame.len());
}

/// The lengths of record and head stand at 4 and 8, the checksums of head and frame at 0 and 12.
fn with_right_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    let field = |at: usize| bytes.get(at..at + 4)?.first_chunk().map(|field| u32::from_le_bytes(*field) as usize);
    let (Some(length), Some(head)) = (field(4), field(8)) else { return bytes };
    if 16 <= head && head <= length && length <= bytes.len() {
        let frame = crc32c::crc32c(&bytes[head..length]);
        bytes[12..16].copy_from_slice(&frame.to_le_bytes());
        let head = crc32c::crc32c(&bytes[4..head]);
        bytes[..4].copy_from_slice(&head.to_le_bytes());
    }
    bytes
}
