//! Whatever a client says was its last event, in whichever spelling, it gets a stream: from there, or with a gap that says
//! why not.

use serde_json::json;
use tidewire_harness::{EventStream, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// Where a last id may stand, the one that wins first.
const SPELLINGS: [Spelling; 4] =
    [Spelling::Header, Spelling::Query("last_event_id"), Spelling::Query("lastEventID"), Spelling::Query("lastId")];

#[derive(Clone, Copy, Debug)]
enum Spelling {
    Header,
    Query(&'static str),
}

/// Opens a stream of `a` with these last ids; a `None` leaves the spelling out.
fn open(hub: &Hub, ids: [Option<&str>; 4], more: &str) -> EventStream {
    let mut target = format!("/api/v1/events?topic=a{more}");
    let mut headers = Vec::new();
    for (spelling, id) in SPELLINGS.into_iter().zip(ids) {
        let Some(id) = id else { continue };
        match spelling {
            Spelling::Header => headers.push(("Last-Event-ID", id)),
            Spelling::Query(name) => {
                let encoded: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
                target.push_str(&format!("&{name}={encoded}"));
            }
        }
    }
    let stream = EventStream::open(hub.address(), &target, &headers).expect("the hub answers");
    assert_eq!(stream.head.status, 200, "{target}");
    stream
}

fn only(spelling: usize, id: &str) -> [Option<&str>; 4] {
    let mut ids = [None; 4];
    ids[spelling] = Some(id);
    ids
}

fn publish(hub: &Hub, data: &str, id: &str) -> String {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let body = json!({"topic": "a", "data": data, "id": id}).to_string();
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    let answer = answer.expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("text").to_owned()
}

/// A hub whose first event is retained no more, and the ids of its events, of which each says its number.
fn hub() -> (Hub, Vec<String>) {
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory", "--memory-bytes", "64KiB"], &[]);
    let filler = "x".repeat(8 * 1024);
    let ids = (0..20).map(|n| publish(&hub, &format!("{n} {filler}"), &format!("p{n}"))).collect();
    (hub, ids)
}

fn number(data: &str) -> usize {
    data.split(' ').next().and_then(|text| text.parse().ok()).expect("an event says its number")
}

#[test]
fn a_last_id_that_is_no_place_is_a_gap_and_then_everything_retained() {
    let (hub, ids) = hub();
    let earliest = open(&hub, [None; 4], "&from=earliest").published();
    assert!(number(&earliest.data) > 0, "the first is gone");
    let after = |id: &str, seq: u64| {
        let (ms, _) = id.trim_start_matches('#').split_once('-').expect("a hub's id");
        format!("#{ms}-{seq}")
    };
    let overlong = "x".repeat(129);
    let stale = ids[0].clone();
    for (kind, id, reason) in [
        ("stale", stale.as_str(), "expired"),
        ("from the future", "#99999999999999-0", "epoch"),
        ("of another epoch", "#1-0", "epoch"),
        ("the largest there may be", "#18446744073709551615-18446744073709551615", "epoch"),
        ("no number", "#1-0x", "unknown"),
        ("larger than that", "#18446744073709551616-0", "unknown"),
        ("of a publisher's that is not there", "nobody's", "unknown"),
        ("overlong", &overlong, "unknown"),
        ("a hash alone", "#", "unknown"),
        ("negative", "-5", "unknown"),
        ("not ASCII", "\u{e9}v\u{e9}nement", "unknown"),
    ] {
        for (at, spelling) in SPELLINGS.into_iter().enumerate() {
            let shown = open(&hub, only(at, id), "").shows(2);
            assert_eq!(shown[0].0, reason, "{kind}, {spelling:?}");
            assert_eq!((shown[1].0.as_str(), &shown[1].1), ("event", &earliest.data), "{kind}, {spelling:?}");
        }
    }
    // Control characters cannot stand in a header.
    for id in ["a\nb", "a\0b", "\u{7f}"] {
        for (at, spelling) in SPELLINGS.into_iter().enumerate().skip(1) {
            assert_eq!(open(&hub, only(at, id), "").shows(1)[0].0, "unknown", "{id:?}, {spelling:?}");
        }
    }
    // Between two ids there is a place, whoever made it up; two of one millisecond may have none.
    let ms = |id: &str| id.split_once('-').expect("a hub's id").0.to_owned();
    let (mut number_of_last, mut before) = (20, ids[19].clone());
    loop {
        let last = publish(&hub, &number_of_last.to_string(), &format!("p{number_of_last}"));
        if ms(&last) != ms(&before) {
            break;
        }
        (number_of_last, before) = (number_of_last + 1, last);
    }
    for (at, spelling) in SPELLINGS.into_iter().enumerate() {
        let shown = open(&hub, only(at, &after(&before, 1_000_000)), "").shows(1);
        assert_eq!((shown[0].0.as_str(), number(&shown[0].1)), ("event", number_of_last), "{spelling:?}");
        for id in [&ids[17], ids[17].trim_start_matches('#'), "p17"] {
            let shown = open(&hub, only(at, id), "").shows(1);
            assert_eq!((shown[0].0.as_str(), number(&shown[0].1)), ("event", 18), "{id}, {spelling:?}");
        }
    }
}

#[test]
fn an_empty_last_id_is_none_and_of_two_at_odds_the_first_counts() {
    let (hub, ids) = hub();
    let mut newcomers: Vec<EventStream> = (0..SPELLINGS.len()).map(|at| open(&hub, only(at, ""), "")).collect();
    newcomers.push(open(&hub, [Some(""); 4], "&from="));
    publish(&hub, "20", "p20");
    for mut stream in newcomers {
        assert_eq!(stream.shows(1)[0], ("event".to_owned(), "20".to_owned()));
    }
    let first = |ids: [Option<&str>; 4], more: &str| {
        let shown = open(&hub, ids, more).shows(1).remove(0);
        if shown.0 == "event" { number(&shown.1).to_string() } else { shown.0 }
    };
    let [a, b, c, d] = [&ids[14], &ids[15], &ids[16], &ids[17]].map(|id| Some(id.as_str()));
    assert_eq!(first([a, b, c, d], "&from=earliest"), "15");
    assert_eq!(first([None, b, c, d], "&from=earliest"), "16");
    assert_eq!(first([Some(""), Some(""), c, d], "&from=earliest"), "17");
    assert_eq!(first([None, None, None, d], "&from=-3"), "18");
    // Also where the first is no place and the second is.
    assert_eq!(first([Some("nobody's"), b, None, None], ""), "unknown");
    assert_eq!(first([None, Some("#1-0"), None, d], ""), "epoch");
}
