//! What every log must do with what is not to be seen. [`conformance_of_hiding!`] makes the tests for one of
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidewire_topic::{BaseUrl, Pattern, Topic};

use crate::conformance::{BEGINNING, Make, Setup};
use crate::testing::{
    Followed, Seen, append, event, event_with_id, everything, matchers, met_after, on, read_after, read_all, texts,
    try_append,
};
use crate::tombstones::TOMBSTONES_MAX;
use crate::{AppendError, Erase, EraseError, EventLog, Filter, Hidden, HubId, RetentionRule, RetentionRules, Tail};

macro_rules! conformance_of_hiding {
    ($make:expr, $($test:ident),+ $(,)?) => {
        $(#[test]
        fn $test() {
            crate::hiding_tests::$test($make);
        })+
    };
    ($make:expr) => {
        crate::hiding_tests::conformance_of_hiding! { $make,
            an_erased_event_is_not_seen_by_any_way_of_reading,
            an_erased_event_is_told_only_to_those_who_might_have_read_it,
            events_are_erased_by_topic_and_publishers_id,
            an_erased_topic_is_gone_and_may_be_used_again,
            what_was_erased_may_be_published_anew,
            a_follower_begins_behind_what_is_hidden_and_forgets_what_is_erased,
            what_is_not_seen_cannot_be_erased,
            one_tombstone_more_than_the_limit_is_refused,
            a_rule_hides_what_is_older_than_it_allows,
            nobody_reads_what_was_erased_before_the_read_began,
        }
    };
}
pub(crate) use conformance_of_hiding;

pub(crate) fn rules(rules: &[(&str, u64)]) -> RetentionRules {
    let rule = |(pattern, seconds): &(&str, u64)| {
        let base = BaseUrl::parse("https://hub.example").expect("a URL");
        let pattern = Pattern::parse(pattern, &base).expect("a pattern");
        RetentionRule { pattern, age: Duration::from_secs(*seconds) }
    };
    RetentionRules::new(rules.iter().map(rule).collect()).expect("few rules")
}

pub(crate) fn topic(topic: &str) -> Topic {
    Topic::parse(topic).expect("a topic")
}

fn erase(log: &dyn EventLog, what: &Erase) -> Option<usize> {
    log.erase(what).expect("erased").events
}

fn by_id(topic_of_it: &str, id: &str) -> Erase {
    Erase::PublisherId { topic: topic(topic_of_it), id: id.to_owned() }
}

/// What is met, the hidden as `!`.
fn shown(met: &[Result<Seen, (HubId, Hidden)>]) -> Vec<&str> {
    met.iter().map(|met| met.as_ref().map_or("!", |seen| &*seen.data)).collect()
}

pub(crate) fn an_erased_event_is_not_seen_by_any_way_of_reading(make: Make) {
    let log = make(&Setup::default());
    let ids: Vec<HubId> =
        (0..5).flat_map(|n| append(&*log, vec![event_with_id("t", &format!("p{n}"), &n.to_string())])).collect();
    assert_eq!(erase(&*log, &Erase::Event(ids[1])), Some(1));
    assert_eq!(erase(&*log, &Erase::Event(ids[3])), Some(1));
    let met = met_after(&*log, HubId::ZERO, &everything());
    assert_eq!(shown(&met), ["0", "!", "2", "!", "4"]);
    assert_eq!(met[1], Err((ids[1], Hidden::Erased)));
    assert_eq!(shown(&met_after(&*log, ids[1], &everything())), ["2", "!", "4"], "its place stays one");
    for (n, &id) in ids.iter().enumerate() {
        let is_seen = n % 2 == 0;
        assert_eq!(log.event(id, &mut |record| assert_eq!(record.id, id)).expect("read"), is_seen, "{n}");
        let found = log.find_publisher_id(&format!("p{n}"), &everything()).expect("read");
        assert_eq!(found, is_seen.then_some(id), "{n}");
    }
    let topics = log.topics(None, 10, &everything()).expect("read").topics;
    assert_eq!((topics[0].events, topics[0].first, topics[0].last), (3, ids[0], ids[4]));
    let last_two = log.place_before_last(2, &everything()).expect("read").place;
    assert_eq!(shown(&met_after(&*log, last_two, &everything())), ["2", "!", "4"]);
    assert_eq!(log.head(), ids[4]);
    let stats = log.stats();
    assert_eq!((stats.erased, stats.tombstones, stats.records), (2, 2, 5));
}

