use std::collections::BTreeMap;

use proptest::prelude::*;
use tidewire_topic::is_canonical_url;

use super::fuzzed::{OF, with_right_checksums};
use super::layout::{PAGE, PAGE_BYTES};
use super::*;
use crate::NewEvent;
use crate::file::counting_disk::CountingDisk;
use crate::file::disk::{Disk, DiskFile};
use crate::file::layout::LogId;
use crate::file::sim_disk::{SimDisk, SimFile};
use crate::record::{Draft, Extent, Head};
use crate::testing::{event, event_with_id, moment};

const LOG: LogId = OF.log_id;
const BEFORE: HubId = HubId { ms: 9, seq: 9 };

/// What a test knows of a record: a segment is a vector of these, and every question is answered by
/// looking at all of them.
#[derive(Clone, Debug)]
struct Known {
    topics: Vec<String>,
    publisher_id: Option<String>,
    is_private: bool,
    id: HubId,
    at: u32,
    group_end: u32,
}

/// A segment with an event for each of these: its topics, its publisher's id, whether it is private,
/// and whether it ends its group.
fn segment(events: &[(Vec<String>, Option<String>, bool, bool)]) -> (Vec<Known>, OpenIndex) {
    let mut known = Vec::new();
    let mut records = Vec::new();
    let (mut at, mut id, mut group) = (128 + 48, BEFORE, 0);
    for (number, (topics, publisher_id, is_private, ends_group)) in events.iter().enumerate() {
        let named: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut event: NewEvent = match publisher_id {
            Some(publisher_id) => event_with_id(named[0], publisher_id, "x"),
            None => event(&named, "x"),
        };
        event.topics = crate::testing::event(&named, "").topics;
        if *is_private {
            event = event.private();
        }
        id = HubId { ms: id.ms + number as u64 % 2, seq: id.seq + 2 };
        let mut bytes = Vec::new();
        Draft::new(&event).encode(OF.first_sequence + number as u64, id, &moment(5), &mut bytes);
        let (publisher_id, is_private) = (publisher_id.clone(), *is_private);
        let topics = event.topics().iter().map(|topic| topic.as_str().to_owned()).collect();
        known.push(Known { topics, publisher_id, is_private, id, at, group_end: 0 });
        at += u32::try_from(bytes.len()).expect("short");
        records.push(bytes);
        if *ends_group || number + 1 == events.len() {
            known[group..].iter_mut().for_each(|known| known.group_end = at);
            group = known.len();
            at += 48;
        }
    }
    let mut index = OpenIndex::new(&LOG, BEFORE);
    for (known, bytes) in known.iter().zip(&records) {
        let head = Extent::read(bytes).and_then(|extent| Head::parse(&bytes[..extent.head_bytes]));
        index.push(known.at, known.group_end, &head.expect("encoded"));
    }
    (known, index)
}

fn written(index: &OpenIndex) -> (SimDisk, IndexFile<SimFile>) {
    let disk = SimDisk::default();
    write_index(&disk, &OF, index).expect("written");
    let file = open_index(&disk, OF).expect("whole");
    (disk, file)
}

fn open_index<D: Disk>(disk: &D, of: Indexed) -> Result<IndexFile<D::File>, BadIndex> {
    IndexFile::new(disk.open(&index_name(of.first_sequence))?, of)
}

fn open_bytes(bytes: Vec<u8>) -> Result<IndexFile<SimFile>, BadIndex> {
    let disk = SimDisk::default();
    disk.put(&index_name(OF.first_sequence), bytes);
    open_index(&disk, OF)
}

fn numbers(known: &[Known], wanted: impl Fn(&Known) -> bool) -> Vec<u32> {
    (0..).zip(known).filter(|(_, known)| wanted(known)).map(|(number, _)| number).collect()
}

/// The topics and ids that are asked about: all that are there, and some that are not.
fn asked(known: &[Known]) -> (Vec<String>, Vec<String>) {
    let mut topics: Vec<String> = known.iter().flat_map(|known| known.topics.clone()).collect();
    topics.extend(["", "m", "shared", "shared/1", "zz"].map(str::to_owned));
    topics.sort();
    topics.dedup();
    let mut ids: Vec<String> = known.iter().filter_map(|known| known.publisher_id.clone()).collect();
    ids.extend(["", "p", "id 0"].map(str::to_owned));
    ids.sort();
    ids.dedup();
    (topics, ids)
}

