//! The newest segments are taken away as a whole. A start took the last one that was left for the log's end: what had
//! been answered was gone without a word, and what had been refused behind the end that only the missing
//! segment's header knew was shown.

use std::collections::VecDeque;
use std::io;

use super::super::index::index_name;
use super::super::layout::segment_name;
use super::super::open::{self, Opened, Opening};
use super::super::{LogView, OnDamage, OpenError, Outage, SimDisk};
use super::start::group_bounds;
use super::{BEGINNING, opening};
use crate::cursor::RecordCursor;
use crate::file::cursor::FileCursor;
use crate::file::picks::Wanted;
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{Seen, TestClock, event, texts};
use crate::{ExportConfig, HubId, Standing};

type Log = Opened<SimDisk, ()>;

fn start(disk: &SimDisk, on_damage: OnDamage) -> Result<Log, OpenError> {
    let opening = Opening { on_damage, ..opening(TestClock::at(BEGINNING)) };
    open::open(disk.clone(), &opening, &Fingerprints::default())
}

fn array(texts: &[&str]) -> VecDeque<(Array, ())> {
    let events = texts.iter().map(|text| event(&["t"], text)).collect();
    [(Array::new(events, &Fingerprints::default()), ())].into()
}

fn write(log: &mut Log, texts: &[&str]) -> Vec<HubId> {
    log.committer.commit(&mut array(texts), &log.times.moment()).remove(0).1.expect("appended")
}

fn index(log: &mut Log) {
    while log.keeper.indexer.turn().expect("written") {}
}

fn read(log: &Log) -> Vec<Seen> {
    let mut cursor = FileCursor::after(log.committer.shelf(), HubId::ZERO, Wanted::All).expect("a segment");
    let mut seen = Vec::new();
    while cursor.advance().expect("read").is_some() {
        seen.push(Seen::new(&cursor.record().expect("read").expect("whole")));
    }
    seen
}

/// The events of a folder that nobody uses, as an export has them, and whether it says that something is missing.
fn exported(disk: &SimDisk) -> (String, bool) {
    let mut out = Vec::new();
    let view = LogView::open(disk.clone()).expect("a log");
    let summary = view.export(&ExportConfig::default(), 0, &mut out, &mut |_| {}).expect("exported");
    (String::from_utf8(out).expect("text"), summary.met_damage())
}

/// Three segments of two events each, of which the first two have indexes, and the ids.
fn three() -> (SimDisk, Vec<HubId>) {
    let disk = SimDisk::default();
    let mut log = start(&disk, OnDamage::Stop).expect("opened");
    let mut ids = Vec::new();
    for pair in [["one", "two"], ["three", "four"], ["five", "six"]] {
        if !ids.is_empty() {
            log.committer.segments().roll().expect("begun");
        }
        ids.extend(write(&mut log, &pair));
    }
    index(&mut log);
    drop(log);
    (disk.restart(Outage::Kill), ids)
}

/// Which files are taken away, what is said to be missing, and behind what.
const TAKEN: [(&[&str], &str, &str); 3] = [
    (&["00000000000000000005.seg"], "00000000000000000005.seg", "00000000000000000003.seg"),
    (&["00000000000000000003.seg", "00000000000000000005.seg"], "00000000000000000003.seg", "00000000000000000001.seg"),
    // Its index tells that the second one was there.
    (
        &["00000000000000000001.idx", "00000000000000000003.seg", "00000000000000000005.seg"],
        "00000000000000000003.seg",
        "00000000000000000001.seg",
    ),
];

