//! Where the last matches of a filter begin.

use std::ops::Range;
use std::sync::Arc;

use super::cursor::FileCursor;
use super::disk::DiskFile;
use super::picks::Wanted;
use super::segment::Segment;
use super::shelf::Shelf;
use crate::cursor::{self, RecordCursor};
use crate::record::Head;
use crate::visibility::Visibility;
use crate::{Filter, HubId, LastMatches, ReadError};

/// So many records more are looked at each time that fewer than asked for matched.
const MORE: u64 = 4;
/// So many records are looked at first, if fewer are asked for.
const RECORDS_FIRST: u64 = 64;
/// So many records are looked at in all, where the last matches are sought: what lies before is left out, and that is
/// said. Who wants more begins with the earliest.
pub const LAST_EVENTS_MAX: u64 = 100_000;

/// The records among which those lie that a filter admits. What matches patterns is not sought in indexes: each would
/// have to be asked for all its topics, however few records are left to be looked at.
fn wanted(filter: &Filter) -> Wanted<'_> {
    match Wanted::by(filter) {
        Wanted::Matching(_) => Wanted::All,
        wanted => wanted,
    }
}

/// The place after which the last `count` events lie that match, or the low-water mark; a later one where more than
/// `records_max` records would have to be looked at.
pub(super) fn place_before_last<F: DiskFile>(
    shelf: &Shelf<F>,
    visibility: &Visibility,
    count: u64,
    filter: &Filter,
    records_max: u64,
) -> Result<LastMatches, ReadError> {
    let whole = |place| LastMatches { place, is_cut: false };
    // What is behind it was looked at.
    let mut looked_from = shelf.head();
    if count == 0 {
        return Ok(whole(looked_from));
    }
    let mut back = Back { shelf, visibility, filter, left: count, records_left: records_max };
    for segment in shelf.segments().into_iter().rev() {
        match back.in_segment(&segment, looked_from)? {
            Found::Place(place) => return Ok(whole(place)),
            Found::Cut(place) => return Ok(LastMatches { place, is_cut: true }),
            Found::Fewer => looked_from = segment.header.before.id,
        }
    }
    Ok(whole(shelf.low_water()))
}

/// What a segment says of its last matches.
enum Found {
    /// The place before the one that was asked for.
    Place(HubId),
    /// Enough was looked at, back to this place.
    Cut(HubId),
    /// It has fewer.
    Fewer,
}

/// A look back for matches.
struct Back<'a, F> {
    shelf: &'a Shelf<F>,
    visibility: &'a Visibility,
    filter: &'a Filter,
    /// How many are still to be found.
    left: u64,
    records_left: u64,
}

impl<F: DiskFile> Back<'_, F> {
    /// Looks at the last records of a segment that are wanted, and at more and more before them until enough match.
    /// Behind its end, `end_place`, all was looked at.
    fn in_segment(&mut self, segment: &Arc<Segment<F>>, end_place: HubId) -> Result<Found, ReadError> {
        let topics = match wanted(self.filter) {
            Wanted::Topics(topics) => topics.len() as u64,
            _ => 1,
        };
        let mut look_at = self.left.max(RECORDS_FIRST);
        let mut asked = 0;
        let mut end = None;
        loop {
            let cut = |end: Option<u32>| end.map_or(Ok(end_place), |end| self.place_before(segment, end));
            // Of each topic so many.
            look_at = look_at.min(asked + self.records_left / topics);
            if look_at == asked {
                return cut(end).map(Found::Cut);
            }
            asked = look_at;
            let from = FileCursor::record_before_last(self.shelf, segment, &wanted(self.filter), look_at);
            let (matches, records) = self.count(segment, from..end.unwrap_or(u32::MAX))?;
            let Some(matches) = matches else { return cut(end).map(Found::Cut) };
            if matches >= self.left {
                return self.before_match(segment, from, matches - self.left).map(Found::Place);
            }
            self.left -= matches;
            self.records_left -= records;
            if from == 0 {
                return Ok(Found::Fewer);
            }
            end = Some(from);
            look_at = look_at.saturating_mul(MORE);
        }
    }

    /// How many records of a stretch match, and how many were looked at. No matches are told if those are too many.
    fn count(&self, segment: &Arc<Segment<F>>, stretch: Range<u32>) -> Result<(Option<u64>, u64), ReadError> {
        let (mut matches, mut records) = (0, 0);
        let mut cursor = self.walk(segment, stretch.start);
        while let Some(head) = cursor.next_head()? {
            if number(segment, &head) >= stretch.end {
                break;
            }
            if records == self.records_left {
                return Ok((None, records));
            }
            records += 1;
            matches += u64::from(cursor::is_seen(&head, self.filter, self.visibility));
        }
        Ok((Some(matches), records))
    }

    /// The place before the match that `skip` others precede, from a record on.
    fn before_match(&self, segment: &Arc<Segment<F>>, from: u32, skip: u64) -> Result<HubId, ReadError> {
        let mut skipped = 0;
        let mut cursor = self.walk(segment, from);
        while let Some(head) = cursor.next_head()? {
            if !cursor::is_seen(&head, self.filter, self.visibility) {
                continue;
            }
            if skipped == skip {
                return self.place_before(segment, number(segment, &head));
            }
            skipped += 1;
        }
        Ok(segment.header.before.id)
    }

    /// The place of the record before the one with this number, or the place before the segment.
    fn place_before(&self, segment: &Arc<Segment<F>>, record: u32) -> Result<HubId, ReadError> {
        let Some(before) = record.checked_sub(1) else { return Ok(segment.header.before.id) };
        let mut cursor = FileCursor::of_segment_from(self.shelf, Arc::clone(segment), Wanted::All, before);
        let Some(head) = cursor.next_head()? else { return Ok(segment.header.before.id) };
        // Where that record is lost, this is the next one that is there.
        let place = if number(segment, &head) > before { head.id.before() } else { Some(head.id) };
        Ok(place.unwrap_or_default())
    }

    fn walk(&self, segment: &Arc<Segment<F>>, from: u32) -> FileCursor<'_, F> {
        FileCursor::of_segment_from(self.shelf, Arc::clone(segment), wanted(self.filter), from)
    }
}

/// The number of a record in its segment.
fn number<F>(segment: &Segment<F>, head: &Head<'_>) -> u32 {
    u32::try_from(head.sequence.saturating_sub(segment.header.first_sequence)).unwrap_or(u32::MAX)
}
