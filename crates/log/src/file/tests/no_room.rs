//! Starts on a disk that has no room.

use std::io;
use std::sync::Arc;

use super::super::keeper::KEEP_AGAIN;
use super::super::layout::segment_name;
use super::super::manifest::{Manifest, State};
use super::super::open::Durability;
use super::super::{FileLog, FileLogConfig, OpenError, Outage, SimDisk};
use super::{BEGINNING, config, open};
use crate::hiding_tests::topic;
use crate::memory::MemoryLogConfig;
use crate::testing::{TestClock, append, event, eventually, read_all, texts, try_append};
use crate::times::FLOOR_AHEAD_MS;
use crate::{AppendError, Clock, Erase, EventLog, MemoryLog};

const DAY_MS: u64 = 24 * 3600 * 1000;
const BOOT: [u8; 16] = *b"a kernel's start";

fn with(durability: Durability, boot_id: [u8; 16]) -> FileLogConfig {
    FileLogConfig { durability, boot_id, ..config() }
}

fn start(disk: &SimDisk, config: &FileLogConfig) -> Result<(FileLog<SimDisk>, Arc<TestClock>), OpenError> {
    let clock = TestClock::at(BEGINNING + DAY_MS);
    let (log, _) = FileLog::open(disk.clone(), config, Arc::clone(&clock) as Arc<dyn Clock>)?;
    Ok((log, clock))
}

/// A disk without room on which a log was left by a process that was closed or killed.
fn left_by(config: &FileLogConfig, is_closed: bool) -> SimDisk {
    let disk = SimDisk::default();
    let (log, _) = super::try_open_with(disk.clone(), config, BEGINNING).expect("opened");
    append(&log, vec![event(&["t"], "before")]);
    let killed = (!is_closed).then(|| disk.restart(Outage::Kill));
    drop(log);
    let disk = killed.unwrap_or_else(|| disk.restart(Outage::Kill));
    disk.set_space(Some(0));
    disk
}

fn manifest(disk: &SimDisk) -> Manifest {
    Manifest::read(disk).expect("whole")
}

/// The floor of ids was written at the start, and where that failed the hub did not start: one that was killed on a
/// full disk served nobody, not even readers, until there was room.
#[test]
fn a_log_on_a_full_disk_opens_and_ids_stay_at_the_floor_that_is_durable_until_there_is_room() {
    for is_closed in [false, true] {
        let disk = left_by(&config(), is_closed);
        let before = manifest(&disk);
        assert_eq!(before.state, if is_closed { State::Closed } else { State::Commit });
        let (log, _) = start(&disk, &config()).expect("opened");
        assert_eq!(manifest(&disk), before);
        assert_eq!(texts(&read_all(&log)), ["before"]);
        let mut published = vec!["before".to_owned()];
        let mut last = None;
        // The segment has room, and then there is none for another.
        while let Ok(ids) = try_append(&log, vec![event(&["t"], &"x".repeat(500))]) {
            assert!(ids[0].ms <= before.times.floor_ms, "{:?}", ids[0]);
            published.push("x".repeat(500));
            last = Some(ids[0]);
            assert!(published.len() < 10);
        }
        assert!(last.is_some_and(|last| last.ms == before.times.floor_ms));
        assert_eq!(try_append(&log, vec![event(&["t"], &"x".repeat(500))]), Err(AppendError::NoSpace));
        assert_eq!(texts(&read_all(&log)), published);

        let killed = disk.restart(Outage::PowerCut(1));
        assert_eq!(texts(&read_all(&start(&killed, &config()).expect("opened").0)), published, "and once more");
    }
}

#[test]
fn the_floor_is_moved_soon_after_there_is_room() {
    let disk = left_by(&config(), false);
    let kept = manifest(&disk).times.floor_ms;
    let (log, clock) = start(&disk, &config()).expect("opened");
    let failures = log.stats().trim_failures;
    clock.pass(u64::try_from(KEEP_AGAIN.as_millis()).expect("short"));
    log.call_keeper();
    eventually("it was tried again", || log.stats().trim_failures > failures);
    assert_eq!(manifest(&disk).times.floor_ms, kept);
    disk.set_space(None);
    clock.pass(u64::try_from(KEEP_AGAIN.as_millis()).expect("short"));
    log.call_keeper();
    eventually("it is moved", || manifest(&disk).times.floor_ms >= clock.now_ms() + FLOOR_AHEAD_MS);
    assert_eq!(manifest(&disk).state, State::Commit);
    eventually("ids follow the clock", || append(&log, vec![event(&["t"], "")])[0].ms == clock.now_ms());
}

