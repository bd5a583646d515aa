use std::ops::ControlFlow;
use std::time::Duration;

use crate::{Erase, EraseError, Erased, Filter, HubId, LogStats, Met, NewEvent, RecordView, Standing};

/// Called once with the fate of an appended array: the ids in the order of its events.
/// It is called after the watermark has moved past the array, on the log's own thread (or on the
/// caller's, if the array is answered at the door): it must hand over and return.
pub type Done = Box<dyn FnOnce(Result<Vec<HubId>, AppendError>) + Send>;

/// Why an array was not appended. Nothing of it is ever shown, except after
/// [`AppendError::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The event at `index` repeats the first topic and publisher's id of an event published
    /// within the idempotence window, with other content.
    #[error("event {index} has the publisher's id of {first}, and other content")]
    IdConflict {
        /// Which event of the array.
        index: usize,
        /// The hub id of the event published first; [`HubId::ZERO`] if that one stands in the same
        /// array, of which nothing was appended.
        first: HubId,
    },
    /// The array, encoded, does not fit in a segment.
    #[error("the array takes {bytes} bytes, and a segment holds {bytes_max}")]
    TooLarge {
        /// What the array takes, in bytes.
        bytes: usize,
        /// What a segment holds, in bytes.
        bytes_max: usize,
    },
    /// More is waiting to be committed than `append_queue_bytes`; try again later.
    #[error("too much is waiting to be committed")]
    Busy,
    /// The disk has no room for another segment, or nothing may be written there; nothing was.
    #[error("the disk is full or read-only")]
    NoSpace,
    /// Another segment could not be made for another reason; nothing was written, and it may be tried
    /// again.
    #[error("another segment of the log cannot be made: {reason}")]
    NoSegment {
        /// What the disk said.
        reason: String,
    },
    /// Whether an event was published before could not be read; nothing was written, and it may be tried
    /// again.
    #[error("what was published before cannot be read: {reason}")]
    Unread {
        /// What the disk said.
        reason: String,
    },
    /// Writing or syncing failed with this array under way, and nothing of it will ever be shown. It may be tried
    /// again.
    #[error("the events could not be written: {reason}")]
    NotWritten {
        /// What the disk said.
        reason: String,
    },
    /// The log cannot be written; nothing was. It works again by itself once the disk does.
    #[error("the log cannot be written: {reason}")]
    Failed {
        /// What the disk said.
        reason: String,
    },
    /// Writing or syncing failed with this array under way, and it could not be made certain that nothing of it is
    /// found after a restart. The publisher must not be answered.
    #[error("the log failed while the array was being written")]
    Unknown,
    /// The log is closed.
    #[error("the log is closed")]
    Closed,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("failed to read the log")]
    Io(#[from] std::io::Error),
}

/// Where a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// The place up to which every record was looked at.
    pub looked_at: HubId,
    /// Whether that was the head of the log.
    pub at_head: bool,
    /// The low-water mark, read after the last record.
    pub low_water: HubId,
}

/// What is retained on one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSummary {
    /// The topic.
    pub topic: String,
    /// How many events bear it.
    pub events: u64,
    /// The first of them.
    pub first: HubId,
    /// The last of them.
    pub last: HubId,
    /// Whether there may be more of them, and earlier ones: they are too many to be counted at once.
    pub is_cut: bool,
}

/// Some of the topics, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPage {
    /// Those of which something may be read.
    pub topics: Vec<TopicSummary>,
    /// The topic after which to go on, if there may be more.
    pub next: Option<String>,
}

/// From where the last matches are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastMatches {
    /// The place after which they lie.
    pub place: HubId,
    /// Whether there may be others before it that were asked for: only so much is looked at.
    pub is_cut: bool,
}

