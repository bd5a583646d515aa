//! One more than a limit: who it is is told so, by which limit, and by a figure; everyone else is served.

use std::time::Duration;

use tidewire_harness::{EventStream, Http, Http2, Hub, Response, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
/// How long a body may keep others waiting, beside a build: much less than `head_timeout`.
const LATE: Duration = Duration::from_secs(20);
const STREAM: &str = "/api/v1/events?topic=a";

fn connect(hub: &Hub) -> Http {
    Http::connect(hub.address()).expect("the hub accepts")
}

/// A refusal says which limit it was, and when to come again; it is counted by its name.
#[track_caller]
fn assert_refused(hub: &Hub, answer: &Response, status: u16, name: &str, key: &str) {
    assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok()), "{:?}", answer.headers);
    assert_beyond(hub, answer, (status, name), key, key);
}

/// The same where to come again makes no difference.
#[track_caller]
fn assert_beyond(hub: &Hub, answer: &Response, (status, name): (u16, &str), said: &str, limit: &str) {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["status"]), (status, &status.into()), "{problem}");
    assert_eq!(problem["type"], format!("urn:tidewire:error:{name}"));
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{problem}");
    assert!(hub.figure(&format!("tidewire_problems_total{{problem=\"{name}\"}}")) > 0);
    assert!(hub.figure(&format!("tidewire_limits_passed_total{{limit=\"{limit}\"}}")) > 0);
}

#[test]
fn requests_on_a_connection() {
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_CONNECTION_REQUESTS", "3")]);
    let mut http = connect(&hub);
    for number in 1..=3 {
        let answer = http.request("GET", "/api/v1/topics", &[], b"").expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, (number == 3).then_some("close")), "{number}");
    }
    assert!(http.is_closed().expect("it is closed"));
    assert_eq!(hub.figure("tidewire_connections_used_up_total"), 1);
    // Of those that come at once, three are answered; and a stream may be the last.
    let mut http = connect(&hub);
    for _ in 0..5 {
        http.send("GET", "/nothing", &[], b"").expect("the hub reads");
    }
    for _ in 0..3 {
        assert_eq!(http.receive().expect("an answer").status, 404);
    }
    assert!(http.is_closed().expect("it is closed"));
    let mut http = connect(&hub);
    for _ in 0..2 {
        assert_eq!(http.request("GET", "/nothing", &[], b"").expect("an answer").status, 404);
    }
    let mut stream = EventStream::open_on(http, STREAM, &[]).expect("a stream");
    assert_eq!(stream.head.status, 200);
    stream.event().expect("it begins").expect("it begins");
}

#[test]
fn requests_on_a_connection_of_http_2() {
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_CONNECTION_REQUESTS", "3")]);
    let mut http = Http2::connect(hub.address());
    for _ in 0..2 {
        assert_eq!(http.request("GET", "/nothing", &[], b"").expect("an answer").status, 404);
    }
    // What is under way is finished.
    let mut stream = http.stream(STREAM, &[]).expect("it begins");
    assert_eq!(stream.head.status, 200);
    assert_eq!(hub.figure("tidewire_connections_used_up_total"), 1);
    let body = br#"{"topic":"a","data":"x"}"#;
    let json = [("content-type", "application/json")];
    assert_eq!(connect(&hub).request("POST", "/api/v1/events", &json, body).expect("an answer").status, 200);
    assert_eq!(stream.published().data, "x");
    drop(stream);
    assert_eq!(http.ended(), None, "it ends, and nothing is wrong");
}

#[test]
fn streams_of_an_address() {
    let settings = [("TIDEWIRE_MAX_STREAMS_PER_ADDRESS", "3"), ("TIDEWIRE_SHARDS", "2")];
    let hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let open = || EventStream::open(hub.address(), STREAM, &[]).expect("a stream");
    let mut streams: Vec<EventStream> = (0..3).map(|_| open()).collect();
    // On a connection of its own, and on one that hyper had.
    for requests_before in [0, 1] {
        let mut http = connect(&hub);
        for _ in 0..requests_before {
            assert_eq!(http.request("GET", "/api/v1/topics", &[], b"").expect("an answer").status, 200);
        }
        let answer = http.request("GET", STREAM, &[], b"").expect("an answer");
        assert_refused(&hub, &answer, 429, "streams-per-address", "max_streams_per_address");
    }
    let refused = Http2::connect(hub.address()).request("GET", STREAM, &[], b"").expect("an answer");
    assert_refused(&hub, &refused, 429, "streams-per-address", "max_streams_per_address");
    assert_eq!(hub.figure("tidewire_streams"), 3);
    drop(streams.pop());
    wait_until("its place is free", WITHIN, || hub.figure("tidewire_streams") == 2);
    let mut http = Http2::connect(hub.address());
    let stream = http.stream(STREAM, &[]).expect("it begins");
    assert_eq!(stream.head.status, 200);
    assert_refused(
        &hub,
        &connect(&hub).request("GET", STREAM, &[], b"").expect("an answer"),
        429,
        "streams-per-address",
        "max_streams_per_address",
    );
    drop((stream, http));
    wait_until("its place is free", WITHIN, || hub.figure("tidewire_streams") == 2);
    streams.push(open());
}

