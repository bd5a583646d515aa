//! What was published before is sought where waiting for the disk keeps nobody else waiting.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use super::super::counting_disk::CountingDisk;
use super::super::index::index_name;
use super::super::open::{self, Opened};
use super::super::{Disk, FileLog, FileLogConfig, SimDisk};
use super::{BEGINNING, config, opening, try_open_with};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{TestClock, append, begin_append, event, event_with_id, eventually, read_all, wait};
use crate::{AppendError, EventLog, HubId, NewEvent};

fn published(n: usize) -> NewEvent {
    event_with_id("t", &format!("id {n}"), &"x".repeat(500))
}

/// A log of several segments, all of them indexed but the last, and the ids of what was published.
fn filled<D: Disk>(disk: D, config: &FileLogConfig) -> (FileLog<D>, Vec<HubId>) {
    let log = try_open_with(disk, config, BEGINNING).expect("opened").0;
    let ids = (0..40).flat_map(|n| append(&log, vec![published(n)])).collect();
    eventually("indexes are written", || {
        let (last, sealed) =
            log.shelf.segments().split_last().map(|(last, sealed)| (last.clone(), sealed.to_vec())).expect("there");
        last.has_index_in_memory() && sealed.iter().all(|segment| segment.unwritten().is_none())
    });
    assert!(log.stats().segments > 4);
    (log, ids)
}

/// A publisher's id was sought in index files by whoever appended: on the server, that was a thread of the runtime, and
/// on a slow disk a few publishers with ids kept everybody waiting, also those who only asked whether the hub was well.
#[test]
fn who_appends_does_not_wait_for_the_disk_and_neither_do_others() {
    let disk = CountingDisk::new(SimDisk::default());
    let (log, ids) = filled(disk.clone(), &config());
    disk.shut(true);
    let sought: Vec<_> = (0..10).map(|n| begin_append(&log, vec![published(n)])).collect();
    append(&log, vec![event(&["t"], "without an id")]);
    append(&log, vec![event(&["t"], "and another")]);
    assert!(sought.iter().all(|sought| matches!(sought.try_recv(), Err(TryRecvError::Empty))), "nobody knows yet");
    assert!(log.stats().waiting_bytes > 5000, "they count with what waits");
    disk.shut(false);
    for (n, sought) in sought.iter().enumerate() {
        assert_eq!(wait(sought), Ok(vec![ids[n]]));
    }
    assert_eq!(log.stats().waiting_bytes, 0);
    assert_eq!(log.stats().records, 42);
}

#[test]
fn where_no_sealed_segment_lies_in_the_window_nothing_is_sought() {
    let disk = CountingDisk::new(SimDisk::default());
    let config = FileLogConfig { idempotence_window: Duration::ZERO, ..config() };
    let (log, ids) = filled(disk.clone(), &config);
    disk.shut(true);
    assert!(append(&log, vec![published(0)])[0] > ids[39]);
    disk.shut(false);
}

#[test]
fn what_is_sought_counts_with_what_waits_and_is_refused_beyond_the_limit() {
    let disk = CountingDisk::new(SimDisk::default());
    let config = FileLogConfig { append_queue_bytes: 2000, ..config() };
    let (log, ids) = filled(disk.clone(), &config);
    disk.shut(true);
    let sought: Vec<_> = (0..2).map(|n| begin_append(&log, vec![published(n)])).collect();
    assert_eq!(wait(&begin_append(&log, vec![event(&["t"], &"x".repeat(1000))])), Err(AppendError::Busy));
    disk.shut(false);
    for (n, sought) in sought.iter().enumerate() {
        assert_eq!(wait(sought), Ok(vec![ids[n]]));
    }
}

/// Its bytes would be counted for ever, and one thread less would seek for all others.
#[test]
fn a_look_up_that_panics_costs_only_the_one_whose_array_it_was() {
    let disk = CountingDisk::new(SimDisk::default());
    let (log, ids) = filled(disk.clone(), &config());
    // More often than there are threads.
    for (n, id) in ids.iter().enumerate().take(5) {
        disk.let_seeker_panic();
        let refused = wait(&begin_append(&log, vec![published(n)]));
        assert!(matches!(&refused, Err(AppendError::Unread { reason }) if reason.contains("panicked")), "{refused:?}");
        assert_eq!(log.stats().waiting_bytes, 0);
        assert_eq!(wait(&begin_append(&log, vec![published(n)])), Ok(vec![*id]));
    }
    assert!(log.is_writable());
    append(&log, vec![published(100)]);
    assert_eq!(read_all(&log).len(), 41);
}

