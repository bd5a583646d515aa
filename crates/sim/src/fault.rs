use std::fmt;

use crate::{Asked, Digest, Place};

/// One thing that must not be, with what shows it. `reader` is a subscriber's name, and
/// `connection` counts its connections from 0; an `event` is a publication as text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what they are, and each variant's words say how they go together")]
pub enum Fault {
    /// Acknowledged (or shown to another reader), owed, and never seen, and no gap covers it.
    Lost {
        reader: String,
        place: Place,
        event: String,
        acknowledged: bool,
        before: Option<Place>,
        after: Option<Place>,
    },
    /// A reader saw the same place twice.
    Duplicate { reader: String, connection: usize, place: Place },
    /// An event came after a later one.
    OutOfOrder { reader: String, connection: usize, place: Place, behind: Place },
    /// An event came after a checkpoint that had passed it over.
    BehindCheckpoint { reader: String, connection: usize, place: Place, checkpoint: Place },
    /// An event came that is not after the place which was asked, or from which a gap went on.
    BehindStart { reader: String, connection: usize, place: Place, start: Place },
    /// A checkpoint named a place before what the reader had been told already.
    CheckpointBack { reader: String, connection: usize, checkpoint: Place, behind: Place },
    /// An event came that the reader had not asked for.
    Unasked { reader: String, place: Place, event: String },
    /// A private event reached a reader without a grant for it.
    PrivateLeak { reader: String, place: Place, event: String },
    /// An id that no event can be known by was asked, and the stream did not begin with a gap.
    GapUnsaid { reader: String, connection: usize, asked: String },
    /// A stream's first gap does not quote what was asked.
    GapMisquoted { reader: String, connection: usize, asked: String, quoted: String },
    /// A client did not ask for what comes after the last id it had seen.
    WrongResume { reader: String, connection: usize, asked: Asked, expected: Asked },
    /// An event, a checkpoint or a gap bears an id that is not the hub's.
    BadId { reader: String, connection: usize, id: String },
    /// What was seen under a place is not what was sent.
    Altered { reader: String, place: Place, sent: (String, Digest), seen: (String, Digest) },
    /// Two readers saw different events under one place.
    Disagreement { place: Place, readers: [String; 2], seen: [(String, Digest); 2] },
    /// An event that nobody sent.
    Invented { reader: String, place: Place, seen: (String, Digest) },
    /// An event that was refused was shown.
    RefusedShown { reader: String, place: Place, event: String },
    /// One event lies in the log twice.
    Doubled { reader: String, place: Place, event: String, first: Option<Place> },
    /// Two attempts under one publisher's id were answered with different ids.
    AnswersDiffer { event: String, first: Place, second: Place },
    /// Two events were answered with the same id.
    PlaceShared { place: Place, events: [String; 2] },
    /// Of an array some events are there and others are not.
    Torn { array: usize, there: usize, of: usize, first: Place },
    /// An event was first sent after another had been acknowledged, and lies before it.
    AgainstTime { event: String, place: Place, before: Place },
    /// The test did not reach what it demanded of itself.
    TooWeak { what: &'static str, counted: usize, needed: usize },
}

impl Fault {
    /// Its name, for counting.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Lost { .. } => "lost",
            Fault::Duplicate { .. } => "duplicate",
            Fault::OutOfOrder { .. } => "out of order",
            Fault::BehindCheckpoint { .. } => "behind a checkpoint",
            Fault::BehindStart { .. } => "behind the start",
            Fault::CheckpointBack { .. } => "checkpoint goes back",
            Fault::Unasked { .. } => "not asked for",
            Fault::PrivateLeak { .. } => "private to a stranger",
            Fault::GapUnsaid { .. } => "gap not said",
            Fault::GapMisquoted { .. } => "gap misquoted",
            Fault::WrongResume { .. } => "wrong resume",
            Fault::BadId { .. } => "bad id",
            Fault::Altered { .. } => "altered",
            Fault::Disagreement { .. } => "readers disagree",
            Fault::Invented { .. } => "invented",
            Fault::RefusedShown { .. } => "refused and shown",
            Fault::Doubled { .. } => "twice in the log",
            Fault::AnswersDiffer { .. } => "answers differ",
            Fault::PlaceShared { .. } => "id given twice",
            Fault::Torn { .. } => "half an array",
            Fault::AgainstTime { .. } => "order against time",
            Fault::TooWeak { .. } => "test too weak",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name())?;
        match self {
            Fault::Lost { reader, place, event, acknowledged, before, after } => {
                let known = if *acknowledged { "acknowledged" } else { "shown to another reader" };
                write!(f, "{reader} never saw {place}, {event}, which was {known}; it saw ")?;
                match before {
                    Some(before) => write!(f, "{before} before it")?,
                    None => f.write_str("nothing before it")?,
                }
                match after {
                    Some(after) => write!(f, " and {after} after it"),
                    None => f.write_str(" and nothing after it"),
                }
            }
            Fault::Duplicate { reader, connection, place } => {
                write!(f, "{reader} saw {place} again on connection {connection}")
            }
            Fault::OutOfOrder { reader, connection, place, behind } => {
                write!(f, "{reader} saw {place} after {behind} on connection {connection}")
            }
            Fault::BehindCheckpoint { reader, connection, place, checkpoint } => {
                write!(f, "{reader} saw {place} after the checkpoint {checkpoint} on connection {connection}")
            }
            Fault::BehindStart { reader, connection, place, start } => {
                write!(f, "{reader} saw {place} on connection {connection}, which goes on after {start}")
            }
            Fault::CheckpointBack { reader, connection, checkpoint, behind } => {
                write!(f, "{reader} was told {checkpoint} on connection {connection} when it stood at {behind}")
            }
            Fault::Unasked { reader, place, event } => write!(f, "{reader} saw {place}, {event}"),
            Fault::PrivateLeak { reader, place, event } => write!(f, "{reader} saw {place}, {event}"),
            Fault::GapUnsaid { reader, connection, asked } => {
                write!(f, "{reader} asked for what comes after {asked:?} on connection {connection}")
            }
            Fault::GapMisquoted { reader, connection, asked, quoted } => {
                write!(f, "{reader} asked for {asked:?} on connection {connection}, and the gap says {quoted:?}")
            }
            Fault::WrongResume { reader, connection, asked, expected } => {
                write!(f, "{reader} asked for {asked:?} on connection {connection} instead of {expected:?}")
            }
            Fault::BadId { reader, connection, id } => write!(f, "{reader} saw {id:?} on connection {connection}"),
            Fault::Altered { reader, place, sent, seen } => {
                write!(f, "{reader} saw {} ({}) under {place}, sent was {} ({})", seen.0, seen.1, sent.0, sent.1)
            }
            Fault::Disagreement { place, readers, seen } => {
                let [(a_type, a), (b_type, b)] = seen;
                write!(f, "under {place} {} saw {a_type} ({a}) and {} saw {b_type} ({b})", readers[0], readers[1])
            }
            Fault::Invented { reader, place, seen } => {
                write!(f, "{reader} saw {} ({}) under {place}, which nobody sent", seen.0, seen.1)
            }
            Fault::RefusedShown { reader, place, event } => write!(f, "{reader} saw {place}, {event}"),
            Fault::Doubled { reader, place, event, first } => {
                write!(f, "{reader} saw {event} under {place}")?;
                match first {
                    Some(first) => write!(f, ", which is {first}"),
                    None => f.write_str(", though each time it was sent is accounted for"),
                }
            }
            Fault::AnswersDiffer { event, first, second } => {
                write!(f, "{event} was acknowledged as {first} and as {second}")
            }
            Fault::PlaceShared { place, events } => {
                write!(f, "{place} was given to {} and to {}", events[0], events[1])
            }
            Fault::Torn { array, there, of, first } => {
                write!(f, "{there} of the {of} events of array {array} are there, the first at {first}")
            }
            Fault::AgainstTime { event, place, before } => {
                write!(f, "{event} was sent after {before} was acknowledged, and is {place}")
            }
            Fault::TooWeak { what, counted, needed } => write!(f, "{counted} {what}, at least {needed} are needed"),
        }
    }
}