/// Asks an index everything, each question by itself. An answer that it gives is the right one; those
/// that fail are counted.
fn answers_rightly(index: &dyn RecordIndex, known: &[Known]) -> usize {
    let mut failed = 0;
    macro_rules! answer {
        ($asked:expr) => {
            match $asked {
                Ok(answer) => Some(answer),
                Err(BadIndex::Damaged) => {
                    failed += 1;
                    None
                }
                Err(other) => panic!("{other}"),
            }
        };
    }
    let count = index.records();
    assert_eq!(count as usize, known.len());
    let all: Vec<u32> = (0..count).collect();
    let mut offsets = Vec::new();
    if answer!(index.offsets(&all, &mut offsets)).is_some() {
        assert_eq!(offsets, known.iter().map(|known| u64::from(known.at)).collect::<Vec<_>>());
    }
    for place in known.iter().map(|known| known.id).chain([HubId::ZERO, BEFORE, HubId { ms: u64::MAX, seq: 0 }]) {
        let Some(found) = answer!(index.mark(place)) else { continue };
        let next = numbers(known, |known| known.id > place).first().map_or(count, |&next| next);
        let Some((record, mark)) = found else {
            assert_eq!(count, 0);
            continue;
        };
        assert!(record <= next && next <= record + MARK_RECORDS, "{record} for {next}");
        let after = record.checked_sub(1).map_or(BEFORE, |before| known[before as usize].id);
        let there = &known[record as usize];
        assert_eq!(mark, Mark { after, at: there.at.into(), group_end: there.group_end.into() });
    }
    for record in [0, 1, MARK_RECORDS - 1, MARK_RECORDS, count / 2, count] {
        if let Some(found) = answer!(index.mark_before(record)) {
            let last = record.min(count.saturating_sub(1)) / MARK_RECORDS * MARK_RECORDS;
            assert_eq!(found.map(|(record, _)| record), (count > 0).then_some(last), "before {record} of {count}");
            let at = |mark: &(u32, Mark)| mark.1.at == u64::from(known[mark.0 as usize].at);
            assert!(found.as_ref().is_none_or(at));
        }
    }
    let (topics, ids) = asked(known);
    for topic in &topics {
        let expected = numbers(known, |known| known.topics.contains(topic));
        let private = numbers(known, |known| known.topics.contains(topic) && known.is_private).len();
        let Some(postings) = answer!(index.topic(topic)) else { continue };
        let Some(postings) = postings else {
            assert!(expected.is_empty(), "{topic}: {expected:?}");
            continue;
        };
        assert_eq!((postings.count as usize, postings.private as usize), (expected.len(), private), "{topic}");
        let last = postings.count;
        for range in [0..last, 0..1, last / 2..last, last / 3..(last / 3 + 2).min(last), last..last] {
            let mut found = Vec::new();
            if answer!(index.postings(postings, range.clone(), &mut found)).is_some() {
                assert_eq!(found, expected[range.start as usize..range.end as usize], "{topic}");
            }
        }
        for record in [0, 1, count / 2, count] {
            if let Some(rank) = answer!(index.rank(postings, record)) {
                assert_eq!(rank as usize, expected.partition_point(|&posting| posting < record), "{topic}");
            }
        }
    }
    for id in &ids {
        let of = |known: &Known| known.publisher_id.as_ref() == Some(id);
        if let Some(found) = answer!(index.published(id, None)) {
            assert_eq!(found, numbers(known, of), "{id}");
        }
        for topic in topics.iter().take(8) {
            if let Some(found) = answer!(index.published(id, Some(topic))) {
                assert_eq!(found, numbers(known, |known| of(known) && known.topics.first() == Some(topic)), "{id}");
            }
        }
    }
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for topic in known.iter().flat_map(|known| &known.topics) {
        *counts.entry(topic).or_default() += 1;
    }
    assert_eq!(index.topics() as usize, counts.len());
    for after in std::iter::once(None).chain(topics.iter().map(|topic| Some(topic.as_str()))) {
        for limit in [0, 1, 3, usize::MAX] {
            let Some(found) = answer!(index.topics_after(after, limit)) else { continue };
            let expected = counts.iter().filter(|(name, _)| after.is_none_or(|after| **name > after));
            let found: Vec<(&str, u32)> = found.iter().map(|(name, postings)| (&**name, postings.count)).collect();
            assert_eq!(found, expected.take(limit).map(|(name, count)| (*name, *count)).collect::<Vec<_>>());
        }
    }
    for literal in LITERALS {
        let Some(found) = answer!(candidates(index, literal)) else { continue };
        assert!(found.iter().all(|(name, count)| counts.get(name.as_str()) == Some(count)), "{literal}: {found:?}");
        let expected = counts.keys().filter(|name| may_begin_with(name, literal));
        assert_eq!(expected.filter(|name| !found.contains_key(**name)).count(), 0, "{literal}: {found:?}");
    }
    failed
}

