use std::sync::Arc;
use std::time::Duration;

use super::keeper::Retention;
use super::open::{Durability, Opening};
use super::{Disk, FileLog, FileLogConfig, OnDamage, OpenError, Recovery, Reports, SimDisk};
use crate::conformance::{Setup, conformance};
use crate::hiding_tests::conformance_of_hiding;
use crate::testing::TestClock;
use crate::{Clock, EventLog, RetentionRules};

mod age;
mod arbitrary;
mod bounded;
mod damage;
mod ends;
mod epochs;
mod erasing;
mod failures;
mod indexed;
mod limits;
mod lookups;
mod newest;
mod no_room;
mod os;
mod retention;
mod salvage;
mod start;
mod threads;

const BEGINNING: u64 = 1_000_000;

/// How a log of short segments is opened without its threads.
pub(super) fn opening(clock: Arc<TestClock>) -> Opening {
    Opening {
        segment_bytes: 4096,
        retention: Retention { bytes: u64::MAX, age_ms: u64::MAX },
        rules: RetentionRules::default(),
        erase_within: Duration::from_secs(3600),
        window_ms: 1000,
        durability: Durability::Commit,
        boot_id: *b"a kernel's start",
        retention_catch_up: Duration::from_secs(24 * 3600),
        new_log_id: *b"a log of a test.",
        reports: Reports::default(),
        on_damage: OnDamage::Stop,
        clock,
    }
}

fn make(setup: &Setup) -> Box<dyn EventLog> {
    open_with_setup(setup, SimDisk::default())
}

fn open_with_setup(setup: &Setup, disk: SimDisk) -> Box<dyn EventLog> {
    open_as(setup, disk, Durability::Commit)
}

fn open_as(setup: &Setup, disk: SimDisk, durability: Durability) -> Box<dyn EventLog> {
    let config = FileLogConfig {
        durability,
        segment_bytes: 16 << 10,
        retention_bytes: setup.retained_bytes as u64,
        idempotence_window: setup.window,
        retention_rules: setup.rules.clone(),
        ..FileLogConfig::default()
    };
    let clock = Arc::clone(&setup.clock) as Arc<dyn Clock>;
    Box::new(FileLog::open(disk, &config, clock).expect("opened").0)
}

conformance!(make);
conformance_of_hiding!(make);
conformance!(make, ids_and_times_are_those_of_the_clock);

/// What every log must do, where nobody waits for the disk.
mod shown_unsynced {
    use super::*;

    fn make(setup: &Setup) -> Box<dyn EventLog> {
        open_as(setup, SimDisk::default(), Durability::Os)
    }

    conformance!(make);
    conformance_of_hiding!(make);
    conformance!(make, ids_and_times_are_those_of_the_clock);
}

fn config() -> FileLogConfig {
    FileLogConfig { segment_bytes: 4096, ..FileLogConfig::default() }
}

fn try_open_with<D: Disk>(disk: D, config: &FileLogConfig, now_ms: u64) -> Result<(FileLog<D>, Recovery), OpenError> {
    FileLog::open(disk, config, TestClock::at(now_ms))
}

fn try_open(disk: &SimDisk) -> Result<(FileLog<SimDisk>, Recovery), OpenError> {
    try_open_with(disk.clone(), &config(), BEGINNING)
}

fn open(disk: &SimDisk) -> FileLog<SimDisk> {
    try_open(disk).expect("opened").0
}
