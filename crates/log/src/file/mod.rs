//! The log in a folder of segments. `docs/format.md` draws its files byte by byte.

mod ahead;
mod batch;
mod committer;
#[cfg(test)]
mod crash_tests;
mod cursor;
mod disk;
pub(crate) mod folder;
#[cfg(test)]
mod format_example;
mod group;
mod keeper;
mod layout;
mod ledger;
mod log;
mod manifest;
mod open;
mod recovery;
mod run;
mod segments;
mod shelf;
mod sim_disk;
mod sim_faults;
#[cfg(test)]
mod tests;

pub(crate) use keeper::KEEP_EVERY;
pub(crate) use open::EpochPlaces;

pub use disk::{Disk, DiskFile, RealDisk};
pub use log::{FileLog, FileLogConfig};
pub use open::Durability;
pub use recovery::{OpenError, Recovery};
pub use sim_disk::{Outage, SimDisk, SimFile, SimLock};
