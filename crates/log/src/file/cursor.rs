use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::DiskFile;
use super::index::{BadIndex, RecordIndex};
use super::layout::{GROUP_HEADER, GroupHeader};
use super::picks::{self, Picks, Wanted};
use super::segment::{Mark, Segment};
use super::shelf::Shelf;
use crate::cursor::RecordCursor;
use crate::record::{Extent, FIXED_BYTES, Head};
use crate::visibility::Visibility;
use crate::{HubId, ReadError, RecordView};

/// The first read of a walk.
const FIRST_READ_BYTES: usize = 64 * 1024;
/// Every other read, unless a record is longer.
const READ_BYTES: usize = 256 * 1024;

/// A read of one record, unless it is longer.
const SPARSE_READ_BYTES: usize = 4 * 1024;

/// A stretch of a file, in memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    at: u64,
    reads: u32,
    /// Whether what follows is hardly asked for.
    pub(super) is_sparse: bool,
}

impl Window {
    /// The `length` bytes at `at`, which lie before `end`. Reads on ahead if they are not at hand.
    pub(crate) fn load(&mut self, file: &impl DiskFile, at: u64, length: usize, end: u64) -> io::Result<&[u8]> {
        let ends_at = at.checked_add(length as u64).filter(|&ends_at| ends_at <= end);
        let ends_at = ends_at.ok_or(io::ErrorKind::UnexpectedEof)?;
        if at < self.at || ends_at > self.at + self.bytes.len() as u64 {
            let ahead = match self.reads {
                _ if self.is_sparse => SPARSE_READ_BYTES,
                0 => FIRST_READ_BYTES,
                _ => READ_BYTES,
            };
            let ahead = usize::try_from(end - at).map_or(ahead, |left| left.min(ahead)).max(length);
            self.reads = self.reads.saturating_add(1);
            self.bytes.resize(ahead, 0);
            self.at = at;
            if let Err(error) = file.read_at(&mut self.bytes, at) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let start = usize::try_from(at - self.at).expect("lies in the window");
        Ok(&self.bytes[start..start + length])
    }
}

/// A group, as far as a follower is given it.
pub(crate) struct SeenGroup<'w> {
    /// The last of its records that is hidden; what precedes it is not to be given.
    pub(crate) hidden: Option<HubId>,
    /// Those that follow.
    pub(crate) records: Vec<RecordView<'w>>,
}

