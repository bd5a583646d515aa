//! A topic's records in the tail, each of which points back to the one before it and, further back,
//! to one that is found by jumps: the oldest after a position costs a logarithm, not all the newer ones.

use std::sync::Arc;

use super::{Inner, Position};

/// A record's place among those of one topic.
pub(super) struct Link {
    pub(super) topic: Arc<str>,
    /// The record before it on the topic; no record if there was none in the tail.
    pub(super) previous: Position,
    /// One further back, or itself if it is the first. Jumps lie as in a skew-binary number, so
    /// that any record is a logarithm of steps away and a new one needs to look at two others.
    jump: Position,
    /// How many records preceded it on the topic, since the topic came into the tail.
    pub(super) depth: u64,
}

impl Inner {
    /// Makes the record at `position`, which is about to be pushed, the newest on a topic.
    pub(super) fn link(&mut self, topic: &str, position: Position) -> Link {
        let known = self.newest_on.get_key_value(topic);
        let link = match known.and_then(|(topic, &previous)| Some((topic, previous, self.link_at(previous, topic)?))) {
            Some((topic, previous, before)) => {
                let jump = self.next_jump(before).unwrap_or(previous);
                Link { topic: Arc::clone(topic), previous, jump, depth: before.depth + 1 }
            }
            None => Link { topic: Arc::from(topic), previous: Position::default(), jump: position, depth: 0 },
        };
        self.newest_on.insert(Arc::clone(&link.topic), position);
        link
    }

    /// Where the one after `before` jumps, if two jumps of equal length precede it.
    fn next_jump(&self, before: &Link) -> Option<Position> {
        let first = self.link_at(before.jump, &before.topic)?;
        let second = self.link_at(first.jump, &before.topic)?;
        (before.depth - first.depth == first.depth - second.depth).then_some(first.jump)
    }

    pub(super) fn link_at(&self, position: Position, topic: &str) -> Option<&Link> {
        self.entry(position)?.links.iter().find(|link| *link.topic == *topic)
    }

    /// The oldest record in the tail on a topic for which `keeps` holds. Of a topic's records it holds
    /// for the newest ones and for no older ones.
    pub(super) fn oldest_on(
        &self,
        topic: &str,
        mut keeps: impl FnMut(Position, &Link) -> bool,
    ) -> Option<(Position, &Link)> {
        let mut kept = |position| self.link_at(position, topic).filter(|link| keeps(position, link));
        let mut at = *self.newest_on.get(topic)?;
        let mut link = kept(at)?;
        loop {
            let older = [link.jump, link.previous].into_iter().filter(|&older| older < at);
            match older.into_iter().find_map(|older| Some((older, kept(older)?))) {
                Some(older) => (at, link) = older,
                None => return Some((at, link)),
            }
        }
    }
}
