use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(test)]
use super::batch::Answer;
use super::batch::{Batch, Finished, Sync};
use super::cursor::FileCursor;
use super::disk::{Disk, DiskFile, lacks_room};
use super::group::Group;
use super::lookup::Lookup;
use super::note::{NOTE_BYTES, Note};
use super::open::Durability;
use super::open_error::OpenError;
use super::picks::Wanted;
use super::segments::{End, RollError, Segments, room_max};
use super::shelf::Shelf;
use crate::cursor::RecordCursor;
use crate::idempotence::{Fingerprints, Idempotence};
use crate::sequencer::{Array, Plan, Sequencer};
use crate::times::Moment;
use crate::visibility::Visibility;
use crate::{AppendError, ReadError};

/// A group is closed once it is this long, in bytes, and no other is begun before a sync.
pub(crate) const GROUP_BYTES: usize = 1 << 20;
/// How long to wait before a segment that could not be made is tried again, by the monotonic clock.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// A segment is ended once its first record is older than this part of `retention_age`: whole segments are removed,
/// so an event stays longer than that by at most as much.
const RETENTION_PARTS: u64 = 8;
/// But none is ended for its age before its first record is so old, in milliseconds: each new one is filled with zeros.
/// Old segments are not looked for more often.
const RENEW_AGE_MIN_MS: u64 = 10_000;
/// Groups whose room is kept for others.
const GROUPS_KEPT: usize = 4;

/// Sequences, writes and shows: the file log without its threads, as steps that take the time as an argument. `T` is
/// a ticket that says who is answered.
///
/// [`Committer::write`] writes groups behind one another. [`Committer::begin_sync`] takes all of them for one sync,
/// which runs beside this; meanwhile more may be written. [`Committer::finish`] shows what was synced.
pub(crate) struct Committer<D: Disk, T> {
    segments: Segments<D>,
    sequencer: Sequencer,
    visibility: Arc<Visibility>,
    lookup: Arc<Lookup<D>>,
    /// What is written, and not being synced.
    written: Batch<T>,
    /// What is being synced.
    syncing: Option<Batch<T>>,
    /// Whose arrays were written in vain, and why. They are told once nothing of it will ever be seen.
    failed: Vec<T>,
    failure: String,
    trouble: Option<Trouble>,
    retention_age_ms: Arc<AtomicU64>,
    /// When a segment that has become old is ended, at the earliest, in monotonic time.
    renew_at: Duration,
    groups: Vec<Group>,
    pub(crate) seals: u64,
}

/// Nothing may be written to the active segment any more, and there is no other yet.
struct Trouble {
    refusal: AppendError,
    /// When it is tried again to make one, in monotonic time.
    retry_at: Duration,
}

