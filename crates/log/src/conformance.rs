//! What every log must do. [`conformance!`] makes the tests for one of them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::testing::{
    Followed, TestClock, append, begin_append, event, event_of_type, event_with_id, eventually, everything, matchers,
    on, read_after, read_all, shown, texts, try_append, wait,
};
use crate::{
    AppendError, Data, EVENT_BYTES, EventLog, Filter, HubId, NewEvent, RetentionRules, Standing, TopicSummary, Types,
};

mod many;
mod own_ids;
mod traced;

pub(crate) use many::many_publishers_and_readers_agree;
pub(crate) use own_ids::ids_and_times_are_those_of_the_clock;
pub(crate) use traced::an_event_sent_again_in_another_trace_is_the_same;

/// What a test asks of a log.
pub(crate) struct Setup {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) window: Duration,
    /// About how many bytes are retained; at least 64 KiB.
    pub(crate) retained_bytes: usize,
    pub(crate) rules: RetentionRules,
}

/// When logs are made here: milliseconds since the Unix epoch.
pub(crate) const BEGINNING: u64 = 1_000_000;

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            clock: TestClock::at(BEGINNING),
            window: Duration::from_secs(600),
            retained_bytes: 16 << 20,
            rules: RetentionRules::default(),
        }
    }
}

pub(crate) type Make = fn(&Setup) -> Box<dyn EventLog>;

macro_rules! conformance {
    ($make:expr, $($test:ident),+ $(,)?) => {
        $(#[test]
        fn $test() {
            crate::conformance::$test($make);
        })+
    };
    ($make:expr) => {
        crate::conformance::conformance! { $make,
            what_was_appended_is_read_back,
            a_follower_gets_what_is_there_and_then_every_array_whole,
            it_is_shown_before_it_is_answered,
            a_read_goes_on_from_any_place,
            a_read_goes_on_inside_an_array_and_stops_there,
            a_read_stops_where_it_is_told,
            a_read_shows_what_matches_and_may_be_read,
            an_event_is_found_by_its_id,
            a_publishers_id_is_found_at_its_earliest_readable_event,
            the_place_before_the_last_matches_is_found,
            topics_are_listed_in_byte_order,
            a_repeated_id_with_the_same_content_is_answered_with_the_first,
            a_repeated_id_with_other_content_is_refused_with_its_index,
            an_event_sent_again_in_another_trace_is_the_same,
            ids_repeated_within_one_array_do_no_harm,
            an_id_is_free_again_after_the_window,
            ids_increase_while_the_clock_goes_back,
            the_oldest_events_go_and_the_mark_moves,
            an_array_that_can_never_fit_is_refused,
            an_empty_log_says_where_it_begins,
            a_closed_log_takes_nothing_and_is_still_read,
            many_publishers_and_readers_agree,
        }
    };
}
pub(crate) use conformance;

fn id(ms: u64, seq: u64) -> HubId {
    HubId { ms, seq }
}

