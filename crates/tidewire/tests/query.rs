//! Streams that are asked for with `QUERY`: the parameters are in a form, which may be longer than any head.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{EventStream, Http, Hub, Response, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const PATH: &str = "/api/v1/events";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
/// As many as a stream may have.
const TOPICS: usize = 100;
const WITHIN: Duration = Duration::from_secs(60);

fn connect(hub: &Hub) -> Http {
    Http::connect(hub.address()).expect("the hub listens")
}

fn publish(hub: &Hub, topic: &str, data: &str) -> String {
    let body = json!({"topic": topic, "data": data}).to_string();
    let json = [("content-type", "application/json")];
    let answer = connect(hub).request("POST", PATH, &json, body.as_bytes()).expect("the hub answers");
    answer.json()["id"].as_str().expect("it is published").to_owned()
}

/// A topic that is longer than what a head has room for once there are a hundred.
fn long_topic(n: usize) -> String {
    format!("{n}/{}", "x".repeat(2_000))
}

fn form(topics: usize) -> String {
    (0..topics).fold(String::new(), |mut form, n| {
        write!(form, "topic={}&", long_topic(n).replace('/', "%2F")).expect("a String takes it");
        form
    })
}

fn open(hub: &Hub, target: &str, headers: &[(&str, &str)], form: &str) -> EventStream {
    let mut http = connect(hub);
    http.send("QUERY", target, &[&[FORM], headers].concat(), form.as_bytes()).expect("the hub reads");
    let stream = EventStream::receive_on(http).expect("the hub answers");
    assert_eq!(stream.head.status, 200, "{target}");
    stream
}

fn refused(hub: &Hub, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let answer = connect(hub).request("QUERY", target, headers, body).expect("the hub answers");
    problem(&answer)
}

fn problem(answer: &Response) -> (u16, String) {
    let name = answer.json()["type"].as_str().expect("a problem").replace("urn:tidewire:error:", "");
    (answer.status, name)
}

#[test]
fn a_form_may_name_more_than_a_head_has_room_for() {
    let hub = Hub::start(BINARY);
    let all = form(TOPICS);
    assert!(all.len() > 128 * 1024, "{} bytes", all.len());
    let first = publish(&hub, &long_topic(0), "before");
    let mut stream = open(&hub, PATH, &[], &all);
    publish(&hub, "none of them", "not this");
    let last = TOPICS - 1;
    publish(&hub, &long_topic(last), "live");
    assert_eq!(stream.published().data, "live");
    drop(stream);
    publish(&hub, &long_topic(1), "missed");
    // A reader goes on by the header, by the URL or by the form.
    let id = first.trim_start_matches('#');
    for (target, headers, form) in [
        (PATH.to_owned(), &[("last-event-id", &*first)][..], all.clone()),
        (format!("{PATH}?last_event_id={id}"), &[], all.clone()),
        (PATH.to_owned(), &[], format!("{all}last_event_id={id}")),
        (format!("{PATH}?last_event_id={id}"), &[], format!("{all}last_event_id=earliest")),
    ] {
        let mut stream = open(&hub, &target, headers, &form);
        assert_eq!([stream.published().data, stream.published().data], ["live", "missed"]);
    }
    let one_more = [(400, "matchers".to_owned()), (400, "query".to_owned())];
    assert_eq!(refused(&hub, PATH, &[FORM], form(TOPICS + 1).as_bytes()), one_more[0]);
    assert_eq!(refused(&hub, PATH, &[FORM], "topic=a&".repeat(1_001).as_bytes()), one_more[1]);
}

#[test]
fn parameters_are_those_of_the_url_and_of_the_form() {
    let hub = Hub::start(BINARY);
    let body = "pattern=%2Fb%2F*&type=t&colour=red";
    let mut stream = open(&hub, &format!("{PATH}?topic=a&type=message"), &[], body);
    for (topic, data) in [("c", "neither"), ("a", "of the URL"), ("/b/1", "of the form")] {
        publish(&hub, topic, data);
    }
    assert_eq!([stream.published().data, stream.published().data], ["of the URL", "of the form"]);
    // Either may be empty.
    open(&hub, &format!("{PATH}?topic=a"), &[("content-length", "0")], "");
    open(&hub, PATH, &[], "topic=a");
}

