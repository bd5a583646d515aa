use std::sync::Arc;

use super::cursor::FileCursor;
use super::disk::Disk;
use super::indexer::Indexer;
use super::picks::Wanted;
use super::segment::Segment;
use super::shelf::Shelf;
use crate::cursor::RecordCursor;
use crate::idempotence::{Entry, Fingerprint, Fingerprints};
use crate::sequencer::{Array, Encoded};
use crate::times::Times;
use crate::visibility::Visibility;
use crate::{AppendError, ReadError};

/// Finds what was published before, in the segments whose publications nobody remembers: by their index files,
/// then in the records.
pub(crate) struct Lookup<D: Disk> {
    shelf: Arc<Shelf<D::File>>,
    indexer: Arc<Indexer<D>>,
    fingerprints: Fingerprints,
    times: Arc<Times>,
    visibility: Arc<Visibility>,
    window_ms: u64,
}

impl<D: Disk> Lookup<D> {
    pub(crate) fn new(
        shelf: Arc<Shelf<D::File>>,
        indexer: Arc<Indexer<D>>,
        fingerprints: Fingerprints,
        times: Arc<Times>,
        visibility: Arc<Visibility>,
        window_ms: u64,
    ) -> Lookup<D> {
        Lookup { shelf, indexer, fingerprints, times, visibility, window_ms }
    }

    pub(crate) fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// Notes for each event of an array what was published before under its key. It reads from disk.
    ///
    /// # Errors
    /// When the disk fails: then it is not known.
    pub(crate) fn look_up(&self, array: &mut Array) -> Result<(), AppendError> {
        // Asked first: what is indexed later is still remembered, or is looked for again.
        let through = self.shelf.indexed();
        // What was found before may have been published anew since.
        array.publications().for_each(|event| event.earlier = None);
        if array.publications().next().is_some() {
            let unread = |error: ReadError| AppendError::Unread { reason: error.to_string() };
            for segment in self.segments(through) {
                for event in array.publications().filter(|event| event.earlier.is_none()) {
                    event.earlier = self.find(&segment, event).map_err(unread)?;
                }
            }
        }
        array.looked_up_to = through;
        Ok(())
    }

    /// The segments that end at or below a place and hold something of the window, newest first.
    fn segments(&self, through: crate::HubId) -> Vec<Arc<Segment<D::File>>> {
        let now_ms = self.times.moment().retention_ms;
        let is_live = |time_ms: u64| now_ms.saturating_sub(time_ms) < self.window_ms;
        let segments = self.shelf.segments();
        let sealed = segments.windows(2).rev().map(|pair| (&pair[0], &pair[1].header.before));
        let looked_for =
            sealed.skip_while(|(_, end)| end.id > through).take_while(|(_, end)| is_live(end.retention_ms));
        looked_for.map(|(segment, _)| Arc::clone(segment)).collect()
    }

    /// The newest event of a segment with the key of this one.
    fn find(&self, segment: &Arc<Segment<D::File>>, event: &Encoded) -> Result<Option<Entry>, ReadError> {
        let Some((id, topic)) = event.draft.publication() else { return Ok(None) };
        if segment.index().is_none() {
            // Where it cannot be written, the records are walked over.
            drop(self.indexer.write(segment));
        }
        let wanted = Wanted::Publication { id, topic };
        let mut cursor = FileCursor::of_segment(&self.shelf, Arc::clone(segment), wanted);
        let mut newest = None;
        loop {
            match self.next(&mut cursor, event.fingerprint) {
                Ok(Some(found)) => newest = found.or(newest),
                Ok(None) => return Ok(newest),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the next record is the one. `None` at the end.
    fn next(
        &self,
        cursor: &mut FileCursor<'_, D::File>,
        wanted: Option<Fingerprint>,
    ) -> Result<Option<Option<Entry>>, ReadError> {
        let Some(head) = cursor.next_head()? else { return Ok(None) };
        let key = self.fingerprints.key_of(&head);
        // What was erased is published anew.
        let is_erased = self.visibility.has_erased(head.id, head.topics());
        if is_erased || key.is_none() || key != wanted.map(|wanted| wanted.key) {
            return Ok(Some(None));
        }
        // Of a record that cannot be read nobody knows what it said: it is as gone.
        let Some(record) = cursor.record()? else { return Ok(Some(None)) };
        let (id, time_ms) = (record.id, record.retention_ms());
        let found = self.fingerprints.of_record(&record);
        Ok(Some(found.map(|found| Entry { id, content: found.content, time_ms })))
    }
}
