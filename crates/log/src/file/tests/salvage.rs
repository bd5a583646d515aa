//! Random logs with random damage: what lies outside of it is read, and whoever misses something is told.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::super::layout::{SEGMENT_HEADER, SegmentHeader, segment_name};
use super::super::manifest::MANIFEST;
use super::super::open::{self, Opened, Opening};
use super::super::picks::Wanted;
use super::super::scrub::{Scrub, Scrubbed};
use super::super::{OnDamage, OpenError, Outage, SimDisk};
use super::start::group_bounds;
use super::{BEGINNING, opening};
use crate::cursor;
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{Seen, TestClock, event, everything};
use crate::{Hidden, HubId, Met};

/// From so many places a log is read again and again, beside its beginning.
const PLACES: usize = 4;
/// A sector of a disk, in bytes.
const SECTOR: usize = 512;

/// A log that was written without any trouble.
struct Whole {
    disk: SimDisk,
    events: Vec<Written>,
    segments: Vec<String>,
}

/// An event, and where its group lies.
#[derive(Clone, Debug)]
struct Written {
    seen: Seen,
    segment: usize,
    group: Range<usize>,
}

/// What is read from a place on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Record(Seen),
    Damaged(HubId),
}

#[derive(Clone, Debug)]
enum Harm {
    Flip { file: prop::sample::Index, bit: prop::sample::Index },
    Zero { file: prop::sample::Index, from: prop::sample::Index, bytes: usize },
    Header { file: prop::sample::Index },
    Cut { file: prop::sample::Index, at: prop::sample::Index },
    Spoil { file: prop::sample::Index, at: prop::sample::Index },
    Remove { file: prop::sample::Index },
    Manifest { is_removed: bool },
}

fn harm() -> impl Strategy<Value = Harm> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), index()).prop_map(|(file, bit)| Harm::Flip { file, bit }),
        3 => (index(), index(), 1..3000_usize).prop_map(|(file, from, bytes)| Harm::Zero { file, from, bytes }),
        1 => index().prop_map(|file| Harm::Header { file }),
        2 => (index(), index()).prop_map(|(file, at)| Harm::Cut { file, at }),
        1 => (index(), index()).prop_map(|(file, at)| Harm::Spoil { file, at }),
        2 => index().prop_map(|file| Harm::Remove { file }),
        1 => any::<bool>().prop_map(|is_removed| Harm::Manifest { is_removed }),
    ]
}

fn start(disk: &SimDisk, on_damage: OnDamage) -> Result<Opened<SimDisk, ()>, OpenError> {
    let opening = Opening { on_damage, ..opening(TestClock::at(BEGINNING + 1000)) };
    open::open(disk.clone(), &opening, &Fingerprints::default())
}

fn write(log: &mut Opened<SimDisk, ()>, texts: &[String]) -> Vec<Seen> {
    let array = Array::new(texts.iter().map(|text| event(&["t"], text)).collect(), &Fingerprints::default());
    let moment = log.times.moment();
    let ids = log.committer.commit(&mut [(array, ())].into(), &moment).remove(0).1.expect("appended");
    let seen = |(id, data): (_, &String)| Seen { id, topics: vec!["t".to_owned()], data: data.clone() };
    ids.into_iter().zip(texts).map(seen).collect()
}

