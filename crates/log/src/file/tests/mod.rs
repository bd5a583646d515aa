use std::sync::Arc;
use std::time::Duration;

use super::committer::Window;
use super::keeper::Retention;
use super::open::{Durability, Opening};
use super::{Disk, FileLog, FileLogConfig, OpenError, Recovery, SimDisk};
use crate::conformance::{Setup, conformance};
use crate::testing::TestClock;
use crate::{Clock, EventLog};

mod age;
mod failures;
mod limits;
mod os;
mod start;
mod threads;

const BEGINNING: u64 = 1_000_000;

/// How a log of short segments is opened without its threads.
pub(super) fn opening(clock: Arc<TestClock>) -> Opening {
    Opening {
        segment_bytes: 4096,
        retention: Retention { bytes: u64::MAX, age_ms: u64::MAX },
        window: Window { window_ms: 1000, entries_max: 10 },
        durability: Durability::Commit,
        boot_id: *b"a kernel's start",
        retention_catch_up: Duration::from_secs(24 * 3600),
        new_log_id: *b"a log of a test.",
        clock,
    }
}

fn make(setup: &Setup) -> Box<dyn EventLog> {
    let config = FileLogConfig {
        segment_bytes: 16 << 10,
        retention_bytes: setup.retained_bytes as u64,
        idempotence_window: setup.window,
        idempotence_entries: setup.entries,
        ..FileLogConfig::default()
    };
    let clock = Arc::clone(&setup.clock) as Arc<dyn Clock>;
    Box::new(FileLog::open(SimDisk::default(), &config, clock).expect("opened").0)
}

conformance!(make);

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
