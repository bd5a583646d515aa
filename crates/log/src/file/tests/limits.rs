use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::super::layout::{GROUP_HEADER, SEGMENT_HEADER, segment_name};
use super::super::open::{self, Opened};
use super::super::{FileLog, FileLogConfig, OpenError, Outage, RealDisk, Recovery, SimDisk};
use super::{BEGINNING, config, opening, try_open_with};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{
    TestClock, append, event, event_with_id, eventually, everything, read_after, read_all, shown, try_append,
};
use crate::{AppendError, Clock, EventLog, HubId, RecordView, Standing};

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
    assert_eq!(log.head(), ids[49]);
    assert_eq!(log.standing(ids[0]), Standing::Current);
    assert!(append(&log, vec![event(&["t"], "")])[0] > ids[49]);
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
    let log = super::open(&disk);
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
    drop(super::open(&disk));
    let larger = FileLogConfig { segment_bytes: 8192, ..config() };
    let (log, _) = try_open_with(disk.clone(), &larger, BEGINNING).expect("opened");
    append(&log, sized(fits + 1));
    assert_eq!((log.stats().segments, log.stats().bytes), (1, 8192));
    drop(log);
    assert_eq!(read_all(&super::open(&disk)).len(), 1);
}

#[test]
fn a_full_disk_refuses_what_needs_another_segment_until_there_is_room() {
    let disk = SimDisk::default();
    let log = super::open(&disk);
    let big = || vec![event(&["t"], &"x".repeat(1500))];
    append(&log, big());
    // Before the segment is half full, and the next one made ahead of need.
    disk.set_space(Some(6000));
    append(&log, big());
    for _ in 0..3 {
        assert_eq!(try_append(&log, big()), Err(AppendError::NoSpace));
        assert!(log.is_writable());
        // One that is made ahead of need may just have failed.
        eventually("nothing half made is left", || !disk.names().iter().any(|name| name.ends_with(".tmp")));
    }
    append(&log, vec![event(&["t"], "what still fits")]);
    assert_eq!(read_all(&log).len(), 3);
    disk.set_space(None);
    append(&log, big());
    drop(log);
    assert_eq!(read_all(&super::open(&disk)).len(), 4);
}

fn open_short_segments(disk: SimDisk, fingerprints: &Fingerprints) -> Opened<SimDisk, ()> {
    open::open(disk, &opening(TestClock::at(BEGINNING)), fingerprints).expect("opened")
}

/// Were the old segment written on after this, and the new one found at the next start, its
/// header would cut off what had been acknowledged.
#[test]
fn when_it_is_not_known_whether_a_new_segment_is_there_the_old_one_is_not_written_on() {
    let disk = SimDisk::default();
    let fingerprints = Fingerprints::default();
    let clock = TestClock::at(BEGINNING);
    let opened = open::open(disk.clone(), &opening(Arc::clone(&clock)), &fingerprints).expect("opened");
    let Opened { mut committer, times, .. } = opened;
    let mut commit = |data: &str| {
        let mut waiting = VecDeque::from([(Array::new(vec![event(&["t"], data)], &fingerprints), ())]);
        committer.commit(&mut waiting, &times.moment()).remove(0).1
    };
    let big = "x".repeat(1500);
    assert!(commit(&big).is_ok() && commit(&big).is_ok());
    // The zeros are synced, and the header; the name is not.
    disk.fail_sync_after(2);
    assert!(matches!(commit(&big), Err(AppendError::Failed { .. })));
    assert!(disk.names().contains(&segment_name(3)));
    assert!(matches!(commit("would fit"), Err(AppendError::Failed { .. })));
    clock.pass(1_000);
    assert!(commit("fits in the new one").is_ok());
    drop(committer);
    for seed in 0..10 {
        let log = super::open(&disk.restart(Outage::PowerCut(seed)));
        assert_eq!((read_all(&log).len(), log.stats().segments), (3, 2));
    }
}

