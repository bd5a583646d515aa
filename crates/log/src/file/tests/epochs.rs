//! Which ids a folder gives out, over restarts in every mode and clocks that jump, and how events age.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::keeper::{KEEP_EVERY, Retention};
use super::super::manifest::Manifest;
use super::super::open::{self, Durability, Opened, Opening};
use super::super::{FileLog, FileLogConfig, OpenError, Outage, SimDisk};
use super::{BEGINNING, config, opening};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{Followed, Seen, TestClock, append, event, read_all, texts};
use crate::times::FLOOR_AHEAD_MS;
use crate::{Clock, EventLog, HubId, MemoryLog, MemoryLogConfig, Standing, Tail};

const DAY_MS: u64 = 24 * 3600 * 1000;

fn memory(disk: &SimDisk, clock: &Arc<TestClock>) -> MemoryLog<SimDisk> {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    MemoryLog::open(disk.clone(), &MemoryLogConfig::default(), clock).expect("opened")
}

fn files(disk: &SimDisk, opening: &Opening) -> Opened<SimDisk, ()> {
    open::open(disk.clone(), opening, &Fingerprints::default()).expect("opened")
}

/// Commits one event of about a third of a segment.
fn commit(log: &mut Opened<SimDisk, ()>) -> Seen {
    let data = "x".repeat(1000);
    let array = Array::new(vec![event(&["t"], &data)], &Fingerprints::default());
    let moment = log.times.moment();
    let answer = log.committer.commit(&mut VecDeque::from([(array, ())]), &moment).remove(0).1;
    let id = answer.expect("committed")[0];
    assert!(id.ms <= moment.id_ms_max);
    Seen { id, topics: vec!["t".to_owned()], data }
}

#[test]
fn in_memory_no_id_comes_twice_though_the_clock_is_set_back_over_a_restart() {
    let disk = SimDisk::default();
    let clock = TestClock::at(BEGINNING);
    let mut told: Vec<HubId> = Vec::new();
    let mut disk = disk;
    for restart in 0..5 {
        clock.jump(BEGINNING - restart * 1000);
        let log = memory(&disk, &clock);
        assert!(log.head() > told.last().copied().unwrap_or_default(), "its first place is new as well");
        told.push(log.head());
        told.extend((0..3).flat_map(|n| append(&log, vec![event(&["t"], &n.to_string())])));
        assert_eq!(log.standing(told[told.len() - 1]), Standing::Current);
        if let Some(&earlier) = told.get(told.len().wrapping_sub(5)) {
            assert_eq!(log.standing(earlier), Standing::Earlier);
        }
        assert_eq!(log.standing(HubId { ms: 1, seq: 0 }), Standing::Foreign);
        // Killed: nothing of it is closed.
        std::mem::forget(log);
        disk = disk.restart(Outage::PowerCut(restart));
    }
    assert!(told.is_sorted_by(|a, b| a < b), "{told:?}");
}

#[test]
fn ids_stop_at_the_floor_until_it_has_moved_durably() {
    let disk = SimDisk::default();
    let clock = TestClock::at(BEGINNING);
    let mut log = files(&disk, &opening(Arc::clone(&clock)));
    assert_eq!(commit(&mut log).id, HubId { ms: BEGINNING, seq: 1 });
    let floor_ms = BEGINNING + FLOOR_AHEAD_MS;
    clock.set(floor_ms + 5_000);
    assert_eq!(commit(&mut log).id, HubId { ms: floor_ms, seq: 0 });
    assert_eq!(commit(&mut log).id, HubId { ms: floor_ms, seq: 1 });
    disk.fail_sync_after(0);
    assert!(log.keeper.ledger.keep_times().is_err());
    assert_eq!(commit(&mut log).id, HubId { ms: floor_ms, seq: 2 }, "it has not moved");
    log.keeper.ledger.keep_times().expect("kept");
    assert_eq!(commit(&mut log).id, HubId { ms: floor_ms + 5_000, seq: 0 });
    assert_eq!(Manifest::read(&disk).expect("there").times.floor_ms, floor_ms + 5_000 + FLOOR_AHEAD_MS);
}

