//! What retention keeps, on the real binary: rules hide by age and say so, a clock that jumps removes nothing, and the
//! folder stays as small as it is to be.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Clock, EventStream, Http, Hub, WallClock, wait_until};
use tidewire_sim::Place;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const YEAR_S: u64 = 365 * 24 * 3600;

/// Publishes events and answers the place of the last one.
#[track_caller]
fn publish(http: &mut Http, events: &Value) -> Place {
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, events.to_string().as_bytes());
    let answer = answer.expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let last = told["id"].as_str().or_else(|| told["ids"].as_array()?.last()?.as_str());
    last.and_then(|id| id.parse().ok()).expect("a hub id")
}

fn connect(hub: &Hub) -> Http {
    Http::connect(hub.address()).expect("the hub listens")
}

fn stream(hub: &Hub, query: &str, last: Option<Place>) -> EventStream {
    let last = last.map(|place| place.to_string());
    let headers: Vec<(&str, &str)> = last.iter().map(|id| ("last-event-id", id.as_str())).collect();
    EventStream::open(hub.address(), &format!("/api/v1/events?{query}"), &headers).expect("the hub answers")
}

fn event(data: &str) -> (String, String) {
    ("event".to_owned(), data.to_owned())
}

/// The place from which the earliest is read.
fn low_water(hub: &Hub) -> Place {
    let first = stream(hub, "topic=*&from=earliest", None).event().expect("it begins").expect("it begins");
    assert_eq!(first.event_type, "tidewire.checkpoint");
    first.id.parse().expect("a hub id")
}

#[test]
fn a_rule_hides_by_age_and_tells_only_those_who_might_have_read_it() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_RETENTION_RULES", "/brief/:id=2s")]);
    let mut http = connect(&hub);
    let mut live = stream(&hub, "topic=*", None);
    let place = publish(&mut http, &json!({"topic": "lasting/1", "data": "before"}));
    let brief = publish(&mut http, &json!({"topic": "brief/1", "data": "soon gone"}));
    publish(&mut http, &json!({"topic": "lasting/1", "data": "after"}));
    assert_eq!(live.shows(3), [event("before"), event("soon gone"), event("after")]);
    let target = format!("/api/v1/events/{}", brief.to_string().replace('#', "%23"));
    let status = || connect(&hub).request("GET", &target, &[], b"").expect("the hub answers").status;
    wait_until("the rule hides it", WITHIN, || status() == 404);
    let told = ("expired".to_owned(), place.to_string());
    // Of the newest events, within ten seconds.
    let first = || stream(&hub, "topic=*", Some(place)).shows(1).remove(0);
    wait_until("who was away is told", WITHIN, || first() == told);
    for is_restarted in [false, true] {
        if is_restarted {
            hub.kill(Clock::start());
            hub.restart();
        }
        let shown = |query, count| stream(&hub, query, Some(place)).shows(count);
        assert_eq!(shown("topic=*", 2), [told.clone(), event("after")], "restarted: {is_restarted}");
        assert_eq!(shown("topic=brief/1", 1)[0], told, "restarted: {is_restarted}");
        assert_eq!(shown("topic=lasting/1", 1), [event("after")], "restarted: {is_restarted}");
    }
    publish(&mut connect(&hub), &json!({"topic": "brief/2", "data": "new"}));
    let shown = stream(&hub, "topic=*", Some(place)).shows(3);
    assert_eq!(shown, [told, event("after"), event("new")]);
}

/// Events age by what has passed, and over a stop by `retention_catch_up` at most, whatever the wall clock says.
#[test]
fn a_clock_that_jumps_a_year_over_a_restart_removes_nothing() {
    let clock = WallClock::new();
    let (preload, library) = clock.variable();
    let settings = [
        ("TIDEWIRE_SEGMENT_BYTES", "64KiB"),
        ("TIDEWIRE_RETENTION_BYTES", "64MiB"),
        ("TIDEWIRE_RETENTION_AGE", "2d"),
        (preload, library.as_str()),
    ];
    let mut hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let begin = low_water(&hub);
    let mut published: Vec<String> = Vec::new();
    let segments = |hub: &Hub| names(hub.data()).iter().filter(|name| name.ends_with(".seg")).count();
    // Each new file calls the thread that removes old ones.
    let mut fill = |hub: &Hub, count: usize| {
        let mut http = connect(hub);
        while segments(hub) < count {
            assert!(published.len() < 1000, "old files are removed");
            published.push(format!("{} {}", published.len(), "x".repeat(2000)));
            publish(&mut http, &json!({"topic": "a", "data": published.last()}));
        }
        published.iter().map(|data| event(data)).collect::<Vec<_>>()
    };
    let before = fill(&hub, 4);
    hub.kill(Clock::start());
    hub.restart_with(WallClock::OFFSET, &YEAR_S.to_string());
    let all = fill(&hub, 8);
    assert!(all.len() > before.len());
    assert_eq!(low_water(&hub), begin);
    assert_eq!(stream(&hub, "topic=*&from=earliest", None).shows(all.len()), all);
    // Where it may, the same jump makes everything too old.
    hub.kill(Clock::start());
    hub.restart_with("TIDEWIRE_RETENTION_CATCH_UP", "3d");
    assert_eq!(low_water(&hub), begin);
    hub.kill(Clock::start());
    hub.restart_with(WallClock::OFFSET, &(2 * YEAR_S).to_string());
    wait_until("what is too old is removed", WITHIN, || low_water(&hub) > begin);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("there");
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// What all files of a folder take, in bytes.
fn size(folder: &Path) -> u64 {
    // What has been removed meanwhile takes nothing.
    let length = |name: &String| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    names(folder).iter().map(length).sum()
}

/// Indexes were not counted: with many topics the folder became twice as large as it may.
#[test]
fn the_folder_is_no_larger_than_it_may_be_with_the_indexes() {
    const SEGMENT: u64 = 64 << 10;
    const RETENTION: u64 = 1 << 20;
    /// The manifest, the reserve, and an index that is being written in place of none.
    const BESIDE: u64 = 128 << 10;
    let (segment, retention) = (SEGMENT.to_string(), RETENTION.to_string());
    let settings = [("TIDEWIRE_SEGMENT_BYTES", segment.as_str()), ("TIDEWIRE_RETENTION_BYTES", retention.as_str())];
    let mut hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let begin = low_water(&hub);
    let mut indexes = 0;
    for life in 0..2 {
        let mut http = connect(&hub);
        let mut last = begin;
        for round in 0..60 {
            let topics = |n: usize| (0..10).map(|t| format!("{life}/{round}/{n}/{t}")).collect::<Vec<_>>();
            let events: Vec<_> = (0..50).map(|n| json!({"topics": topics(n), "data": "x"})).collect();
            last = publish(&mut http, &json!(events));
            // One more that is begun, and one made ahead of need.
            let limit = RETENTION + 2 * SEGMENT + BESIDE;
            wait_until("old files are removed", WITHIN, || size(hub.data()) <= limit);
        }
        assert!(low_water(&hub) > begin && low_water(&hub) < last);
        indexes = names(hub.data()).iter().filter(|name| name.ends_with(".idx")).count();
        hub.kill(Clock::start());
        hub.restart();
    }
    assert!(indexes > 3, "{indexes} indexes");
}