/// Nothing may be told that is not durable first: neither an epoch's first place, nor that less is promised.
#[test]
fn a_start_that_must_change_the_manifest_fails_on_a_full_disk() {
    use Durability::{Commit, Os};
    let starts = [
        (with(Commit, BOOT), true, with(Os, BOOT), false),
        (with(Commit, BOOT), false, with(Os, BOOT), false),
        (with(Os, BOOT), false, with(Os, BOOT), true),
        (with(Os, BOOT), false, with(Commit, BOOT), true),
        (with(Os, BOOT), false, with(Os, *b"another start of"), false),
        (with(Os, BOOT), false, with(Commit, *b"another start of"), false),
    ];
    for (left, is_closed, asked, starts) in starts {
        let disk = left_by(&left, is_closed);
        match start(&disk, &asked) {
            Ok(_) => assert!(starts, "{left:?}, then {asked:?}"),
            Err(OpenError::Io { what: "write the manifest", source }) => {
                assert_eq!(source.kind(), io::ErrorKind::StorageFull);
                assert!(!starts, "{left:?}, then {asked:?}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    let disk = left_by(&config(), true);
    let memory = MemoryLog::open(disk, &MemoryLogConfig::default(), TestClock::at(BEGINNING));
    assert!(matches!(memory.map(drop), Err(OpenError::Io { what: "write the manifest", .. })));
}

#[test]
fn what_else_is_written_at_a_start_needs_no_room() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let ids = ["t", "u"].map(|topic| append(&log, vec![event(&[topic], "")])[0]);
    log.erase(&Erase::Topic(topic("u"))).expect("erased");
    // Left by a crash; and the segment as a copy may be that leaves out zeros.
    let killed = disk.restart(Outage::Kill);
    drop(log);
    let segment = killed.contents(&segment_name(1)).expect("there");
    let end = segment.iter().rposition(|&byte| byte != 0).expect("it holds something") + 1;
    killed.put(&segment_name(1), segment[..end + 10].to_vec());
    killed.put("manifest.tmp", vec![1; 50]);
    killed.set_space(Some(0));
    let (log, _clock) = start(&killed, &config()).expect("opened");
    let left = |log: &FileLog<SimDisk>| {
        let is_there = |id| log.event(id, &mut |_| ()).expect("read");
        ids.map(is_there)
    };
    assert_eq!(left(&log), [true, false]);
    for seed in 0..10 {
        let disk = killed.restart(Outage::PowerCut(seed));
        assert_eq!(left(&start(&disk, &config()).expect("opened").0), [true, false], "seed {seed}");
    }
}

/// What a start sees in its folder need not be durable there, and where there is no room it writes nothing that would make
/// it so. What is taken from then on must not go with the name of its segment.
#[test]
fn what_is_taken_on_a_full_disk_survives_a_power_cut_wherever_the_process_before_was_killed() {
    let mut taken = 0;
    for stop_at in 1..60 {
        let disk = SimDisk::default();
        let (log, _) = super::try_open_with(disk.clone(), &config(), BEGINNING).expect("opened");
        disk.stop_at(disk.operations() + stop_at);
        while try_append(&log, vec![event(&["t"], &"x".repeat(700))]).is_ok() {
            assert!(log.stats().segments < 20, "the machine has stopped");
        }
        let killed = disk.restart(Outage::Kill);
        drop(log);
        killed.set_space(Some(0));
        let Ok((log, _)) = start(&killed, &config()) else { continue };
        if try_append(&log, vec![event(&["t"], "taken")]).is_err() {
            continue;
        }
        taken += 1;
        let ids = |log: &FileLog<SimDisk>| read_all(log).iter().map(|seen| seen.id).collect::<Vec<_>>();
        let shown = ids(&log);
        let cut = killed.restart(Outage::PowerCut(stop_at));
        drop(log);
        cut.set_space(None);
        assert_eq!(ids(&start(&cut, &config()).expect("opened").0), shown, "killed in operation {stop_at}");
    }
    assert!(taken > 20, "{taken} starts took something");
}
