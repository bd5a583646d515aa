//! Segments have indexes, which are used, and nothing is wrong where one is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::counting_disk::CountingDisk;
use super::super::index::index_name;
use super::super::layout::{SEGMENT_HEADER, segment_name};
use super::super::open::{self, Opened};
use super::super::{Disk, FileLog, FileLogConfig, Outage, SimDisk};
use super::{BEGINNING, config, opening, try_open_with};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{
    Seen, TestClock, append, event, event_with_id, eventually, everything, matchers, on, patterns, read_after,
    read_all, shown, try_append,
};
use crate::{AppendError, EventLog, Filter, HubId, NewEvent, RecordView, TopicSummary, Types};

/// Waits until every segment but the last has its index file.
fn wait_for_indexes<D: Disk>(log: &FileLog<D>) {
    eventually("indexes are written", || {
        let mut segments = log.shelf.segments();
        segments.pop();
        segments.iter().all(|segment| segment.unwritten().is_none())
    });
}

fn index_names(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".idx")).collect()
}

fn long_segments() -> FileLogConfig {
    FileLogConfig { segment_bytes: 256 << 10, ..config() }
}

/// Thirty thousand events, each on a topic of its own and one that all share; ten of them bear `rare`, and a
/// publisher's id.
fn with_rare_events<D: Disk>(log: &FileLog<D>) -> Vec<HubId> {
    let mut rare = Vec::new();
    for n in 0..30 {
        let mut events: Vec<NewEvent> =
            (0..1000).map(|m| event(&[&format!("one-off/{n}/{m}"), "often"], "something was said")).collect();
        if n % 3 == 1 {
            events[500] = event_with_id("rare", &format!("id {n}"), "rare");
        }
        let ids = append(log, events);
        rare.extend((n % 3 == 1).then_some(ids[500]));
    }
    rare
}

#[test]
fn ten_events_among_many_are_found_without_reading_what_lies_between() {
    let disk = CountingDisk::new(SimDisk::default());
    let log = try_open_with(disk.clone(), &long_segments(), BEGINNING).expect("opened").0;
    let rare = with_rare_events(&log);
    wait_for_indexes(&log);
    drop(log);
    // Opened anew, so that nothing is known but what the files say.
    let log = try_open_with(disk.clone(), &long_segments(), BEGINNING).expect("opened").0;
    let stats = log.stats();
    assert!(stats.segments > 15, "{stats:?}");
    disk.take_read();

    let found: Vec<HubId> = read_after(&log, HubId::ZERO, &on(&["rare"])).iter().map(|seen| seen.id).collect();
    assert_eq!(found, rare);
    let read = disk.take_read().bytes;
    assert!(read < stats.bytes / 4, "a read: {read} bytes of {}", stats.bytes);
    assert!(log.event(rare[7], &mut |record| assert_eq!(record.id, rare[7])).expect("read"));
    let read = disk.take_read().bytes;
    assert!(read < stats.bytes / 20, "an event by its id: {read} bytes of {}", stats.bytes);
    assert_eq!(log.find_publisher_id("id 28", &everything()).expect("read"), Some(rare[9]));
    let read = disk.take_read().bytes;
    assert!(read < stats.bytes / 10, "a publisher's id: {read} bytes of {}", stats.bytes);
    let place = log.place_before_last(2, &on(&["rare"])).expect("read").place;
    assert_eq!(read_after(&log, place, &on(&["rare"])).len(), 2);
    let read = disk.take_read().bytes;
    assert!(read < stats.bytes / 10, "the last two: {read} bytes of {}", stats.bytes);
    log.place_before_last(50, &everything()).expect("read");
    let read = disk.take_read().bytes;
    assert!(read < stats.bytes / 20, "the last fifty of all: {read} bytes of {}", stats.bytes);
    assert_eq!(append(&log, vec![event_with_id("rare", "id 4", "rare")]), [rare[1]]);
    let read = disk.take_read().bytes;
    assert!(read < stats.bytes / 10, "what was published before: {read} bytes of {}", stats.bytes);
    assert_eq!(log.topics(Some("one-off/9/998"), 2, &everything()).expect("read").topics[1].topic, "rare");
    let read = disk.take_read().bytes;
    assert!(read < stats.bytes / 3, "topics: {read} bytes of {}", stats.bytes);
    // Where most records are wanted, all are walked over: to look each of them up takes more.
    assert_eq!(read_after(&log, HubId::ZERO, &on(&["often"])).len(), 30_000 - rare.len());
    let calls = disk.take_read().calls;
    assert!(calls < 1000, "a common topic: {calls} reads");
}

