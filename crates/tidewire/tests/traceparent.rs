//! The trace of a publishing request stays with its events: whoever looks at one later finds it.

use serde_json::{Value, json};
use tidewire_harness::{Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const JSON: (&str, &str) = ("content-type", "application/json");
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn publish(hub: &Hub, traceparents: &[&str], body: &Value) -> Value {
    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    let mut headers = vec![JSON];
    headers.extend(traceparents.iter().map(|value| ("traceparent", *value)));
    let answer = http.request("POST", "/api/v1/events", &headers, body.to_string().as_bytes()).expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn event(hub: &Hub, id: &Value) -> Value {
    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    let target = format!("/api/v1/events/{}", id.as_str().expect("an id").replace('#', "%23"));
    http.request("GET", &target, &[], b"").expect("it answers").json()
}

#[test]
fn a_trace_stays_with_each_event_of_a_request_over_a_restart_and_is_not_sent_on_streams() {
    let mut hub = Hub::start(BINARY);
    let mut reader = Http::connect(hub.address()).expect("the hub accepts");
    reader.send("GET", "/api/v1/events?topic=a", &[], b"").expect("sent");
    assert_eq!(reader.receive_head().expect("it answers").0, 200);
    let array = json!([{"topic": "a", "data": "one"}, {"topic": "a", "data": "two"}]);
    let traced = publish(&hub, &[TRACE], &array);
    let untraced = publish(&hub, &[], &json!({"topic": "a", "data": "one"}));
    let mut frames = Vec::new();
    while frames.len() < 3 {
        let frame = String::from_utf8(reader.chunk().expect("a frame").expect("it goes on")).expect("text");
        if !frame.contains("tidewire.") {
            let lines: Vec<&str> = frame.lines().filter(|line| !line.starts_with("id:")).collect();
            frames.push(lines.join("\n"));
        }
    }
    assert_eq!(frames, ["data: one\n", "data: two\n", "data: one\n"]);
    for _ in 0..2 {
        for id in traced["ids"].as_array().expect("ids") {
            assert_eq!(event(&hub, id)["traceparent"], TRACE);
        }
        assert_eq!(event(&hub, &untraced["id"]).get("traceparent"), None);
        hub.terminate();
        hub.restart();
    }
}

#[test]
fn what_is_no_traceparent_is_as_if_it_were_not_there() {
    let hub = Hub::start(BINARY);
    let upper = TRACE.to_uppercase();
    let longer = format!("{TRACE}-more");
    let zeros = TRACE.replacen("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32), 1);
    for values in [&[""][..], &["nonsense"], &[&upper], &[&longer], &[&zeros], &[TRACE, OTHER]] {
        let answer = publish(&hub, values, &json!({"topic": "a", "data": 1}));
        assert_eq!(event(&hub, &answer["id"]).get("traceparent"), None, "{values:?}");
    }
}

/// What carries a publisher's retry may begin another trace.
#[test]
fn an_event_that_is_sent_again_in_another_trace_is_the_same() {
    let hub = Hub::start(BINARY);
    let body = json!({"topic": "a", "data": 1, "id": "mine"});
    let first = publish(&hub, &[TRACE], &body);
    assert_eq!(publish(&hub, &[OTHER], &body), first);
    assert_eq!(publish(&hub, &[], &body), first);
    assert_eq!(event(&hub, &first["id"])["traceparent"], TRACE);
}
