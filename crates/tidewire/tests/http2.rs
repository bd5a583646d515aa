//! The API and its event streams over HTTP/2 without TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{EventStream, Http, Http2, Http2Stream, Hub, wait_until};
use tidewire_sse::Item;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const EVENTS: &str = "/api/v1/events?topic=a";

fn start(settings: &[(&str, &str)]) -> Hub {
    Hub::start_with(BINARY, &["--dev"], settings)
}

fn publish(http: &mut Http2, body: &Value) -> Value {
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_str(&answer.text()).expect("JSON")
}

fn publish_data(http: &mut Http2, data: &str) {
    publish(http, &json!({"topic": "a", "data": data}));
}

/// A stream that has begun.
fn begun(http: &mut Http2) -> Http2Stream {
    let mut stream = http.stream(EVENTS, &[]).expect("it begins");
    assert_eq!(stream.head.status, 200);
    assert_eq!(stream.event().expect("it begins").expect("it begins").event_type, "tidewire.checkpoint");
    stream
}

#[test]
fn one_connection_publishes_watches_and_resumes() {
    let hub = start(&[]);
    let mut http = Http2::connect(hub.address());
    let mut stream = begun(&mut http);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("tidewire-heartbeat", "20"),
    ] {
        assert_eq!(stream.head.header(name), Some(value));
    }
    assert!(stream.head.header("date").is_some() && stream.head.header("transfer-encoding").is_none());
    publish_data(&mut http, "1");
    let first = stream.published();
    assert_eq!(first.data, "1");
    drop(stream);
    publish(
        &mut http,
        &json!([{"topic": "a", "data": "2"}, {"topic": "b", "data": "no"}, {"topic": "a", "data": "3"}]),
    );
    let mut resumed = http.stream(EVENTS, &[("last-event-id", &first.id)]).expect("it begins");
    assert_eq!([resumed.published().data, resumed.published().data], ["2", "3"]);
    // The same ids are on every transport.
    let mut other = EventStream::open(hub.address(), EVENTS, &[("last-event-id", &first.id)]).expect("it begins");
    assert_eq!([other.published().data, other.published().data], ["2", "3"]);
}

#[test]
fn every_route_answers_as_over_http_1() {
    let hub = start(&[]);
    let (mut old, mut new) = (Http::connect(hub.address()).expect("the hub accepts"), Http2::connect(hub.address()));
    let id = publish(&mut new, &json!({"topic": "a", "data": "1"}))["id"].as_str().expect("an id").replace('#', "%23");
    let form = ("content-type", "application/x-www-form-urlencoded");
    for (method, target, headers, body) in [
        ("GET", "/", &[][..], ""),
        ("HEAD", "/", &[], ""),
        ("GET", "/nowhere", &[], ""),
        ("GET", "/api/v1/events", &[], ""),
        ("GET", EVENTS, &[("accept", "text/plain")], ""),
        ("GET", EVENTS, &[], "a body"),
        ("PUT", "/api/v1/events", &[], ""),
        ("POST", "/api/v1/events", &[("content-type", "text/plain")], "{}"),
        ("POST", "/api/v1/events", &[("content-type", "application/json")], "{"),
        ("QUERY", "/api/v1/events", &[form], "colour=red"),
        ("GET", &format!("/api/v1/events/{id}"), &[], ""),
        ("GET", "/api/v1/topics", &[], ""),
        ("GET", "/api/v1/openapi.json", &[], ""),
        ("OPTIONS", "/api/v1/events", &[("origin", "https://a.example"), ("access-control-request-method", "GET")], ""),
    ] {
        let told = |answer: tidewire_harness::Response| {
            let hop_by_hop = ["date", "connection"];
            let mut headers = answer.headers;
            headers.retain(|(name, _)| !hop_by_hop.contains(&name.as_str()));
            headers.sort();
            (answer.status, headers, String::from_utf8(answer.body).expect("text"))
        };
        if method == "HEAD" {
            let answer = new.request(method, target, headers, b"").expect("an answer");
            assert_eq!((answer.status, answer.body.len()), (200, 0));
            assert!(answer.header("content-length").is_some_and(|length| length != "0"));
            continue;
        }
        let over_1 = told(old.request(method, target, headers, body.as_bytes()).expect("an answer"));
        let over_2 = told(new.request(method, target, headers, body.as_bytes()).expect("an answer"));
        assert_eq!(over_1, over_2, "{method} {target}");
    }
    let mut stream = new.stream("/api/v1/events?topic=a&from=earliest", &[]).expect("it begins");
    assert_eq!(stream.published().data, "1");
    let asked = new.send("QUERY", "/api/v1/events", &[form], b"topic=a&from=earliest").expect("it is sent");
    assert_eq!(new.receive_stream(asked).expect("it begins").published().data, "1");
    let refused = new.request("GET", EVENTS, &[("host", "elsewhere")], b"").expect("an answer");
    assert_eq!(refused.status, 400, "two hosts");
}