/// A pattern has the topics of a segment tested, once some records were walked over, and nothing else read.
#[test]
fn what_matches_a_pattern_is_found_without_reading_what_lies_between() {
    let disk = CountingDisk::new(SimDisk::default());
    let log = try_open_with(disk.clone(), &long_segments(), BEGINNING).expect("opened").0;
    let mut rare = Vec::new();
    for n in 0..30 {
        let topic = |m| if (n, m) == (n / 3 * 3, 500) { "rare/x".to_owned() } else { format!("often/{}", m % 10) };
        let ids = append(&log, (0..1000).map(|m| event(&[&topic(m)], "something was said")).collect());
        rare.extend((n % 3 == 0).then_some(ids[500]));
    }
    wait_for_indexes(&log);
    let bytes = log.stats().bytes;
    disk.take_read();
    let found: Vec<HubId> = read_after(&log, HubId::ZERO, &on_pattern("/rare/*")).iter().map(|seen| seen.id).collect();
    assert_eq!(found, rare);
    let read = disk.take_read().bytes;
    assert!(read < bytes / 2, "by a pattern: {read} bytes of {bytes}");
    // Where many match, none is looked up.
    assert_eq!(read_after(&log, HubId::ZERO, &on_pattern("/often/*")).len(), 30_000 - rare.len());
    let calls = disk.take_read().calls;
    assert!(calls < 1000, "a common pattern: {calls} reads");
}

#[test]
fn a_start_reads_headers_and_the_last_segment() {
    let disk = CountingDisk::new(SimDisk::default());
    let log = try_open_with(disk.clone(), &long_segments(), BEGINNING).expect("opened").0;
    with_rare_events(&log);
    wait_for_indexes(&log);
    let segments = log.stats().segments;
    drop(log);
    disk.take_read();
    // A scrub would read what is counted.
    let quiet = FileLogConfig { scrub_rate: 0, ..long_segments() };
    let (log, recovery) = try_open_with(disk.clone(), &quiet, BEGINNING).expect("opened");
    // With its end searched, its last group written again and its publications read back.
    let read = disk.take_read();
    let headers = segments * SEGMENT_HEADER as u64;
    assert!(read.bytes < headers + 4 * (256 << 10) + 1000, "{read:?}");
    assert!(recovery.idempotence_entries < 2, "those of the last segment");
    drop(log);
}

#[test]
fn one_off_topics_and_publishers_ids_are_in_memory_until_their_segment_is_sealed() {
    let (log, _) = try_open_with(SimDisk::default(), &config(), BEGINNING).expect("opened");
    for n in 0..100 {
        append(&log, vec![event_with_id(&format!("one-off/{n}"), &format!("id {n}"), &"x".repeat(500))]);
    }
    wait_for_indexes(&log);
    let in_memory = log.shelf.segments().iter().filter(|segment| segment.has_index_in_memory()).count();
    assert_eq!(in_memory, 1, "of the open segment");
    append(&log, vec![event(&["t"], "")]);
    let held = log.stats().idempotence_entries;
    assert!(held < 8, "{held} are held of 100");
    for n in 0..100 {
        append(&log, vec![event_with_id(&format!("one-off/{n}"), &format!("id {n}"), &"x".repeat(500))]);
    }
    assert_eq!(log.stats().records, 101, "all were known");
    let other = vec![event(&["t"], ""), event_with_id("one-off/3", "id 3", "other")];
    assert!(matches!(try_append(&log, other), Err(AppendError::IdConflict { index: 1, .. })));
}

