//! What readers are shown where a sealed segment does not hold what was written.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::layout::{GROUP_HEADER, segment_name};
use super::super::scrub::{Scrub, Scrubbed};
use super::super::{Damage, Disk, DiskFile, FileLog, FileLogConfig, Reports, SimDisk};
use super::start::group_bounds;
use super::{BEGINNING, config, open, try_open_with};
use crate::testing::{Followed, append, event, event_with_id, eventually, everything, on};
use crate::{EventLog, Filter, Hidden, HubId, Met};

/// A log of several segments with records alternately on `even` and `odd`, one in each group, and one segment of it.
struct Damaged {
    disk: SimDisk,
    ids: Vec<HubId>,
    name: String,
    bounds: Vec<usize>,
    reported: Arc<Mutex<Vec<Damage>>>,
}

/// What a read comes to: a record's id, or the last place of what is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Record(HubId),
    Damaged(HubId),
}

impl Damaged {
    /// Without indexes: none can be made of what is damaged.
    fn new() -> Damaged {
        let damaged = Damaged::indexed();
        for name in damaged.disk.names().iter().filter(|name| name.ends_with(".idx")) {
            damaged.disk.take(name);
        }
        damaged
    }

    /// With the indexes of all sealed segments, which were made before anything was damaged.
    fn indexed() -> Damaged {
        let disk = SimDisk::default();
        let log = open(&disk);
        let publish =
            |n: usize| append(&log, vec![event_with_id(["even", "odd"][n % 2], &format!("id {n}"), &"x".repeat(200))]);
        let ids = (0..60).flat_map(publish).collect();
        let sealed = log.stats().segments - 1;
        let indexes = || disk.names().iter().filter(|name| name.ends_with(".idx")).count() as u64;
        eventually("sealed segments have indexes", || indexes() == sealed);
        drop(log);
        let name = segment_name(1);
        let bounds = group_bounds(&disk.contents(&name).expect("there"));
        Damaged { disk, ids, name, bounds, reported: Arc::default() }
    }

    fn flip(&self, at: usize) {
        let bytes = self.disk.contents(&self.name).expect("there");
        self.disk.damage(&self.name, at, &[bytes[at] ^ 1]);
    }

    fn open(&self) -> FileLog<SimDisk> {
        let reported = Arc::clone(&self.reported);
        let report =
            move |damage: &Damage| reported.lock().unwrap_or_else(PoisonError::into_inner).push(damage.clone());
        let config = FileLogConfig { idempotence_window: Duration::ZERO, reports: Reports::to(report), ..config() };
        try_open_with(self.disk.clone(), &config, BEGINNING).expect("sealed segments are not read at the start").0
    }

    fn reported(&self) -> Vec<Damage> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The records of the ids at these indices.
    fn records(&self, indices: impl IntoIterator<Item = usize>) -> Vec<Shown> {
        indices.into_iter().map(|index| Shown::Record(self.ids[index])).collect()
    }
}

fn shown(log: &dyn EventLog, after: HubId, filter: &Filter) -> Vec<Shown> {
    let mut shown = Vec::new();
    let end = log.read(after, filter, u64::MAX, &mut |met| {
        shown.push(match met {
            Met::Record(record) => Shown::Record(record.id),
            Met::Hidden { place, why } => {
                assert_eq!(why, Hidden::Damaged);
                Shown::Damaged(place)
            }
        });
        ControlFlow::Continue(())
    });
    assert!(end.expect("read").at_head);
    shown
}

