use std::cmp::Ordering;
use std::ops::Range;

use super::filter::{self, BLOCK_BYTES};
use super::hash::NameHash;
use super::layout::{
    Indexed, MARK_BYTES, OFFSET_BYTES, PAGE, POSTING_BYTES, PUBLICATION_BYTES, Sections, Sizes, TOPIC_BYTES,
    decode_header,
};
use super::open::lower_half;
use super::pages::PageReader;
use super::{BadIndex, MARK_RECORDS, Postings, RecordIndex, TOPICS_AT_ONCE};
use crate::HubId;
use crate::file::disk::DiskFile;
use crate::file::segment::Mark;
use crate::record::{BadRecord, u32_at, u64_at};

/// The index file of a sealed segment. Nothing of it is in memory but its header; each question
/// reads the few pages that it needs, and checks them.
#[derive(Debug)]
pub(crate) struct IndexFile<F> {
    file: F,
    of: Indexed,
    hash: NameHash,
    sizes: Sizes,
    pub(super) sections: Sections,
}

impl<F: DiskFile> IndexFile<F> {
    /// Takes a file as the index of a segment.
    ///
    /// # Errors
    /// When it is another segment's, or is not as long as it says.
    pub(crate) fn new(file: F, of: Indexed) -> Result<IndexFile<F>, BadIndex> {
        let mut header = Box::new([0; PAGE]);
        file.read_at(&mut header[..], 0)?;
        let sizes = decode_header(&header, &of)?;
        if file.length()? != sizes.file_bytes() {
            return Err(BadIndex::Damaged);
        }
        Ok(IndexFile { file, of, hash: NameHash::new(&of.log_id), sizes, sections: sizes.sections() })
    }

    fn pages(&self) -> PageReader<'_, F> {
        PageReader::new(&self.file, &self.of)
    }

    fn may_hold(&self, filter: &Range<u64>, hash: u64) -> Result<bool, BadIndex> {
        let blocks = (filter.end - filter.start) / BLOCK_BYTES as u64;
        let Some(block) = filter::block(hash, blocks) else { return Ok(false) };
        let bytes: [u8; BLOCK_BYTES] = self.pages().entry(filter, block)?;
        Ok(filter::may_hold(&bytes, hash))
    }

    fn topic_at(&self, pages: &mut PageReader<'_, F>, number: u32) -> Result<Topic, BadIndex> {
        let bytes: [u8; TOPIC_BYTES] = pages.entry(&self.sections.topics, number.into())?;
        let field = |at| u32_at(&bytes, at).map_err(damaged);
        let topic = Topic {
            name_at: field(0)?,
            name_bytes: field(4)?,
            postings: Postings { first: field(8)?, count: field(12)?, private: field(16)? },
        };
        let name_end = topic.name_at.checked_add(topic.name_bytes);
        let postings_end = topic.postings.first.checked_add(topic.postings.count);
        let is_possible = name_end.is_some_and(|end| end <= self.sizes.names_bytes)
            && topic.name_bytes <= u16::MAX.into()
            && postings_end.is_some_and(|end| end <= self.sizes.postings)
            && topic.postings.private <= topic.postings.count;
        if is_possible { Ok(topic) } else { Err(BadIndex::Damaged) }
    }

    /// The name of a topic, read into `buffer`.
    fn name<'b>(
        &self,
        pages: &mut PageReader<'_, F>,
        topic: &Topic,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b str, BadIndex> {
        buffer.resize(topic.name_bytes as usize, 0);
        pages.read(self.sections.names.start + u64::from(topic.name_at), buffer)?;
        str::from_utf8(buffer).map_err(|_| BadIndex::Damaged)
    }

    /// The number of the first topic that is not before `name`, and whether it is `name`.
    fn seek_topic(&self, name: &str) -> Result<(u32, bool), BadIndex> {
        let mut pages = self.pages();
        let mut names = self.pages();
        let mut buffer = Vec::new();
        let mut is_there = false;
        let first = partition_point(self.sizes.topics, |number| {
            let topic = self.topic_at(&mut pages, number)?;
            let order = self.name(&mut names, &topic, &mut buffer)?.cmp(name);
            is_there |= order == Ordering::Equal;
            Ok(order == Ordering::Less)
        })?;
        Ok((first, is_there))
    }

    fn publication_at(&self, pages: &mut PageReader<'_, F>, number: u32) -> Result<(u64, u32, u32), BadIndex> {
        let bytes: [u8; PUBLICATION_BYTES] = pages.entry(&self.sections.publications, number.into())?;
        let id = u64_at(&bytes, 0).map_err(damaged)?;
        let topic = u32_at(&bytes, 8).map_err(damaged)?;
        Ok((id, topic, self.checked(u32_at(&bytes, 12).map_err(damaged)?)?))
    }

    fn posting_at(&self, pages: &mut PageReader<'_, F>, number: u32) -> Result<u32, BadIndex> {
        let bytes: [u8; POSTING_BYTES] = pages.entry(&self.sections.postings, number.into())?;
        self.checked(u32::from_le_bytes(bytes))
    }

    fn mark_at(&self, pages: &mut PageReader<'_, F>, number: u32) -> Result<Mark, BadIndex> {
        let bytes: [u8; MARK_BYTES] = pages.entry(&self.sections.marks, number.into())?;
        let word = |at| u64_at(&bytes, at).map_err(damaged);
        let half = |at| u32_at(&bytes, at).map(u64::from).map_err(damaged);
        let mark = Mark { after: HubId { ms: word(0)?, seq: word(8)? }, at: half(16)?, group_end: half(20)? };
        let is_possible = mark.at < mark.group_end && mark.group_end <= self.of.end;
        if is_possible { Ok(mark) } else { Err(BadIndex::Damaged) }
    }

    fn numbered_mark(&self, number: u32) -> Result<Option<(u32, Mark)>, BadIndex> {
        if self.sizes.records == 0 {
            return Ok(None);
        }
        Ok(Some((number * MARK_RECORDS, self.mark_at(&mut self.pages(), number)?)))
    }

    fn checked(&self, record: u32) -> Result<u32, BadIndex> {
        if record < self.sizes.records { Ok(record) } else { Err(BadIndex::Damaged) }
    }
}

