use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::group::Group;
use super::layout::{GROUP_HEADER, SEGMENT_HEADER, SegmentEnd, SegmentHeader, segment_name};
use super::shelf::{Mark, Segment, Shelf};
use crate::HubId;

/// The next segment's name until it is whole.
const SEGMENT_NEW: &str = "segment.tmp";
/// Zeros are written in pieces of this length.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Why there is no next segment.
#[derive(Debug)]
pub(crate) enum RollError {
    /// It could not be made, and nothing is left of it: it can be tried again.
    NotMade(io::Error),
    /// It is not known whether it is there. Nothing may be written to the segment before.
    Uncertain(io::Error),
}

/// The writing side of the segments. One owner; readers hold the [`Shelf`].
///
/// After an error of [`Segments::write`] nothing may be written any more.
pub(crate) struct Segments<D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) shelf: Arc<Shelf<D::File>>,
    pub(super) active: Arc<Segment<D::File>>,
    /// Where the next group goes in the active segment.
    pub(super) position: u64,
    /// The checksum of the header of the last group in the active segment.
    pub(super) predecessor: u32,
    pub(super) last_sequence: u64,
    /// The retention clock of the last record.
    pub(super) retention_ms: u64,
    pub(super) segment_bytes: u64,
    /// The file of the next segment, made ahead of need.
    pub(super) spare: Option<D::File>,
}

impl<D: Disk> Segments<D> {
    pub(crate) fn shelf(&self) -> &Arc<Shelf<D::File>> {
        &self.shelf
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Goes on with ids above this place, which is the head until there is a record behind it.
    pub(crate) fn begin_at(&mut self, place: HubId) {
        self.shelf.raise_head(place);
    }

    /// The retention clock of the last record.
    pub(crate) fn retention_ms(&self) -> u64 {
        self.retention_ms
    }

    /// How many bytes of records fit in the active segment, in one group.
    pub(crate) fn room(&self) -> u64 {
        self.active.header.file_bytes.saturating_sub(self.position + GROUP_HEADER as u64)
    }

    pub(crate) fn disk(&self) -> &Arc<D> {
        &self.disk
    }

    /// How long the file of the next segment will be, if it should be made now: the active one is
    /// half full.
    pub(crate) fn wants_spare(&self) -> Option<u64> {
        let is_half_full = self.position > self.active.header.file_bytes / 2;
        (self.spare.is_none() && is_half_full).then_some(self.segment_bytes)
    }

    /// Takes the file that [`fill_segment`] has made.
    pub(crate) fn set_spare(&mut self, spare: D::File) {
        self.spare = Some(spare);
    }

    /// How many bytes of records fit in an empty segment, in one group.
    pub(crate) fn room_max(&self) -> u64 {
        room_max(self.segment_bytes)
    }

    /// Writes a group and syncs it, and only then lets readers see it.
    ///
    /// # Errors
    /// When the disk fails: then it is not known whether the group is durable.
    pub(crate) fn write(&mut self, group: &mut Group) -> io::Result<()> {
        let (first_sequence, last_sequence, last_id) = (group.first_sequence(), group.last_sequence(), group.last_id());
        debug_assert_eq!(first_sequence, self.last_sequence + 1);
        let (bytes, crc) = group.seal(&self.shelf.log_id, self.predecessor, self.last_sequence);
        self.active.file.write_at(bytes, self.position)?;
        self.active.file.sync()?;
        self.active.note(Mark { after: self.shelf.head(), at: self.position, group_end: self.position });
        self.position += bytes.len() as u64;
        self.predecessor = crc;
        self.last_sequence = last_sequence;
        self.retention_ms = group.retention_ms();
        self.shelf.commit(self.position, last_id, last_sequence);
        Ok(())
    }

    /// Ends the active segment and goes on in a new one.
    ///
    /// # Errors
    /// When the new one cannot be made.
    pub(crate) fn roll(&mut self) -> Result<(), RollError> {
        // An empty segment is replaced by one that may be larger.
        let before = if self.position == SEGMENT_HEADER as u64 {
            self.active.header.before
        } else {
            SegmentEnd {
                first_sequence: self.active.header.first_sequence,
                sequence: self.last_sequence,
                id: self.shelf.head(),
                length: self.position,
                retention_ms: self.retention_ms,
            }
        };
        let header = SegmentHeader {
            log_id: self.shelf.log_id,
            first_sequence: self.last_sequence + 1,
            file_bytes: self.segment_bytes,
            before,
        };
        let file = match self.spare.take() {
            Some(file) => file,
            None => fill_segment(&*self.disk, header.file_bytes).map_err(RollError::NotMade)?,
        };
        let segment = Arc::new(create_segment(&*self.disk, file, header)?);
        self.shelf.push(Arc::clone(&segment));
        self.active = segment;
        self.position = SEGMENT_HEADER as u64;
        self.predecessor = 0;
        Ok(())
    }
}

/// How many bytes of records fit in one group of an empty segment of `segment_bytes`.
pub(crate) fn room_max(segment_bytes: u64) -> u64 {
    segment_bytes.saturating_sub((SEGMENT_HEADER + GROUP_HEADER) as u64)
}

/// Makes the file of a segment: zeros, so that what is written later needs no more room.
pub(super) fn fill_segment<D: Disk>(disk: &D, bytes: u64) -> io::Result<D::File> {
    let fill = || -> io::Result<D::File> {
        let file = disk.create(SEGMENT_NEW)?;
        write_zeros(&file, 0, bytes)?;
        file.sync()?;
        Ok(file)
    };
    fill().inspect_err(|_| remove_unfinished(disk))
}

/// Makes a segment of the file that [`fill_segment`] has made: its header and its name are durable.
pub(super) fn create_segment<D: Disk>(
    disk: &D,
    file: D::File,
    header: SegmentHeader,
) -> Result<Segment<D::File>, RollError> {
    file.write_at(&header.encode(), 0).and_then(|()| file.sync()).map_err(|error| {
        remove_unfinished(disk);
        RollError::NotMade(error)
    })?;
    let name = segment_name(header.first_sequence);
    disk.rename(SEGMENT_NEW, &name).and_then(|()| disk.sync_names()).map_err(RollError::Uncertain)?;
    Ok(Segment::new(header, file, SEGMENT_HEADER as u64))
}

fn remove_unfinished<D: Disk>(disk: &D) {
    // It may not even have been created; what is left is removed at the next start.
    drop(disk.unlink(SEGMENT_NEW));
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
