use super::*;
use crate::{LOOK_RECORDS_MIN, Types};
use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern};

fn filter(topics: &[&str]) -> Filter {
    let matchers = topics.iter().map(|topic| Matcher::parse(topic).expect("a matcher"));
    let topics = MatcherSet::new(matchers.collect::<Vec<_>>()).expect("a set");
    Filter { topics, types: Types::All, grants: None }
}

fn push(tail: &Tail, seq: u64, topics: &[&str], frame: &[u8]) {
    let mut inner = tail.inner.write().expect("no test panics with it");
    let position = inner.newest().next();
    let links = topics.iter().map(|topic| inner.link(topic, position)).collect();
    let (block, start) = inner.place_frame(frame);
    let length = u32::try_from(frame.len()).expect("short");
    let id = HubId { ms: 1, seq };
    let entry = Entry { id, block, start, length, private: false, event_type: "message".into(), links };
    inner.bytes += entry.overhead();
    inner.records.push_back(entry);
    inner.evict(tail.bytes_max);
}

#[test]
fn places_become_positions_and_back() {
    let tail = Tail::new(1 << 20);
    for seq in [2, 4, 6] {
        push(&tail, seq, &["a"], b"x");
    }
    let reader = tail.read();
    for (seq, position) in [(0, 0), (2, 1), (3, 1), (4, 2), (6, 3), (9, 3)] {
        assert_eq!(reader.position_of(HubId { ms: 1, seq }), Some(Position(position)), "place {seq}");
    }
    assert_eq!(reader.id_at(Position(2)), Some(HubId { ms: 1, seq: 4 }));
    assert_eq!(reader.head(), (Position(3), HubId { ms: 1, seq: 6 }));
}

#[test]
fn matches_of_several_topics_come_once_and_in_order() {
    let tail = Tail::new(1 << 20);
    for (seq, topics) in [["a", "b"], ["b", "c"], ["c", "d"], ["a", "c"]].iter().enumerate() {
        push(&tail, seq as u64, topics, b"x");
    }
    let matches = |filter: &Filter, from, to| {
        let mut out = Vec::new();
        assert_eq!(tail.read().matches(filter, Position(from), Position(to), &mut out).to, Position(to));
        out.iter().map(|position| position.0).collect::<Vec<_>>()
    };
    assert_eq!(matches(&filter(&["a", "b"]), 0, 4), [1, 2, 4]);
    assert_eq!(matches(&filter(&["c"]), 2, 3), [3]);
    assert_eq!(matches(&filter(&["*"]), 1, 3), [2, 3]);
    assert_eq!(matches(&filter(&["nobody"]), 0, 4), [] as [u64; 0]);
}

#[test]
fn the_last_few_are_found_without_looking_at_everything() {
    let tail = Tail::new(1 << 26);
    push(&tail, 0, &["rare"], b"x");
    for seq in 1..=LOOK_BACK_RECORDS_MAX {
        push(&tail, seq, &["often"], b"x");
    }
    let before_last = |count, topics: &[&str]| {
        tail.read().position_before_last(count, &filter(topics), LOOK_BACK_RECORDS_MAX).map(|p| p.0)
    };
    let head = 1 + LOOK_BACK_RECORDS_MAX;
    assert_eq!(before_last(0, &["rare"]), Some(head));
    assert_eq!(before_last(1, &["rare"]), Some(0));
    assert_eq!(before_last(2, &["rare"]), None);
    assert_eq!(before_last(3, &["*"]), Some(head - 3));
    assert_eq!(before_last(3, &["often", "rare"]), Some(head - 3));
    assert_eq!(before_last(LOOK_BACK_RECORDS_MAX, &["*"]), Some(1));
    assert_eq!(before_last(LOOK_BACK_RECORDS_MAX + 1, &["*"]), None, "one more than the limit");
}

