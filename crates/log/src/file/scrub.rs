use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::cursor::FileCursor;
use super::damage::Damage;
use super::disk::DiskFile;
use super::layout::{SEGMENT_HEADER, SegmentHeader};
use super::picks::Wanted;
use super::search::is_bad_sector;
use super::segment::{Mark, Segment};
use super::shelf::Shelf;
use crate::ReadError;
use crate::cursor::{self, RecordCursor, Step};
use crate::visibility::Visibility;

/// What is read in one turn, about.
const TURN_BYTES: u64 = 256 * 1024;
/// How long nothing is checked once all sealed segments were.
const PASS_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// How long it takes until somebody looks whether there is something to check.
const IDLE_PAUSE: Duration = Duration::from_secs(60);

/// What a scrub has done, for [`crate::LogStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scrubbed {
    pub(crate) bytes: u64,
    pub(crate) passes: u64,
}

/// Slowly reads all sealed segments, again and again, and checks every checksum. What it finds is noted
/// where readers note it.
pub(crate) struct Scrub<F> {
    shelf: Arc<Shelf<F>>,
    visibility: Arc<Visibility>,
    /// Bytes a second.
    rate: u64,
    done: Arc<Mutex<Scrubbed>>,
    /// The first sequence of the segment that is being checked, or was last, and where it goes on in it.
    at: Option<(u64, Option<Mark>)>,
}

impl<F: DiskFile> Scrub<F> {
    /// A scrub of at most `rate` bytes a second, which is not 0.
    pub(crate) fn new(
        shelf: Arc<Shelf<F>>,
        visibility: Arc<Visibility>,
        rate: u64,
        done: Arc<Mutex<Scrubbed>>,
    ) -> Scrub<F> {
        Scrub { shelf, visibility, rate: rate.max(1), done, at: None }
    }

    /// Checks a little, and says after how long to come again.
    pub(crate) fn turn(&mut self) -> Duration {
        let Some((segment, mark)) = self.next() else {
            return if self.at.take().is_some() {
                self.done().passes += 1;
                PASS_PAUSE
            } else {
                IDLE_PAUSE
            };
        };
        let first_sequence = segment.header.first_sequence;
        let from = mark.map_or(0, |mark| mark.at);
        // What cannot be read now may be whole: it is tried again, and the pass is not over before.
        let Ok(next) = self.check(Arc::clone(&segment), mark) else { return IDLE_PAUSE };
        let to = next.map_or_else(|| segment.committed(), |mark| mark.at);
        self.at = Some((first_sequence, next));
        let bytes = to.saturating_sub(from);
        self.done().bytes += bytes;
        Duration::from_secs_f64(bytes as f64 / self.rate as f64)
    }

    /// The sealed segment to check, and where to go on in it; none if there is no more.
    fn next(&self) -> Option<(Arc<Segment<F>>, Option<Mark>)> {
        let segment = match self.at {
            Some((first_sequence, Some(mark))) => {
                // It may have been removed since.
                let segment = self.shelf.after(first_sequence - 1)?;
                let is_same = segment.header.first_sequence == first_sequence;
                return self.sealed(segment).map(|segment| (segment, is_same.then_some(mark)));
            }
            Some((first_sequence, None)) => self.shelf.after(first_sequence)?,
            None => self.shelf.after(0)?,
        };
        self.sealed(segment).map(|segment| (segment, None))
    }

    fn sealed(&self, segment: Arc<Segment<F>>) -> Option<Arc<Segment<F>>> {
        self.shelf.after(segment.header.first_sequence).map(|_| segment)
    }

    /// Checks a part of a segment. Returns where to go on; nothing at its end.
    ///
    /// # Errors
    /// When the disk fails otherwise than by damage.
    fn check(&self, segment: Arc<Segment<F>>, mark: Option<Mark>) -> Result<Option<Mark>, ReadError> {
        let mut cursor = match mark {
            Some(mark) => FileCursor::of_segment_after(&self.shelf, segment, mark),
            None => {
                self.check_header(&segment)?;
                FileCursor::of_segment(&self.shelf, segment, Wanted::All)
            }
        };
        let begun = cursor.mark().at;
        while let Some(step) = cursor.advance()? {
            if step == Step::Record {
                let why = self.visibility.hides(&cursor.head()?);
                // That it is damaged is noted on the way.
                cursor::show(&mut cursor, why, &self.visibility, &mut |_| ())?;
            }
            let mark = cursor.mark();
            if mark.at - begun >= TURN_BYTES {
                return Ok(Some(mark));
            }
        }
        Ok(None)
    }

    /// Only the next start reads the header.
    fn check_header(&self, segment: &Segment<F>) -> io::Result<()> {
        let mut bytes = [0; SEGMENT_HEADER];
        let is_right = match segment.file().and_then(|file| file.read_at(&mut bytes, 0)) {
            Ok(()) => SegmentHeader::decode(&bytes) == Ok(segment.header),
            Err(error) if is_bad_sector(&error) || error.kind() == io::ErrorKind::UnexpectedEof => false,
            // It may have been removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        if !is_right {
            let place = segment.header.before.id;
            let (file, to_byte) = (segment.name.clone(), SEGMENT_HEADER as u64);
            self.shelf.damages.found(&Damage { file, from_byte: 0, to_byte, after: place, through: place });
        }
        Ok(())
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Scrubbed> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