/// A topic as it stands in the table.
struct Topic {
    name_at: u32,
    name_bytes: u32,
    postings: Postings,
}

impl<F: DiskFile> PageReader<'_, F> {
    /// An entry of a section whose entries have `N` bytes.
    fn entry<const N: usize>(&mut self, section: &Range<u64>, number: u64) -> Result<[u8; N], BadIndex> {
        let at = section.start + number * N as u64;
        if at + N as u64 > section.end {
            return Err(BadIndex::Damaged);
        }
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }
}

impl<F: DiskFile> RecordIndex for IndexFile<F> {
    fn records(&self) -> u32 {
        self.sizes.records
    }

    fn offsets(&self, records: &[u32], out: &mut Vec<u64>) -> Result<(), BadIndex> {
        let mut pages = self.pages();
        for &record in records {
            let bytes: [u8; OFFSET_BYTES] = pages.entry(&self.sections.offsets, record.into())?;
            let offset = u64::from(u32::from_le_bytes(bytes));
            if offset >= self.of.end {
                return Err(BadIndex::Damaged);
            }
            out.push(offset);
        }
        Ok(())
    }

    fn mark(&self, place: HubId) -> Result<Option<(u32, Mark)>, BadIndex> {
        let mut pages = self.pages();
        let is_before = |number| Ok(self.mark_at(&mut pages, number)?.after <= place);
        let number = partition_point(self.sizes.marks(), is_before)?.saturating_sub(1);
        self.numbered_mark(number)
    }

    fn mark_before(&self, record: u32) -> Result<Option<(u32, Mark)>, BadIndex> {
        self.numbered_mark((record / MARK_RECORDS).min(self.sizes.marks().saturating_sub(1)))
    }

    fn topics(&self) -> u32 {
        self.sizes.topics
    }

    fn topic(&self, name: &str) -> Result<Option<Postings>, BadIndex> {
        if !self.may_hold(&self.sections.topic_filter, self.hash.name(name))? {
            return Ok(None);
        }
        match self.seek_topic(name)? {
            (number, true) => Ok(Some(self.topic_at(&mut self.pages(), number)?.postings)),
            (_, false) => Ok(None),
        }
    }

