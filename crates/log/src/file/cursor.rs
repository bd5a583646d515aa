use std::io;
use std::sync::Arc;

use super::damage::Damage;
use super::disk::DiskFile;
use super::layout::{GROUP_HEADER, GroupHeader, SEGMENT_HEADER};
use super::search::{is_bad_sector, next_header};
use super::shelf::{Mark, Segment, Shelf};
use crate::cursor::{RecordCursor, Step};
use crate::record::{Extent, FIXED_BYTES, Head};
use crate::{HubId, ReadError, RecordView};

/// The first read of a walk.
const FIRST_READ_BYTES: usize = 64 * 1024;
/// Every other read, unless a record is longer.
const READ_BYTES: usize = 256 * 1024;

/// A stretch of a file, in memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    at: u64,
    reads: u32,
}

impl Window {
    /// The `length` bytes at `at`, which lie before `end`. Reads on ahead if they are not at hand.
    pub(crate) fn load(&mut self, file: &impl DiskFile, at: u64, length: usize, end: u64) -> io::Result<&[u8]> {
        let ends_at = at.checked_add(length as u64).filter(|&ends_at| ends_at <= end);
        let ends_at = ends_at.ok_or(io::ErrorKind::UnexpectedEof)?;
        if at < self.at || ends_at > self.at + self.bytes.len() as u64 {
            let ahead = if self.reads == 0 { FIRST_READ_BYTES } else { READ_BYTES };
            let ahead = usize::try_from(end - at).map_or(ahead, |left| left.min(ahead)).max(length);
            self.reads = self.reads.saturating_add(1);
            self.bytes.resize(ahead, 0);
            self.at = at;
            let mut read = file.read_at(&mut self.bytes, at);
            if read.is_err() && ahead > length {
                // What cannot be read may lie further on.
                self.bytes.truncate(length);
                read = file.read_at(&mut self.bytes, at);
            }
            if let Err(error) = read {
                self.bytes.clear();
                return Err(error);
            }
        }
        let start = usize::try_from(at - self.at).expect("lies in the window");
        Ok(&self.bytes[start..start + length])
    }
}

/// A walk over the committed records of a file log. It goes on behind what is damaged.
pub(crate) struct FileCursor<'a, F> {
    shelf: &'a Shelf<F>,
    segment: Arc<Segment<F>>,
    /// Whether it ends with its segment.
    one_segment: bool,
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
    /// The record on which it stands.
    current: (u64, Extent),
}

/// What lies next in the log, whole.
pub(crate) enum Stretch<'a> {
    Group(Vec<RecordView<'a>>),
    /// A group is damaged; what it held lies at or before this place.
    Lost(HubId),
}

/// Why a walk cannot take what comes next.
enum Trouble {
    /// It is not what was written.
    Damaged,
    /// It cannot be told what is there.
    Failed(io::Error),
}

/// What a walk finds at the end of a segment.
enum Passed {
    /// It can go on.
    On,
    /// What was committed last is lost, up to this place.
    Lost(HubId),
    /// Nothing more is committed.
    Nothing,
}

