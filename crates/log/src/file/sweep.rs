//! Erasing in the file log: a tombstone first, then the bytes.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::cursor::FileCursor;
use super::disk::{Disk, DiskFile};
use super::segment::Segment;
use super::segments::write_zeros;
use super::shelf::Shelf;
use super::tombstone_file::TombstoneFile;
use crate::cursor::{RecordCursor, Step};
use crate::tombstones::{Bytes, Tombstone, Tombstones};
use crate::visibility::Visibility;
use crate::{EraseError, HubId, ReadError};

/// How long is waited between two segments of a pass, so that others get at the disk.
const PAUSE: Duration = Duration::from_millis(20);
/// How long is waited at least after a pass that failed.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The tombstones of a file log, on disk and as readers see them.
pub(crate) struct Eraser<D: Disk> {
    file: Mutex<TombstoneFile<D>>,
    visibility: Arc<Visibility>,
}

impl<D: Disk> Eraser<D> {
    pub(crate) fn new(file: TombstoneFile<D>, visibility: Arc<Visibility>) -> Eraser<D> {
        Eraser { file: Mutex::new(file), visibility }
    }

    /// Makes tombstones durable, and then hides what they cover.
    ///
    /// # Errors
    /// When there is no room for them, or the disk fails.
    pub(crate) fn erase(&self, tombstones: &[Tombstone]) -> Result<(), EraseError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Only who has the file changes them.
        let kept = self.visibility.tombstones();
        if !kept.have_room_for(tombstones) {
            return Err(EraseError::TooMany);
        }
        let entries: Vec<_> = tombstones.iter().map(|tombstone| (tombstone.clone(), Bytes::Pending)).collect();
        file.add(&entries, &kept)?;
        drop(kept);
        self.visibility.change(|kept| tombstones.iter().for_each(|tombstone| kept.put(tombstone, Bytes::Pending)));
        Ok(())
    }

    /// Notes that the bytes of what these cover are gone.
    fn note_overwritten(&self, overwritten: impl Iterator<Item = Tombstone>) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.visibility.tombstones();
        let entries: Vec<_> = overwritten.map(|tombstone| (tombstone, Bytes::Overwritten)).collect();
        if entries.is_empty() {
            return Ok(());
        }
        file.add(&entries, &kept)?;
        drop(kept);
        self.visibility.change(|kept| entries.iter().for_each(|(tombstone, bytes)| kept.put(tombstone, *bytes)));
        Ok(())
    }

    /// Forgets the tombstones of what has been removed. They leave the file when it is next written anew.
    pub(crate) fn drop_below(&self, low_water: HubId) {
        let _file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.visibility.change(|kept| kept.drop_below(low_water));
    }
}

/// Overwrites what was erased, in passes over the segments, one segment at a time.
pub(crate) struct Sweep<D: Disk> {
    eraser: Arc<Eraser<D>>,
    disk: Arc<D>,
    shelf: Arc<Shelf<D::File>>,
    /// How long a tombstone waits for others, so that one pass does for all of them.
    delay: Duration,
    /// When the next pass begins, in monotonic time, if there is something to overwrite.
    due: Option<Duration>,
    pass: Option<Pass>,
    /// How often it could not be done.
    pub(crate) failures: u64,
}

/// A pass over the segments.
struct Pass {
    begun: Duration,
    /// What it is for; what is erased meanwhile waits for the next one.
    pending: Tombstones,
    /// The sequence with which the last segment began that it has done.
    done: u64,
    has_failed: bool,
    /// What it met of damage.
    lost: Lost,
}

/// What may lie where nobody can tell which records were there: its bytes may be there as well.
#[derive(Default)]
struct Lost {
    events: BTreeSet<HubId>,
    /// Where the first such stretch began; every topic that reaches behind it may be there.
    after: Option<HubId>,
}

impl Lost {
    /// Notes a damaged stretch, if it is within reach of one of these.
    fn note(&mut self, pending: &Tombstones, after: HubId, through: HubId) {
        if pending.reach(after, through).is_some() {
            self.events.extend(pending.events_in(after, through));
            self.after = self.after.or(Some(after)).min(Some(after));
        }
    }

