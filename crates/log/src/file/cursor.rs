use std::io;
use std::sync::Arc;

use super::disk::DiskFile;
use super::layout::{GROUP_HEADER, GroupHeader, SEGMENT_HEADER};
use super::shelf::{Mark, Segment, Shelf};
use crate::cursor::RecordCursor;
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
            if let Err(error) = file.read_at(&mut self.bytes, at) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let start = usize::try_from(at - self.at).expect("lies in the window");
        Ok(&self.bytes[start..start + length])
    }
}

/// A walk over the committed records of a file log.
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
    /// The last record that was passed, or the place before the segment.
    last: HubId,
    /// Records at or before this place are passed over.
    after: HubId,
    /// The record on which it stands.
    current: (u64, Extent),
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
            segment,
            one_segment: false,
            window: Window::default(),
            at: mark.at,
            group_end: mark.group_end,
            last: mark.after,
            after,
            current: (0, Extent { head_bytes: 0, bytes: 0 }),
        }
    }

    /// The next whole group, as its records; `None` at the end. Only between two groups.
    pub(crate) fn group(&mut self) -> Result<Option<Vec<RecordView<'_>>>, ReadError> {
        if self.at >= self.end && !self.next_segment() {
            return Ok(None);
        }
        self.enter_group()?;
        let (start, length) = (self.at, self.group_end - self.at);
        let length = usize::try_from(length).map_err(|_| self.damage(start))?;
        self.at = self.group_end;
        let mut body = load(&mut self.window, &self.segment, start, length, self.end)?;
        let mut records = Vec::new();
        while !body.is_empty() {
            let Ok((record, rest)) = RecordView::parse_first(body) else {
                return Err(ReadError::Damaged { file: self.segment.name.clone(), position: start });
            };
            self.last = record.id;
            records.push(record);
            body = rest;
        }
        Ok(Some(records))
    }

    /// Goes on to the next segment or to what was committed since; false at the end of the log.
    fn next_segment(&mut self) -> bool {
        if self.one_segment {
            return false;
        }
        let Some(next) = self.shelf.after(&self.segment) else { return false };
        // Only now is the length of this one final.
        self.end = self.segment.committed();
        if self.at >= self.end {
            self.last = next.header.before.id;
            self.end = next.committed();
            self.segment = next;
            self.window = Window::default();
            self.at = SEGMENT_HEADER as u64;
            self.group_end = self.at;
        }
        self.at < self.end
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

    fn load(&mut self, at: u64, length: usize) -> Result<&[u8], ReadError> {
        load(&mut self.window, &self.segment, at, length, self.end)
    }

    fn damage(&self, position: u64) -> ReadError {
        ReadError::Damaged { file: self.segment.name.clone(), position }
    }
}

impl<F: DiskFile> RecordCursor for FileCursor<'_, F> {
    fn advance(&mut self) -> Result<Option<Head<'_>>, ReadError> {
        let (at, extent) = loop {
            if self.at >= self.group_end {
                if self.at >= self.end && !self.next_segment() {
                    return Ok(None);
                }
                if self.at >= self.group_end {
                    self.enter_group()?;
                }
            }
            let at = self.at;
            let left = self.group_end - at;
            let extent = Extent::read(self.load(at, FIXED_BYTES)?).map_err(|_| self.damage(at))?;
            if extent.bytes as u64 > left {
                return Err(self.damage(at));
            }
            let head = self.load(at, extent.head_bytes)?;
            let id = Head::parse(head).map(|head| head.id).map_err(|_| self.damage(at))?;
            if id <= self.last {
                return Err(self.damage(at));
            }
            let mark = Mark { after: self.last, at, group_end: self.group_end };
            self.segment.note(mark);
            self.last = id;
            self.at += extent.bytes as u64;
            if id > self.after {
                break (at, extent);
            }
        };
        self.current = (at, extent);
        let head = self.window.load(&self.segment.file, at, extent.head_bytes, self.end)?;
        let damaged = |_| ReadError::Damaged { file: self.segment.name.clone(), position: at };
        Ok(Some(Head::read(head).map_err(damaged)?))
    }

    fn record(&mut self) -> Result<RecordView<'_>, ReadError> {
        let (at, extent) = self.current;
        let record = load(&mut self.window, &self.segment, at, extent.bytes, self.end)?;
        let (head, frame) = record.split_at(extent.head_bytes);
        let record = Head::read(head).and_then(|head| head.with_frame(frame));
        record.map_err(|_| ReadError::Damaged { file: self.segment.name.clone(), position: at })
    }
}

/// The bytes of a segment. A file that ends before what was committed is as damaged as one with
/// other bytes.
fn load<'w, F: DiskFile>(
    window: &'w mut Window,
    segment: &Segment<F>,
    at: u64,
    length: usize,
    end: u64,
) -> Result<&'w [u8], ReadError> {
    window.load(&segment.file, at, length, end).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Damaged { file: segment.name.clone(), position: at },
        _ => error.into(),
    })
}
