use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::DiskFile;
use super::index::{BadIndex, RecordIndex};
use super::layout::GROUP_HEADER;
use super::picks::{self, Picks, Wanted};
use super::segment::{Mark, Segment};
use super::shelf::{SegmentEnd, Shelf};
use crate::cursor::{RecordCursor, Step};
use crate::record::{Extent, Head};
use crate::{HubId, ReadError, RecordView};

mod group;
mod walk;
mod window;

pub(crate) use group::Stretch;
use walk::{Found, Passed, Trouble};
pub(crate) use window::Window;

/// A walk over the committed records of a file log. Where it is for some of them alone, it goes by the
/// segments' indexes. It goes on behind what is damaged.
pub(crate) struct FileCursor<'a, F> {
    shelf: &'a Shelf<F>,
    segment: Arc<Segment<F>>,
    /// The segment's file, once something was read.
    file: Option<Arc<F>>,
    /// Whether it ends with its segment.
    one_segment: bool,
    wanted: Wanted<'a>,
    /// What the segment's index found; none if its records are walked over.
    picks: Option<Picks<F>>,
    /// The first record of the segment that was not picked, or passed over by picking.
    next_pick: u32,
    /// When to ask the index for topics that match, where that is what is wanted.
    asks: Option<Ask>,
    window: Window,
    /// Where the next record or group begins.
    at: u64,
    group_end: u64,
    /// How much of the segment is committed.
    end: u64,
    /// The last record that was passed, or a place before the next.
    last: HubId,
    /// The sequence of the last record that was passed, as far as it is known.
    sequence: u64,
    /// Where the bytes begin that hold nothing, between that record and the next.
    lost_from: Option<u64>,
    /// Records at or before this place are passed over.
    after: HubId,
    /// Records before this one are passed over.
    from_sequence: u64,
    /// The record on which it stands.
    current: (u64, Extent),
    /// How many more indexes may be asked before it rests.
    indexes_left: u64,
    /// Where it rests.
    rests_at: Option<HubId>,
}

/// Where to begin in a segment.
#[derive(Clone, Copy, Debug)]
enum From {
    /// Before the first record after a place.
    Place(HubId),
    /// Before the record with this number.
    Record(u32),
}

/// Which topics of a segment match costs a test of each. Where many do, a read ends before that is worth its while: so
/// the records are walked over first, for about as long as the tests would take.
#[derive(Clone, Copy, Debug)]
struct Ask {
    /// After so many records more.
    records: u64,
    /// And from this byte of the segment on, if that comes earlier.
    at: u64,
}

/// So many bytes are walked over before a segment's index is asked for topics that match, at most: less than one read
/// looks at.
const WALK_BYTES_MAX: u64 = 2 << 20;
/// Walking over so many records counts as asking another index.
const RECORDS_AN_INDEX: u64 = 64;

/// What comes next.
enum Next {
    Found(Found),
    /// Nobody can tell which records were here, up to this place.
    Lost(HubId),
    /// There is nothing more.
    Nothing,
}

