use std::collections::HashMap;
use std::sync::Arc;

use super::cursor::FileCursor;
use super::disk::Disk;
use super::picks::Wanted;
use super::segment::{Segment, Unwritten};
use super::shelf::Shelf;
use crate::background::Nudge;
use crate::cursor::RecordCursor;
use crate::holds::Holds;
use crate::idempotence::{Entry, Fingerprints};
use crate::sequencer::{Array, Encoded};
use crate::times::Times;
use crate::visibility::Visibility;
use crate::{AppendError, HubId, ReadError};

/// Finds what was published before, in the segments whose publications nobody remembers: by their indexes, then
/// in the records.
pub(crate) struct Lookup<D: Disk> {
    shelf: Arc<Shelf<D::File>>,
    fingerprints: Fingerprints,
    times: Arc<Times>,
    visibility: Arc<Visibility>,
    window_ms: u64,
    holds: Arc<Holds>,
    /// Calls the keeper, which makes indexes that are not there.
    keeper: Nudge,
}

impl<D: Disk> Lookup<D> {
    pub(crate) fn new(
        shelf: Arc<Shelf<D::File>>,
        fingerprints: Fingerprints,
        times: Arc<Times>,
        visibility: Arc<Visibility>,
        window_ms: u64,
    ) -> Lookup<D> {
        let (holds, keeper) = (Arc::default(), Nudge::default());
        Lookup { shelf, fingerprints, times, visibility, window_ms, holds, keeper }
    }

    pub(crate) fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// What calls the keeper.
    pub(crate) fn keeper(&self) -> &Nudge {
        &self.keeper
    }

    /// The place up to which publications may be forgotten: whoever comes from now on looks for them.
    pub(crate) fn forgettable(&self) -> HubId {
        self.holds.allow(|| self.shelf.indexed())
    }

    /// Lets everything be remembered that is published from now on, until the array is sequenced. Whether there is
    /// something to be looked for before that, which may read from disk ([`Lookup::look_up`]).
    pub(crate) fn prepare(&self, array: &mut Array) -> bool {
        if !array.has_publications() {
            return false;
        }
        let hold = array.hold.insert(self.holds.take(|| self.shelf.indexed()));
        !self.segments(hold.place()).is_empty()
    }

    /// Notes for each event of an array what was published before under its key. It reads from disk. It makes no index
    /// that is not there: it has the keeper make it, and walks over the segment.
    ///
    /// # Errors
    /// When the disk fails: then it is not known.
    pub(crate) fn look_up(&self, array: &mut Array) -> Result<(), AppendError> {
        if array.hold.is_none() && !self.prepare(array) {
            return Ok(());
        }
        let through = array.hold.as_ref().map_or(HubId::ZERO, |hold| hold.place());
        for segment in self.segments(through) {
            let looked = if segment.index().is_some() {
                self.ask(&segment, array)
            } else {
                if matches!(segment.unwritten(), Some(Unwritten::Unknown)) {
                    self.keeper.call();
                }
                self.walk(&segment, array)
            };
            looked.map_err(|error| AppendError::Unread { reason: error.to_string() })?;
        }
        Ok(())
    }

    /// The segments that end at or below a place and hold something of the window, newest first.
    fn segments(&self, through: HubId) -> Vec<Arc<Segment<D::File>>> {
        let now_ms = self.times.moment().retention_ms;
        let is_live = |time_ms: u64| now_ms.saturating_sub(time_ms) < self.window_ms;
        let segments = self.shelf.segments();
        let sealed = segments.windows(2).rev().map(|pair| (&pair[0], &pair[1].header.before));
        let looked_for =
            sealed.skip_while(|(_, end)| end.id > through).take_while(|(_, end)| is_live(end.retention_ms));
        looked_for.map(|(segment, _)| Arc::clone(segment)).collect()
    }

    /// Looks in a segment for each event of an array that was not found yet, by the index.
    fn ask(&self, segment: &Arc<Segment<D::File>>, array: &mut Array) -> Result<(), ReadError> {
        for event in not_found(array) {
            let (Some(fingerprint), Some((id, topic))) = (event.fingerprint, event.draft.publication()) else {
                continue;
            };
            let wanted = Wanted::Publication { id, topic };
            let mut cursor = FileCursor::of_segment(&self.shelf, Arc::clone(segment), wanted);
            let mut newest = None;
            while let Some(found) = self.next(&mut cursor, |key| key == fingerprint.key)? {
                newest = Some(found.1);
            }
            event.earlier = newest;
        }
        Ok(())
    }

    /// Looks in a segment for all events of an array at once, from record to record.
    fn walk(&self, segment: &Arc<Segment<D::File>>, array: &mut Array) -> Result<(), ReadError> {
        let keys = not_found(array).filter_map(|event| event.fingerprint).map(|fingerprint| (fingerprint.key, None));
        let mut newest: HashMap<u128, Option<Entry>> = keys.collect();
        if newest.is_empty() {
            return Ok(());
        }
        let mut cursor = FileCursor::of_segment(&self.shelf, Arc::clone(segment), Wanted::All);
        while let Some((key, found)) = self.next(&mut cursor, |key| newest.contains_key(&key))? {
            newest.insert(key, Some(found));
        }
        for event in not_found(array) {
            event.earlier = event.fingerprint.and_then(|fingerprint| newest.get(&fingerprint.key).copied().flatten());
        }
        Ok(())
    }

    /// The next record whose key is wanted, with it. `None` at the end.
    fn next(
        &self,
        cursor: &mut FileCursor<'_, D::File>,
        is_wanted: impl Fn(u128) -> bool,
    ) -> Result<Option<(u128, Entry)>, ReadError> {
        while let Some(head) = cursor.next_head()? {
            let Some(key) = self.fingerprints.key_of(&head).filter(|&key| is_wanted(key)) else { continue };
            // What was erased is published anew.
            if self.visibility.has_erased(head.id, head.topics()) {
                continue;
            }
            // Of a record that cannot be read nobody knows what it said: it is as gone.
            let Some(record) = cursor.record()? else { continue };
            if let Some(found) = self.fingerprints.of_record(&record) {
                let entry = Entry { id: record.id, content: found.content, time_ms: record.retention_ms() };
                return Ok(Some((key, entry)));
            }
        }
        Ok(None)
    }
}

/// The events that can have been published before, and were not found yet.
fn not_found(array: &mut Array) -> impl Iterator<Item = &mut Encoded> {
    array.publications().filter(|event| event.earlier.is_none())
}
