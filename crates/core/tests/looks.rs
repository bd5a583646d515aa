//! What is looked at in vain: of a topic of which little or nothing is owed, a visit looks at so many records.

mod support;

use std::sync::{Arc, mpsc};

use support::{memory_log, publish, stream, visit};
use tidewire_core::{Cursor, Limits, Shard, StreamStart};
use tidewire_log::{
    Data, EventLog, EventType, Filter, HubId, LOOK_BACK_RECORDS_MAX, LOOK_RECORDS_MAX, MemoryLog, NewEvent, SimDisk,
    Tail, Types,
};
use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern, Topic};

const LIMITS: Limits = Limits { heartbeat_ms: 20_000, stall_ms: 60_000 };

fn logged() -> (MemoryLog<SimDisk>, Arc<Tail>) {
    let log = memory_log(1 << 26);
    let tail = Arc::new(Tail::new(1 << 26));
    log.follow(tail.follower());
    (log, tail)
}

fn event(topics: &[&str], data: &str) -> NewEvent {
    let topics = topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect();
    NewEvent::new(topics, &Data::Text(data.into()), 1 << 20).expect("an event")
}

fn append(log: &dyn EventLog, events: Vec<NewEvent>) {
    let (answer, answered) = mpsc::sync_channel(1);
    log.append(events, Box::new(move |done| answer.send(done).unwrap_or_default()));
    answered.recv().expect("answered").expect("appended");
}

fn append_many(log: &dyn EventLog, count: u64, event: &NewEvent) {
    (0..count / 100).for_each(|_| append(log, vec![event.clone(); 100]));
}

/// How many visits one stream has until nothing is owed, and the data it was given.
fn settle(tail: &Tail, stream: StreamStart) -> (usize, Vec<String>) {
    settle_one_more(&mut Shard::new(LIMITS), tail, stream)
}

fn settle_one_more(shard: &mut Shard<()>, tail: &Tail, stream: StreamStart) -> (usize, Vec<String>) {
    shard.join((), stream, tail, 0);
    let (mut visits, mut written) = (0, String::new());
    while shard.has_work() || shard.has_news(tail) {
        shard.observe(tail);
        shard.begin_round();
        while let Some(key) = shard.next_visit() {
            visits += 1;
            if let Ok(text) = visit(shard, key, tail, usize::MAX, 0) {
                written.push_str(&text);
            }
        }
    }
    let data = written.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty());
    (visits, data.map(str::to_owned).collect())
}

fn typed(mut stream: StreamStart, types: &[&str]) -> StreamStart {
    stream.filter.types = Types::new(types.iter().map(|&name| name.into()).collect());
    stream
}

/// The story: a visit cut what it looked at for patterns only. A reader of a topic with types that hardly occur looked
/// through the whole tail in one visit, with the tail locked: a publish meanwhile waited for 280 ms.
#[test]
fn a_visit_looks_at_so_many_records_of_its_topics_and_goes_on_in_the_next() {
    let (log, tail) = logged();
    let begin = log.head();
    let mut wanted = Vec::new();
    for part in 0..5 {
        append_many(&log, LOOK_RECORDS_MAX, &event(&["a", "b"], "in vain"));
        let tick = EventType::parse("tick").expect("a type");
        append(&log, (0..2).map(|n| event(&["a"], &format!("{part}-{n}")).with_type(tick.clone())).collect());
        wanted.extend([format!("{part}-0"), format!("{part}-1")]);
    }
    for types in [&["tick"][..], &["a", "b", "t", "tick", "z"]] {
        let (visits, data) = settle(&tail, typed(stream("a", begin), types));
        assert_eq!(data, wanted);
        assert!((5..20).contains(&visits), "{visits} visits");
    }
    let both = MatcherSet::new(["a", "b"].map(|topic| Matcher::parse(topic).expect("a topic"))).expect("a set");
    let mut of_both = typed(stream("a", begin), &["tick"]);
    of_both.filter.topics = both;
    let (visits, data) = settle(&tail, of_both);
    assert_eq!(data, wanted);
    assert!((10..40).contains(&visits), "{visits} visits: each record is looked at for both");
}

