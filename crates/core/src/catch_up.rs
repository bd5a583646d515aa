use std::ops::ControlFlow;
use std::sync::Arc;

use tidewire_log::{EventLog, Filter, HubId, Position, ReadError};

use crate::{Frames, SlotKey};

/// How many bytes of the log one read looks at, at most, before others have their turn.
const SCAN_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A read from the log that a subscriber older than the tail needs. It may wait for the disk.
#[derive(Debug)]
pub struct CatchUp {
    pub(crate) key: SlotKey,
    pub(crate) filter: Arc<Filter>,
    pub(crate) place: HubId,
    pub(crate) offset: u32,
}

/// What such a read found.
#[derive(Debug)]
pub struct CatchUpRead {
    pub(crate) key: SlotKey,
    pub(crate) frames: Frames,
    /// The place up to which the log was looked at.
    pub(crate) looked_at: HubId,
    pub(crate) low_water: HubId,
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
                return Ok(self.answer(frames, self.place, log.low_water(), true));
            }
        }
        if !more {
            return Ok(self.answer(frames, self.place, log.low_water(), false));
        }
        let end = log.read(self.place, &self.filter, SCAN_BYTES_MAX, &mut |record| {
            if frames.push(Position::default(), record.id, record.frame, 0) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if self.offset > 0 && end.low_water > self.place {
            // Something that follows the frame may be gone, which cannot be told inside of it.
            frames.keep_first();
        }
        Ok(self.answer(frames, end.looked_at, end.low_water, false))
    }

    fn answer(&self, frames: Frames, looked_at: HubId, low_water: HubId, is_torn: bool) -> CatchUpRead {
        CatchUpRead { key: self.key, frames, looked_at, low_water, is_torn }
    }
}

impl CatchUpRead {
    /// Who needed it.
    #[must_use]
    pub fn key(&self) -> SlotKey {
        self.key
    }
}
