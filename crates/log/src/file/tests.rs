use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::layout::{GROUP_HEADER, GroupHeader, SEGMENT_HEADER, segment_name};
use super::manifest::MANIFEST;
use super::{Disk, FileLog, FileLogConfig, OpenError, Outage, RealDisk, Recovery, SimDisk};
use crate::conformance::{Setup, conformance};
use crate::testing::{
    Followed, TestClock, append, begin_append, event, event_with_id, everything, read_after, read_all, texts,
    try_append, wait,
};
use crate::{AppendError, Clock, EventLog, Follower, HubId, ReadError, RecordView};

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

/// A disk with a log whose first segment holds these groups of one event each.
fn disk_with(groups: &[&str]) -> SimDisk {
    let disk = SimDisk::default();
    let log = open(&disk);
    for data in groups {
        append(&log, vec![event(&["t"], data)]);
    }
    disk
}

/// Where the groups of a segment begin, and where the last one ends.
fn group_bounds(bytes: &[u8]) -> Vec<usize> {
    let mut bounds = vec![SEGMENT_HEADER];
    let mut at = SEGMENT_HEADER;
    while bytes[at..].starts_with(b"TWGR") {
        let body = u32::from_le_bytes(*bytes[at + 12..].first_chunk().expect("four bytes"));
        at += GROUP_HEADER + body as usize;
        bounds.push(at);
    }
    bounds
}

#[test]
fn a_log_on_a_real_disk_comes_back_and_ids_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |now_ms| {
        try_open_with(RealDisk::new(folder.path().join("log")).expect("made"), &config(), now_ms).expect("opened")
    };
    let (log, recovery) = open(BEGINNING);
    assert_eq!(recovery, Recovery { created: true, segments: 1, ..Recovery::default() });
    let ids: Vec<HubId> =
        (0..50).flat_map(|n| append(&log, vec![event(&["t"], &format!("{n} {}", "x".repeat(200)))])).collect();
    let before = read_all(&log);
    drop(log);
    let (log, recovery) = open(BEGINNING - 500);
    assert_eq!((recovery.created, recovery.records, recovery.cut_bytes), (false, 50, 0));
    assert!(recovery.segments > 4, "{recovery:?}");
    assert_eq!(read_all(&log), before);
    assert_eq!((log.head(), log.first_place()), (ids[49], HubId { ms: BEGINNING, seq: 0 }));
    assert!(append(&log, vec![event(&["t"], "")])[0] > ids[49]);
}

#[test]
fn a_second_one_in_the_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || try_open_with(RealDisk::new(folder.path()).expect("made"), &config(), BEGINNING);
    let first = open().expect("opened");
    assert!(matches!(open().map(|_| ()), Err(OpenError::Locked)));
    drop(first);
    open().expect("free again");
}

#[test]
fn a_torn_last_group_is_cut_whatever_byte_it_is_torn_at() {
    let disk = disk_with(&["one", "two", "a third that is torn"]);
    let name = segment_name(1);
    let whole = disk.contents(&name).expect("there");
    let bounds = group_bounds(&whole);
    let (start, end) = (bounds[2], bounds[3]);
    for torn_at in start..end {
        let mut zeros = whole.clone();
        zeros[torn_at..].fill(0);
        let mut garbage = whole.clone();
        garbage[torn_at..].fill(0xa5);
        let mut short = whole.clone();
        short.truncate(torn_at);
        for (kind, bytes) in [("zeros", zeros), ("garbage", garbage), ("short", short)] {
            if bytes == whole {
                continue;
            }
            let disk = disk.restart(Outage::Kill);
            disk.put(&name, bytes);
            let (log, recovery) = try_open(&disk).expect(kind);
            assert_eq!(texts(&read_all(&log)), ["one", "two"], "{kind} at {torn_at}");
            assert_eq!(recovery.cut_bytes == 0, torn_at == start && kind != "garbage", "{recovery:?}");
            append(&log, vec![event(&["t"], "after")]);
            drop(log);
            let after = disk.contents(&name).expect("there");
            assert_eq!(after.len(), whole.len());
            let end = *group_bounds(&after).last().expect("groups");
            assert!(after[end..].iter().all(|&b| b == 0), "{kind} at {torn_at}: zeros behind the end");
            assert_eq!(texts(&read_all(&open(&disk))), ["one", "two", "after"], "{kind} at {torn_at}");
        }
    }
}