pub(crate) fn an_erased_event_is_told_only_to_those_who_might_have_read_it(make: Make) {
    let log = make(&Setup::default());
    let ids = append(&*log, vec![event(&["a"], "1").private(), event(&["a"], "2"), event(&["b"], "3")]);
    erase(&*log, &Erase::Event(ids[0]));
    erase(&*log, &Erase::Event(ids[2]));
    let met = |filter: &Filter| met_after(&*log, HubId::ZERO, filter);
    assert_eq!(shown(&met(&on(&["a"]))), ["2"], "neither the private one nor the other topic");
    assert_eq!(shown(&met(&Filter { grants: Some(matchers(&["a"])), ..on(&["a"]) })), ["!", "2"]);
    assert_eq!(shown(&met(&Filter { grants: Some(matchers(&["b"])), ..on(&["*"]) })), ["2", "!"]);
    let typed = crate::Types::new(vec!["other".into()]);
    assert_eq!(shown(&met(&Filter { types: typed, ..everything() })), Vec::<&str>::new());
}

pub(crate) fn events_are_erased_by_topic_and_publishers_id(make: Make) {
    let setup = Setup { window: Duration::from_millis(10), ..Setup::default() };
    let log = make(&setup);
    append(&*log, vec![event_with_id("a", "x", "1"), event_with_id("b", "x", "2"), event(&["a"], "3")]);
    setup.clock.set(BEGINNING + 20);
    append(&*log, vec![event_with_id("a", "x", "4"), event_with_id("a", "y", "5")]);
    append(&*log, vec![event(&["c", "a"], "6").with_publisher_id(crate::PublisherId::parse("x").expect("an id"))]);
    assert_eq!(erase(&*log, &by_id("a", "x")), Some(3), "all that are retained, by any of their topics");
    assert_eq!(shown(&met_after(&*log, HubId::ZERO, &everything())), ["!", "2", "3", "!", "5", "!"]);
    assert!(matches!(log.erase(&by_id("a", "x")), Err(EraseError::NotFound)));
}

pub(crate) fn an_erased_topic_is_gone_and_may_be_used_again(make: Make) {
    let log = make(&Setup::default());
    append(&*log, vec![event(&["a"], "1"), event(&["b", "a"], "2"), event(&["b"], "3")]);
    assert_eq!(erase(&*log, &Erase::Topic(topic("a"))), None);
    append(&*log, vec![event(&["a"], "4")]);
    assert_eq!(shown(&met_after(&*log, HubId::ZERO, &everything())), ["!", "!", "3", "4"]);
    let topics = log.topics(None, 10, &everything()).expect("read").topics;
    assert_eq!(topics.iter().map(|topic| (&*topic.topic, topic.events)).collect::<Vec<_>>(), [("a", 1), ("b", 1)]);
    erase(&*log, &Erase::Topic(topic("a")));
    assert_eq!(shown(&met_after(&*log, HubId::ZERO, &everything())), ["!", "!", "3", "!"]);
    assert_eq!(log.stats().tombstones, 1, "one a topic");
    erase(&*log, &Erase::Topic(topic("never used")));
    assert_eq!(log.stats().tombstones, 2);
}