/// The story: the last few that match a hundred patterns were sought for most of a second, with the tail locked.
#[test]
fn fewer_are_looked_at_for_the_last_few_of_patterns_that_weigh_more() {
    let tail = Tail::new(1 << 26);
    for seq in 0..=LOOK_RECORDS_MIN {
        push(&tail, seq, &[["/other", "/a/1"][usize::from(seq <= 1)]], b"x");
    }
    let base = BaseUrl::parse("https://hub.example").expect("a URL");
    let pattern = |text: &str| Matcher::Pattern(Pattern::parse(text, &base).expect(text));
    let last = |texts: &[&str], count| {
        let topics = MatcherSet::new(texts.iter().map(|text| pattern(text))).expect("a set");
        let filter = Filter { topics, types: Types::All, grants: None };
        tail.read().position_before_last(count, &filter, LOOK_BACK_RECORDS_MAX).map(|position| position.0)
    };
    assert_eq!((last(&["/a/*"], 1), last(&["/a/*"], 2)), (Some(1), Some(0)));
    let heavy = ["/a/*", "/(c)", "/(d)", "/(e)", "/(f)"];
    assert_eq!((last(&heavy, 1), last(&heavy, 2)), (Some(1), None), "one more than the limit");
}

#[test]
fn an_evicted_tail_keeps_its_edge_and_forgets_topics_that_left() {
    let tail = Tail::new(1);
    let frame = vec![0; BLOCK_BYTES];
    for seq in 1..=3 {
        push(&tail, seq, &["old", "kept"][(seq == 3) as usize..][..1], &frame);
    }
    let reader = tail.read();
    assert_eq!(reader.before(), (Position(2), HubId { ms: 1, seq: 2 }));
    assert_eq!(reader.position_of(HubId { ms: 1, seq: 1 }), None);
    assert_eq!(reader.position_of(HubId { ms: 1, seq: 2 }), Some(Position(2)));
    assert!(reader.record(Position(2)).is_none());
    assert_eq!(reader.record(Position(3)).map(|record| record.frame.len()), Some(BLOCK_BYTES));
    assert_eq!(reader.inner.newest_on.keys().map(|topic| &**topic).collect::<Vec<_>>(), ["kept"]);
}

/// The story: a reader far behind on a busy topic had everything from the head back to its place listed
/// for each visit, and with a second such reader on another topic the list was made anew each time.
/// A backlog of n records cost n squared, with the tail locked.
#[test]
fn a_listing_stops_at_its_limit_and_goes_on_where_it_stopped() {
    let tail = Tail::new(1 << 26);
    let total = 3 * LIST_RECORDS_MAX + 1;
    for seq in 0..total {
        push(&tail, seq, [&["often"][..], &["often", "rare"]][usize::from(seq % 100 == 0)], b"x");
    }
    let naive: Vec<u64> = (1..=total).collect();
    for topics in [&["often"][..], &["often", "rare"], &["*"]] {
        let (mut listed, mut out, mut portions) = (Position(0), Vec::new(), 0);
        while listed < Position(total) {
            listed = tail.read().matches(&filter(topics), listed, Position(total), &mut out).to;
            portions += 1;
        }
        assert_eq!(out.iter().map(|position| position.0).collect::<Vec<_>>(), naive, "{topics:?}");
        assert_eq!(portions, 4, "{topics:?}: three full ones, and one record more than the limit");
    }
    let mut rare = Vec::new();
    assert_eq!(tail.read().matches(&filter(&["rare"]), Position(0), Position(total), &mut rare).to, Position(total));
}

#[test]
fn a_place_on_a_busy_topic_is_found_in_few_steps_also_once_its_older_records_are_gone() {
    let tail = Tail::new(2 * BLOCK_BYTES);
    for seq in 0..50_000 {
        push(&tail, seq, &["often"], &[0; 40]);
    }
    let reader = tail.read();
    let (before, _) = reader.before();
    assert!(before > Position(0), "nothing has left the tail");
    for from in before.0..50_000 {
        let mut steps = 0;
        let found = reader.inner.oldest_on("often", |position, _| {
            steps += 1;
            position > Position(from)
        });
        assert_eq!(found.map(|(position, _)| position.0), Some(from + 1));
        assert!(steps < 100, "{steps} steps to {from}");
    }
}