#[test]
fn the_keeper_moves_the_floor_every_half_minute() {
    let clock = TestClock::at(BEGINNING);
    let disk = SimDisk::default();
    let mut log = files(&disk, &opening(Arc::clone(&clock)));
    for _ in 0..20 {
        let (pause, done) = log.keeper.turn();
        done.expect("no failure");
        assert!(pause <= KEEP_EVERY);
        clock.set(clock.now_ms() + u64::try_from(pause.as_millis()).expect("short"));
        let moment = log.times.moment();
        assert_eq!(moment.id_ms(), moment.now_ms, "it is ahead of the clock");
        let floor_ms = Manifest::read(&disk).expect("whole").times.floor_ms;
        assert!((30_000..=60_000).contains(&(floor_ms - moment.now_ms)), "by a minute, moved every 30 s: {floor_ms}");
    }
}

#[test]
fn a_folder_goes_on_in_its_epoch_after_a_kill_and_begins_one_after_a_log_in_memory() {
    let disk = SimDisk::default();
    let clock = TestClock::at(BEGINNING);
    let standing = |log: &Opened<SimDisk, ()>, place| log.epochs.standing(place, log.committer.shelf().head());
    let mut log = files(&disk, &opening(Arc::clone(&clock)));
    let first = commit(&mut log);
    let disk = disk.restart(Outage::Kill);
    let mut log = files(&disk, &opening(Arc::clone(&clock)));
    assert_eq!(standing(&log, first.id), Standing::Current);
    let second = commit(&mut log);
    drop(log);

    let in_memory = append(&memory(&disk, &clock), vec![event(&["t"], "in memory")])[0];
    assert!(in_memory > second.id);
    let mut log = files(&disk, &opening(Arc::clone(&clock)));
    let begin = log.epochs.current;
    assert!(begin > in_memory);
    assert_eq!(log.committer.shelf().head(), begin, "a place that can be told before there is an event");
    for place in [first.id, second.id, in_memory] {
        assert_eq!(standing(&log, place), Standing::Earlier);
    }
    let third = commit(&mut log);
    assert!(third.id > begin);
    drop(log);
    let log = super::open(&disk);
    assert_eq!(read_all(&log), [first, second, third.clone()], "what is in segments stays");
    assert_eq!(log.standing(third.id), Standing::Current, "the epoch goes on");
}

#[test]
fn a_folder_that_was_only_used_in_memory_becomes_one_of_segments() {
    let clock = TestClock::at(BEGINNING);
    let disk = SimDisk::default();
    let in_memory = append(&memory(&disk, &clock), vec![event(&["t"], "")])[0];
    let operations = {
        let disk = disk.restart(Outage::Kill);
        drop(files(&disk, &opening(Arc::clone(&clock))));
        disk.operations()
    };
    for stop_at in 1..=operations {
        let disk = SimDisk::default();
        drop(append(&memory(&disk, &clock), vec![event(&["t"], "")]));
        let disk = disk.restart(Outage::Kill);
        disk.stop_at(stop_at);
        drop(open::open::<_, ()>(disk.clone(), &opening(Arc::clone(&clock)), &Fingerprints::default()).map(|_| ()));
        let mut log = files(&disk.restart(Outage::PowerCut(stop_at)), &opening(Arc::clone(&clock)));
        assert!(commit(&mut log).id > in_memory, "stopped at {stop_at}");
    }
}

#[test]
fn a_folder_that_is_used_is_refused_to_a_log_in_memory() {
    let disk = SimDisk::default();
    let clock = TestClock::at(BEGINNING);
    let log = super::open(&disk);
    let config = MemoryLogConfig::default();
    let refused = || MemoryLog::open(disk.clone(), &config, Arc::clone(&clock) as Arc<dyn Clock>).map(|_| ());
    assert!(matches!(refused(), Err(OpenError::Locked)));
    drop(log);
    refused().expect("free again");
}

#[test]
fn after_an_unclean_stop_in_os_only_another_start_of_the_kernel_begins_an_epoch() {
    let clock = TestClock::at(BEGINNING);
    let os = |boot_id| Opening { durability: Durability::Os, boot_id, ..opening(Arc::clone(&clock)) };
    let disk = SimDisk::default();
    let first = files(&disk, &os([1; 16])).epochs.current;
    let disk = disk.restart(Outage::Kill);
    assert_eq!(files(&disk, &os([1; 16])).epochs.current, first, "the process alone was killed");
    let disk = disk.restart(Outage::PowerCut(0));
    let mut log = files(&disk, &os([2; 16]));
    let second = log.epochs.current;
    assert!(second.ms > BEGINNING + FLOOR_AHEAD_MS, "above the floor");
    log.keeper.ledger.close().expect("closed");
    drop(log);
    let disk = disk.restart(Outage::Kill);
    assert_eq!(files(&disk, &os([3; 16])).epochs.current, second, "it was closed");
    let disk = disk.restart(Outage::Kill);
    let third = files(&disk, &os([0; 16])).epochs.current;
    assert!(third > second);
    let disk = disk.restart(Outage::Kill);
    assert!(files(&disk, &os([0; 16])).epochs.current > third, "a kernel that says nothing");
}

