//! What is wrong with an input is said so that its sender finds it: where, which, and what may have been meant.

use serde_json::json;
use tidewire_harness::{EventStream, Http, Hub, Response};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

fn post(hub: &Hub, body: &[u8]) -> Response {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let headers = [("content-type", "application/json")];
    http.request("POST", "/api/v1/events", &headers, body).expect("the hub answers")
}

#[track_caller]
fn assert_says(answer: &Response, name: &str, details: &[&str]) {
    let problem = answer.json();
    assert_eq!(answer.status, 400, "{problem}");
    assert_eq!(problem["type"], format!("urn:tidewire:error:{name}"), "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(details.iter().all(|said| detail.contains(said)), "{details:?} in {detail}");
}

#[test]
fn a_publisher_is_told_where_and_what() {
    let hub = Hub::start(BINARY);
    for (body, name, details) in [
        (&b"{\"topic\": \"a\",\n \"data\": }"[..], "json", &["line 2", "column 10"][..]),
        (b"[{\"topic\": \"a\", \"data\": \"x\"},\n\n{]", "json", &["line 3", "column 2"]),
        (b"", "json", &["line 1"]),
        (b"{\"topic\": \"a\", \"data\": \"\xff\"}", "json", &["UTF-8", "byte 24"]),
        (b"{\"topic\": \"a\", \"data\": \"\\ud800\"}", "event", &["data", "no character"]),
        (b"{\"topic\": \"a\", \"dta\": \"x\"}", "member", &["dta", "data"]),
        (b"{\"topic\": \"a\", \"data\": \"x\", \"privat\": true}", "member", &["privat", "private"]),
        (b"{\"topic\": \"a\", \"data\": \"x\", \"id\": \"a\\u0000b\"}", "id", &["id"]),
        (b"{\"topic\": \"a\", \"data\": \"x\", \"id\": \"a\\nb\"}", "id", &["id"]),
        (b"{\"topic\": \"a\", \"data\": \"x\", \"type\": \"a\\u0000b\"}", "type", &["type"]),
        (b"{\"topic\": \"a\", \"data\": \"x\", \"type\": \"a\\rb\"}", "type", &["type"]),
        (b"{\"topic\": \"a\", \"data\": \"x\", \"type\": \"tidewire.mine\"}", "type", &["tidewire."]),
        (b"{\"topic\": \"a\\u0007\", \"data\": \"x\"}", "topic", &["U+0007"]),
        (b"{\"topic\": \"a\", \"topic\": \"b\", \"data\": \"x\"}", "event", &["topic"]),
    ] {
        let answer = post(&hub, body);
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(body));
        assert_says(&answer, name, details);
    }
}

#[test]
fn of_an_array_with_one_bad_member_nothing_is_published_and_its_index_is_told() {
    let hub = Hub::start(BINARY);
    let good = json!({"topic": "a", "data": "good"});
    for (bad, name) in [
        (json!({"topic": "a", "data": "x", "colour": "red"}), "member"),
        (json!({"topic": "", "data": "x"}), "topic"),
        (json!({"topic": "a", "data": "x", "type": "tidewire.mine"}), "type"),
        (json!({"topic": "a", "data": "x", "id": "#1-0"}), "id"),
        (json!(null), "event"),
    ] {
        for index in [0, 3, 9] {
            let mut array = vec![good.clone(); 10];
            array[index] = bad.clone();
            let answer = post(&hub, json!(array).to_string().as_bytes());
            assert_says(&answer, name, &[]);
            assert_eq!(answer.json()["index"], index, "{}", answer.text());
        }
    }
    let marker = post(&hub, json!({"topic": "a", "data": "the first"}).to_string().as_bytes());
    assert_eq!(marker.status, 200);
    let target = "/api/v1/events?topic=*&from=earliest";
    let first = EventStream::open(hub.address(), target, &[]).expect("the hub answers").published();
    assert_eq!(first.data, "the first");
}

#[test]
fn a_reader_is_told_where_a_pattern_is_wrong() {
    let hub = Hub::start(BINARY);
    for (query, name, details) in [
        ("pattern=/chat/(a", "pattern", &["at byte 6"][..]),
        ("pattern=/a/%7Bb", "pattern", &["at byte"]),
        ("template=/a/%7Bb", "pattern", &["at byte"]),
        ("pattern=", "pattern", &["empty"]),
        ("topic=%FF", "query", &["UTF-8"]),
        ("topic=a%00", "topic", &["U+0000"]),
        ("topic=a&type=", "type", &["1 to 128"]),
    ] {
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let answer = http.request("GET", &format!("/api/v1/events?{query}"), &[], b"").expect("the hub answers");
        assert_says(&answer, name, details);
    }
}
