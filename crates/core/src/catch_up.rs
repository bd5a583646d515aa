use std::ops::ControlFlow;
use std::sync::Arc;

use tidewire_log::{EventLog, Filter, Forgets, HubId, Met, Position, ReadError};

use crate::frames::VISIT_BYTES_MAX;
use crate::{Frames, GapReason, SlotKey};

/// How many bytes of the log one read looks at, at most, before others have their turn.
const SCAN_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A stream's first read from the log ends once it has so many bytes of frames; each read after it may have twice as
/// many, up to a whole visit. Where the disk is slow and matches lie far apart, the first event need not wait for what
/// follows.
const FIRST_BYTES: usize = 1024;

/// How many bytes of frames end a read before which there were `reads` others of the same stream.
fn bytes_wanted(reads: u8) -> usize {
    // Six times twice as many is a visit.
    (FIRST_BYTES << reads.min(6)).min(VISIT_BYTES_MAX)
}

/// A read from the log that a subscriber older than the tail needs. It may wait for the disk.
#[derive(Debug)]
pub struct CatchUp {
    pub(crate) key: SlotKey,
    pub(crate) filter: Arc<Filter>,
    pub(crate) place: HubId,
    pub(crate) offset: u32,
    /// How many reads this stream had before, up to 255.
    pub(crate) reads: u8,
    pub(crate) forgets: Forgets,
}

/// What such a read found.
#[derive(Debug)]
pub struct CatchUpRead {
    pub(crate) key: SlotKey,
    pub(crate) frames: Frames,
    /// Why something that matches, and lies before the frames, is not among them. Then there are none.
    pub(crate) hidden: Option<GapReason>,
    /// The place up to which the log was looked at.
    pub(crate) looked_at: HubId,
    pub(crate) low_water: HubId,
    /// How often the tail had forgotten when the read began: what is erased while it waits for its turn is hidden from it.
    pub(crate) forgets: u64,
    /// The frame that the subscriber has half of is gone.
    pub(crate) is_torn: bool,
}

impl CatchUp {
    /// Who needs it.
    #[must_use]
    pub fn key(&self) -> SlotKey {
        self.key
    }

    /// How many reads its stream had before, up to 255.
    #[must_use]
    pub fn reads_before(&self) -> u8 {
        self.reads
    }

    /// Reads at most one visit's bytes, fewer at first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read(&self, log: &dyn EventLog) -> Result<CatchUpRead, ReadError> {
        let forgets = self.forgets.count();
        let mut frames = Frames::default();
        let bytes_wanted = bytes_wanted(self.reads);
        let mut more = true;
        if self.offset > 0 {
            let found = log.event(self.place, &mut |record| {
                more = frames.push(Position::default(), record.id, record.frame, self.offset as usize);
            })?;
            if !found {
                return Ok(CatchUpRead { is_torn: true, ..self.answer(forgets, frames, self.place, log.low_water()) });
            }
        }
        if !more {
            return Ok(self.answer(forgets, frames, self.place, log.low_water()));
        }
        // What is hidden is told once all before it is written, and before anything behind it.
        let mut hidden: Option<(GapReason, HubId)> = None;
        let mut ends_before = false;
        let end = log.read(self.place, &self.filter, SCAN_BYTES_MAX, &mut |met| {
            let goes_on = match met {
                Met::Record(record) => {
                    ends_before = hidden.is_some();
                    let takes_more = !ends_before && frames.push(Position::default(), record.id, record.frame, 0);
                    takes_more && frames.bytes().len() < bytes_wanted
                }
                Met::Hidden { place, why } => {
                    let reason = GapReason::from(why);
                    ends_before = !frames.is_empty() || hidden.is_some_and(|(told, _)| told != reason);
                    if !ends_before {
                        hidden = Some((reason, place));
                    }
                    !ends_before
                }
            };
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if let Some((reason, place)) = hidden {
            let looked_at = if ends_before { place } else { end.looked_at };
            return Ok(CatchUpRead { hidden: Some(reason), ..self.answer(forgets, frames, looked_at, end.low_water) });
        }
        if self.offset > 0 && end.low_water > self.place {
            // Something that follows the frame may be gone, which cannot be told inside of it.
            frames.keep_first();
        }
        Ok(self.answer(forgets, frames, end.looked_at, end.low_water))
    }

    fn answer(&self, forgets: u64, frames: Frames, looked_at: HubId, low_water: HubId) -> CatchUpRead {
        CatchUpRead { key: self.key, frames, hidden: None, looked_at, low_water, forgets, is_torn: false }
    }
}

impl CatchUpRead {
    /// Who needed it.
    #[must_use]
    pub fn key(&self) -> SlotKey {
        self.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_from_a_little_to_a_visit() {
        let wanted: Vec<usize> = (0..8).map(bytes_wanted).collect();
        assert_eq!(wanted, [1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 64 << 10]);
        assert_eq!(bytes_wanted(u8::MAX), VISIT_BYTES_MAX);
    }
}