    fn rank(&self, topic: Postings, record: u32) -> Result<u32, BadIndex> {
        let mut pages = self.pages();
        partition_point(topic.count, |rank| Ok(self.posting_at(&mut pages, topic.first + rank)? < record))
    }

    fn postings(&self, topic: Postings, range: Range<u32>, out: &mut Vec<u32>) -> Result<(), BadIndex> {
        let mut pages = self.pages();
        let begin = out.len();
        for rank in range.start..range.end.min(topic.count) {
            let record = self.posting_at(&mut pages, topic.first + rank)?;
            if out[begin..].last().is_some_and(|&last| last >= record) {
                return Err(BadIndex::Damaged);
            }
            out.push(record);
        }
        Ok(())
    }

    fn published(&self, id: &str, first_topic: Option<&str>) -> Result<Vec<u32>, BadIndex> {
        let id = self.hash.name(id);
        let topic = first_topic.map(|topic| lower_half(self.hash.name(topic)));
        let key = topic.map_or(id, |topic| self.hash.publication(id, topic));
        if !self.may_hold(&self.sections.publication_filter, key)? {
            return Ok(Vec::new());
        }
        let mut pages = self.pages();
        let wanted = (id, topic.unwrap_or_default());
        let first = partition_point(self.sizes.publications, |number| {
            let (id, topic, _) = self.publication_at(&mut pages, number)?;
            Ok((id, topic) < wanted)
        })?;
        let mut records = Vec::new();
        for number in first..self.sizes.publications {
            let (found, of_topic, record) = self.publication_at(&mut pages, number)?;
            if found != id || topic.is_some_and(|topic| topic != of_topic) {
                break;
            }
            records.push(record);
        }
        // With the id alone, they lie by first topic.
        records.sort_unstable();
        Ok(records)
    }

    fn topics_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Postings)>, BadIndex> {
        let first =
            after.map_or(Ok(0), |after| self.seek_topic(after).map(|(first, is_it)| first + u32::from(is_it)))?;
        let mut pages = self.pages();
        let mut names = self.pages();
        let mut buffer = Vec::new();
        let mut topics: Vec<(String, Postings)> = Vec::new();
        for number in (first..self.sizes.topics).take(limit) {
            let topic = self.topic_at(&mut pages, number)?;
            let name = self.name(&mut names, &topic, &mut buffer)?;
            if topics.last().is_some_and(|(last, _)| &**last >= name) {
                return Err(BadIndex::Damaged);
            }
            topics.push((name.to_owned(), topic.postings));
        }
        Ok(topics)
    }

    fn other_topics(&self, from: u32, out: &mut Vec<(String, Postings)>) -> Result<Option<u32>, BadIndex> {
        let (mut numbers, mut pages, mut names) = (self.pages(), self.pages(), self.pages());
        let mut buffer = Vec::new();
        let end = from.saturating_add(TOPICS_AT_ONCE).min(self.sizes.others);
        for other in from..end {
            let number = u32::from_le_bytes(numbers.entry(&self.sections.others, other.into())?);
            let topic = self.topic_at(&mut pages, number)?;
            out.push((self.name(&mut names, &topic, &mut buffer)?.to_owned(), topic.postings));
        }
        Ok((end < self.sizes.others).then_some(end))
    }

    fn topics_beginning(
        &self,
        literal: &str,
        from: u32,
        out: &mut Vec<(String, Postings)>,
    ) -> Result<Option<u32>, BadIndex> {
        let first = if from == 0 { self.seek_topic(literal)?.0 } else { from };
        let (mut pages, mut names) = (self.pages(), self.pages());
        let mut buffer = Vec::new();
        let end = first.saturating_add(TOPICS_AT_ONCE).min(self.sizes.topics);
        for number in first..end {
            let topic = self.topic_at(&mut pages, number)?;
            let name = self.name(&mut names, &topic, &mut buffer)?;
            if !name.starts_with(literal) {
                return Ok(None);
            }
            out.push((name.to_owned(), topic.postings));
        }
        Ok((end < self.sizes.topics).then_some(end))
    }
}

/// The first of `count` entries for which `is_before` does not hold.
fn partition_point(count: u32, mut is_before: impl FnMut(u32) -> Result<bool, BadIndex>) -> Result<u32, BadIndex> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn damaged(_: BadRecord) -> BadIndex {
    BadIndex::Damaged
}
