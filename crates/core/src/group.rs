use std::collections::VecDeque;
use std::sync::Arc;

use tidewire_log::{Filter, Position, TailRecord};
use tidewire_topic::{MatcherSet, TopicIndex};

use crate::grants::GrantSets;
use crate::numbered::{Keyed, Numbered};

/// Of how many matching records a group with patterns remembers the positions.
const NOTED_MAX: usize = 32;

/// Subscribers with equal filters: they are owed the same frames.
pub(crate) struct Group {
    pub(crate) filter: Arc<Filter>,
    /// The first of the list of members that runs through the slots.
    pub(crate) first: Option<u32>,
    pub(crate) len: u32,
    /// The newest record known to match; at first, where matching began. A member at or beyond it is
    /// owed nothing.
    pub(crate) last_match: Position,
    /// Nothing matched between these two: who stands in it stands at its end.
    quiet: (Position, Position),
    is_queued: bool,
    /// The number of its grants.
    grants: Option<u32>,
    /// Where asking again costs more than a look at the topics.
    noted: Option<Box<Noted>>,
}

/// The newest records that match.
struct Noted {
    /// Everything that matches after it is among the positions.
    from: Position,
    positions: Vec<Position>,
}

impl Group {
    /// Where a member that stands at `at` stands in truth.
    pub(crate) fn settled(&self, at: Position) -> Position {
        if at >= self.quiet.0 && at < self.quiet.1 { self.quiet.1 } else { at }
    }

    /// The positions after one of everything that matches, as far as this was matched. `None` if they are not known.
    pub(crate) fn noted_after(&self, from: Position) -> Option<&[Position]> {
        let noted = self.noted.as_ref().filter(|noted| from >= noted.from)?;
        Some(&noted.positions[noted.positions.partition_point(|&position| position <= from)..])
    }
}

impl Keyed for Group {
    type Key = Filter;

    fn key(&self) -> &Filter {
        &self.filter
    }
}

impl Noted {
    fn new(filter: &Filter, matched: Position) -> Option<Box<Noted>> {
        let asks_patterns = |set: &MatcherSet| !set.is_exact() && !set.is_any();
        // Every record matches `*`: those who want all of them look at each anyway.
        let is_kept = asks_patterns(&filter.topics)
            || (filter.topics.is_exact() && filter.grants.as_ref().is_some_and(asks_patterns));
        is_kept.then(|| Box::new(Noted { from: matched, positions: Vec::new() }))
    }

    fn add(&mut self, position: Position) {
        if self.positions.len() == NOTED_MAX {
            let dropped = self.positions.drain(..NOTED_MAX / 2).next_back();
            self.from = dropped.unwrap_or(self.from);
        }
        self.positions.push(position);
    }
}

/// The groups of a shard, and which of them have news.
#[derive(Default)]
pub(crate) struct Groups {
    groups: Numbered<Group>,
    index: TopicIndex<u32>,
    queue: VecDeque<u32>,
    hits: Vec<u32>,
    grants: GrantSets,
}

impl Groups {
    /// The group of a filter; a new one matches from `matched` on.
    pub(crate) fn intern(&mut self, filter: Filter, matched: Position) -> u32 {
        if let Some(number) = self.groups.find(&filter) {
            return number;
        }
        let filter = Arc::new(filter);
        let number = self.groups.insert(Group {
            filter: Arc::clone(&filter),
            first: None,
            len: 0,
            last_match: matched,
            quiet: (matched, matched),
            is_queued: false,
            grants: filter.grants.as_ref().map(|grants| self.grants.intern(grants)),
            noted: Noted::new(&filter, matched),
        });
        self.index.insert(&filter.topics, number);
        number
    }

    pub(crate) fn at(&self, number: u32) -> &Group {
        self.groups.at(number)
    }

    pub(crate) fn at_mut(&mut self, number: u32) -> &mut Group {
        self.groups.at_mut(number)
    }

    /// Drops a group that has no members; says whether it did.
    pub(crate) fn drop_if_empty(&mut self, number: u32) -> bool {
        if self.at(number).len > 0 {
            return false;
        }
        if let Some(group) = self.groups.remove(number) {
            self.index.remove(&group.filter.topics, number);
            if let Some(grants) = group.grants {
                self.grants.release(grants);
            }
        }
        true
    }

    /// Notes a committed record: whoever it matches has news. `matched` is the position before it.
    pub(crate) fn note(&mut self, record: &TailRecord<'_>, matched: Position) {
        let mut hits = std::mem::take(&mut self.hits);
        self.index.for_each(record.topics(), |number| hits.push(number));
        for number in hits.drain(..) {
            let group = self.groups.at(number);
            let grants = group.grants;
            let is_admitted = group.filter.types.admit(record.event_type())
                && (!record.is_private()
                    || grants.is_some_and(|grants| self.grants.grant(grants, matched.next(), record.topics())));
            if is_admitted {
                self.mark(number, matched, matched.next());
            }
        }
        self.hits = hits;
    }

    /// Shows the groups whose filters match a topic.
    pub(crate) fn of_topic(&self, topic: &str, mut visit: impl FnMut(&Group)) {
        self.index.for_each(std::iter::once(topic), |number| visit(self.at(number)));
    }

    /// Has every group look for itself: records between `matched` and `head` went by unseen.
    pub(crate) fn mark_all(&mut self, head: Position) {
        for number in 0..self.groups.numbers() {
            if let Some(group) = self.groups.get_mut(number) {
                group.last_match = head;
                group.quiet = (head, head);
                if let Some(noted) = &mut group.noted {
                    **noted = Noted { from: head, positions: Vec::new() };
                }
                self.enqueue(number);
            }
        }
    }

    fn mark(&mut self, number: u32, matched: Position, position: Position) {
        let group = self.at_mut(number);
        if !group.is_queued {
            group.quiet = (group.last_match, matched);
        }
        group.last_match = position;
        if let Some(noted) = &mut group.noted {
            noted.add(position);
        }
        self.enqueue(number);
    }

    fn enqueue(&mut self, number: u32) {
        let group = self.at_mut(number);
        if !group.is_queued {
            group.is_queued = true;
            self.queue.push_back(number);
        }
    }

    /// How many entries the queue of groups with news has; those of groups that were dropped
    /// stay in it until they are taken.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes the next entry of the queue: a group with news, unless it was dropped since. News
    /// from here on queue the group again.
    pub(crate) fn take_queued(&mut self) -> Option<u32> {
        let number = self.queue.pop_front()?;
        let group = self.groups.get_mut(number).filter(|group| group.is_queued)?;
        group.is_queued = false;
        Some(number)
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// What a set of grants was asked last, and what it answered.
    #[cfg(test)]
    pub(crate) fn answer(&self, grants: &MatcherSet) -> Option<(Position, bool)> {
        self.grants.answer(grants)
    }
}
