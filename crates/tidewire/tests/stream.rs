//! Streams over the API: the head, what comes first, what matches, and where a reader goes on.

use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{EventStream, Http, Hub, wait_until};
use tidewire_sse::Item;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// Publishes these and answers their ids.
#[track_caller]
fn publish(hub: &Hub, events: &Value) -> Vec<String> {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, events.to_string().as_bytes());
    let answer = answer.expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ids = answer.json()["ids"].take();
    ids.as_array().expect("ids").iter().map(|id| id.as_str().expect("text").to_owned()).collect()
}

/// So many events on `a`, of which each says its number.
fn publish_numbers(hub: &Hub, count: usize) -> Vec<String> {
    publish(hub, &(0..count).map(|n| json!({"topic": "a", "data": n.to_string(), "id": format!("p{n}")})).collect())
}

fn open(hub: &Hub, query: &str, headers: &[(&str, &str)]) -> EventStream {
    EventStream::open(hub.address(), &format!("/api/v1/events?{query}"), headers).expect("the hub answers")
}

fn status(hub: &Hub, query: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request("GET", &format!("/api/v1/events{query}"), headers, b"").expect("the hub answers");
    (answer.status, answer.json()["type"].take())
}

/// What the first numbers of a stream are.
#[track_caller]
fn assert_begins(mut stream: EventStream, numbers: &[usize]) {
    for number in numbers {
        assert_eq!(stream.published().data, number.to_string());
    }
}

