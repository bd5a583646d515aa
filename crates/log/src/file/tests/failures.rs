//! What becomes of groups that could not be written or synced, and of the log after that.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::super::batch::{Answer, Finished};
use super::super::layout::segment_name;
use super::super::manifest::{Manifest, State};
use super::super::open::{self, Opened};
use super::super::{FileLog, Outage, SimDisk};
use super::{BEGINNING, config, open, opening};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{
    Followed, TestClock, append, event, event_with_id, eventually, everything, read_after, read_all, texts, try_append,
};
use crate::{AppendError, Clock, EventLog, HubId, NewEvent};

/// A log of short segments without its threads, and what is written to it: the tickets are numbers.
struct Steps {
    disk: SimDisk,
    clock: Arc<TestClock>,
    log: Opened<SimDisk, u32>,
    fingerprints: Fingerprints,
}

impl Steps {
    fn new() -> Steps {
        let (disk, fingerprints) = (SimDisk::default(), Fingerprints::default());
        let clock = TestClock::at(BEGINNING);
        let log = open::open(disk.clone(), &opening(Arc::clone(&clock)), &fingerprints).expect("opened");
        Steps { disk, clock, log, fingerprints }
    }

    fn write(&mut self, ticket: u32, event: NewEvent) {
        let mut array = Array::new(vec![event], &self.fingerprints);
        self.log.lookup.look_up(&mut array).expect("looked up");
        let mut waiting = VecDeque::from([(array, ticket)]);
        self.log.committer.write(&mut waiting, &self.log.times.moment());
        assert!(waiting.is_empty(), "it was taken");
    }

    fn begin_sync(&mut self) {
        assert!(self.log.committer.begin_sync().is_some());
    }

    fn finish(&mut self, synced: io::Result<()>) -> Finished<u32> {
        self.log.committer.finish(synced, &self.log.times.moment())
    }

    fn commit(&mut self, event: NewEvent) -> Answer {
        let mut waiting = VecDeque::from([(Array::new(vec![event], &self.fingerprints), 0)]);
        self.log.committer.commit(&mut waiting, &self.log.times.moment()).remove(0).1
    }
}

fn failed() -> io::Result<()> {
    Err(io::Error::other("input/output error"))
}

fn not_written() -> Answer {
    Err(AppendError::NotWritten { reason: "input/output error".to_owned() })
}

fn fates(finished: &Finished<u32>) -> Vec<(u32, bool)> {
    finished.answers.iter().map(|(ticket, answer)| (*ticket, answer.is_ok())).collect()
}

#[test]
fn while_one_group_is_synced_the_next_is_written_and_each_is_shown_after_its_own_sync() {
    let mut steps = Steps::new();
    steps.write(1, event(&["t"], "one"));
    steps.begin_sync();
    steps.write(2, event(&["t"], "two"));
    steps.write(3, event(&["t"], "three"));
    assert!(steps.log.committer.begin_sync().is_none(), "one sync at a time");
    assert_eq!(fates(&steps.finish(Ok(()))), [(1, true)]);
    let first = steps.log.committer.shelf().head();
    steps.begin_sync();
    assert_eq!(steps.log.committer.shelf().head(), first);
    assert_eq!(fates(&steps.finish(Ok(()))), [(2, true), (3, true)], "two groups, one sync");
    assert!(steps.log.committer.begin_sync().is_none(), "nothing is left");
    drop(steps.log);
    assert_eq!(texts(&read_all(&open(&steps.disk))), ["one", "two", "three"]);
}

#[test]
fn the_groups_behind_a_failed_sync_share_its_fate_also_a_retry() {
    let mut steps = Steps::new();
    steps.commit(event(&["t"], "committed")).expect("committed");
    let head = steps.log.committer.shelf().head();
    steps.write(1, event_with_id("t", "x", "one"));
    steps.begin_sync();
    steps.write(2, event_with_id("t", "x", "one"));
    steps.write(3, event_with_id("t", "x", "other content"));
    steps.write(4, event(&["t"], "two"));
    let finished = steps.finish(failed());
    assert!(finished.groups.is_empty());
    let answers: Vec<_> = (1..5).map(|ticket| (ticket, not_written())).collect();
    assert_eq!(finished.answers, answers);
    assert_eq!(steps.log.committer.shelf().head(), head);
    // What was not committed is not remembered, and its id does not come again.
    let ids = steps.commit(event_with_id("t", "x", "other content")).expect("committed");
    assert!(ids[0] > HubId { ms: head.ms, seq: head.seq + 2 }, "{ids:?} after {head}");
    assert_eq!(steps.log.committer.segments().shown().sequence, 2, "sequences have no hole");
    assert_eq!((steps.log.committer.seals, steps.log.committer.segments().failed_syncs), (1, 1));
    drop(steps.log);
    for seed in 0..10 {
        let log = open(&steps.disk.restart(Outage::PowerCut(seed)));
        assert_eq!(texts(&read_all(&log)), ["committed", "other content"]);
    }
}