pub(crate) fn what_was_erased_may_be_published_anew(make: Make) {
    let log = make(&Setup::default());
    let first = append(&*log, vec![event_with_id("a", "x", "1"), event_with_id("a", "y", "1")]);
    let two = || event(&["b", "a"], "2").with_publisher_id(crate::PublisherId::parse("z").expect("an id"));
    append(&*log, vec![two()]);
    erase(&*log, &Erase::Event(first[0]));
    let again = append(&*log, vec![event_with_id("a", "x", "1")]);
    assert!(again[0] > first[1], "the same content is a new event");
    assert_eq!(append(&*log, vec![event_with_id("a", "x", "1")]), again, "and a retry of it is none");
    let conflict = try_append(&*log, vec![event_with_id("a", "x", "other")]);
    assert_eq!(conflict, Err(AppendError::IdConflict { index: 0, first: again[0] }));
    assert_eq!(
        append(&*log, vec![event_with_id("a", "y", "1")]),
        [first[1]],
        "what was not erased is not stored twice"
    );
    erase(&*log, &Erase::Topic(topic("a")));
    append(&*log, vec![event_with_id("a", "y", "other content"), two()]);
    assert_eq!(shown(&met_after(&*log, HubId::ZERO, &everything())), ["!", "!", "!", "!", "other content", "2"]);
}

pub(crate) fn a_follower_begins_behind_what_is_hidden_and_forgets_what_is_erased(make: Make) {
    let log = make(&Setup::default());
    let ids = append(&*log, ["0", "1", "2", "3"].map(|data| event(&["t"], data)).to_vec());
    erase(&*log, &Erase::Event(ids[1]));
    let followed = Followed::default();
    log.follow(followed.follower());
    assert_eq!(texts(&followed.all()), ["2", "3"]);
    assert_eq!(followed.begin().max(followed.forgotten()), Some(ids[1]));
    erase(&*log, &Erase::Event(ids[2]));
    assert_eq!(followed.forgotten(), Some(ids[2]), "before the answer");
    erase(&*log, &Erase::Topic(topic("t")));
    assert_eq!(followed.forgotten(), Some(ids[3]));
    drop(log);

    let log = make(&Setup::default());
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let ids: Vec<HubId> =
        (0..6).flat_map(|n| append(&*log, vec![event(&[["even", "odd"][n % 2]], &n.to_string())])).collect();
    erase(&*log, &Erase::Event(ids[1]));
    assert_eq!((tail.read().before().1, tail.read().head().1), (ids[1], ids[5]));
    erase(&*log, &Erase::Topic(topic("even")));
    assert_eq!((tail.read().before().1, tail.read().head().1), (ids[4], ids[5]), "the newest on the topic and no more");
    erase(&*log, &Erase::Topic(topic("nowhere")));
    assert_eq!(tail.read().before().1, ids[4]);
    assert_eq!(tail.read().position_of(ids[3]), None, "who has not read on is sent to the log");
    append(&*log, vec![event(&["odd"], "6")]);
    assert_eq!(tail.read().head().1, log.head());
    drop(log);

    let log = make(&Setup::default());
    let ids = append(&*log, vec![event(&["t"], "0"), event(&["t"], "1")]);
    erase(&*log, &Erase::Event(ids[1]));
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    assert_eq!((tail.read().before().1, tail.read().position_of(ids[0])), (ids[1], None), "nothing was ever given");
}

pub(crate) fn what_is_not_seen_cannot_be_erased(make: Make) {
    let log = make(&Setup::default());
    let id = append(&*log, vec![event_with_id("t", "x", "1")])[0];
    for absent in
        [HubId::ZERO, HubId { ms: id.ms, seq: id.seq + 1 }, HubId { ms: u64::MAX, seq: u64::MAX }].map(Erase::Event)
    {
        assert!(matches!(log.erase(&absent), Err(EraseError::NotFound)), "{absent:?}");
    }
    for absent in [by_id("t", "y"), by_id("u", "x")] {
        assert!(matches!(log.erase(&absent), Err(EraseError::NotFound)), "{absent:?}");
    }
    erase(&*log, &Erase::Event(id));
    assert!(matches!(log.erase(&Erase::Event(id)), Err(EraseError::NotFound)), "it is not seen any more");
    assert_eq!(log.stats().erased, 1);
    log.close();
    assert!(matches!(log.erase(&Erase::Topic(topic("t"))), Err(EraseError::Closed)));
}