/// Anything but a full disk, such as too many open files, was answered as if the log had failed for good.
#[test]
fn a_segment_that_cannot_be_made_now_may_be_made_later() {
    let disk = SimDisk::default();
    let fingerprints = Fingerprints::default();
    let Opened { mut committer, times, .. } = open_short_segments(disk.clone(), &fingerprints);
    let mut commit = || {
        let array = Array::new(vec![event(&["t"], &"x".repeat(1500))], &fingerprints);
        committer.commit(&mut VecDeque::from([(array, ())]), &times.moment()).remove(0).1
    };
    assert!(commit().is_ok() && commit().is_ok());
    disk.fail_sync_after(0);
    assert!(matches!(commit(), Err(AppendError::NoSegment { .. })));
    assert!(commit().is_ok());
}

/// A publisher's retry stood before an array that needed a new segment, so nobody fetched the file that was
/// being made ahead. Another was made under the same name, which is the same file: the log went on in it
/// while it was still filled with zeros, and the next segment's header was written over its own. After that
/// the log did not open any more.
#[test]
fn a_segment_is_begun_only_by_the_first_array_of_a_group() {
    let fingerprints = Fingerprints::default();
    let Opened { mut committer, times, .. } = open_short_segments(SimDisk::default(), &fingerprints);
    let array = |event| (Array::new(vec![event], &fingerprints), ());
    let retried = || event_with_id("t", "retried", "");
    let big = || event(&["t"], &"x".repeat(3000));
    let mut waiting = VecDeque::from([array(retried()), array(big())]);
    assert_eq!(committer.commit(&mut waiting, &times.moment()).len(), 2);
    let mut waiting = VecDeque::from([array(retried()), array(big())]);
    assert!(!committer.needs_segment(&waiting, &times.moment()));
    assert_eq!(committer.commit(&mut waiting, &times.moment()).len(), 1, "the retry alone");
    assert!(committer.needs_segment(&waiting, &times.moment()));
    assert_eq!(committer.shelf().size().2, 1);
    assert_eq!(committer.commit(&mut waiting, &times.moment()).len(), 1, "it is the first now");
    assert_eq!(committer.shelf().size().2, 2);
}

#[test]
fn publishers_ids_are_known_after_a_restart() {
    let disk = SimDisk::default();
    let config = FileLogConfig { idempotence_window: Duration::from_millis(1000), ..config() };
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
    let last = recovery.idempotence_entries;
    assert!(0 < last && last < 20, "{last}: only those of the last segment are read back");
    for n in 11..60 {
        assert_eq!(append(&log, publish(n)), [ids[n as usize]]);
    }
    let other = vec![event_with_id("t", "x59", "other")];
    assert_eq!(try_append(&log, other), Err(AppendError::IdConflict { index: 0, first: ids[59] }));
    assert!(append(&log, publish(10)) > vec![ids[59]], "the window has passed it");
    drop(log);
    // The clock was set back meanwhile: nothing is older for it.
    let (log, _) = reopen(BEGINNING);
    for n in 11..60 {
        assert_eq!(append(&log, publish(n)), [ids[n as usize]]);
    }
}

/// Four short segments, and the indexes of three.
const FOUR_SEGMENTS: u64 = 4 * 4096 + 3 * 8192;

#[test]
fn the_segments_that_a_crash_left_below_the_mark_are_removed() {
    let disk = SimDisk::default();
    let config = FileLogConfig { retention_bytes: FOUR_SEGMENTS, ..config() };
    let fill = |log: &FileLog<SimDisk>| {
        for _ in 0..20 {
            append(log, vec![event(&["t"], &"x".repeat(1000))]);
        }
    };
    let (log, _) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    let first = disk.contents(&segment_name(1)).expect("there");
    fill(&log);
    eventually("old segments are removed", || (log.stats().segments, log.stats().bytes) == (4, FOUR_SEGMENTS));
    let (low_water, stats) = (log.low_water(), log.stats());
    assert_eq!((stats.segments, stats.bytes, stats.trim_failures), (4, FOUR_SEGMENTS, 0));
    assert!(low_water > HubId { ms: BEGINNING, seq: 0 });
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
    let log = super::open(&disk);
    for _ in 0..20 {
        append(&log, vec![event(&["t"], &"x".repeat(1000))]);
    }
    assert_eq!(log.stats().segments, 7);
    drop(log);
    let less = FileLogConfig { retention_bytes: 1, ..config() };
    let (log, _) = try_open_with(disk, &less, BEGINNING).expect("opened");
    eventually("all but the newest one are removed", || log.stats().segments == 1);
    assert_eq!(read_after(&log, log.low_water(), &everything()), read_all(&log));
}

