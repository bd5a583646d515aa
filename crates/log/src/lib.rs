//! The event log: what is stored, in which order, and what lies in memory.
//!
//! [`EventLog`] is the only seam between the hub and storage. The hub delivers what
//! [`EventLog::follow`] yields, never what it has just appended: order and ids are the log's.
//! What was followed lies in the [`Tail`], which all logs share; whoever is older than the
//! tail reads from the log by place until it meets it.
//!
//! Words: a *sequence* is a record's number in the log; a *place* is a [`HubId`] seen as a
//! point in the order; a [`Position`] is a record's number in the tail.

mod background;
mod clock;
#[cfg(test)]
mod conformance;
mod cursor;
mod erase;
mod event;
mod event_log;
mod expiry;
mod file;
mod filter;
#[cfg(test)]
mod hiding_model;
#[cfg(test)]
mod hiding_tests;
mod holds;
mod id;
mod idempotence;
mod memory;
mod record;
#[cfg(test)]
mod remote;
mod rules;
mod sequencer;
mod stats;
mod tail;
#[cfg(test)]
mod testing;
mod times;
mod tombstones;
mod visibility;

pub use clock::{Clock, SystemClock};
pub use erase::{Erase, EraseError, Erased};
pub use event::{
    ATTRIBUTES_BYTES_MAX, Data, EVENT_BYTES, EVENT_TYPE_BYTES_MAX, EventType, EventTypeError, NewEvent, NewEventError,
    PUBLISHER_ID_BYTES_MAX, PublisherId, PublisherIdError, TOPICS_BYTES_MAX, TOPICS_MAX, TRACEPARENT,
};
pub use event_log::{AppendError, Done, EventLog, Follower, LastMatches, ReadEnd, ReadError, TopicPage, TopicSummary};
pub use file::{
    BackupProblem, Between, DAMAGED_RANGES_MAX, DAMAGES_LISTED_MAX, Damage, Disk, DiskFile, DiskLock, Durability,
    EpochInfo, ExportConfig, ExportError, ExportSummary, FileLog, FileLogConfig, Finding, Holder, ImportConfig,
    ImportError, ImportSummary, Inspection, LAST_EVENTS_MAX, LOG_FILES_MAX, LeftOut, LogView, OnDamage, OpenError,
    Outage, PROBLEMS_LISTED_MAX, RealDisk, Recovery, Reports, Salvaged, SegmentInfo, SimDisk, SimFile, SimLock,
    TOPIC_LOOKS_MAX, Usage, Verification, ViewError, import,
};
#[doc(hidden)]
pub use file::{fuzz_index, fuzz_tombstones};
#[cfg(test)]
pub(crate) use file::{wire_line, wire_record};
pub use filter::{Filter, LOOK_RECORDS_MAX, LOOK_RECORDS_MIN, Types};
pub use id::{HubId, ParseHubIdError};
pub use memory::{MemoryLog, MemoryLogConfig};
pub use record::{Attributes, BadRecord, RecordView, Topics};
pub use rules::{RETENTION_RULES_MAX, RetentionRule, RetentionRules, RetentionRulesError};
pub use stats::{Durations, LogStats, MICROS_BUCKETS};
pub use tail::{Forgets, LIST_RECORDS_MAX, LOOK_BACK_RECORDS_MAX, Listing, Position, Tail, TailReader, TailRecord};
pub use tombstones::{TOMBSTONE_TOPICS_BYTES_MAX, TOMBSTONES_MAX};
pub use visibility::{Hidden, Met, Standing};