impl Whole {
    /// Writes arrays of events of these sizes, and begins a segment after each but the last list of arrays.
    fn new(lists: &[Vec<Vec<usize>>]) -> Whole {
        let disk = SimDisk::default();
        let mut log = start(&disk, OnDamage::Stop).expect("opened");
        let mut all = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            if number > 0 {
                log.committer.segments().roll().expect("begun");
            }
            for sizes in list {
                let texts: Vec<String> = sizes.iter().map(|&bytes| "x".repeat(bytes)).collect();
                all.extend(write(&mut log, &texts));
            }
        }
        // They go by what the segments say, also where that is no longer so.
        while log.keeper.indexer.turn().expect("written") {}
        drop(log);
        let segments: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect();
        let mut events = Vec::new();
        let mut left = &all[..];
        for (segment, name) in segments.iter().enumerate() {
            let bytes = disk.contents(name).expect("there");
            for bounds in group_bounds(&bytes).windows(2) {
                let count = u32::from_le_bytes(*bytes[bounds[0] + 8..].first_chunk().expect("four bytes")) as usize;
                let (own, rest) = left.split_at(count);
                let group = bounds[0]..bounds[1];
                events.extend(own.iter().map(|seen| Written { seen: seen.clone(), segment, group: group.clone() }));
                left = rest;
            }
        }
        assert!(left.is_empty());
        Whole { disk: disk.restart(Outage::Kill), events, segments }
    }

    /// Does harm. Returns the groups that are as they were.
    fn harm(&self, harms: &[Harm]) -> Vec<Written> {
        let before: Vec<Vec<u8>> = self.segments.iter().map(|name| self.disk.contents(name).expect("there")).collect();
        let mut spoilt = Vec::new();
        // That the newest file was taken away ends an epoch: `newest.rs` looks at that.
        let mut there: Vec<usize> = (0..self.segments.len()).collect();
        for harm in harms {
            let (Harm::Flip { file, .. }
            | Harm::Zero { file, .. }
            | Harm::Header { file }
            | Harm::Cut { file, .. }
            | Harm::Spoil { file, .. }
            | Harm::Remove { file }) = harm
            else {
                let Harm::Manifest { is_removed } = harm else { continue };
                if *is_removed {
                    self.disk.take(MANIFEST);
                } else if self.disk.contents(MANIFEST).is_ok() {
                    self.disk.damage(MANIFEST, 40, b"damage");
                }
                continue;
            };
            let place = file.index(there.len());
            let segment = there[place];
            let name = &self.segments[segment];
            let mut bytes = self.disk.contents(name).expect("there");
            match harm {
                _ if bytes.is_empty() => {}
                Harm::Flip { bit, .. } => {
                    let bit = bit.index(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    self.disk.put(name, bytes);
                }
                Harm::Zero { from, bytes: length, .. } => {
                    let from = from.index(bytes.len());
                    let end = (from + length).min(bytes.len());
                    bytes[from..end].fill(0);
                    self.disk.put(name, bytes);
                }
                Harm::Header { .. } => {
                    let end = bytes.len().min(SEGMENT_HEADER);
                    bytes[..end].fill(0);
                    self.disk.put(name, bytes);
                }
                Harm::Cut { at, .. } => {
                    bytes.truncate(at.index(bytes.len()));
                    self.disk.put(name, bytes);
                }
                Harm::Spoil { at, .. } => {
                    let at = at.index(bytes.len()) / SECTOR * SECTOR;
                    spoilt.push((segment, at));
                    self.disk.spoil(name, at..at + SECTOR);
                }
                _ if place + 1 < there.len() => {
                    self.disk.take(name);
                    there.remove(place);
                }
                _ => {}
            }
        }
        let is_untouched = |written: &&Written| {
            let Written { segment, group, .. } = written;
            let is_spoilt =
                spoilt.iter().any(|&(of, at)| of == *segment && group.start < at + SECTOR && at < group.end);
            let is_there = there.contains(segment);
            let after = self.disk.contents(&self.segments[*segment]).unwrap_or_default();
            is_there && !is_spoilt && after.get(group.clone()) == Some(&before[*segment][group.clone()])
        };
        self.events.iter().filter(is_untouched).cloned().collect()
    }
}

/// Everything from a place on, and the low-water mark.
fn look(log: &Opened<SimDisk, ()>, after: HubId) -> (Vec<Shown>, HubId) {
    let shelf = log.committer.shelf();
    let mut shown = Vec::new();
    let mut cursor = super::super::cursor::FileCursor::after(shelf, after, Wanted::All).expect("a segment");
    cursor::read(&mut cursor, &everything(), &log.visibility, u64::MAX, &mut |met| {
        shown.push(match met {
            Met::Record(record) => Shown::Record(Seen::new(record)),
            Met::Hidden { place, why } => {
                assert_eq!(why, Hidden::Damaged);
                Shown::Damaged(place)
            }
        });
        ControlFlow::Continue(())
    })
    .expect("read");
    (shown, shelf.low_water())
}

