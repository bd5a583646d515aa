//! `durability = "os"`: an event is shown once it is written, and a power cut may take it.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::super::layout::{GROUP_HEADER, GroupHeader, SEGMENT_HEADER, segment_name};
use super::super::manifest::{Manifest, State};
use super::super::open::{self, Opened, Opening};
use super::super::{Durability, FileLog, FileLogConfig, Outage, SimDisk};
use super::{BEGINNING, config, opening};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{Followed, TestClock, append, event, read_all, texts, try_append};
use crate::tombstones::Tombstone;
use crate::{AppendError, Clock, EventLog, Standing};

/// Opens a log at the machine's start of this number.
fn open(disk: &SimDisk, start: u8) -> FileLog<SimDisk> {
    let config = FileLogConfig { durability: Durability::Os, boot_id: [start; 16], ..config() };
    FileLog::open(disk.clone(), &config, TestClock::at(BEGINNING)).expect("opened").0
}

fn state(disk: &SimDisk) -> State {
    Manifest::read(disk).expect("there").state
}

#[test]
fn events_are_shown_and_answered_without_a_sync_and_survive_a_killed_process() {
    let disk = SimDisk::default();
    let log = open(&disk, 1);
    let followed = Followed::default();
    log.follow(followed.follower());
    let operations = disk.operations();
    // None of these comes to pass.
    disk.fail_syncs(0, 100);
    let ids: Vec<_> = (0..3).flat_map(|n| append(&log, vec![event(&["t"], &n.to_string())])).collect();
    assert_eq!(disk.operations(), operations + 3, "one write each");
    assert_eq!(texts(&followed.all()), ["0", "1", "2"]);
    assert_eq!(log.stats().syncs.count, 0);
    assert_eq!(state(&disk), State::Os([1; 16]));
    let log = open(&disk.restart(Outage::Kill), 1);
    assert_eq!(texts(&read_all(&log)), ["0", "1", "2"]);
    assert_eq!(log.standing(ids[0]), Standing::Current, "nothing was lost, so the epoch goes on");
}

#[test]
fn a_group_claims_only_what_was_synced() {
    let disk = SimDisk::default();
    let log = open(&disk, 1);
    append(&log, vec![event(&["t"], "first")]);
    append(&log, vec![event(&["t"], "second")]);
    let bytes = disk.contents(&segment_name(1)).expect("there");
    let log_id = Manifest::read(&disk).expect("there").log_id;
    let header = |at: usize| GroupHeader::decode(&bytes[at..at + GROUP_HEADER], &log_id).expect("a group").0;
    let first = header(SEGMENT_HEADER);
    let second = header(SEGMENT_HEADER + GROUP_HEADER + first.body_bytes as usize);
    assert_eq!((first.first_sequence, first.durable_sequence), (1, 0));
    assert_eq!((second.first_sequence, second.durable_sequence), (2, 0), "else a power cut would look like damage");
}

#[test]
fn after_a_power_cut_ids_of_what_was_lost_never_come_again() {
    let mut lost = 0;
    for seed in 0..40 {
        let disk = SimDisk::default();
        let log = open(&disk, 1);
        let ids: Vec<_> = (0..5).flat_map(|n| append(&log, vec![event(&["t"], &n.to_string())])).collect();
        let floor_ms = Manifest::read(&disk).expect("there").times.floor_ms;
        // The process is not stopped: it ends with its machine.
        let disk = disk.restart(Outage::PowerCut(seed));
        drop(log);
        let log = open(&disk, 2);
        let seen = read_all(&log);
        assert_eq!(
            texts(&seen),
            ["0", "1", "2", "3", "4"][..seen.len()],
            "it ends at the first group that is not whole"
        );
        lost += usize::from(seen.len() < 5);
        assert_eq!(log.standing(ids[4]), Standing::Earlier, "seed {seed}");
        let next = append(&log, vec![event(&["t"], "on")])[0];
        assert!(next.ms > floor_ms && ids.iter().all(|&id| id < next), "{next} and a floor of {floor_ms}");
        // Nor those of this epoch, which begins above the clock.
        let disk = disk.restart(Outage::PowerCut(seed + 1));
        drop(log);
        assert!(append(&open(&disk, 3), vec![event(&["t"], "on")])[0] > next);
    }
    assert!(lost > 5, "only {lost} power cuts took something");
}