#[test]
fn a_start_names_the_newest_segment_that_is_missing_and_changes_nothing() {
    for (taken, missing, behind) in TAKEN {
        let (disk, _) = three();
        taken.iter().for_each(|name| disk.take(name));
        let names = disk.names();
        let before: Vec<_> = names.iter().map(|name| disk.contents(name).expect("there")).collect();
        let refused = start(&disk, OnDamage::Stop).map(drop).expect_err("refused");
        let OpenError::MissingNewest { file, last } = &refused else { panic!("{refused}") };
        assert_eq!((&**file, &**last), (missing, behind), "{taken:?}");
        assert_eq!(disk.names(), names);
        let after: Vec<_> = names.iter().map(|name| disk.contents(name).expect("there")).collect();
        assert_eq!(after, before);
        let found = LogView::open(disk.clone()).expect("a log").verify(&mut |_| {}).expect("read");
        assert_eq!(found.damages.len(), 1, "{found:?}");
        assert_eq!((&*found.damages[0].file, found.damages[0].what), (missing, "the file is missing"));
        let found = LogView::open(disk.clone()).expect("a log").inspect().expect("read");
        let problem = found.segments.last().and_then(|segment| segment.problem.as_deref());
        assert_eq!(problem, Some("the segment behind it is missing"));
        assert!(exported(&disk).1);
    }
}

#[test]
fn salvage_ends_what_is_left_and_begins_an_epoch() {
    for (taken, missing, _) in TAKEN {
        let (disk, ids) = three();
        taken.iter().for_each(|name| disk.take(name));
        let left = if taken.len() == 1 { 4 } else { 2 };
        let mut log = start(&disk, OnDamage::Salvage).expect("salvaged");
        let told: Vec<String> = log.recovery.salvaged.iter().map(ToString::to_string).collect();
        let last = ids[left - 1];
        let gone = format!("gone: events between {last} and the end ({missing} is missing, and what came behind it)");
        assert_eq!(told, [gone]);
        assert_eq!(read(&log).iter().map(|seen| seen.id).collect::<Vec<_>>(), ids[..left]);
        let head = log.committer.shelf().head();
        for &id in &ids {
            assert_eq!(log.epochs.standing(id, head), Standing::Earlier, "a reader that had {id} is told");
        }
        let more = write(&mut log, &["more"]);
        assert!(more[0].ms > BEGINNING + 60_000, "above all that may have been given out");
        index(&mut log);
        drop(log);
        let disk = disk.restart(Outage::Kill);
        let mut log = start(&disk, OnDamage::Stop).expect("the next start need not salvage");
        assert_eq!(texts(&read(&log)).last(), Some(&"more"));
        log.committer.segments().roll().expect("begun");
        write(&mut log, &["and more"]);
        index(&mut log);
        drop(log);
        let log = start(&disk.restart(Outage::Kill), OnDamage::Salvage).expect("opened");
        assert_eq!(log.recovery.salvaged, []);
        assert_eq!(read(&log).len(), left + 2);
    }
}

#[test]
fn salvage_can_be_interrupted_anywhere() {
    for (taken, _, _) in TAKEN {
        for stop_at in 1.. {
            let (disk, ids) = three();
            taken.iter().for_each(|name| disk.take(name));
            let left = if taken.len() == 1 { 4 } else { 2 };
            disk.stop_at(stop_at);
            let is_through = start(&disk, OnDamage::Salvage).is_ok();
            let disk = disk.restart(Outage::PowerCut(stop_at));
            if let Ok(log) = start(&disk, OnDamage::Stop) {
                let head = log.committer.shelf().head();
                assert_eq!(log.epochs.standing(ids[5], head), Standing::Earlier, "nobody is told, at {stop_at}");
            }
            let disk = disk.restart(Outage::Kill);
            let log = start(&disk, OnDamage::Salvage).expect("salvaged");
            assert_eq!(read(&log).iter().map(|seen| seen.id).collect::<Vec<_>>(), ids[..left], "at {stop_at}");
            if is_through {
                break;
            }
        }
    }
}

/// An index says whose it is: one that lies there from another log says nothing.
#[test]
fn the_index_of_another_log_is_no_sign() {
    let (disk, _) = three();
    let other = SimDisk::default();
    let opening = Opening { new_log_id: *b"quite another on", ..opening(TestClock::at(BEGINNING)) };
    let log = open::open::<_, ()>(other.clone(), &opening, &Fingerprints::default()).expect("opened");
    drop(log);
    for n in [1, 3] {
        other.put(&index_name(n), disk.contents(&index_name(n)).expect("there"));
    }
    let other = other.restart(Outage::Kill);
    let log = open::open::<_, ()>(other.clone(), &opening, &Fingerprints::default()).expect("opened");
    assert_eq!(log.recovery.segments, 1);
    assert!(LogView::open(other.restart(Outage::Kill)).expect("a log").verify(&mut |_| {}).expect("read").is_whole());
}

