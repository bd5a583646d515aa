//! What both logs answer alike, given a way to walk over their records.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::record::Head;
use crate::{Filter, HubId, Met, ReadError, RecordView, TopicSummary};

/// A walk over records in log order, from a place to the head.
pub(crate) trait RecordCursor {
    /// Goes on to the next record and shows its head; `None` at the end.
    fn advance(&mut self) -> Result<Option<Head<'_>>, ReadError>;

    /// The whole record on which the cursor stands, checked. Only after `advance` gave one.
    fn record(&mut self) -> Result<RecordView<'_>, ReadError>;
}

/// How far a read came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// It stopped at this record, which was looked at.
    Stopped(HubId),
    /// There are no more records. This was the last one, if there was any.
    Exhausted(Option<HubId>),
}

/// Shows the records that match `filter`, until `visit` breaks or enough was looked at.
pub(crate) fn read(
    cursor: &mut impl RecordCursor,
    filter: &Filter,
    scan_bytes_max: u64,
    visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
) -> Result<Looked, ReadError> {
    let mut scanned: u64 = 0;
    let mut last = None;
    while let Some(head) = cursor.advance()? {
        let id = head.id;
        last = Some(id);
        scanned += head.bytes as u64;
        let admits = filter.admits(head.topics(), head.event_type, head.is_private());
        if admits && visit(Met::Record(&cursor.record()?)).is_break() || scanned >= scan_bytes_max {
            return Ok(Looked::Stopped(id));
        }
    }
    Ok(Looked::Exhausted(last))
}

/// The first record with this publisher's id that may be read.
pub(crate) fn find_publisher_id(
    cursor: &mut impl RecordCursor,
    id: &str,
    filter: &Filter,
) -> Result<Option<HubId>, ReadError> {
    while let Some(head) = cursor.advance()? {
        if head.publisher_id == Some(id) && filter.may_read(head.topics(), head.is_private()) {
            return Ok(Some(head.id));
        }
    }
    Ok(None)
}

/// How many records match.
pub(crate) fn count(cursor: &mut impl RecordCursor, filter: &Filter) -> Result<u64, ReadError> {
    let mut count = 0;
    while let Some(head) = cursor.advance()? {
        count += u64::from(filter.admits(head.topics(), head.event_type, head.is_private()));
    }
    Ok(count)
}

/// The place before the match that `skip` others precede, in a walk that begins at `after`.
pub(crate) fn place_before(
    cursor: &mut impl RecordCursor,
    after: HubId,
    skip: u64,
    filter: &Filter,
) -> Result<HubId, ReadError> {
    let mut place = after;
    let mut skipped = 0;
    while let Some(head) = cursor.advance()? {
        if filter.admits(head.topics(), head.event_type, head.is_private()) {
            if skipped == skip {
                return Ok(place);
            }
            skipped += 1;
        }
        place = head.id;
    }
    Ok(place)
}

/// What lies on each topic, of the first `limit` topics after `after`.
pub(crate) fn topics(
    cursor: &mut impl RecordCursor,
    after: Option<&str>,
    limit: usize,
    filter: &Filter,
) -> Result<Vec<TopicSummary>, ReadError> {
    let mut found: BTreeMap<String, TopicSummary> = BTreeMap::new();
    while let Some(head) = cursor.advance()? {
        if !filter.may_read(head.topics(), head.is_private()) {
            continue;
        }
        for topic in head.topics() {
            if after.is_some_and(|after| topic <= after) {
                continue;
            }
            if let Some(summary) = found.get_mut(topic) {
                summary.events += 1;
                summary.last = head.id;
            } else if found.len() < limit || found.last_key_value().is_some_and(|(last, _)| topic < &**last) {
                let summary = TopicSummary { topic: topic.to_owned(), events: 1, first: head.id, last: head.id };
                found.insert(topic.to_owned(), summary);
                // What falls out here has `limit` topics before it, and cannot come back.
                if found.len() > limit {
                    found.pop_last();
                }
            }
        }
    }
    Ok(found.into_values().collect())
}