#[test]
fn a_reader_whose_segment_is_removed_goes_on_with_what_is_left() {
    let disk = SimDisk::default();
    let config = FileLogConfig { retention_bytes: 2 * 4096 + 8192, ..config() };
    let (log, _) = try_open_with(disk, &config, BEGINNING).expect("opened");
    let fill = || (0..12).flat_map(|_| append(&log, vec![event(&["t"], &"x".repeat(1000))])).collect::<Vec<_>>();
    let before = [vec![log.head()], fill()].concat();
    let mut seen = Vec::new();
    let mut after = Vec::new();
    let mut visit = shown(|record: &RecordView<'_>| {
        seen.push(record.id);
        if seen.len() == 1 {
            after = fill();
            eventually("old segments are removed", || log.stats().segments == 2);
        }
        ControlFlow::Continue(())
    });
    let end = log.read(HubId::ZERO, &everything(), u64::MAX, &mut visit).expect("read");
    drop(visit);
    assert!(before.contains(&seen[0]), "the open file was still read");
    assert!(end.low_water > seen[0], "and the reader can tell that something went");
    assert_eq!(seen.last(), after.last());
    assert!(seen.is_sorted());
}

/// Walks begin at marks, 64 KiB apart, between groups and within them, and must not pass anything
/// over.
#[test]
fn in_a_long_segment_every_place_is_found() {
    let disk = SimDisk::default();
    let config = FileLogConfig { segment_bytes: 4 << 20, ..FileLogConfig::default() };
    let (log, _) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    let mut ids = Vec::new();
    for n in 0..40 {
        let size = if n % 5 == 0 { 30 } else { 1 };
        ids.extend(append(&log, (0..size).map(|_| event(&["t"], &"x".repeat(4000))).collect()));
    }
    assert!(ids.len() > 250);
    let check = |log: &FileLog<SimDisk>| {
        for (n, &id) in ids.iter().enumerate() {
            assert!(log.event(id, &mut |record| assert_eq!(record.id, id)).expect("read"), "{id}");
            let mut next = None;
            let mut visit = shown(|record: &RecordView<'_>| {
                next = Some(record.id);
                ControlFlow::Break(())
            });
            log.read(id, &everything(), u64::MAX, &mut visit).expect("read");
            drop(visit);
            assert_eq!(next, ids.get(n + 1).copied(), "after {id}");
        }
        assert_eq!(read_all(log).len(), ids.len());
        assert_eq!(log.place_before_last(200, &everything()).expect("read").place, ids[ids.len() - 201]);
    };
    check(&log);
    drop(log);
    check(&try_open_with(disk, &config, BEGINNING).expect("opened").0);
}

#[test]
fn a_reader_meets_what_is_committed_meanwhile_also_where_its_segment_ends() {
    let log = super::open(&SimDisk::default());
    let fill = |count| (0..count).flat_map(|_| append(&log, vec![event(&["t"], &"x".repeat(500))])).collect::<Vec<_>>();
    let mut ids = fill(2);
    let mut seen = Vec::new();
    let mut visit = shown(|record: &RecordView<'_>| {
        seen.push(record.id);
        if seen.len() == 1 {
            ids.extend(fill(20));
        }
        ControlFlow::Continue(())
    });
    let end = log.read(HubId::ZERO, &everything(), u64::MAX, &mut visit).expect("read");
    drop(visit);
    assert!(log.stats().segments > 2);
    assert_eq!(seen, ids);
    assert_eq!((end.looked_at, end.at_head), (ids[21], true));
}