#[test]
fn a_flipped_bit_before_the_last_group_stops_the_start_and_changes_nothing() {
    let disk = disk_with(&["one", "two", "three"]);
    let name = segment_name(1);
    let whole = disk.contents(&name).expect("there");
    let bounds = group_bounds(&whole);
    for at in 0..bounds[2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let disk = disk.restart(Outage::Kill);
        disk.put(&name, bytes.clone());
        let group = bounds.iter().rev().find(|&&start| start <= at).copied().unwrap_or(0);
        match try_open(&disk).map(|_| ()) {
            Err(OpenError::Damaged { file, position, .. }) => {
                assert_eq!((file, position), (name.clone(), group as u64))
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(disk.contents(&name).expect("there"), bytes, "byte {at}");
    }
}

/// A publisher does not know the log's id, so it cannot make data that, half written at a crash,
/// would pass for a group and stop the start.
#[test]
fn data_that_looks_like_a_group_does_not_stop_the_start() {
    let header = GroupHeader {
        count: 1,
        body_bytes: 100,
        records_crc: 1,
        predecessor: 1,
        first_sequence: 1,
        durable_sequence: u64::MAX,
    };
    let disk = disk_with(&["one", "torn"]);
    let name = segment_name(1);
    let mut bytes = disk.contents(&name).expect("there");
    let torn = group_bounds(&bytes)[1];
    bytes[torn..torn + 8].fill(0);
    let mut own = bytes.clone();
    bytes[torn + 60..torn + 60 + GROUP_HEADER].copy_from_slice(&header.encode(b"not this log's..").0);
    disk.put(&name, bytes);
    assert_eq!(texts(&read_all(&open(&disk))), ["one"]);

    let manifest = disk.contents(MANIFEST).expect("there");
    let log_id = manifest[16..32].first_chunk().expect("sixteen bytes");
    own[torn + 60..torn + 60 + GROUP_HEADER].copy_from_slice(&header.encode(log_id).0);
    disk.put(&name, own);
    assert!(matches!(try_open(&disk).map(|_| ()), Err(OpenError::Damaged { .. })), "the log's own would");
}

#[test]
fn damage_in_an_older_segment_is_found_by_who_reads_it() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let ids: Vec<HubId> = (0..60).flat_map(|_| append(&log, vec![event(&["t"], &"x".repeat(200))])).collect();
    drop(log);
    let name = segment_name(1);
    let mut bytes = disk.contents(&name).expect("there");
    let bounds = group_bounds(&bytes);
    bytes[bounds[3] - 10] ^= 1;
    disk.put(&name, bytes);
    let log = try_open_with(disk, &FileLogConfig { idempotence_window: Duration::ZERO, ..config() }, BEGINNING)
        .expect("sealed segments are not read at the start")
        .0;
    let mut seen = Vec::new();
    let mut visit = |record: &RecordView<'_>| {
        seen.push(record.id);
        ControlFlow::Continue(())
    };
    match log.read(HubId::ZERO, &everything(), u64::MAX, &mut visit) {
        Err(ReadError::Damaged { file, position }) => {
            assert_eq!((file, position), (name, (bounds[2] + GROUP_HEADER) as u64));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(seen, ids[..2]);
    assert_eq!(read_after(&log, ids[2], &everything()).len(), 57, "behind it all is well");
}

#[test]
fn a_folder_that_is_not_what_a_log_leaves_behind_is_refused() {
    let disk = SimDisk::default();
    let log = open(&disk);
    for _ in 0..60 {
        append(&log, vec![event(&["t"], &"x".repeat(200))]);
    }
    drop(log);
    let segments: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect();
    assert!(segments.len() > 3);
    let refused = |change: &dyn Fn(&SimDisk)| {
        let copy = SimDisk::default();
        for name in disk.names() {
            copy.put(&name, disk.contents(&name).expect("there"));
        }
        change(&copy);
        try_open(&copy).map(|_| ()).expect_err("refused")
    };
    let missing = |file: &String| format!("the segment before {file} is missing: put it back from a copy");
    assert_eq!(refused(&|disk| disk.take(&segments[0])).to_string(), missing(&segments[1]));
    assert_eq!(refused(&|disk| disk.take(&segments[2])).to_string(), missing(&segments[3]));
    let none = refused(&|disk| segments.iter().for_each(|name| disk.take(name)));
    assert!(matches!(none, OpenError::NoSegments), "{none}");
    let unnamed = refused(&|disk| disk.take(MANIFEST));
    assert!(matches!(unnamed, OpenError::NoManifest), "{unnamed}");

    let other = disk_with(&["other"]);
    let first = other.contents(&segments[0]).expect("there");
    let foreign = refused(&|disk| disk.put(&segments[0], first.clone()));
    assert!(matches!(&foreign, OpenError::OtherLog { file } if *file == segments[0]), "{foreign}");

    let newer = |name: &str| {
        refused(&|disk| {
            let mut bytes = disk.contents(name).expect("there");
            bytes[12] = 2;
            let end = if name == MANIFEST { bytes.len() } else { SEGMENT_HEADER };
            let crc = crc32c::crc32c(&bytes[12..end]);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
            disk.put(name, bytes);
        })
        .to_string()
    };
    for name in [MANIFEST, &segments[1]] {
        let expected = format!("{name} has format 2, and this version reads format 1: use the version that wrote it");
        assert_eq!(newer(name), expected);
    }
    let short = refused(&|disk| disk.put(&segments[1], disk.contents(&segments[1]).expect("there")[..2000].to_vec()));
    assert!(matches!(&short, OpenError::Damaged { file, position: 2000, .. } if *file == segments[1]), "{short}");
    let stub = refused(&|disk| disk.put(&segments[1], vec![0; 20]));
    assert!(matches!(&stub, OpenError::Damaged { file, position: 0, .. } if *file == segments[1]), "{stub}");
}

#[test]
fn a_segment_size_out_of_range_is_refused() {
    for bytes in [4095, 1 << 32] {
        let config = FileLogConfig { segment_bytes: bytes, ..config() };
        let refused = try_open_with(SimDisk::default(), &config, 0).map(|_| ()).expect_err("refused");
        assert!(matches!(refused, OpenError::SegmentBytes { bytes: found } if found == bytes));
    }
}

#[test]
fn an_array_of_one_byte_more_than_a_segment_holds_is_refused() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let sized = |n: usize| vec![event(&["t"], &"x".repeat(n))];
    let Err(AppendError::TooLarge { bytes, bytes_max }) = try_append(&log, sized(4096)) else { panic!("not refused") };
    assert_eq!(bytes_max, 4096 - SEGMENT_HEADER - GROUP_HEADER);
    let fits = 4096 - (bytes - bytes_max);
    append(&log, vec![event(&["t"], "so that it goes into the next segment")]);
    append(&log, sized(fits));
    assert_eq!(try_append(&log, sized(fits + 1)), Err(AppendError::TooLarge { bytes: bytes_max + 1, bytes_max }));
    assert_eq!(log.stats().segments, 2);
    drop(log);
    // Larger segments take it, also when the newest one is small and empty.
    let disk = SimDisk::default();
    drop(open(&disk));
    let larger = FileLogConfig { segment_bytes: 8192, ..config() };
    let (log, _) = try_open_with(disk.clone(), &larger, BEGINNING).expect("opened");
    append(&log, sized(fits + 1));
    assert_eq!((log.stats().segments, log.stats().bytes), (1, 8192));
    drop(log);
    assert_eq!(read_all(&open(&disk)).len(), 1);
}

#[test]
fn a_full_disk_refuses_what_needs_another_segment_until_there_is_room() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let big = || vec![event(&["t"], &"x".repeat(1500))];
    append(&log, big());
    append(&log, big());
    disk.set_space(Some(6000));
    for _ in 0..3 {
        assert_eq!(try_append(&log, big()), Err(AppendError::NoSpace));
        assert!(log.is_writable());
        assert!(!disk.names().iter().any(|name| name.ends_with(".tmp")), "{:?}", disk.names());
    }
    append(&log, vec![event(&["t"], "what still fits")]);
    assert_eq!(read_all(&log).len(), 3);
    disk.set_space(None);
    append(&log, big());
    drop(log);
    assert_eq!(read_all(&open(&disk)).len(), 4);
}

