//! The topics of a file log, from the tables of its segments' indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cursor::FileCursor;
use super::disk::DiskFile;
use super::index::{BadIndex, RecordIndex};
use super::picks::Wanted;
use super::segment::Segment;
use super::shelf::Shelf;
use crate::cursor::{self, RecordCursor};
use crate::visibility::Visibility;
use crate::{Filter, ReadError, TopicPage, TopicSummary};

/// So much is looked at for one page of topics: records, and topics once for each segment.
pub const TOPIC_LOOKS_MAX: u64 = 50_000;
/// So many topics are taken from a segment's index at once, if fewer are asked for.
const TOPICS_AT_ONCE: usize = 64;
/// To find a place among the topics of an index counts as much as looking at so many records.
const SEEK_LOOKS: u64 = 16;

/// The topics of retained events after one, in byte order, at most `limit`, of which something may be read; fewer
/// where `looks_max` is used up. At least one topic is looked at.
pub(super) fn topics<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    after: Option<&str>,
    limit: usize,
    filter: &Filter,
    looks_max: u64,
) -> Result<TopicPage, ReadError> {
    if limit == 0 {
        return Ok(TopicPage { topics: Vec::new(), next: after.map(str::to_owned) });
    }
    let mut look = Look { shelf, visibility, filter, segments: shelf.segments(), looks_left: looks_max };
    let mut topics: Vec<TopicSummary> = Vec::new();
    let mut next = after.map(str::to_owned);
    let mut is_first = true;
    // Topics of which nothing may be read are passed over.
    loop {
        let at_once = (limit - topics.len()).max(TOPICS_AT_ONCE);
        let (found, may_be_more) = look.next_topics(next.as_deref(), at_once)?;
        if is_first {
            // However much it was to find the first ones: there is a page.
            look.looks_left = looks_max;
        }
        for (name, parts) in found {
            let mut summary = look.summary(&name, &parts)?;
            let is_cut = look.looks_left == 0;
            if is_cut && !is_first {
                return Ok(TopicPage { topics, next });
            }
            is_first = false;
            next = Some(name);
            summary.iter_mut().for_each(|summary| summary.is_cut = is_cut);
            topics.extend(summary);
            if topics.len() == limit || is_cut {
                return Ok(TopicPage { topics, next });
            }
        }
        if !may_be_more {
            return Ok(TopicPage { topics, next: None });
        }
        look.spend(SEEK_LOOKS * look.segments.len() as u64);
    }
}

/// What may be read of one topic, if anything; as much as is found where `looks_max` is used up.
pub(super) fn topic<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    name: &str,
    filter: &Filter,
    looks_max: u64,
) -> Result<Option<TopicSummary>, ReadError> {
    let mut look = Look { shelf, visibility, filter, segments: shelf.segments(), looks_left: looks_max };
    let parts: Vec<_> = (0..look.segments.len()).map(|number| (number, Part::Indexed)).collect();
    let mut summary = look.summary(name, &parts)?;
    summary.iter_mut().for_each(|summary| summary.is_cut = look.looks_left == 0);
    Ok(summary)
}

/// What a segment has of a topic.
enum Part {
    /// Its index knows some.
    Indexed,
    /// What was counted.
    Walked(TopicSummary),
}

/// By name, what the segments have, by their number.
type Parts = BTreeMap<String, Vec<(usize, Part)>>;

/// A look for topics.
struct Look<'a, F> {
    shelf: &'a Shelf<F>,
    visibility: &'a Visibility,
    filter: &'a Filter,
    segments: Vec<Arc<Segment<F>>>,
    looks_left: u64,
}