/// A record far longer than what is read at once: its last byte is checked before its first one is shown.
#[test]
fn a_long_record_is_checked_whole_before_any_of_it_is_shown() {
    let disk = SimDisk::default();
    let config = FileLogConfig { segment_bytes: 1 << 20, ..FileLogConfig::default() };
    let log = try_open_with(disk.clone(), &config, BEGINNING).expect("opened").0;
    let long = "x".repeat(700_000);
    let ids: Vec<HubId> = (0..3).flat_map(|_| append(&log, vec![event(&["t"], &long)])).collect();
    let name = segment_name(1);
    let end = group_bounds(&disk.contents(&name).expect("there"))[1];
    for at in [end - 5, end - 500_000] {
        let whole = disk.contents(&name).expect("there");
        disk.damage(&name, at, &[whole[at] ^ 1]);
        assert_eq!(shown(&log, HubId::ZERO, &everything())[0], Shown::Damaged(ids[0]), "byte {at}");
        let found = log.event(ids[0], &mut |_| panic!("it is not what was written"));
        assert!(!matches!(found, Ok(true)), "byte {at}");
        disk.damage(&name, at, &[whole[at]]);
    }
    assert_eq!(shown(&log, HubId::ZERO, &everything()).len(), 3);
}

#[test]
fn a_wrong_frame_hides_its_record_from_those_who_would_have_seen_it() {
    let damaged = Damaged::new();
    damaged.flip(damaged.bounds[3] - 10);
    let log = damaged.open();
    let mut all = damaged.records(0..60);
    all[2] = Shown::Damaged(damaged.ids[2]);
    for _ in 0..2 {
        assert_eq!(shown(&log, HubId::ZERO, &everything()), all);
    }
    let even: Vec<Shown> = all.iter().copied().step_by(2).collect();
    assert_eq!(shown(&log, HubId::ZERO, &on(&["even"])), even);
    assert_eq!(shown(&log, HubId::ZERO, &on(&["odd"])), damaged.records((1..60).step_by(2)));
    assert_eq!(shown(&log, damaged.ids[2], &everything()), damaged.records(3..60));

    let [damage] = &damaged.reported()[..] else { panic!("reported once: {:?}", damaged.reported()) };
    assert_eq!((&damage.file, damage.to_byte), (&damaged.name, damaged.bounds[3] as u64));
    assert!(damage.from_byte > (damaged.bounds[2] + GROUP_HEADER) as u64);
    assert_eq!((damage.after, damage.through), (damaged.ids[2].before().expect("one"), damaged.ids[2]));
    assert_eq!(log.stats().damaged_ranges, 1);
    let mut visited = false;
    assert!(!log.event(damaged.ids[2], &mut |_| visited = true).expect("read"));
    assert!(!visited);
}

#[test]
fn a_wrong_head_or_group_is_passed_over_and_everybody_is_told_once() {
    for wrong in [0, 5, GROUP_HEADER + 30] {
        let damaged = Damaged::new();
        damaged.flip(damaged.bounds[2] + wrong);
        damaged.flip(damaged.bounds[3] + wrong);
        let log = damaged.open();
        let through = damaged.ids[4].before().expect("one");
        let told = |first: &[usize], rest: Vec<usize>| {
            let mut expected = damaged.records(first.iter().copied());
            expected.push(Shown::Damaged(through));
            expected.extend(damaged.records(rest));
            expected
        };
        let everyone = told(&[0, 1], (4..60).collect());
        for _ in 0..2 {
            assert_eq!(shown(&log, HubId::ZERO, &everything()), everyone, "{wrong}");
        }
        assert_eq!(shown(&log, HubId::ZERO, &on(&["odd"])), told(&[1], (5..60).step_by(2).collect()));
        assert_eq!(shown(&log, HubId::ZERO, &on(&["neither"])), [Shown::Damaged(through)]);
        // Also one whose place lies in what is lost, after others have walked by.
        assert_eq!(shown(&log, damaged.ids[2], &everything()), told(&[], (4..60).collect()));
        assert_eq!(shown(&log, through, &everything()), damaged.records(4..60));
        assert_eq!(damaged.reported().len(), 1);
        let [damage] = &damaged.reported()[..] else { panic!("{:?}", damaged.reported()) };
        assert_eq!((damage.after, damage.through), (damaged.ids[1], through));
        assert_eq!(damage.to_byte, damaged.bounds[4] as u64);

        // Who looks for something else passes it over.
        assert!(!log.event(damaged.ids[3], &mut |_| ()).expect("read"));
        assert!(log.event(damaged.ids[4], &mut |_| ()).expect("read"));
        assert_eq!(log.find_publisher_id("id 2", &everything()).expect("read"), None);
        assert_eq!(log.find_publisher_id("id 9", &everything()).expect("read"), Some(damaged.ids[9]));
        assert_eq!(log.place_before_last(57, &everything()).expect("read").place, damaged.ids[0]);
        let topics = log.topics(None, 10, &everything()).expect("read").topics;
        assert_eq!(topics.iter().map(|topic| topic.events).collect::<Vec<_>>(), [29, 29]);
    }
}

