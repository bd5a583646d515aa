use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::damage::Damages;
use super::files::Files;
use super::layout::LogId;
use super::segment::Segment;
use crate::HubId;

/// What readers see of the log: its segments and how far they are committed. The committing
/// thread changes it in one step after each sync.
#[derive(Debug)]
pub(crate) struct Shelf<F> {
    pub(crate) log_id: LogId,
    pub(crate) files: Arc<Files<F>>,
    pub(crate) damages: Damages,
    inner: RwLock<Inner<F>>,
    /// What the files take on disk that could not be unlinked yet.
    left_over: AtomicU64,
}

#[derive(Debug)]
struct Inner<F> {
    /// Oldest first, never empty.
    segments: VecDeque<Arc<Segment<F>>>,
    head: HubId,
    last_sequence: u64,
    low_water: HubId,
    /// No index of a segment that ends at or below this place is in memory.
    indexed: HubId,
}

/// Where a segment ends.
pub(crate) struct SegmentEnd<F> {
    /// How many of its bytes are committed.
    pub(crate) committed: u64,
    /// A place that lies after its records and before what follows.
    pub(crate) place: HubId,
    /// The segment after it.
    pub(crate) next: Option<Arc<Segment<F>>>,
}

impl<F> Inner<F> {
    fn next(&self, segment: &Arc<Segment<F>>) -> Option<&Arc<Segment<F>>> {
        let first_sequence = segment.header.first_sequence;
        let here = self.segments.partition_point(|other| other.header.first_sequence < first_sequence);
        let is_itself = self.segments.get(here).is_some_and(|other| Arc::ptr_eq(other, segment));
        self.segments.get(here + usize::from(is_itself))
    }
}

impl<F> Shelf<F> {
    pub(crate) fn new(
        log_id: LogId,
        files: Arc<Files<F>>,
        segments: VecDeque<Arc<Segment<F>>>,
        head: HubId,
        last_sequence: u64,
        low_water: HubId,
        damages: Damages,
    ) -> Shelf<F> {
        // The index of a sealed segment is in a file, or will be by the time that somebody needs it.
        let indexed = segments.back().map_or(low_water, |last| last.header.before.id);
        let inner = Inner { segments, head, last_sequence, low_water, indexed };
        Shelf { log_id, files, damages, inner: RwLock::new(inner), left_over: AtomicU64::new(0) }
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
    #[cfg(test)]
    pub(crate) fn next(&self, segment: &Arc<Segment<F>>) -> Option<Arc<Segment<F>>> {
        self.read().next(segment).cloned()
    }

    /// The segment after the one that begins with this sequence, also if that one is gone.
    pub(crate) fn after(&self, first_sequence: u64) -> Option<Arc<Segment<F>>> {
        let inner = self.read();
        let next = inner.segments.partition_point(|segment| segment.header.first_sequence <= first_sequence);
        inner.segments.get(next).cloned()
    }

    /// Where a segment ends, looked at all at once: only if there is another is its length final.
    pub(crate) fn end_of(&self, segment: &Arc<Segment<F>>) -> SegmentEnd<F> {
        let inner = self.read();
        let next = inner.next(segment).cloned();
        let place = next.as_ref().map_or(inner.head, |next| next.header.before.id);
        SegmentEnd { committed: segment.committed(), place, next }
    }

    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment<F>>> {
        self.read().segments.iter().cloned().collect()
    }

    /// Notes what the files take that are still to be unlinked.
    pub(crate) fn set_left_over(&self, bytes: u64) {
        self.left_over.store(bytes, Ordering::Relaxed);
    }

    /// Records and segments retained, and between them the bytes that all files take on disk.
    pub(crate) fn size(&self) -> (u64, u64, u64) {
        let inner = self.read();
        let before_first = inner.segments.front().map_or(inner.last_sequence, |first| first.header.first_sequence - 1);
        let bytes: u64 = inner.segments.iter().map(|segment| segment.disk_bytes()).sum();
        let bytes = bytes + self.left_over.load(Ordering::Relaxed);
        (inner.last_sequence - before_first, bytes, inner.segments.len() as u64)
    }

    /// Shows what was committed in the newest segment up to byte `committed`.
    pub(crate) fn commit(&self, committed: u64, head: HubId, last_sequence: u64) {
        let mut inner = self.write();
        if let Some(newest) = inner.segments.back() {
            newest.set_committed(committed);
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
        if let Some(newest) = inner.segments.back() {
            newest.seal();
        }
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
        if let Some(first) = inner.segments.front() {
            self.files.forget_below(first.header.first_sequence);
            self.damages.forget_before(&first.name);
        }
    }

    /// The place up to which records are found by index files, and not in memory.
    pub(crate) fn indexed(&self) -> HubId {
        self.read().indexed
    }

    /// Moves that place to where the first segment begins whose index is in memory.
    pub(crate) fn note_indexed(&self) {
        let mut inner = self.write();
        // Below that place are those whose index was lost and made again, and could not be written.
        let mut above = inner.segments.iter().filter(|segment| segment.header.before.id >= inner.indexed);
        let first = above.find(|segment| segment.has_index_in_memory());
        inner.indexed = inner.indexed.max(first.map_or(HubId::ZERO, |first| first.header.before.id));
    }

    /// The number of the first record that is not committed, in a segment.
    pub(crate) fn committed_records(&self, segment: &Segment<F>) -> u32 {
        let end = self
            .after(segment.header.first_sequence)
            .map_or_else(|| self.read().last_sequence + 1, |next| next.header.first_sequence);
        u32::try_from(end.saturating_sub(segment.header.first_sequence)).unwrap_or(u32::MAX)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<F>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<F>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}