#[test]
fn files_are_closed_again() {
    let disk = CountingDisk::new(SimDisk::default());
    let log = try_open_with(disk.clone(), &config(), BEGINNING).expect("opened").0;
    for _ in 0..800 {
        append(&log, vec![event(&["t"], &"x".repeat(1000))]);
    }
    wait_for_indexes(&log);
    assert!(log.stats().segments > 150);
    assert_eq!(read_after(&log, HubId::ZERO, &on(&["other"])), []);
    assert_eq!(read_all(&log).len(), 800);
    let open = disk.open_files();
    assert!(open <= crate::LOG_FILES_MAX as u64 + 4, "{open} are open");
}

#[test]
fn an_index_that_is_absent_damaged_or_anothers_is_made_again() {
    let disk = SimDisk::default();
    let log = try_open_with(disk.clone(), &config(), BEGINNING).expect("opened").0;
    let ids: Vec<HubId> = (0..60)
        .flat_map(|n| append(&log, vec![event_with_id(&format!("t{}", n % 7), &format!("id {n}"), &"x".repeat(300))]))
        .collect();
    wait_for_indexes(&log);
    drop(log);
    let whole = index_names(&disk);
    assert!(whole.len() > 5, "{whole:?}");
    let bytes = |name: &str| disk.contents(name).expect("there");
    let (first, second) = (bytes(&whole[0]), bytes(&whole[1]));
    let spoil: [&dyn Fn(); 5] = [
        &|| disk.take(&whole[0]),
        &|| disk.put(&whole[0], second.clone()),
        &|| disk.put(&whole[0], first[..5000].to_vec()),
        &|| disk.put(&whole[0], first.iter().map(|byte| byte ^ 1).collect()),
        // Its header is right.
        &|| disk.put(&whole[0], first.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at >= 4096)).collect()),
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        spoil();
        let disk = disk.restart(Outage::Kill);
        let log = try_open_with(disk.clone(), &config(), BEGINNING).expect("opened").0;
        for topic in 0..7 {
            let seen = read_after(&log, HubId::ZERO, &on(&[&format!("t{topic}")]));
            let expected: Vec<HubId> = ids.iter().skip(topic).step_by(7).copied().collect();
            assert_eq!(seen.iter().map(|seen| seen.id).collect::<Vec<_>>(), expected, "{number}");
        }
        for n in [0, 1, 2] {
            let again = event_with_id(&format!("t{n}"), &format!("id {n}"), &"x".repeat(300));
            assert_eq!(append(&log, vec![again]), [ids[n]], "{number}");
            assert_eq!(log.find_publisher_id(&format!("id {n}"), &everything()).expect("read"), Some(ids[n]));
        }
        assert_eq!(log.topics(None, 1, &everything()).expect("read").topics[0].events, 9);
        // As its thread does every few seconds.
        while log.keeper.lock().expect("not poisoned").indexer.turn().expect("written") {}
        assert!(bytes(&whole[0]) == first, "{number}: it is made again");
    }
}

#[test]
fn a_crash_between_sealing_and_the_index_leaves_a_segment_that_is_read_without_and_then_indexed() {
    let disk = SimDisk::default();
    let fingerprints = Fingerprints::default();
    let opened = open::open(disk.clone(), &opening(TestClock::at(BEGINNING)), &fingerprints).expect("opened");
    let Opened { mut committer, times, .. } = opened;
    let publish = |n: usize| event_with_id(&format!("t{}", n % 3), &format!("id {n}"), &"x".repeat(400));
    let mut ids = Vec::new();
    for n in 0..30 {
        let array = Array::new(vec![publish(n)], &fingerprints);
        let answers = committer.commit(&mut [(array, ())].into(), &times.moment());
        ids.extend(answers.into_iter().flat_map(|(_, answer)| answer.expect("appended")));
    }
    assert!(committer.shelf().size().2 > 3);
    assert_eq!(index_names(&disk), Vec::<String>::new());
    let disk = disk.restart(Outage::PowerCut(7));
    let log = try_open_with(disk.clone(), &config(), BEGINNING).expect("opened").0;
    for (n, &id) in ids.iter().enumerate() {
        assert_eq!(append(&log, vec![publish(n)]), [id], "whether the index is there yet or not");
    }
    assert_eq!(read_after(&log, HubId::ZERO, &on(&["t1"])).len(), 10);
    wait_for_indexes(&log);
    assert_eq!(index_names(&disk).len() as u64, log.stats().segments - 1);
    assert_eq!(read_after(&log, HubId::ZERO, &on(&["t1"])).len(), 10);
}