/// Whether a reader from each place sees, in order, all that is untouched and nothing that was not written, and
/// is told before each record, and before the end, of what it misses. What is at the end of the last segment may
/// be taken for what a crash had left half written.
fn judge(log: &Opened<SimDisk, ()>, whole: &[Written], untouched: &[Written], more: &[Seen]) {
    let last_segment = whole.last().map(|written| written.segment);
    let some = whole.iter().step_by(whole.len() / PLACES + 1);
    let places = some.map(|written| written.seen.id).chain([HubId::ZERO]);
    for place in places {
        let (shown, low_water) = look(log, place);
        let untouched: BTreeSet<HubId> =
            untouched.iter().map(|written| written.seen.id).filter(|&id| id > place).collect();
        let seen: Vec<&Seen> = shown
            .iter()
            .filter_map(|shown| match shown {
                Shown::Record(seen) => Some(seen),
                Shown::Damaged(_) => None,
            })
            .collect();
        assert!(seen.is_sorted_by(|a, b| a.id < b.id), "in order");
        let ids: BTreeSet<HubId> = seen.iter().map(|seen| seen.id).collect();
        assert!(untouched.is_subset(&ids), "after {place}: {untouched:?} of {ids:?}");
        let known = |seen: &&Seen| whole.iter().any(|written| written.seen == **seen) || more.contains(seen);
        assert!(seen.iter().all(known), "invented: {ids:?}");
        // The highest place of which something was told.
        let mut told = if place < low_water { low_water } else { place };
        let mut last = place;
        for shown in &shown {
            match shown {
                Shown::Record(seen) => {
                    let is_missing = |written: &&Written| {
                        let id = written.seen.id;
                        let is_owed = id > last && id > told && id < seen.id;
                        // Torn at the end, and the log went on.
                        let is_torn = more.contains(seen) && Some(written.segment) == last_segment;
                        is_owed && !is_torn
                    };
                    let missing = whole.iter().find(is_missing);
                    assert!(missing.is_none(), "after {place}, {missing:?} is missing before {}: {told}", seen.id);
                    last = seen.id;
                }
                Shown::Damaged(through) => {
                    assert!(*through >= last, "a place before what was shown");
                    told = told.max(*through);
                }
            }
        }
    }
}

fn arrays() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let bytes = prop_oneof![3 => 0..60_usize, 2 => 200..700_usize];
    prop::collection::vec(prop::collection::vec(bytes, 1..4), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_damaged_is_read_and_who_misses_something_is_told(
        arrays in arrays(),
        harms in prop::collection::vec(harm(), 1..5),
        interruptions in prop::collection::vec((0..40_u64, any::<u64>()), 0..3)
    ) {
        let whole = Whole::new(&[arrays]);
        let untouched = whole.harm(&harms);
        match start(&whole.disk, OnDamage::Stop) {
            Ok(log) => judge(&log, &whole.events, &untouched, &[]),
            Err(error) => {
                let text = format!("{error}");
                let is_io = matches!(error, OpenError::Io { .. });
                prop_assert!(is_io || text.contains(".seg") || text.contains("manifest"), "{}", text);
            }
        }
        let mut disk = whole.disk.restart(Outage::Kill);
        for (after, seed) in interruptions {
            disk.stop_at(1 + after);
            drop(start(&disk, OnDamage::Salvage));
            disk = disk.restart(Outage::PowerCut(seed));
        }
        let mut log = match start(&disk, OnDamage::Salvage) {
            Err(OpenError::Nameless) => {
                // Not a byte is left that would say whose groups these are.
                let is_bad = |name: &&String| {
                    disk.contents(name).is_ok_and(|bytes| {
                        bytes.first_chunk().is_none_or(|header| SegmentHeader::decode(header).is_err())
                    })
                };
                let has_spoilt = harms.iter().any(|harm| matches!(harm, Harm::Spoil { .. }));
                prop_assert!(has_spoilt || whole.segments.iter().filter(|name| disk.contents(name).is_ok()).all(|name| is_bad(&name)));
                return Ok(());
            }
            log => log.expect("salvaged"),
        };
        judge(&log, &whole.events, &untouched, &[]);
        let more = write(&mut log, &["more".to_owned()]);
        judge(&log, &whole.events, &untouched, &more);
        drop(log);

        let disk = disk.restart(Outage::Kill);
        let log = start(&disk, OnDamage::Stop).expect("the next start need not salvage");
        judge(&log, &whole.events, &untouched, &more);
        let shown = look(&log, HubId::ZERO);
        drop(log);
        let disk = disk.restart(Outage::Kill);
        let log = start(&disk, OnDamage::Salvage).expect("opened");
        prop_assert_eq!(&log.recovery.salvaged, &[], "there is nothing to do a second time");
        prop_assert_eq!(look(&log, HubId::ZERO), shown);
    }
}