impl<D: Disk, T> Committer<D, T> {
    /// Goes on in segments that are in order.
    ///
    /// # Errors
    /// When what was published in the window cannot be read back.
    pub(crate) fn open(
        segments: Segments<D>,
        window_ms: u64,
        lookup: Arc<Lookup<D>>,
        visibility: Arc<Visibility>,
        retention_age_ms: Arc<AtomicU64>,
        retention_ms: u64,
    ) -> Result<Committer<D, T>, OpenError> {
        let remembered = remember(segments.shelf(), window_ms, lookup.fingerprints(), &visibility, retention_ms);
        let idempotence = remembered.map_err(unreadable)?;
        let sequencer = Sequencer::new(segments.shown().sequence, segments.shelf().head(), idempotence);
        Ok(Committer {
            segments,
            sequencer,
            visibility,
            lookup,
            written: Batch::default(),
            syncing: None,
            failed: Vec::new(),
            failure: String::new(),
            trouble: None,
            retention_age_ms,
            renew_at: Duration::ZERO,
            groups: Vec::new(),
            seals: 0,
        })
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf<D::File>> {
        self.segments.shelf()
    }

    pub(crate) fn segments(&mut self) -> &mut Segments<D> {
        &mut self.segments
    }

    pub(crate) fn sequencer(&self) -> &Sequencer {
        &self.sequencer
    }

    /// How far the log is committed, for those who read its folder.
    pub(crate) fn note(&self) -> [u8; NOTE_BYTES] {
        let shelf = self.shelf();
        Note { log_id: shelf.log_id, sequence: self.segments.shown().sequence, head: shelf.head() }.encode()
    }

    /// Why arrays are refused for now, if they are.
    pub(crate) fn refusal(&self) -> Option<&AppendError> {
        self.trouble.as_ref().map(|trouble| &trouble.refusal)
    }

    /// Writes nothing any more.
    pub(crate) fn fail(&mut self, reason: String) {
        self.trouble = Some(Trouble { refusal: AppendError::Failed { reason }, retry_at: Duration::MAX });
    }

    /// Lets go whoever waits: nothing is written any more.
    pub(crate) fn give_back_tickets(&mut self) -> Vec<T> {
        self.fail("the log has ended".to_owned());
        let batches = self.syncing.take().into_iter().chain([std::mem::take(&mut self.written)]);
        let answered = batches.flat_map(|batch| batch.answers).map(|(ticket, _)| ticket);
        answered.chain(std::mem::take(&mut self.failed)).collect()
    }

    /// Whether something waits for a sync to begin.
    pub(crate) fn has_written(&self) -> bool {
        !self.written.is_empty() || !self.failed.is_empty()
    }

    /// Whether something is written that is not committed.
    fn is_under_way(&self) -> bool {
        self.syncing.is_some() || !self.written.groups.is_empty() || !self.failed.is_empty()
    }

    /// Whether the next call of [`Committer::write`] or [`Committer::tend`] will make a segment.
    pub(crate) fn needs_segment(&self, waiting: &VecDeque<(Array, T)>, moment: &Moment) -> bool {
        let is_too_long = |(array, _): &(Array, T)| array.bytes_max() as u64 > self.segments.room();
        let is_due = self.trouble.is_some() || self.is_old(moment) || waiting.front().is_some_and(is_too_long);
        is_due && !self.is_under_way()
    }

    /// Takes arrays, which are looked up, from the front of `waiting` and writes them as one group. What it leaves there
    /// goes into another, some of it only after a sync. If nothing is under way, it takes at least one.
    pub(crate) fn write(&mut self, waiting: &mut VecDeque<(Array, T)>, moment: &Moment) {
        if waiting.is_empty() || self.written.bytes >= GROUP_BYTES {
            return;
        }
        match self.make_ready(moment) {
            Ready::Now => {}
            Ready::AfterSync => return,
            Ready::Not(error) => {
                let refused = waiting.drain(..).map(|(_, ticket)| (ticket, Err(error.clone())));
                return self.written.answers.extend(refused);
            }
        }
        if self.written.is_empty() {
            self.written.begun = moment.monotonic;
        }
        let mut group = self.groups.pop().unwrap_or_default();
        let begun = self.written.answers.len();
        let mut no_space = None;
        // From now on, these are looked for in the index files.
        self.sequencer.idempotence.forget(self.lookup.forgettable());
        while let Some((array, _)) = waiting.front() {
            debug_assert!(array.hold.is_some() || !array.has_publications(), "who brings an array has looked it up");
            let answer = match self.sequencer.plan(array, moment, &self.visibility) {
                Plan::Repeated(ids) => {
                    self.sequencer.note_repeated(ids.len());
                    Ok(ids)
                }
                Plan::Refused(error) => Err(error),
                Plan::Append(planned) => match self.make_room(array, &group, begun, &mut no_space, moment) {
                    Room::Here => Ok(self.sequencer.assign(array, &planned, moment, |draft, sequence, id| {
                        group.push(draft, sequence, id, moment);
                    })),
                    Room::Later => break,
                    Room::Nowhere(error) => Err(error),
                },
            };
            self.written.answers.extend(waiting.pop_front().map(|(_, ticket)| (ticket, answer)));
            if self.trouble.is_some() || self.written.bytes + group.body_bytes() >= GROUP_BYTES {
                break;
            }
        }
        if group.is_empty() {
            return self.keep(group);
        }
        match self.segments.write(&mut group) {
            Ok(()) => {
                self.written.bytes += group.body_bytes();
                self.written.groups.push(group);
            }
            Err(error) => {
                let End { sequence, id, .. } = *self.segments.written();
                self.failed.extend(self.written.take_dependent(begun, id));
                self.sequencer.go_back_to(sequence, id);
                self.get_into_trouble(&error, Duration::ZERO);
                self.failure = error.to_string();
                self.keep(group);
            }
        }
    }

    /// Takes what is written, to be synced now. None while another sync runs, and if there is nothing to finish.
    pub(crate) fn begin_sync(&mut self) -> Option<Sync<D::File>> {
        if self.syncing.is_some() || !self.has_written() {
            return None;
        }
        let batch = std::mem::take(&mut self.written);
        let is_needed = !batch.groups.is_empty() && self.segments.durability() == Durability::Commit;
        self.syncing = Some(batch);
        Some(Sync { segment: is_needed.then(|| Arc::clone(self.segments.active())) })
    }

    /// Shows what was synced; or gives up all that is under way, and ends the segment before it.
    pub(crate) fn finish(&mut self, synced: io::Result<()>, moment: &Moment) -> Finished<T> {
        let Batch { groups, mut answers, begun, .. } = match (self.syncing.take(), &synced) {
            (None, _) => Batch::default(),
            (Some(batch), Ok(())) => batch,
            (Some(mut batch), Err(error)) => {
                self.segments.failed_syncs += 1;
                self.failure = error.to_string();
                self.get_into_trouble(error, Duration::ZERO);
                self.give_up(&mut batch);
                batch
            }
        };
        if !groups.is_empty() {
            self.segments.show(&groups);
        }
        if self.trouble.is_some() && self.written.groups.is_empty() {
            self.segments.abandon();
            self.seal(moment);
            let answer = match self.trouble {
                None => AppendError::NotWritten { reason: std::mem::take(&mut self.failure) },
                Some(_) => AppendError::Unknown,
            };
            answers.extend(self.failed.drain(..).map(|ticket| (ticket, Err(answer.clone()))));
        }
        Finished { groups, answers, begun }
    }

    /// Takes back groups that were shown, for their room.
    pub(crate) fn take_back(&mut self, groups: Vec<Group>) {
        groups.into_iter().for_each(|group| self.keep(group));
    }

    /// Does what is due though nobody publishes: tries again to make a segment, and ends one of which all is too old.
    pub(crate) fn tend(&mut self, moment: &Moment) {
        if self.is_under_way() {
            return;
        }
        self.seal(moment);
        let is_over = self.segments.ages().is_some_and(|(first_ms, newest_ms)| {
            let age_ms = |of_ms| moment.retention_ms.saturating_sub(of_ms);
            age_ms(newest_ms) > self.retention_age_ms.load(Ordering::Relaxed) && age_ms(first_ms) > RENEW_AGE_MIN_MS
        });
        if self.trouble.is_none() && is_over {
            self.renew(moment);
        }
    }

    /// Writes one group, syncs it, and shows it: what the threads do, one step after the other. What is left waits.
    #[cfg(test)]
    pub(crate) fn commit(&mut self, waiting: &mut VecDeque<(Array, T)>, moment: &Moment) -> Vec<(T, Answer)> {
        for (array, _) in waiting.iter_mut().filter(|(array, _)| array.hold.is_none()) {
            self.lookup.look_up(array).expect("looked up");
        }
        self.write(waiting, moment);
        let Some(sync) = self.begin_sync() else { return Vec::new() };
        self.finish(sync.run(), moment).answers
    }

    /// Makes durable what is not. Whether all is well, and nothing may be found at the next start that was not shown.
    pub(crate) fn close(&mut self) -> bool {
        self.trouble.is_none() && !self.is_under_way() && self.segments.make_durable().is_ok()
    }

    /// Takes back a batch whose sync failed, and what was written behind it.
    fn give_up(&mut self, batch: &mut Batch<T>) {
        let End { sequence, id, .. } = *self.segments.shown();
        let mut failed = Vec::new();
        for batch in [batch, &mut self.written] {
            failed.extend(batch.take_dependent(0, id));
            batch.groups.clear();
            batch.bytes = 0;
        }
        // What failed while it was being written came behind both.
        failed.append(&mut self.failed);
        self.failed = failed;
        self.sequencer.go_back_to(sequence, id);
    }

    /// Whether a group can be written.
    fn make_ready(&mut self, moment: &Moment) -> Ready {
        if (self.trouble.is_some() || self.is_old(moment)) && self.is_under_way() {
            return Ready::AfterSync;
        }
        self.seal(moment);
        if self.trouble.is_none() && self.is_old(moment) {
            self.renew(moment);
        }
        self.refusal().map_or(Ready::Now, |refusal| Ready::Not(refusal.clone()))
    }

    /// If the active segment may not be written any more, tries to go on in another, unless it was tried just now.
    fn seal(&mut self, moment: &Moment) {
        if self.trouble.as_ref().is_none_or(|trouble| trouble.retry_at > moment.monotonic) {
            return;
        }
        match self.segments.roll() {
            Ok(()) => {
                self.trouble = None;
                self.seals += 1;
            }
            Err(error) => self.get_into_trouble(&error.into_source(), moment.monotonic + RETRY_EVERY),
        }
    }

    /// Whether the first record of the active segment is so old that another is to be begun.
    fn is_old(&self, moment: &Moment) -> bool {
        let first_ms = self.segments.ages().map(|(first_ms, _)| first_ms);
        let age_ms = first_ms.map_or(0, |first_ms| moment.retention_ms.saturating_sub(first_ms));
        let age_max_ms = RENEW_AGE_MIN_MS.max(self.retention_age_ms.load(Ordering::Relaxed) / RETENTION_PARTS);
        age_ms > age_max_ms && moment.monotonic >= self.renew_at
    }

    /// Goes on in a new segment, though there is room. If there is none for another, that comes later.
    fn renew(&mut self, moment: &Moment) {
        match self.segments.roll() {
            Ok(()) => {}
            Err(RollError::NotMade(_)) => self.renew_at = moment.monotonic + RETRY_EVERY,
            Err(RollError::Uncertain(error)) => self.get_into_trouble(&error, moment.monotonic + RETRY_EVERY),
        }
    }

    fn make_room(
        &mut self,
        array: &Array,
        group: &Group,
        begun: usize,
        no_space: &mut Option<AppendError>,
        moment: &Moment,
    ) -> Room {
        let bytes = array.bytes_max() as u64;
        if group.body_bytes() as u64 + bytes <= self.segments.room() {
            return Room::Here;
        }
        if bytes > self.segments.room_max() {
            return Room::Nowhere(too_large(array, self.segments.room_max()));
        }
        // The disk does not grow while arrays wait: one try for all of them.
        if let Some(error) = no_space {
            return Room::Nowhere(error.clone());
        }
        // Only the first array of a group begins a segment: for that one the file made ahead was fetched
        // (`needs_segment`). All before it is durable by then.
        if self.written.answers.len() > begun || !group.is_empty() || self.is_under_way() {
            return Room::Later;
        }
        match self.segments.roll() {
            Ok(()) => Room::Here,
            Err(RollError::NotMade(error)) => {
                let reason = error.to_string();
                let error = no_space_or(&error, AppendError::NoSegment { reason });
                *no_space = Some(error.clone());
                Room::Nowhere(error)
            }
            Err(RollError::Uncertain(error)) => {
                self.get_into_trouble(&error, moment.monotonic + RETRY_EVERY);
                Room::Nowhere(no_space_or(&error, AppendError::Failed { reason: error.to_string() }))
            }
        }
    }

    /// Nothing is written to the active segment from now on.
    fn get_into_trouble(&mut self, error: &io::Error, retry_at: Duration) {
        // One that has failed for good stays so.
        if self.trouble.as_ref().is_none_or(|trouble| trouble.retry_at < Duration::MAX) {
            let refusal = no_space_or(error, AppendError::Failed { reason: error.to_string() });
            self.trouble = Some(Trouble { refusal, retry_at });
        }
    }

    fn keep(&mut self, mut group: Group) {
        if self.groups.len() < GROUPS_KEPT {
            group.clear();
            self.groups.push(group);
        }
    }
}

/// Whether a group can be written.
enum Ready {
    Now,
    /// What is under way comes first.
    AfterSync,
    Not(AppendError),
}

enum Room {
    Here,
    /// In another group.
    Later,
    Nowhere(AppendError),
}

/// What publishers are told when the disk has no room, or takes nothing; else `other`.
fn no_space_or(error: &io::Error, other: AppendError) -> AppendError {
    if lacks_room(error) { AppendError::NoSpace } else { other }
}

/// Says what could not be read back at the start.
pub(super) fn unreadable(error: ReadError) -> OpenError {
    match error {
        ReadError::Io(source) => OpenError::Io { what: "read the newest segments", source },
    }
}

/// Refuses an array that fits in no segment, before it waits.
pub(crate) fn check_size(array: &Array, segment_bytes: u64) -> Result<(), AppendError> {
    let room_max = room_max(segment_bytes);
    if array.bytes_max() as u64 > room_max { Err(too_large(array, room_max)) } else { Ok(()) }
}

fn too_large(array: &Array, room_max: u64) -> AppendError {
    AppendError::TooLarge { bytes: array.bytes_max(), bytes_max: usize::try_from(room_max).unwrap_or(usize::MAX) }
}

/// Reads back what was published in the last segment, as far as it lies in the window.
fn remember<F: DiskFile>(
    shelf: &Shelf<F>,
    window_ms: u64,
    fingerprints: &Fingerprints,
    visibility: &Visibility,
    now_ms: u64,
) -> Result<Idempotence, ReadError> {
    let mut idempotence = Idempotence::new(window_ms, usize::MAX);
    let Some(last) = shelf.segments().pop() else { return Ok(idempotence) };
    let mut cursor = FileCursor::of_segment(shelf, last, Wanted::All);
    while let Some(head) = cursor.next_head()? {
        // What was erased is published anew, and cannot be read any more.
        let is_erased = visibility.has_erased(head.id, head.topics());
        if head.publisher_id.is_some()
            && idempotence.is_live(head.retention_ms, now_ms)
            && !is_erased
            && let Some(record) = cursor.record()?
            && let Some(fingerprint) = fingerprints.of_record(&record)
        {
            idempotence.insert(fingerprint, record.id, record.retention_ms());
        }
    }
    Ok(idempotence)
}
