//! What is done for subscribers to whom nothing is written: heartbeats, and an end for those who take
//! nothing.

use crate::slot::{Own, Progress, Source};
use crate::{Shard, SlotKey, own_events};

/// How late a look may come and the promise still hold, in milliseconds.
const LATE_MS_MAX: u64 = 200;

/// What a shard holds its subscribers to, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest silence on a stream.
    pub heartbeat_ms: u64,
    /// The longest time that a subscriber may take nothing while something is owed.
    pub stall_ms: u64,
}

impl Limits {
    /// Into how many slices to cut the subscribers, if every `tick_ms` milliseconds one is looked at, so
    /// that no stream is silent for longer than `heartbeat_ms`: whoever was silent for a little less than
    /// half of it at one look must be looked at again within the other half, though that look come late.
    #[must_use]
    pub fn slices(&self, tick_ms: u64) -> u32 {
        let between_looks_ms = (self.heartbeat_ms / 2).saturating_sub(LATE_MS_MAX);
        u32::try_from(between_looks_ms / tick_ms.max(1)).unwrap_or(u32::MAX).max(1)
    }
}

/// What a look at a silent subscriber asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Visit it: it has been silent and was given something to say.
    Visit(SlotKey),
    /// Close it: it took nothing for `stall_ms`.
    Stalled(SlotKey),
}

impl<T> Shard<T> {
    /// Looks at the slots of slice `slice` of `slices`: whoever was silent for half the heartbeat
    /// is given a checkpoint if its place has moved, else a comment.
    pub fn look(&mut self, slice: u32, slices: u32, now_ms: u64, out: &mut Vec<Heartbeat>) {
        for index in (slice..self.slots.capacity()).step_by(slices as usize) {
            let Some(key) = self.slots.key_at(index) else { continue };
            let matched_place = self.matched_place;
            let slot = self.slots.at_mut(index);
            let silent_ms = now_ms.saturating_sub(slot.wrote_ms);
            if slot.is_blocked {
                if silent_ms >= self.limits.stall_ms {
                    out.push(Heartbeat::Stalled(key));
                }
            } else if silent_ms >= self.limits.heartbeat_ms / 2 && slot.is_between_frames() {
                let owes = slot.source == Source::Tail && slot.progress.at < self.groups.at(slot.group).last_match;
                if slot.source == Source::Tail && !owes && matched_place > slot.progress.place {
                    slot.progress =
                        Progress { at: slot.progress.at.max(self.matched), place: matched_place, offset: 0 };
                    slot.is_untold = true;
                }
                let mut bytes = Vec::new();
                if slot.is_untold {
                    own_events::checkpoint(&mut bytes, slot.progress.place);
                } else {
                    bytes.extend_from_slice(own_events::COMMENT_CHUNK);
                }
                slot.is_untold = false;
                slot.told = None;
                slot.own = Some(Box::new(Own { bytes, written: 0 }));
                out.push(Heartbeat::Visit(key));
            }
        }
    }
}
