//! Looking at topics: what is kept on them, and who watches them.

use serde_json::{Value, json};
use tidewire_harness::{EventStream, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const PATH: &str = "/api/v1/topics";

fn get(hub: &Hub, target: &str) -> (u16, Value) {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request("GET", target, &[], b"").expect("the hub answers");
    (answer.status, answer.json())
}

/// The ids of what is published.
fn publish(hub: &Hub, events: &Value) -> Vec<Value> {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, events.to_string().as_bytes());
    let answer = answer.expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["ids"].as_array().expect("ids").clone()
}

/// A stream that has begun.
fn open(hub: &Hub, query: &str) -> EventStream {
    let mut stream = EventStream::open(hub.address(), &format!("/api/v1/events?{query}"), &[]).expect("an answer");
    stream.event().expect("it is no error").expect("a stream begins with a block");
    stream
}

#[test]
fn a_topic_shows_what_is_kept_and_who_watches_it() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_SHARDS", "2")]);
    let url = format!("{PATH}/users%2Falice%2Finbox");
    let (status, problem) = get(&hub, &url);
    assert_eq!((status, &problem["type"]), (404, &json!("urn:tidewire:error:topic-not-found")));
    let topic = "users/alice/inbox";
    let streams = [
        open(&hub, "topic=users%2Falice%2Finbox"),
        open(&hub, "topic=users%2Falice%2Finbox&topic=other&type=t"),
        open(&hub, "pattern=/users/:user/inbox"),
        open(&hub, "template=users/{user}/inbox"),
        open(&hub, "topic=*"),
        open(&hub, "topic=other"),
        open(&hub, "pattern=/users/bob/*"),
    ];
    assert_eq!(get(&hub, &url), (200, json!({"topic": topic, "events": 0, "subscribers": 5})));
    let ids = publish(
        &hub,
        &json!([{"topic": topic, "data": 1}, {"topic": "other", "data": 2}, {"topics": ["other", topic], "data": 3}]),
    );
    let shown = json!({"topic": topic, "events": 2, "first_id": ids[0], "last_id": ids[2], "subscribers": 5});
    assert_eq!(get(&hub, &url), (200, shown.clone()));
    let other = json!({"topic": "other", "events": 2, "first_id": ids[1], "last_id": ids[2], "subscribers": 3});
    assert_eq!(get(&hub, PATH), (200, json!({"topics": [other, shown]})));
    assert_eq!(get(&hub, &format!("{PATH}?limit=1")).1["next"], "other");
    let after = get(&hub, &format!("{PATH}?limit=1&after=other"));
    assert_eq!((&after.1["topics"], after.1.get("next")), (&json!([shown]), Some(&json!(topic))));
    // Who leaves is not counted, and what is kept outlives them.
    drop(streams);
    hub.terminate();
    hub.restart();
    let kept = json!({"topic": topic, "events": 2, "first_id": ids[0], "last_id": ids[2], "subscribers": 0});
    assert_eq!(get(&hub, &url), (200, kept));
    for (target, status) in [("*", 400), ("%0A", 400), ("%FF", 400), ("a/b", 404), ("", 404)] {
        assert_eq!(get(&hub, &format!("{PATH}/{target}")).0, status, "{target}");
    }
}

#[test]
fn pages_show_each_of_many_topics_once_and_in_order() {
    const TOPICS: usize = 2_500;
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_SEGMENT_BYTES", "1MiB")]);
    let name = |n: usize| format!("t/{n:04}");
    for first in (0..TOPICS).step_by(500) {
        let data = "x".repeat(1_000);
        let events: Vec<Value> = (first..first + 500).map(|n| json!({"topic": name(n), "data": data})).collect();
        publish(&hub, &json!(events));
    }
    let _watches = open(&hub, "topic=t%2F1234&topic=nothing");
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = get(&hub, &format!("{PATH}?limit=400{after}"));
        assert_eq!(status, 200, "{page}");
        for topic in page["topics"].as_array().expect("a list") {
            let topic_name = topic["topic"].as_str().expect("a name").to_owned();
            let subscribers = u64::from(topic_name == name(1234));
            assert_eq!((&topic["events"], &topic["subscribers"]), (&json!(1), &json!(subscribers)), "{topic}");
            seen.push(topic_name);
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={}", next.replace('/', "%2F"));
    }
    assert_eq!(seen, (0..TOPICS).map(name).collect::<Vec<_>>());
}
