use std::collections::BTreeSet;

use crate::{Digest, Moment, Publication};

/// One reader that goes on where it stopped, over as many connections as it took.
///
/// A test that rewinds on purpose records a second subscriber.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// What the report calls it.
    pub name: String,
    /// What it asked for and what it may read.
    pub filter: Filter,
    /// How far it is owed.
    pub until: Until,
    /// Its connections, in order. A client that hides them is recorded as one.
    pub connections: Vec<Connection>,
}

/// What a subscriber asked for and what it may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The topics asked for.
    pub topics: Topics,
    /// The types asked for; all of them if there is none.
    pub types: BTreeSet<String>,
    /// The topics whose private events it may read.
    pub grants: Option<Topics>,
}

/// A set of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// `*`.
    Any,
    /// These.
    These(BTreeSet<String>),
}

/// How far a subscriber is owed what matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All that was acknowledged: the test waited until it must have been there.
    Everything,
    /// Up to the last place it was told.
    LastSeen,
}

/// One connection of a subscriber.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it asked to begin.
    pub asked: Asked,
    /// When it was begun, before the first byte was sent.
    pub began: Moment,
    /// When the head of a 200 was there.
    pub head: Option<Moment>,
    /// What came, in order.
    pub items: Vec<Item>,
    /// How it ended.
    pub end: End,
    /// When that was noticed.
    pub ended: Option<Moment>,
}

/// Where a stream was asked to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// With what comes.
    Live,
    /// With the earliest retained.
    Earliest,
    /// With the last so many that match.
    Last(u64),
    /// After this id: the hub's or a publisher's, or anything else a client may send.
    Id(String),
}

/// What a subscriber saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event.
    Event {
        /// The last event id as the client reports it.
        id: String,
        /// Its type.
        event_type: String,
        /// Its content.
        content: Digest,
    },
    /// A `tidewire.gap`.
    Gap {
        /// The last event id as the client reports it.
        id: String,
        /// What the hub says was asked.
        requested: String,
        /// The place after which it goes on.
        resumed_from: String,
        /// Why.
        reason: String,
    },
    /// A `tidewire.checkpoint`.
    Checkpoint {
        /// The last event id as the client reports it.
        id: String,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is open, or the client does not say how it ended.
    Unknown,
    /// With the last chunk, or closed by the reader.
    Whole,
    /// Cut before the head was whole, or never opened.
    InHead,
    /// Cut between two events.
    BetweenFrames,
    /// Cut inside an event, a comment or a chunk.
    InFrame,
    /// Answered with another status than 200.
    Refused(u16),
}

impl Subscriber {
    /// A subscriber without connections.
    #[must_use]
    pub fn new(name: &str, filter: Filter, until: Until) -> Subscriber {
        Subscriber { name: name.to_owned(), filter, until, connections: Vec::new() }
    }

    /// With one more connection.
    #[must_use]
    pub fn connection(mut self, connection: Connection) -> Subscriber {
        self.connections.push(connection);
        self
    }

    /// What a client that follows the rules asks next: the last id it saw, else what it asked
    /// before.
    #[must_use]
    pub fn asks_next(&self) -> Option<Asked> {
        let last = self.connections.iter().rev().find_map(|c| c.items.last());
        match last.map(Item::id).filter(|id| !id.is_empty()) {
            Some(id) => Some(Asked::Id(id.to_owned())),
            None => self.connections.last().map(|c| c.asked.clone()),
        }
    }
}

impl Connection {
    /// A connection that has just begun.
    #[must_use]
    pub fn begin(asked: Asked, began: Moment) -> Connection {
        Connection { asked, began, head: None, items: Vec::new(), end: End::Unknown, ended: None }
    }

    /// Whether an event of a publisher came on it.
    #[must_use]
    pub fn has_event(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Event { .. }))
    }
}

impl Item {
    /// An event of a publisher.
    #[must_use]
    pub fn event(id: &str, event_type: &str, data: &str) -> Item {
        Item::Event { id: id.to_owned(), event_type: event_type.to_owned(), content: Digest::of(data) }
    }

    /// A `tidewire.checkpoint`.
    #[must_use]
    pub fn checkpoint(id: &str) -> Item {
        Item::Checkpoint { id: id.to_owned() }
    }

    /// A `tidewire.gap`.
    #[must_use]
    pub fn gap(id: &str, requested: &str, resumed_from: &str, reason: &str) -> Item {
        Item::Gap {
            id: id.to_owned(),
            requested: requested.to_owned(),
            resumed_from: resumed_from.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// The last event id it left with the client.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Item::Event { id, .. } | Item::Gap { id, .. } | Item::Checkpoint { id } => id,
        }
    }
}

impl Filter {
    /// Everything public.
    #[must_use]
    pub fn any() -> Filter {
        Filter { topics: Topics::Any, types: BTreeSet::new(), grants: None }
    }

    /// What is public on these topics.
    pub fn topics<'t>(topics: impl IntoIterator<Item = &'t str>) -> Filter {
        Filter { topics: Topics::these(topics), ..Filter::any() }
    }

    /// Only these types.
    #[must_use]
    pub fn types<'t>(mut self, types: impl IntoIterator<Item = &'t str>) -> Filter {
        self.types = types.into_iter().map(str::to_owned).collect();
        self
    }

    /// With the right to read private events on these topics.
    #[must_use]
    pub fn grants(mut self, grants: Topics) -> Filter {
        self.grants = Some(grants);
        self
    }

    pub(crate) fn asks(&self, publication: &Publication) -> bool {
        self.topics.has_one_of(&publication.topics)
            && (self.types.is_empty() || self.types.contains(&publication.event_type))
    }

    pub(crate) fn may_read(&self, publication: &Publication) -> bool {
        !publication.private || self.grants.as_ref().is_some_and(|grants| grants.has_one_of(&publication.topics))
    }

    pub(crate) fn owes(&self, publication: &Publication) -> bool {
        self.asks(publication) && self.may_read(publication)
    }
}

impl Topics {
    /// These topics.
    pub fn these<'t>(topics: impl IntoIterator<Item = &'t str>) -> Topics {
        Topics::These(topics.into_iter().map(str::to_owned).collect())
    }

    fn has_one_of(&self, topics: &[String]) -> bool {
        match self {
            Topics::Any => true,
            Topics::These(these) => topics.iter().any(|topic| these.contains(topic)),
        }
    }
}
