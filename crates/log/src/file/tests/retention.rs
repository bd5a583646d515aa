//! What retention removes, what it counts, and what keeps it from doing so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::cursor::FileCursor;
use super::super::index::Index;
use super::super::keeper::Retention;
use super::super::layout::{SEGMENT_HEADER, segment_name};
use super::super::open::{self, Opened, Opening};
use super::super::picks::Wanted;
use super::super::{FileLog, FileLogConfig, Outage, SimDisk};
use super::{BEGINNING, config, opening, try_open_with};
use crate::cursor::{RecordCursor, Step};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{Deadline, TestClock, append, event, eventually, try_append};
use crate::{AppendError, Clock, EventLog};

/// What the log's segments and indexes take on a disk.
fn taken(disk: &SimDisk) -> u64 {
    let counts = |name: &String| name.ends_with(".seg") || name.ends_with(".idx");
    disk.names().iter().filter(|name| counts(name)).map(|name| length(disk, name)).sum()
}

fn length(disk: &SimDisk, name: &str) -> u64 {
    // It may have been removed meanwhile.
    disk.contents(name).map_or(0, |bytes| bytes.len() as u64)
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

/// The low-water mark was moved by a new manifest, for which a full disk has no room: retention, which alone makes
/// room there, waited for it.
#[test]
fn what_becomes_too_old_on_a_full_disk_makes_room_by_itself() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let config = FileLogConfig { retention_age: Duration::from_secs(100), ..config() };
    let open =
        |disk: &SimDisk| FileLog::open(disk.clone(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened").0;
    let log = open(&disk);
    let publish = |log: &FileLog<SimDisk>| try_append(log, vec![event(&["t"], &"x".repeat(1000))]);
    for is_killed in [false, true] {
        disk.set_space(None);
        while log.stats().segments < 10 {
            publish(&log).expect("there is room");
        }
        eventually("every index is written", || {
            log.shelf().segments().iter().filter(|s| s.index_bytes() > 0).count() > 8
        });
        let disk = if is_killed { disk.restart(Outage::Kill) } else { disk.clone() };
        // What a start removes first is in nobody's way.
        disk.names().iter().filter(|name| name.ends_with(".tmp")).for_each(|name| disk.take(name));
        let left = is_killed.then(|| open(&disk));
        let log = left.as_ref().unwrap_or(&log);
        disk.set_space(Some(disk.names().iter().map(|name| length(&disk, name)).sum()));
        for round in 0..5 {
            let filled = Deadline::new();
            while publish(log) != Err(AppendError::NoSpace) {
                assert!(!filled.has_passed());
            }
            let low_water = log.low_water();
            clock.set(clock.now_ms() + 100_001);
            log.call_keeper();
            eventually("publishing works again", || publish(log).is_ok());
            assert!(log.low_water() > low_water, "killed: {is_killed}, round {round}");
        }
    }
}

/// How old events become in what follows, and how old each is when the next is published.
const AGE_MS: u64 = 150_000;
const STEP_MS: u64 = 20_000;

/// A log without its threads of ten segments, the last one open, with an event in each; the first two are too old.
fn aged(disk: &SimDisk, clock: &Arc<TestClock>) -> Opened<SimDisk, ()> {
    let retention = Retention { bytes: u64::MAX, age_ms: AGE_MS };
    let fingerprints = Fingerprints::default();
    let opening = Opening { retention, ..opening(Arc::clone(clock)) };
    let mut log = open::open(disk.clone(), &opening, &fingerprints).expect("opened");
    for _ in 0..10 {
        // A segment that is so old is gone on from.
        clock.set(clock.now_ms() + STEP_MS);
        let array = Array::new(vec![event(&["t"], "")], &fingerprints);
        log.committer.commit(&mut VecDeque::from([(array, ())]), &log.times.moment());
    }
    while log.keeper.indexer.turn().expect("written") {}
    log
}

fn segments(log: &Opened<SimDisk, ()>) -> u64 {
    log.committer.shelf().size().2
}

#[test]
fn old_segments_are_looked_for_every_ten_seconds() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = aged(&disk, &clock);
    for left in [8, 8, 7] {
        let (pause, done) = log.keeper.turn();
        done.expect("the disk works");
        assert_eq!((segments(&log), pause), (left, Duration::from_secs(10)));
        clock.set(clock.now_ms() + STEP_MS / 2);
    }
}

#[test]
fn what_is_retained_can_be_changed_while_the_log_runs() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = aged(&disk, &clock);
    log.keeper.trim().expect("the disk works");
    assert_eq!(segments(&log), 8);
    log.keeper.set_retention(Retention { bytes: u64::MAX, age_ms: AGE_MS - 2 * STEP_MS });
    log.keeper.trim().expect("the disk works");
    assert_eq!(segments(&log), 6);
    assert_eq!(log.keeper.age_ms().load(Ordering::Relaxed), AGE_MS - 2 * STEP_MS, "as the committer sees it");
    log.keeper.set_retention(Retention { bytes: 0, age_ms: AGE_MS });
    log.keeper.trim().expect("the disk works");
    assert_eq!(segments(&log), 1, "the newest one stays");
}

