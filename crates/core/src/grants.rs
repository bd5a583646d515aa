use tidewire_log::Position;
use tidewire_topic::MatcherSet;

use crate::numbered::{Keyed, Numbered};

/// The different sets of grants that groups have. A private event asks each of them once, however many groups have
/// the same.
#[derive(Default)]
pub(crate) struct GrantSets(Numbered<GrantSet>);

struct GrantSet {
    set: MatcherSet,
    groups: u32,
    /// The last record that it was asked about, and the answer.
    answer: Option<(Position, bool)>,
}

impl Keyed for GrantSet {
    type Key = MatcherSet;

    fn key(&self) -> &MatcherSet {
        &self.set
    }
}

impl GrantSets {
    /// The number of a set, for one more group.
    pub(crate) fn intern(&mut self, set: &MatcherSet) -> u32 {
        if let Some(number) = self.0.find(set) {
            self.0.at_mut(number).groups += 1;
            return number;
        }
        self.0.insert(GrantSet { set: set.clone(), groups: 1, answer: None })
    }

    /// A group that has the set is gone.
    pub(crate) fn release(&mut self, number: u32) {
        let set = self.0.at_mut(number);
        set.groups -= 1;
        if set.groups == 0 {
            self.0.remove(number);
        }
    }

    /// Whether the set grants reading the private record at a position.
    pub(crate) fn grant<'a>(&mut self, number: u32, position: Position, topics: impl Iterator<Item = &'a str>) -> bool {
        let set = self.0.at_mut(number);
        if let Some((asked, answer)) = set.answer
            && asked == position
        {
            return answer;
        }
        let answer = set.set.matches(topics);
        set.answer = Some((position, answer));
        answer
    }

    #[cfg(test)]
    pub(crate) fn answer(&self, set: &MatcherSet) -> Option<(Position, bool)> {
        self.0.at(self.0.find(set)?).answer
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tidewire_topic::Matcher;

    use super::*;

    fn set(topic: &str) -> MatcherSet {
        MatcherSet::new([Matcher::parse(topic).expect("a topic")]).expect("a set")
    }

    #[test]
    fn a_private_event_asks_each_set_once() {
        let mut sets = GrantSets::default();
        let numbers = [sets.intern(&set("a")), sets.intern(&set("a")), sets.intern(&set("b"))];
        assert_eq!(numbers, [0, 0, 1]);
        let asked = Cell::new(0);
        for position in [Position(1), Position(2)] {
            for number in numbers {
                let topics = std::iter::once("a").inspect(|_| asked.set(asked.get() + 1));
                assert_eq!(sets.grant(number, position, topics), number == 0);
            }
        }
        assert_eq!(asked.get(), 4, "two sets, two events");
    }

    #[test]
    fn a_set_goes_with_the_last_group_that_has_it() {
        let mut sets = GrantSets::default();
        let a = sets.intern(&set("a"));
        sets.intern(&set("a"));
        sets.release(a);
        assert_eq!(sets.intern(&set("a")), a);
        sets.release(a);
        sets.release(a);
        assert_eq!(sets.0.len(), 0);
        let b = sets.intern(&set("b"));
        assert_eq!(b, a, "its number is given out again");
        assert!(sets.grant(b, Position(1), std::iter::once("b")), "and nothing is left of its answers");
    }
}
