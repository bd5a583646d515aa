use std::num::NonZeroU32;

use tidewire_log::{HubId, Position};

use crate::GapReason;
use crate::blocks::Blocks;

/// Names a subscriber of one shard; a key outlives its subscriber and then names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotKey {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl SlotKey {
    /// The key of the `generation`th subscriber of a slot.
    #[must_use]
    pub fn new(index: u32, generation: u32) -> SlotKey {
        SlotKey { index, generation }
    }

    /// How many subscribers the slot had before.
    #[must_use]
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// The slot's number, used again after the subscriber has left.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A number of which there may be none: both together take 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(NonZeroU32);

impl Number {
    pub(crate) fn of(number: u32) -> Number {
        Number(number.checked_add(1).and_then(NonZeroU32::new).expect("slots and what is shared by them are fewer"))
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get() - 1
    }
}

/// How far a subscriber has come. With `offset` 0 everything at or below is written whole; else
/// `at` and `place` name the frame of which `offset` bytes are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) at: Position,
    pub(crate) place: HubId,
    pub(crate) offset: u32,
}

/// From where a subscriber is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From the tail, by position.
    Tail,
    /// From the log, by place; the position means nothing.
    Log,
    /// From the log, and a read is under way.
    Reading,
}

/// The hub's own bytes that are not all written yet.
pub(crate) struct Own {
    pub(crate) bytes: Vec<u8>,
    pub(crate) written: usize,
}

/// A subscriber.
pub(crate) struct Slot<T> {
    pub(crate) transport: T,
    pub(crate) progress: Progress,
    pub(crate) own: Option<Box<Own>>,
    /// When bytes last went out, in milliseconds.
    pub(crate) wrote_ms: u64,
    /// When it joined, in seconds since the shard began.
    pub(crate) joined_s: u32,
    pub(crate) group: u32,
    pub(crate) next: Option<Number>,
    pub(crate) previous: Option<Number>,
    /// The number of its subject.
    pub(crate) subject: Option<Number>,
    pub(crate) source: Source,
    /// How many frames were written to it whole, up to what the number holds.
    pub(crate) deliveries: u32,
    /// How often the log was read for it, up to 255 times.
    pub(crate) reads: u8,
    /// The socket took less than it was given; wait until it is writable.
    pub(crate) is_blocked: bool,
    /// Stands in the queue of those who are owed more.
    pub(crate) is_lagging: bool,
    /// Is to end as soon as everything begun is finished.
    pub(crate) is_ending: bool,
    /// The place has moved without the client having been told.
    pub(crate) is_untold: bool,
    /// Why the last gap was told, if nothing was said since: what follows for the same reason is not told again.
    pub(crate) told: Option<GapReason>,
}

impl<T> Slot<T> {
    /// Whether everything begun is finished, so that other bytes may go out.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.progress.offset == 0 && self.own.is_none()
    }

    pub(crate) fn own_rest(&self) -> &[u8] {
        self.own.as_ref().map_or(&[], |own| &own.bytes[own.written..])
    }
}

struct Entry<T> {
    generation: u32,
    slot: Option<Slot<T>>,
}

/// The slots of a shard.
pub(crate) struct Slots<T> {
    entries: Blocks<Entry<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slots<T> {
    pub(crate) const SLOT_BYTES: usize = size_of::<Entry<T>>();

    pub(crate) fn new() -> Slots<T> {
        Slots { entries: Blocks::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many slots there are, taken or not.
    pub(crate) fn capacity(&self) -> u32 {
        self.entries.len()
    }

    pub(crate) fn insert(&mut self, slot: Slot<T>) -> SlotKey {
        if self.free.is_empty() {
            self.entries.grow(&mut self.free, || Entry { generation: 0, slot: None });
        }
        let index = self.free.pop().expect("a block was added if there was none");
        let entry = self.entries.get_mut(index).expect("what is free is there");
        entry.slot = Some(slot);
        self.len += 1;
        SlotKey { index, generation: entry.generation }
    }

    pub(crate) fn remove(&mut self, key: SlotKey) -> Option<Slot<T>> {
        let entry = self.entries.get_mut(key.index)?;
        if entry.generation != key.generation {
            return None;
        }
        let slot = entry.slot.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(slot)
    }

    pub(crate) fn get(&self, key: SlotKey) -> Option<&Slot<T>> {
        let entry = self.entries.get(key.index)?;
        entry.slot.as_ref().filter(|_| entry.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: SlotKey) -> Option<&mut Slot<T>> {
        let entry = self.entries.get_mut(key.index)?;
        let is_current = entry.generation == key.generation;
        entry.slot.as_mut().filter(|_| is_current)
    }

    /// The key of whoever has this slot now.
    pub(crate) fn key_at(&self, index: u32) -> Option<SlotKey> {
        let entry = self.entries.get(index)?;
        entry.slot.as_ref().map(|_| SlotKey { index, generation: entry.generation })
    }

    /// A slot known to be taken, since a list of the shard names it.
    pub(crate) fn at_mut(&mut self, index: u32) -> &mut Slot<T> {
        let entry = self.entries.get_mut(index).expect("lists name only slots that exist");
        entry.slot.as_mut().expect("a slot leaves every list before it is freed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::BLOCK_ENTRIES as BLOCK_SLOTS;

    fn slot(transport: u32) -> Slot<u32> {
        Slot {
            transport,
            progress: Progress { place: HubId::ZERO, ..Progress::default() },
            own: None,
            wrote_ms: 0,
            joined_s: 0,
            group: 0,
            next: None,
            previous: None,
            subject: None,
            source: Source::Tail,
            deliveries: 0,
            reads: 0,
            is_blocked: false,
            is_lagging: false,
            is_ending: false,
            is_untold: false,
            told: None,
        }
    }

    #[test]
    fn slots_never_move_and_are_used_again_under_another_key() {
        let mut slots = Slots::new();
        let number = |n: usize| u32::try_from(n).expect("small");
        let keys: Vec<SlotKey> = (0..BLOCK_SLOTS).map(|n| slots.insert(slot(number(n)))).collect();
        let addresses: Vec<*const Slot<u32>> =
            keys.iter().map(|&key| std::ptr::from_ref(slots.get(key).expect("it is there"))).collect();
        assert_eq!(slots.capacity(), number(BLOCK_SLOTS));
        for n in BLOCK_SLOTS..20 * BLOCK_SLOTS {
            slots.insert(slot(number(n)));
        }
        for (&key, &address) in keys.iter().zip(&addresses) {
            assert!(std::ptr::eq(slots.get(key).expect("it is there"), address));
        }
        assert_eq!(slots.remove(keys[7]).map(|slot| slot.transport), Some(7));
        assert!(slots.get(keys[7]).is_none() && slots.remove(keys[7]).is_none());
        let again = slots.insert(slot(1));
        assert_eq!((again.index, slots.len()), (keys[7].index, 20 * BLOCK_SLOTS));
        assert!(again != keys[7] && slots.get(keys[7]).is_none());
    }
}
