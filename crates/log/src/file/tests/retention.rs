//! What retention removes, what it counts, and what keeps it from doing so.

use super::super::{FileLogConfig, SimDisk};
use super::{BEGINNING, config, try_open_with};
use crate::EventLog;
use crate::testing::{append, event, eventually};

/// What the log's segments and indexes take on a disk.
fn taken(disk: &SimDisk) -> u64 {
    let counts = |name: &String| name.ends_with(".seg") || name.ends_with(".idx");
    let length = |name: &String| disk.contents(name).map_or(0, |bytes| bytes.len() as u64);
    disk.names().iter().filter(|name| counts(name)).map(length).sum()
}

/// The indexes were not counted: a log of small events on many topics took half as much again as it may, and with the
/// limit that is set by default, which goes by the size of the file system, filled the disk.
#[test]
fn indexes_count_as_well_also_those_that_a_start_finds() {
    let disk = SimDisk::default();
    let config = FileLogConfig { retention_bytes: 100 << 10, ..config() };
    let (log, _) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    for n in 0..200 {
        append(&log, vec![event(&["t"], &format!("{n} {}", "x".repeat(1000)))]);
    }
    let is_in_order = |log: &dyn EventLog| {
        let stats = log.stats();
        stats.bytes == taken(&disk) && stats.bytes <= 100 << 10
    };
    eventually("old segments are removed", || is_in_order(&log));
    assert!(log.stats().segments > 5);
    assert!(disk.names().iter().any(|name| name.ends_with(".idx")));
    drop(log);
    let (bytes, less) = (taken(&disk), FileLogConfig { retention_bytes: 50 << 10, ..config });
    let (log, _) = try_open_with(disk.clone(), &less, BEGINNING).expect("opened");
    eventually("old segments are removed", || log.stats().bytes == taken(&disk) && log.stats().bytes <= 50 << 10);
    assert!(bytes > 50 << 10 && log.stats().segments > 2, "no more than has to be");
}
