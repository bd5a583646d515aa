//! What both logs answer alike, given a way to walk over their records.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::record::Head;
use crate::visibility::Visibility;
use crate::{Filter, Hidden, HubId, Met, ReadError, RecordView, TopicSummary};

/// A walk over records in log order, from a place to the head.
pub(crate) trait RecordCursor {
    /// Goes on to the next record, or over what is damaged; `None` at the end.
    fn advance(&mut self) -> Result<Option<Step>, ReadError>;

    /// The head of the record on which the cursor stands. Only after `advance` gave one.
    fn head(&mut self) -> Result<Head<'_>, ReadError>;

    /// The whole record on which the cursor stands, checked; `None` if its frame is not what was written. Only
    /// after `advance` gave one.
    fn record(&mut self) -> Result<Option<RecordView<'_>>, ReadError>;

    /// Notes that the frame of the record on which it stands is damaged, and not overwritten.
    fn note_damaged_frame(&mut self) {}

    /// Goes on to the next record, whatever is lost before it, and shows its head; `None` at the end.
    fn next_head(&mut self) -> Result<Option<Head<'_>>, ReadError> {
        loop {
            match self.advance()? {
                Some(Step::Lost { .. }) => {}
                Some(Step::Record) => return self.head().map(Some),
                None => return Ok(None),
            }
        }
    }
}

/// What a walk comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A record.
    Record,
    /// Nobody can tell which records were here.
    Lost {
        /// The place of the last of them, or one above it that lies before the next record.
        through: HubId,
    },
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
    while let Some(step) = cursor.advance()? {
        let (place, flow) = match step {
            Step::Lost { through } => (through, visit(Met::Hidden { place: through, why: Hidden::Damaged })),
            Step::Record => {
                let head = cursor.head()?;
                let id = head.id;
                scanned += head.bytes as u64;
                let admits = filter.admits(head.topics(), head.event_type, head.is_private());
                let why = if admits { visibility.hides(&head) } else { None };
                let flow = if admits {
                    show(cursor, why, visibility, &mut |shown| match shown {
                        Ok(record) => visit(Met::Record(record)),
                        Err(why) => visit(Met::Hidden { place: id, why }),
                    })?
                } else {
                    ControlFlow::Continue(())
                };
                (id, flow)
            }
        };
        last = Some(place);
        if flow.is_break() || scanned >= scan_bytes_max {
            return Ok(Looked::Stopped(place));
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
    if let Some(record) = cursor.record()? {
        return Ok(visit(Ok(&record)));
    }
    let explained = visibility.explains(&cursor.head()?);
    if explained.is_none() {
        cursor.note_damaged_frame();
    }
    Ok(visit(Err(explained.unwrap_or(Hidden::Damaged))))
}

/// The first record with this publisher's id that may be read.
pub(crate) fn find_publisher_id(
    cursor: &mut impl RecordCursor,
    id: &str,
    filter: &Filter,
    visibility: &Visibility,
) -> Result<Option<HubId>, ReadError> {
    while let Some(head) = cursor.next_head()? {
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
    while let Some(head) = cursor.next_head()? {
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
    while let Some(head) = cursor.next_head()? {
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
    while let Some(head) = cursor.next_head()? {
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

/// What lies on one topic, if anything.
pub(crate) fn topic(
    cursor: &mut impl RecordCursor,
    topic: &str,
    filter: &Filter,
    visibility: &Visibility,
) -> Result<Option<TopicSummary>, ReadError> {
    let mut found: Option<TopicSummary> = None;
    while let Some(head) = cursor.next_head()? {
        let is_on = head.topics().any(|other| other == topic);
        if !is_on || !filter.may_read(head.topics(), head.is_private()) || visibility.hides(&head).is_some() {
            continue;
        }
        let (events, id) = (0, head.id);
        let new = || TopicSummary { topic: topic.to_owned(), events, first: id, last: id, is_cut: false };
        let summary = found.get_or_insert_with(new);
        (summary.events, summary.last) = (summary.events + 1, id);
    }
    Ok(found)
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
    while let Some(head) = cursor.next_head()? {
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
                let summary =
                    TopicSummary { topic: topic.to_owned(), events: 1, first: head.id, last: head.id, is_cut: false };
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