/// Once a publication's segment had its index, the publication was forgotten. An array that had been looked up
/// before that, and was sequenced after it, would have been appended twice.
#[test]
fn what_is_indexed_between_looking_up_and_sequencing_is_not_published_twice() {
    let fingerprints = Fingerprints::default();
    let opened = open::open(SimDisk::default(), &opening(TestClock::at(BEGINNING)), &fingerprints).expect("opened");
    let Opened { mut committer, keeper, lookup, times, .. } = opened;
    let mut commit = |array: Array| {
        let mut answers = committer.commit(&mut [(array, ())].into(), &times.moment());
        answers.pop().expect("one").1.expect("appended")
    };
    let publish = || Array::new(vec![event_with_id("t", "id", "1")], &fingerprints);
    let first = commit(publish());
    let mut early = publish();
    lookup.look_up(&mut early).expect("looked up");
    for _ in 0..30 {
        commit(Array::new(vec![event(&["t"], &"x".repeat(500))], &fingerprints));
    }
    while keeper.indexer.turn().expect("written") {}
    // What comes in between forgets the first.
    commit(Array::new(vec![event(&["t"], "")], &fingerprints));
    assert_eq!(commit(early), first);
    assert_eq!(commit(publish()), first);
}

/// An array was looked up, and what was found had expired. Before it was sequenced, its key was published anew, and
/// the segment of that got its index, so that it was forgotten. Looked up again, the newer one was not looked for,
/// since something had been found before: the event was appended twice.
#[test]
fn what_was_found_before_does_not_hide_what_was_published_since() {
    let (fingerprints, clock) = (Fingerprints::default(), TestClock::at(BEGINNING));
    let opened = open::open(SimDisk::default(), &opening(Arc::clone(&clock)), &fingerprints).expect("opened");
    let Opened { mut committer, keeper, lookup, times, .. } = opened;
    let mut commit = |array: Array| {
        let mut answers = committer.commit(&mut [(array, ())].into(), &times.moment());
        answers.pop().expect("one").1.expect("appended")
    };
    let publish = || Array::new(vec![event_with_id("t", "id", "1")], &fingerprints);
    let first = commit(publish());
    // Two of these do not fit in one segment.
    let large = || Array::new(vec![event(&["t"], &"x".repeat(3000))], &fingerprints);
    commit(large());
    commit(large());
    while keeper.indexer.turn().expect("written") {}
    let mut early = publish();
    lookup.look_up(&mut early).expect("looked up");
    assert_eq!(early.publications().next().and_then(|event| event.earlier).map(|found| found.id), Some(first[0]));
    // The window passes.
    clock.set(BEGINNING + 1001);
    let newer = commit(publish());
    assert_ne!(newer, first);
    commit(large());
    commit(large());
    while keeper.indexer.turn().expect("written") {}
    assert_eq!(commit(early), newer);
}

#[test]
fn a_segment_that_is_removed_before_it_is_read_is_passed_over() {
    let config = FileLogConfig { retention_bytes: 8 * 4096, ..config() };
    let log = try_open_with(SimDisk::default(), &config, BEGINNING).expect("opened").0;
    let fill = || (0..8).flat_map(|_| append(&log, vec![event(&["t"], &"x".repeat(1000))])).collect::<Vec<_>>();
    fill();
    let mut seen = Vec::new();
    let mut after = Vec::new();
    let mut visit = shown(|record: &RecordView<'_>| {
        seen.push(record.id);
        if seen.len() == 1 {
            for _ in 0..10 {
                after.extend(fill());
            }
            eventually("old segments are removed", || log.stats().bytes <= 8 * 4096);
            // Nor are their files held open any more.
            assert!(log.low_water() > seen[0]);
        }
        ControlFlow::Continue(())
    });
    let end = log.read(HubId::ZERO, &on(&["t"]), u64::MAX, &mut visit).expect("no error");
    drop(visit);
    assert!(end.low_water > seen[0], "the reader can tell that something went");
    assert_eq!(seen.last(), after.last());
    assert!(index_names_fit(&log));
}