#[test]
fn a_failed_write_does_not_take_along_what_stands_before_it() {
    let mut steps = Steps::new();
    steps.write(1, event(&["t"], "one"));
    steps.begin_sync();
    steps.write(2, event(&["t"], "two"));
    steps.disk.fail_writes(0, 1);
    steps.write(3, event(&["t"], "three"));
    assert_eq!(fates(&steps.finish(Ok(()))), [(1, true)]);
    // Nothing is written behind it.
    let mut waiting = VecDeque::from([(Array::new(vec![event(&["t"], "four")], &steps.fingerprints), 4)]);
    steps.log.committer.write(&mut waiting, &steps.log.times.moment());
    assert_eq!(waiting.len(), 1);
    steps.begin_sync();
    let finished = steps.finish(Ok(()));
    assert_eq!(fates(&finished), [(2, true), (3, false)]);
    assert_eq!(finished.answers[1].1, not_written());
    assert_eq!(steps.log.committer.shelf().size().2, 2);
    assert!(steps.log.committer.commit(&mut waiting, &steps.log.times.moment())[0].1.is_ok());
    drop(steps.log);
    assert_eq!(texts(&read_all(&open(&steps.disk))), ["one", "two", "four"]);
}

#[test]
fn after_a_failed_sync_the_log_goes_on_in_a_new_segment() {
    for seed in 0..5 {
        let disk = SimDisk::default();
        let log = open(&disk);
        let followed = Followed::default();
        log.follow(followed.follower());
        append(&log, vec![event_with_id("t", "x", "committed")]);
        let indexed = log.shelf().indexed();
        for n in 0..3 {
            disk.fail_sync_after(0);
            assert_eq!(try_append(&log, vec![event_with_id("t", "y", &format!("lost {n}"))]), not_written());
            assert!(log.is_writable());
            // Or its sync would fail in place of the next group's.
            eventually("the first segment has its index", || log.shelf().indexed() > indexed);
        }
        append(&log, vec![event_with_id("t", "y", "on")]);
        let stats = log.stats();
        // Two of the three ended a segment that held nothing, and took its place.
        assert_eq!((stats.failed_syncs, stats.seals, stats.segments), (3, 3, 2));
        assert_eq!(texts(&read_all(&log)), ["committed", "on"]);
        assert_eq!(texts(&followed.all()), ["committed", "on"]);
        drop(log);
        let log = open(&disk.restart(Outage::PowerCut(seed)));
        assert_eq!(texts(&read_all(&log)), ["committed", "on"]);
    }
}

/// Without the new segment, a restart might find what failed.
#[test]
fn nobody_is_answered_before_the_seal_is_durable_and_it_is_tried_again_once_a_second() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let (log, _) = FileLog::open(disk.clone(), &config(), Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    let followed = Followed::default();
    log.follow(followed.follower());
    append(&log, vec![event(&["t"], "committed")]);
    // The group, and at the second try the name of the new segment; its zeros and its header are synced.
    disk.fail_syncs(0, 2);
    assert_eq!(try_append(&log, vec![event(&["t"], "lost?")]), Err(AppendError::Unknown));
    assert!(!log.is_writable());
    disk.fail_syncs(2, 1);
    let operations = disk.operations();
    let later = try_append(&log, vec![event(&["t"], "never")]);
    assert!(matches!(&later, Err(AppendError::Failed { reason }) if reason == "input/output error"), "{later:?}");
    assert_eq!(disk.operations(), operations, "not before a second has passed");
    clock.pass(1_000);
    let later = try_append(&log, vec![event(&["t"], "never")]);
    assert!(matches!(later, Err(AppendError::Failed { .. })), "{later:?}");
    assert!(disk.names().contains(&segment_name(2)) && !log.is_writable());
    clock.pass(1_000);
    append(&log, vec![event(&["t"], "on")]);
    assert!(log.is_writable());
    assert_eq!(texts(&read_all(&log)), ["committed", "on"]);
    assert_eq!(texts(&followed.all()), ["committed", "on"]);
    drop(log);
    for seed in 0..10 {
        assert_eq!(texts(&read_all(&open(&disk.restart(Outage::PowerCut(seed))))), ["committed", "on"]);
    }
}

