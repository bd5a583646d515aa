//! Readers that stand where the writer goes on in another segment.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::super::cursor::FileCursor;
use super::super::index::index_name;
use super::super::picks::Wanted;
use super::super::{Disk, FileLog, FileLogConfig, SimDisk};
use super::{BEGINNING, config, open, try_open_with};
use crate::cursor::RecordCursor;
use crate::testing::{Seen, append, event, eventually, everything, on, shown, try_append};
use crate::{EventLog, Filter, HubId, RecordView};

const EVENTS: usize = 1_000;
/// In about every third log of so many events, a reader with that mistake met it.
const LOGS: usize = 12;
/// Three of these fill a segment, or four.
const DATA_BYTES: usize = 900;

/// A reader asked how far its segment was committed, and after that whether there was another. Between the two, a group
/// could be committed in the segment and the next one be begun: the reader went on there, and had passed over the
/// group. Here readers stand at the end all the time, while segment after segment is begun.
#[test]
fn a_reader_at_a_segments_end_passes_over_nothing_while_the_next_one_is_begun() {
    (0..LOGS).for_each(|_| fill_under_readers());
}

fn fill_under_readers() {
    let log = Arc::new(try_open_with(SimDisk::default(), &config(), BEGINNING).expect("opened").0);
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [everything(), everything(), on(&["t"])]
        .into_iter()
        .map(|filter| {
            let (log, is_over) = (Arc::clone(&log), Arc::clone(&is_over));
            thread::spawn(move || follow(&log, &filter, &is_over))
        })
        .collect();
    for n in 0..EVENTS {
        append(&*log, vec![event(&["t"], &format!("{n} {}", "x".repeat(DATA_BYTES)))]);
    }
    is_over.store(true, Ordering::Release);
    assert!(log.stats().segments > EVENTS as u64 / 4);
    for reader in readers {
        assert_eq!(reader.join().expect("nothing is passed over"), EVENTS);
    }
}

/// Reads on and on, from where it came to. How many events it was shown, each the next one.
fn follow(log: &FileLog<SimDisk>, filter: &Filter, is_over: &AtomicBool) -> usize {
    let mut place = HubId::ZERO;
    let mut next = 0;
    loop {
        let was_over = is_over.load(Ordering::Acquire);
        let mut visit = shown(|record: &RecordView<'_>| {
            let data = Seen::new(record).data;
            let number = data.split_once(' ').map(|(number, _)| number.parse::<usize>());
            assert_eq!(number, Some(Ok(next)), "one was passed over");
            next += 1;
            ControlFlow::Continue(())
        });
        let end = log.read(place, filter, u64::MAX, &mut visit).expect("read");
        drop(visit);
        place = end.looked_at;
        if was_over && end.at_head {
            return next;
        }
    }
}

/// Filling a segment with zeros takes as long as many commits, and needs room: both are had before it is needed.
#[test]
fn the_next_segment_lies_there_before_it_is_needed() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let publish = || try_append(&log, vec![event(&["t"], &"x".repeat(500))]);
    for _ in 0..4 {
        publish().expect("there is room");
    }
    eventually("the next one is made", || disk.contents("ahead.tmp").is_ok_and(|bytes| bytes == [0; 4096]));
    assert_eq!(log.stats().segments, 1, "it is not needed yet");
    let taken: usize = disk.names().iter().filter_map(|name| disk.contents(name).ok()).map(|bytes| bytes.len()).sum();
    disk.set_space(Some(taken as u64));
    while log.stats().segments == 1 {
        publish().expect("its room is its own");
    }
}

/// The story: a walk by the index had come to the end. The segment grew and was sealed, and its index could not be read
/// any more: the walk took what the old one had found for all there is, and went on to the next segment.
#[test]
fn a_walk_by_an_index_that_is_gone_goes_on_without_it() {
    let disk = SimDisk::default();
    let log = try_open_with(disk.clone(), &FileLogConfig { segment_bytes: 16 << 10, ..config() }, BEGINNING);
    let log = log.expect("opened").0;
    let publish = |n: usize| append(&log, vec![event(&[if n % 10 == 5 { "rare" } else { "often" }], &"x".repeat(100))]);
    (0..20).for_each(|n| drop(publish(n)));
    let mut cursor = FileCursor::after(log.shelf(), HubId::ZERO, Wanted::Topics(vec!["rare"])).expect("a segment");
    let mut is_rare = || loop {
        match cursor.next_head().expect("read") {
            Some(head) if head.topics().any(|topic| topic == "rare") => return true,
            Some(_) => {}
            None => return false,
        }
    };
    assert!(is_rare() && is_rare() && !is_rare());
    (20..200).for_each(|n| drop(publish(n)));
    eventually("the first segment has its index", || disk.unlink(&index_name(1)).is_ok());
    for n in 2..20 {
        assert!(is_rare(), "the event {}", n * 10 + 5);
    }
    assert!(!is_rare());
}
