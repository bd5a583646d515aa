//! What a segment's records are found by: their topics, their publishers' ids, their places.
//!
//! [`OpenIndex`] is in memory, of the open segment and of sealed ones whose file is not written yet.
//! [`IndexFile`] is that file, of which nothing is held but its header. Both answer alike
//! ([`RecordIndex`]), in numbers of records: 0 is the segment's first.
//!
//! An index says nothing that the segment does not say. Whoever finds one damaged or absent makes it
//! again from the segment.

mod chain;
mod either;
mod end;
mod filter;
mod fuzzed;
mod hash;
mod layout;
mod names;
mod open;
mod pages;
mod publications;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::ops::Range;

pub(crate) use either::Index;
pub(crate) use end::{IndexedEnd, read_end};
pub use fuzzed::fuzz_index;
pub(crate) use layout::{Indexed, index_name, parse_index_name};
pub(crate) use open::OpenIndex;
pub(crate) use read::IndexFile;
pub(crate) use write::write_index;

use super::segment::Mark;
use crate::HubId;

/// Every so many records, the place before one is noted: from there a walk begins.
const MARK_RECORDS: u32 = 64;

/// So many topics are shown at once to whoever has a pattern.
const TOPICS_AT_ONCE: u32 = 256;

/// Finds the records of one segment.
pub(crate) trait RecordIndex {
    /// How many records it knows.
    fn records(&self) -> u32;

    /// Where records begin in the segment, in bytes, appended to `out`. It is cheapest when they ascend.
    fn offsets(&self, records: &[u32], out: &mut Vec<u64>) -> Result<(), BadIndex>;

    /// The last mark at or before a place, or the first one, and the record that follows it. The first
    /// record after the place lies among the [`MARK_RECORDS`] from there on. `None` without records.
    fn mark(&self, place: HubId) -> Result<Option<(u32, Mark)>, BadIndex>;

    /// The last mark at or before a record, and the record that follows it. `None` without records.
    fn mark_before(&self, record: u32) -> Result<Option<(u32, Mark)>, BadIndex>;

    /// How many topics it knows.
    fn topics(&self) -> u32;

    /// The records that bear a topic.
    fn topic(&self, name: &str) -> Result<Option<Postings>, BadIndex>;

    /// How many of a topic's records come before a record.
    fn rank(&self, topic: Postings, record: u32) -> Result<u32, BadIndex>;

    /// A stretch of a topic's records, ascending, appended to `out`. It lies in `0..topic.count`.
    fn postings(&self, topic: Postings, range: Range<u32>, out: &mut Vec<u32>) -> Result<(), BadIndex>;

    /// The records that bear a publisher's id, ascending; with a topic, only those that bear it first.
    /// There may be others among them, whose hashes are the same: the record tells.
    fn published(&self, id: &str, first_topic: Option<&str>) -> Result<Vec<u32>, BadIndex>;

    /// The first `limit` topics after a name, in byte order.
    fn topics_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Postings)>, BadIndex>;

    /// Topics that are no canonical URLs, each of which may match any pattern; there may be others among them. At most
    /// [`TOPICS_AT_ONCE`] are appended to `out`, from the `from`th on. Returns where to go on; `None` at the end.
    fn other_topics(&self, from: u32, out: &mut Vec<(String, Postings)>) -> Result<Option<u32>, BadIndex>;

    /// Topics that begin alike; those that [`RecordIndex::other_topics`] shows may be left out. In the same manner.
    fn topics_beginning(
        &self,
        literal: &str,
        from: u32,
        out: &mut Vec<(String, Postings)>,
    ) -> Result<Option<u32>, BadIndex>;
}

/// The records that bear a topic, as an index knew them when it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Postings {
    /// The index's own: where they are found.
    first: u32,
    /// How many there are.
    pub(crate) count: u32,
    /// How many of them are private.
    pub(crate) private: u32,
}

/// Why an index cannot be read. It is to be made again from the segment.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadIndex {
    /// There is none, or the one that is there is of another log, segment or format.
    #[error("there is no index")]
    Absent,
    /// It does not hold what was written.
    #[error("the index is damaged")]
    Damaged,
    /// The disk failed.
    #[error("failed to read the index")]
    Io(#[source] io::Error),
}

impl From<io::Error> for BadIndex {
    fn from(error: io::Error) -> BadIndex {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BadIndex::Damaged,
            io::ErrorKind::NotFound => BadIndex::Absent,
            _ => BadIndex::Io(error),
        }
    }
}