/// Who is told what was committed. Called on the log's thread, in log order.
pub trait Follower: Send {
    /// Called once, first: everything after `after` will be yielded.
    fn begin(&mut self, after: HubId);
    /// What lies at or below `through` is no longer to be shown from what was yielded: some of it is hidden,
    /// or gone. Whoever is not past it reads from the log.
    fn forget(&mut self, through: HubId);
    /// The same for what lies at or below the newest event that was yielded on a topic, or at or below `through`
    /// if that is less. Who does not know which event it is forgets everything up to there.
    fn forget_topic(&mut self, topic: &str, through: HubId) {
        let _ = topic;
        self.forget(through);
    }
    /// The next committed group. All of it becomes visible at once.
    fn committed(&mut self, group: &[RecordView<'_>]);
}

/// An ordered log of events. The only seam between the hub and storage.
pub trait EventLog: Send + Sync {
    /// Appends an array of events, as one: all of them or none. An event whose first topic and
    /// publisher's id were published within the idempotence window with the same content is not
    /// appended again: the first one's id is answered, also while the first is in flight. Nobody waits here: where
    /// that has to be looked for on disk, others overtake this one.
    fn append(&self, events: Vec<NewEvent>, done: Done);

    /// Begins to yield what is committed: first the newest retained records, as far as they are
    /// at hand, then every group as it is committed. Called once.
    fn follow(&self, follower: Box<dyn Follower>);

    /// The last committed place, asked anew.
    fn head(&self) -> HubId;

    /// Where a place stands among the ids that were given out here, compared with the head, asked anew.
    fn standing(&self, place: HubId) -> Standing;

    /// The place at or below which records have been removed; the first place while none has.
    fn low_water(&self) -> HubId;

    /// Shows the records after `after` that match `filter`, in log order, until `visit` breaks,
    /// `scan_bytes_max` were looked at, or the head is reached. A record for which `visit`
    /// breaks counts as looked at. Where a record that matches, or may have, is not to be seen, that is
    /// shown in its place.
    ///
    /// # Errors
    /// When the disk fails.
    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
    ) -> Result<ReadEnd, ReadError>;

    /// Shows the record with this id, if it is to be seen.
    ///
    /// # Errors
    /// When the disk fails.
    fn event(&self, id: HubId, visit: &mut dyn FnMut(&RecordView<'_>)) -> Result<bool, ReadError>;

    /// The place of the earliest retained event that bears this publisher's id and matches
    /// `filter`'s grants (its topics and types are not asked).
    ///
    /// # Errors
    /// When the disk fails. What is damaged is passed over.
    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError>;

    /// The place after which the last `count` events that match `filter` lie, or the low-water
    /// mark where there are fewer; or a later one, where too much would have to be looked at.
    ///
    /// # Errors
    /// When the disk fails. What is damaged is passed over.
    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<LastMatches, ReadError>;

    /// The topics of retained events, in byte order, at most `limit` of those that come after the
    /// topic `after`; fewer where too much would have to be looked at. Only events that `filter`'s grants may read
    /// count.
    ///
    /// # Errors
    /// When the disk fails. What is damaged is passed over.
    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<TopicPage, ReadError>;

    /// What is retained on one topic, of what `filter`'s grants may read, if anything; as much as is found where too
    /// much would have to be looked at.
    ///
    /// # Errors
    /// When the disk fails. What is damaged is passed over.
    fn topic(&self, topic: &str, filter: &Filter) -> Result<Option<TopicSummary>, ReadError>;

    /// Erases events that are to be seen. Once this returns, nobody is shown them any more who had not read
    /// them already, whatever happens to the hub. It may wait for the disk.
    ///
    /// # Errors
    /// When there is nothing to erase, or it cannot be noted that it was.
    fn erase(&self, what: &Erase) -> Result<Erased, EraseError>;

    /// Keeps so many bytes, and events for so long, from now on. What is beyond goes within seconds. A log in memory keeps
    /// the bytes that it was told at first, and one that others keep what they were told.
    fn set_retention(&self, bytes: u64, age: Duration) {
        let _ = (bytes, age);
    }

    /// What the log holds and has done.
    fn stats(&self) -> LogStats;

    /// Whether events can be appended; false after a failed write, until the log has found a way to go on.
    fn is_writable(&self) -> bool;

    /// Commits what was appended, then takes no more. Returns when all of it is done.
    fn close(&self);
}
