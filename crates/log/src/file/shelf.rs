use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::layout::{LogId, SEGMENT_HEADER, SegmentHeader, segment_name};
use crate::HubId;

/// About so many bytes lie between two marks of a segment.
const MARK_BYTES: u64 = 64 * 1024;

/// A segment that is open. Files stay open as long as they are retained: 160 of them at the
/// defaults.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) file: F,
    committed: AtomicU64,
    marks: Mutex<Vec<Mark>>,
}

/// Where a walk can begin inside a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The id of the record before.
    pub(crate) after: HubId,
    /// The byte at which the next record or group begins.
    pub(crate) at: u64,
    /// Where the group ends in which it lies; `at` itself between two groups.
    pub(crate) group_end: u64,
}

impl<F> Segment<F> {
    pub(crate) fn new(header: SegmentHeader, file: F, committed: u64) -> Segment<F> {
        Segment {
            name: segment_name(header.first_sequence),
            header,
            file,
            committed: AtomicU64::new(committed),
            marks: Mutex::new(Vec::new()),
        }
    }

    /// How many of its bytes are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The last mark at or before a place; the segment's beginning if there is none.
    pub(crate) fn mark(&self, place: HubId) -> Mark {
        let marks = self.marks();
        let known = marks.partition_point(|mark| mark.after <= place);
        known.checked_sub(1).map_or_else(|| self.beginning(), |last| marks[last])
    }

    /// The last mark between two groups with at least `bytes` committed bytes behind it; the
    /// segment's beginning if there is none.
    pub(crate) fn mark_before_last(&self, bytes: u64) -> Mark {
        let at_max = self.committed().saturating_sub(bytes);
        let found = self.marks().iter().rev().copied().find(|mark| mark.at <= at_max && mark.at == mark.group_end);
        found.unwrap_or_else(|| self.beginning())
    }

    /// Notes where a walk has come by, if no mark is near. Marks come from whoever walks first.
    pub(crate) fn note(&self, mark: Mark) {
        let mut marks = self.marks();
        if marks.last().map_or(SEGMENT_HEADER as u64, |last| last.at) + MARK_BYTES <= mark.at {
            marks.push(mark);
        }
    }

    fn beginning(&self) -> Mark {
        let at = SEGMENT_HEADER as u64;
        Mark { after: self.header.before.id, at, group_end: at }
    }

    fn marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What readers see of the log: its segments and how far they are committed. The committing
/// thread changes it in one step after each sync.
#[derive(Debug)]
pub(crate) struct Shelf<F> {
    pub(crate) log_id: LogId,
    inner: RwLock<Inner<F>>,
}

#[derive(Debug)]
struct Inner<F> {
    /// Oldest first, never empty.
    segments: VecDeque<Arc<Segment<F>>>,
    head: HubId,
    last_sequence: u64,
    low_water: HubId,
}

impl<F> Shelf<F> {
    pub(crate) fn new(
        log_id: LogId,
        segments: VecDeque<Arc<Segment<F>>>,
        head: HubId,
        last_sequence: u64,
        low_water: HubId,
    ) -> Shelf<F> {
        Shelf { log_id, inner: RwLock::new(Inner { segments, head, last_sequence, low_water }) }
    }

    pub(crate) fn head(&self) -> HubId {
        self.read().head
    }

    pub(crate) fn low_water(&self) -> HubId {
        self.read().low_water
    }

    /// The segment in which the first record after a place lies, if there is one.
    pub(crate) fn find(&self, place: HubId) -> Option<Arc<Segment<F>>> {
        let inner = self.read();
        let begun = inner.segments.partition_point(|segment| segment.header.before.id <= place);
        inner.segments.get(begun.saturating_sub(1)).cloned()
    }

    /// The segment after this one, also if this one is gone, or the one that took the place of this one while it
    /// held nothing.
    pub(crate) fn after(&self, segment: &Arc<Segment<F>>) -> Option<Arc<Segment<F>>> {
        let inner = self.read();
        let first_sequence = segment.header.first_sequence;
        let here = inner.segments.partition_point(|other| other.header.first_sequence < first_sequence);
        let is_itself = inner.segments.get(here).is_some_and(|other| Arc::ptr_eq(other, segment));
        inner.segments.get(here + usize::from(is_itself)).cloned()
    }

    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment<F>>> {
        self.read().segments.iter().cloned().collect()
    }

    /// Records, bytes and segments retained.
    pub(crate) fn size(&self) -> (u64, u64, u64) {
        let inner = self.read();
        let before_first = inner.segments.front().map_or(inner.last_sequence, |first| first.header.first_sequence - 1);
        let bytes = inner.segments.iter().map(|segment| segment.header.file_bytes).sum();
        (inner.last_sequence - before_first, bytes, inner.segments.len() as u64)
    }

    /// Shows what was committed in the newest segment up to byte `committed`.
    pub(crate) fn commit(&self, committed: u64, head: HubId, last_sequence: u64) {
        let mut inner = self.write();
        if let Some(newest) = inner.segments.back() {
            newest.committed.store(committed, Ordering::Release);
        }
        inner.head = head;
        inner.last_sequence = last_sequence;
    }

    /// Makes a place the head, if it lies above it.
    pub(crate) fn raise_head(&self, place: HubId) {
        let mut inner = self.write();
        inner.head = inner.head.max(place);
    }

    /// Puts a new segment at the end, in place of one that begins with the same sequence.
    pub(crate) fn push(&self, segment: Arc<Segment<F>>) {
        let mut inner = self.write();
        let replaces = |last: &Arc<Segment<F>>| last.header.first_sequence == segment.header.first_sequence;
        if inner.segments.back().is_some_and(replaces) {
            inner.segments.pop_back();
        }
        inner.segments.push_back(segment);
    }

    /// Takes away the oldest segments, and moves the low-water mark.
    pub(crate) fn remove(&self, count: usize, low_water: HubId) {
        let mut inner = self.write();
        inner.segments.drain(..count);
        inner.low_water = low_water;
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<F>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<F>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}