/// Headers, a form, and the status and problem that they are answered with.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], (u16, &'a str));

#[test]
fn what_is_no_form_or_no_stream_is_refused_as_documented_and_the_connection_goes_on() {
    let hub =
        Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_BODY_BYTES", "64KiB"), ("TIDEWIRE_EVENT_BYTES", "1KiB")]);
    let plain = [("content-type", "text/plain")];
    let packed = [FORM, ("content-encoding", "gzip")];
    let json = [FORM, ("accept", "application/json")];
    let cases: [Case<'_>; 10] = [
        (&plain, b"topic=a", (415, "media-type")),
        (&[], b"topic=a", (415, "media-type")),
        (&packed, b"topic=a", (415, "content-encoding")),
        (&json, b"topic=a", (406, "not-acceptable")),
        (&[FORM], b"topic=\xff", (400, "query")),
        (&[FORM], b"topic=%FF", (400, "query")),
        (&[FORM], b"colour=red", (400, "topic-missing")),
        (&[FORM], b"topic=%0A", (400, "topic")),
        (&[FORM], b"pattern=/(", (400, "pattern")),
        (&[FORM], b"topic=a&wait=5s", (406, "not-acceptable")),
    ];
    let mut http = connect(&hub);
    for (headers, body, (status, name)) in cases {
        let answer = http.request("QUERY", PATH, headers, body).expect("the connection goes on");
        assert_eq!(problem(&answer), (status, name.to_owned()), "{headers:?} {:?}", String::from_utf8_lossy(body));
    }
    http.send("QUERY", PATH, &[FORM], b"topic=a").expect("the connection goes on");
    assert_eq!(http.receive_head().expect("a stream").0, 200);
    // One byte more than there may be, with its length and without.
    let fits = format!("topic=a&x={}", "x".repeat(64 * 1024 - 10));
    open(&hub, PATH, &[], &fits);
    assert_eq!(refused(&hub, PATH, &[FORM], format!("{fits}x").as_bytes()), (413, "body-bytes".to_owned()));
    let mut http = connect(&hub);
    let chunk = format!("{:x}\r\n{fits}x\r\n0\r\n\r\n", fits.len() + 1);
    http.send("QUERY", PATH, &[FORM, ("transfer-encoding", "chunked")], b"").expect("the hub reads");
    http.send_raw(chunk.as_bytes()).expect("the hub reads");
    assert_eq!(problem(&http.receive().expect("the hub answers")), (413, "body-bytes".to_owned()));
    // Elsewhere nothing takes the method.
    let answer = connect(&hub).request("QUERY", "/api/v1/topics", &[FORM], b"topic=a").expect("the hub answers");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_form_may_come_in_chunks_after_a_pause_and_with_a_request_behind_it() {
    let hub = Hub::start(BINARY);
    let behind = "DELETE /api/v1/topics/a HTTP/1.1\r\nhost: hub\r\n\r\n";
    publish(&hub, "a", "kept");
    let mut http = connect(&hub);
    http.send("QUERY", PATH, &[FORM, ("transfer-encoding", "chunked")], b"").expect("the hub reads");
    for part in ["4\r\ntopi\r\n", "3\r\nc=a\r\n", "e\r\n&from=earliest\r\n"] {
        http.send_raw(part.as_bytes()).expect("the hub reads");
    }
    http.send_raw(format!("0\r\n\r\n{behind}").as_bytes()).expect("the hub reads");
    let mut stream = EventStream::receive_on(http).expect("the hub answers");
    assert_eq!(stream.published().data, "kept");

    let mut http = connect(&hub);
    let length = [FORM, ("content-length", "21"), ("expect", "100-continue")];
    http.send("QUERY", PATH, &length, b"").expect("the hub reads");
    assert_eq!(http.receive_head().expect("the hub answers").0, 100);
    http.send_raw(format!("topic=a&from=earliest{behind}").as_bytes()).expect("the hub reads");
    let mut other = EventStream::receive_on(http).expect("the hub answers");
    assert_eq!((other.head.status, other.published().data.as_str()), (200, "kept"));

    // What came behind is taken for nothing: the topic is still there.
    publish(&hub, "a", "and this");
    assert_eq!([stream.published().data, other.published().data], ["and this", "and this"]);
    // Who is refused by the head alone is not asked for the rest.
    let mut http = connect(&hub);
    let wrong = [("content-type", "text/plain"), ("content-length", "7"), ("expect", "100-continue")];
    http.send("QUERY", PATH, &wrong, b"").expect("the hub reads");
    assert_eq!(problem(&http.receive().expect("the hub answers")), (415, "media-type".to_owned()));
}

#[test]
fn http_1_0_is_told_that_it_cannot_have_a_stream() {
    let hub = Hub::start(BINARY);
    let mut http = connect(&hub);
    let head = format!("QUERY {PATH} HTTP/1.0\r\n{}: {}\r\ncontent-length: 7\r\n\r\ntopic=a", FORM.0, FORM.1);
    http.send_raw(head.as_bytes()).expect("the hub reads");
    assert_eq!(problem(&http.receive().expect("the hub answers")), (505, "http-version".to_owned()));
}

#[test]
fn a_token_is_asked_for_before_the_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key").display().to_string();
    let made = std::process::Command::new(BINARY).args(["token", "new-key", &key]).status();
    assert!(made.expect("the binary runs").success());
    let hub = Hub::start_with(BINARY, &["--key-file", &key, "--public-url", "https://hub.example"], &[]);
    let mut http = connect(&hub);
    let length = [FORM, ("content-length", "7"), ("expect", "100-continue")];
    http.send("QUERY", PATH, &length, b"").expect("the hub reads");
    assert_eq!(problem(&http.receive().expect("the hub answers")), (401, "token-missing".to_owned()));
}

