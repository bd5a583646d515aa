use proptest::prelude::*;

use super::*;
use crate::testing::{event, event_with_id, moment};

const ID: HubId = HubId { ms: 17, seq: 3 };

fn encode(event: &NewEvent) -> Vec<u8> {
    let mut bytes = Vec::new();
    Draft::new(event).encode(9, ID, &moment(18), &mut bytes);
    bytes
}

/// Makes the checksums right, so that what lies behind them is reached.
fn with_right_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Ok(Extent { head_bytes, bytes: length }) = Extent::read(&bytes)
        && length <= bytes.len()
    {
        let frame_crc = crc32c::crc32c(&bytes[head_bytes..length]);
        bytes[12..16].copy_from_slice(&frame_crc.to_le_bytes());
        let head_crc = crc32c::crc32c(&bytes[4..head_bytes]);
        bytes[..4].copy_from_slice(&head_crc.to_le_bytes());
    }
    bytes
}

fn look_at(bytes: &[u8]) {
    if let Ok((record, rest)) = RecordView::parse_first(bytes) {
        let topics = record.topics().count();
        let attributes = record.attributes().count();
        assert!(rest.len() < bytes.len() && topics + attributes <= bytes.len());
        assert!(record.sse().len() < record.frame.len());
        let (Data::Text(data) | Data::Json(data)) = record.data();
        // A byte that is no UTF-8 becomes three.
        assert!(data.len() <= 3 * record.frame.len());
    }
}

#[test]
fn a_flipped_bit_or_a_missing_byte_is_no_record() {
    let bytes = encode(&event_with_id("t", "p", "data").with_retry_ms(5));
    assert!(RecordView::parse_first(&bytes).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(RecordView::parse_first(&bytes).map(|_| ()), Err(BadRecord), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert_eq!(RecordView::parse_first(&bytes[..length]).map(|_| ()), Err(BadRecord), "{length} bytes");
    }
}

#[test]
fn a_flag_of_a_later_format_is_no_record() {
    let mut bytes = encode(&event(&["t"], ""));
    bytes[56] |= 4;
    assert_eq!(RecordView::parse_first(&with_right_checksums(bytes)).map(|_| ()), Err(BadRecord));
}

proptest! {
    #[test]
    fn a_record_is_never_longer_than_said_and_comes_back(
        data in ".{0,40}(\r\n|\r|\n)?.{0,40}",
        topics in prop::collection::vec("[a-z]{1,5}", 1..5),
        (ms, seq) in any::<(u64, u64)>(),
    ) {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let draft = Draft::new(&event(&topics, &data));
        let mut bytes = Vec::new();
        draft.encode(9, HubId { ms, seq }, &moment(18), &mut bytes);
        prop_assert!(bytes.len() <= draft.bytes_max());
        let (record, rest) = RecordView::parse_first(&bytes).expect("whole");
        prop_assert!(rest.is_empty());
        prop_assert_eq!(record.id, HubId { ms, seq });
        prop_assert_eq!(record.data(), Data::Text(data.replace("\r\n", "\n").replace('\r', "\n")));
    }

    #[test]
    fn no_bytes_make_it_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let event = event_with_id("topic", "p", "a\nb").with_attribute("key", "value").expect("small");
        let mut bytes = encode(&event);
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        look_at(&bytes);
        look_at(&with_right_checksums(bytes));
    }
}
