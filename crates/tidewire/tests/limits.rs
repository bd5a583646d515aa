//! One more than a limit: who it is is told so, by which limit, and by a figure; everyone else is served.

use tidewire_harness::{EventStream, Http, Hub, Response, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: std::time::Duration = std::time::Duration::from_secs(60);
const STREAM: &str = "/api/v1/events?topic=a";

fn connect(hub: &Hub) -> Http {
    Http::connect(hub.address()).expect("the hub accepts")
}

/// A refusal says which limit it was, and when to come again; it is counted by its name.
#[track_caller]
fn assert_refused(hub: &Hub, answer: &Response, status: u16, name: &str, key: &str) {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["status"]), (status, &status.into()), "{problem}");
    assert_eq!(problem["type"], format!("urn:tidewire:error:{name}"));
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(key)), "{problem}");
    assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok()), "{:?}", answer.headers);
    assert!(hub.figure(&format!("tidewire_problems_total{{problem=\"{name}\"}}")) > 0);
    assert!(hub.figure(&format!("tidewire_limits_passed_total{{limit=\"{key}\"}}")) > 0);
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
    assert_eq!(hub.figure("tidewire_streams"), 3);
    drop(streams.pop());
    wait_until("its place is free", WITHIN, || hub.figure("tidewire_streams") == 2);
    streams.push(open());
}
