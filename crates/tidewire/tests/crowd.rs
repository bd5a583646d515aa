//! Very many subscribers, each with a topic of its own, get exactly theirs.

use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, Crowd, Http, Hub};
use tidewire_sim::{Answer, Asked, Attempt, Connection, Filter, History, Publication, Subscriber, Until};

const SUBSCRIBERS: usize = 10_000;
/// Events in one request: the hub's limit.
const BATCH: usize = 1_000;
/// Opening, and delivering, beside a build.
const WITHIN: Duration = Duration::from_secs(120);

fn topic(n: usize) -> String {
    format!("users/{n}")
}

/// An event for subscriber `n`; every seventh concerns its neighbour as well.
fn topics(n: usize) -> Vec<String> {
    let neighbour = (n + 1) % SUBSCRIBERS;
    if n.is_multiple_of(7) { vec![topic(n), topic(neighbour)] } else { vec![topic(n)] }
}

#[test]
fn ten_thousand_topics_and_one_for_all() {
    let hub = Hub::start(env!("CARGO_BIN_EXE_tidewire"));
    let clock = Clock::start();
    let subscriber = |name: &str, filter| {
        Subscriber::new(name, filter, Until::Everything).connection(Connection::begin(Asked::Live, clock.now()))
    };
    let mut subscribers: Vec<Subscriber> =
        (0..SUBSCRIBERS).map(|n| subscriber(&topic(n), Filter::topics([topic(n).as_str()]))).collect();
    subscribers.push(subscriber("all", Filter::any()));
    let mut crowd = Crowd::open(hub.address(), clock, subscribers, WITHIN);

    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let mut history = History::default();
    let mut owed = 0;
    for round in 0..2 {
        for first in (0..SUBSCRIBERS).step_by(BATCH) {
            let events: Vec<(Vec<String>, String)> =
                (first..first + BATCH).map(|n| (topics(n), format!("round {round} of {n}"))).collect();
            let body: Vec<_> = events.iter().map(|(topics, data)| json!({"topics": topics, "data": data})).collect();
            let began = clock.now();
            let headers = [("content-type", "application/json")];
            let answer = http.request("POST", "/api/v1/events", &headers, json!(body).to_string().as_bytes());
            let answer = answer.expect("the hub answers");
            assert_eq!(answer.status, 200, "{}", answer.text());
            let ids = answer.json()["ids"].take();
            for ((topics, data), id) in events.iter().zip(ids.as_array().expect("one id for each event")) {
                let id = id.as_str().and_then(|id| id.parse().ok()).expect("an id of the hub's");
                let attempt = Attempt::answered(began, clock.now(), Answer::Acknowledged(id));
                let publication = Publication::new(topics.iter().map(String::as_str), data).attempt(attempt);
                // Its subscribers', and that of the one for all.
                owed += topics.len() + 1;
                history.publications.push(publication);
            }
        }
    }
    crowd.read_events(owed, WITHIN);
    history.subscribers = crowd.finish();
    let verdict = history.check();
    println!("{verdict}");
    verdict.assert_clean();
    assert_eq!((verdict.counts.delivered, verdict.counts.acknowledged), (owed, 2 * SUBSCRIBERS));
}
