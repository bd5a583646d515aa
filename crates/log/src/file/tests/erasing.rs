use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::cursor::FileCursor;
use super::super::layout::segment_name;
use super::super::open::{self, Opened, Opening};
use super::super::picks::Wanted;
use super::super::tombstone_file::TOMBSTONES;
use super::super::{FileLog, FileLogConfig, OpenError, Outage, SimDisk};
use super::start::group_bounds;
use super::{BEGINNING, config, open_with_setup, opening, try_open_with};
use crate::conformance::Setup;
use crate::cursor::RecordCursor;
use crate::hiding_tests::{rules, topic};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{TestClock, append, event, event_with_id, eventually, everything, met_after, read_all, texts};
use crate::tombstones::Tombstone;
use crate::{Clock, Erase, EventLog, Hidden, HubId, Met, Tail};

#[test]
fn what_is_seen_is_what_the_model_says() {
    crate::hiding_model::run(open_with_setup, true);
}

/// Whether some bytes lie in any file of a folder.
fn holds(disk: &SimDisk, bytes: &str) -> bool {
    let contents = disk.names().into_iter().filter_map(|name| disk.contents(&name).ok());
    contents.into_iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes.as_bytes()))
}

#[test]
fn the_bytes_are_overwritten_in_time_and_the_tombstone_goes_with_the_segment() {
    let disk = SimDisk::default();
    let clock = TestClock::at(BEGINNING);
    let config =
        FileLogConfig { erase_within: Duration::from_millis(100), retention_bytes: 3 * 4096 + 2 * 8192, ..config() };
    let (log, _) = FileLog::open(disk.clone(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    let publish = |n: usize| append(&log, vec![event(&["t"], &format!("secret {n} {}", "x".repeat(500)))])[0];
    let ids: Vec<HubId> = (0..10).map(publish).collect();
    log.erase(&Erase::Event(ids[1])).expect("erased");
    log.erase(&Erase::Event(ids[9])).expect("erased");
    assert!(holds(&disk, "secret 1 "), "not yet");
    let is_gone = |n: usize| !holds(&disk, &format!("secret {n} "));
    eventually("the bytes are overwritten, in sealed segments and in the active one", || {
        // The keeper may not have looked at the clock yet.
        clock.set(clock.now_ms() + 10);
        is_gone(1) && is_gone(9)
    });
    assert!(holds(&disk, "secret 2 "));
    assert_eq!(met_after(&log, HubId::ZERO, &everything()).iter().filter(|met| met.is_ok()).count(), 8);
    assert_eq!(log.stats().tombstones, 2, "they stay while the records' heads do");
    for n in 10..60 {
        publish(n);
    }
    eventually("the mark passes them", || log.stats().tombstones == 0);
    assert_eq!(log.stats().overwrite_failures, 0);
}

/// Also of what is erased just after a pass over the segments has begun, which waits for the next one.
#[test]
fn the_bytes_are_overwritten_within_an_hour_unless_told_otherwise() {
    const HOUR: Duration = Duration::from_secs(3600);
    assert_eq!(FileLogConfig::default().erase_within, HOUR);
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let opening = Opening { erase_within: HOUR, ..opening(Arc::clone(&clock)) };
    let mut log = open::open(disk.clone(), &opening, &Fingerprints::default()).expect("opened");
    let ids: Vec<HubId> = (0..3).map(|n| publish(&mut log, "t", &format!("secret {n}")).expect("committed")).collect();
    let mut erased: Vec<Duration> = Vec::new();
    for (n, id) in ids.into_iter().enumerate() {
        log.keeper.sweep.eraser().erase(&[Tombstone::Event(id)]).expect("erased");
        erased.push(clock.monotonic());
        let waits_for = |n: usize| holds(&disk, &format!("secret {n}"));
        // The last one alone; the others until the pass for the one before has begun.
        while waits_for(n.saturating_sub(1)) || n == 2 && waits_for(n) {
            let (pause, done) = log.keeper.turn();
            done.expect("the disk works");
            for (n, erased) in erased.iter().enumerate() {
                assert!(!waits_for(n) || clock.monotonic() - *erased < HOUR, "{n} is still there");
            }
            clock.set(clock.now_ms() + u64::try_from(pause.as_millis()).expect("short"));
        }
    }
}

#[test]
fn what_a_rule_hides_leaves_the_tail() {
    let clock = TestClock::at(BEGINNING);
    let config = FileLogConfig { retention_rules: rules(&[("/brief/*", 5)]), ..config() };
    let (log, _) = FileLog::open(SimDisk::default(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let ids = append(&log, vec![event(&["t"], "1"), event(&["/brief/1"], "2"), event(&["t"], "3")]);
    clock.set(BEGINNING + 5_001);
    // It calls the keeper, whose time has not come otherwise.
    log.erase(&Erase::Topic(topic("nowhere"))).expect("erased");
    eventually("the tail has forgotten it", || tail.read().before().1 == ids[1]);
    assert_eq!(tail.read().head().1, ids[2]);
}

/// An erased event that a publisher's id names lies in the window of idempotence when the hub starts: its frame
/// cannot be read any more.
#[test]
fn a_start_passes_over_what_was_overwritten() {
    let disk = SimDisk::default();
    let config = FileLogConfig { erase_within: Duration::ZERO, ..config() };
    let (log, _) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    append(&log, vec![event_with_id("t", "x", "secret 1"), event_with_id("t", "y", "2")]);
    log.erase(&Erase::PublisherId { topic: topic("t"), id: "x".to_owned() }).expect("erased");
    eventually("the bytes are overwritten", || !holds(&disk, "secret 1"));
    drop(log);
    let disk = disk.restart(Outage::PowerCut(7));
    let (log, recovery) = try_open_with(disk.clone(), &config, BEGINNING).expect("opened");
    assert_eq!((recovery.records, recovery.idempotence_entries, recovery.cut_bytes), (2, 1, 0));
    assert_eq!(log.stats().tombstones, 1);
    append(&log, vec![event_with_id("t", "x", "anew")]);
    drop(log);
    // Without the tombstone it is damage, and nothing else is.
    let bytes = disk.contents(TOMBSTONES).expect("there");
    disk.take(TOMBSTONES);
    let refused = try_open_with(disk.clone(), &config, BEGINNING).map(|_| ()).expect_err("refused");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    disk.put(TOMBSTONES, bytes);
    let (log, _) = try_open_with(disk, &config, BEGINNING).expect("opened");
    let met = met_after(&log, HubId::ZERO, &everything());
    assert!(met[0].is_err());
    assert_eq!(texts(&met.into_iter().filter_map(Result::ok).collect::<Vec<_>>()), ["2", "anew"]);
}

/// A log without threads that is erased from while its machine stops.
struct Stopped {
    disk: SimDisk,
    /// The data of the events, by id.
    published: Vec<(HubId, String)>,
    /// Of what was begun to be erased: the numbers of the events, and whether it was answered.
    erased: Vec<(Vec<usize>, bool)>,
}

fn open(disk: &SimDisk) -> Result<Opened<SimDisk, ()>, OpenError> {
    let opening = Opening { erase_within: Duration::ZERO, ..opening(TestClock::at(BEGINNING)) };
    open::open(disk.clone(), &opening, &Fingerprints::default())
}

fn sweep(log: &mut Opened<SimDisk, ()>) -> bool {
    let now = Duration::from_millis(BEGINNING);
    (0..20).any(|_| log.keeper.sweep.turn(now).is_none()) && log.keeper.sweep.failures == 0
}

fn publish(log: &mut Opened<SimDisk, ()>, of: &str, data: &str) -> Option<HubId> {
    let array = Array::new(vec![event(&[of], data)], &Fingerprints::default());
    let moment = log.times.moment();
    let (_, answer) = log.committer.commit(&mut VecDeque::from([(array, ())]), &moment).remove(0);
    answer.ok().map(|ids| ids[0])
}

/// Publishes, erases in a sealed segment and in the active one, and overwrites, until the machine stops.
fn run(stop_at: Option<u64>) -> Stopped {
    let disk = SimDisk::default();
    let mut log = open(&disk).expect("opened");
    let mut published = Vec::new();
    for n in 0..12 {
        let data = format!("secret {n}: {}", "x".repeat(700));
        let of = if n % 3 == 0 { "third" } else { "other" };
        published.push((publish(&mut log, of, &data).expect("committed"), data));
    }
    if let Some(stop_at) = stop_at {
        disk.stop_at(disk.operations() + stop_at);
    }
    let head = log.committer.shelf().head();
    let eraser = Arc::clone(log.keeper.sweep.eraser());
    let third = Tombstone::Topic { topic: "third".into(), through: head };
    let requests = [
        (vec![Tombstone::Event(published[1].0)], vec![1]),
        (vec![Tombstone::Event(published[11].0), Tombstone::Event(published[10].0)], vec![11, 10]),
        (vec![third], vec![0, 3, 6, 9]),
    ];
    let mut erased = Vec::new();
    for (n, (tombstones, events)) in requests.into_iter().enumerate() {
        erased.push((events, eraser.erase(&tombstones).is_ok()));
        if n == 1 {
            sweep(&mut log);
        }
    }
    // What is published meanwhile lies behind it in the active segment.
    if let Some(id) = publish(&mut log, "other", "later") {
        published.push((id, "later".to_owned()));
    }
    sweep(&mut log);
    Stopped { disk, published, erased }
}

/// Opens the log after an outage, and checks that it holds what it must and shows what it may.
fn check(stopped: &Stopped, disk: &SimDisk, what: &str) {
    let mut log = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut shown = Vec::new();
    let mut cursor = FileCursor::after(log.committer.shelf(), HubId::ZERO, Wanted::All).expect("a segment");
    while let Some(head) = cursor.next_head().expect(what) {
        let id = head.id;
        if log.visibility.hides(&head).is_none() {
            cursor.record().unwrap_or_else(|error| panic!("{what}: {id} is seen and not whole: {error}"));
            shown.push(id);
        }
    }
    drop(cursor);
    for (n, (id, data)) in stopped.published.iter().enumerate() {
        let requests = || stopped.erased.iter().filter(|(events, _)| events.contains(&n));
        let is_shown = shown.contains(id);
        assert!(!is_shown || requests().all(|(_, is_answered)| !is_answered), "{what}: {n} is shown again");
        assert!(is_shown || requests().count() > 0, "{what}: {n} is lost");
        assert_eq!(shown.contains(id), is_shown, "{what}: {data}");
    }
    assert!(sweep(&mut log), "{what}: it is made good after a start");
    drop(log);
    let disk = disk.restart(Outage::PowerCut(3));
    for (n, (id, _)) in stopped.published.iter().enumerate() {
        let marker = if n == 12 { "later".to_owned() } else { format!("secret {n}:") };
        assert_eq!(holds(&disk, &marker), shown.contains(id), "{what}: the bytes of {n}");
    }
    open(&disk).unwrap_or_else(|error| panic!("{what}, then opened once more: {error}"));
}

#[test]
fn whatever_operation_the_machine_stops_in_what_was_erased_stays_so_and_its_bytes_go() {
    let whole = run(None);
    let operations = whole.disk.operations();
    check(&whole, &whole.disk.restart(Outage::Kill), "not stopped");
    let mut stops = 0;
    for stop_at in 1.. {
        let outages = [Outage::Kill].into_iter().chain((0..6).map(Outage::PowerCut));
        for outage in outages {
            let stopped = run(Some(stop_at));
            check(&stopped, &stopped.disk.restart(outage), &format!("stopped at {stop_at}, {outage:?}"));
        }
        stops = stop_at;
        if run(Some(stop_at)).erased.iter().all(|(_, is_answered)| *is_answered) && stop_at > operations {
            break;
        }
    }
    assert!(stops > 20, "{stops}");
}

#[test]
fn a_start_that_is_interrupted_anywhere_can_be_made_again() {
    // The first stop is in the sync of a tombstone, which a killed process leaves in the page cache alone.
    for (first_stop, stop_at) in (1..30).flat_map(|stop_at| [(7, stop_at), (25, stop_at)]) {
        for seed in 0..4 {
            let stopped = run(Some(first_stop));
            let disk = stopped.disk.restart(if seed == 0 { Outage::Kill } else { Outage::PowerCut(seed) });
            disk.stop_at(stop_at);
            if let Ok(mut log) = open(&disk) {
                sweep(&mut log);
            }
            let disk = disk.restart(Outage::PowerCut(seed + 100));
            check(&stopped, &disk, &format!("start stopped at {stop_at}, seed {seed}"));
        }
    }
}

/// The pass went over what it could not read without a word, and noted that all was overwritten, for ever.
#[test]
fn what_lies_in_a_damaged_stretch_is_not_said_to_be_overwritten() {
    let disk = SimDisk::default();
    let mut log = open(&disk).expect("opened");
    let ids: Vec<HubId> = (0..6)
        .map(|n| publish(&mut log, "t", &format!("secret {n}: {}", "x".repeat(900))).expect("committed"))
        .collect();
    let first = segment_name(1);
    let whole = disk.contents(&first).expect("there");
    let bounds = group_bounds(&whole);
    assert!(log.committer.shelf().size().2 > 1 && bounds.len() > 3, "the first segment is sealed: {bounds:?}");
    disk.damage(&first, bounds[1], b"damage");
    let eraser = Arc::clone(log.keeper.sweep.eraser());
    eraser.erase(&[0, 1, 5].map(|n| Tombstone::Event(ids[n]))).expect("erased");
    assert!(!sweep(&mut log), "it is reported");
    assert_eq!(log.keeper.sweep.failures, 1);
    assert!(!holds(&disk, "secret 0:") && !holds(&disk, "secret 5:"), "the others are");
    assert!(holds(&disk, "secret 1:"));
    let pending = |log: &Opened<SimDisk, ()>| log.visibility.tombstones().pending().len();
    assert_eq!(pending(&log), 1);
    drop(log);
    let disk = disk.restart(Outage::PowerCut(1));
    let mut log = open(&disk).expect("opened");
    assert_eq!(pending(&log), 1);
    // A topic may have lain anywhere behind the damage; one that reaches less far has not.
    let eraser = Arc::clone(log.keeper.sweep.eraser());
    let topic = |topic: &str, through| Tombstone::Topic { topic: topic.into(), through };
    eraser.erase(&[topic("before", ids[0]), topic("behind", ids[4])]).expect("erased");
    assert!(!sweep(&mut log));
    assert_eq!(pending(&log), 2);
    // Put back from a copy.
    disk.put(&first, whole);
    drop(log);
    let disk = disk.restart(Outage::Kill);
    let mut log = open(&disk).expect("opened");
    assert!(sweep(&mut log));
    assert_eq!(pending(&log), 0);
    assert!(!holds(&disk, "secret 1:"));
}

#[test]
fn a_failed_sync_of_a_tombstone_is_answered_and_the_next_one_is_durable() {
    for seed in 0..20 {
        let disk = SimDisk::default();
        let log = try_open_with(disk.clone(), &config(), BEGINNING).expect("opened").0;
        let ids = append(&log, vec![event(&["t"], "1"), event(&["t"], "2"), event(&["t"], "3")]);
        log.erase(&Erase::Event(ids[0])).expect("erased");
        disk.fail_sync_after(0);
        assert!(log.erase(&Erase::Event(ids[1])).is_err());
        assert_eq!(texts(&read_seen(&log)), ["2", "3"]);
        log.erase(&Erase::Event(ids[2])).expect("erased");
        drop(log);
        let log = try_open_with(disk.restart(Outage::PowerCut(seed)), &config(), BEGINNING).expect("opened").0;
        assert_eq!(texts(&read_seen(&log)), ["2"]);
    }
}

#[test]
fn a_full_disk_erases_nothing_and_says_so() {
    let disk = SimDisk::default();
    let log = try_open_with(disk.clone(), &config(), BEGINNING).expect("opened").0;
    let ids = append(&log, vec![event(&["t"], "1"), event(&["t"], "2")]);
    disk.set_space(Some(0));
    let refused = log.erase(&Erase::Event(ids[0]));
    assert!(matches!(refused, Err(crate::EraseError::NoSpace)), "{refused:?}");
    assert_eq!(texts(&read_all(&log)), ["1", "2"]);
    disk.set_space(None);
    disk.set_read_only(true);
    let refused = log.erase(&Erase::Event(ids[0]));
    assert!(matches!(refused, Err(crate::EraseError::NoSpace)), "{refused:?}");
    disk.set_read_only(false);
    log.erase(&Erase::Event(ids[0])).expect("erased");
    assert_eq!(texts(&read_seen(&log)), ["2"]);
}

fn read_seen(log: &dyn EventLog) -> Vec<crate::testing::Seen> {
    met_after(log, HubId::ZERO, &everything()).into_iter().filter_map(Result::ok).collect()
}

/// A setup whose clock stands where the tests of this file begin.
#[test]
fn the_model_begins_where_these_tests_do() {
    assert_eq!(Setup::default().clock.now_ms(), BEGINNING);
}

/// What was erased while a reader was in its segment was shown to that reader, once retention had removed the segment
/// and with it the tombstone.
#[test]
fn what_was_erased_is_hidden_also_from_who_reads_a_segment_that_is_removed() {
    let clock = TestClock::at(BEGINNING);
    let config = FileLogConfig { retention_age: Duration::from_secs(100), ..config() };
    let (log, _) = FileLog::open(SimDisk::default(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.extend(append(&log, vec![event(&["t"], &format!("{n} {}", "x".repeat(1000)))]));
    }
    assert!(log.stats().segments > 2);
    let met: Mutex<Vec<(HubId, Option<Hidden>)>> = Mutex::default();
    log.read(HubId::ZERO, &everything(), u64::MAX, &mut |found| {
        let mut met = met.lock().expect("unpoisoned");
        if met.is_empty() {
            log.erase(&Erase::Event(ids[2])).expect("erased");
            // What retention does, when all of this has become too old.
            clock.set(clock.now_ms() + 200_000);
            log.keeper.lock().expect("unpoisoned").trim().expect("removed");
            assert!(log.low_water() > ids[2]);
        }
        met.push(match found {
            Met::Record(record) => (record.id, None),
            Met::Hidden { place, why } => (place, Some(why)),
        });
        ControlFlow::Continue(())
    })
    .expect("read");
    let met = met.into_inner().expect("unpoisoned");
    assert!(!met.contains(&(ids[2], None)), "it was erased, and its erasing answered: {met:?}");
}
