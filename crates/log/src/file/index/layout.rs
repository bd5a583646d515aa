//! The fixed parts of an index file; `docs/format.md` draws them.

use std::ops::Range;

use super::filter::{self, BLOCK_BYTES};
use super::{BadIndex, MARK_RECORDS};
use crate::file::layout::LogId;
use crate::record::{BadRecord, u32_at, u64_at};

/// The index's name until it is whole.
pub(super) const INDEX_NEW: &str = "index.tmp";
/// The file is read in pages of this length, each with a checksum in its last bytes.
pub(super) const PAGE: usize = 4096;
/// What a page holds besides its checksum.
pub(super) const PAGE_BYTES: usize = PAGE - 4;

/// The bytes of a record's offset.
pub(super) const OFFSET_BYTES: usize = 4;
/// The bytes of a mark.
pub(super) const MARK_BYTES: usize = 24;
/// The bytes of a topic.
pub(super) const TOPIC_BYTES: usize = 20;
/// The bytes of a topic's number.
pub(super) const OTHER_BYTES: usize = 4;
/// The bytes of a posting.
pub(super) const POSTING_BYTES: usize = 4;
/// The bytes of a publisher's id.
pub(super) const PUBLICATION_BYTES: usize = 16;

const MAGIC: [u8; 8] = *b"TWINDEX\0";
/// The format that this version writes, and the only one it reads.
const FORMAT: u32 = 2;

/// The name of the index of the segment that begins with this sequence.
pub(crate) fn index_name(first_sequence: u64) -> String {
    format!("{first_sequence:020}.idx")
}

/// The sequence with which the segment begins whose index has this name; `None` if it is no index's.
pub(crate) fn parse_index_name(name: &str) -> Option<u64> {
    let first_sequence = name.strip_suffix(".idx")?.parse().ok()?;
    (index_name(first_sequence) == name).then_some(first_sequence)
}

/// What an index is the index of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) log_id: LogId,
    /// The sequence with which the segment begins.
    pub(crate) first_sequence: u64,
    /// The byte at which the segment ends.
    pub(crate) end: u64,
}

impl Indexed {
    /// The checksum of a page of its index, which is right nowhere else.
    pub(super) fn page_crc(&self, page: u64, content: &[u8]) -> u32 {
        let mut of = [0; 32];
        of[..16].copy_from_slice(&self.log_id);
        of[16..24].copy_from_slice(&self.first_sequence.to_le_bytes());
        of[24..].copy_from_slice(&page.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&of), content)
    }
}

/// How much an index holds: its sections follow from it, and the length of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) records: u32,
    pub(super) topics: u32,
    pub(super) publications: u32,
    /// The bytes of all topics' names.
    pub(super) names_bytes: u32,
    pub(super) postings: u32,
    /// Topics that are not canonical URLs.
    pub(super) others: u32,
}

/// Where an index's sections lie, one behind another, in bytes of content: what the pages after
/// the first hold besides their checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) offsets: Range<u64>,
    pub(super) marks: Range<u64>,
    pub(super) topics: Range<u64>,
    pub(super) names: Range<u64>,
    pub(super) others: Range<u64>,
    pub(super) postings: Range<u64>,
    pub(super) publications: Range<u64>,
    pub(super) topic_filter: Range<u64>,
    pub(super) publication_filter: Range<u64>,
}

impl Sizes {
    pub(super) fn marks(&self) -> u32 {
        self.records.div_ceil(MARK_RECORDS)
    }

    /// How many keys the filter of publishers' ids has room for: each id alone, and with the first topic.
    pub(super) fn publication_keys(&self) -> u64 {
        2 * u64::from(self.publications)
    }

    pub(super) fn sections(&self) -> Sections {
        let mut end = 0;
        // Counts have 32 bits: no sum or product of them is near the end of 64.
        let mut section = |count: u64, bytes: usize| {
            let begin = end;
            end += count * bytes as u64;
            begin..end
        };
        Sections {
            offsets: section(self.records.into(), OFFSET_BYTES),
            marks: section(self.marks().into(), MARK_BYTES),
            topics: section(self.topics.into(), TOPIC_BYTES),
            names: section(self.names_bytes.into(), 1),
            others: section(self.others.into(), OTHER_BYTES),
            postings: section(self.postings.into(), POSTING_BYTES),
            publications: section(self.publications.into(), PUBLICATION_BYTES),
            topic_filter: section(filter::blocks(self.topics.into()), BLOCK_BYTES),
            publication_filter: section(filter::blocks(self.publication_keys()), BLOCK_BYTES),
        }
    }

    /// How long the file is, in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        (1 + self.sections().publication_filter.end.div_ceil(PAGE_BYTES as u64)) * PAGE as u64
    }
}

/// The first page of an index.
pub(super) fn encode_header(of: &Indexed, sizes: &Sizes) -> [u8; PAGE] {
    let mut bytes = [0; PAGE];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &MAGIC);
    put(12, &FORMAT.to_le_bytes());
    put(16, &of.log_id);
    put(32, &of.first_sequence.to_le_bytes());
    put(40, &of.end.to_le_bytes());
    put(48, &sizes.records.to_le_bytes());
    put(52, &sizes.topics.to_le_bytes());
    put(56, &sizes.publications.to_le_bytes());
    put(60, &sizes.names_bytes.to_le_bytes());
    put(64, &sizes.postings.to_le_bytes());
    put(68, &sizes.others.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the first page of an index, which shall be the index of this segment.
pub(super) fn decode_header(bytes: &[u8; PAGE], of: &Indexed) -> Result<Sizes, BadIndex> {
    let damaged = |_: BadRecord| BadIndex::Damaged;
    if bytes[..8] != MAGIC || u32_at(bytes, 8).map_err(damaged)? != crc32c::crc32c(&bytes[12..]) {
        return Err(BadIndex::Damaged);
    }
    let is_it = u32_at(bytes, 12) == Ok(FORMAT)
        && bytes[16..32] == of.log_id
        && u64_at(bytes, 32) == Ok(of.first_sequence)
        && u64_at(bytes, 40) == Ok(of.end);
    if !is_it {
        return Err(BadIndex::Absent);
    }
    let field = |at| u32_at(bytes, at).map_err(damaged);
    Ok(Sizes {
        records: field(48)?,
        topics: field(52)?,
        publications: field(56)?,
        names_bytes: field(60)?,
        postings: field(64)?,
        others: field(68)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_named_by_twenty_digits() {
        assert_eq!(index_name(12), "00000000000000000012.idx");
        assert_eq!(parse_index_name(&index_name(u64::MAX)), Some(u64::MAX));
        for name in ["1.idx", "00000000000000000012.seg", "+0000000000000000012.idx", "99999999999999999999.idx"] {
            assert_eq!(parse_index_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_largest_sizes_overflow_nothing() {
        let max = u32::MAX;
        let sizes =
            Sizes { records: max, topics: max, publications: max, names_bytes: max, postings: max, others: max };
        assert!(sizes.file_bytes() > 1 << 37);
    }
}
