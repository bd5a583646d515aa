//! What one request has looked at has a limit.

use std::sync::Arc;

use super::super::counting_disk::CountingDisk;
use super::super::look_back::place_before_last;
use super::super::topics::{topic, topics};
use super::super::{FileLog, FileLogConfig, SimDisk};
use super::{BEGINNING, config, try_open_with};
use crate::hiding_tests::rules;
use crate::testing::{TestClock, append, event, event_of_type, eventually, everything, on, patterns, read_after};
use crate::{Clock, EventLog, Filter, HubId, LastMatches, NewEvent, TopicPage, TopicSummary, Types};

/// A log of many segments, each with its index.
fn filled(events: impl Iterator<Item = NewEvent>) -> (FileLog<CountingDisk>, CountingDisk) {
    let disk = CountingDisk::new(SimDisk::default());
    let log = try_open_with(disk.clone(), &config(), BEGINNING).expect("opened").0;
    let events: Vec<NewEvent> = events.collect();
    events.chunks(5).for_each(|array| drop(append(&log, array.to_vec())));
    eventually("indexes are written", || {
        let mut segments = log.shelf.segments();
        segments.pop();
        segments.iter().all(|segment| segment.unwritten().is_none())
    });
    (log, disk)
}

/// Pages until there is no other, each of at most `limit` topics and `looks_max` looks.
fn pages(log: &FileLog<CountingDisk>, limit: usize, filter: &Filter, looks_max: u64) -> Vec<TopicPage> {
    let mut pages: Vec<TopicPage> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.next.clone());
        let page = topics(&log.shelf, log.visibility(), after.as_deref(), limit, filter, looks_max).expect("read");
        assert!(page.topics.len() <= limit && page.next.as_ref().is_none_or(|next| after.as_ref() < Some(next)));
        pages.push(page);
        if pages.last().is_some_and(|page| page.next.is_none()) {
            return pages;
        }
    }
}

/// For a page of one topic, a caller who may read nothing had every record of the log looked at, in one request.
#[test]
fn a_page_of_topics_looks_at_so_much_and_the_next_one_goes_on() {
    let private = (0..2000).map(|n| event(&[&format!("{:03}", n % 100)], "").private());
    let public = (0..100).map(|n| event(&[&format!("{n:03}")], ""));
    let (log, disk) = filled(private.chain(public.skip(95)));
    let nobody = Filter { grants: None, ..everything() };
    let listed =
        |pages: &[TopicPage]| -> Vec<TopicSummary> { pages.iter().flat_map(|page| page.topics.clone()).collect() };

    disk.take_read();
    let whole = pages(&log, 10, &nobody, u64::MAX);
    let read = disk.take_read().bytes;
    assert_eq!((whole.len(), listed(&whole).len()), (1, 5));
    let first = topics(&log.shelf, log.visibility(), None, 1, &nobody, 100).expect("read");
    assert!(first.topics.is_empty() && first.next.is_some(), "{first:?}");
    let read_for_one = disk.take_read().bytes;
    assert!(read_for_one < read / 3, "{read_for_one} bytes are read for a page, {read} for all");
    let short = pages(&log, 10, &nobody, 100);
    assert!(short.len() > 10, "{}", short.len());
    assert_eq!(listed(&short), listed(&whole));
    for (limit, looks_max) in [(1, 1000), (3, 200), (100, 500)] {
        assert_eq!(
            listed(&pages(&log, limit, &everything(), looks_max)),
            listed(&pages(&log, 100, &everything(), u64::MAX))
        );
    }
}

#[test]
fn a_topic_with_more_than_that_is_counted_as_far_as_it_goes() {
    let private = |n: usize| event(&["b"], &format!("{n}")).private();
    let (log, _) = filled((0..500).map(|n| if n % 2 == 0 { private(n) } else { event(&["b"], "") }));
    append(&log, vec![event(&["a"], ""), event(&["c"], "")]);
    let nobody = Filter { grants: None, ..everything() };
    let pages = pages(&log, 10, &nobody, 60);
    let found: Vec<(&str, bool)> =
        pages.iter().flat_map(|page| &page.topics).map(|topic| (&*topic.topic, topic.is_cut)).collect();
    assert_eq!(found, [("a", false), ("b", true), ("c", false)]);
    let of_b = pages.iter().flat_map(|page| &page.topics).find(|topic| topic.topic == "b").expect("there");
    assert!((10..60).contains(&of_b.events), "{of_b:?}");
}