impl<'a, F: DiskFile> FileCursor<'a, F> {
    /// A walk over the records after a place, to the head.
    pub(crate) fn after(shelf: &'a Shelf<F>, after: HubId) -> Option<FileCursor<'a, F>> {
        let segment = shelf.find(after)?;
        let mark = segment.mark(after);
        Some(FileCursor::new(shelf, segment, mark, after))
    }

    /// A walk over the records of one segment.
    pub(crate) fn of_segment(shelf: &'a Shelf<F>, segment: Arc<Segment<F>>) -> FileCursor<'a, F> {
        let mark = segment.mark(HubId::ZERO);
        FileCursor { one_segment: true, ..FileCursor::new(shelf, segment, mark, HubId::ZERO) }
    }

    /// A walk over the records of one segment after a mark.
    pub(crate) fn of_segment_after(shelf: &'a Shelf<F>, segment: Arc<Segment<F>>, mark: Mark) -> FileCursor<'a, F> {
        FileCursor { one_segment: true, ..FileCursor::new(shelf, segment, mark, mark.after) }
    }

    fn new(shelf: &'a Shelf<F>, segment: Arc<Segment<F>>, mark: Mark, after: HubId) -> FileCursor<'a, F> {
        FileCursor {
            shelf,
            end: segment.committed(),
            sequence: segment.header.first_sequence - 1,
            segment,
            one_segment: false,
            window: Window::default(),
            at: mark.at,
            group_end: mark.group_end,
            last: mark.after,
            lost_from: None,
            after,
            current: (0, Extent { head_bytes: 0, bytes: 0 }),
        }
    }

    /// Where it stands: a walk that begins there goes on with what comes next here.
    pub(crate) fn mark(&self) -> Mark {
        Mark { after: self.last, at: self.at, group_end: self.group_end }
    }

    /// The next group, if all of it is whole; `None` at the end. Only between two groups.
    pub(crate) fn group(&mut self) -> Result<Option<Stretch<'_>>, ReadError> {
        let (start, length) = loop {
            if self.at >= self.end {
                match self.pass_end() {
                    Passed::On => continue,
                    Passed::Lost(through) => return Ok(Some(Stretch::Lost(through))),
                    Passed::Nothing => return Ok(None),
                }
            }
            let (header_at, sequence_before) = (self.at, self.sequence);
            match self.whole_group() {
                Err(trouble) => self.skip(trouble)?,
                Ok((first, last)) => {
                    if let Some(through) = self.end_of_lost(first, header_at) {
                        (self.at, self.group_end, self.sequence) = (header_at, header_at, sequence_before);
                        return Ok(Some(Stretch::Lost(through)));
                    }
                    self.last = last;
                    let body_at = header_at + GROUP_HEADER as u64;
                    break (body_at, usize::try_from(self.group_end - body_at).unwrap_or(usize::MAX));
                }
            }
        };
        let mut body = self.window.load(&self.segment.file, start, length, self.end)?;
        let mut records = Vec::new();
        while !body.is_empty() {
            let split = Extent::read(body).ok().and_then(|extent| body.split_at_checked(extent.bytes));
            let (record, rest) = split.expect("checked by whole_group");
            records.push(RecordView::read(record).expect("checked by whole_group"));
            body = rest;
        }
        Ok(Some(Stretch::Group(records)))
    }

    /// Checks the group that comes next, and passes it if all of it is whole. Returns its first and last id.
    fn whole_group(&mut self) -> Result<(HubId, HubId), Trouble> {
        self.enter_group()?;
        let start = self.at;
        let length = usize::try_from(self.group_end - start).map_err(|_| Trouble::Damaged)?;
        let (mut first, mut last, mut sequence) = (None, self.last, self.sequence);
        let mut body = self.load(start, length)?;
        while !body.is_empty() {
            let (record, rest) = RecordView::parse_first(body).map_err(|_| Trouble::Damaged)?;
            if record.id <= last {
                return Err(Trouble::Damaged);
            }
            first.get_or_insert(record.id);
            (last, sequence) = (record.id, record.sequence);
            body = rest;
        }
        (self.at, self.sequence) = (self.group_end, sequence);
        Ok((first.ok_or(Trouble::Damaged)?, last))
    }

    /// Goes on to what was committed since, or to the next segment.
    fn pass_end(&mut self) -> Passed {
        let (committed, place) = self.shelf.end_of(&self.segment);
        if committed > self.end {
            self.end = committed;
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
        let Some(next) = self.shelf.after(self.segment.header.first_sequence) else { return Passed::Nothing };
        self.last = next.header.before.id;
        self.sequence = next.header.first_sequence - 1;
        self.end = next.committed();
        self.segment = next;
        self.window = Window::default();
        self.at = SEGMENT_HEADER as u64;
        self.group_end = self.at;
        Passed::On
    }

    /// Reads a group's header, and goes on to its first record.
    fn enter_group(&mut self) -> Result<(), Trouble> {
        let at = self.at;
        let shelf = self.shelf;
        let header = GroupHeader::decode(self.load(at, GROUP_HEADER)?, &shelf.log_id);
        let Some((header, _)) = header else { return Err(Trouble::Damaged) };
        let body_at = at + GROUP_HEADER as u64;
        let group_end = body_at + u64::from(header.body_bytes);
        if header.body_bytes == 0 || group_end > self.end || header.first_sequence <= self.sequence {
            return Err(Trouble::Damaged);
        }
        (self.at, self.group_end) = (body_at, group_end);
        Ok(())
    }

    /// Looks at the next record's head. Returns where the record lies, and its id and sequence.
    fn look(&mut self) -> Result<(Extent, HubId, u64), Trouble> {
        if self.at >= self.group_end {
            self.enter_group()?;
        }
        let (at, left) = (self.at, self.group_end - self.at);
        let extent = Extent::read(self.load(at, FIXED_BYTES)?).map_err(|_| Trouble::Damaged)?;
        if extent.bytes as u64 > left {
            return Err(Trouble::Damaged);
        }
        let head = Head::parse(self.load(at, extent.head_bytes)?).map_err(|_| Trouble::Damaged)?;
        let (id, sequence) = (head.id, head.sequence);
        if id <= self.last { Err(Trouble::Damaged) } else { Ok((extent, id, sequence)) }
    }

    /// Passes over what is damaged, to where the next group may begin.
    fn skip(&mut self, trouble: Trouble) -> Result<(), ReadError> {
        if let Trouble::Failed(error) = trouble {
            return Err(error.into());
        }
        let at = self.at;
        let known_end = match self.lost_from {
            Some(_) => None,
            None => self.shelf.damages.end_of(&self.segment.name, at).filter(|&end| end > at && end <= self.end),
        };
        self.lost_from.get_or_insert(at);
        self.at = if let Some(end) = known_end {
            end
        } else if at < self.group_end {
            self.group_end
        } else {
            let is_later = |header: &GroupHeader| header.first_sequence > self.sequence;
            let found = next_header(&self.segment.file, at + 1, self.end, &self.shelf.log_id, is_later)?;
            found.map_or(self.end, |found| found.at)
        };
        self.group_end = self.at;
        Ok(())
    }

    /// The last place that may be lost before a record, if something is lost there that the walk would have
    /// come to. `group_at` is where its group begins.
    fn end_of_lost(&mut self, id: HubId, group_at: u64) -> Option<HubId> {
        let from_byte = self.lost_from.take()?;
        let through = id.before().unwrap_or_default();
        self.note_damage(from_byte, group_at, self.last, through);
        self.last = through;
        (through > self.after).then_some(through)
    }

    fn note_damage(&self, from_byte: u64, to_byte: u64, after: HubId, through: HubId) {
        let file = self.segment.name.clone();
        self.shelf.damages.found(&Damage { file, from_byte, to_byte, after, through });
    }

    fn load(&mut self, at: u64, length: usize) -> Result<&[u8], Trouble> {
        self.window.load(&self.segment.file, at, length, self.end).map_err(|error| {
            let is_sealed = || self.shelf.after(self.segment.header.first_sequence).is_some();
            match error.kind() {
                // A file that ends before what was committed is as damaged as one with other bytes.
                io::ErrorKind::UnexpectedEof => Trouble::Damaged,
                _ if is_bad_sector(&error) && is_sealed() => Trouble::Damaged,
                _ => Trouble::Failed(error),
            }
        })
    }
}

impl<F: DiskFile> RecordCursor for FileCursor<'_, F> {
    fn advance(&mut self) -> Result<Option<Step>, ReadError> {
        loop {
            if self.at >= self.end {
                match self.pass_end() {
                    Passed::On => continue,
                    Passed::Lost(through) => return Ok(Some(Step::Lost { through })),
                    Passed::Nothing => return Ok(None),
                }
            }
            let (extent, id, sequence) = match self.look() {
                Ok(seen) => seen,
                Err(trouble) => {
                    self.skip(trouble)?;
                    continue;
                }
            };
            // Behind what is lost, a group begins.
            if let Some(through) = self.end_of_lost(id, self.at.saturating_sub(GROUP_HEADER as u64)) {
                return Ok(Some(Step::Lost { through }));
            }
            self.segment.note(Mark { after: self.last, at: self.at, group_end: self.group_end });
            self.current = (self.at, extent);
            (self.last, self.sequence) = (id, sequence);
            self.at += extent.bytes as u64;
            if id > self.after {
                return Ok(Some(Step::Record));
            }
        }
    }

    fn head(&mut self) -> Result<Head<'_>, ReadError> {
        let (at, extent) = self.current;
        let head = self.window.load(&self.segment.file, at, extent.head_bytes, self.end)?;
        Head::read(head).map_err(|bad| io::Error::other(bad).into())
    }

    fn record(&mut self) -> Result<Option<RecordView<'_>>, ReadError> {
        let (at, extent) = self.current;
        let id = self.last;
        let is_whole = match self.load(at, extent.bytes) {
            Ok(record) => {
                let (head, frame) = record.split_at(extent.head_bytes);
                Head::read(head).and_then(|head| head.with_frame(frame)).is_ok()
            }
            Err(Trouble::Damaged) => false,
            Err(Trouble::Failed(error)) => return Err(error.into()),
        };
        if !is_whole {
            let frame_at = at + extent.head_bytes as u64;
            self.note_damage(frame_at, at + extent.bytes as u64, id.before().unwrap_or_default(), id);
            return Ok(None);
        }
        let record = self.window.load(&self.segment.file, at, extent.bytes, self.end)?;
        RecordView::read(record).map(Some).map_err(|bad| io::Error::other(bad).into())
    }
}