/// Whether no index is left of a segment that was removed.
fn index_names_fit(log: &FileLog<SimDisk>) -> bool {
    let kept: Vec<String> = log.shelf.segments().iter().map(|s| index_name(s.header.first_sequence)).collect();
    let disk = log.keeper.lock().expect("not poisoned").ledger.disk().clone();
    index_names(&disk).iter().all(|name| kept.contains(name))
}

#[test]
fn an_index_without_a_segment_is_removed_at_the_start() {
    let disk = SimDisk::default();
    drop(try_open_with(disk.clone(), &config(), BEGINNING).expect("opened"));
    disk.put(&index_name(77), vec![1; 10]);
    drop(try_open_with(disk.clone(), &config(), BEGINNING).expect("opened"));
    assert_eq!(disk.names(), [&segment_name(1), "manifest", "reserve"]);
}

/// What a test knows of an event that was appended.
#[derive(Clone, Debug)]
struct Known {
    seen: Seen,
    publisher_id: Option<String>,
    is_private: bool,
}

fn may_read(known: &Known, filter: &Filter) -> bool {
    filter.may_read(known.seen.topics.iter().map(String::as_str), known.is_private)
}

fn admitted<'k>(known: &'k [Known], filter: &Filter) -> Vec<&'k Known> {
    let topics = |known: &Known| filter.topics.matches(known.seen.topics.iter().map(String::as_str));
    known.iter().filter(|known| topics(known) && may_read(known, filter)).collect()
}

fn on_pattern(pattern: &str) -> Filter {
    Filter { topics: patterns(&[pattern]), ..everything() }
}