pub(crate) fn what_was_appended_is_read_back(make: Make) {
    let log = make(&Setup::default());
    let whole = event_with_id("a", "p-1", "one\r\ntwo\rthree\n")
        .with_type(crate::EventType::parse("greeting").expect("a type"))
        .with_retry_ms(2500)
        .private()
        .with_attribute("traceparent", "00-1-2-01")
        .and_then(|event| event.with_attribute("source", ""))
        .expect("attributes");
    let topics = ["b", "c", "b"].map(|topic| tidewire_topic::Topic::parse(topic).expect("a topic")).to_vec();
    let json = NewEvent::new(topics, &Data::Json("{\"n\":1}".to_owned()), EVENT_BYTES).expect("an event");
    let ids = append(&*log, vec![whole, json, event(&["d"], "")]);
    assert!(ids.len() == 3 && log.low_water() < ids[0] && ids[0] < ids[1] && ids[1] < ids[2], "{ids:?}");

    let mut seen = 0;
    let mut time_ms = None;
    let mut visit = shown(|record: &crate::RecordView<'_>| {
        let sse = String::from_utf8(record.sse().to_vec()).expect("text");
        let topics: Vec<&str> = record.topics().collect();
        let attributes: Vec<(&str, &str)> = record.attributes().collect();
        assert_eq!((record.id, record.time_ms), (ids[seen], *time_ms.get_or_insert(record.time_ms)));
        let id_line = format!("id: {}\n", ids[seen]);
        match seen {
            0 => {
                assert_eq!((record.publisher_id, record.event_type), (Some("p-1"), "greeting"));
                assert_eq!((topics, record.is_private()), (vec!["a"], true));
                assert_eq!(attributes, [("traceparent", "00-1-2-01"), ("source", "")]);
                assert_eq!(record.data(), Data::Text("one\ntwo\nthree\n".to_owned()));
                let lines = "event: greeting\nretry: 2500\ndata: one\ndata: two\ndata: three\ndata: \n\n";
                assert_eq!(sse, id_line + lines);
            }
            1 => {
                assert_eq!((record.publisher_id, record.event_type), (None, "message"));
                assert_eq!((topics, record.is_private(), attributes), (vec!["b", "c"], false, vec![]));
                assert_eq!(record.data(), Data::Json("{\"n\":1}".to_owned()));
                assert_eq!(sse, id_line + "data: {\"n\":1}\n\n");
            }
            _ => {
                assert_eq!(record.data(), Data::Text(String::new()));
                assert_eq!(sse, id_line + "data: \n\n");
            }
        }
        let mut chunk = format!("{:x}\r\n", sse.len()).into_bytes();
        chunk.extend_from_slice(record.sse());
        chunk.extend_from_slice(b"\r\n");
        assert_eq!(record.frame, chunk);
        seen += 1;
        ControlFlow::Continue(())
    });
    let end = log.read(HubId::ZERO, &everything(), u64::MAX, &mut visit).expect("read");
    drop(visit);
    assert_eq!((seen, end.looked_at, end.at_head), (3, ids[2], true));
}

pub(crate) fn a_follower_gets_what_is_there_and_then_every_array_whole(make: Make) {
    let log = make(&Setup::default());
    append(&*log, vec![event(&["t"], "1"), event(&["t"], "2")]);
    let followed = Followed::default();
    log.follow(followed.follower());
    assert_eq!(followed.begin(), Some(log.low_water()));
    assert_eq!(texts(&followed.all()), ["1", "2"]);
    append(&*log, vec![event(&["t"], "3"), event(&["t"], "4"), event(&["t"], "5")]);
    assert_eq!(texts(followed.groups().last().expect("a group")), ["3", "4", "5"]);
    assert_eq!(followed.all(), read_all(&*log));
}

pub(crate) fn it_is_shown_before_it_is_answered(make: Make) {
    let log: Arc<dyn EventLog> = make(&Setup::default()).into();
    let followed = Followed::default();
    log.follow(followed.follower());
    let (answer, answered) = std::sync::mpsc::sync_channel(100);
    for n in 0..100 {
        let (log, followed, answer) = (Arc::clone(&log), followed.clone(), answer.clone());
        let looking = Arc::clone(&log);
        log.append(
            vec![event(&["t"], &n.to_string())],
            Box::new(move |result| {
                let id = result.expect("appended")[0];
                let shown = followed.all().iter().any(|seen| seen.id == id);
                answer.send(shown && looking.head() >= id).unwrap_or_default();
            }),
        );
    }
    for _ in 0..100 {
        assert!(wait(&answered));
    }
}