/// Looked at once, it is known to all who ask for the same: made anew for each of them, the list would cost each as much.
#[test]
fn what_was_looked_at_for_one_is_not_looked_at_again_for_others_of_its_group() {
    let (log, tail) = logged();
    let begin = log.head();
    append_many(&log, 5 * LOOK_RECORDS_MAX, &event(&["a"], "in vain"));
    let tick = EventType::parse("tick").expect("a type");
    append(&log, vec![event(&["a"], "wanted").with_type(tick)]);
    let mut shard = Shard::new(LIMITS);
    let stream = || typed(stream("a", begin), &["tick"]);
    let (first, data) = settle_one_more(&mut shard, &tail, stream());
    assert!(first >= 5 && data == ["wanted"], "{first} visits, {data:?}");
    for _ in 0..3 {
        assert_eq!(settle_one_more(&mut shard, &tail, stream()), (1, data.clone()));
    }
}

/// As of types, so of grants: private events that may not be read cost a look as well, and a dear one where patterns are
/// asked. What is public costs no more for the grants that one has.
#[test]
fn private_events_are_looked_at_a_few_at_a_time_and_fewer_where_asking_costs_more() {
    let (log, tail) = logged();
    let begin = log.head();
    append_many(&log, 5 * LOOK_RECORDS_MAX, &event(&["/a"], "secret").private());
    publish(&log, "/a", "last");
    let (visits, data) = settle(&tail, stream("/a", begin));
    assert_eq!(data, ["last"]);
    assert!((5..8).contains(&visits), "{visits} visits");

    let base = BaseUrl::parse("https://hub.example").expect("a URL");
    let heavy = ["/(c)", "/(d)", "/(e)", "/(f)"].map(|text| Pattern::parse(text, &base).expect(text));
    let grants = Some(MatcherSet::new(heavy.map(Matcher::Pattern)).expect("a set"));
    let granted = |place: HubId| {
        let stream = stream("/a", place);
        StreamStart { filter: Filter { grants: grants.clone(), ..stream.filter.clone() }, ..stream }
    };
    let (visits, data) = settle(&tail, granted(begin));
    assert_eq!(data, ["last"]);
    assert!(visits > 100, "{visits} visits");

    let public = log.head();
    append_many(&log, 1_000, &event(&["/a"], "public"));
    let (visits, data) = settle(&tail, granted(public));
    assert_eq!(data.len(), 1_000);
    assert!(visits < 10, "{visits} visits");
}

/// The last event of a kind that does not occur was sought among 4,096 records on the shard, for up to a millisecond.
#[test]
fn the_last_events_are_sought_where_others_wait_among_few_records() {
    let (log, tail) = logged();
    publish(&log, "a", "first");
    let wanted = publish(&log, "b", "wanted");
    append_many(&log, LOOK_BACK_RECORDS_MAX / 8, &event(&["a"], "x"));
    let last = Cursor::Last(1);
    let absent = typed(stream("a", wanted), &["absent"]).filter;
    assert!(!last.is_quick(&tail, &absent));
    assert!(!last.is_quick(&tail, &typed(stream("*", wanted), &["absent"]).filter));
    assert!(last.is_quick(&tail, &stream("b", wanted).filter), "its topic says where it is");
    let count = LOOK_BACK_RECORDS_MAX / 8 / 100 * 100;
    assert!(Cursor::Last(count).is_quick(&tail, &stream("a", wanted).filter));
    assert!(!Cursor::Last(count + 100).is_quick(&tail, &stream("a", wanted).filter));
    // Who may wait is answered by the tail nevertheless.
    let elsewhere = memory_log(1 << 20);
    let before = Cursor::Last(count + 1).resolve(&elsewhere, &tail, &stream("*", wanted).filter).expect("in memory");
    assert_eq!((before.gap, before.place < wanted), (None, true));
}