/// A log whose second event was refused behind the end of its first segment, and the bytes of that segment before it
/// was ended.
fn with_refused() -> (SimDisk, Vec<u8>) {
    let disk = SimDisk::default();
    let mut log = start(&disk, OnDamage::Stop).expect("opened");
    write(&mut log, &["committed"]);
    let moment = log.times.moment();
    log.committer.write(&mut array(&["refused"]), &moment);
    let before = disk.contents(&segment_name(1)).expect("there");
    assert!(log.committer.begin_sync().is_some());
    let finished = log.committer.finish(Err(io::Error::other("input/output error")), &moment);
    assert!(finished.answers[0].1.is_err());
    write(&mut log, &["on"]);
    index(&mut log);
    (disk, before)
}

#[test]
fn what_was_refused_is_not_shown_though_the_segment_behind_its_end_is_missing() {
    let (disk, before) = with_refused();
    // The disk did not take the zeros.
    disk.put(&segment_name(1), before);
    disk.take(&segment_name(2));
    let disk = disk.restart(Outage::Kill);
    assert!(matches!(start(&disk, OnDamage::Stop), Err(OpenError::MissingNewest { .. })));
    let (text, is_cut) = exported(&disk);
    assert!(is_cut && text.contains("committed") && !text.contains("refused"), "{text}");
    let disk = disk.restart(Outage::Kill);
    let log = start(&disk, OnDamage::Salvage).expect("salvaged");
    assert_eq!(texts(&read(&log)), ["committed"]);
    drop(log);
    let log = start(&disk.restart(Outage::Kill), OnDamage::Stop).expect("opened");
    assert_eq!(texts(&read(&log)), ["committed"]);
}

/// Before its index is there, nothing says that a segment was ended: then its bytes alone must not show what was
/// refused. Nor do they stay on the disk.
#[test]
fn what_was_refused_is_zeroed_when_the_segment_is_ended() {
    for seed in 0..10 {
        let (disk, _) = with_refused();
        let disk = disk.restart(Outage::PowerCut(seed));
        let after = disk.contents(&segment_name(1)).expect("there");
        let bounds = group_bounds(&after);
        assert_eq!(bounds.len(), 2, "one group");
        assert!(after[bounds[1]..].iter().all(|&byte| byte == 0), "seed {seed}");
        disk.take(&segment_name(2));
        disk.take(&index_name(1));
        let log = start(&disk, OnDamage::Stop).expect("nothing says that there was more");
        assert_eq!(texts(&read(&log)), ["committed"]);
    }
}

/// The index of the last segment that is left is gone as well, and only a later one says that something is missing. That
/// one's name says with which sequence it begins: what lies behind in the last segment was refused.
#[test]
fn what_was_refused_is_not_shown_where_only_a_later_index_tells() {
    let (disk, before) = with_refused();
    let mut log = start(&disk, OnDamage::Stop).expect("opened");
    log.committer.segments().roll().expect("begun");
    write(&mut log, &["and on"]);
    index(&mut log);
    drop(log);
    disk.put(&segment_name(1), before);
    disk.take(&segment_name(2));
    disk.take(&segment_name(3));
    disk.take(&index_name(1));
    let disk = disk.restart(Outage::Kill);
    assert!(matches!(start(&disk, OnDamage::Stop), Err(OpenError::MissingNewest { .. })));
    let (text, is_cut) = exported(&disk);
    assert!(is_cut && text.contains("committed") && !text.contains("refused"), "exported: {text}");
    let log = start(&disk, OnDamage::Salvage).expect("salvaged");
    assert_eq!(texts(&read(&log)), ["committed"]);
}
