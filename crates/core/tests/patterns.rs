//! What a shard does for filters with patterns, where nothing but looking tells what matches.

mod support;

use tidewire_core::{Limits, Shard, StreamStart};
use tidewire_log::{EventLog, Filter, HubId, Tail, Types};
use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern};

use support::{memory_log, publish, visit};

const TAIL_BYTES: usize = 1 << 24;
const LIMITS: Limits = Limits { heartbeat_ms: 20_000, stall_ms: 60_000 };

fn patterns(texts: &[&str]) -> MatcherSet {
    let base = BaseUrl::parse("https://hub.example").expect("a URL");
    MatcherSet::new(texts.iter().map(|text| Matcher::Pattern(Pattern::parse(text, &base).expect(text)))).expect("a set")
}

fn stream(texts: &[&str], place: HubId) -> StreamStart {
    let filter = Filter { topics: patterns(texts), types: Types::All, grants: None };
    StreamStart { filter, ..support::stream("*", place) }
}

/// Goes round until there is nothing to do, and says how many visits there were and what they wrote.
fn settle(shard: &mut Shard<()>, tail: &Tail) -> (usize, String) {
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
    (visits, written)
}

/// A reader with a pattern that came back looked through the whole tail in one visit, and everyone else waited.
#[test]
fn a_visit_looks_at_so_many_records_and_goes_on_in_the_next() {
    let log = memory_log(1 << 24);
    let tail = std::sync::Arc::new(Tail::new(TAIL_BYTES));
    log.follow(tail.follower());
    let first = publish(&log, "/a/0", "first");
    for _ in 0..10_000 {
        publish(&log, "/other", "x");
    }
    publish(&log, "/a/1", "last");
    let mut shard = Shard::new(LIMITS);
    shard.join((), stream(&["/a/*"], first), &tail, 0);
    let (visits, written) = settle(&mut shard, &tail);
    assert!(written.contains("data: last\n") && !written.contains("data: first\n"), "{written}");
    assert!((5..12).contains(&visits), "{visits} visits");
}

/// The story: a visit for a hundred patterns of many wildcards looked at as many records as one for `/a/*`, which took it
/// most of a second, with the tail locked.
#[test]
fn a_visit_looks_at_fewer_records_where_asking_costs_more() {
    let log = memory_log(1 << 24);
    let tail = std::sync::Arc::new(Tail::new(TAIL_BYTES));
    log.follow(tail.follower());
    let first = publish(&log, "/a/0", "first");
    for _ in 0..1_000 {
        publish(&log, "/other", "x");
    }
    publish(&log, "/a/1", "last");
    let heavy: Vec<String> = (0..4).map(|n| format!("/a/({n}|x).*")).collect();
    let visits = |texts: &[&str]| {
        let mut shard = Shard::new(LIMITS);
        shard.join((), stream(texts, first), &tail, 0);
        let (visits, written) = settle(&mut shard, &tail);
        (visits, written.contains("data: last\n"))
    };
    assert!(visits(&["/a/*"]).0 < 5);
    let texts: Vec<&str> = heavy.iter().map(String::as_str).chain(["/a/*"]).collect();
    let (visits, is_shown) = visits(&texts);
    assert!(is_shown && visits >= 1_000 / 16, "{visits} visits");
}

/// More than a group remembers, so that a part of it is looked for again.
#[test]
fn a_group_with_many_matches_gets_all_of_them_once() {
    let log = memory_log(1 << 24);
    let tail = std::sync::Arc::new(Tail::new(TAIL_BYTES));
    log.follow(tail.follower());
    let place = publish(&log, "/a/0", "before");
    let mut shard = Shard::new(LIMITS);
    shard.join((), stream(&["/a/*"], place), &tail, 0);
    settle(&mut shard, &tail);
    for count in [1, 31, 32, 33, 500] {
        let data: Vec<String> = (0..count).map(|n| format!("{count}-{n}")).collect();
        for data in &data {
            publish(&log, "/b/1", "not it");
            publish(&log, "/a/1", data);
        }
        let (_, written) = settle(&mut shard, &tail);
        let shown: Vec<&str> = written.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(shown, data);
    }
}