/// Whichever shards they come to, each gets its own, and none stays with those who serve requests.
#[test]
fn streams_by_form_go_to_all_shards_and_leave_the_places_of_connections() {
    let settings = [("TIDEWIRE_SHARDS", "3"), ("TIDEWIRE_MAX_CONNECTIONS", "8")];
    let hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let free = || hub.figure("tidewire_connection_places_free");
    let mut streams: Vec<EventStream> =
        (0..60).map(|n| open(&hub, PATH, &[], &format!("topic=all&topic=t{n}"))).collect();
    wait_until("they do not leave their places", WITHIN, || free() == 8);
    assert_eq!(hub.figure("tidewire_connections_adopted_total"), 60);
    assert_eq!(hub.figure("tidewire_streams"), 60);
    let page = connect(&hub).request("GET", "/api/v1/connections?limit=100", &[], b"").expect("the hub answers").json();
    let ids = page["connections"].as_array().expect("a list").iter().map(|it| it["id"].as_str().expect("an id"));
    let shards: BTreeSet<&str> = ids.filter_map(|id| id.split('-').next()).collect();
    assert_eq!(shards.len(), 3, "{shards:?}");
    for n in 0..60 {
        publish(&hub, &format!("t{n}"), &format!("for {n}"));
    }
    publish(&hub, "all", "for all");
    for (n, stream) in streams.iter_mut().enumerate() {
        assert_eq!([stream.published().data, stream.published().data], [format!("for {n}"), "for all".to_owned()]);
    }
}

#[test]
fn pages_of_other_origins_may_ask_by_form_where_they_may_ask_at_all() {
    const ORIGIN: &str = "https://app.example";
    let hub = Hub::start_with(BINARY, &["--dev", "--cors-origins", ORIGIN], &[]);
    let asks = [("origin", ORIGIN), ("access-control-request-method", "QUERY")];
    let leave = connect(&hub).request("OPTIONS", PATH, &asks, b"").expect("the hub answers");
    let allowed = leave.header("access-control-allow-methods").expect("it says which");
    assert!(allowed.split(", ").any(|method| method == "QUERY"), "{allowed}");
    let stream = open(&hub, PATH, &[("origin", ORIGIN)], "topic=a");
    assert_eq!(stream.head.header("access-control-allow-origin"), Some(ORIGIN));
    let answer = connect(&hub).request("PUT", PATH, &[], b"").expect("the hub answers");
    assert_eq!(answer.header("allow"), Some("GET, QUERY, POST"));
    let document = connect(&hub).request("GET", "/api/v1/openapi.json", &[], b"").expect("the hub answers").json();
    let content = &document["paths"][PATH]["x-query"]["requestBody"]["content"];
    assert!(content.get(FORM.1).is_some(), "{content}");
}
