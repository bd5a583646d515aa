//! The topics of a file log, from the tables of its segments' indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cursor::FileCursor;
use super::disk::DiskFile;
use super::index::{BadIndex, Index, RecordIndex};
use super::picks::Wanted;
use super::segment::Segment;
use super::shelf::Shelf;
use crate::cursor::{self, RecordCursor};
use crate::visibility::Visibility;
use crate::{Filter, ReadError, TopicSummary};

/// The topics of retained events after one, in byte order, at most `limit`, of which something may be read.
pub(super) fn topics<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    after: Option<&str>,
    limit: usize,
    filter: &Filter,
) -> Result<Vec<TopicSummary>, ReadError> {
    let mut listed: Vec<TopicSummary> = Vec::new();
    let mut after = after.map(str::to_owned);
    // Topics of which nothing may be read are passed over.
    while listed.len() < limit {
        let wanted = limit - listed.len();
        let (found, last) = next_topics(shelf, visibility, after.as_deref(), wanted, filter)?;
        listed.extend(found);
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    Ok(listed)
}

/// What may be read of the next `limit` topics, and the last of them; none if there are no more.
fn next_topics<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    after: Option<&str>,
    limit: usize,
    filter: &Filter,
) -> Result<(Vec<TopicSummary>, Option<String>), ReadError> {
    let mut found: BTreeMap<String, Option<TopicSummary>> = BTreeMap::new();
    for segment in shelf.segments() {
        for (name, summary) in of_segment(shelf, visibility, &segment, after, limit, filter)? {
            match (found.get_mut(&name), summary) {
                (None, summary) => _ = found.insert(name, summary),
                (Some(known), Some(summary)) => add(known, summary),
                (Some(_), None) => {}
            }
        }
        // What falls out here has `limit` topics before it.
        while found.len() > limit {
            found.pop_last();
        }
    }
    let last = found.last_key_value().map(|(name, _)| name.clone()).filter(|_| found.len() == limit);
    Ok((found.into_values().flatten().collect(), last))
}

/// Adds what a later segment has.
fn add(known: &mut Option<TopicSummary>, later: TopicSummary) {
    match known {
        Some(known) => {
            known.events += later.events;
            known.last = later.last;
        }
        none => *none = Some(later),
    }
}

type Named = Vec<(String, Option<TopicSummary>)>;

/// The next `limit` topics of a segment, with what may be read of them.
fn of_segment<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    segment: &Arc<Segment<F>>,
    after: Option<&str>,
    limit: usize,
    filter: &Filter,
) -> Result<Named, ReadError> {
    if let Some(index) = segment.index() {
        match by_index(shelf, visibility, segment, &index, after, limit, filter) {
            Err(Failed::Index(bad)) => segment.index_is_bad(&bad),
            Err(Failed::Read(error)) => return Err(error),
            Ok(named) => return Ok(named),
        }
    }
    let mut cursor = FileCursor::of_segment(shelf, Arc::clone(segment), Wanted::All);
    let topics = cursor::topics(&mut cursor, after, limit, filter, visibility)?;
    Ok(topics.into_iter().map(|summary| (summary.topic.clone(), Some(summary))).collect())
}

/// Why an index did not answer.
enum Failed {
    Index(BadIndex),
    Read(ReadError),
}

impl From<BadIndex> for Failed {
    fn from(bad: BadIndex) -> Failed {
        Failed::Index(bad)
    }
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Failed {
        Failed::Read(error)
    }
}

fn by_index<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    segment: &Arc<Segment<F>>,
    index: &Index<F>,
    after: Option<&str>,
    limit: usize,
    filter: &Filter,
) -> Result<Named, Failed> {
    let committed = shelf.committed_records(segment);
    let mut named = Vec::new();
    for (name, postings) in index.topics_after(after, limit)? {
        // The index may know more than is committed.
        let count = index.rank(postings, committed)?;
        let reads_all = filter.grants.as_ref().is_some_and(|grants| grants.matches(std::iter::once(&*name)));
        let summary = if count == 0 {
            None
        } else if visibility.is_clear() && (postings.private == 0 || reads_all) {
            let mut ends = Vec::new();
            index.postings(postings, 0..1, &mut ends)?;
            index.postings(postings, count - 1..count, &mut ends)?;
            by_ends(shelf, segment, &name, count, &ends)?
        } else {
            by_heads(shelf, visibility, segment, &name, filter)?
        };
        named.push((name, summary));
    }
    Ok(named)
}

/// All records on a topic count: the first and the last of them are looked at.
fn by_ends<F: DiskFile>(
    shelf: &Shelf<F>,
    segment: &Arc<Segment<F>>,
    name: &str,
    count: u32,
    ends: &[u32],
) -> Result<Option<TopicSummary>, ReadError> {
    let mut ids = Vec::with_capacity(2);
    for &record in ends {
        let mut cursor = FileCursor::of_segment_from(shelf, Arc::clone(segment), Wanted::Topics(vec![name]), record);
        ids.extend(cursor.next_head()?.map(|head| head.id));
    }
    let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return Ok(None) };
    Ok(Some(TopicSummary { topic: name.to_owned(), events: count.into(), first, last }))
}

/// Each record on a topic is looked at.
fn by_heads<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    segment: &Arc<Segment<F>>,
    name: &str,
    filter: &Filter,
) -> Result<Option<TopicSummary>, ReadError> {
    let mut cursor = FileCursor::of_segment(shelf, Arc::clone(segment), Wanted::Topics(vec![name]));
    let mut summary: Option<TopicSummary> = None;
    while let Some(head) = cursor.next_head()? {
        let is_on = head.topics().any(|topic| topic == name);
        let is_read = filter.may_read(head.topics(), head.is_private()) && visibility.hides(&head).is_none();
        if is_on && is_read {
            let (topic, id) = (name.to_owned(), head.id);
            let first = summary.as_ref().map_or(id, |known| known.first);
            let events = summary.as_ref().map_or(0, |known| known.events) + 1;
            summary = Some(TopicSummary { topic, events, first, last: id });
        }
    }
    Ok(summary)
}
