use std::sync::Arc;

use tidewire_topic::MatcherSet;

/// Which event types a subscriber asked for. The hub's own events are not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Types {
    /// Every type.
    #[default]
    All,
    /// These types, sorted.
    Only(Box<[Arc<str>]>),
}

impl Types {
    /// The types named; all of them if none is named.
    #[must_use]
    pub fn new(mut types: Vec<Arc<str>>) -> Types {
        types.sort();
        types.dedup();
        if types.is_empty() { Types::All } else { Types::Only(types.into()) }
    }

    /// Whether a type is among them.
    #[must_use]
    pub fn admit(&self, event_type: &str) -> bool {
        match self {
            Types::All => true,
            Types::Only(types) => types.binary_search_by(|t| (**t).cmp(event_type)).is_ok(),
        }
    }
}

/// So many records are looked at between two pauses where asking costs least: others wait meanwhile, and so do those who
/// append.
pub const LOOK_RECORDS_MAX: u64 = 2_048;

/// So many records are looked at without a pause, whatever asking costs.
pub const LOOK_RECORDS_MIN: u64 = 16;

/// What a subscriber asked for and what it may read. Subscribers with equal filters are owed
/// the same events, and are served as one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The topics asked for.
    pub topics: MatcherSet,
    /// The types asked for.
    pub types: Types,
    /// The topics whose private events may be read: a grant on any one of an event's topics is
    /// enough. `None`: public events only.
    pub grants: Option<MatcherSet>,
}

impl Filter {
    /// Whether an event matches and may be read.
    pub fn admits<'a, T>(&self, topics: T, event_type: &str, private: bool) -> bool
    where
        T: Iterator<Item = &'a str> + Clone,
    {
        self.types.admit(event_type) && self.topics.matches(topics.clone()) && self.may_read(topics, private)
    }

    /// How many records are looked at between two pauses, of `records_max` where asking costs least: fewer, the more the
    /// topics and grants weigh ([`MatcherSet::weight`]), and at least [`LOOK_RECORDS_MIN`].
    #[must_use]
    pub fn look_records(&self, records_max: u64) -> u64 {
        let grants = self.grants.as_ref().map_or(0, MatcherSet::weight);
        let weight = u64::from(self.topics.weight()) + u64::from(grants);
        (records_max / weight.max(1)).max(LOOK_RECORDS_MIN)
    }

    /// What it costs to ask about a private event on a topic that was asked for, if a public one costs 1.
    #[must_use]
    pub fn private_cost(&self) -> u64 {
        self.grants.as_ref().map_or(1, |grants| u64::from(grants.weight()).max(1))
    }

    /// Whether an event may be read, asked for or not.
    pub fn may_read<'a>(&self, topics: impl Iterator<Item = &'a str>, private: bool) -> bool {
        !private || self.grants.as_ref().is_some_and(|grants| grants.matches(topics))
    }
}