pub(crate) fn one_tombstone_more_than_the_limit_is_refused(make: Make) {
    let log = make(&Setup::default());
    append(&*log, vec![event(&["t"], "1")]);
    // Topics of 4 KiB reach their limit long before there are too many tombstones.
    let name = |n: usize| topic(&format!("{n:04096}"));
    let mut taken = 0;
    let refused = loop {
        match log.erase(&Erase::Topic(name(taken))) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, EraseError::TooMany), "{refused}");
    assert_eq!(taken, crate::tombstones::TOMBSTONE_TOPICS_BYTES_MAX / 4096);
    assert!(log.stats().tombstones < TOMBSTONES_MAX as u64);
    assert_eq!(texts(&read_all(&*log)), ["1"], "nothing of it was erased");
}

pub(crate) fn a_rule_hides_what_is_older_than_it_allows(make: Make) {
    let setup = Setup { rules: rules(&[("/brief/*", 5), ("/long/*", 60)]), ..Setup::default() };
    let log = make(&setup);
    let batch = || vec![event(&["/brief/1"], "b"), event(&["/long/1", "/brief/1"], "l"), event(&["t"], "t")];
    let ids = append(&*log, batch());
    setup.clock.set(BEGINNING + 5_000);
    append(&*log, batch());
    assert_eq!(texts(&read_all(&*log)), ["b", "l", "t", "b", "l", "t"], "not older than allowed");
    setup.clock.set(BEGINNING + 5_001);
    let met = met_after(&*log, HubId::ZERO, &everything());
    assert_eq!(shown(&met), ["!", "l", "t", "b", "l", "t"], "the first topic counts");
    assert_eq!(met[0], Err((ids[0], Hidden::Expired)));
    assert!(!log.event(ids[0], &mut |_| panic!("it is hidden")).expect("read"));
    assert!(matches!(log.erase(&Erase::Event(ids[0])), Err(EraseError::NotFound)));
    let followed = Followed::default();
    log.follow(followed.follower());
    assert_eq!(texts(&followed.all()), ["l", "t", "b", "l", "t"]);
    setup.clock.set(BEGINNING + 70_000);
    assert_eq!(shown(&met_after(&*log, HubId::ZERO, &everything())), ["!", "!", "t", "!", "!", "t"]);
    assert_eq!(texts(&read_after(&*log, HubId::ZERO, &on(&["t"]))), ["t", "t"], "others are not told");
}

pub(crate) fn nobody_reads_what_was_erased_before_the_read_began(make: Make) {
    const EVENTS: usize = 300;
    let log: Arc<dyn EventLog> = make(&Setup::default()).into();
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let ids: Vec<HubId> =
        (0..EVENTS).flat_map(|n| append(&*log, vec![event(&["t"], &format!("{n} {}", "x".repeat(200)))])).collect();
    let erased = Arc::new(AtomicUsize::new(0));
    let eraser = {
        let (log, erased, ids) = (Arc::clone(&log), Arc::clone(&erased), ids.clone());
        std::thread::spawn(move || {
            for (n, id) in ids.into_iter().enumerate() {
                log.erase(&Erase::Event(id)).expect("erased");
                erased.store(n + 1, Ordering::Release);
            }
        })
    };
    while erased.load(Ordering::Acquire) < EVENTS {
        let before = erased.load(Ordering::Acquire);
        let met = met_after(&*log, HubId::ZERO, &everything());
        assert_eq!(met.len(), EVENTS);
        assert!(met[..before].iter().all(Result::is_err), "of {before} erased, some were shown");
        if let Some(last) = before.checked_sub(1) {
            assert!(tail.read().before().1 >= ids[last], "the tail has forgotten them");
        }
    }
    eraser.join().expect("it ran");
    assert_eq!(texts(&read_all_seen(&*log)), Vec::<&str>::new());
}

fn read_all_seen(log: &dyn EventLog) -> Vec<Seen> {
    met_after(log, HubId::ZERO, &everything()).into_iter().filter_map(Result::ok).collect()
}