#[test]
fn a_log_in_trouble_recovers_though_nobody_publishes() {
    let mut steps = Steps::new();
    steps.disk.fail_syncs(0, 2);
    assert_eq!(steps.commit(event(&["t"], "")), Err(AppendError::Unknown));
    steps.log.committer.tend(&steps.log.times.moment());
    assert!(steps.log.committer.refusal().is_some(), "a second has not passed");
    steps.clock.pass(1_000);
    steps.log.committer.tend(&steps.log.times.moment());
    assert!(steps.log.committer.refusal().is_none());
}

#[test]
fn a_log_that_was_left_in_trouble_does_not_say_that_it_was_closed() {
    for (syncs, state) in [(0, State::Closed), (2, State::Commit)] {
        let disk = SimDisk::default();
        let log = open(&disk);
        disk.fail_syncs(0, syncs);
        drop(try_append(&log, vec![event(&["t"], "")]));
        drop(log);
        assert_eq!(Manifest::read(&disk).expect("there").state, state);
    }
}

#[test]
fn where_nothing_may_be_written_publishers_are_told_that_there_is_no_room() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let (log, _) = FileLog::open(disk.clone(), &config(), Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    append(&log, vec![event(&["t"], "committed")]);
    disk.set_read_only(true);
    assert_eq!(try_append(&log, vec![event(&["t"], "lost?")]), Err(AppendError::Unknown), "nor can it be sealed");
    assert_eq!(try_append(&log, vec![event(&["t"], "never")]), Err(AppendError::NoSpace));
    assert_eq!(texts(&read_all(&log)), ["committed"]);
    disk.set_read_only(false);
    clock.pass(1_000);
    append(&log, vec![event(&["t"], "on")]);
    assert_eq!(texts(&read_all(&log)), ["committed", "on"]);
}

/// The new segment that was made of one in which nothing was durable has the same first sequence. A reader at
/// the end of the old one looked for a later one only.
#[test]
fn a_reader_in_a_segment_that_was_replaced_goes_on_in_the_other() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let shelf = Arc::clone(log.shelf());
    let old = shelf.segments().remove(0);
    disk.fail_sync_after(0);
    assert_eq!(try_append(&log, vec![event(&["t"], "lost")]), not_written());
    let new = shelf.next(&old).expect("in its place");
    assert_eq!(new.header.first_sequence, old.header.first_sequence);
    assert!(shelf.next(&new).is_none());
    append(&log, vec![event(&["t"], "on")]);
    assert_eq!(read_after(&log, HubId::ZERO, &everything()).len(), 1);
}

/// Only the last group was written once more at a start. With two under way, the one before it was as little
/// durable, and the system took it for written.
#[test]
fn every_group_that_no_other_vouches_for_is_written_once_more_at_the_start() {
    for seed in 0..20 {
        let mut steps = Steps::new();
        steps.write(1, event(&["t"], &"one ".repeat(100)));
        let sync = steps.log.committer.begin_sync().expect("written");
        steps.write(2, event(&["t"], &"two ".repeat(100)));
        steps.disk.fail_sync_after(0);
        assert!(sync.run().is_err());
        // The process is killed before it can do anything; the machine goes on, and loses power later.
        let disk = steps.disk.restart(Outage::Kill);
        let seen = read_all(&open(&disk));
        assert_eq!(seen.len(), 2, "the page cache has them");
        assert_eq!(read_all(&open(&disk.restart(Outage::PowerCut(seed)))), seen, "seed {seed}");
    }
}

#[test]
fn the_keepers_turn_calls_the_committing_threads() {
    let (disk, clock) = (SimDisk::default(), TestClock::at(BEGINNING));
    let (log, _) = FileLog::open(disk.clone(), &config(), Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    disk.fail_syncs(0, 2);
    assert_eq!(try_append(&log, vec![event(&["t"], "")]), Err(AppendError::Unknown));
    clock.pass(1_000);
    log.call_keeper();
    eventually("the log has found a way to go on", || log.is_writable());
}
