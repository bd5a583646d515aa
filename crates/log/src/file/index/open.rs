use std::ops::Range;

use super::chain::Chains;
use super::hash::NameHash;
use super::names::Names;
use super::publications::Publications;
use super::{BadIndex, MARK_RECORDS, Postings, RecordIndex, TOPICS_AT_ONCE};
use crate::HubId;
use crate::file::layout::LogId;
use crate::file::segment::Mark;
use crate::record::Head;

/// The index of a segment that is open, or sealed and not yet written to its file. In memory it
/// takes about 60 bytes a record with one topic, and the names of the topics once.
#[derive(Debug)]
pub(crate) struct OpenIndex {
    pub(super) hash: NameHash,
    /// Where each record begins.
    pub(super) offsets: Vec<u32>,
    /// One before every [`MARK_RECORDS`]th record.
    pub(super) marks: Vec<Mark>,
    pub(super) names: Names,
    /// What is known of each topic, by the number of its name.
    pub(super) topics: Vec<Topic>,
    pub(super) chains: Chains,
    pub(super) publications: Publications,
    /// The id of the last record, or the place before the segment.
    last: HubId,
}

/// A topic's records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic {
    /// The newest link of its chain.
    pub(super) newest: u32,
    pub(super) count: u32,
    pub(super) private: u32,
}

impl OpenIndex {
    /// The index of a segment of this log before which the place `before` lies.
    pub(crate) fn new(log_id: &LogId, before: HubId) -> OpenIndex {
        OpenIndex {
            hash: NameHash::new(log_id),
            offsets: Vec::new(),
            marks: Vec::new(),
            names: Names::default(),
            topics: Vec::new(),
            chains: Chains::default(),
            publications: Publications::default(),
            last: before,
        }
    }

    /// Takes the next record, which begins at byte `at` of the segment, in a group that ends at
    /// `group_end`.
    pub(crate) fn push(&mut self, at: u32, group_end: u32, head: &Head<'_>) {
        let record = self.records();
        if record.is_multiple_of(MARK_RECORDS) {
            self.marks.push(Mark { after: self.last, at: at.into(), group_end: group_end.into() });
        }
        self.offsets.push(at);
        self.last = head.id;
        let mut first_topic = None;
        for name in head.topics() {
            let hash = self.hash.name(name);
            first_topic.get_or_insert(hash);
            let number = self.names.intern(name, hash);
            self.link(number, record, head.is_private());
        }
        if let Some(id) = head.publisher_id {
            let topic = lower_half(first_topic.unwrap_or_else(|| self.hash.name("")));
            self.publications.push(self.hash.name(id), topic, record);
        }
    }

    fn link(&mut self, number: u32, record: u32, is_private: bool) {
        let known = self.topics.get(number as usize).copied();
        // A record that bears a topic twice is on it once.
        if known.is_some_and(|topic| self.chains.record(topic.newest) == record) {
            return;
        }
        let newest = self.chains.push(known.map(|topic| topic.newest), record);
        let (count, private) = known.map_or((0, 0), |topic| (topic.count, topic.private));
        let topic = Topic { newest, count: count + 1, private: private + u32::from(is_private) };
        match self.topics.get_mut(number as usize) {
            Some(known) => *known = topic,
            None => self.topics.push(topic),
        }
    }

    fn numbered_mark(&self, index: usize) -> Option<(u32, Mark)> {
        let record = u32::try_from(index).expect("fewer than records") * MARK_RECORDS;
        self.marks.get(index).map(|&mark| (record, mark))
    }

    fn handle(&self, number: u32) -> Postings {
        let Topic { count, private, .. } = self.topics[number as usize];
        Postings { first: number, count, private }
    }
}

impl RecordIndex for OpenIndex {
    fn records(&self) -> u32 {
        u32::try_from(self.offsets.len()).expect("a segment is shorter than 4 GiB")
    }

    fn offsets(&self, records: &[u32], out: &mut Vec<u64>) -> Result<(), BadIndex> {
        for &record in records {
            out.push(self.offsets.get(record as usize).copied().ok_or(BadIndex::Damaged)?.into());
        }
        Ok(())
    }

    fn mark(&self, place: HubId) -> Result<Option<(u32, Mark)>, BadIndex> {
        let index = self.marks.partition_point(|mark| mark.after <= place).saturating_sub(1);
        Ok(self.numbered_mark(index))
    }

    fn mark_before(&self, record: u32) -> Result<Option<(u32, Mark)>, BadIndex> {
        let last = self.marks.len().saturating_sub(1);
        Ok(self.numbered_mark(last.min((record / MARK_RECORDS) as usize)))
    }

    fn topic(&self, name: &str) -> Result<Option<Postings>, BadIndex> {
        Ok(self.names.find(name, self.hash.name(name)).map(|number| self.handle(number)))
    }

    fn rank(&self, topic: Postings, record: u32) -> Result<u32, BadIndex> {
        let known = self.topics.get(topic.first as usize).ok_or(BadIndex::Damaged)?;
        Ok(self.chains.rank(known.newest, record).min(topic.count))
    }

    fn postings(&self, topic: Postings, range: Range<u32>, out: &mut Vec<u32>) -> Result<(), BadIndex> {
        let known = self.topics.get(topic.first as usize).ok_or(BadIndex::Damaged)?;
        self.chains.extend(known.newest, range, out);
        Ok(())
    }

    fn published(&self, id: &str, first_topic: Option<&str>) -> Result<Vec<u32>, BadIndex> {
        let topic = first_topic.map(|topic| lower_half(self.hash.name(topic)));
        Ok(self.publications.find(self.hash.name(id), topic))
    }

    fn topics_after(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, Postings)>, BadIndex> {
        let first = self.names.after(after, limit).into_iter();
        Ok(first.map(|(name, number)| (name.to_owned(), self.handle(number))).collect())
    }

    // All of them: which are canonical is found out once the segment is sealed, as that takes longer than to number them.
    fn other_topics(&self, from: u32, out: &mut Vec<(String, Postings)>) -> Result<Option<u32>, BadIndex> {
        let count = u32::try_from(self.names.len()).expect("names lie in a segment, which is shorter than 4 GiB");
        let end = from.saturating_add(TOPICS_AT_ONCE).min(count);
        out.extend((from..end).map(|number| (self.names.name(number).to_owned(), self.handle(number))));
        Ok((end < count).then_some(end))
    }

    fn topics_beginning(
        &self,
        _literal: &str,
        _from: u32,
        _out: &mut Vec<(String, Postings)>,
    ) -> Result<Option<u32>, BadIndex> {
        Ok(None)
    }
}

/// What of a first topic's hash stands in the table of publishers' ids.
pub(super) fn lower_half(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).expect("32 bits")
}