#[test]
fn after_a_failed_sync_nothing_is_taken_and_what_was_committed_is_read() {
    for (seed, outage) in [(0, Outage::Kill), (1, Outage::PowerCut(1)), (2, Outage::PowerCut(2))] {
        let disk = SimDisk::default();
        let log = open(&disk);
        let followed = Followed::default();
        log.follow(followed.follower());
        append(&log, vec![event_with_id("t", "x", "committed")]);
        disk.fail_sync_after(0);
        assert_eq!(try_append(&log, vec![event(&["t"], "lost?")]), Err(AppendError::Unknown));
        let later = try_append(&log, vec![event(&["t"], "never")]);
        assert!(matches!(&later, Err(AppendError::Failed { reason }) if reason == "input/output error"), "{later:?}");
        assert!(!log.is_writable());
        assert_eq!(texts(&read_all(&log)), ["committed"]);
        assert_eq!(texts(&followed.all()), ["committed"]);
        drop(log);
        let log = open(&disk.restart(outage));
        let seen = read_all(&log);
        assert!(matches!(&texts(&seen)[..], ["committed"] | ["committed", "lost?"]), "{seen:?} with {seed}");
        append(&log, vec![event(&["t"], "on")]);
    }
}

/// Were the old segment written on after this, and the new one found at the next start, its
/// header would cut off what had been acknowledged.
#[test]
fn when_it_is_not_known_whether_a_new_segment_is_there_the_log_has_failed() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let big = || vec![event(&["t"], &"x".repeat(1500))];
    append(&log, big());
    append(&log, big());
    disk.fail_sync_after(1);
    assert!(matches!(try_append(&log, big()), Err(AppendError::Failed { .. })));
    assert!(matches!(try_append(&log, vec![event(&["t"], "would fit")]), Err(AppendError::Failed { .. })));
    assert!(!log.is_writable());
    drop(log);
    for seed in 0..10 {
        assert_eq!(read_all(&open(&disk.restart(Outage::PowerCut(seed)))).len(), 2);
    }
}