/// A log of three segments, the last of which has three groups, and the first of those two records.
fn small() -> Whole {
    let whole = Whole::new(&[vec![vec![3], vec![4]], vec![vec![3], vec![4]], vec![vec![1, 2], vec![7], vec![9]]]);
    assert_eq!(whole.segments.len(), 3);
    whole
}

#[test]
fn whichever_byte_is_wrong_the_rest_is_read() {
    let whole = small();
    for (segment, name) in whole.segments.iter().enumerate() {
        let bytes = whole.disk.contents(name).expect("there");
        let end = *group_bounds(&bytes).last().expect("one");
        for (at, byte) in bytes[..end].iter().enumerate() {
            let disk = SimDisk::default();
            for name in whole.disk.names() {
                disk.put(&name, whole.disk.contents(&name).expect("there"));
            }
            disk.damage(name, at, &[byte ^ 0x20]);
            let is_untouched = |written: &&Written| written.segment != segment || !written.group.contains(&at);
            let untouched: Vec<Written> = whole.events.iter().filter(is_untouched).cloned().collect();
            let has_failed = match start(&disk, OnDamage::Stop) {
                Ok(log) => {
                    judge(&log, &whole.events, &untouched, &[]);
                    false
                }
                Err(OpenError::Damaged { file, .. }) => file == *name,
                Err(other) => panic!("byte {at} of {name}: {other}"),
            };
            let disk = disk.restart(Outage::Kill);
            let log = start(&disk, OnDamage::Salvage).expect("salvaged");
            judge(&log, &whole.events, &untouched, &[]);
            assert_eq!(has_failed, !log.recovery.salvaged.is_empty(), "byte {at} of {name}: {:?}", log.recovery);
        }
    }
}

/// The text of what salvage does, for a folder to which something happened.
fn salvaged(whole: &Whole) -> Vec<String> {
    let log = start(&whole.disk, OnDamage::Salvage).expect("salvaged");
    log.recovery.salvaged.iter().map(ToString::to_string).collect()
}

#[test]
fn salvage_says_which_ids_are_gone() {
    let ids = |whole: &Whole| whole.events.iter().map(|written| written.seen.id).collect::<Vec<_>>();

    let whole = small();
    let (ids, name) = (ids(&whole), whole.segments[2].clone());
    let bounds = group_bounds(&whole.disk.contents(&name).expect("there"));
    whole.disk.damage(&name, bounds[1] + 60, b"damage");
    let text = format!("gone: events between {} and {} ({name}, bytes {} to {})", ids[5], ids[7], bounds[1], bounds[2]);
    assert_eq!(salvaged(&whole), [text]);

    let whole = small();
    let (middle, last) = (&whole.segments[1], &whole.segments[2]);
    whole.disk.take(middle);
    let told = salvaged(&whole);
    assert!(told[0].starts_with(&format!("gone: events between {} and {} ({middle}, bytes 0 to", ids[1], ids[4])));
    assert_eq!(told.len(), 1, "{told:?}");

    let whole = small();
    whole.disk.take(&whole.segments[0]);
    whole.disk.take(&whole.segments[1]);
    let beginning = HubId { ms: BEGINNING + 1000, seq: 0 };
    let text = format!("gone: events between {beginning} and {} (the files before {last} are missing)", ids[4]);
    assert_eq!(salvaged(&whole), [text]);

    let whole = small();
    whole.disk.damage(middle, 20, b"damage");
    assert_eq!(salvaged(&whole), [format!("the header of {middle} was made anew")]);

    let whole = small();
    whole.disk.take(MANIFEST);
    let epoch = HubId { ms: BEGINNING + 1000 + 60_001, seq: 0 };
    assert_eq!(salvaged(&whole), [format!("the manifest was made anew; ids go on after {epoch}")]);
}