fn any_event() -> impl Strategy<Value = (Vec<String>, Option<u8>, bool, usize)> {
    let topic = prop_oneof![3 => (0..4).prop_map(|n| format!("shared/{n}")), 1 => "[a-z]{1,6}", 1 => (0..20).prop_map(|n| format!("https://a.example/{n}")), 1 => "https://hub[.]example/[ab]/[c-e]"];
    let topics = prop::collection::btree_set(topic, 1..4).prop_map(|topics| topics.into_iter().collect());
    (topics, prop::option::weighted(0.4, 0..8_u8), prop::bool::weighted(0.3), 0..300_usize)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whether a segment is open, sealed, indexed or not, a read by its index shows what a vector does.
    #[test]
    fn reads_by_index_answer_as_a_vector_does(
        arrays in prop::collection::vec(prop::collection::vec(any_event(), 1..8), 1..40),
        places in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, 1..5000_u64), 1..6),
        asked in prop::collection::vec("[a-z]", 0..2),
    ) {
        // Without a window: an id comes as often as it is published.
        let config = FileLogConfig { idempotence_window: Duration::ZERO, ..config() };
        let log = try_open_with(SimDisk::default(), &config, BEGINNING).expect("opened").0;
        let mut known: Vec<Known> = Vec::new();
        for array in &arrays {
            // In one array an id comes once.
            let mut ids = BTreeSet::new();
            let array: Vec<_> = array
                .iter()
                .map(|(topics, id, is_private, bytes)| (topics, id.filter(|&id| ids.insert(id)), is_private, bytes))
                .collect();
            let events = array.iter().map(|&(topics, id, is_private, bytes)| {
                let named: Vec<&str> = topics.iter().map(String::as_str).collect();
                let mut new = event(&named, &"x".repeat(*bytes));
                if let Some(id) = id {
                    new.publisher_id = event_with_id("t", &format!("id {id}"), "").publisher_id;
                }
                if *is_private { new.private() } else { new }
            });
            let ids = append(&log, events.collect());
            known.extend(array.iter().zip(ids).map(|(&(topics, publisher_id, is_private, bytes), id)| Known {
                seen: Seen { id, topics: topics.clone(), data: "x".repeat(*bytes) },
                publisher_id: publisher_id.map(|id| format!("id {id}")),
                is_private: *is_private,
            }));
        }
        let mut wanted: Vec<&str> = asked.iter().map(String::as_str).collect();
        wanted.push("shared/2");
        let filters = [
            on(&wanted),
            on(&["absent"]),
            on(&["*"]),
            Filter { topics: patterns(&["/shared/2", "/:one"]), types: Types::All, grants: Some(patterns(&["/shared/*"])) },
            on_pattern("/:letters([a-c]+)"),
            Filter { topics: patterns(&["*://*/b/c", "https://hub.example/:x/d"]), ..everything() },
            on_pattern("https://a.example/1*"),
            on_pattern("/a*"),
            Filter { topics: matchers(&["shared/0", "shared/1"]), types: Types::All, grants: Some(matchers(&["shared/3"])) },
            everything(),
        ];
        for filter in &filters {
            let admitted = admitted(&known, filter);
            for (index, breaks_after, scan_bytes) in &places {
                // All of it in steps of a few bytes and events, from any place.
                let after = index.get(&known).seen.id;
                let mut place = after;
                let mut read = Vec::new();
                loop {
                    let mut left = *breaks_after;
                    let mut visit = shown(|record: &RecordView<'_>| {
                        read.push(Seen::new(record));
                        left = left.wrapping_sub(1);
                        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    });
                    let end = log.read(place, filter, *scan_bytes, &mut visit).expect("read");
                    drop(visit);
                    prop_assert!(end.looked_at > place || end.at_head);
                    place = end.looked_at;
                    if end.at_head {
                        break;
                    }
                }
                let expected: Vec<&Seen> = admitted.iter().map(|known| &known.seen).filter(|s| s.id > after).collect();
                prop_assert_eq!(read.iter().collect::<Vec<_>>(), expected);
            }
            for count in [1, 2, 5, admitted.len().max(1)] {
                let place = log.place_before_last(count as u64, filter).expect("read").place;
                let expected = admitted.len().checked_sub(count).map(|first| admitted[first].seen.id);
                let before = |id: HubId| known.iter().rev().map(|known| known.seen.id).find(|&before| before < id);
                prop_assert_eq!(place, expected.and_then(before).unwrap_or(log.low_water()));
            }
            for id in 0..8 {
                let id = format!("id {id}");
                let is_it = |known: &&Known| known.publisher_id.as_ref() == Some(&id) && may_read(known, filter);
                let first = known.iter().find(is_it).map(|known| known.seen.id);
                prop_assert_eq!(log.find_publisher_id(&id, filter).expect("read"), first);
            }
            let mut topics: BTreeMap<&str, TopicSummary> = BTreeMap::new();
            for known in known.iter().filter(|known| may_read(known, filter)) {
                for topic in &known.seen.topics {
                    let id = known.seen.id;
                    let new = TopicSummary { topic: topic.clone(), events: 0, first: id, last: id, is_cut: false };
                    let summary = topics.entry(topic).or_insert(new);
                    (summary.events, summary.last) = (summary.events + 1, id);
                }
            }
            for (after, limit) in [(None, 100), (None, 2), (Some("m"), 3), (Some("shared/1"), 1)] {
                let expected = topics.values().filter(|summary| after.is_none_or(|after| &*summary.topic > after));
                let expected: Vec<TopicSummary> = expected.take(limit).cloned().collect();
                prop_assert_eq!(log.topics(after, limit, filter).expect("read").topics, expected);
            }
            for name in topics.keys().copied().chain(["nothing", "shared/1"]) {
                prop_assert_eq!(log.topic(name, filter).expect("read"), topics.get(name).cloned());
            }
        }
        for known in &known {
            prop_assert!(log.event(known.seen.id, &mut |record| assert_eq!(Seen::new(record), known.seen)).expect("read"));
        }
    }
}