#[test]
fn a_hundred_streams_on_one_connection_have_every_event_in_order() {
    let hub = start(&[("TIDEWIRE_SHARDS", "2")]);
    let mut http = Http2::connect(hub.address());
    let mut streams: Vec<Http2Stream> = (0..100).map(|_| begun(&mut http)).collect();
    assert_eq!(hub.figure("tidewire_streams"), 100);
    for n in 0..20 {
        publish_data(&mut http, &n.to_string());
    }
    for stream in &mut streams {
        for n in 0..20 {
            assert_eq!(stream.published().data, n.to_string());
        }
    }
}

/// The window of one stream is shut, and others go on; it has everything once it is read.
#[test]
fn a_slow_stream_keeps_no_other_waiting() {
    let hub = start(&[]);
    let mut http = Http2::connect(hub.address());
    let (mut slow, mut fast) = (begun(&mut http), begun(&mut http));
    let data = "x".repeat(100_000);
    for n in 0..20 {
        publish_data(&mut http, &format!("{n} {data}"));
        assert_eq!(fast.published().data, format!("{n} {data}"));
    }
    for n in 0..20 {
        assert_eq!(slow.published().data, format!("{n} {data}"));
    }
}

#[test]
fn a_stream_whose_window_never_opens_is_closed_and_the_others_are_not() {
    let hub = start(&[("TIDEWIRE_STALL_TIMEOUT", "3s"), ("TIDEWIRE_HEARTBEAT", "2s")]);
    let mut http = Http2::connect(hub.address());
    let (mut stuck, mut other) = (begun(&mut http), begun(&mut http));
    for n in 0..10 {
        publish_data(&mut http, &format!("{n} {}", "x".repeat(50_000)));
        other.published();
    }
    wait_until("it is closed", WITHIN, || hub.figure("tidewire_streams") == 1);
    assert_eq!(hub.figure("tidewire_stalls_total"), 1);
    publish_data(&mut http, "still here");
    assert_eq!(other.published().data, "still here");
    // It was broken off, and not ended.
    let error = std::iter::repeat_with(|| stuck.event()).find_map(|event| match event {
        Ok(Some(_)) => None,
        ended => Some(ended),
    });
    assert!(matches!(error, Some(Err(error)) if error.reason() == Some(h2::Reason::CANCEL)));
}

#[test]
fn a_client_that_resets_a_stream_has_left_and_a_connection_that_ends_takes_its_streams_with_it() {
    let hub = start(&[]);
    let mut http = Http2::connect(hub.address());
    let mut streams: Vec<Http2Stream> = (0..10).map(|_| begun(&mut http)).collect();
    let _other = EventStream::open(hub.address(), EVENTS, &[]).expect("it begins");
    let figures = || (hub.figure("tidewire_streams"), hub.figure("tidewire_transport_streams{transport=\"sse-h2\"}"));
    wait_until("all are counted", WITHIN, || figures() == (11, 10));
    streams.truncate(7);
    wait_until("three have left", WITHIN, || figures() == (8, 7));
    drop((http, streams));
    wait_until("all have left", WITHIN, || figures() == (1, 0));
}

