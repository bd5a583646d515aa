//! A segment is removed as a whole: with little traffic it must not hold its events for ever.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::committer::Committer;
use super::super::keeper::Retention;
use super::super::open::{self, Opened, Opening};
use super::super::{FileLog, FileLogConfig, SimDisk};
use super::{BEGINNING, opening};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{TestClock, append, event, eventually, read_all, texts};
use crate::{Clock, EventLog};

const AGE_MS: u64 = 80_000;

fn open(disk: &SimDisk, clock: &Arc<TestClock>) -> Opened<SimDisk, ()> {
    open_with(disk, clock, AGE_MS)
}

fn open_with(disk: &SimDisk, clock: &Arc<TestClock>, age_ms: u64) -> Opened<SimDisk, ()> {
    let retention = Retention { bytes: u64::MAX, age_ms };
    open::open(disk.clone(), &Opening { retention, ..opening(Arc::clone(clock)) }, &Fingerprints::default())
        .expect("opened")
}

fn commit(log: &mut Opened<SimDisk, ()>) {
    let array = Array::new(vec![event(&["t"], "")], &Fingerprints::default());
    let answers = log.committer.commit(&mut VecDeque::from([(array, ())]), &log.times.moment());
    assert!(answers[0].1.is_ok());
}

fn segments(committer: &Committer<SimDisk, ()>) -> u64 {
    committer.shelf().size().2
}

#[test]
fn a_segment_whose_first_record_is_older_than_an_eighth_of_the_age_is_ended_by_the_next_append() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = open(&disk, &clock);
    commit(&mut log);
    clock.set(BEGINNING + AGE_MS / 8);
    commit(&mut log);
    assert_eq!(segments(&log.committer), 1, "not older than that");
    clock.set(BEGINNING + AGE_MS / 8 + 1);
    commit(&mut log);
    assert_eq!(segments(&log.committer), 2);
    // Also after a restart: it is the first record's age that counts.
    drop(log);
    let mut log = open(&disk, &clock);
    clock.set(BEGINNING + AGE_MS / 4 + 1);
    commit(&mut log);
    assert_eq!(segments(&log.committer), 2);
    clock.set(BEGINNING + AGE_MS / 4 + 2);
    commit(&mut log);
    assert_eq!(segments(&log.committer), 3);
}

/// With an age of a second, a segment was ended, and another of 64 MiB filled, eight times a second.
#[test]
fn events_that_are_soon_too_old_end_a_segment_every_ten_seconds_at_most() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = open_with(&disk, &clock, 1_000);
    for second in 0..=60 {
        clock.set(BEGINNING + second * 1_001);
        log.committer.tend(&log.times.moment());
        commit(&mut log);
    }
    let begun = segments(&log.committer);
    assert!((6..=7).contains(&begun), "{begun} segments in a minute");
    log.keeper.trim().expect("trimmed");
    assert!(segments(&log.committer) <= 2, "what is older goes all the same");
    clock.set(BEGINNING + 100 * 1_001);
    log.committer.tend(&log.times.moment());
    log.keeper.trim().expect("trimmed");
    assert_eq!(log.committer.shelf().size().0, 0, "also what nothing follows");
}

#[test]
fn steady_traffic_does_not_keep_an_old_segment_open() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = open(&disk, &clock);
    commit(&mut log);
    let mut waiting = VecDeque::new();
    let mut write = |log: &mut Opened<SimDisk, ()>| {
        waiting.push_back((Array::new(vec![event(&["t"], "")], &Fingerprints::default()), ()));
        log.committer.write(&mut waiting, &log.times.moment());
        waiting.len()
    };
    assert_eq!(write(&mut log), 0);
    let sync = log.committer.begin_sync().expect("written");
    clock.set(BEGINNING + AGE_MS);
    assert_eq!(write(&mut log), 1, "first, what is under way becomes durable");
    drop(log.committer.finish(sync.run(), &log.times.moment()));
    assert_eq!(write(&mut log), 0);
    assert_eq!(segments(&log.committer), 2);
}

#[test]
fn where_there_is_no_room_for_another_an_old_segment_is_gone_on_with() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let mut log = open(&disk, &clock);
    commit(&mut log);
    clock.set(BEGINNING + AGE_MS);
    disk.set_space(Some(5000));
    commit(&mut log);
    let operations = disk.operations();
    commit(&mut log);
    assert_eq!(disk.operations(), operations + 2, "one write, one sync: no other try within a second");
    assert_eq!(segments(&log.committer), 1);
    disk.set_space(None);
    clock.pass(1_000);
    commit(&mut log);
    assert_eq!(segments(&log.committer), 2);
}

#[test]
fn a_segment_of_which_all_is_too_old_is_ended_and_removed_though_nobody_publishes() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let config = FileLogConfig { retention_age: Duration::from_millis(AGE_MS), ..super::config() };
    let (log, _) = FileLog::open(disk, &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    append(&log, vec![event(&["t"], "old")]);
    clock.set(BEGINNING + AGE_MS);
    log.call_keeper();
    assert_eq!(texts(&read_all(&log)), ["old"]);
    clock.set(BEGINNING + AGE_MS + 1);
    log.call_keeper();
    eventually("it is removed", || {
        // The clock stands, and so does the keeper between two calls.
        log.call_keeper();
        read_all(&log).is_empty()
    });
    assert_eq!(log.stats().segments, 1);
    assert_eq!(log.low_water(), log.head());
}
