use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::cursor::FileCursor;
use super::disk::Disk;
use super::group::Group;
use super::recovery::OpenError;
use super::segments::{RollError, Segments, room_max};
use super::shelf::Shelf;
use crate::cursor::RecordCursor;
use crate::idempotence::{Fingerprints, Idempotence};
use crate::sequencer::{Array, Plan, Sequencer};
use crate::times::Moment;
use crate::{AppendError, HubId, ReadError, RecordView};

/// A group is closed once it is this long, in bytes.
const GROUP_BYTES: usize = 1 << 20;

/// The fate of an array.
pub(crate) type Answer = Result<Vec<HubId>, AppendError>;

/// Sequences, writes and syncs, one group at a time: the file log without its thread.
/// Time is passed in.
pub(crate) struct Committer<D: Disk> {
    segments: Segments<D>,
    sequencer: Sequencer,
    group: Group,
    failed: Option<String>,
}

/// What is remembered of what was published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) window_ms: u64,
    pub(crate) entries_max: usize,
}

impl<D: Disk> Committer<D> {
    /// Goes on in segments that are in order.
    ///
    /// # Errors
    /// When what was published in the window cannot be read back.
    pub(crate) fn open(
        segments: Segments<D>,
        window: Window,
        fingerprints: &Fingerprints,
        retention_ms: u64,
    ) -> Result<Committer<D>, OpenError> {
        let idempotence =
            remember(segments.shelf(), window, fingerprints, retention_ms).map_err(|error| match error {
                ReadError::Io(source) => OpenError::Io { what: "read the idempotence window", source },
                ReadError::Damaged { file, position } => {
                    OpenError::Damaged { file, position, what: "a record does not hold what was written" }
                }
            })?;
        let sequencer = Sequencer::new(segments.last_sequence(), segments.shelf().head(), idempotence);
        Ok(Committer { segments, sequencer, group: Group::default(), failed: None })
    }

    pub(crate) fn shelf(&self) -> &Arc<Shelf<D::File>> {
        self.segments.shelf()
    }

    pub(crate) fn segments(&mut self) -> &mut Segments<D> {
        &mut self.segments
    }

    /// Whether an array will need another segment, if it is appended.
    pub(crate) fn needs_segment(&self, array: &Array) -> bool {
        array.bytes_max() as u64 > self.segments.room()
    }

    pub(crate) fn sequencer(&self) -> &Sequencer {
        &self.sequencer
    }

    /// Why nothing can be written any more.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Writes nothing any more.
    pub(crate) fn fail(&mut self, reason: String) {
        self.failed.get_or_insert(reason);
    }

    /// Takes arrays from the front of `waiting` and commits them as one group. Returns the fate of
    /// those it took, with the tickets they came with; what it left goes into the next group.
    /// It takes at least one, if there is one.
    pub(crate) fn commit<T>(&mut self, waiting: &mut VecDeque<(Array, T)>, moment: &Moment) -> Vec<(T, Answer)> {
        self.group.clear();
        let durable = self.segments.shelf().head();
        let mut answers = Vec::new();
        let mut no_space = None;
        while let Some((array, _)) = waiting.front() {
            if let Some(reason) = &self.failed {
                let answer = Err(AppendError::Failed { reason: reason.clone() });
                answers.extend(waiting.pop_front().map(|(_, ticket)| (ticket, answer)));
                continue;
            }
            let answer = match self.sequencer.plan(array, moment) {
                Plan::Repeated(ids) => {
                    self.sequencer.note_repeated(ids.len());
                    Ok(ids)
                }
                Plan::Refused(error) => Err(error),
                Plan::Append(planned) => match self.make_room(array, answers.len(), &mut no_space) {
                    Room::Here => {
                        let group = &mut self.group;
                        Ok(self.sequencer.assign(array, &planned, moment, |draft, sequence, id| {
                            group.push(draft, sequence, id, moment);
                        }))
                    }
                    Room::InTheNextGroup => break,
                    Room::Nowhere(error) => Err(error),
                },
            };
            answers.extend(waiting.pop_front().map(|(_, ticket)| (ticket, answer)));
            if self.group.body_bytes() >= GROUP_BYTES {
                break;
            }
        }
        if !self.group.is_empty()
            && let Err(error) = self.segments.write(&mut self.group)
        {
            self.failed = Some(error.to_string());
            self.group.clear();
            for (_, answer) in &mut answers {
                if depends_on_more_than(durable, answer) {
                    *answer = Err(AppendError::Unknown);
                }
            }
        }
        answers
    }