#[test]
fn a_log_that_was_closed_is_whole_after_a_power_cut_and_its_epoch_goes_on() {
    for seed in 0..10 {
        let disk = SimDisk::default();
        let log = open(&disk, 1);
        let id = append(&log, vec![event(&["t"], "kept")])[0];
        log.close();
        assert_eq!(state(&disk), State::Closed);
        let log = open(&disk.restart(Outage::PowerCut(seed)), 2);
        assert_eq!(texts(&read_all(&log)), ["kept"]);
        assert_eq!(log.standing(id), Standing::Current);
    }
}

#[test]
fn when_the_last_sync_fails_the_log_is_not_said_to_be_closed() {
    let disk = SimDisk::default();
    let log = open(&disk, 1);
    append(&log, vec![event(&["t"], "shown")]);
    disk.fail_sync_after(0);
    log.close();
    assert_eq!(state(&disk), State::Os([1; 16]));
}

#[test]
fn a_segment_is_whole_before_the_next_one_begins_also_after_a_failed_sync() {
    for (seed, failing) in [(1, 0), (2, 1), (3, 2), (4, 0), (5, 2), (6, 3)] {
        let disk = SimDisk::default();
        let clock = TestClock::at(BEGINNING);
        let config = FileLogConfig { durability: Durability::Os, boot_id: [1; 16], ..config() };
        let (log, _) = FileLog::open(disk.clone(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
        let big = |n: u32| event(&["t"], &format!("{n} {}", "x".repeat(1500)));
        append(&log, vec![big(0)]);
        append(&log, vec![big(1)]);
        // The system takes for written what it could not write.
        disk.fail_syncs(0, failing);
        let mut tries = 0;
        while let Err(error) = try_append(&log, vec![big(2)]) {
            assert!(matches!(error, AppendError::Failed { .. } | AppendError::NoSegment { .. }), "{error}");
            assert_eq!(read_all(&log).len(), 2);
            clock.pass(1_000);
            tries += 1;
        }
        assert!(tries <= failing, "{tries} tries and {failing} failures");
        let disk = disk.restart(Outage::PowerCut(seed));
        drop(log);
        let seen = read_all(&open(&disk, 2));
        assert!(seen.len() >= 2, "the power cut of seed {seed} took a part of a segment that is not the last");
    }
}

/// What a failed sync was to make durable is read and written once more. What was overwritten between the two came
/// back, and the tombstone said that it was gone.
#[test]
fn what_is_overwritten_while_a_sync_is_made_good_does_not_come_back() {
    let disk = SimDisk::default();
    let opening =
        Opening { durability: Durability::Os, erase_within: Duration::ZERO, ..opening(TestClock::at(BEGINNING)) };
    let log = open::open::<_, ()>(disk.clone(), &opening, &Fingerprints::default()).expect("opened");
    let Opened { mut committer, mut keeper, times, visibility, .. } = log;
    let array = Array::new(vec![event(&["t"], "secret"), event(&["t"], "kept")], &Fingerprints::default());
    let ids = committer.commit(&mut [(array, ())].into(), &times.moment()).remove(0).1.expect("appended");
    disk.fail_syncs(0, 1);
    committer.segments().roll().expect_err("what is shown cannot be synced");
    keeper.sweep.eraser().erase(&[Tombstone::Event(ids[0])]).expect("erased");

    let (begin, has_begun) = mpsc::sync_channel(1);
    let (swept, has_swept) = mpsc::sync_channel(1);
    disk.before_next_write(move || {
        // It was read, and is not written. The sweep may have to wait until it is.
        begin.send(()).expect("somebody sweeps");
        has_swept.recv_timeout(Duration::from_millis(200)).unwrap_or_default();
    });
    thread::scope(|scope| {
        scope.spawn(move || {
            has_begun.recv().expect("the write begins");
            let now = Duration::from_millis(BEGINNING);
            while keeper.sweep.turn(now).is_some() {}
            // Nobody may wait for it any more.
            swept.send(()).unwrap_or_default();
        });
        committer.segments().roll().expect("begun");
    });
    assert!(!visibility.tombstones().are_pending(), "it is said to be overwritten");
    drop((committer, visibility));
    for seed in 0..5 {
        let bytes = disk.restart(Outage::PowerCut(seed)).contents(&segment_name(1)).expect("there");
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("kept") && !holds("secret"), "seed {seed}");
    }
}