pub(crate) fn a_read_goes_on_from_any_place(make: Make) {
    let setup = Setup::default();
    let log = make(&setup);
    let mut ids = Vec::new();
    for n in 0..200_u64 {
        setup.clock.set(BEGINNING + n / 3 * 10);
        ids.extend(append(&*log, vec![event(&["t"], &format!("{n} {}", "x".repeat(300)))]));
    }
    let all = read_all(&*log);
    assert_eq!(all.iter().map(|seen| seen.id).collect::<Vec<_>>(), ids);
    for (n, &place) in ids.iter().enumerate() {
        assert_eq!(read_after(&*log, place, &everything()), all[n + 1..], "after {place}");
        let between = id(place.ms, place.seq + 1_000_000);
        let next = ids.partition_point(|&id| id <= between);
        assert_eq!(read_after(&*log, between, &everything()), all[next..], "after {between}");
    }
    let future = id(u64::MAX, 5);
    let mut visit = shown(|_: &crate::RecordView<'_>| panic!("nothing lies there"));
    let end = log.read(future, &everything(), u64::MAX, &mut visit).expect("read");
    drop(visit);
    assert_eq!((end.looked_at, end.at_head), (future, true));
}

/// The watermark never stands inside an array; a reader's place may.
pub(crate) fn a_read_goes_on_inside_an_array_and_stops_there(make: Make) {
    let log = make(&Setup::default());
    let array = |from: usize| (from..from + 5).map(|n| event(&[["even", "odd"][n % 2]], &n.to_string())).collect();
    let ids: Vec<HubId> = (0..20).step_by(5).flat_map(|from| append(&*log, array(from))).collect();
    let all = read_all(&*log);
    assert_eq!(all.iter().map(|seen| seen.id).collect::<Vec<_>>(), ids);
    for (n, &place) in ids.iter().enumerate() {
        assert_eq!(read_after(&*log, place, &everything()), all[n + 1..], "after {place}");
        let odd: Vec<_> = (n + 1..ids.len()).filter(|n| n % 2 == 1).map(|n| all[n].clone()).collect();
        assert_eq!(read_after(&*log, place, &on(&["odd"])), odd, "after {place}");
        let end = log.read(place, &everything(), u64::MAX, &mut |_| ControlFlow::Break(())).expect("read");
        assert_eq!(end.looked_at, ids[(n + 1).min(ids.len() - 1)], "it stops behind the next");
    }
}

pub(crate) fn a_read_stops_where_it_is_told(make: Make) {
    let log = make(&Setup::default());
    let ids: Vec<HubId> = (0..20).flat_map(|n| append(&*log, vec![event(&["t"], &n.to_string())])).collect();

    let mut left = 3;
    let mut visit = shown(|_: &crate::RecordView<'_>| {
        left -= 1;
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let end = log.read(ids[1], &everything(), u64::MAX, &mut visit).expect("read");
    drop(visit);
    assert_eq!((end.looked_at, end.at_head), (ids[4], false), "the record at which it broke was looked at");

    let mut last = HubId::ZERO;
    let mut reads = 0;
    let none = Filter { types: Types::new(vec!["other".into()]), ..everything() };
    while last < ids[19] {
        let end = log.read(last, &none, 250, &mut |_| panic!("nothing matches")).expect("read");
        assert!(end.looked_at > last, "every read gets on");
        last = end.looked_at;
        reads += 1;
        assert_eq!(end.at_head, last == ids[19]);
    }
    assert!((5..=20).contains(&reads), "{reads} reads of about 250 bytes");
}

pub(crate) fn a_read_shows_what_matches_and_may_be_read(make: Make) {
    let log = make(&Setup::default());
    append(&*log, vec![event(&["a", "b"], "ab"), event(&["b"], "b"), event(&["c"], "c")]);
    append(&*log, vec![event(&["a"], "private a").private(), event(&["b", "a"], "private ba").private()]);
    append(&*log, vec![event_of_type("a", "news", "typed a")]);
    let shown = |filter: &Filter| -> Vec<String> {
        read_after(&*log, HubId::ZERO, filter).into_iter().map(|seen| seen.data).collect()
    };
    assert_eq!(shown(&on(&["a"])), ["ab", "typed a"]);
    assert_eq!(shown(&on(&["c", "b"])), ["ab", "b", "c"]);
    assert_eq!(shown(&on(&["*"])), ["ab", "b", "c", "typed a"]);
    assert_eq!(shown(&on(&["nothing"])), Vec::<String>::new());
    let granted = |grants| Filter { grants: Some(matchers(grants)), ..on(&["a"]) };
    assert_eq!(shown(&granted(&["b"])), ["ab", "private ba", "typed a"]);
    assert_eq!(shown(&granted(&["a"])), ["ab", "private a", "private ba", "typed a"]);
    let typed = |types: &[&str]| Types::new(types.iter().map(|&t| t.into()).collect());
    assert_eq!(shown(&Filter { types: typed(&["news"]), ..on(&["*"]) }), ["typed a"]);
    assert_eq!(shown(&Filter { types: typed(&["message"]), ..on(&["a"]) }), ["ab"]);
}

pub(crate) fn an_event_is_found_by_its_id(make: Make) {
    let setup = Setup::default();
    let log = make(&setup);
    let mut ids = append(&*log, vec![event(&["t"], "0"), event(&["t"], "1")]);
    setup.clock.set(BEGINNING + 50);
    ids.extend(append(&*log, vec![event(&["t"], "2")]));
    for (n, &id) in ids.iter().enumerate() {
        let mut data = None;
        let found = log.event(id, &mut |record| data = Some(record.data())).expect("read");
        assert_eq!((found, data), (true, Some(Data::Text(n.to_string()))));
    }
    assert!(ids[1].ms + 49 < ids[2].ms, "the clock went on by 50");
    let between = [id(ids[1].ms, ids[1].seq + 1), id(ids[2].ms - 1, 0)];
    for absent in [HubId::ZERO, log.low_water(), between[0], between[1], id(u64::MAX, u64::MAX)] {
        assert!(!log.event(absent, &mut |_| panic!("there is none")).expect("read"), "{absent}");
    }
}

pub(crate) fn a_publishers_id_is_found_at_its_earliest_readable_event(make: Make) {
    let log = make(&Setup::default());
    let first = append(&*log, vec![event_with_id("secret", "x", "1").private()])[0];
    let second = append(&*log, vec![event_with_id("a", "x", "2")])[0];
    append(&*log, vec![event_with_id("b", "x", "3"), event_with_id("b", "y", "4")]);
    let find = |id, filter: &Filter| log.find_publisher_id(id, filter).expect("read");
    assert_eq!(find("x", &on(&["b"])), Some(second), "topics are not asked");
    assert_eq!(find("x", &everything()), Some(first));
    assert_eq!(find("z", &everything()), None);
}

pub(crate) fn the_place_before_the_last_matches_is_found(make: Make) {
    let log = make(&Setup::default());
    let ids: Vec<HubId> =
        (0..300).flat_map(|n| append(&*log, vec![event(&[["even", "odd"][n % 2]], &"x".repeat(n))])).collect();
    let odd = on(&["odd"]);
    for count in [1, 2, 7, 100, 149, 150] {
        let place = log.place_before_last(count, &odd).expect("read").place;
        let first = ids.len() - 2 * usize::try_from(count).expect("small") + 1;
        assert_eq!(place, ids[first - 1], "{count}");
        assert_eq!(read_after(&*log, place, &odd).len() as u64, count);
    }
    assert_eq!(log.place_before_last(0, &odd).expect("read").place, ids[299]);
    assert_eq!(log.place_before_last(151, &odd).expect("read").place, log.low_water());
    assert_eq!(log.place_before_last(u64::MAX, &odd).expect("read").place, log.low_water());
}

pub(crate) fn topics_are_listed_in_byte_order(make: Make) {
    let log = make(&Setup::default());
    let mut ids = append(&*log, vec![event(&["b", "a"], ""), event(&["é"], ""), event(&["B"], "")]);
    ids.extend(append(&*log, vec![event(&["a"], ""), event(&["c", "a"], "").private()]));
    let summary =
        |topic: &str, events, first, last| TopicSummary { topic: topic.to_owned(), events, first, last, is_cut: false };
    let all = [
        summary("B", 1, ids[2], ids[2]),
        summary("a", 3, ids[0], ids[4]),
        summary("b", 1, ids[0], ids[0]),
        summary("c", 1, ids[4], ids[4]),
        summary("é", 1, ids[1], ids[1]),
    ];
    let list = |after, limit, filter: &Filter| log.topics(after, limit, filter).expect("read").topics;
    assert_eq!(list(None, 10, &everything()), all);
    assert_eq!(list(None, 2, &everything()), all[..2]);
    assert_eq!(list(Some("a"), 2, &everything()), all[2..4]);
    assert_eq!(list(Some("zzz"), 1, &everything()), all[4..]);
    assert_eq!(list(None, 0, &everything()), []);
    let one = |topic, filter: &Filter| log.topic(topic, filter).expect("read");
    assert!(all.iter().all(|summary| one(&summary.topic, &everything()).as_ref() == Some(summary)));
    assert_eq!(one("a", &on(&["*"])).map(|summary| summary.events), Some(2));
    assert_eq!((one("c", &on(&["*"])), one("d", &everything())), (None, None));
    let public = list(None, 10, &on(&["*"]));
    assert_eq!(public, [all[0].clone(), summary("a", 2, ids[0], ids[3]), all[2].clone(), all[4].clone()]);
}

pub(crate) fn a_repeated_id_with_the_same_content_is_answered_with_the_first(make: Make) {
    let log = make(&Setup::default());
    let followed = Followed::default();
    log.follow(followed.follower());
    // The second one finds the first in flight, or committed.
    let answers: Vec<_> = (0..10).map(|_| begin_append(&*log, vec![event_with_id("t", "x", "same")])).collect();
    let ids: Vec<Vec<HubId>> = answers.iter().map(|answered| wait(answered).expect("appended")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let mixed = append(&*log, vec![event(&["t"], "new"), event_with_id("t", "x", "same"), event_with_id("u", "x", "")]);
    assert_eq!(mixed[1], ids[0][0]);
    assert_eq!(texts(&followed.all()), ["same", "new", ""]);
    assert_eq!((log.stats().repeated, log.stats().idempotence_entries), (10, 2));
}

pub(crate) fn a_repeated_id_with_other_content_is_refused_with_its_index(make: Make) {
    let log = make(&Setup::default());
    let first = append(&*log, vec![event_with_id("t", "x", "1")])[0];
    let others = [
        event_with_id("t", "x", "2"),
        event_with_id("t", "x", "1").private(),
        event_with_id("t", "x", "1").with_retry_ms(1),
        event_with_id("t", "x", "1").with_type(crate::EventType::parse("u").expect("a type")),
        event_with_id("t", "x", "1").with_attribute("a", "").expect("small"),
        event(&["t", "u"], "1").with_publisher_id(crate::PublisherId::parse("x").expect("an id")),
    ];
    for other in others {
        let answer = try_append(&*log, vec![event(&["t"], "not appended either"), other]);
        assert_eq!(answer, Err(AppendError::IdConflict { index: 1, first }));
    }
    // Against one that may still be in flight.
    let in_flight = begin_append(&*log, vec![event_with_id("t", "y", "1")]);
    let conflict = try_append(&*log, vec![event_with_id("t", "y", "2")]);
    let second = wait(&in_flight).expect("appended")[0];
    assert_eq!(conflict, Err(AppendError::IdConflict { index: 0, first: second }));
    assert_eq!(texts(&read_all(&*log)), ["1", "1"]);
}

pub(crate) fn ids_repeated_within_one_array_do_no_harm(make: Make) {
    let log = make(&Setup::default());
    let ids = append(&*log, vec![event_with_id("t", "x", "1"), event(&["t"], ""), event_with_id("t", "x", "1")]);
    assert_eq!(ids[0], ids[2]);
    assert_eq!(texts(&read_all(&*log)), ["1", ""]);
    let answer = try_append(&*log, vec![event_with_id("t", "y", "1"), event_with_id("t", "y", "2")]);
    assert_eq!(answer, Err(AppendError::IdConflict { index: 1, first: HubId::ZERO }));
    assert_eq!(append(&*log, vec![event_with_id("t", "y", "3")]).len(), 1, "nothing of it was remembered");
}

pub(crate) fn an_id_is_free_again_after_the_window(make: Make) {
    let setup = Setup { window: Duration::from_millis(100), ..Setup::default() };
    let log = make(&setup);
    let first = append(&*log, vec![event_with_id("t", "x", "1")]);
    setup.clock.set(BEGINNING + 99);
    assert_eq!(append(&*log, vec![event_with_id("t", "x", "1")]), first);
    setup.clock.set(BEGINNING + 100);
    let second = append(&*log, vec![event_with_id("t", "x", "2")]);
    assert!(second > first);
    setup.clock.set(BEGINNING + 199);
    assert_eq!(append(&*log, vec![event_with_id("t", "x", "2")]), second, "the window is that of the second");
}

pub(crate) fn ids_increase_while_the_clock_goes_back(make: Make) {
    let setup = Setup::default();
    let log = make(&setup);
    let mut last = log.head();
    for now_ms in [BEGINNING + 5, BEGINNING, 0, BEGINNING + 7, 3] {
        setup.clock.set(now_ms);
        let ids = append(&*log, vec![event(&["t"], ""), event(&["t"], "")]);
        assert!(last < ids[0] && ids[0] < ids[1]);
        last = ids[1];
        assert_eq!(log.head(), last);
    }
}

pub(crate) fn the_oldest_events_go_and_the_mark_moves(make: Make) {
    let log = make(&Setup { retained_bytes: 64 << 10, ..Setup::default() });
    let ids: Vec<HubId> = (0..400).flat_map(|_| append(&*log, vec![event(&["t"], &"x".repeat(1000))])).collect();
    eventually("what is over the limit is removed", || log.stats().bytes <= 64 << 10);
    let low_water = log.low_water();
    let left = read_all(&*log);
    let stats = log.stats();
    assert!(left.len() < 100 && left.len() > 10, "{} are left", left.len());
    assert_eq!((stats.records, stats.appended), (left.len() as u64, 400));
    assert_eq!(left[0].id, ids[400 - left.len()]);
    assert_eq!(low_water, ids[400 - left.len() - 1], "the mark is the last event that is gone");
    assert_eq!(log.standing(ids[0]), Standing::Current, "it was given out, though it is gone");
    assert!(!log.event(ids[0], &mut |_| panic!("it is gone")).expect("read"));
    let end = log.read(ids[0], &everything(), 1, &mut |_| ControlFlow::Continue(())).expect("read");
    assert_eq!((end.low_water, end.looked_at), (low_water, left[0].id));
    assert_eq!(log.place_before_last(399, &everything()).expect("read").place, low_water);
}

pub(crate) fn an_array_that_can_never_fit_is_refused(make: Make) {
    let log = make(&Setup { retained_bytes: 64 << 10, ..Setup::default() });
    let array = || vec![event(&["t"], &"x".repeat(40_000)), event(&["t"], &"x".repeat(40_000))];
    let Err(AppendError::TooLarge { bytes, bytes_max }) = try_append(&*log, array()) else { panic!("not refused") };
    assert!(bytes > bytes_max && bytes > 80_000, "{bytes} of {bytes_max}");
    append(&*log, vec![event(&["t"], "fits")]);
    assert_eq!(texts(&read_all(&*log)), ["fits"]);
}

pub(crate) fn an_empty_log_says_where_it_begins(make: Make) {
    let log = make(&Setup::default());
    let beginning = log.low_water();
    assert!(beginning > HubId::ZERO && log.head() == beginning);
    assert_eq!(log.standing(beginning), Standing::Current);
    assert_eq!(log.standing(id(beginning.ms - 1, 7)), Standing::Foreign);
    assert_eq!(log.standing(id(beginning.ms, beginning.seq + 1)), Standing::Foreign);
    assert_eq!(append(&*log, vec![]), []);
    assert_eq!((log.head(), read_all(&*log)), (beginning, vec![]));
    assert_eq!(log.find_publisher_id("x", &everything()).expect("read"), None);
    assert_eq!(log.place_before_last(5, &everything()).expect("read").place, beginning);
    assert_eq!(log.topics(None, 10, &everything()).expect("read").topics, []);
    assert!(log.is_writable());
    let followed = Followed::default();
    log.follow(followed.follower());
    assert_eq!((followed.begin(), followed.all()), (Some(beginning), vec![]));
}

pub(crate) fn a_closed_log_takes_nothing_and_is_still_read(make: Make) {
    let log = make(&Setup::default());
    let answers: Vec<_> = (0..50).map(|n| begin_append(&*log, vec![event(&["t"], &n.to_string())])).collect();
    log.close();
    for answered in answers {
        assert!(answered.try_recv().expect("answered before close returns").is_ok());
    }
    assert!(!log.is_writable());
    assert_eq!(try_append(&*log, vec![event(&["t"], "")]), Err(AppendError::Closed));
    assert_eq!(read_all(&*log).len(), 50);
    log.close();
}