/// An index says on which topics the records were that cannot be read any more.
#[test]
fn by_an_index_only_those_are_told_who_would_have_seen_it() {
    let damaged = Damaged::indexed();
    damaged.flip(damaged.bounds[2] + GROUP_HEADER + 30);
    let log = damaged.open();
    let through = damaged.ids[3].before().expect("one");
    let even: Vec<Shown> = damaged.records((0..60).step_by(2));
    let told = [&even[..1], &[Shown::Damaged(through)], &even[2..]].concat();
    assert_eq!(shown(&log, HubId::ZERO, &on(&["even"])), told);
    assert_eq!(shown(&log, HubId::ZERO, &on(&["neither"])), []);
}

/// A way to damage a segment from a byte on.
type Spoil<'a> = &'a dyn Fn(&Damaged, usize);

#[test]
fn what_lies_at_the_end_of_a_segment_is_told_before_the_next_one() {
    // The log has the file open: it becomes short under it.
    let cut = |damaged: &Damaged, at: usize| {
        let file = Disk::open(&damaged.disk, &damaged.name).expect("there");
        file.truncate(at as u64).expect("cut");
    };
    let zeroed = |damaged: &Damaged, at: usize| {
        damaged.disk.damage(&damaged.name, at, &vec![0; 4096 - at]);
    };
    let spoilt = |damaged: &Damaged, at: usize| {
        damaged.disk.spoil(&damaged.name, at..4096);
    };
    let ways: [(&str, Spoil<'_>); 3] = [("cut", &cut), ("zeroed", &zeroed), ("spoilt", &spoilt)];
    for (way, spoil) in ways {
        let damaged = Damaged::new();
        let log = damaged.open();
        let first_of_next = damaged.bounds.len() - 1;
        let at = damaged.bounds[5] + 70;
        spoil(&damaged, at);
        let mut expected = damaged.records(0..5);
        expected.push(Shown::Damaged(damaged.ids[first_of_next - 1]));
        expected.extend(damaged.records(first_of_next..60));
        assert_eq!(shown(&log, HubId::ZERO, &everything()), expected, "{way}");
        assert_eq!(shown(&log, damaged.ids[first_of_next - 1], &everything()), damaged.records(first_of_next..60));
    }
}

#[test]
fn a_bad_sector_hides_no_more_than_what_lies_on_it() {
    let damaged = Damaged::new();
    let log = damaged.open();
    let at = damaged.bounds[6] + 60;
    damaged.disk.spoil(&damaged.name, at..at + 1);
    let mut expected = damaged.records(0..6);
    expected.push(Shown::Damaged(damaged.ids[7].before().expect("one")));
    expected.extend(damaged.records(7..60));
    assert_eq!(shown(&log, HubId::ZERO, &everything()), expected);
}

/// A read of what is being written may fail for a moment; nothing says yet that it is gone.
#[test]
fn a_bad_sector_in_the_open_segment_is_an_error() {
    let damaged = Damaged::new();
    let log = damaged.open();
    let last = damaged.disk.names().into_iter().rfind(|name| name.ends_with(".seg")).expect("one");
    damaged.disk.spoil(&last, 200..201);
    let read = log.read(damaged.ids[20], &everything(), u64::MAX, &mut |_| ControlFlow::Continue(()));
    assert!(read.is_err());
}

#[test]
fn a_follower_begins_behind_what_is_damaged() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let ids: Vec<HubId> = (0..6).flat_map(|n| append(&log, vec![event(&["t"], &n.to_string())])).collect();
    let name = segment_name(1);
    let bounds = group_bounds(&disk.contents(&name).expect("there"));
    disk.damage(&name, bounds[3] + 60, b"damage");
    let followed = Followed::default();
    log.follow(followed.follower());
    assert_eq!(followed.forgotten(), Some(ids[4].before().expect("one")));
    append(&log, vec![event(&["t"], "next")]);
    let texts: Vec<String> = followed.all().into_iter().map(|seen| seen.data).collect();
    assert_eq!(texts, ["0", "1", "2", "4", "5", "next"]);
    assert!(log.is_writable());
}

/// Walks leave marks in a segment at which later ones begin. One that was left on the first record behind the
/// damage was taken by a reader from before it, who was then told nothing.
#[test]
fn a_reader_from_before_the_damage_is_told_also_after_others_have_walked_by() {
    for lost in 6..10 {
        let disk = SimDisk::default();
        let config = FileLogConfig { segment_bytes: 256 << 10, ..config() };
        let log = try_open_with(disk.clone(), &config, BEGINNING).expect("opened").0;
        let publish = |_| append(&log, vec![event(&["t"], &"x".repeat(8000))]);
        let ids: Vec<HubId> = (0..40).flat_map(publish).collect();
        drop(log);
        let name = segment_name(1);
        let bounds = group_bounds(&disk.contents(&name).expect("there"));
        disk.damage(&name, bounds[lost], b"damage");
        let log = try_open_with(disk.clone(), &config, BEGINNING).expect("the segment is sealed").0;
        let told = Shown::Damaged(ids[lost + 1].before().expect("one"));
        for after in [HubId::ZERO, ids[lost - 1]] {
            let shown = shown(&log, after, &everything());
            assert!(shown.contains(&told), "{lost}, after {after}: {shown:?}");
        }
    }
}

/// A pass counted as done, with the next one a day later, also where a segment could not be read because of too many
/// open files: the rest of it was never checked.
#[test]
fn a_scrub_waits_for_what_it_cannot_read_now() {
    let Damaged { disk, .. } = Damaged::indexed();
    let (log, _) =
        try_open_with(disk.clone(), &FileLogConfig { scrub_rate: 0, ..config() }, BEGINNING).expect("opened");
    let segments = log.shelf().segments();
    let sealed = &segments[..segments.len() - 1];
    let bytes: u64 = sealed.iter().map(|segment| segment.committed()).sum();
    let done = Arc::<Mutex<Scrubbed>>::default();
    let mut scrub = Scrub::new(Arc::clone(log.shelf()), Arc::clone(&log.visibility), u64::MAX, Arc::clone(&done));
    let scrubbed = || *done.lock().expect("not poisoned");
    let second = disk.contents(&sealed[1].name).expect("there");
    disk.take(&sealed[1].name);
    for _ in 0..10 {
        scrub.turn();
    }
    assert_eq!(scrubbed(), Scrubbed { bytes: sealed[0].committed(), passes: 0 });
    assert_eq!(scrub.turn(), Duration::from_secs(60), "it comes again soon, and not at once");
    disk.put(&sealed[1].name, second);
    while scrubbed().passes == 0 {
        scrub.turn();
    }
    assert_eq!(scrubbed(), Scrubbed { bytes, passes: 1 });
}

/// Where the record before the match is lost, the place that was answered was the match's own: `from=-56` began behind
/// the event that it was to begin with.
#[test]
fn the_last_matches_are_all_there_also_behind_what_is_damaged() {
    for damaged in [Damaged::new(), Damaged::indexed()] {
        damaged.flip(damaged.bounds[2]);
        damaged.flip(damaged.bounds[3]);
        let log = damaged.open();
        for filter in [everything(), on(&["odd"]), on(&["even"])] {
            let records = |after| {
                let is_record = |shown: &Shown| matches!(shown, Shown::Record(_));
                shown(&log, after, &filter).into_iter().filter(is_record).count() as u64
            };
            for count in 1..=records(HubId::ZERO) {
                let place = log.place_before_last(count, &filter).expect("read").place;
                assert_eq!(records(place), count, "after {place}");
            }
        }
    }
}
