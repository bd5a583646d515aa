//! The fixed parts of a segment; `docs/format.md` draws them.

use crate::HubId;
use crate::record::{BadRecord, u32_at, u64_at};

/// The format of segments and their contents that this version writes, and the only one it reads.
pub(crate) const FORMAT: u32 = 1;
/// The bytes of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 128;
/// The bytes of a group's header.
pub(crate) const GROUP_HEADER: usize = 48;
/// How a group begins.
pub(crate) const GROUP_MAGIC: [u8; 4] = *b"TWGR";

const SEGMENT_MAGIC: [u8; 8] = *b"TWSEG\0\0\0";

/// Names a log for ever: random, made with its folder.
pub(crate) type LogId = [u8; 16];

/// Where a segment ends, as the header of the next one says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// The sequence with which it begins; 0 if there was no segment.
    pub(crate) first_sequence: u64,
    /// The last sequence before the next segment.
    pub(crate) sequence: u64,
    /// The last id before it: a place.
    pub(crate) id: HubId,
    /// How many of its bytes count.
    pub(crate) length: u64,
    /// The retention clock of its last record.
    pub(crate) retention_ms: u64,
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: LogId,
    pub(crate) first_sequence: u64,
    /// How long the file is, zeros included.
    pub(crate) file_bytes: u64,
    pub(crate) before: SegmentEnd,
}

/// Why bytes are no segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged,
    OtherFormat(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &SEGMENT_MAGIC);
        put(12, &FORMAT.to_le_bytes());
        put(16, &self.log_id);
        put(32, &self.first_sequence.to_le_bytes());
        put(40, &self.file_bytes.to_le_bytes());
        put(48, &self.before.first_sequence.to_le_bytes());
        put(56, &self.before.sequence.to_le_bytes());
        put(64, &self.before.id.ms.to_le_bytes());
        put(72, &self.before.id.seq.to_le_bytes());
        put(80, &self.before.length.to_le_bytes());
        put(88, &self.before.retention_ms.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER]) -> Result<SegmentHeader, BadHeader> {
        let damaged = |_: BadRecord| BadHeader::Damaged;
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 8).map_err(damaged)? != crc32c::crc32c(&bytes[12..]) {
            return Err(BadHeader::Damaged);
        }
        let format = u32_at(bytes, 12).map_err(damaged)?;
        if format != FORMAT {
            return Err(BadHeader::OtherFormat(format));
        }
        let field = |at| u64_at(bytes, at).map_err(damaged);
        let mut log_id = LogId::default();
        log_id.copy_from_slice(&bytes[16..32]);
        Ok(SegmentHeader {
            log_id,
            first_sequence: field(32)?,
            file_bytes: field(40)?,
            before: SegmentEnd {
                first_sequence: field(48)?,
                sequence: field(56)?,
                id: HubId { ms: field(64)?, seq: field(72)? },
                length: field(80)?,
                retention_ms: field(88)?,
            },
        })
    }
}

/// The first bytes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// How many records it has.
    pub(crate) count: u32,
    /// How many bytes they take.
    pub(crate) body_bytes: u32,
    /// The checksum of the records' heads' checksums, in order.
    pub(crate) records_crc: u32,
    /// The checksum of the header of the group before it in the segment; 0 if it is the first.
    pub(crate) predecessor: u32,
    /// The sequence of its first record.
    pub(crate) first_sequence: u64,
    /// The last sequence that was known to be durable when it was written.
    pub(crate) durable_sequence: u64,
}

impl GroupHeader {
    /// The header's bytes and its checksum. The log's id goes into the checksum: who publishes
    /// does not know it, and cannot make data that looks like a group.
    pub(crate) fn encode(&self, log_id: &LogId) -> ([u8; GROUP_HEADER], u32) {
        let mut bytes = [0; GROUP_HEADER];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &GROUP_MAGIC);
        put(8, &self.count.to_le_bytes());
        put(12, &self.body_bytes.to_le_bytes());
        put(16, &self.records_crc.to_le_bytes());
        put(20, &self.predecessor.to_le_bytes());
        put(24, &self.first_sequence.to_le_bytes());
        put(32, &self.durable_sequence.to_le_bytes());
        let crc = group_crc(log_id, &bytes);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a header, and its checksum; `None` if the bytes are none.
    pub(crate) fn decode(bytes: &[u8], log_id: &LogId) -> Option<(GroupHeader, u32)> {
        let bytes: &[u8; GROUP_HEADER] = bytes.first_chunk()?;
        let crc = u32_at(bytes, 4).ok()?;
        if bytes[..4] != GROUP_MAGIC || group_crc(log_id, bytes) != crc {
            return None;
        }
        let header = GroupHeader {
            count: u32_at(bytes, 8).ok()?,
            body_bytes: u32_at(bytes, 12).ok()?,
            records_crc: u32_at(bytes, 16).ok()?,
            predecessor: u32_at(bytes, 20).ok()?,
            first_sequence: u64_at(bytes, 24).ok()?,
            durable_sequence: u64_at(bytes, 32).ok()?,
        };
        Some((header, crc))
    }
}

fn group_crc(log_id: &LogId, bytes: &[u8; GROUP_HEADER]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(log_id), &bytes[8..])
}

/// The name of the segment that begins with this sequence.
pub(crate) fn segment_name(first_sequence: u64) -> String {
    format!("{first_sequence:020}.seg")
}

/// The sequence with which the segment of this name begins; `None` if it is no segment's name.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = *b"0123456789abcdef";

    #[test]
    fn a_segment_header_comes_back_and_no_flipped_bit_does() {
        let header = SegmentHeader {
            log_id: LOG,
            first_sequence: 7,
            file_bytes: 4096,
            before: SegmentEnd {
                first_sequence: 2,
                sequence: 6,
                id: HubId { ms: 5, seq: 4 },
                length: 333,
                retention_ms: 77,
            },
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_segment_of_another_format_says_so() {
        let header = SegmentHeader { log_id: LOG, first_sequence: 1, file_bytes: 4096, before: SegmentEnd::default() };
        let mut bytes = header.encode();
        bytes[12] = 9;
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::OtherFormat(9)));
    }

    #[test]
    fn a_group_header_is_only_its_own_logs() {
        let header = GroupHeader {
            count: 1,
            body_bytes: 2,
            records_crc: 3,
            predecessor: 4,
            first_sequence: 5,
            durable_sequence: 6,
        };
        let (bytes, crc) = header.encode(&LOG);
        assert_eq!(GroupHeader::decode(&bytes, &LOG), Some((header, crc)));
        assert_eq!(GroupHeader::decode(&bytes, b"another log's id"), None);
        assert_eq!(GroupHeader::decode(&bytes[..GROUP_HEADER - 1], &LOG), None);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::decode(&bytes, &LOG), None, "bit {bit}");
        }
    }

    #[test]
    fn segments_are_named_by_twenty_digits() {
        assert_eq!(segment_name(12), "00000000000000000012.seg");
        assert_eq!(parse_segment_name(&segment_name(u64::MAX)), Some(u64::MAX));
        for name in
            ["1.seg", "00000000000000000012.tmp", "0000000000000000001x.seg", "99999999999999999999.seg", ".seg"]
        {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }
}