    fn may_hold(&self, tombstone: &Tombstone) -> bool {
        match tombstone {
            Tombstone::Event(id) => self.events.contains(id),
            Tombstone::Topic { through, .. } => self.after.is_some_and(|after| *through > after),
        }
    }
}

impl<D: Disk> Sweep<D> {
    /// What a start finds is overwritten at once; what is erased later, within `erase_within`: half of it is for
    /// waiting, and half for the pass.
    pub(crate) fn new(
        eraser: Arc<Eraser<D>>,
        disk: Arc<D>,
        shelf: Arc<Shelf<D::File>>,
        erase_within: Duration,
    ) -> Sweep<D> {
        let due = Some(Duration::ZERO);
        Sweep { eraser, disk, shelf, delay: erase_within / 2, due, pass: None, failures: 0 }
    }

    pub(crate) fn eraser(&self) -> &Arc<Eraser<D>> {
        &self.eraser
    }

    /// Does what is due, at most one segment, and says after how long to come again.
    pub(crate) fn turn(&mut self, now: Duration) -> Option<Duration> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => {
                let tombstones = self.eraser.visibility.tombstones();
                if !tombstones.are_pending() {
                    self.due = None;
                    return None;
                }
                let due = *self.due.get_or_insert(now + self.delay);
                if now < due {
                    return Some(due - now);
                }
                let pending = tombstones.pending();
                Pass { begun: now, pending, done: 0, has_failed: false, lost: Lost::default() }
            }
        };
        while let Some(segment) = self.shelf.after(pass.done) {
            pass.done = segment.header.first_sequence;
            match self.overwrite(&segment, &pass.pending, &mut pass.lost) {
                Ok(false) => {}
                Ok(true) => {
                    self.pass = Some(pass);
                    return Some(PAUSE);
                }
                // The other segments are done all the same.
                Err(_) => (pass.has_failed, self.failures) = (true, self.failures + 1),
            }
        }
        if !pass.has_failed {
            let all = pass.pending.iter().map(|(tombstone, _)| tombstone);
            let is_noted = self.eraser.note_overwritten(all.filter(|of| !pass.lost.may_hold(of))).is_ok();
            // What damage hides is looked for again: the file may be put back from a copy.
            pass.has_failed = !is_noted || pass.lost.after.is_some();
            self.failures += u64::from(pass.has_failed);
        }
        // What was erased while the pass went on has waited since then.
        let due = if pass.has_failed { now + self.delay.max(RETRY_AFTER) } else { pass.begun + self.delay };
        self.due = Some(due);
        Some(due.saturating_sub(now))
    }

    /// Overwrites what is covered in one segment, and makes it durable. What lies in a damaged stretch is not found,
    /// and noted in `lost`. Whether there may have been something.
    fn overwrite(
        &self,
        segment: &Arc<Segment<D::File>>,
        pending: &Tombstones,
        lost: &mut Lost,
    ) -> Result<bool, ReadError> {
        let after = segment.header.before.id;
        let next = self.shelf.after(segment.header.first_sequence);
        let last = next.map_or_else(|| self.shelf.head(), |next| next.header.before.id);
        let Some(reach) = pending.reach(after, last) else { return Ok(false) };
        let mut frames = Vec::new();
        let first = reach.start().before().unwrap_or_default();
        let mark = segment.mark(first);
        let mut cursor = FileCursor::of_segment_after(&self.shelf, Arc::clone(segment), mark);
        let mut passed = mark.after;
        while let Some(step) = cursor.advance()? {
            if let Step::Lost { through } = step {
                lost.note(pending, passed, through);
                passed = passed.max(through);
                continue;
            }
            let head = cursor.head()?;
            if head.id > *reach.end() {
                break;
            }
            passed = head.id;
            if pending.cover(&head) {
                frames.push(cursor.frame());
            }
        }
        if frames.is_empty() {
            return Ok(true);
        }
        // By a handle of its own: an error of writing back is told once by each, and the one that
        // appends must not miss its own.
        let file = match self.disk.open(&segment.name) {
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            opened => opened?,
        };
        {
            let _rewriting = segment.rewriting();
            for frame in frames {
                write_zeros(&file, frame.start, frame.end)?;
            }
        }
        file.sync()?;
        Ok(true)
    }
}
