use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::{BadIndex, IndexFile, OpenIndex, Postings, RecordIndex};
use crate::HubId;
use crate::file::disk::DiskFile;
use crate::file::segment::Mark;

/// The index of a segment, wherever it is. Who holds it can go on asking it, also once the segment is
/// sealed, its file is written, or it is removed.
#[derive(Debug)]
pub(crate) enum Index<F> {
    /// In memory. It may know records that are not committed yet.
    Open(Arc<RwLock<OpenIndex>>),
    /// In its file.
    File(Arc<IndexFile<F>>),
}

fn read(index: &RwLock<OpenIndex>) -> RwLockReadGuard<'_, OpenIndex> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}

impl<F: DiskFile> RecordIndex for Index<F> {
    fn records(&self) -> u32 {
        match self {
            Index::Open(index) => read(index).records(),
            Index::File(index) => index.records(),
        }
    }

    fn offsets(&self, records: &[u32], out: &mut Vec<u64>) -> Result<(), BadIndex> {
        match self {
            Index::Open(index) => read(index).offsets(records, out),
            Index::File(index) => index.offsets(records, out),
        }
    }

    fn mark(&self, place: HubId) -> Result<Option<(u32, Mark)>, BadIndex> {
        match self {
            Index::Open(index) => read(index).mark(place),
            Index::File(index) => index.mark(place),
        }
    }

    fn mark_before(&self, record: u32) -> Result<Option<(u32, Mark)>, BadIndex> {
        match self {
            Index::Open(index) => read(index).mark_before(record),
            Index::File(index) => index.mark_before(record),
        }
    }

    fn topic(&self, name: &str) -> Result<Option<Postings>, BadIndex> {
        match self {
            Index::Open(index) => read(index).topic(name),
            Index::File(index) => index.topic(name),
        }
    }

    fn rank(&self, topic: Postings, record: u32) -> Result<u32, BadIndex> {
        match self {
            Index::Open(index) => read(index).rank(topic, record),
            Index::File(index) => index.rank(topic, record),
        }
    }

    fn postings(&self, topic: Postings, range: Range<u32>, out: &mut Vec<u32>) -> Result<(), BadIndex> {
        match self {
            Index::Open(index) => read(index).postings(topic, range, out),
            Index::File(index) => index.postings(topic, range, out),
        }
    }

    fn published(&self, id: &str, first_topic: Option<&str>) -> Result<Vec<u32>, BadIndex> {
        match self {
            Index::Open(index) => read(index).published(id, first_topic),
            Index::File(index) => index.published(id, first_topic),
        }
    }

    fn topics_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Postings)>, BadIndex> {
        match self {
            Index::Open(index) => read(index).topics_after(after, limit),
            Index::File(index) => index.topics_after(after, limit),
        }
    }

    fn other_topics(&self, from: u32, out: &mut Vec<(String, Postings)>) -> Result<Option<u32>, BadIndex> {
        match self {
            Index::Open(index) => read(index).other_topics(from, out),
            Index::File(index) => index.other_topics(from, out),
        }
    }

    fn topics_beginning(
        &self,
        literal: &str,
        from: u32,
        out: &mut Vec<(String, Postings)>,
    ) -> Result<Option<u32>, BadIndex> {
        match self {
            Index::Open(index) => read(index).topics_beginning(literal, from, out),
            Index::File(index) => index.topics_beginning(literal, from, out),
        }
    }
}