impl<F: DiskFile> Look<'_, F> {
    fn spend(&mut self, looks: u64) {
        self.looks_left = self.looks_left.saturating_sub(looks);
    }

    /// The next `limit` topics, and whether there may be more.
    fn next_topics(&mut self, after: Option<&str>, limit: usize) -> Result<(Parts, bool), ReadError> {
        let mut found = Parts::new();
        let mut may_be_more = false;
        for number in 0..self.segments.len() {
            let parts = self.in_segment(number, after, limit)?;
            may_be_more |= parts.len() >= limit;
            for (name, part) in parts {
                found.entry(name).or_default().push((number, part));
            }
            // What falls out here has `limit` topics before it.
            while found.len() > limit {
                found.pop_last();
                may_be_more = true;
            }
        }
        Ok((found, may_be_more))
    }

    /// The next `limit` topics of a segment. Without an index, its records are walked over.
    fn in_segment(
        &mut self,
        number: usize,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Part)>, ReadError> {
        let segment = Arc::clone(&self.segments[number]);
        if let Some(index) = segment.index() {
            match index.topics_after(after, limit) {
                Ok(named) => {
                    return Ok(named.into_iter().map(|(name, _)| (name, Part::Indexed)).collect());
                }
                Err(bad) => segment.index_is_bad(&bad),
            }
        }
        self.spend(self.shelf.committed_records(&segment).into());
        let mut cursor = FileCursor::of_segment(self.shelf, segment, Wanted::All);
        let topics = cursor::topics(&mut cursor, after, limit, self.filter, self.visibility)?;
        Ok(topics.into_iter().map(|summary| (summary.topic.clone(), Part::Walked(summary))).collect())
    }

    /// What may be read of a topic, if anything.
    fn summary(&mut self, name: &str, parts: &[(usize, Part)]) -> Result<Option<TopicSummary>, ReadError> {
        let mut whole: Option<TopicSummary> = None;
        // The newest first: what rules hide is the oldest, and may be more than is looked at.
        for (number, part) in parts.iter().rev() {
            self.spend(1);
            let part = match part {
                Part::Walked(summary) => Some(summary.clone()),
                Part::Indexed => self.indexed(&Arc::clone(&self.segments[*number]), name)?,
            };
            match (&mut whole, part) {
                (_, None) => {}
                (Some(whole), Some(part)) => (whole.events, whole.first) = (whole.events + part.events, part.first),
                (none, part) => *none = part,
            }
            if self.looks_left == 0 {
                break;
            }
        }
        Ok(whole)
    }

    fn indexed(&mut self, segment: &Arc<Segment<F>>, name: &str) -> Result<Option<TopicSummary>, ReadError> {
        match self.ends(segment, name) {
            Ok(Some((0, _))) => Ok(None),
            Ok(Some((count, ends))) => self.by_ends(segment, name, count, &ends),
            Ok(None) => self.by_heads(segment, name),
            Err(bad) => {
                segment.index_is_bad(&bad);
                self.by_heads(segment, name)
            }
        }
    }

    /// How many of a topic's records are committed, and the first and the last of them. None if not all of them may
    /// be read.
    fn ends(&self, segment: &Arc<Segment<F>>, name: &str) -> Result<Option<(u32, Vec<u32>)>, BadIndex> {
        let index = segment.index().ok_or(BadIndex::Absent)?;
        let Some(postings) = index.topic(name)? else { return Ok(Some((0, Vec::new()))) };
        let reads_all = self.filter.grants.as_ref().is_some_and(|grants| grants.matches(std::iter::once(name)));
        if !self.visibility.is_clear() || (postings.private > 0 && !reads_all) {
            return Ok(None);
        }
        // The index may know more than is committed.
        let count = index.rank(postings, self.shelf.committed_records(segment))?;
        let mut ends = Vec::new();
        if count > 0 {
            index.postings(postings, 0..1, &mut ends)?;
            index.postings(postings, count - 1..count, &mut ends)?;
        }
        Ok(Some((count, ends)))
    }

    /// All records on a topic count: the first and the last of them are looked at.
    fn by_ends(
        &self,
        segment: &Arc<Segment<F>>,
        name: &str,
        count: u32,
        ends: &[u32],
    ) -> Result<Option<TopicSummary>, ReadError> {
        let mut ids = Vec::with_capacity(2);
        for &record in ends {
            let wanted = Wanted::Topics(vec![name]);
            let mut cursor = FileCursor::of_segment_from(self.shelf, Arc::clone(segment), wanted, record);
            ids.extend(cursor.next_head()?.map(|head| head.id));
        }
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return Ok(None) };
        Ok(Some(TopicSummary { topic: name.to_owned(), events: count.into(), first, last, is_cut: false }))
    }

    /// Each record on a topic is looked at, until too many were.
    fn by_heads(&mut self, segment: &Arc<Segment<F>>, name: &str) -> Result<Option<TopicSummary>, ReadError> {
        let wanted = Wanted::Topics(vec![name]);
        let from = FileCursor::record_before_last(self.shelf, segment, &wanted, self.looks_left);
        let mut cursor = FileCursor::of_segment_from(self.shelf, Arc::clone(segment), wanted, from);
        let mut summary: Option<TopicSummary> = None;
        while let Some(head) = cursor.next_head()? {
            if self.looks_left == 0 {
                break;
            }
            self.looks_left -= 1;
            let is_on = head.topics().any(|topic| topic == name);
            let may_read = self.filter.may_read(head.topics(), head.is_private());
            if !is_on || !may_read || self.visibility.hides(&head).is_some() {
                continue;
            }
            let (topic, id) = (name.to_owned(), head.id);
            let new = TopicSummary { topic, events: 0, first: id, last: id, is_cut: false };
            let summary = summary.get_or_insert(new);
            (summary.events, summary.last) = (summary.events + 1, id);
        }
        if from > 0 {
            self.looks_left = 0;
        }
        Ok(summary)
    }
}