impl<'a, F: DiskFile> FileCursor<'a, F> {
    /// A walk over the records after a place, to the head.
    pub(crate) fn after(shelf: &'a Shelf<F>, after: HubId, wanted: Wanted<'a>) -> Option<FileCursor<'a, F>> {
        let segment = shelf.find(after)?;
        let mark = segment.mark(after);
        let mut cursor = FileCursor { after, ..FileCursor::new(shelf, segment, mark, wanted) };
        cursor.seek(From::Place(after));
        Some(cursor)
    }

    /// A walk over the records of one segment.
    pub(crate) fn of_segment(shelf: &'a Shelf<F>, segment: Arc<Segment<F>>, wanted: Wanted<'a>) -> FileCursor<'a, F> {
        FileCursor::of_segment_from(shelf, segment, wanted, 0)
    }

    /// A walk over the records of one segment from the one with this number on.
    pub(crate) fn of_segment_from(
        shelf: &'a Shelf<F>,
        segment: Arc<Segment<F>>,
        wanted: Wanted<'a>,
        record: u32,
    ) -> FileCursor<'a, F> {
        let mark = segment.mark(HubId::ZERO);
        let from_sequence = segment.header.first_sequence + u64::from(record);
        let cursor = FileCursor::new(shelf, segment, mark, wanted);
        let mut cursor = FileCursor { one_segment: true, from_sequence, ..cursor };
        cursor.seek(From::Record(record));
        cursor
    }

    /// A walk over the records of one segment after a mark.
    pub(crate) fn of_segment_after(shelf: &'a Shelf<F>, segment: Arc<Segment<F>>, mark: Mark) -> FileCursor<'a, F> {
        FileCursor { one_segment: true, after: mark.after, ..FileCursor::new(shelf, segment, mark, Wanted::All) }
    }

    fn new(shelf: &'a Shelf<F>, segment: Arc<Segment<F>>, mark: Mark, wanted: Wanted<'a>) -> FileCursor<'a, F> {
        FileCursor {
            shelf,
            end: segment.committed(),
            sequence: segment.header.first_sequence - 1,
            segment,
            file: None,
            one_segment: false,
            wanted,
            picks: None,
            next_pick: 0,
            asks: None,
            window: Window::default(),
            at: mark.at,
            group_end: mark.group_end,
            last: mark.after,
            lost_from: None,
            after: HubId::ZERO,
            from_sequence: 0,
            current: (0, Extent { head_bytes: 0, bytes: 0 }),
            indexes_left: u64::MAX,
            rests_at: None,
        }
    }

    /// Lets it ask at most so many indexes, but one at least.
    pub(crate) fn with_indexes(self, indexes: u64) -> FileCursor<'a, F> {
        FileCursor { indexes_left: indexes, ..self }
    }

    /// The place at which it rests, though there may be more: it was given so many indexes to ask.
    pub(crate) fn rests_at(&self) -> Option<HubId> {
        self.rests_at
    }

    /// Where it stands: a walk that begins there goes on with what comes next here.
    pub(crate) fn mark(&self) -> Mark {
        Mark { after: self.last, at: self.at, group_end: self.group_end }
    }

    /// The number of a record from which on about the last `count` of a segment lie that are wanted; 0 if all of
    /// them are to be looked at.
    pub(crate) fn record_before_last(shelf: &Shelf<F>, segment: &Segment<F>, wanted: &Wanted<'_>, count: u64) -> u32 {
        let Some(index) = segment.index() else { return 0 };
        let records = shelf.committed_records(segment).min(index.records());
        let found = picks::before_last(&index, wanted, records, count);
        found.inspect_err(|bad| segment.index_is_bad(bad)).unwrap_or(0)
    }

    /// The record on which it stands, for an index: where it begins, where its group ends, its head. Only in
    /// a walk over all records.
    pub(crate) fn found(&mut self) -> Result<(u32, u32, Head<'_>), ReadError> {
        let ((at, _), group_end) = (self.current, self.group_end);
        let narrow = |at: u64| u32::try_from(at).expect("a segment is shorter than 4 GiB");
        Ok((narrow(at), narrow(group_end), self.head()?))
    }

    /// Where the frame lies of the record on which it stands. Only after `advance` came to one.
    pub(crate) fn frame(&self) -> Range<u64> {
        let (at, extent) = self.current;
        at + extent.head_bytes as u64..at + extent.bytes as u64
    }

    /// Begins where the segment's index says, and picks what is wanted if that is better than to walk.
    fn seek(&mut self, from: From) {
        self.seek_mark(from);
        if let Wanted::Matching(set) = self.wanted
            && let Some(index) = self.segment.index()
        {
            let records = Picks::records_a_search(&index, set);
            self.asks = Some(Ask { records, at: self.at.saturating_add(WALK_BYTES_MAX) });
        }
    }

    fn seek_mark(&mut self, from: From) {
        let is_useful = match (&self.wanted, from) {
            (Wanted::All | Wanted::Matching(_), From::Place(place)) => place > self.segment.header.before.id,
            (Wanted::All | Wanted::Matching(_), From::Record(record)) => record > 0,
            _ => true,
        };
        if !is_useful {
            return;
        }
        let Some(index) = self.segment.index() else { return };
        self.indexes_left = self.indexes_left.saturating_sub(1);
        let found = match from {
            From::Place(place) => index.mark(place),
            From::Record(record) => index.mark_before(record),
        };
        let begun = found.and_then(|found| {
            let Some((begin, mark)) = found else { return Ok(None) };
            let first = if let From::Record(record) = from { record } else { begin };
            Ok(Some((first, mark, Picks::new(index, &self.wanted, first)?)))
        });
        match begun {
            Ok(Some((first, mark, picks))) => {
                // The index may know more than is committed.
                let is_committed = mark.at < self.end;
                let at_end = Mark { at: self.end, group_end: self.end, ..mark };
                self.start_at(if is_committed { mark } else { at_end });
                self.next_pick = first;
                self.window.is_sparse = picks.is_some();
                self.picks = picks;
            }
            Ok(None) => {}
            Err(bad) => self.segment.index_is_bad(&bad),
        }
    }

    fn start_at(&mut self, mark: Mark) {
        (self.at, self.group_end, self.last) = (mark.at, mark.group_end, mark.after);
        self.sequence = self.segment.header.first_sequence - 1;
        self.lost_from = None;
        self.picks = None;
        self.asks = None;
        self.window.is_sparse = false;
    }

    /// Has walked over one more record. Asks the index for topics that match once that is due.
    fn note_walked(&mut self) {
        let Some(ask) = &mut self.asks else { return };
        ask.records = ask.records.saturating_sub(1);
        if ask.records > 0 && self.at < ask.at {
            return;
        }
        self.asks = None;
        let Wanted::Matching(set) = self.wanted else { return };
        let Some(index) = self.segment.index() else { return };
        self.indexes_left = self.indexes_left.saturating_sub(Picks::records_a_search(&index, set) / RECORDS_AN_INDEX);
        let walked = self.sequence.saturating_sub(self.segment.header.first_sequence) + 1;
        let next = u32::try_from(walked).unwrap_or(u32::MAX);
        match Picks::matching(index, set, next) {
            Ok(Some(picks)) => {
                self.next_pick = next;
                self.window.is_sparse = true;
                self.picks = Some(picks);
            }
            Ok(None) => {}
            Err(bad) => self.segment.index_is_bad(&bad),
        }
    }

    /// Goes on without the index, behind the last record that was shown.
    fn walk_on(&mut self) {
        self.after = self.after.max(self.last);
        self.start_at(self.segment.mark(self.after));
    }

    /// The next record that is wanted, or another before it.
    fn next(&mut self) -> Result<Next, ReadError> {
        loop {
            let found = match &mut self.picks {
                None if self.at >= self.end => None,
                None => match self.look() {
                    Ok(found) => Some(found),
                    Err(trouble) => {
                        self.skip(trouble)?;
                        continue;
                    }
                },
                Some(picks) => match picks.next() {
                    Ok(Some((record, at))) if at < self.end => match self.pick(record, at)? {
                        Some(found) => return Ok(Next::Found(found)),
                        None => continue,
                    },
                    Ok(_) => None,
                    Err(bad) => {
                        self.segment.index_is_bad(&bad);
                        self.walk_on();
                        continue;
                    }
                },
            };
            let Some(found) = found else {
                match self.pass_end() {
                    Passed::On => continue,
                    Passed::Lost(through) => return Ok(Next::Lost(through)),
                    Passed::Nothing => return Ok(Next::Nothing),
                }
            };
            // Behind what is lost, a group begins.
            if let Some(through) = self.end_of_lost(found.id, self.at.saturating_sub(GROUP_HEADER as u64)) {
                return Ok(Next::Lost(through));
            }
            self.segment.note(Mark { after: self.last, at: self.at, group_end: self.group_end });
            (self.last, self.sequence) = (found.id, found.sequence);
            self.at += found.extent.bytes as u64;
            self.note_walked();
            return Ok(Next::Found(found));
        }
    }

    /// Looks at a record that the index named. None if the index or the record is bad: then it walks on, which
    /// tells where the damage begins.
    fn pick(&mut self, record: u32, at: u64) -> Result<Option<Found>, ReadError> {
        let sequence = self.segment.header.first_sequence + u64::from(record);
        match self.head_at(at, self.end) {
            Ok(found) if found.sequence == sequence && found.id > self.last => {
                self.next_pick = record + 1;
                self.last = found.id;
                return Ok(Some(found));
            }
            Ok(_) => self.segment.index_is_bad(&BadIndex::Damaged),
            Err(Trouble::Damaged) => {}
            Err(Trouble::Failed(error)) => return Err(error.into()),
        }
        self.walk_on();
        Ok(None)
    }

    /// Goes on to what was committed since, or to the next segment.
    fn pass_end(&mut self) -> Passed {
        let SegmentEnd { committed, place, next } = self.shelf.end_of(&self.segment);
        if committed > self.end {
            self.end = committed;
            if self.picks.is_some() {
                let next = self.next_pick;
                // Also where the index cannot be asked any more.
                self.walk_on();
                self.seek(From::Record(next));
            }
            return Passed::On;
        }
        if let Some(from_byte) = self.lost_from.take() {
            self.note_damage(from_byte, self.end, self.last, place);
            self.last = self.last.max(place);
            return if place > self.after { Passed::Lost(place) } else { Passed::On };
        }
        if self.one_segment {
            return Passed::Nothing;
        }
        let Some(next) = next else { return Passed::Nothing };
        if self.indexes_left == 0 {
            self.rests_at = Some(next.header.before.id);
            return Passed::Nothing;
        }
        self.end = next.committed();
        self.segment = next;
        self.file = None;
        self.window = Window::default();
        self.next_pick = 0;
        self.start_at(self.segment.mark(HubId::ZERO));
        self.seek(From::Place(self.after));
        Passed::On
    }

    /// Whether retention has removed the segment.
    fn is_gone(&self) -> bool {
        self.shelf.low_water() > self.segment.header.before.id
    }
}