#[test]
fn closing_waits_for_what_is_sought() {
    let disk = CountingDisk::new(SimDisk::default());
    let (log, ids) = filled(disk.clone(), &config());
    let log = Arc::new(log);
    disk.shut(true);
    let again = begin_append(&*log, vec![published(3)]);
    let new = begin_append(&*log, vec![published(100)]);
    let closed = Arc::clone(&log);
    let closing = std::thread::spawn(move || closed.close());
    eventually("no more is sought", || {
        begin_append(&*log, vec![published(100)]).try_recv() == Ok(Err(AppendError::Closed))
    });
    disk.shut(false);
    closing.join().expect("closed");
    assert_eq!(wait(&again), Ok(vec![ids[3]]));
    assert!(wait(&new).is_ok());
    assert_eq!(read_all(&*log).len(), 41);
}

/// While an array waited, the segments of what it might repeat could be indexed and forgotten. It was then looked up
/// again where it was sequenced: with the log's state locked, so that a slow disk stopped all publishing.
#[test]
fn nothing_is_read_where_arrays_are_sequenced() {
    let disk = CountingDisk::new(SimDisk::default());
    let fingerprints = Fingerprints::default();
    let opened = open::open(disk.clone(), &opening(TestClock::at(BEGINNING)), &fingerprints).expect("opened");
    let Opened { mut committer, keeper, lookup, times, .. } = opened;
    let mut commit = |array: Array| {
        let mut answers = committer.commit(&mut [(array, ())].into(), &times.moment());
        answers.pop().expect("one").1.expect("appended")
    };
    let array = |n| Array::new(vec![published(n)], &fingerprints);
    let mut early = array(7);
    lookup.look_up(&mut early).expect("looked up");
    let ids: Vec<HubId> = (0..30).flat_map(|n| commit(array(n))).collect();
    while keeper.indexer.turn().expect("written") {}
    commit(Array::new(vec![event(&["t"], "")], &fingerprints));
    disk.take_read();
    assert_eq!(commit(early), [ids[7]]);
    assert_eq!(disk.take_read().calls, 0);
    let mut late = array(8);
    assert!(lookup.prepare(&mut late));
    drop(late);
    // Nobody needs them in memory any more.
    commit(Array::new(vec![event(&["t"], "")], &fingerprints));
    assert!(committer.sequencer().idempotence.len() < 10);
}

/// Where a segment had no index, whoever sought a publisher's id made it, and on a full disk again for each event: 64 MiB
/// were read, a file was begun, and all of it was thrown away.
#[test]
fn who_seeks_makes_no_index_and_one_that_cannot_be_written_is_kept_in_memory() {
    let disk = SimDisk::default();
    let (log, ids) = filled(disk.clone(), &config());
    let firsts: Vec<u64> = log.shelf.segments().iter().map(|segment| segment.header.first_sequence).collect();
    drop(log);
    let sealed = firsts.len() - 1;
    let taken: Vec<String> = firsts[..sealed].iter().map(|&first| index_name(first)).collect();
    taken.iter().for_each(|name| disk.take(name));
    let read = CountingDisk::new(disk.clone());
    let fingerprints = Fingerprints::default();
    let mut opening = opening(TestClock::at(BEGINNING));
    opening.window_ms = 600_000;
    let Opened { committer, keeper, lookup, .. } =
        open::open::<_, ()>(read.clone(), &opening, &fingerprints).expect("opened");
    let look_up = |numbers: Range<usize>| {
        read.take_read();
        // All of them at once, as in an array.
        let mut array = Array::new(numbers.map(published).collect(), &fingerprints);
        lookup.look_up(&mut array).expect("looked up");
        let found: Vec<HubId> = array.publications().filter_map(|event| event.earlier).map(|entry| entry.id).collect();
        (found, read.take_read().bytes)
    };
    let in_memory = || committer.shelf().segments().iter().filter(|segment| segment.has_index_in_memory()).count();
    let walked = look_up(100..120).1;
    assert!((1..2 * 4096 * sealed as u64).contains(&walked), "each segment is walked over once: {walked} bytes");
    assert_eq!(look_up(0..20).0, ids[..20]);
    assert!(disk.names().iter().all(|name| !taken.contains(name)));
    assert_eq!(in_memory(), 1, "of the open segment");

    disk.set_read_only(true);
    for _ in 0..20 {
        assert!(keeper.indexer.turn().is_err());
    }
    assert_eq!(in_memory(), 1 + 4, "so many are kept");
    let with_some = look_up(100..120).1;
    assert!(with_some < walked - 4 * 2048, "{with_some} bytes are read, {walked} without an index");
    assert_eq!(look_up(0..20).0, ids[..20]);
    disk.set_read_only(false);
    while keeper.indexer.turn().expect("written") {}
    assert!(taken.iter().all(|name| disk.names().contains(name)));
    assert_eq!(look_up(0..20).0, ids[..20]);
}
