//! The log in a folder of segments. `docs/format.md` draws its files byte by byte.

mod ahead;
mod backup;
mod batch;
mod committer;
#[cfg(test)]
mod counting_disk;
#[cfg(test)]
mod crash_tests;
mod cursor;
mod damage;
mod disk;
mod files;
pub(crate) mod folder;
#[cfg(test)]
mod format_example;
mod group;
mod index;
mod indexer;
mod keeper;
mod layout;
mod ledger;
mod log;
mod look_back;
mod lookup;
mod manifest;
mod missing;
mod note;
mod open;
mod open_error;
mod picks;
mod queue;
mod recovery;
mod reserve;
mod run;
mod salvage;
mod scrub;
mod search;
mod seekers;
mod segment;
mod segments;
mod shelf;
mod sim_disk;
mod sim_faults;
mod sweep;
#[cfg(test)]
mod tests;
mod tombstone_file;
mod tombstones_fuzzed;
mod topics;
mod view;

pub(crate) use keeper::KEEP_EVERY;
pub(crate) use open::EpochPlaces;

pub use backup::{
    BackupProblem, ExportConfig, ExportError, ExportSummary, ImportConfig, ImportError, ImportSummary, LeftOut,
    PROBLEMS_LISTED_MAX, import,
};
#[cfg(test)]
pub(crate) use backup::{wire_line, wire_record};
pub use damage::{DAMAGED_RANGES_MAX, Damage, Reports};
pub(crate) use disk::lacks_room;
pub use disk::{Disk, DiskFile, DiskLock, Holder, RealDisk};
pub use files::LOG_FILES_MAX;
#[doc(hidden)]
pub use index::fuzz_index;
pub use log::{FileLog, FileLogConfig};
pub use look_back::LAST_EVENTS_MAX;
pub use open::Durability;
pub use open_error::OpenError;
pub use recovery::Recovery;
pub use salvage::{Between, OnDamage, Salvaged};
pub use sim_disk::{Outage, SimDisk, SimFile, SimLock};
#[doc(hidden)]
pub use tombstones_fuzzed::fuzz_tombstones;
pub use topics::TOPIC_LOOKS_MAX;
pub use view::{
    DAMAGES_LISTED_MAX, EpochInfo, Finding, Inspection, LogView, SegmentInfo, Usage, Verification, ViewError,
};