#[test]
fn a_stream_has_the_headers_that_streams_need() {
    let hub = Hub::start(BINARY);
    for accept in [&[][..], &[("accept", "*/*")], &[("accept", "text/event-stream")]] {
        let stream = open(&hub, "topic=a", accept);
        assert_eq!(stream.head.status, 200);
        assert_eq!(stream.head.header("content-type"), Some("text/event-stream"));
        assert_eq!(stream.head.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!(stream.head.header("x-accel-buffering"), Some("no"));
        assert_eq!(stream.head.header("transfer-encoding"), Some("chunked"));
        assert!(stream.head.header("tidewire-heartbeat").is_some(), "{:?}", stream.head);
    }
}

#[test]
fn the_first_bytes_say_when_to_come_back_and_where_one_stands() {
    let hub = Hub::start(BINARY);
    let ids = publish_numbers(&hub, 3);
    let mut stream = open(&hub, "topic=a", &[]);
    assert!(matches!(stream.item(), Ok(Some(Item::Retry(1..)))));
    let Ok(Some(Item::Event(checkpoint))) = stream.item() else { panic!("an event is next") };
    assert_eq!((checkpoint.event_type.as_str(), checkpoint.data.as_str()), ("tidewire.checkpoint", ""));
    assert_eq!(checkpoint.id, ids[2]);
}

#[test]
fn what_cannot_be_a_stream_is_refused() {
    let hub = Hub::start(BINARY);
    let problem = |name: &str| json!(format!("urn:tidewire:error:{name}"));
    assert_eq!(status(&hub, "", &[]), (400, problem("topic-missing")));
    assert_eq!(status(&hub, "?topic=", &[]), (400, problem("topic")));
    assert_eq!(status(&hub, "?topic=a&topic=%00", &[]), (400, problem("topic")));
    let many: String = (0..101).map(|n| format!("&topic={n}")).collect();
    assert_eq!(status(&hub, &format!("?{many}"), &[]), (400, problem("matchers")));
    assert_eq!(open(&hub, &many["&topic=0".len()..], &[]).head.status, 200);
    assert_eq!(status(&hub, "?topic=a", &[("accept", "application/json")]), (406, problem("not-acceptable")));
    assert_eq!(status(&hub, "?topic=a&wait=30s", &[]), (406, problem("not-acceptable")));
    assert_eq!(open(&hub, "topic=a&unknown=1", &[]).head.status, 200);
}

#[test]
fn topics_and_types_are_what_was_asked() {
    let hub = Hub::start(BINARY);
    publish(
        &hub,
        &json!([
            {"topic": "a", "data": "0"},
            {"topic": "b", "data": "1", "type": "t"},
            {"topics": ["c", "a"], "data": "2", "type": "t"},
            {"topic": "A", "data": "3"},
            {"topic": "*x", "data": "4"},
        ]),
    );
    assert_begins(open(&hub, "topic=a&from=earliest", &[]), &[0, 2]);
    assert_begins(open(&hub, "topic=a&topic=b&from=earliest", &[]), &[0, 1, 2]);
    assert_begins(open(&hub, "topic=*&type=t&from=earliest", &[]), &[1, 2]);
    assert_begins(open(&hub, "topic=*&type=message&type=t&from=earliest", &[]), &[0, 1, 2, 3, 4]);
    assert_begins(open(&hub, "topic=*x&topic=A&from=earliest", &[]), &[3, 4]);
}

#[test]
fn a_reader_goes_on_after_its_last_id() {
    let hub = Hub::start(BINARY);
    let ids = publish_numbers(&hub, 5);
    let bare = |n: usize| ids[n].trim_start_matches('#').to_owned();
    let coded = |n: usize| format!("%23{}", bare(n));
    let from = |query: String| open(&hub, &format!("topic=a&{query}"), &[]);
    assert_begins(open(&hub, "topic=a", &[("last-event-id", &ids[2])]), &[3, 4]);
    assert_begins(open(&hub, "topic=a", &[("last-event-id", &bare(2))]), &[3, 4]);
    for name in ["last_event_id", "lastEventID", "lastId", "from"] {
        assert_begins(from(format!("{name}={}", coded(2))), &[3, 4]);
        assert_begins(from(format!("{name}={}", bare(2))), &[3, 4]);
    }
    // A header beats a query, the first name that is not empty the others, an id `from`.
    let query = format!("topic=a&last_event_id={}", coded(0));
    assert_begins(open(&hub, &query, &[("last-event-id", &ids[3])]), &[4]);
    assert_begins(open(&hub, &query, &[("last-event-id", "")]), &[1, 2]);
    assert_begins(from(format!("last_event_id=&lastEventID={}&lastId={}", coded(3), coded(0))), &[4]);
    assert_begins(from(format!("from=earliest&lastId={}", coded(3))), &[4]);
    // A publisher's id is a place too.
    assert_begins(open(&hub, "topic=a", &[("last-event-id", "p1")]), &[2, 3]);
    assert_begins(from("from=p1".to_owned()), &[2, 3]);
}

#[test]
fn a_reader_begins_where_it_says() {
    let hub = Hub::start(BINARY);
    publish_numbers(&hub, 5);
    publish(&hub, &json!([{"topic": "other", "data": "x"}]));
    assert_begins(open(&hub, "topic=a&from=earliest", &[]), &[0, 1, 2, 3, 4]);
    assert_begins(open(&hub, "topic=a&from=-2", &[]), &[3, 4]);
    assert_begins(open(&hub, "topic=a&from=-5", &[]), &[0, 1]);
    assert_begins(open(&hub, "topic=a&from=-500", &[]), &[0, 1]);
    for live in ["topic=a", "topic=a&from=latest", "topic=a&from="] {
        let stream = open(&hub, live, &[]);
        publish(&hub, &json!([{"topic": "a", "data": "5"}]));
        assert_begins(stream, &[5]);
    }
}

/// The gap a stream begins with, and its id.
#[track_caller]
fn gap(mut stream: EventStream) -> (String, Value) {
    let event = stream.event().expect("the stream goes on").expect("the stream goes on");
    assert_eq!(event.event_type, "tidewire.gap");
    (event.id, serde_json::from_str(&event.data).expect("a gap is JSON"))
}

#[test]
fn what_cannot_be_a_last_id_is_a_gap_and_never_a_refusal() {
    let hub = Hub::start(BINARY);
    publish_numbers(&hub, 3);
    for id in ["nonsense", "#", "#1-", "#x-1", "1-1-1", &"x".repeat(5_000)] {
        let mut stream = open(&hub, "topic=a", &[("last-event-id", id)]);
        assert_eq!(stream.head.status, 200);
        let event = stream.event().expect("the stream goes on").expect("the stream goes on");
        assert_eq!(event.event_type, "tidewire.gap", "{id}");
        let gap: Value = serde_json::from_str(&event.data).expect("a gap is JSON");
        assert_eq!(gap["reason"], "unknown", "{gap}");
        assert_eq!(gap["requested"], id[..id.len().min(256)], "{gap}");
        assert_eq!(gap["resumed_from"], json!(event.id), "{gap}");
        assert_begins(stream, &[0, 1, 2]);
    }
}

#[test]
fn an_id_from_the_future_is_another_epochs() {
    let hub = Hub::start(BINARY);
    publish_numbers(&hub, 3);
    let future = "#99999999999999-7";
    let (id, said) = gap(open(&hub, "topic=a", &[("last-event-id", future)]));
    assert_eq!(
        (&said["reason"], &said["requested"], &said["resumed_from"]),
        (&json!("epoch"), &json!(future), &json!(id))
    );
    assert_begins(open(&hub, "topic=a", &[("last-event-id", future)]), &[0, 1, 2]);
}

#[test]
fn a_quiet_stream_has_a_heartbeat_and_checkpoints() {
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_HEARTBEAT", "2s")]);
    let mut stream = open(&hub, "topic=a", &[]);
    stream.event().expect("the stream goes on");
    assert!(matches!(stream.item(), Ok(Some(Item::Comment(_)))), "nothing has moved");
    let ids = publish(&hub, &json!([{"topic": "other", "data": "x"}]));
    let checkpoint = stream.event().expect("the stream goes on").expect("the stream goes on");
    assert_eq!((checkpoint.event_type.as_str(), &checkpoint.id), ("tidewire.checkpoint", &ids[0]));
}

#[test]
fn a_request_in_pieces_and_one_behind_another() {
    let hub = Hub::start(BINARY);
    publish_numbers(&hub, 2);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    http.socket().set_nodelay(true).expect("a socket");
    let request = b"GET /api/v1/events?topic=a&from=earliest HTTP/1.1\r\nHost: x\r\n\r\n";
    for byte in &request[..request.len() - 1] {
        http.send_raw(&[*byte]).expect("the hub listens");
    }
    http.send_raw(b"\n").expect("the hub listens");
    assert_eq!(http.receive_head().expect("the hub answers").0, 200);

    // Two requests in one write: the second is answered on the same connection.
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let body = r#"{"topic":"b","data":"x"}"#;
    let post = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http.send_raw(format!("{post}GET /api/v1/events?topic=b&from=earliest HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .expect("the hub listens");
    assert_eq!(http.receive().expect("the hub answers").status, 200);
    assert_eq!(http.receive_head().expect("the hub answers").0, 200);
}

#[test]
fn a_head_that_is_too_large_is_answered() {
    let hub = Hub::start(BINARY);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let long = "x".repeat(70 * 1024);
    // The hub may answer and close before the last byte is written.
    let _ = http.send("GET", "/api/v1/events?topic=a", &[("x-long", &long)], b"");
    assert_eq!(http.receive_head().expect("the hub answers").0, 431);
}

#[test]
fn a_connection_that_loaded_the_page_becomes_a_stream() {
    let hub = Hub::start(BINARY);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let page = http.request("GET", "/", &[], b"").expect("the hub answers");
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|t| t.starts_with("text/html")), "{:?}", page.headers);
    let local = http.socket().local_addr().expect("it is connected");
    for n in 0..3 {
        let body = json!({"topic": "a", "data": n.to_string()}).to_string();
        let headers = [("content-type", "application/json")];
        let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(http.socket().local_addr().expect("it is connected"), local);
    let stream = EventStream::open_on(http, "/api/v1/events?topic=a&from=earliest", &[]).expect("the hub answers");
    assert_eq!(stream.head.status, 200);
    let mut stream = stream;
    for n in 0..3 {
        assert_eq!(stream.published().data, n.to_string());
    }
    publish(&hub, &json!([{"topic": "a", "data": "3"}]));
    assert_eq!(stream.published().data, "3");
}

#[test]
fn a_reader_that_does_not_read_is_closed_and_told_nothing_wrong() {
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_STALL_TIMEOUT", "1s")]);
    let mut stream = open(&hub, "topic=a", &[]);
    let large = "x".repeat(1 << 20);
    for _ in 0..16 {
        publish(&hub, &json!([{"topic": "a", "data": large}]));
    }
    // The story: where the system was the first to give up on the client, nobody counted it.
    let mut admin = Http::connect(hub.admin()).expect("the hub listens");
    wait_until("the stream is closed as stalled", Duration::from_secs(60), || {
        let metrics = admin.request("GET", "/metrics", &[], b"").expect("the hub answers");
        metrics.text().lines().any(|line| line == "tidewire_stalls_total 1")
    });
    // What lies in the kernel's buffers comes, then the end: cut, without a last chunk.
    let mut last = None;
    let end = loop {
        match stream.event() {
            Ok(Some(event)) => last = Some(event.id),
            other => break other,
        }
    };
    assert!(end.is_err(), "{end:?}");
    let again = open(&hub, "topic=a", &[("last-event-id", &last.expect("there was a checkpoint"))]);
    assert_eq!(again.head.status, 200);
    let mut again = again;
    assert_eq!(again.published().data.len(), large.len());
}