/// A publisher or reader who announces so much, and then says nothing.
fn slow_body(hub: &Hub, method: &str, media_type: &str, bytes: usize) -> Http {
    let mut http = connect(hub);
    let fields = format!("host: hub\r\ncontent-type: {media_type}\r\ncontent-length: {bytes}\r\n");
    http.send_raw(format!("{method} /api/v1/events HTTP/1.1\r\n{fields}\r\n").as_bytes()).expect("the hub reads");
    // All but the last byte, as far as the hub takes it.
    let _ = http.send_raw(&vec![b'"'; bytes - 1]);
    http
}

#[test]
fn bodies_in_flight() {
    const BODY: usize = 1 << 20;
    let settings = [
        ("TIDEWIRE_BODY_BYTES", "1MiB"),
        ("TIDEWIRE_BODIES_IN_FLIGHT_BYTES", "2MiB"),
        // Whoever keeps others from being read has less.
        ("TIDEWIRE_HEAD_TIMEOUT", "1min"),
    ];
    let hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let held = || hub.figure("tidewire_bodies_in_flight_bytes");
    let json = [("content-type", "application/json")];
    let publish =
        || connect(&hub).request("POST", "/api/v1/events", &json, br#"{"topic":"a","data":"x"}"#).expect("an answer");
    assert_eq!(publish().status, 200);
    // One alone is waited for.
    let alone = slow_body(&hub, "POST", "application/json", BODY);
    wait_until("it is under way", WITHIN, || held() == BODY as u64 - 1);
    std::thread::park_timeout(Duration::from_millis(2_500));
    assert_eq!(held(), BODY as u64 - 1);
    drop(alone);
    wait_until("its part is free", WITHIN, || held() == 0);
    // Two are not, beside which nobody else is read.
    let refused = (0..100).find_map(|_| {
        let _slow = [
            slow_body(&hub, "POST", "application/json", BODY),
            slow_body(&hub, "QUERY", "application/x-www-form-urlencoded", BODY),
        ];
        wait_until("they are under way", WITHIN, || held() > BODY as u64);
        let answer = publish();
        // One at least, after which there is room.
        wait_until("they are late", LATE, || held() <= BODY as u64);
        (answer.status != 200).then_some(answer)
    });
    let refused = refused.expect("one of a hundred is there while they are");
    assert_refused(&hub, &refused, 503, "bodies-in-flight", "bodies_in_flight_bytes");
    assert_eq!(publish().status, 200);
}

/// What an event costs those who watch by regular expressions grows with these and with its topics.
#[test]
fn regular_expressions_of_a_stream_and_topics_of_an_event() {
    let hub = Hub::start(BINARY);
    let small = |number: usize| format!("/a{number}/:x(b%7Cc)");
    let large = |number: usize| format!("/a{number}/:x((?:a%7Cb)*a(?:a%7Cb)%7B80%7Dc)");
    let watch = |pattern: &dyn Fn(usize) -> String, count: usize| {
        let query: String =
            (0..count).map(|number| format!("&pattern={}", pattern(number).replace('+', "%2B"))).collect();
        let mut http = connect(&hub);
        http.send("GET", &format!("{STREAM}{query}"), &[], b"").expect("the hub reads");
        let (status, headers) = http.receive_head().expect("an answer");
        let head = Response { status, headers, body: Vec::new() };
        if status == 200 { head } else { http.receive_body(status, head.headers).expect("an answer") }
    };
    let patterns: [(&dyn Fn(usize) -> String, usize); 2] = [(&small, 5), (&large, 2)];
    for (pattern, most) in patterns {
        assert_eq!(watch(pattern, most).status, 200);
        assert_beyond(&hub, &watch(pattern, most + 1), (400, "matchers"), "1000", "matcher_weight");
    }
    let json = [("content-type", "application/json")];
    let publish = |last: usize| {
        let topics =
            [&"a".repeat(4_096), &"b".repeat(4_096), &"c".repeat(4_096), &"d".repeat(4_095), &"e".repeat(last)];
        let body = serde_json::json!({"topics": topics, "data": "x"}).to_string();
        connect(&hub).request("POST", "/api/v1/events", &json, body.as_bytes()).expect("an answer")
    };
    assert_eq!(publish(1).status, 200);
    assert_beyond(&hub, &publish(2), (413, "event-topics"), "16384", "event_topics_bytes");
}
