use std::io;
use std::sync::{Arc, PoisonError};

use super::cursor::FileCursor;
use super::disk::Disk;
use super::index::{OpenIndex, RecordIndex, write_index};
use super::picks::Wanted;
use super::segment::{Segment, Unwritten};
use super::shelf::Shelf;
use crate::ReadError;
use crate::cursor::RecordCursor;

/// So many sealed segments may have their index in memory, where it cannot be written. Of more, the
/// oldest go without.
const UNWRITTEN_MAX: usize = 4;

/// Writes the indexes of sealed segments to their files, and makes those that are absent.
pub(crate) struct Indexer<D: Disk> {
    disk: Arc<D>,
    shelf: Arc<Shelf<D::File>>,
}

impl<D: Disk> Indexer<D> {
    pub(crate) fn new(disk: Arc<D>, shelf: Arc<Shelf<D::File>>) -> Indexer<D> {
        Indexer { disk, shelf }
    }

    /// Writes one index, if one is to be written. Whether there may be another.
    ///
    /// # Errors
    /// When the disk fails; it can be tried again.
    pub(crate) fn turn(&self) -> io::Result<bool> {
        let mut segments = self.shelf.segments();
        segments.pop();
        let known: Vec<_> = segments.iter().filter(|segment| segment.has_index_in_memory()).collect();
        let absent = segments.iter().rfind(|segment| matches!(segment.unwritten(), Some(Unwritten::Unknown)));
        let Some(oldest) = known.first() else {
            return absent.map_or(Ok(false), |segment| self.write(segment).map(|()| true));
        };
        let written = self.write(oldest);
        if written.is_err() {
            if known.len() > UNWRITTEN_MAX {
                oldest.drop_index();
                self.shelf.note_indexed();
            } else if known.len() < UNWRITTEN_MAX
                && let Some(segment) = absent
            {
                // Though it cannot be written either: whoever asks has it in memory.
                self.write(segment)?;
            }
        }
        written.map(|()| true)
    }

    /// Makes the index of a sealed segment, unless it is there or cannot be made.
    ///
    /// # Errors
    /// When the disk fails: if it was made of the records, it is kept in memory.
    pub(crate) fn write(&self, segment: &Arc<Segment<D::File>>) -> io::Result<()> {
        let bytes = match segment.unwritten() {
            None => return Ok(()),
            Some(Unwritten::Known(index)) => {
                let index = index.read().unwrap_or_else(PoisonError::into_inner);
                write_index(&*self.disk, &segment.indexed(), &index)?
            }
            Some(Unwritten::Unknown) => match self.make(segment) {
                Ok(index) if index.records() == self.shelf.committed_records(segment) => {
                    match write_index(&*self.disk, &segment.indexed(), &index) {
                        Ok(bytes) => bytes,
                        Err(error) => {
                            segment.index_is_made(index);
                            return Err(error);
                        }
                    }
                }
                // Whoever reads its records meets the damage. Or it was removed meanwhile.
                Ok(_) => {
                    segment.index_is_impossible();
                    return Ok(());
                }
                Err(ReadError::Io(error)) => return Err(error),
            },
        };
        segment.index_is_written(bytes);
        self.shelf.note_indexed();
        Ok(())
    }

    /// Makes an index of the records of a segment.
    fn make(&self, segment: &Arc<Segment<D::File>>) -> Result<OpenIndex, ReadError> {
        let mut index = OpenIndex::new(&segment.header.log_id, segment.header.before.id);
        let mut cursor = FileCursor::of_segment(&self.shelf, Arc::clone(segment), Wanted::All);
        while cursor.next_head()?.is_some() {
            let (at, group_end, head) = cursor.found()?;
            index.push(at, group_end, &head);
        }
        Ok(index)
    }
}
