use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::group::Group;
use super::layout::{GROUP_HEADER, SEGMENT_HEADER, SegmentEnd, SegmentHeader, segment_name};
use super::open::Durability;
use super::segment::{Mark, Segment};
use super::shelf::Shelf;
use crate::HubId;

/// The name of a segment that is made when it is needed, until it is whole.
const SEGMENT_NEW: &str = "segment.tmp";
/// The name of a segment that is made ahead of need. It is another, so that none is ever taken for the other.
const SEGMENT_AHEAD: &str = "ahead.tmp";
/// Zeros are written in pieces of this length.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// What is written once more at a time.
const REWRITE_BYTES: usize = 256 * 1024;

/// Why there is no next segment.
#[derive(Debug)]
pub(crate) enum RollError {
    /// It could not be made, and nothing is left of it: it can be tried again, and meanwhile the segment
    /// before be written.
    NotMade(io::Error),
    /// It may be there, or what it says of the one before may not be durable. Nothing may be written to the
    /// segment before, until another try has made the new one.
    Uncertain(io::Error),
}

impl RollError {
    /// What the disk said.
    pub(crate) fn into_source(self) -> io::Error {
        let (RollError::NotMade(source) | RollError::Uncertain(source)) = self;
        source
    }
}

/// How far the active segment was filled by a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Where the next group goes.
    pub(crate) position: u64,
    /// The checksum of the header of the last group in the segment; 0 if there is none.
    pub(crate) predecessor: u32,
    /// The last sequence.
    pub(crate) sequence: u64,
    /// The last place.
    pub(crate) id: HubId,
    /// The retention clock of the last record.
    pub(crate) retention_ms: u64,
}

/// The writing side of the segments. One owner; readers hold the [`Shelf`].
///
/// After an error of [`Segments::write`], [`Segments::abandon`] and [`Segments::roll`] come before the
/// next group.
pub(crate) struct Segments<D: Disk> {
    disk: Arc<D>,
    shelf: Arc<Shelf<D::File>>,
    active: Arc<Segment<D::File>>,
    /// How far the active segment is written.
    written: End,
    /// Behind this byte, nothing was ever written to the active segment.
    touched: u64,
    /// How far it is shown.
    shown: End,
    /// How far it is known to be durable.
    durable: End,
    /// Whether a sync of what is shown has failed, so that another one alone would say nothing.
    has_lost_sync: bool,
    /// The retention clock of the first record in the active segment.
    first_ms: Option<u64>,
    segment_bytes: u64,
    durability: Durability,
    /// The file of the next segment, made ahead of need.
    spare: Option<NewSegment<D::File>>,
    /// Syncs of segments that are filled.
    pub(crate) failed_syncs: u64,
}

impl<D: Disk> Segments<D> {
    /// Goes on behind `end` in the active segment, the newest one on the shelf. All up to there is durable.
    pub(crate) fn new(
        disk: Arc<D>,
        shelf: Arc<Shelf<D::File>>,
        active: Arc<Segment<D::File>>,
        end: End,
        segment_bytes: u64,
    ) -> Segments<D> {
        Segments {
            disk,
            shelf,
            active,
            written: end,
            touched: end.position,
            shown: end,
            durable: end,
            has_lost_sync: false,
            first_ms: None,
            segment_bytes,
            durability: Durability::Commit,
            spare: None,
            failed_syncs: 0,
        }
    }

