//! Transports that take bytes before the system does: what they hold is theirs to send, and the subscriber's positions
//! are past it already.

use crate::{Shard, SlotKey};

impl<T> Shard<T> {
    /// Notes that a subscriber's transport took all that it was given, and still holds some of it: nothing more is
    /// written, and the stream is not settled, until it says that it is writable ([`Shard::writable`]).
    pub fn hold(&mut self, key: SlotKey) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.is_blocked = true;
        }
    }

    /// Notes that some of what a subscriber's transport holds has gone out: its client is not one that takes nothing.
    pub fn progressed(&mut self, key: SlotKey, now_ms: u64) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.wrote_ms = now_ms;
        }
    }
}
