use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::{io, mem};

use super::disk::{Disk, DiskFile};
use super::files::Files;
use super::index::{BadIndex, Index, Indexed, OpenIndex, index_name};
use super::layout::{SEGMENT_HEADER, SegmentHeader, segment_name};
use crate::HubId;
use crate::record::{Extent, Head};

/// About so many bytes lie between two marks of a segment.
const MARK_BYTES: u64 = 64 * 1024;

/// A segment of the log, and what its records are found by.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    files: Arc<Files<F>>,
    /// Open as long as the segment is written to.
    writing: Mutex<Option<Arc<F>>>,
    committed: AtomicU64,
    /// Locked by whoever writes where something lies that is committed.
    rewriting: Mutex<()>,
    marks: Mutex<Vec<Mark>>,
    index: Mutex<IndexState>,
    /// How long its index file is, as far as it is known; 0 if there is none.
    index_bytes: AtomicU64,
}

/// Where the index of a segment is.
#[derive(Debug)]
enum IndexState {
    /// In memory: the segment is open, or its index is not written yet.
    InMemory(Arc<RwLock<OpenIndex>>),
    /// In its file, unless that turns out to be bad.
    InFile,
    /// There is none. It is to be made.
    Absent,
    /// There is none, and none can be made: the segment is damaged.
    Impossible,
}

/// What is to be done about the index of a sealed segment.
#[derive(Debug)]
pub(crate) enum Unwritten {
    /// It is to be written.
    Known(Arc<RwLock<OpenIndex>>),
    /// It is to be made of the records, and written.
    Unknown,
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
    /// A segment that is written to, without records yet.
    pub(crate) fn open(header: SegmentHeader, file: Arc<F>, files: Arc<Files<F>>) -> Segment<F> {
        let index = OpenIndex::new(&header.log_id, header.before.id);
        let segment = Segment::sealed(header, SEGMENT_HEADER as u64, files, false);
        *segment.index_state() = IndexState::InMemory(Arc::new(RwLock::new(index)));
        *segment.writing() = Some(file);
        segment
    }

    /// A segment that ends at byte `committed`, as the next one's header says; but nothing in it lies behind what its
    /// own header says, whatever that one does.
    pub(crate) fn sealed(header: SegmentHeader, committed: u64, files: Arc<Files<F>>, has_index: bool) -> Segment<F> {
        Segment {
            name: segment_name(header.first_sequence),
            header,
            files,
            writing: Mutex::new(None),
            committed: AtomicU64::new(committed.min(header.file_bytes)),
            rewriting: Mutex::new(()),
            marks: Mutex::new(Vec::new()),
            index: Mutex::new(if has_index { IndexState::InFile } else { IndexState::Absent }),
            index_bytes: AtomicU64::new(0),
        }
    }

    /// Nothing is written to it any more.
    pub(crate) fn seal(&self) {
        if let Some(file) = self.writing().take() {
            self.files.hold_segment(self.header.first_sequence, file);
        }
    }