/// A walk over the committed records of a file log. Where it is for some of them alone, it goes by the
/// segments' indexes.
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
    window: Window,
    /// Where the next record or group begins.
    at: u64,
    group_end: u64,
    /// How much of the segment is committed.
    end: u64,
    /// The last record that was passed, or the place before the segment.
    last: HubId,
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
            segment,
            file: None,
            one_segment: false,
            wanted,
            picks: None,
            next_pick: 0,
            window: Window::default(),
            at: mark.at,
            group_end: mark.group_end,
            last: mark.after,
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

    /// Begins where the segment's index says, and picks what is wanted if that is better than to walk.
    fn seek(&mut self, from: From) {
        let is_useful = match (&self.wanted, from) {
            (Wanted::All, From::Place(place)) => place > self.segment.header.before.id,
            (Wanted::All, From::Record(record)) => record > 0,
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
        self.picks = None;
        self.window.is_sparse = false;
    }

    /// Goes on without the index, behind the last record that was shown.
    fn walk_on(&mut self) {
        self.after = self.after.max(self.last);
        self.start_at(self.segment.mark(self.after));
    }

    /// The next whole group; `None` at the end. Only between two groups.
    pub(crate) fn group(&mut self, visibility: &Visibility) -> Result<Option<SeenGroup<'_>>, ReadError> {
        if self.at >= self.end && !self.next_segment() {
            return Ok(None);
        }
        self.enter_group()?;
        let (start, length) = (self.at, self.group_end - self.at);
        let length = usize::try_from(length).map_err(|_| self.damage(start))?;
        self.at = self.group_end;
        let damage = self.damage(start);
        let mut body = self.load(start, length)?;
        let mut group = SeenGroup { hidden: None, records: Vec::new() };
        while !body.is_empty() {
            let Ok((head, frame, rest)) = Head::parse_first(body) else { return Err(damage) };
            let record = if visibility.hides(&head).is_some() { None } else { Some(head.with_frame(frame)) };
            match record {
                Some(Ok(record)) => group.records.push(record),
                Some(Err(_)) if visibility.explains(&head).is_none() => return Err(damage),
                _ => {
                    group.hidden = Some(head.id);
                    group.records.clear();
                }
            }
            body = rest;
        }
        Ok(Some(group))
    }

    /// Where the frame lies of the record on which it stands. Only after `advance` gave one.
    pub(crate) fn frame(&self) -> Range<u64> {
        let (at, extent) = self.current;
        at + extent.head_bytes as u64..at + extent.bytes as u64
    }

    /// Goes on to the next segment or to what was committed since; false at the end of the log.
    fn next_segment(&mut self) -> bool {
        if self.one_segment {
            return false;
        }
        let Some(next) = self.shelf.after(self.segment.header.first_sequence) else { return false };
        // Only now is the length of this one final.
        let was_end = std::mem::replace(&mut self.end, self.segment.committed());
        if self.picks.is_some() && was_end < self.end {
            self.after = self.after.max(self.last);
            self.seek(From::Record(self.next_pick));
            return true;
        }
        if self.picks.is_none() && self.at < self.end {
            return true;
        }
        if self.indexes_left == 0 {
            self.rests_at = Some(next.header.before.id);
            return false;
        }
        self.end = next.committed();
        self.segment = next;
        self.file = None;
        self.window = Window::default();
        self.next_pick = 0;
        self.start_at(self.segment.mark(HubId::ZERO));
        self.seek(From::Place(self.after));
        self.at < self.end
    }

    /// Whether retention has removed the segment.
    fn is_gone(&self) -> bool {
        self.shelf.low_water() > self.segment.header.before.id
    }

    /// Reads a group's header, and goes on to its first record.
    fn enter_group(&mut self) -> Result<(), ReadError> {
        let at = self.at;
        let shelf = self.shelf;
        let header = GroupHeader::decode(self.load(at, GROUP_HEADER)?, &shelf.log_id);
        let Some((header, _)) = header else { return Err(self.damage(at)) };
        self.at += GROUP_HEADER as u64;
        self.group_end = self.at + u64::from(header.body_bytes);
        if header.body_bytes == 0 || self.group_end > self.end {
            return Err(self.damage(at));
        }
        Ok(())
    }

    /// The next record that is wanted, or another before it. `None` at the end.
    fn next(&mut self) -> Result<Option<Found>, ReadError> {
        loop {
            let Some(picks) = &mut self.picks else {
                if self.at < self.group_end || self.at < self.end {
                    return self.walk().map(Some);
                }
                if !self.next_segment() {
                    return Ok(None);
                }
                continue;
            };
            let (record, at) = match picks.next() {
                Ok(Some((record, at))) if at < self.end => (record, at),
                Ok(_) if self.next_segment() => continue,
                Ok(_) => return Ok(None),
                Err(bad) => {
                    self.segment.index_is_bad(&bad);
                    self.walk_on();
                    continue;
                }
            };
            match self.head_at(at, self.end) {
                Ok(found) => {
                    let sequence = self.segment.header.first_sequence + u64::from(record);
                    if found.sequence == sequence && found.id > self.last {
                        self.next_pick = record + 1;
                        self.last = found.id;
                        return Ok(Some(found));
                    }
                    self.segment.index_is_bad(&BadIndex::Damaged);
                    self.walk_on();
                }
                // To walk there tells where the damage begins.
                Err(ReadError::Damaged { .. }) => self.walk_on(),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next record of the segment. Only where there is one.
    fn walk(&mut self) -> Result<Found, ReadError> {
        if self.at >= self.group_end {
            self.enter_group()?;
        }
        let at = self.at;
        let found = self.head_at(at, self.group_end)?;
        if found.id <= self.last {
            return Err(self.damage(at));
        }
        self.segment.note(Mark { after: self.last, at, group_end: self.group_end });
        self.last = found.id;
        self.at += found.extent.bytes as u64;
        Ok(found)
    }

    /// Checks the head at a byte, of a record that ends at or before another.
    fn head_at(&mut self, at: u64, end: u64) -> Result<Found, ReadError> {
        let extent = Extent::read(self.load(at, FIXED_BYTES)?).map_err(|_| self.damage(at))?;
        if extent.bytes as u64 > end - at {
            return Err(self.damage(at));
        }
        let head = Head::parse(self.load(at, extent.head_bytes)?);
        let found = head.map(|Head { id, sequence, .. }| Found { at, extent, id, sequence });
        found.map_err(|_| self.damage(at))
    }

    /// Bytes of the segment, whose file is opened if it is not.
    fn load(&mut self, at: u64, length: usize) -> Result<&[u8], ReadError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.segment.file()?),
        };
        load(&mut self.window, &**file, &self.segment, at, length, self.end)
    }

    fn damage(&self, position: u64) -> ReadError {
        damage(&self.segment, position)
    }
}