#[test]
fn publishers_ids_are_known_after_a_restart() {
    let disk = SimDisk::default();
    let config = FileLogConfig { idempotence_window: Duration::from_millis(1000), idempotence_entries: 50, ..config() };
    let clock = TestClock::at(BEGINNING);
    let (log, _) = FileLog::open(disk.clone(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    let publish = |n: u64| vec![event_with_id("t", &format!("x{n}"), &format!("{n} {}", "x".repeat(200)))];
    let mut ids = Vec::new();
    for n in 0..60 {
        clock.set(BEGINNING + n * 20);
        ids.extend(append(&log, publish(n)));
    }
    drop(log);
    let reopen = |now_ms| try_open_with(disk.restart(Outage::Kill), &config, now_ms).expect("opened");
    let now_ms = BEGINNING + 60 * 20;
    let (log, recovery) = reopen(now_ms);
    // Of 0 to 59, those from 11 on were published less than a second ago.
    assert_eq!(recovery.idempotence_entries, 49);
    for n in 11..60 {
        assert_eq!(append(&log, publish(n)), [ids[n as usize]]);
    }
    let other = vec![event_with_id("t", "x59", "other")];
    assert_eq!(try_append(&log, other), Err(AppendError::IdConflict { index: 0, first: ids[59] }));
    assert!(append(&log, publish(10)) > vec![ids[59]], "the window has passed it");
    drop(log);
    let (log, recovery) = reopen(BEGINNING);
    assert_eq!(recovery.idempotence_entries, 50, "at most idempotence_entries, the newest, though the clock went back");
    assert_eq!(log.stats().idempotence_evictions, 0);
}

#[test]
fn the_segments_that_a_crash_left_below_the_mark_are_removed() {
    let disk = SimDisk::default();
    let config = FileLogConfig { retention_bytes: 4 * 4096, ..config() };
    let fill = |log: &FileLog<SimDisk>| {
        for _ in 0..20 {
            append(log, vec![event(&["t"], &"x".repeat(1000))]);
        }
    };
    let (log, _) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    let first = disk.contents(&segment_name(1)).expect("there");
    fill(&log);
    let (low_water, stats) = (log.low_water(), log.stats());
    assert_eq!((stats.segments, stats.bytes, stats.trim_failures), (4, 4 * 4096, 0));
    assert!(low_water > log.first_place());
    drop(log);
    assert!(!disk.names().contains(&segment_name(1)));
    disk.put(&segment_name(1), first);
    let (log, recovery) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    assert!(!disk.names().contains(&segment_name(1)));
    assert_eq!((recovery.segments, log.low_water()), (4, low_water));
    assert_eq!(read_all(&log).len() as u64, recovery.records);
}

#[test]
fn less_retention_after_a_restart_removes_segments_by_itself() {
    let disk = SimDisk::default();
    let log = open(&disk);
    for _ in 0..20 {
        append(&log, vec![event(&["t"], &"x".repeat(1000))]);
    }
    assert_eq!(log.stats().segments, 7);
    drop(log);
    let less = FileLogConfig { retention_bytes: 1, ..config() };
    let (log, _) = try_open_with(disk, &less, BEGINNING).expect("opened");
    // The thread trims before anything else; a follower has begun after that.
    log.follow(Followed::default().follower());
    assert_eq!(log.stats().segments, 1, "the newest one stays");
    assert_eq!(read_after(&log, log.low_water(), &everything()), read_all(&log));
}

#[test]
fn a_reader_whose_segment_is_removed_goes_on_with_what_is_left() {
    let disk = SimDisk::default();
    let config = FileLogConfig { retention_bytes: 2 * 4096, ..config() };
    let (log, _) = try_open_with(disk, &config, BEGINNING).expect("opened");
    let fill = || (0..12).flat_map(|_| append(&log, vec![event(&["t"], &"x".repeat(1000))])).collect::<Vec<_>>();
    let before = [vec![log.head()], fill()].concat();
    let mut seen = Vec::new();
    let mut after = Vec::new();
    let mut visit = |record: &RecordView<'_>| {
        seen.push(record.id);
        if seen.len() == 1 {
            after = fill();
        }
        ControlFlow::Continue(())
    };
    let end = log.read(HubId::ZERO, &everything(), u64::MAX, &mut visit).expect("read");
    assert!(before.contains(&seen[0]), "the open file was still read");
    assert!(end.low_water > seen[0], "and the reader can tell that something went");
    assert_eq!(seen.last(), after.last());
    assert!(seen.is_sorted());
}

#[test]
fn a_follower_begins_with_the_newest_groups_that_fit() {
    let disk = SimDisk::default();
    let config = FileLogConfig { segment_bytes: 1 << 20, tail_bytes: 200 << 10, ..FileLogConfig::default() };
    let (log, _) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    for n in 0..300 {
        append(&log, vec![event(&["t"], &format!("{n} {}", "x".repeat(2000)))]);
    }
    drop(log);
    let (log, _) = try_open_with(disk, &config, BEGINNING).expect("opened");
    let followed = Followed::default();
    log.follow(followed.follower());
    let all = read_all(&log);
    let begin = followed.begin().expect("begun");
    let followed = followed.all();
    assert!((90..140).contains(&followed.len()), "{}", followed.len());
    assert_eq!(followed, all[all.len() - followed.len()..]);
    assert_eq!(begin, all[all.len() - followed.len() - 1].id);
}

/// A follower that says when it was given a group, and waits until it may go on.
struct Slow {
    entered: SyncSender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Follower for Slow {
    fn begin(&mut self, _: HubId) {}

    fn committed(&mut self, _: &[RecordView<'_>]) {
        self.entered.send(()).unwrap_or_default();
        // When the test has let go, nothing is slow any more.
        self.go_on.lock().expect("unpoisoned").recv().unwrap_or_default();
    }
}

/// A log whose thread is busy with its first group until the sender is dropped.
fn busy_log(config: &FileLogConfig) -> (FileLog<SimDisk>, SyncSender<()>) {
    let (log, _) = try_open_with(SimDisk::default(), config, BEGINNING).expect("opened");
    let (entered, has_entered) = mpsc::sync_channel(1);
    let (go_on, may_go_on) = mpsc::sync_channel(1);
    log.follow(Box::new(Slow { entered, go_on: Mutex::new(may_go_on) }));
    drop(begin_append(&log, vec![event(&["t"], "first")]));
    wait(&has_entered);
    (log, go_on)
}

#[test]
fn what_waits_meanwhile_is_committed_as_one_group() {
    let (log, go_on) = busy_log(&FileLogConfig::default());
    let answers: Vec<_> = (0..100).map(|n| begin_append(&log, vec![event(&["t"], &n.to_string())])).collect();
    assert!(log.stats().waiting_bytes > 5000);
    drop(go_on);
    let ids: Vec<HubId> = answers.iter().flat_map(|answered| wait(answered).expect("appended")).collect();
    assert!(ids.is_sorted());
    let stats = log.stats();
    assert_eq!((stats.commits, stats.appended), (2, 101));
    assert_eq!(stats.commit_buckets.iter().sum::<u64>(), 2);
    log.close();
    assert_eq!(log.stats().waiting_bytes, 0);
}

#[test]
fn one_array_more_than_the_queue_holds_is_refused() {
    let config = FileLogConfig { append_queue_bytes: 20_000, ..FileLogConfig::default() };
    let (log, go_on) = busy_log(&config);
    let sized = || vec![event(&["t"], &"x".repeat(5000))];
    let answers: Vec<_> = (0..3).map(|_| begin_append(&log, sized())).collect();
    let waiting = log.stats().waiting_bytes;
    assert!(waiting < 20_000);
    assert_eq!(try_append(&log, sized()), Err(AppendError::Busy));
    assert_eq!(log.stats().waiting_bytes, waiting);
    drop(go_on);
    for answered in answers {
        wait(&answered).expect("appended");
    }
    append(&log, sized());
    drop(log);
    let config = FileLogConfig { append_queue_bytes: 1, ..config };
    let (log, _) = try_open_with(SimDisk::default(), &config, BEGINNING).expect("opened");
    append(&log, sized());
    assert_eq!(log.stats().appended, 1, "where nothing waits, one array is taken, however long");
}

#[test]
fn nobody_waits_for_a_thread_that_has_panicked() {
    struct Panics;
    impl Follower for Panics {
        fn begin(&mut self, _: HubId) {}
        fn committed(&mut self, _: &[RecordView<'_>]) {
            panic!("a follower that panics, as it should in this test");
        }
    }
    let log = open(&SimDisk::default());
    log.follow(Box::new(Panics));
    let answered = begin_append(&log, vec![event(&["t"], "")]);
    assert!(answered.recv().is_err(), "dropped unanswered");
    // The thread ends while this waits, or has ended.
    log.follow(Followed::default().follower());
    let later = try_append(&log, vec![event(&["t"], "")]);
    assert!(matches!(later, Err(AppendError::Failed { .. } | AppendError::Unknown)), "{later:?}");
    assert!(!log.is_writable());
}

#[test]
fn the_last_one_to_let_go_of_the_log_may_be_its_own_thread() {
    let disk = SimDisk::default();
    let log: Arc<dyn EventLog> = Arc::new(open(&disk));
    let (answer, answered) = mpsc::sync_channel(1);
    let (let_go, has_let_go) = mpsc::sync_channel::<()>(1);
    let held = Arc::clone(&log);
    log.append(
        vec![event(&["t"], "")],
        Box::new(move |_| {
            has_let_go.recv().unwrap_or_default();
            drop(held);
            answer.send(()).unwrap_or_default();
        }),
    );
    drop(log);
    drop(let_go);
    wait(&answered);
}

#[test]
fn an_unreadable_folder_says_what_was_tried() {
    let disk = SimDisk::default();
    disk.stop_at(0);
    let refused = try_open(&disk).map(|_| ()).expect_err("refused");
    assert_eq!(refused.to_string(), "failed to lock the folder");
    let source = std::error::Error::source(&refused).and_then(|source| source.downcast_ref::<io::Error>());
    assert!(source.is_some());
}
