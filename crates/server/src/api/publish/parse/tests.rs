use proptest::prelude::*;

use tidewire_log::TOPICS_BYTES_MAX;
use tidewire_topic::TOPIC_BYTES_MAX;

use super::*;

const LIMITS: Limits = Limits { event_bytes: 100, batch_events: 3 };

fn refused(body: &str) -> Problem {
    parse(body.as_bytes(), LIMITS).expect_err(body)
}

fn kind(body: &str) -> Kind {
    refused(body).kind()
}

fn one(body: &str) -> NewEvent {
    let publication = parse(body.as_bytes(), LIMITS).expect(body);
    assert!(!publication.is_array);
    publication.events.into_iter().next().expect("one event")
}

fn topic(name: &str) -> Topic {
    Topic::parse(name).expect("a topic")
}

fn text(topics: &[&str], data: &str) -> NewEvent {
    NewEvent::new(topics.iter().map(|name| topic(name)).collect(), &Data::Text(data.to_owned()), 100).expect("an event")
}

fn json(topics: &[&str], data: &str) -> NewEvent {
    NewEvent::new(topics.iter().map(|name| topic(name)).collect(), &Data::Json(data.to_owned()), 100).expect("an event")
}

#[test]
fn an_event_has_its_members() {
    assert_eq!(one(r#"{"topic":"a","data":"x"}"#), text(&["a"], "x"));
    assert_eq!(one(r#" {"data" : "é\nb", "topics": ["a","b"] } "#), text(&["a", "b"], "é\nb"));
    assert_eq!(one(r#"{"topic":"a","data":{"z": 1.50, "a": [ ]}}"#), json(&["a"], r#"{"z":1.50,"a":[]}"#));
    assert_eq!(one(r#"{"topic":"a","data":null}"#), json(&["a"], "null"));
    let whole = r#"{"topic":"a","data":"","type":"t","id":"i","private":true,"retry":0}"#;
    let expected = text(&["a"], "")
        .with_type(EventType::parse("t").expect("a type"))
        .with_publisher_id(PublisherId::parse("i").expect("an id"))
        .with_retry_ms(0)
        .private();
    assert_eq!(one(whole), expected);
    assert_eq!(one(r#"{"topic":"a","data":"x","private":false}"#), text(&["a"], "x"));
}

#[test]
fn an_array_keeps_its_order_and_is_told_apart() {
    let publication = parse(br#"[{"topic":"a","data":"1"},{"topic":"b","data":"2"}]"#, LIMITS).expect("two events");
    assert!(publication.is_array);
    assert_eq!(publication.events, [text(&["a"], "1"), text(&["b"], "2")]);
    assert!(parse(br#"[{"topic":"a","data":"1"}]"#, LIMITS).expect("one event").is_array);
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    assert!(refused("{\"topic\":\"a\",\n \"data\":}").detail().ends_with("at line 2 column 9"));
    for body in [
        "",
        "  ",
        "{",
        "[",
        "[{}",
        "{\"a\":1",
        "{} x",
        "[] []",
        "nul",
        "{\"topic\":\"a\" \"data\":1}",
        "[1,]",
        "\u{feff}{}",
    ] {
        assert_eq!(kind(body), Kind::Json, "{body:?}");
    }
    let not_utf8 = parse(b"{\"topic\":\"\xff\"}", LIMITS).expect_err("not UTF-8");
    assert_eq!((not_utf8.kind(), not_utf8.detail()), (Kind::Json, "JSON is UTF-8, and the body is not at byte 10"));
}

#[test]
fn what_is_no_event_is_refused() {
    for body in [
        "1",
        "\"x\"",
        "null",
        r#"{"topic":"a"}"#,
        r#"{"data":"a"}"#,
        r#"{"topic":"a","topics":["a"],"data":1}"#,
        r#"{"topic":1,"data":1}"#,
        r#"{"topic":null,"data":1}"#,
        r#"{"topics":[],"data":1}"#,
        r#"{"topics":"a","data":1}"#,
        r#"{"topics":["a",1],"data":1}"#,
        r#"{"topic":"a","data":1,"data":1}"#,
        r#"{"topic":"a","data":1,"private":1}"#,
        r#"{"topic":"a","data":1,"retry":"1"}"#,
        r#"{"topic":"a","data":1,"retry":-1}"#,
        r#"{"topic":"a","data":1,"retry":1.0}"#,
        r#"{"topic":"a","data":1,"retry":86400001}"#,
        r#"{"topic":"a","data":1,"type":null}"#,
        r#"{"topic":"a","data":1,"id":7}"#,
        r#"{"topic":"a","data":"\ud800"}"#,
    ] {
        assert_eq!(kind(body), Kind::Event, "{body}");
    }
    assert!(parse(br#"{"topic":"a","data":1,"retry":86400000}"#, LIMITS).is_ok());
    assert_eq!(kind(r#"{"topic":"","data":1}"#), Kind::Topic);
    assert_eq!(kind(r#"{"topic":"*","data":1}"#), Kind::Topic);
    assert_eq!(kind(r#"{"topic":"a","data":1,"type":""}"#), Kind::Type);
    assert_eq!(kind(r#"{"topic":"a","data":1,"type":"tidewire.gap"}"#), Kind::Type);
    for id in ["", "#1-0", "earliest", "-5", "a\\nb", &"x".repeat(129)] {
        assert_eq!(kind(&format!(r#"{{"topic":"a","data":1,"id":"{id}"}}"#)), Kind::Id, "{id}");
    }
}

#[test]
fn an_unknown_member_is_named_and_one_like_it_suggested() {
    let told = refused(r#"{"topic":"a","data":1,"titel":2,"x":[{}]}"#);
    assert_eq!(told.kind(), Kind::Member);
    assert!(told.detail().starts_with("an event has no member \"titel\""), "{}", told.detail());
    let told = refused(r#"{"topc":"a","data":1}"#);
    assert_eq!(told.detail(), "an event has no member \"topc\", did you mean `topic`?");
    assert!(
        refused(r#"{"topic":"a","data":1,"exclude":"s"}"#).detail().contains("sessions")
            || refused(r#"{"topic":"a","data":1,"exclude":"s"}"#).detail().contains("session")
    );
}

#[test]
fn one_more_than_each_limit_is_refused() {
    let event = |bytes: usize| format!(r#"{{"topic":"a","data":"{}"}}"#, "x".repeat(bytes));
    assert!(parse(event(100).as_bytes(), LIMITS).is_ok());
    assert_eq!(kind(&event(101)), Kind::EventBytes);
    let array = |count: usize| format!("[{}]", vec![event(1); count].join(","));
    assert!(parse(array(3).as_bytes(), LIMITS).is_ok());
    assert_eq!(kind(&array(4)), Kind::BatchEvents);
    let topics = |count: usize| {
        format!(r#"{{"topics":["a{}],"data":1}}"#, (1..count).map(|n| format!("\",\"{n}")).collect::<String>() + "\"")
    };
    assert!(parse(topics(TOPICS_MAX).as_bytes(), LIMITS).is_ok());
    assert_eq!(kind(&topics(TOPICS_MAX + 1)), Kind::EventTopics);
    let long = |last: usize| {
        let names = ["a", "b", "c"].map(|name| name.repeat(TOPIC_BYTES_MAX)).join("\",\"");
        format!(r#"{{"topics":["{names}","{}","e"],"data":1}}"#, "d".repeat(last))
    };
    assert!(parse(long(TOPICS_BYTES_MAX - 3 * TOPIC_BYTES_MAX - 1).as_bytes(), LIMITS).is_ok());
    let told = refused(&long(TOPIC_BYTES_MAX));
    assert_eq!((told.kind(), told.limit()), (Kind::EventTopics, Some(Limit::EventTopicsBytes)));
}

#[test]
fn an_array_is_refused_whole_and_the_event_named() {
    assert_eq!(kind("[]"), Kind::BatchEmpty);
    assert_eq!(kind(" [ ] "), Kind::BatchEmpty);
    let told = refused(r#"[{"topic":"a","data":1},{"topic":"a"}]"#);
    assert_eq!((told.kind(), told.index()), (Kind::Event, Some(1)));
    let told = refused(r#"[{"topic":"a","data":1},[]]"#);
    assert_eq!((told.kind(), told.index()), (Kind::Event, Some(1)));
    let twice =
        r#"[{"topic":"a","data":1,"id":"i"},{"topic":"b","data":1,"id":"i"},{"topics":["a","c"],"data":1,"id":"i"}]"#;
    let told = refused(twice);
    assert_eq!((told.kind(), told.index()), (Kind::IdRepeated, Some(2)));
    assert_eq!(refused(r#"{"topic":"a"}"#).index(), None);
}

proptest! {
    #[test]
    fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&body, LIMITS);
    }

    #[test]
    fn nothing_like_json_panics(body in "[\\[\\]{}\":,0-9a\\\\ue. tn]{0,80}") {
        let _ = parse(body.as_bytes(), LIMITS);
    }

    #[test]
    fn a_bad_event_is_named_by_its_index(count in 1usize..3, bad in 0usize..3) {
        prop_assume!(bad < count);
        let event = |index| if index == bad { r#"{"topic":"a","data":1,"nope":1}"# } else { r#"{"topic":"a","data":1}"# };
        let body = format!("[{}]", (0..count).map(event).collect::<Vec<_>>().join(","));
        prop_assert_eq!(refused(&body).index(), Some(bad));
    }

    #[test]
    fn every_string_comes_through(data in ".{0,25}") {
        let body = serde_json::json!({"topic": "a", "data": data}).to_string();
        prop_assert_eq!(one(&body), text(&["a"], &data));
    }
}