impl<F: DiskFile> RecordCursor for FileCursor<'_, F> {
    fn advance(&mut self) -> Result<Option<Step>, ReadError> {
        loop {
            match self.next() {
                Ok(Next::Found(found)) if found.id > self.after && found.sequence >= self.from_sequence => {
                    self.current = (found.at, found.extent);
                    return Ok(Some(Step::Record));
                }
                Ok(Next::Found(_)) => {}
                Ok(Next::Lost(through)) => return Ok(Some(Step::Lost { through })),
                Ok(Next::Nothing) => return Ok(None),
                // It was removed before it was opened. Whoever reads is told by the low-water mark.
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound && self.is_gone() => {
                    self.picks = None;
                    self.lost_from = None;
                    self.at = self.end;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn head(&mut self) -> Result<Head<'_>, ReadError> {
        let (at, extent) = self.current;
        match self.load(at, extent.head_bytes) {
            Ok(head) => Head::read(head).map_err(|bad| io::Error::other(bad).into()),
            Err(trouble) => Err(trouble.into_error()),
        }
    }

    fn record(&mut self) -> Result<Option<RecordView<'_>>, ReadError> {
        let (at, extent) = self.current;
        match self.load(at, extent.bytes) {
            Ok(record) => {
                let (head, frame) = record.split_at(extent.head_bytes);
                Ok(Head::read(head).and_then(|head| head.with_frame(frame)).ok())
            }
            Err(Trouble::Damaged) => Ok(None),
            Err(Trouble::Failed(error)) => Err(error.into()),
        }
    }

    fn note_damaged_frame(&mut self) {
        let id = self.last;
        let frame = self.frame();
        self.note_damage(frame.start, frame.end, id.before().unwrap_or_default(), id);
    }
}
