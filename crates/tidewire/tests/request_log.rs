//! A line for each request and two for each stream, where they are asked for.

use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{EventStream, Http, Http2, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long a line may take to come, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const JSON: (&str, &str) = ("content-type", "application/json");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn start(arguments: &[&str]) -> Hub {
    Hub::start_with(BINARY, &[&["--dev", "--log-format", "json"], arguments].concat(), &[])
}

/// What was told of requests: the fields of each line.
fn lines(hub: &Hub) -> Vec<Value> {
    let told = hub.told();
    let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"));
    let mut lines: Vec<Value> = lines.filter(|line| line["target"] == "tidewire::requests").collect();
    lines.iter_mut().map(|line| line["fields"].take()).collect()
}

/// The only line that says this, once it is there.
#[track_caller]
fn line(hub: &Hub, message: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut found = Vec::new();
    wait_until(message, WITHIN, || {
        found = lines(hub);
        found.retain(|line| line["message"] == message && is_it(line));
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

fn client(http: &Http) -> Value {
    http.socket().local_addr().expect("an address").to_string().into()
}

#[test]
fn a_request_has_a_line_and_a_stream_one_where_it_begins_and_one_where_it_ends() {
    let hub = start(&["--request-log", "all", "--log-level", "error"]);
    let target = "/api/v1/events?topic=a&access_token=s3cret&authorization=s3cret";
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let http = Http::connect(hub.address()).expect("the hub accepts");
    let reader = client(&http);
    let mut stream = EventStream::open_on(http, target, &[("traceparent", &traceparent)]).expect("it answers");
    let begun = line(&hub, "stream begun", |_| true);
    assert_eq!((&begun["method"], &begun["client"], &begun["trace_id"]), (&"GET".into(), &reader, &TRACE.into()));
    assert_eq!(begun["path"], "/api/v1/events?topic=a&access_token=***&authorization=***");

    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    let body = json!([{"topic": "a", "data": 1}, {"topic": "a", "data": 2}, {"topic": "b", "data": 3}]).to_string();
    let answer = http.request("POST", "/api/v1/events", &[JSON, ("traceparent", &traceparent)], body.as_bytes());
    let answer = answer.expect("it answers");
    let published = line(&hub, "answered", |line| line["method"] == "POST");
    assert_eq!((&published["path"], &published["status"]), (&"/api/v1/events".into(), &200.into()), "{published}");
    assert_eq!((&published["client"], &published["trace_id"]), (&client(&http), &TRACE.into()), "{published}");
    assert_eq!(published["bytes"], answer.body.len());
    assert!(published["milliseconds"].as_f64().is_some_and(|took| took > 0.0), "{published}");

    let refused = http.request("POST", "/api/v1/events", &[JSON], b"{").expect("it answers");
    let told = line(&hub, "answered", |line| line["status"] == 400);
    assert_eq!((&told["problem"], &told["bytes"]), (&"json".into(), &refused.body.len().into()), "{told}");

    stream.published();
    stream.published();
    drop(stream);
    let ended = line(&hub, "stream ended", |_| true);
    assert_eq!((&ended["id"], &ended["why"], &ended["deliveries"]), (&begun["id"], &"client".into(), &2.into()));
    assert!(!hub.told().contains("s3cret"), "{}", hub.told());
}

/// A stream over HTTP/2, or on a connection that was used before, is asked for elsewhere than on its shard.
#[test]
fn a_stream_that_comes_to_a_shard_from_elsewhere_has_a_line_as_a_request_too() {
    let hub = start(&["--request-log", "all"]);
    let mut http2 = Http2::connect(hub.address());
    let mut over_http2 = http2.stream("/api/v1/events?topic=a&access_token=s3cret", &[]).expect("it answers");
    over_http2.event().expect("it begins");
    let asked = line(&hub, "stream asked for", |_| true);
    assert_eq!(asked["path"], "/api/v1/events?topic=a&access_token=***");
    let begun = line(&hub, "stream begun", |_| true);
    assert_eq!(begun["client"], asked["client"]);
    assert_eq!(hub.figure("tidewire_transport_streams{transport=\"sse-h2\"}"), 1);
    let refused = http2.request("GET", "/api/v1/events", &[], b"").expect("it answers");
    assert_eq!(refused.status, 400);
    line(&hub, "answered", |line| line["problem"] == "topic-missing");
    drop((over_http2, http2));
    assert_eq!(line(&hub, "stream ended", |line| line["id"] == begun["id"])["why"], "client");

    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    assert_eq!(http.request("GET", "/", &[], b"").expect("it answers").status, 200);
    let client = client(&http);
    let _stream = EventStream::open_on(http, "/api/v1/events?topic=b", &[]).expect("it answers");
    line(&hub, "stream asked for", |line| line["path"] == "/api/v1/events?topic=b" && line["client"] == client);
    line(&hub, "stream begun", |line| line["client"] == client);
    assert!(!hub.told().contains("s3cret"), "{}", hub.told());
}

#[test]
fn what_a_shard_refuses_and_what_ends_a_stream_is_told() {
    let hub = start(&["--request-log", "all", "--max-streams", "1"]);
    let stream = EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("it answers");
    let http = Http::connect(hub.address()).expect("the hub accepts");
    let second = client(&http);
    let refused = EventStream::open_on(http, "/api/v1/events?topic=a", &[]).expect("it answers");
    assert_eq!(refused.head.status, 503);
    let told = line(&hub, "refused", |line| line["problem"] == "streams");
    assert_eq!((&told["status"], &told["client"]), (&503.into(), &second), "{told}");
    let mut nonsense = Http::connect(hub.address()).expect("the hub accepts");
    nonsense.send_raw(b"nonsense\r\n\r\n").expect("sent");
    assert_eq!(nonsense.receive().expect("it answers").status, 400);
    line(&hub, "refused", |line| line["problem"] == "head");

    let begun = line(&hub, "stream begun", |_| true);
    let target = format!("/api/v1/connections/{}", begun["id"].as_str().expect("an id"));
    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    assert_eq!(http.request("DELETE", &target, &[], b"").expect("it answers").status, 204);
    let ended = line(&hub, "stream ended", |line| line["id"] == begun["id"]);
    assert_eq!((&ended["why"], &ended["deliveries"]), (&"order".into(), &0.into()), "{ended}");
    drop(stream);
}

#[test]
fn a_stop_is_what_ends_a_stream_then() {
    let mut hub = start(&["--request-log", "all"]);
    let _stream = EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("it answers");
    line(&hub, "stream begun", |_| true);
    assert!(hub.terminate().success());
    assert_eq!(line(&hub, "stream ended", |_| true)["why"], "stop");
}

#[test]
fn only_what_is_refused_is_told_where_that_is_asked_and_nothing_where_nothing_is() {
    for (logging, told) in [("refused", 1), ("none", 0)] {
        let hub = start(&["--request-log", logging]);
        let mut http = Http::connect(hub.address()).expect("the hub accepts");
        let publish = |http: &mut Http, body: &[u8]| http.request("POST", "/api/v1/events", &[JSON], body);
        assert_eq!(publish(&mut http, b"{\"topic\": \"a\", \"data\": 1}").expect("it answers").status, 200);
        drop(EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("it answers"));
        assert_eq!(publish(&mut http, b"{").expect("it answers").status, 400);
        // Told before it is answered, as this one would be.
        assert_eq!(publish(&mut http, b"{\"topic\": \"a\", \"data\": 1}").expect("it answers").status, 200);
        if told > 0 {
            line(&hub, "answered", |line| line["status"] == 400);
        }
        assert_eq!(lines(&hub).len(), told, "{}", hub.told());
    }
}