    /// How many of its bytes are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub(super) fn set_committed(&self, committed: u64) {
        self.committed.store(committed, Ordering::Release);
    }

    /// Lets nobody else write where something lies that is committed: who writes once more what it has read would
    /// bring back what another overwrites meanwhile.
    pub(crate) fn rewriting(&self) -> MutexGuard<'_, ()> {
        self.rewriting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its file, which is opened if it is not at hand.
    pub(crate) fn file(&self) -> io::Result<Arc<F>> {
        let writing = self.writing().clone();
        writing.map_or_else(|| self.files.segment(self.header.first_sequence), Ok)
    }

    /// Takes the records of a whole group, which lie at byte `at`, into the index. It is called before the
    /// group is shown.
    pub(crate) fn index_group(&self, mut at: u64, mut records: &[u8]) {
        let index = match &*self.index_state() {
            IndexState::InMemory(index) => Arc::clone(index),
            IndexState::InFile | IndexState::Absent | IndexState::Impossible => return,
        };
        let narrow = |at: u64| u32::try_from(at).expect("a segment is shorter than 4 GiB");
        let group_end = narrow(at + records.len() as u64);
        let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
        while !records.is_empty() {
            let extent = Extent::read(records).expect("a whole group's records are whole");
            let (record, rest) = records.split_at(extent.bytes);
            let head = Head::read(&record[..extent.head_bytes]).expect("a whole group's records are whole");
            index.push(narrow(at), group_end, &head);
            at += extent.bytes as u64;
            records = rest;
        }
    }

    /// What there is to do about the index of this segment, which is sealed; nothing if it is written.
    pub(crate) fn unwritten(&self) -> Option<Unwritten> {
        match &*self.index_state() {
            IndexState::InMemory(index) => Some(Unwritten::Known(Arc::clone(index))),
            IndexState::Absent => Some(Unwritten::Unknown),
            IndexState::InFile | IndexState::Impossible => None,
        }
    }

    /// Whether its index is in memory.
    pub(crate) fn has_index_in_memory(&self) -> bool {
        matches!(*self.index_state(), IndexState::InMemory(_))
    }

    /// Goes by the index file from now on, which is so long.
    pub(crate) fn index_is_written(&self, bytes: u64) {
        self.index_bytes.store(bytes, Ordering::Release);
        self.set_index(IndexState::InFile);
    }

    /// What its file and its index's take on disk, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.header.file_bytes + self.index_bytes()
    }

    /// What its index's file takes on disk, in bytes.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.index_bytes.load(Ordering::Acquire)
    }

    /// Goes by an index in memory from now on, which was made of its records.
    pub(crate) fn index_is_made(&self, index: OpenIndex) {
        self.set_index(IndexState::InMemory(Arc::new(RwLock::new(index))));
    }

    /// There is no index from now on, until it is made again.
    pub(crate) fn drop_index(&self) {
        self.set_index(IndexState::Absent);
    }

    /// There is no index from now on: its records cannot be read.
    pub(crate) fn index_is_impossible(&self) {
        self.set_index(IndexState::Impossible);
    }

    /// The index file's identity. Only of a sealed segment.
    pub(crate) fn indexed(&self) -> Indexed {
        let SegmentHeader { log_id, first_sequence, .. } = self.header;
        Indexed { log_id, first_sequence, end: self.committed() }
    }

    fn set_index(&self, state: IndexState) {
        let before = mem::replace(&mut *self.index_state(), state);
        if matches!(before, IndexState::InFile | IndexState::Absent) {
            self.files.forget(self.header.first_sequence);
        }
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

    fn writing(&self) -> MutexGuard<'_, Option<Arc<F>>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_state(&self) -> MutexGuard<'_, IndexState> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: DiskFile> Segment<F> {
    /// Finds out how long its index file is, if it has one. Nothing of it is read.
    pub(crate) fn measure_index<D: Disk<File = F>>(&self, disk: &D) {
        if matches!(*self.index_state(), IndexState::InFile) {
            let length = disk.open_to_read(&index_name(self.header.first_sequence)).and_then(|file| file.length());
            // One that cannot be opened is made again, and is known then.
            self.index_bytes.store(length.unwrap_or(0), Ordering::Release);
        }
    }

    /// What its records are found by; `None` if that is not at hand, and they are to be walked over.
    pub(crate) fn index(&self) -> Option<Index<F>> {
        match &*self.index_state() {
            IndexState::InMemory(index) => return Some(Index::Open(Arc::clone(index))),
            IndexState::Absent | IndexState::Impossible => return None,
            IndexState::InFile => {}
        }
        self.files.index(self.indexed()).map_err(|bad| self.index_is_bad(&bad)).ok().map(Index::File)
    }

    /// Whoever finds the index bad says so. It is made again.
    pub(crate) fn index_is_bad(&self, bad: &BadIndex) {
        let mut state = self.index_state();
        // A disk that fails now need not fail the next time.
        if matches!(*state, IndexState::InFile) && !matches!(bad, BadIndex::Io(_)) {
            *state = IndexState::Absent;
        }
    }
}
