use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::super::committer::GROUP_BYTES;
use super::super::damage::Damages;
use super::super::disk::{Disk, DiskFile};
use super::super::files::Files;
use super::super::group::Group;
use super::super::layout::{GROUP_HEADER, LogId, SEGMENT_HEADER, SegmentEnd, SegmentHeader};
use super::super::recovery::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use super::super::segment::Segment;
use super::super::segments::{End, RollError, Segments, create_segment, fill_segment};
use super::super::shelf::Shelf;
use crate::HubId;
use crate::record::Draft;
use crate::times::Moment;

/// Writes the segments of a log whose ids are known.
pub(super) struct Builder<D: Disk> {
    segments: Segments<D>,
    group: Group,
    low_water: HubId,
    segment_bytes: u64,
    last_sequence: u64,
    retention_ms: u64,
}

impl<D: Disk> Builder<D> {
    /// Makes the first segment.
    pub(super) fn begin(disk: &Arc<D>, log_id: LogId, low_water: HubId, segment_bytes: u64) -> io::Result<Builder<D>> {
        let segment_bytes = segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let before = SegmentEnd { id: low_water, ..SegmentEnd::default() };
        let header = SegmentHeader { log_id, first_sequence: 1, file_bytes: segment_bytes, before };
        let new = fill_segment(&**disk, segment_bytes)?;
        let file = create_segment(&**disk, new, &header).map_err(RollError::into_source)?;
        let files = Arc::new(Files::new(Arc::clone(disk)));
        let first = Arc::new(Segment::open(header, Arc::new(file), Arc::clone(&files)));
        let segments = VecDeque::from([Arc::clone(&first)]);
        let shelf = Shelf::new(log_id, files, segments, low_water, 0, low_water, Damages::default());
        let end = End { position: SEGMENT_HEADER as u64, predecessor: 0, sequence: 0, id: low_water, retention_ms: 0 };
        let segments = Segments::new(Arc::clone(disk), Arc::new(shelf), first, end, segment_bytes);
        Ok(Builder { segments, group: Group::default(), low_water, segment_bytes, last_sequence: 0, retention_ms: 0 })
    }

    /// Puts an event behind the others.
    pub(super) fn push(&mut self, draft: &Draft, id: HubId, moment: &Moment) -> io::Result<()> {
        let bytes = draft.bytes_max() as u64;
        if self.group.body_bytes() >= GROUP_BYTES || self.group.body_bytes() as u64 + bytes > self.segments.room() {
            self.flush()?;
        }
        if bytes > self.segments.room() {
            let segment_bytes = self.segment_bytes.max(bytes + (SEGMENT_HEADER + GROUP_HEADER) as u64);
            if segment_bytes > SEGMENT_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "an event is longer than a segment may be"));
            }
            self.segments.set_segment_bytes(segment_bytes);
            self.segments.roll().map_err(RollError::into_source)?;
        }
        self.last_sequence += 1;
        self.retention_ms = moment.retention_ms;
        self.group.push(draft, self.last_sequence, id, moment);
        Ok(())
    }

    /// Makes what was put there durable.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()
    }

    pub(super) fn log_id(&self) -> LogId {
        self.segments.shelf().log_id
    }

    /// The place after which the first event may lie.
    pub(super) fn low_water(&self) -> HubId {
        self.low_water
    }

    /// The retention clock of the last event.
    pub(super) fn retention_ms(&self) -> u64 {
        self.retention_ms
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.group.is_empty() {
            self.segments.write(&mut self.group)?;
            self.segments.active().file()?.sync()?;
            self.segments.show(std::slice::from_ref(&self.group));
            self.group.clear();
        }
        Ok(())
    }
}