#[test]
fn beyond_max_streams_is_the_same_problem_and_the_connection_stays() {
    let hub = start(&[("TIDEWIRE_MAX_STREAMS", "3")]);
    let mut http = Http2::connect(hub.address());
    let mut streams: Vec<Http2Stream> = (0..3).map(|_| begun(&mut http)).collect();
    let refused = http.request("GET", EVENTS, &[], b"").expect("an answer");
    let problem: Value = serde_json::from_str(&refused.text()).expect("a problem document");
    assert_eq!((refused.status, &problem["type"]), (503, &json!("urn:tidewire:error:streams")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    streams.pop();
    wait_until("one has left", WITHIN, || hub.figure("tidewire_streams") == 2);
    begun(&mut http);
}

#[test]
fn heartbeats_come_and_keep_the_place() {
    let hub = start(&[("TIDEWIRE_HEARTBEAT", "2s")]);
    let mut http = Http2::connect(hub.address());
    let mut stream = begun(&mut http);
    while stream.item().expect("it goes on") != Some(Item::Comment(String::new())) {}
    publish(&mut http, &json!({"topic": "b", "data": "not mine"}));
    let checkpoint = stream.event().expect("it goes on").expect("it goes on");
    assert_eq!(checkpoint.event_type, "tidewire.checkpoint");
}

#[test]
fn an_event_of_a_mebibyte_comes_whole() {
    let hub = start(&[]);
    let mut http = Http2::connect(hub.address());
    let mut stream = begun(&mut http);
    let data: String = (0..1 << 20).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    publish_data(&mut http, &data);
    assert!(stream.published().data == data, "it is another");
}

#[test]
fn what_is_older_than_the_tail_is_read_from_disk() {
    let hub = start(&[("TIDEWIRE_TAIL_BYTES", "64KiB")]);
    let mut http = Http2::connect(hub.address());
    let data = "x".repeat(1_000);
    for first in (0..2_000).step_by(500) {
        let event = |n| json!({"topic": if n % 2 == 0 { "a" } else { "b" }, "data": format!("{n} {data}")});
        publish(&mut http, &(first..first + 500).map(event).collect());
    }
    let mut stream = http.stream("/api/v1/events?topic=a&from=earliest", &[]).expect("it begins");
    for n in (0..2_000).step_by(2) {
        assert_eq!(stream.published().data, format!("{n} {data}"));
    }
    publish_data(&mut http, "live");
    assert_eq!(stream.published().data, "live");
    assert!(hub.figure("tidewire_catch_up_reads_total") > 10);
}

#[test]
fn streams_are_listed_with_their_address_and_ended_by_their_id() {
    let hub = start(&[]);
    let mut http = Http2::connect(hub.address());
    let mut stream = begun(&mut http);
    let list = |http: &mut Http2| -> Value {
        let answer = http.request("GET", "/api/v1/connections", &[], b"").expect("an answer");
        serde_json::from_str(&answer.text()).expect("JSON")
    };
    let listed = list(&mut http);
    let connection = &listed["connections"][0];
    assert_eq!(connection["transport"], "sse-h2", "{listed}");
    assert!(connection["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{listed}");
    let target = format!("/api/v1/connections/{}", connection["id"].as_str().expect("an id"));
    assert_eq!(http.request("DELETE", &target, &[], b"").expect("an answer").status, 204);
    assert!(stream.event().expect("it ends well").is_none());
    assert_eq!(list(&mut http)["connections"], json!([]));
}

/// Bytes, as a client writes them that knows what it wants.
fn raw(hub: &Hub, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(hub.address()).expect("the hub accepts");
    socket.set_read_timeout(Some(WITHIN)).expect("a timeout");
    socket.write_all(bytes).expect("it is read");
    let mut answer = vec![0; 4_096];
    let length = socket.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[test]
fn other_versions_and_forms_are_answered_as_before() {
    let hub = start(&[]);
    // An upgrade to HTTP/2 is not what it was (RFC 9113, section 3.1): it is passed over.
    let upgrade = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    for (request, answer) in [
        (format!("GET {EVENTS} HTTP/1.1\r\nhost: hub\r\n{upgrade}\r\n"), "HTTP/1.1 200 OK\r\n"),
        (format!("GET / HTTP/1.1\r\nhost: hub\r\n{upgrade}\r\n"), "HTTP/1.1 200 OK\r\n"),
        (format!("GET {EVENTS} HTTP/1.0\r\n\r\n"), "HTTP/1.0 505 "),
        (format!("GET http://hub{EVENTS} HTTP/1.1\r\nhost: hub\r\n\r\n"), "HTTP/1.1 200 OK\r\n"),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("PRI * HTTP/1.1\r\nhost: hub\r\n\r\n".to_owned(), "HTTP/1.1 4"),
    ] {
        let answered = raw(&hub, request.as_bytes());
        assert!(answered.starts_with(answer), "{request:?} is answered by {answered:?}");
    }
}
