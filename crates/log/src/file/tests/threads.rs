use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};

use super::super::index::index_name;
use super::super::layout::{SEGMENT_HEADER, segment_name};
use super::super::{FileLog, FileLogConfig, Reports, SimDisk};
use super::{BEGINNING, config, open, try_open_with};
use crate::testing::{Followed, append, begin_append, event, eventually, read_all, try_append, wait};
use crate::{AppendError, EventLog, Follower, HubId, RecordView};

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
    fn forget(&mut self, _: HubId) {}

    fn committed(&mut self, _: &[RecordView<'_>]) {
        self.entered.send(()).unwrap_or_default();
        // When the test has let go, nothing is slow any more.
        self.go_on.lock().expect("unpoisoned").recv().unwrap_or_default();
    }
}

/// Segments that a disk in memory makes quickly.
fn small() -> FileLogConfig {
    FileLogConfig { segment_bytes: 1 << 20, ..FileLogConfig::default() }
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

/// How often a log commits that is given 100 small events while it is busy with its first.
fn commits_of_little_that_waits() -> u64 {
    let (log, go_on) = busy_log(&small());
    let answers: Vec<_> = (0..100).map(|n| begin_append(&log, vec![event(&["t"], &n.to_string())])).collect();
    assert!(log.stats().waiting_bytes > 5000);
    drop(go_on);
    let ids: Vec<HubId> = answers.iter().flat_map(|answered| wait(answered).expect("appended")).collect();
    assert!(ids.is_sorted());
    let stats = log.stats();
    assert_eq!(stats.appended, 101);
    assert_eq!(stats.commits.buckets.iter().sum::<u64>(), stats.commits.count);
    assert_eq!(stats.syncs.count, stats.commits.count);
    log.close();
    assert_eq!(log.stats().waiting_bytes, 0);
    stats.commits.count
}

#[test]
fn what_waits_meanwhile_is_committed_as_one_group() {
    // The first one, and all the rest. Where the other thread is called for something else meanwhile, as by the
    // keeper, it takes along what is there.
    let counts: Vec<u64> = (0..10).map(|_| commits_of_little_that_waits()).collect();
    assert!(counts.iter().all(|count| (2..=3).contains(count)), "{counts:?}");
    assert!(counts.contains(&2), "{counts:?}");
}

#[test]
fn much_that_waits_meanwhile_is_written_and_synced_meanwhile() {
    let (log, go_on) = busy_log(&small());
    let answers: Vec<_> = (0..20).map(|_| begin_append(&log, vec![event(&["t"], &"x".repeat(5000))])).collect();
    eventually("a second commit", || log.stats().commits.count > 1);
    assert!(answers.iter().all(|answered| answered.try_recv().is_err()), "nobody is answered out of turn");
    drop(go_on);
    let ids: Vec<HubId> = answers.iter().flat_map(|answered| wait(answered).expect("appended")).collect();
    assert!(ids.is_sorted());
}

/// What the keeper asks for is not left to the thread that shows, whose follower may take its time.
#[test]
fn what_is_urgent_calls_the_other_thread_though_little_waits() {
    let (log, go_on) = busy_log(&small());
    let answered = begin_append(&log, vec![event(&["t"], "little")]);
    log.call_keeper();
    // What waits is taken along.
    eventually("a second commit", || log.stats().commits.count > 1);
    assert!(answered.try_recv().is_err(), "nobody is answered out of turn");
    drop(go_on);
    wait(&answered).expect("appended");
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
        fn forget(&mut self, _: HubId) {}
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

/// The thread that removes old files, moves the floor of ids and overwrites what was erased was gone without anybody
/// being told, until the disk was full.
#[test]
fn a_log_whose_keeper_has_panicked_takes_nothing_and_says_why() {
    let disk = SimDisk::default();
    let log = open(&disk);
    for _ in 0..10 {
        append(&log, vec![event(&["t"], &"x".repeat(1000))]);
    }
    drop(log);
    // It meets damage when it makes the index that is absent, and reports it.
    disk.take(&index_name(1));
    disk.damage(&segment_name(1), SEGMENT_HEADER, &[0]);
    let reports = Reports::to(|_| panic!("a report that panics, as it should in this test"));
    let config = FileLogConfig { scrub_rate: 0, reports, ..config() };
    let (log, _) = try_open_with(disk, &config, BEGINNING).expect("opened");
    eventually("it is unwritable", || !log.is_writable());
    let Err(AppendError::Failed { reason }) = try_append(&log, vec![event(&["t"], "")]) else { panic!("taken") };
    assert!(reason.contains("removes old files"), "{reason}");
    log.follow(Followed::default().follower());
    log.close();
}
