//! What both logs answer alike, given a way to walk over their records.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::record::Head;
use crate::visibility::Visibility;
use crate::{Filter, Hidden, HubId, Met, ReadError, RecordView, TopicSummary};

/// A walk over records in log order, from a place to the head.
pub(crate) trait RecordCursor {
    /// Goes on to the next record and shows its head; `None` at the end.
    fn advance(&mut self) -> Result<Option<Head<'_>>, ReadError>;

    /// The head of the record on which the cursor stands. Only after `advance` gave one.
    fn head(&mut self) -> Result<Head<'_>, ReadError>;

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

/// Shows the records that match `filter`, or that they are hidden, until `visit` breaks or enough was looked at.
pub(crate) fn read(
    cursor: &mut impl RecordCursor,
    filter: &Filter,
    visibility: &Visibility,
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
        if admits {
            let why = visibility.hides(&head);
            let flow = show(cursor, why, visibility, &mut |shown| match shown {
                Ok(record) => visit(Met::Record(record)),
                Err(why) => visit(Met::Hidden { place: id, why }),
            })?;
            if flow.is_break() {
                return Ok(Looked::Stopped(id));
            }
        }
        if scanned >= scan_bytes_max {
            return Ok(Looked::Stopped(id));
        }
    }
    Ok(Looked::Exhausted(last))
}

/// Shows the record on which a cursor stands, or why it is hidden: `why`, if that is known, or because it was
/// overwritten since.
pub(crate) fn show<T>(
    cursor: &mut impl RecordCursor,
    why: Option<Hidden>,
    visibility: &Visibility,
    visit: &mut dyn FnMut(Result<&RecordView<'_>, Hidden>) -> T,
) -> Result<T, ReadError> {
    if let Some(why) = why {
        return Ok(visit(Err(why)));
    }
    let error = match cursor.record() {
        Ok(record) => return Ok(visit(Ok(&record))),
        Err(error) => error,
    };
    match visibility.explains(&cursor.head()?) {
        Some(why) => Ok(visit(Err(why))),
        None => Err(error),
    }
}

/// The first record with this publisher's id that may be read.
pub(crate) fn find_publisher_id(
    cursor: &mut impl RecordCursor,
    id: &str,
    filter: &Filter,
    visibility: &Visibility,
) -> Result<Option<HubId>, ReadError> {
    while let Some(head) = cursor.advance()? {
        let is_it = head.publisher_id == Some(id) && filter.may_read(head.topics(), head.is_private());
        if is_it && visibility.hides(&head).is_none() {
            return Ok(Some(head.id));
        }
    }
    Ok(None)
}

/// The ids of the records with this publisher's id on a topic that are to be seen.
pub(crate) fn published(
    cursor: &mut impl RecordCursor,
    topic: &str,
    publisher_id: &str,
    visibility: &Visibility,
) -> Result<Vec<HubId>, ReadError> {
    let mut found = Vec::new();
    while let Some(head) = cursor.advance()? {
        let is_it = head.publisher_id == Some(publisher_id) && head.topics().any(|of_it| of_it == topic);
        if is_it && visibility.hides(&head).is_none() {
            found.push(head.id);
        }
    }
    Ok(found)
}

/// How many records match.
pub(crate) fn count(
    cursor: &mut impl RecordCursor,
    filter: &Filter,
    visibility: &Visibility,
) -> Result<u64, ReadError> {
    let mut count = 0;
    while let Some(head) = cursor.advance()? {
        count += u64::from(is_seen(&head, filter, visibility));
    }
    Ok(count)
}

/// Whether a record matches and is not hidden.
pub(crate) fn is_seen(head: &Head<'_>, filter: &Filter, visibility: &Visibility) -> bool {
    filter.admits(head.topics(), head.event_type, head.is_private()) && visibility.hides(head).is_none()
}

/// The place before the match that `skip` others precede, in a walk that begins at `after`.
pub(crate) fn place_before(
    cursor: &mut impl RecordCursor,
    after: HubId,
    skip: u64,
    filter: &Filter,
    visibility: &Visibility,
) -> Result<HubId, ReadError> {
    let mut place = after;
    let mut skipped = 0;
    while let Some(head) = cursor.advance()? {
        if is_seen(&head, filter, visibility) {
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
    visibility: &Visibility,
) -> Result<Vec<TopicSummary>, ReadError> {
    let mut found: BTreeMap<String, TopicSummary> = BTreeMap::new();
    while let Some(head) = cursor.advance()? {
        if !filter.may_read(head.topics(), head.is_private()) || visibility.hides(&head).is_some() {
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