/// A record whose head is right.
#[derive(Clone, Copy, Debug)]
struct Found {
    at: u64,
    extent: Extent,
    id: HubId,
    sequence: u64,
}

/// Where to begin in a segment.
#[derive(Clone, Copy, Debug)]
enum From {
    /// Before the first record after a place.
    Place(HubId),
    /// Before the record with this number.
    Record(u32),
}

impl<F: DiskFile> RecordCursor for FileCursor<'_, F> {
    fn advance(&mut self) -> Result<Option<Head<'_>>, ReadError> {
        let (at, extent) = loop {
            match self.next() {
                Ok(Some(found)) if found.id > self.after && found.sequence >= self.from_sequence => {
                    break (found.at, found.extent);
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                // It was removed before it was opened. Whoever reads is told by the low-water mark.
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound && self.is_gone() => {
                    self.picks = None;
                    self.at = self.segment.committed();
                    if !self.next_segment() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        };
        self.current = (at, extent);
        self.head().map(Some)
    }

    fn head(&mut self) -> Result<Head<'_>, ReadError> {
        let (at, extent) = self.current;
        let file = self.file.as_ref().expect("it was read");
        let head = load(&mut self.window, &**file, &self.segment, at, extent.head_bytes, self.end)?;
        Head::read(head).map_err(|_| damage(&self.segment, at))
    }

    fn record(&mut self) -> Result<RecordView<'_>, ReadError> {
        let (at, extent) = self.current;
        let file = self.file.as_ref().expect("it was read");
        let record = load(&mut self.window, &**file, &self.segment, at, extent.bytes, self.end)?;
        let (head, frame) = record.split_at(extent.head_bytes);
        Head::read(head).and_then(|head| head.with_frame(frame)).map_err(|_| damage(&self.segment, at))
    }
}

/// The bytes of a segment. A file that ends before what was committed is as damaged as one with
/// other bytes.
fn load<'w, F: DiskFile>(
    window: &'w mut Window,
    file: &F,
    segment: &Segment<F>,
    at: u64,
    length: usize,
    end: u64,
) -> Result<&'w [u8], ReadError> {
    window.load(file, at, length, end).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damage(segment, at),
        _ => error.into(),
    })
}

fn damage<F>(segment: &Segment<F>, position: u64) -> ReadError {
    ReadError::Damaged { file: segment.name.clone(), position }
}
