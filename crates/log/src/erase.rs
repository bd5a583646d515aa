use std::io;

use tidewire_topic::Topic;

use crate::file::lacks_room;
use crate::tombstones::TOMBSTONES_MAX;
use crate::{HubId, ReadError};

/// What is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erase {
    /// The event with this id.
    Event(HubId),
    /// The events that bear the topic and were published with this id; more than one if the id was used again
    /// after its time.
    PublisherId {
        /// One of their topics.
        topic: Topic,
        /// The publisher's id.
        id: String,
    },
    /// Every event so far that bears the topic.
    Topic(Topic),
}

/// What was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// How many events; `None` if they were not counted, as with a topic.
    pub events: Option<usize>,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// There is no such event, or it is not to be seen any more.
    #[error("there is no such event")]
    NotFound,
    /// As many tombstones are kept as may be; retention takes them away with what they are for.
    #[error("there are {TOMBSTONES_MAX} tombstones, or their topics are too long")]
    TooMany,
    /// The disk has no room for a tombstone, or is read-only.
    #[error("the disk is full or read-only")]
    NoSpace,
    /// It could not be written; after a restart it may turn out to be erased all the same.
    #[error("failed to write a tombstone")]
    Write(#[source] io::Error),
    /// The log could not be read for what is to be erased.
    #[error("failed to find what is to be erased")]
    Read(#[from] ReadError),
    /// The log is closed, or its thread has ended.
    #[error("the log is closed")]
    Closed,
}

impl From<io::Error> for EraseError {
    fn from(error: io::Error) -> EraseError {
        if lacks_room(&error) { EraseError::NoSpace } else { EraseError::Write(error) }
    }
}
