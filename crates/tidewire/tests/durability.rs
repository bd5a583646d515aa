//! Each kind of durability taken at its word, also where the clock is set back between two runs.

use serde_json::{Value, json};
use tidewire_harness::{Clock, EventStream, Http, Hub, WallClock};
use tidewire_sim::Place;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// Publishes an event and answers its place.
#[track_caller]
fn publish(hub: &Hub, data: &str) -> Place {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let body = json!({"topic": "a", "data": data}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().and_then(|id| id.parse().ok()).expect("a hub id")
}

/// What a stream shows at first: gaps as reason and what was asked, events as their data. Checkpoints are left out.
fn shown(hub: &Hub, query: &str, last: Option<Place>, count: usize) -> Vec<(String, String)> {
    let last = last.map(|place| place.to_string());
    let headers: Vec<(&str, &str)> = last.iter().map(|id| ("last-event-id", id.as_str())).collect();
    let target = format!("/api/v1/events?topic=a{query}");
    let mut stream = EventStream::open(hub.address(), &target, &headers).expect("the hub answers");
    let mut shown = Vec::new();
    while shown.len() < count {
        let event = stream.event().expect("the stream goes on").expect("the stream goes on");
        match event.event_type.as_str() {
            "tidewire.checkpoint" => {}
            "tidewire.gap" => {
                let gap: Value = serde_json::from_str(&event.data).expect("JSON");
                let text = |name: &str| gap[name].as_str().expect("a string").to_owned();
                shown.push((text("reason"), text("requested")));
            }
            _ => shown.push(("event".to_owned(), event.data)),
        }
    }
    shown
}

fn event(data: &str) -> (String, String) {
    ("event".to_owned(), data.to_owned())
}

#[test]
fn memory_forgets_at_a_restart_and_tells_who_comes_back() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_DURABILITY", "memory")]);
    let old: Vec<Place> = ["one", "two", "three"].iter().map(|data| publish(&hub, data)).collect();
    assert_eq!(shown(&hub, "", Some(old[0]), 2), [event("two"), event("three")]);
    for is_killed in [true, false] {
        if is_killed {
            hub.kill(Clock::start());
        } else {
            assert_eq!(hub.terminate().code(), Some(0));
        }
        hub.restart();
        let new = publish(&hub, "new");
        assert!(old.iter().all(|old| *old < new), "{new} after {old:?}");
        assert_eq!(shown(&hub, "&from=earliest", None, 1), [event("new")]);
        for last in &old {
            let expected = [("epoch".to_owned(), last.to_string()), event("new")];
            assert_eq!(shown(&hub, "", Some(*last), 2), expected);
        }
    }
}

/// An id that was given out names one event for ever, and a reader that comes back with one of an earlier run is told.
#[test]
fn memory_gives_no_id_twice_though_the_clock_is_set_back() {
    let clock = WallClock::new();
    let (preload, library) = clock.variable();
    let settings = [("TIDEWIRE_DURABILITY", "memory"), (preload, library.as_str())];
    let mut hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let mut given: Vec<Place> = Vec::new();
    for offset in ["0", "-3600", "-7200", "0", "3600", "-3600"] {
        hub.kill(Clock::start());
        hub.restart_with(WallClock::OFFSET, offset);
        let first = publish(&hub, "first");
        for last in &given {
            let expected = [("epoch".to_owned(), last.to_string()), event("first")];
            assert_eq!(shown(&hub, "", Some(*last), 2), expected, "with the clock moved by {offset} s");
        }
        given.push(first);
        given.extend((0..5).map(|_| publish(&hub, "more")));
        assert!(given.is_sorted_by(|a, b| a < b), "with the clock moved by {offset} s: {given:?}");
    }
}

#[test]
fn what_was_committed_keeps_its_order_though_the_clock_is_set_back() {
    let clock = WallClock::new();
    let (preload, library) = clock.variable();
    let (segment, retention) = (("TIDEWIRE_SEGMENT_BYTES", "1MiB"), ("TIDEWIRE_RETENTION_BYTES", "64MiB"));
    let settings = [segment, retention, (preload, library.as_str())];
    let mut hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let mut given: Vec<Place> = Vec::new();
    for offset in ["0", "-3600", "-7200", "0", "86400", "-3600"] {
        hub.kill(Clock::start());
        hub.restart_with(WallClock::OFFSET, offset);
        let next = given.len();
        given.extend((next..next + 5).map(|number| publish(&hub, &number.to_string())));
        assert!(given.is_sorted_by(|a, b| a < b), "with the clock moved by {offset} s: {given:?}");
        let all: Vec<_> = (0..given.len()).map(|number| event(&number.to_string())).collect();
        assert_eq!(shown(&hub, "&from=earliest", None, all.len()), all);
        for (number, last) in given[..given.len() - 1].iter().enumerate() {
            let after = &all[number + 1..];
            assert_eq!(shown(&hub, "", Some(*last), after.len()), after, "with the clock moved by {offset} s");
        }
    }
    let days = (given[given.len() - 1].ms - given[0].ms) / 86_400_000;
    assert_eq!(days, 1, "the hub's clock is moved");
}
