use tidewire_log::{Filter, Position, TailReader};

use crate::Frames;
use crate::slot::{Progress, Slot};

/// The positions owed by one group, used again while a subscriber stands inside the range.
#[derive(Default)]
pub(crate) struct Listed {
    group: Option<u32>,
    from: Position,
    to: Position,
    positions: Vec<Position>,
}

/// What came of listing what a subscriber is owed.
pub(crate) enum Filled {
    /// The frames hold it, as far as one visit goes.
    Frames,
    /// What the subscriber needs next has left the tail.
    Older,
}

impl Listed {
    /// Adds what a subscriber is owed up to `to`, as far as one visit goes.
    pub(crate) fn fill<T>(
        &mut self,
        frames: &mut Frames,
        slot: &Slot<T>,
        filter: &Filter,
        to: Position,
        reader: &TailReader<'_>,
    ) -> Filled {
        let Progress { at, offset, .. } = slot.progress;
        if offset > 0 {
            let Some(record) = reader.record(at) else { return Filled::Older };
            if !frames.push(at, record.id, record.frame, offset as usize) {
                return Filled::Frames;
            }
        } else if at < reader.before().0 {
            return Filled::Older;
        }
        let mut add = |position| {
            let record = reader.record(position).expect("`at` is in the tail, so what follows it is");
            frames.push(position, record.id, record.frame, 0)
        };
        if filter.topics.is_any() {
            let admitted = |p: &Position| reader.record(*p).is_some_and(|record| record.is_admitted_by(filter));
            let _full = (at.0 + 1..=to.0).map(Position).filter(admitted).all(&mut add);
        } else {
            let _full = self.list(slot.group, filter, at, to, reader).iter().all(|&position| add(position));
        }
        Filled::Frames
    }

    /// Forgets whose list it is: its group was dropped, and another may bear its number.
    pub(crate) fn forget(&mut self) {
        self.group = None;
    }

    /// The positions in `(from, to]` that the group is owed.
    fn list(
        &mut self,
        group: u32,
        filter: &Filter,
        from: Position,
        to: Position,
        reader: &TailReader<'_>,
    ) -> &[Position] {
        if self.group != Some(group) || from < self.from || to < self.to {
            self.positions.clear();
            (self.group, self.from, self.to) = (Some(group), from, from);
        }
        if to > self.to {
            reader.matches(filter, self.to, to, &mut self.positions);
            self.to = to;
        }
        let first = self.positions.partition_point(|&position| position <= from);
        &self.positions[first..]
    }
}
