use tidewire_log::{Filter, LOOK_RECORDS_MAX, Listing, Position, TailReader};

use crate::Frames;
use crate::group::Group;
use crate::slot::{Progress, Slot};

/// How many positions are kept for others of the group; with more, the list begins anew.
const LISTED_MAX: usize = 16 * 1024;

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
    /// Nothing is owed up to here, and enough was looked at.
    Cut(Position),
    /// What the subscriber needs next has left the tail.
    Older,
}

impl Listed {
    /// Adds what a subscriber is owed up to `to`, as far as one visit goes.
    pub(crate) fn fill<T>(
        &mut self,
        frames: &mut Frames,
        slot: &Slot<T>,
        group: &Group,
        to: Position,
        reader: &TailReader<'_>,
    ) -> Filled {
        let Progress { at, place, offset } = slot.progress;
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
            // A place may lie ahead of the tail, whose records below it the reader has.
            record.id <= place || frames.push(position, record.id, record.frame, 0)
        };
        let filter = &*group.filter;
        if let Some(positions) = group.noted_after(at) {
            let _full = positions.iter().take_while(|position| **position <= to).all(|&position| add(position));
            return Filled::Frames;
        }
        let look_records = filter.look_records(LOOK_RECORDS_MAX);
        // How much lies between says what it costs, unless it is known what lies on each topic.
        let mut is_cut = !filter.topics.is_exact() && to.0 - at.0.min(to.0) > look_records;
        let mut to = if is_cut { Position(at.0 + look_records) } else { to };
        if filter.topics.is_any() {
            let admitted = |p: &Position| reader.record(*p).is_some_and(|record| record.is_admitted_by(filter));
            let _full = (at.0 + 1..=to.0).map(Position).filter(admitted).all(&mut add);
        } else {
            let (mut from, mut cost) = (at, 0);
            while from < to {
                if cost >= LOOK_RECORDS_MAX {
                    (is_cut, to) = (true, from);
                    break;
                }
                let (positions, listed) = self.list(slot.group, filter, from, to, reader);
                if !positions.iter().all(|&position| add(position)) {
                    break;
                }
                (from, cost) = (listed.to, cost + listed.cost);
            }
        }
        if is_cut && frames.is_empty() { Filled::Cut(to) } else { Filled::Frames }
    }

    /// Forgets whose list it is: its group was dropped, and another may bear its number.
    pub(crate) fn forget(&mut self) {
        self.group = None;
    }

    /// The positions after `from` that the group is owed, and how far they are listed: up to `to` or, where much is
    /// owed, less.
    fn list(
        &mut self,
        group: u32,
        filter: &Filter,
        from: Position,
        to: Position,
        reader: &TailReader<'_>,
    ) -> (&[Position], Listing) {
        let is_other = self.group != Some(group) || from < self.from || from > self.to || to < self.to;
        if is_other || self.positions.len() > LISTED_MAX {
            self.positions.clear();
            (self.group, self.from, self.to) = (Some(group), from, from);
        }
        let mut listed = Listing { to: self.to, cost: 0 };
        if self.to == from {
            listed = reader.matches(filter, from, to, &mut self.positions);
            self.to = listed.to;
        }
        let first = self.positions.partition_point(|&position| position <= from);
        (&self.positions[first..], listed)
    }
}
