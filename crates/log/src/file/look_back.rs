//! What a filter wants of a file log, and where its last matches begin.

use std::sync::Arc;

use super::cursor::FileCursor;
use super::disk::DiskFile;
use super::picks::Wanted;
use super::segment::Segment;
use super::shelf::Shelf;
use crate::cursor::{self, RecordCursor};
use crate::visibility::Visibility;
use crate::{Filter, HubId, ReadError};

/// So many records more are looked at each time that fewer than asked for matched.
const MORE: u64 = 4;
/// So many records are looked at first, if fewer are asked for.
const RECORDS_FIRST: u64 = 64;

/// The records among which those lie that a filter admits.
pub(super) fn wanted(filter: &Filter) -> Wanted<'_> {
    if filter.topics.is_any() {
        return Wanted::All;
    }
    Wanted::Topics(filter.topics.exact().map(|topic| topic.as_str()).collect())
}

/// The place after which the last `count` events lie that match, or the low-water mark.
pub(super) fn place_before_last<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    count: u64,
    filter: &Filter,
) -> Result<HubId, ReadError> {
    let mut left = count;
    if left == 0 {
        return Ok(shelf.head());
    }
    for segment in shelf.segments().into_iter().rev() {
        match in_segment(shelf, &segment, left, filter, visibility)? {
            Found::Place(place) => return Ok(place),
            Found::Fewer(matches) => left -= matches,
        }
    }
    Ok(shelf.low_water())
}

/// What a segment says of its last matches.
enum Found {
    /// The place before the one that was asked for.
    Place(HubId),
    /// It has only so many.
    Fewer(u64),
}

/// Looks at the last records of a segment that are wanted, and at more and more of them until enough match.
fn in_segment<F: DiskFile>(
    shelf: &Shelf<F>,
    segment: &Arc<Segment<F>>,
    left: u64,
    filter: &Filter,
    visibility: &Visibility,
) -> Result<Found, ReadError> {
    let mut look_at = left.max(RECORDS_FIRST);
    loop {
        let from = FileCursor::record_before_last(shelf, segment, &wanted(filter), look_at);
        let cursor = || FileCursor::of_segment_from(shelf, Arc::clone(segment), wanted(filter), from);
        let matches = cursor::count(&mut cursor(), filter, visibility)?;
        if matches >= left {
            return before_match(shelf, segment, &mut cursor(), matches - left, filter, visibility).map(Found::Place);
        }
        if from == 0 {
            return Ok(Found::Fewer(matches));
        }
        look_at = look_at.saturating_mul(MORE);
    }
}

/// The record before the match that `skip` others precede, or the place before the segment.
fn before_match<F: DiskFile>(
    shelf: &Shelf<F>,
    segment: &Arc<Segment<F>>,
    cursor: &mut FileCursor<'_, F>,
    skip: u64,
    filter: &Filter,
    visibility: &Visibility,
) -> Result<HubId, ReadError> {
    let mut skipped = 0;
    while let Some(head) = cursor.next_head()? {
        if !cursor::is_seen(&head, filter, visibility) {
            continue;
        }
        if skipped < skip {
            skipped += 1;
            continue;
        }
        let number = head.sequence.checked_sub(segment.header.first_sequence + 1);
        let Some(before) = number.and_then(|number| u32::try_from(number).ok()) else { break };
        let mut cursor = FileCursor::of_segment_from(shelf, Arc::clone(segment), Wanted::All, before);
        return Ok(cursor.next_head()?.map_or(segment.header.before.id, |head| head.id));
    }
    Ok(segment.header.before.id)
}