    /// Goes on with ids above this place, which is the head until there is a record behind it. The first record
    /// of the active segment, if there is one, is from `first_ms` on the retention clock.
    pub(crate) fn begin_at(&mut self, place: HubId, first_ms: Option<u64>, durability: Durability) {
        self.shelf.raise_head(place);
        let id = self.shelf.head();
        for end in [&mut self.written, &mut self.shown, &mut self.durable] {
            end.id = id;
        }
        (self.first_ms, self.durability) = (first_ms, durability);
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf<D::File>> {
        &self.shelf
    }

    pub(crate) fn disk(&self) -> &Arc<D> {
        &self.disk
    }

    pub(crate) fn active(&self) -> &Arc<Segment<D::File>> {
        &self.active
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// How far the active segment is written.
    pub(crate) fn written(&self) -> &End {
        &self.written
    }

    /// How far it is shown.
    pub(crate) fn shown(&self) -> &End {
        &self.shown
    }

    /// The retention clock of the oldest and of the newest record in the active segment, if it has any.
    pub(crate) fn ages(&self) -> Option<(u64, u64)> {
        self.first_ms.map(|first_ms| (first_ms, self.shown.retention_ms))
    }

    /// How many bytes of records fit in the active segment, in one group.
    pub(crate) fn room(&self) -> u64 {
        self.active.header.file_bytes.saturating_sub(self.written.position + GROUP_HEADER as u64)
    }

    /// How many bytes of records fit in an empty segment, in one group.
    pub(crate) fn room_max(&self) -> u64 {
        room_max(self.segment_bytes)
    }

    /// Makes the segments to come so long.
    pub(crate) fn set_segment_bytes(&mut self, segment_bytes: u64) {
        self.segment_bytes = segment_bytes;
    }

    /// How long the file of the next segment will be, if it should be made now: the active one is
    /// half full.
    pub(crate) fn wants_spare(&self) -> Option<u64> {
        let is_half_full = self.written.position > self.active.header.file_bytes / 2;
        (self.spare.is_none() && is_half_full).then_some(self.segment_bytes)
    }

    /// Takes the file that [`fill_ahead`] has made.
    pub(crate) fn set_spare(&mut self, spare: NewSegment<D::File>) {
        self.spare = Some(spare);
    }

    /// Writes a group behind the others. It is neither durable nor shown.
    ///
    /// # Errors
    /// When the disk fails: then any part of it may have been written.
    pub(crate) fn write(&mut self, group: &mut Group) -> io::Result<()> {
        debug_assert_eq!(group.first_sequence(), self.written.sequence + 1);
        let before = self.written;
        let (bytes, crc) = group.seal(&self.shelf.log_id, before.predecessor, self.durable.sequence);
        self.touched = self.touched.max(before.position + bytes.len() as u64);
        self.active.file()?.write_at(bytes, before.position)?;
        self.written = End {
            position: before.position + bytes.len() as u64,
            predecessor: crc,
            sequence: group.last_sequence(),
            id: group.last_id(),
            retention_ms: group.retention_ms(),
        };
        group.set_place(before.id, before.position, self.written);
        Ok(())
    }

    /// Lets readers see what was written, and with [`Durability::Commit`] synced, up to the last of these groups.
    pub(crate) fn show(&mut self, groups: &[Group]) {
        for group in groups {
            let (after, at, end) = group.place();
            self.active.index_group(at + GROUP_HEADER as u64, group.body());
            self.active.note(Mark { after, at, group_end: at });
            self.first_ms.get_or_insert(group.first_ms());
            self.shown = end;
        }
        if self.durability == Durability::Commit {
            self.durable = self.shown;
        }
        self.shelf.commit(self.shown.position, self.shown.id, self.shown.sequence);
    }

    /// Forgets what was written and is not shown. The active segment ends with what is shown.
    pub(crate) fn abandon(&mut self) {
        self.written = self.shown;
    }

    /// Ends the active segment with what is shown, and goes on in a new one. Nothing else is under way.
    ///
    /// # Errors
    /// When the new one cannot be made.
    pub(crate) fn roll(&mut self) -> Result<(), RollError> {
        debug_assert_eq!(self.written.position, self.shown.position);
        self.make_durable().map_err(RollError::Uncertain)?;
        // An empty segment is replaced by one that may be larger.
        let before = if self.shown.position == SEGMENT_HEADER as u64 {
            self.active.header.before
        } else {
            SegmentEnd {
                first_sequence: self.active.header.first_sequence,
                sequence: self.shown.sequence,
                id: self.shown.id,
                length: self.shown.position,
                retention_ms: self.shown.retention_ms,
            }
        };
        let header = SegmentHeader {
            log_id: self.shelf.log_id,
            first_sequence: self.shown.sequence + 1,
            file_bytes: self.segment_bytes,
            before,
        };
        let new = match self.spare.take() {
            Some(spare) => spare,
            None => fill_segment(&*self.disk, self.segment_bytes).map_err(RollError::NotMade)?,
        };
        let file = Arc::new(create_segment(&*self.disk, new, &header)?);
        let segment = Arc::new(Segment::open(header, file, Arc::clone(&self.shelf.files)));
        self.erase_abandoned();
        self.shelf.push(Arc::clone(&segment));
        self.active = segment;
        let end = End { position: SEGMENT_HEADER as u64, predecessor: 0, ..self.shown };
        (self.written, self.shown, self.durable, self.first_ms) = (end, end, end, None);
        self.touched = end.position;
        Ok(())
    }

    /// Overwrites what was written behind the end of the active segment, which was never shown. The next segment says
    /// where that end is, and this is for the case that it is lost: on a disk that does not take it, that is all.
    fn erase_abandoned(&self) {
        let (end, touched) = (self.shown.position, self.touched);
        // One that holds nothing is replaced as a whole.
        if touched > end && end > SEGMENT_HEADER as u64 {
            drop(self.active.file().and_then(|file| write_zeros(&*file, end, touched).and_then(|()| file.sync())));
        }
    }

    /// Makes durable what is shown and is not: that is something with [`Durability::Os`] alone.
    ///
    /// # Errors
    /// When the disk fails; it can be tried again.
    pub(crate) fn make_durable(&mut self) -> io::Result<()> {
        if self.durable.position == self.shown.position {
            return Ok(());
        }
        if self.has_lost_sync {
            // The system may take for written what is not. Written once more, it is synced once more.
            let _rewriting = self.active.rewriting();
            rewrite(&*self.active.file()?, self.durable.position, self.shown.position)?;
        }
        self.has_lost_sync = true;
        self.active.file()?.sync().inspect_err(|_| self.failed_syncs += 1)?;
        self.has_lost_sync = false;
        self.durable = self.shown;
        Ok(())
    }
}

/// How many bytes of records fit in one group of an empty segment of `segment_bytes`.
pub(crate) fn room_max(segment_bytes: u64) -> u64 {
    segment_bytes.saturating_sub((SEGMENT_HEADER + GROUP_HEADER) as u64)
}

/// A file of zeros that is to become a segment.
#[derive(Debug)]
pub(crate) struct NewSegment<F> {
    name: &'static str,
    pub(super) file: F,
}

/// Makes the file of a segment: zeros, so that what is written later needs no more room.
pub(super) fn fill_segment<D: Disk>(disk: &D, bytes: u64) -> io::Result<NewSegment<D::File>> {
    fill(disk, SEGMENT_NEW, bytes)
}

/// Makes the file of a segment beside whoever may make another.
pub(super) fn fill_ahead<D: Disk>(disk: &D, bytes: u64) -> io::Result<NewSegment<D::File>> {
    fill(disk, SEGMENT_AHEAD, bytes)
}

/// Makes the file of a segment that holds nothing and takes no room.
pub(super) fn sparse_segment<D: Disk>(disk: &D, bytes: u64) -> io::Result<NewSegment<D::File>> {
    let file = disk.create(SEGMENT_NEW)?;
    file.truncate(bytes)?;
    Ok(NewSegment { name: SEGMENT_NEW, file })
}

fn fill<D: Disk>(disk: &D, name: &'static str, bytes: u64) -> io::Result<NewSegment<D::File>> {
    let fill = || -> io::Result<NewSegment<D::File>> {
        let file = disk.create(name)?;
        write_zeros(&file, 0, bytes)?;
        file.sync()?;
        Ok(NewSegment { name, file })
    };
    fill().inspect_err(|_| remove_unfinished(disk, name))
}

/// Makes a segment of a file of zeros: its header and its name are durable.
pub(super) fn create_segment<D: Disk>(
    disk: &D,
    new: NewSegment<D::File>,
    header: &SegmentHeader,
) -> Result<D::File, RollError> {
    let NewSegment { name, file } = new;
    file.write_at(&header.encode(), 0).and_then(|()| file.sync()).map_err(|error| {
        remove_unfinished(disk, name);
        RollError::NotMade(error)
    })?;
    disk.rename(name, &segment_name(header.first_sequence))
        .and_then(|()| disk.sync_names())
        .map_err(RollError::Uncertain)?;
    Ok(file)
}

fn remove_unfinished<D: Disk>(disk: &D, name: &str) {
    // It may not even have been created; what is left is removed at the next start.
    drop(disk.unlink(name));
}

/// Writes zeros from `at` to `end`, so that later writes need no more room.
pub(super) fn write_zeros(file: &impl DiskFile, mut at: u64, end: u64) -> io::Result<()> {
    while at < end {
        let length = usize::try_from(end - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_at(&ZEROS[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

/// Writes the bytes of a range once more.
pub(super) fn rewrite(file: &impl DiskFile, mut at: u64, end: u64) -> io::Result<()> {
    let mut buffer = Vec::new();
    while at < end {
        let length = usize::try_from(end - at).map_or(REWRITE_BYTES, |left| left.min(REWRITE_BYTES));
        buffer.resize(length, 0);
        file.read_at(&mut buffer, at)?;
        file.write_at(&buffer, at)?;
        at += length as u64;
    }
    Ok(())
}