/// `from=-1` with a type that nobody publishes had the whole log looked at, and everybody else who asked for a place
/// waited for it.
#[test]
fn the_last_matches_are_sought_among_so_many_records() {
    let (log, disk) = filled((0..3000).map(|n| match n % 3 {
        0 => event(&["a"], ""),
        1 => event(&["b"], ""),
        _ => event_of_type("a", "rare", ""),
    }));
    let back = |count, filter: &Filter, records_max| {
        place_before_last(&log.shelf, log.visibility(), count, filter, records_max).expect("read")
    };
    let all: Vec<HubId> = read_after(&log, HubId::ZERO, &everything()).iter().map(|seen| seen.id).collect();
    let absent = Filter { types: Types::new(vec!["absent".into()]), ..everything() };
    disk.take_read();
    assert_eq!(back(1, &absent, u64::MAX), LastMatches { place: log.low_water(), is_cut: false });
    let read = disk.take_read().bytes;
    let LastMatches { place, is_cut } = back(1, &absent, 300);
    assert!(is_cut);
    let looked_at = all.iter().filter(|&&id| id > place).count();
    assert!((250..=300).contains(&looked_at), "{looked_at} records");
    let read_for_some = disk.take_read().bytes;
    assert!(read_for_some < read / 3, "{read_for_some} bytes are read, {read} for all");
    let by_pattern = Filter { topics: patterns(&["/b", "/c*"]), ..everything() };
    for filter in [on(&["a"]), on(&["b"]), on(&["a", "b"]), everything(), by_pattern, absent] {
        let ids: Vec<HubId> = read_after(&log, HubId::ZERO, &filter).iter().map(|seen| seen.id).collect();
        for count in [1, 63, 64, 65, 200, 999, 5000] {
            let whole = back(count, &filter, u64::MAX);
            assert_eq!(ids.iter().filter(|&&id| id > whole.place).count() as u64, count.min(ids.len() as u64));
            for records_max in [0, 1, 64, 100, 500, 2000] {
                let found = back(count, &filter, records_max);
                let looked_at = all.iter().filter(|&&id| id > found.place).count() as u64;
                assert!(found.place >= whole.place && (found.is_cut || found == whole), "{found:?} {whole:?}");
                assert!(!filter.topics.is_any() || looked_at <= records_max.max(count));
                assert!(!found.is_cut || looked_at >= records_max / 4, "{looked_at} of {records_max}");
            }
        }
    }
}

/// A topic under a rule, of which more events were hidden than are looked at for a page, was on no page, though there
/// were events on it that everybody reads.
#[test]
fn a_topic_whose_oldest_events_are_hidden_is_listed() {
    let clock = TestClock::at(BEGINNING);
    let config = FileLogConfig { retention_rules: rules(&[("/brief/*", 5)]), ..config() };
    let (log, _) = FileLog::open(SimDisk::default(), &config, Arc::clone(&clock) as Arc<dyn Clock>).expect("opened");
    for _ in 0..200 {
        append(&log, vec![event(&["/brief/1"], "")]);
    }
    clock.set(BEGINNING + 6_000);
    let last = append(&log, vec![event(&["/brief/1"], "seen")])[0];
    assert!(log.event(last, &mut |_| ()).expect("read"));
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = topics(&log.shelf, log.visibility(), after.as_deref(), 10, &everything(), 50).expect("read");
        found.extend(page.topics.into_iter().map(|topic| topic.topic));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["/brief/1"]);
}

/// One topic is no way around the limit: what the caller may not read is looked at too.
#[test]
fn one_topic_is_looked_at_for_so_long_from_its_newest_event_on() {
    let (log, disk) =
        filled((0..2000).map(|n| if n % 100 == 99 { event(&["t"], "") } else { event(&["t"], "").private() }));
    let nobody = Filter { grants: None, ..everything() };
    let look =
        |looks_max| topic(&log.shelf, log.visibility(), "t", &nobody, looks_max).expect("read").expect("there is");
    let whole = look(u64::MAX);
    assert_eq!((whole.events, whole.is_cut), (20, false));
    disk.take_read();
    let cut = look(500);
    let read_for_cut = disk.take_read().bytes;
    assert!(
        cut.is_cut && (1..=5).contains(&cut.events) && cut.last == whole.last && cut.first > whole.first,
        "{cut:?}"
    );
    look(u64::MAX);
    let read = disk.take_read().bytes;
    assert!(read_for_cut < read / 2, "{read_for_cut} bytes are read for a part, {read} for all");
}