const LITERALS: [&str; 5] = ["", "urn:", "https://a.example/", "https://a.example/1", "zz:"];

fn may_begin_with(name: &str, literal: &str) -> bool {
    name.starts_with(literal) || !is_canonical_url(name)
}

/// The topics that may match what begins with a literal.
fn candidates(index: &dyn RecordIndex, literal: &str) -> Result<BTreeMap<String, u32>, BadIndex> {
    type Page<'a> = &'a dyn Fn(u32, &mut Vec<(String, Postings)>) -> Result<Option<u32>, BadIndex>;
    let mut found = BTreeMap::new();
    let pages: [Page<'_>; 2] =
        [&|from, out| index.other_topics(from, out), &|from, out| index.topics_beginning(literal, from, out)];
    for page in pages {
        let mut from = Some(0);
        while let Some(at) = from {
            let mut some = Vec::new();
            from = page(at, &mut some)?;
            assert!(some.len() <= TOPICS_AT_ONCE as usize && from.is_none_or(|next| next > at));
            for (name, postings) in some {
                found.insert(name, postings.count);
            }
        }
    }
    Ok(found)
}

#[test]
fn a_file_is_asked_for_the_urls_that_begin_alike_and_for_what_is_no_url() {
    let topics = |n: u32| match n % 3 {
        0 => format!("https://a.example/{n}"),
        1 => format!("HTTPS://a.example/{n}"),
        _ => format!("urn:uuid:{n}"),
    };
    let events: Vec<_> = (0..3_000).map(|n| (vec![topics(n)], None, false, n % 50 == 0)).collect();
    let (known, index) = segment(&events);
    let (_, file) = written(&index);
    for literal in LITERALS {
        let found = candidates(&file, literal).expect("whole");
        let expected = known.iter().filter(|known| may_begin_with(&known.topics[0], literal)).count();
        assert_eq!(found.len(), expected, "{literal}");
    }
    let urls = candidates(&file, "https://a.example/").expect("whole");
    assert_eq!((urls.len(), candidates(&file, "zz:").expect("whole").len()), (2_000, 1_000));
    assert!(file.other_topics(u32::MAX, &mut Vec::new()).is_ok_and(|next| next.is_none()));
    assert!(file.topics_beginning("a", u32::MAX, &mut Vec::new()).is_ok_and(|next| next.is_none()));
}

/// Both indexes of a segment answer as the vector does.
fn check(events: &[(Vec<String>, Option<String>, bool, bool)]) {
    let (known, index) = segment(events);
    assert_eq!(answers_rightly(&index, &known), 0);
    let (_, file) = written(&index);
    assert_eq!(answers_rightly(&file, &known), 0);
}

fn any_event() -> impl Strategy<Value = (Vec<String>, Option<String>, bool, bool)> {
    let shared = (0..4).prop_map(|n| format!("shared/{n}"));
    let one_off = "[a-z]{1,20}";
    let url = (0..20).prop_map(|n| format!("https://a.example/{n}"));
    let topics = prop::collection::vec(prop_oneof![3 => shared, 1 => one_off, 1 => url], 1..4);
    let publisher_id = prop::option::of((0..6).prop_map(|n| format!("id {n}")));
    (topics, publisher_id, any::<bool>(), prop::bool::weighted(0.2))
}

/// A segment of so many records, the same each time, with names that fill pages.
fn large(records: u32) -> Vec<(Vec<String>, Option<String>, bool, bool)> {
    let event = |n: u32| {
        let mut topics = vec![format!("shared/{}", n % 3), format!("one-off/{n}/{}", "x".repeat(30))];
        if n.is_multiple_of(5) {
            topics.push("often".to_owned());
        }
        let publisher_id = (n.is_multiple_of(2)).then(|| format!("id {}", n % 40));
        (topics, publisher_id, n.is_multiple_of(7), n.is_multiple_of(10))
    };
    (0..records).map(event).collect()
}

#[test]
fn an_index_of_nothing_is_empty() {
    check(&[]);
}

#[test]
fn a_segment_of_many_pages_is_answered_for_as_a_small_one() {
    check(&large(600));
}

#[test]
fn a_record_that_bears_a_topic_twice_is_on_it_once() {
    let (_, mut index) = segment(&[]);
    let mut event = event(&["t"], "");
    event.topics = [event.topics.clone(), event.topics.clone()].concat();
    let mut bytes = Vec::new();
    Draft::new(&event).encode(7, HubId { ms: 10, seq: 0 }, &moment(5), &mut bytes);
    let head_bytes = Extent::read(&bytes).expect("whole").head_bytes;
    index.push(200, 300, &Head::parse(&bytes[..head_bytes]).expect("whole"));
    let (_, file) = written(&index);
    assert_eq!(index.topic("t").expect("answered").map(|postings| postings.count), Some(1));
    assert_eq!(file.topic("t").expect("answered").map(|postings| postings.count), Some(1));
}

#[test]
fn postings_are_those_that_were_there_when_the_topic_was_asked_for() {
    let (_, mut index) = segment(&large(3));
    let postings = index.topic("shared/0").expect("answered").expect("there");
    let mut bytes = Vec::new();
    Draft::new(&event(&["shared/0"], "")).encode(10, HubId { ms: 99, seq: 99 }, &moment(5), &mut bytes);
    let head_bytes = Extent::read(&bytes).expect("whole").head_bytes;
    index.push(2000, 2300, &Head::parse(&bytes[..head_bytes]).expect("whole"));
    assert_eq!(postings.count, 1);
    assert_eq!(index.rank(postings, 99).expect("answered"), 1);
    let mut found = Vec::new();
    index.postings(postings, 0..1, &mut found).expect("answered");
    assert_eq!(found, [0]);
}

#[test]
fn another_segments_index_is_as_none() {
    let (disk, _) = written(&segment(&large(10)).1);
    let bytes = disk.contents(&index_name(OF.first_sequence)).expect("there");
    disk.put(&index_name(8), bytes);
    for of in [
        Indexed { log_id: *b"another log's id", ..OF },
        Indexed { first_sequence: 8, ..OF },
        Indexed { first_sequence: 9, ..OF },
        Indexed { end: OF.end - 1, ..OF },
    ] {
        assert!(matches!(open_index(&disk, of), Err(BadIndex::Absent)), "{of:?}");
    }
    assert!(open_index(&disk, OF).is_ok());
}

#[test]
fn a_crash_while_an_index_is_written_leaves_none_or_a_whole_one() {
    let (known, index) = segment(&large(60));
    let counted = SimDisk::default();
    write_index(&counted, &OF, &index).expect("written");
    for operation in 0..=counted.operations() {
        let disk = SimDisk::default();
        disk.stop_at(operation);
        let result = write_index(&disk, &OF, &index);
        let disk = disk.restart(crate::Outage::PowerCut(operation));
        match open_index(&disk, OF) {
            Ok(file) => assert_eq!(answers_rightly(&file, &known), 0),
            Err(BadIndex::Absent) => assert!(result.is_err(), "operation {operation}"),
            Err(other) => panic!("{other} after operation {operation}"),
        }
    }
}

#[test]
fn an_index_that_was_written_outlives_a_power_cut() {
    for seed in 0..20 {
        let (disk, _) = written(&segment(&large(60)).1);
        let disk = disk.restart(crate::Outage::PowerCut(seed));
        assert!(open_index(&disk, OF).is_ok(), "seed {seed}");
    }
}

#[test]
fn what_cannot_be_is_damage_also_with_right_checksums() {
    let (known, index) = segment(&large(90));
    let (disk, file) = written(&index);
    let bytes = disk.contents(&index_name(OF.first_sequence)).expect("there");
    let sections = &file.sections;
    let broken = |section: &Range<u64>| {
        let mut bytes = bytes.clone();
        for at in section.clone() {
            let page = 1 + at / PAGE_BYTES as u64;
            bytes[usize::try_from(page * PAGE as u64 + at % PAGE_BYTES as u64).expect("short")] = 0xff;
        }
        open_bytes(with_right_checksums(bytes)).expect("its header is right")
    };
    let damaged = |result: Result<(), BadIndex>| assert!(matches!(result, Err(BadIndex::Damaged)), "{result:?}");
    let often = file.topic("often").expect("answered").expect("there");
    damaged(broken(&sections.offsets).offsets(&[0], &mut Vec::new()));
    damaged(broken(&sections.marks).mark(known[0].id).map(drop));
    damaged(broken(&sections.topics).topic("often").map(drop));
    damaged(broken(&sections.topics).topics_after(None, 1).map(drop));
    damaged(broken(&sections.names).topics_after(None, 1).map(drop));
    damaged(broken(&sections.postings).postings(often, 0..1, &mut Vec::new()));
    damaged(broken(&sections.postings).rank(often, 1).map(drop));
    let last = sections.publications.end - 4..sections.publications.end;
    let greatest = index.publications.sorted().last().expect("there are ids").id;
    let id = known.iter().filter_map(|known| known.publisher_id.as_ref()).find(|id| index.hash.name(id) == greatest);
    damaged(broken(&last).published(id.expect("there"), None).map(drop));
}

#[test]
fn a_flipped_bit_or_a_missing_byte_is_damage_or_changes_nothing() {
    let (known, index) = segment(&large(90));
    let (disk, _) = written(&index);
    let bytes = disk.contents(&index_name(OF.first_sequence)).expect("there");
    assert!(bytes.len() >= 3 * PAGE, "more pages than one");
    let bits = (0..bytes.len() * 8).step_by(211).chain(0..80 * 8);
    for bit in bits {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match open_bytes(bytes) {
            Ok(file) => assert!(answers_rightly(&file, &known) > 0, "bit {bit} is not missed by anything"),
            Err(BadIndex::Damaged) => assert!(bit < 8 * PAGE, "bit {bit}"),
            Err(other) => panic!("{other}, bit {bit}"),
        }
    }
    for length in (0..bytes.len()).step_by(97) {
        assert!(matches!(open_bytes(bytes[..length].to_vec()), Err(BadIndex::Damaged)), "{length} bytes");
    }
    // Pages that lie in each other's place are no more right than others.
    let mut swapped = bytes.clone();
    let (one, other) = swapped[PAGE..3 * PAGE].split_at_mut(PAGE);
    one.swap_with_slice(other);
    assert!(answers_rightly(&open_bytes(swapped).expect("its header is right"), &known) > 0);
}

#[test]
fn questions_read_a_few_pages() {
    let (_, index) = segment(&large(2000));
    let (disk, _) = written(&index);
    let disk = CountingDisk::new(disk);
    let file = open_index(&disk, OF).expect("whole");
    let length = disk.open(&index_name(OF.first_sequence)).and_then(|file| file.length()).expect("read");
    let read = |ask: &dyn Fn()| {
        disk.take_read();
        ask();
        disk.take_read().bytes
    };
    let filtered_bytes = 2 * PAGE as u64;
    let absent = |n: u32| assert!(file.topic(&format!("absent {n}")).expect("answered").is_none());
    let filtered = (0..100).filter(|&n| read(&|| absent(n)) <= filtered_bytes).count();
    assert!(filtered > 90, "{filtered} of 100 absent topics are told by the filter");
    let unknown = |n: u32| assert!(file.published(&format!("unknown {n}"), None).expect("answered").is_empty());
    let filtered = (0..100).filter(|&n| read(&|| unknown(n)) <= filtered_bytes).count();
    assert!(filtered > 90, "{filtered} of 100 unknown ids are told by the filter");
    let there = read(&|| assert!(file.topic("shared/1").expect("answered").is_some()));
    assert!(there <= 30 * PAGE as u64 && 2 * there < length, "{there} of {length} bytes");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_indexes_answer_as_a_vector_does(events in prop::collection::vec(any_event(), 0..150)) {
        check(&events);
    }

    #[test]
    fn no_bytes_make_reading_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..8),
    ) {
        let (disk, _) = written(&segment(&large(40)).1);
        let mut bytes = disk.contents(&index_name(OF.first_sequence)).expect("there");
        for (at, byte, in_header) in flips {
            let at = if in_header { at.index(72) } else { at.index(bytes.len()) };
            bytes[at] = byte;
        }
        fuzz_index(&bytes);
    }
}