/// Somebody may hold the id of an event of which nobody knows any more.
#[test]
fn where_the_newest_ids_are_lost_the_next_ones_lie_above_all_that_may_have_been_given_out() {
    let whole = small();
    let name = &whole.segments[2];
    let bounds = group_bounds(&whole.disk.contents(name).expect("there"));
    // The last group says that the one before it was durable, and is not whole either.
    whole.disk.damage(name, bounds[1], &[0; 40]);
    whole.disk.damage(name, bounds[2] + 60, b"damage");
    assert!(matches!(start(&whole.disk, OnDamage::Stop), Err(OpenError::Damaged { .. })));
    let disk = whole.disk.restart(Outage::Kill);
    let mut log = start(&disk, OnDamage::Salvage).expect("salvaged");
    let floor_ms = BEGINNING + 1000 + 60_000;
    let next = write(&mut log, &["next".to_owned()]);
    assert!(next[0].id > HubId { ms: floor_ms, seq: u64::MAX }, "{:?}", next[0].id);
    let last_good = whole.events[5].seen.id;
    let (shown, _) = look(&log, last_good);
    assert!(matches!(&shown[..], [Shown::Damaged(_), Shown::Record(seen)] if *seen == next[0]), "{shown:?}");
}

#[test]
fn a_segment_of_another_log_or_under_another_name_is_not_salvaged() {
    let whole = small();
    let other = Whole { disk: SimDisk::default(), ..small() };
    let opening =
        Opening { on_damage: OnDamage::Stop, new_log_id: *b"quite another on", ..opening(TestClock::at(BEGINNING)) };
    drop(open::open::<_, ()>(other.disk.clone(), &opening, &Fingerprints::default()).expect("opened"));
    let first = segment_name(1);
    let own = whole.disk.contents(&first).expect("there");
    whole.disk.put(&first, other.disk.contents(&first).expect("there"));
    let refused = start(&whole.disk, OnDamage::Salvage).map(drop).expect_err("refused");
    assert!(matches!(refused, OpenError::OtherLog { .. }), "{refused}");

    let second = whole.disk.contents(&whole.segments[1]).expect("there");
    whole.disk.put(&first, second);
    let disk = whole.disk.restart(Outage::Kill);
    let refused = start(&disk, OnDamage::Salvage).map(drop).expect_err("refused");
    assert!(matches!(&refused, OpenError::Misnamed { file } if *file == first), "{refused}");

    let mut newer = own;
    newer[12] = 9;
    let crc = crc32c::crc32c(&newer[12..SEGMENT_HEADER]);
    newer[8..12].copy_from_slice(&crc.to_le_bytes());
    disk.put(&first, newer);
    let disk = disk.restart(Outage::Kill);
    let refused = start(&disk, OnDamage::Salvage).map(drop).expect_err("refused");
    assert!(matches!(&refused, OpenError::OtherFormat { file, .. } if *file == first), "{refused}");
}

#[test]
fn a_scrub_finds_what_nobody_has_read() {
    let whole = small();
    let second = whole.disk.contents(&whole.segments[1]).expect("there");
    whole.disk.damage(&whole.segments[0], 60, b"damage");
    whole.disk.damage(&whole.segments[1], group_bounds(&second)[1] - 1, b"!");
    let whole_header = whole.disk.restart(Outage::Kill);
    assert!(start(&whole_header, OnDamage::Stop).is_err(), "the header is read at the start");
    whole_header.put(&whole.segments[0], small().disk.contents(&whole.segments[0]).expect("there"));
    let disk = whole_header.restart(Outage::Kill);
    let log = start(&disk, OnDamage::Stop).expect("opened");
    disk.damage(&whole.segments[0], 60, b"damage");

    let done = Arc::<Mutex<Scrubbed>>::default();
    let shelf = log.committer.shelf();
    let mut scrub = Scrub::new(Arc::clone(shelf), Arc::clone(&log.visibility), 1000, Arc::clone(&done));
    let scrubbed = || *done.lock().expect("not poisoned");
    let mut took = Duration::ZERO;
    while scrubbed().passes == 0 {
        assert!(took < Duration::from_secs(1000), "it comes to an end");
        took += scrub.turn();
    }
    assert_eq!(shelf.damages.count(), 2, "a header and a frame");
    let bytes: u64 = shelf.segments().iter().take(2).map(|segment| segment.committed()).sum();
    assert_eq!(scrubbed(), Scrubbed { bytes, passes: 1 });
    let pause = took - Duration::from_secs(24 * 3600);
    assert_eq!(pause, Duration::from_millis(bytes), "a thousand bytes a second, then a day");
    scrub.turn();
    assert!(scrubbed().bytes > bytes, "and again");
}
