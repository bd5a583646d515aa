//! Publishing over the API: what is taken, what is refused, and what a retry does.

use serde_json::{Value, json};
use tidewire_harness::{Clock, EventStream, Http, Hub, Response};
use tidewire_sim::Place;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn post(hub: &Hub, body: &Value) -> Response {
    post_bytes(hub, JSON, body.to_string().as_bytes())
}

fn post_bytes(hub: &Hub, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    http.request("POST", "/api/v1/events", headers, body).expect("the hub answers")
}

fn get(hub: &Hub, target: &str) -> Response {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    http.request("GET", target, &[], b"").expect("the hub answers")
}

#[track_caller]
fn publish(hub: &Hub, body: &Value) -> String {
    let answer = post(hub, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn everything(hub: &Hub) -> EventStream {
    EventStream::open(hub.address(), "/api/v1/events?topic=*&from=earliest", &[]).expect("the hub answers")
}

#[track_caller]
fn assert_problem(answer: &Response, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:tidewire:error:{name}"), "{problem}");
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
}

#[test]
fn one_event_is_answered_with_its_id_and_delivered() {
    let hub = Hub::start(BINARY);
    let answer = post(&hub, &json!({"topic": "a", "data": "hello"}));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with('#') && id.parse::<Place>().is_ok(), "{id}");
    let event = everything(&hub).published();
    assert_eq!((event.id, event.event_type, event.data), (id, "message".to_owned(), "hello".to_owned()));
}

#[test]
fn an_array_is_answered_with_ids_in_its_order() {
    let hub = Hub::start(BINARY);
    let body: Vec<Value> = (0..1_000).map(|n| json!({"topic": "a", "data": n.to_string()})).collect();
    let ids = post(&hub, &json!(body)).json()["ids"].take();
    let ids: Vec<Place> =
        ids.as_array().expect("ids").iter().map(|id| id.as_str().expect("text").parse().expect("an id")).collect();
    assert_eq!(ids.len(), 1_000);
    assert!(ids.is_sorted_by(|a, b| a < b));
    let mut stream = everything(&hub);
    for (n, id) in ids.iter().enumerate() {
        let event = stream.published();
        assert_eq!((event.id, event.data), (id.to_string(), n.to_string()));
    }
    let one_more = json!(vec![json!({"topic": "a", "data": ""}); 1_001]);
    assert_problem(&post(&hub, &one_more), 413, "batch-events");
}

#[test]
fn data_arrives_as_it_was_sent() {
    let hub = Hub::start(BINARY);
    let mut stream = everything(&hub);
    for (sent, seen) in [
        (json!("two\nlines"), "two\nlines"),
        (json!(""), ""),
        (json!("\n"), "\n"),
        (json!("cr\rcrlf\r\nend"), "cr\ncrlf\nend"),
        (json!(" leading space"), " leading space"),
        (json!("data: id: event:"), "data: id: event:"),
        (json!("\u{1f30a} \u{0} \u{feff}"), "\u{1f30a} \u{0} \u{feff}"),
        (json!({"n": 1, "nested": ["x", null]}), r#"{"n":1,"nested":["x",null]}"#),
        (json!(7), "7"),
    ] {
        let id = publish(&hub, &json!({"topic": "a", "type": "t", "data": sent}));
        let event = stream.published();
        assert_eq!((&event.id, event.event_type.as_str(), event.data.as_str()), (&id, "t", seen));
        let one = get(&hub, &format!("/api/v1/events/{}", id.replace('#', "%23"))).json();
        let back = if sent.is_string() { json!(seen) } else { sent };
        assert_eq!((&one["id"], &one["data"], &one["type"]), (&json!(id), &back, &json!("t")), "{one}");
    }
}

#[test]
fn one_event_can_be_fetched() {
    let hub = Hub::start(BINARY);
    let id = publish(&hub, &json!({"topics": ["a", "b"], "type": "t", "data": "x", "id": "mine"}));
    let bare = id.trim_start_matches('#').to_owned();
    for name in [bare.as_str(), &format!("%23{bare}")] {
        let answer = get(&hub, &format!("/api/v1/events/{name}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let event = answer.json();
        assert_eq!(event["id"], json!(id));
        assert_eq!(event["publisher_id"], "mine");
        assert_eq!(event["topics"], json!(["a", "b"]));
        assert!(event["time"].is_string(), "{event}");
    }
    assert_problem(&get(&hub, "/api/v1/events/%231-0"), 404, "event-not-found");
}

#[test]
fn topics_are_listed() {
    let hub = Hub::start(BINARY);
    publish(&hub, &json!({"topics": ["b", "a"], "data": "x"}));
    publish(&hub, &json!({"topic": "a", "data": "x"}));
    let page = get(&hub, "/api/v1/topics").json();
    let names: Vec<&Value> = page["topics"].as_array().expect("topics").iter().map(|topic| &topic["topic"]).collect();
    assert_eq!(names, [&json!("a"), &json!("b")], "{page}");
}

#[test]
fn what_cannot_be_an_event_is_refused_and_never_shown() {
    let hub = Hub::start(BINARY);
    for (body, status, name) in [
        (json!([]), 400, "batch-empty"),
        (json!("x"), 400, "event"),
        (json!([json!({"topic": "a", "data": "1"}), 7]), 400, "event"),
        (json!({"data": "no topic"}), 400, "event"),
        (json!({"topics": [], "data": ""}), 400, "event"),
        (json!({"topic": "*", "data": ""}), 400, "topic"),
        (json!({"topic": "", "data": ""}), 400, "topic"),
        (json!({"topic": "x".repeat(4_097), "data": ""}), 400, "topic"),
        (json!({"topic": "a", "data": "", "type": "tidewire.gap"}), 400, "type"),
        (json!({"topic": "a", "data": "", "type": "a\nb"}), 400, "type"),
        (json!({"topic": "a", "data": "", "id": "a\nb"}), 400, "id"),
        (json!({"topic": "a", "data": "", "id": "x".repeat(129)}), 400, "id"),
        (json!({"topic": "a", "data": "", "colour": "red"}), 400, "member"),
        (json!({"topic": "a", "data": "x".repeat((1 << 20) + 1)}), 413, "event-bytes"),
    ] {
        let answer = post(&hub, &body);
        assert_problem(&answer, status, name);
    }
    assert_problem(&post_bytes(&hub, JSON, b"{"), 400, "json");
    assert_problem(&post_bytes(&hub, JSON, b""), 400, "json");
    assert_problem(&post_bytes(&hub, &[("content-type", "text/plain")], b"x"), 415, "media-type");
    let marker = publish(&hub, &json!({"topic": "a", "data": "x".repeat(1 << 20)}));
    assert_eq!(everything(&hub).published().id, marker);
}

#[test]
fn an_array_that_fits_in_no_file_of_the_log_is_refused_whole() {
    let hub = Hub::start_with(BINARY, &["--dev", "--segment-bytes", "64KiB"], &[]);
    let array = |events: usize, bytes: usize| json!(vec![json!({"topic": "a", "data": "x".repeat(bytes)}); events]);
    for (events, bytes) in [(1, 64 << 10), (1, 1 << 20), (2, 33_000), (100, 700)] {
        assert_problem(&post(&hub, &array(events, bytes)), 413, "segment-bytes");
    }
    // The hub goes on, and takes what just fits.
    let answer = post(&hub, &array(100, 500));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let last = publish(&hub, &json!({"topic": "a", "data": "x".repeat(60_000)}));
    let mut stream = everything(&hub);
    for id in answer.json()["ids"].as_array().expect("ids").iter().chain([&json!(last)]) {
        assert_eq!(json!(stream.published().id), *id, "nothing else was taken");
    }
}

#[test]
fn a_body_that_is_too_large_is_answered() {
    let hub = Hub::start(BINARY);
    let body = json!({"topic": "a", "data": "x".repeat(9 << 20)}).to_string();
    assert_problem(&post_bytes(&hub, JSON, body.as_bytes()), 413, "body-bytes");
}

/// A sender that reads the answer only after it has sent everything is answered as well, up to a point.
#[test]
fn of_a_refused_body_the_hub_reads_64_mib_and_then_closes() {
    const PIECE: usize = 1 << 20;
    const READ: usize = 64 << 20;
    /// What may lie in the kernel's buffers, unread.
    const BUFFERED: usize = 64 << 20;
    let hub = Hub::start(BINARY);
    for (length, is_taken) in [(READ, true), (READ + BUFFERED + PIECE, false)] {
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let head = format!(
            "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        http.send_raw(head.as_bytes()).expect("the hub listens");
        let piece = vec![b'x'; PIECE];
        let sent = (0..length / PIECE).all(|_| http.send_raw(&piece).is_ok());
        assert_eq!(sent, is_taken, "of {length} bytes");
        if is_taken {
            let answer = http.receive().expect("the hub answers");
            assert_problem(&answer, 413, "body-bytes");
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(http.is_closed().expect("an end"));
        }
    }
}

#[test]
fn a_retry_under_the_same_id_is_the_same_event() {
    let mut hub = Hub::start(BINARY);
    let event = json!({"topic": "a", "data": "once", "id": "order-1"});
    let first = publish(&hub, &event);
    assert_eq!(publish(&hub, &event), first);
    hub.kill(Clock::start());
    hub.restart();
    assert_eq!(publish(&hub, &event), first, "also over a restart");

    let conflict = post(&hub, &json!({"topic": "a", "data": "other", "id": "order-1"}));
    assert_problem(&conflict, 409, "id-conflict");
    let other = publish(&hub, &json!({"topic": "b", "data": "other", "id": "order-1"}));
    assert_ne!(other, first, "the key is topic and id");
    let twice = post(&hub, &json!([{"topic": "c", "data": "x"}, event, event]));
    assert_problem(&twice, 400, "id-repeated");
    assert_eq!(twice.json()["index"], 2);

    let mut stream = everything(&hub);
    assert_eq!((stream.published().id, stream.published().id), (first, other));
}

#[test]
fn other_paths_and_methods() {
    let hub = Hub::start(BINARY);
    assert_problem(&get(&hub, "/nowhere"), 404, "not-found");
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request("DELETE", "/api/v1/topics", &[], b"").expect("the hub answers");
    assert_problem(&answer, 405, "method");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
}