    /// The records that the last call of [`Committer::commit`] made durable.
    pub(crate) fn committed(&self) -> Vec<RecordView<'_>> {
        self.group.records()
    }

    fn make_room(&mut self, array: &Array, taken: usize, no_space: &mut Option<AppendError>) -> Room {
        let bytes = array.bytes_max() as u64;
        let used = self.group.body_bytes() as u64;
        if used + bytes <= self.segments.room() {
            return Room::Here;
        }
        if used > 0 {
            return Room::InTheNextGroup;
        }
        if bytes > self.segments.room_max() {
            return Room::Nowhere(too_large(array, self.segments.room_max()));
        }
        // The disk does not grow while arrays wait: one try for all of them.
        if let Some(error) = no_space {
            return Room::Nowhere(error.clone());
        }
        // The caller looks only at the first array that waits (`needs_segment`) to fetch the file made ahead.
        // To make one here while that one is being made would be to share it.
        if taken > 0 {
            return Room::InTheNextGroup;
        }
        match self.segments.roll() {
            Ok(()) => Room::Here,
            Err(RollError::NotMade(error)) => {
                let error = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::NoSpace,
                    _ => AppendError::NoSegment { reason: error.to_string() },
                };
                *no_space = Some(error.clone());
                Room::Nowhere(error)
            }
            Err(RollError::Uncertain(error)) => {
                let reason = error.to_string();
                self.failed = Some(reason.clone());
                Room::Nowhere(AppendError::Failed { reason })
            }
        }
    }
}

enum Room {
    Here,
    InTheNextGroup,
    Nowhere(AppendError),
}

/// Refuses an array that fits in no segment, before it waits.
pub(crate) fn check_size(array: &Array, segment_bytes: u64) -> Result<(), AppendError> {
    let room_max = room_max(segment_bytes);
    if array.bytes_max() as u64 > room_max { Err(too_large(array, room_max)) } else { Ok(()) }
}

fn too_large(array: &Array, room_max: u64) -> AppendError {
    AppendError::TooLarge { bytes: array.bytes_max(), bytes_max: usize::try_from(room_max).unwrap_or(usize::MAX) }
}

/// Whether an answer tells of something after the place `durable`.
fn depends_on_more_than(durable: HubId, answer: &Answer) -> bool {
    match answer {
        Ok(ids) => ids.iter().any(|&id| id > durable),
        Err(AppendError::IdConflict { first, .. }) => *first > durable,
        Err(_) => false,
    }
}

/// Reads back what was published in the window, from as many segments as hold it.
fn remember<F: super::disk::DiskFile>(
    shelf: &Shelf<F>,
    window: Window,
    fingerprints: &Fingerprints,
    now_ms: u64,
) -> Result<Idempotence, ReadError> {
    let mut idempotence = Idempotence::new(window.window_ms, window.entries_max);
    let mut newest_first = Vec::new();
    let mut entries = 0;
    for segment in shelf.segments().into_iter().rev() {
        let last_before = segment.header.before.retention_ms;
        let mut found = Vec::new();
        let mut cursor = FileCursor::of_segment(shelf, segment);
        while let Some(head) = cursor.advance()? {
            if head.publisher_id.is_some() && idempotence.is_live(head.retention_ms, now_ms) {
                let record = cursor.record()?;
                found.extend(fingerprints.of_record(&record).map(|print| (print, record.id, record.retention_ms())));
            }
        }
        entries += found.len();
        newest_first.push(found);
        if entries >= window.entries_max || !idempotence.is_live(last_before, now_ms) {
            break;
        }
    }
    for (fingerprint, id, time_ms) in newest_first.into_iter().rev().flatten() {
        idempotence.insert(fingerprint, id, time_ms);
    }
    idempotence.evictions = 0;
    Ok(idempotence)
}