#[test]
fn the_mark_can_be_moved_again_though_others_take_all_the_room_that_came_free() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = aged(&disk, &clock);
    for left in [8, 7, 6, 5] {
        disk.set_space(Some(disk.names().iter().map(|name| length(&disk, name)).sum()));
        log.keeper.trim().expect("there is a reserve");
        assert_eq!(segments(&log), left);
        clock.set(clock.now_ms() + STEP_MS);
    }
}

/// A file that could not be unlinked was forgotten until the next start, and those behind it as well. It took room that
/// nobody saw.
#[test]
fn what_could_not_be_unlinked_is_unlinked_later_and_counts_until_then() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = aged(&disk, &clock);
    let (shelf, before) = (Arc::clone(log.committer.shelf()), taken(&disk));
    let is_there = |first: u64| disk.names().contains(&segment_name(first));
    // Of two indexes and two segments, the first segment goes.
    disk.fail_unlinks(1, 1);
    assert!(log.keeper.trim().is_err(), "the failure is counted");
    assert_eq!((is_there(1), is_there(2), segments(&log)), (true, false, 8));
    assert_eq!((shelf.size().1, taken(&disk)), (before - 2 * 8192 - 4096, before - 2 * 8192 - 4096));
    disk.fail_unlinks(0, 1);
    assert!(log.keeper.trim().is_err());
    assert_eq!(segments(&log), 8, "no other goes instead");
    // Somebody else has done it.
    disk.take(&segment_name(1));
    log.keeper.trim().expect("nothing is left to do");
    assert_eq!((shelf.size().1, taken(&disk)), (before - 2 * 8192 - 2 * 4096, before - 2 * 8192 - 2 * 4096));
}

/// Whoever was still reading a segment that was removed opened its file again, and it was held open: its bytes stayed on
/// the disk until as many others had been opened. What was found damaged in it was counted for ever.
#[test]
fn a_removed_segment_is_let_go_once_nobody_reads_it() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = aged(&disk, &clock);
    let shelf = Arc::clone(log.committer.shelf());
    let [first, second] = [0, 1].map(|n| Arc::clone(&shelf.segments()[n]));
    let bytes = disk.contents(&segment_name(2)).expect("there");
    disk.damage(&segment_name(2), SEGMENT_HEADER, &[bytes[SEGMENT_HEADER] ^ 1]);
    let mut cursors = [&first, &second].map(|of| FileCursor::of_segment(&shelf, Arc::clone(of), Wanted::All));
    // It comes between the mark and the names.
    disk.fail_unlinks(0, u64::MAX);
    assert!(log.keeper.trim().is_err());
    assert_eq!(cursors[0].advance().expect("read"), Some(Step::Record));
    assert!(matches!(cursors[1].advance().expect("read"), Some(Step::Lost { .. })));
    assert!(matches!(first.index(), Some(Index::File(_))));
    let files = [&first, &second].map(|of| Arc::downgrade(&of.file().expect("opened")));
    disk.fail_unlinks(0, 0);
    log.keeper.trim().expect("unlinked");
    drop(cursors);
    assert!(files.iter().all(|file| file.upgrade().is_none()), "nobody holds them open");
    assert!(first.file().is_err(), "nor is it found again");
    assert_eq!(shelf.damages.count(), 0);
}