/// Fills some segments, of three events each.
fn fill(log: &mut Opened<SimDisk, ()>, segments: u64) {
    while log.committer.shelf().size().2 < segments {
        commit(log);
    }
}

#[test]
fn segments_go_once_all_they_hold_is_too_old() {
    let clock = TestClock::at(BEGINNING);
    let retention = Retention { bytes: u64::MAX, age_ms: 7 * DAY_MS };
    let mut log = files(&SimDisk::default(), &Opening { retention, ..opening(Arc::clone(&clock)) });
    fill(&mut log, 3);
    clock.set(BEGINNING + 7 * DAY_MS);
    log.keeper.trim().expect("trimmed");
    assert_eq!(log.committer.shelf().size().2, 3, "just old enough to stay");
    clock.set(BEGINNING + 7 * DAY_MS + 1);
    let newest = commit(&mut log);
    log.keeper.trim().expect("trimmed");
    let shelf = log.committer.shelf();
    assert_eq!(shelf.size().2, 1);
    assert!(shelf.low_water() < newest.id && shelf.low_water() > HubId { ms: BEGINNING, seq: 0 });
}

#[test]
fn a_clock_that_jumps_removes_nothing() {
    let clock = TestClock::at(BEGINNING);
    let retention = Retention { bytes: u64::MAX, age_ms: DAY_MS };
    let disk = SimDisk::default();
    let opening = Opening { retention, retention_catch_up: Duration::from_secs(3600), ..opening(Arc::clone(&clock)) };
    let mut log = files(&disk, &opening);
    fill(&mut log, 3);
    for jump in [BEGINNING + 3650 * DAY_MS, 0, BEGINNING + 100 * DAY_MS] {
        clock.jump(jump);
        clock.set(clock.now_ms() + 1000);
        log.keeper.trim().expect("trimmed");
        assert_eq!(log.committer.shelf().size().2, 3, "after a jump to {jump}");
    }
    // Nor does a jump while it is not open: it ages by an hour at most.
    drop(log);
    clock.jump(BEGINNING + 9999 * DAY_MS);
    let mut log = files(&disk, &opening);
    log.keeper.trim().expect("trimmed");
    assert_eq!(log.committer.shelf().size().2, 3);
    // Time that does pass counts.
    clock.set(clock.now_ms() + DAY_MS);
    log.keeper.trim().expect("trimmed");
    assert_eq!(log.committer.shelf().size().2, 1);
}

/// The tail began with the last records of the epoch before, and its head was the last of them. A new reader was told
/// that place, and got a needless gap with it at each reconnection until there was an event.
#[test]
fn a_follower_is_given_nothing_of_an_epoch_that_is_over() {
    for is_memory in [false, true] {
        let disk = SimDisk::default();
        let clock = TestClock::at(BEGINNING);
        let open = |disk: &SimDisk, boot: u8| {
            let durability = if is_memory { Durability::Commit } else { Durability::Os };
            let config = FileLogConfig { durability, boot_id: [boot; 16], ..config() };
            FileLog::open(disk.clone(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened").0
        };
        let log = open(&disk, 1);
        let old = append(&log, vec![event(&["t"], "old")]);
        if is_memory {
            log.close();
            drop(log);
            append(&memory(&disk, &clock), vec![event(&["t"], "in memory")]);
        }
        // Killed, and what was written is there; but nobody knows.
        let disk = disk.restart(Outage::Kill);
        let log = open(&disk, 2);
        assert_eq!(log.standing(old[0]), Standing::Earlier);
        assert_eq!(read_all(&log).len(), 1, "it is read from the log");
        let tail = Arc::new(Tail::new(1 << 20));
        log.follow(tail.follower());
        let told = tail.read().head().1;
        assert_eq!(log.standing(told), Standing::Current, "{told} is told");
        assert_eq!(told, log.head());
        let new = append(&log, vec![event(&["t"], "new")]);
        assert_eq!((tail.read().before().1, tail.read().head().1), (told, new[0]));
        log.close();
        drop(log);
        // With an event, what is there is followed as after any start.
        let log = open(&disk.restart(Outage::Kill), 3);
        let followed = Followed::default();
        log.follow(followed.follower());
        assert_eq!(texts(&followed.all()), ["old", "new"]);
    }
}
