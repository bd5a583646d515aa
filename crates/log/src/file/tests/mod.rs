use std::sync::Arc;

use super::{Disk, FileLog, FileLogConfig, OpenError, Recovery, SimDisk};
use crate::conformance::{Setup, conformance};
use crate::testing::TestClock;
use crate::{Clock, EventLog};

mod limits;
mod start;
mod threads;

const BEGINNING: u64 = 1_000_000;

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
