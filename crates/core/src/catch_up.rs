use std::ops::ControlFlow;
use std::sync::Arc;

use tidewire_log::{EventLog, Filter, HubId, Met, Position, ReadError};

use crate::{Frames, GapReason, SlotKey};

/// How many bytes of the log one read looks at, at most, before others have their turn.
const SCAN_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A read from the log that a subscriber older than the tail needs. It may wait for the disk.
#[derive(Debug)]
pub struct CatchUp {
    pub(crate) key: SlotKey,
    pub(crate) filter: Arc<Filter>,
    pub(crate) place: HubId,
    pub(crate) offset: u32,
    /// How often the tail had forgotten when this was asked for.
    pub(crate) forgets: u64,
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
    /// How often the tail had forgotten when it was asked for.
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

    /// Reads at most one visit's bytes.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn read(&self, log: &dyn EventLog) -> Result<CatchUpRead, ReadError> {
        let mut frames = Frames::default();
        let mut more = true;
        if self.offset > 0 {
            let found = log.event(self.place, &mut |record| {
                more = frames.push(Position::default(), record.id, record.frame, self.offset as usize);
            })?;
            if !found {
                return Ok(CatchUpRead { is_torn: true, ..self.answer(frames, self.place, log.low_water()) });
            }
        }
        if !more {
            return Ok(self.answer(frames, self.place, log.low_water()));
        }
        // What is hidden is told once all before it is written, and before anything behind it.
        let mut hidden: Option<(GapReason, HubId)> = None;
        let mut ends_before = false;
        let end = log.read(self.place, &self.filter, SCAN_BYTES_MAX, &mut |met| {
            let goes_on = match met {
                Met::Record(record) => {
                    ends_before = hidden.is_some();
                    !ends_before && frames.push(Position::default(), record.id, record.frame, 0)
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
            return Ok(CatchUpRead { hidden: Some(reason), ..self.answer(frames, looked_at, end.low_water) });
        }
        if self.offset > 0 && end.low_water > self.place {
            // Something that follows the frame may be gone, which cannot be told inside of it.
            frames.keep_first();
        }
        Ok(self.answer(frames, end.looked_at, end.low_water))
    }

    fn answer(&self, frames: Frames, looked_at: HubId, low_water: HubId) -> CatchUpRead {
        CatchUpRead { key: self.key, frames, hidden: None, looked_at, low_water, forgets: self.forgets, is_torn: false }
    }
}

impl CatchUpRead {
    /// Who needed it.
    #[must_use]
    pub fn key(&self) -> SlotKey {
        self.key
    }
}
