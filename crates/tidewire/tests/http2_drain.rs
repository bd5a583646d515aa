//! A hub that is told to stop while HTTP/2 clients are connected.

use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, Http2, Http2Stream, Hub, runtime, wait_until};
use tidewire_sse::Item;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const EVENTS: &str = "/api/v1/events?topic=a";

fn start(settings: &[(&str, &str)]) -> Hub {
    Hub::start_with(BINARY, &["--dev"], settings)
}

fn publish(http: &mut Http2, data: &str) -> Result<u16, h2::Error> {
    let body = json!({"topic": "a", "data": data}).to_string();
    let headers = [("content-type", "application/json")];
    http.request("POST", "/api/v1/events", &headers, body.as_bytes()).map(|answer| answer.status)
}

/// What a stream shows up to its end: the data of events, comments, and times to come back.
fn rest(stream: &mut Http2Stream) -> (Vec<String>, Vec<String>, usize) {
    let (mut events, mut comments, mut retries) = (Vec::new(), Vec::new(), 0);
    while let Some(item) = stream.item().expect("it ends well") {
        match item {
            Item::Event(event) if !event.event_type.starts_with("tidewire.") => events.push(event.data),
            Item::Comment(text) if !text.is_empty() => comments.push(text),
            Item::Retry(_) => retries += 1,
            _ => {}
        }
    }
    (events, comments, retries)
}

#[test]
fn streams_are_ended_with_what_was_committed_and_a_farewell_and_requests_go_elsewhere() {
    let mut hub = start(&[("TIDEWIRE_DRAIN_TIMEOUT", "6s")]);
    let runtime = runtime();
    let connect = |hub: &Hub| Http2::connect_on(&runtime, hub.address(), 65_535);
    let (mut http, mut publisher) = (connect(&hub), connect(&hub));
    let mut streams: Vec<Http2Stream> = (0..6).map(|_| http.stream(EVENTS, &[]).expect("it begins")).collect();
    assert_eq!(publish(&mut publisher, "1").ok(), Some(200));
    hub.signal("TERM");
    // Whoever is connected is told to go, and those who come get an answer.
    wait_until("the first connection takes no more", WITHIN, || http.send("GET", "/", &[], b"").is_err());
    let mut late = connect(&hub);
    let mut turned_away = late.stream(EVENTS, &[]).expect("it begins");
    assert_eq!(turned_away.head.status, 200);
    let (events, comments, _) = rest(&mut turned_away);
    assert_eq!((events.len(), comments), (0, vec!["the hub is stopping".to_owned()]));
    for stream in &mut streams {
        let (events, comments, retries) = rest(stream);
        // One retry begins the stream.
        assert_eq!((events, comments, retries), (vec!["1".to_owned()], vec!["the hub is stopping".to_owned()], 2));
    }
    assert_eq!(http.ended(), None, "nothing is wrong");
    assert_eq!(hub.ended().code(), Some(0));
}

/// A publisher whose request has come is answered, though the hub is told to stop before its body has.
#[test]
fn a_publisher_in_flight_is_answered() {
    let mut hub = start(&[]);
    let mut http = Http2::connect(hub.address());
    let body = json!({"topic": "a", "data": "x".repeat(1_000)}).to_string();
    let (first, last) = body.as_bytes().split_at(500);
    let headers = [("content-type", "application/json")];
    let (answer, mut to) = http.begin("POST", "/api/v1/events", &headers, false).expect("it is sent");
    http.send_body(&mut to, first, false).expect("it is sent");
    // What is asked on a connection in this order is begun in this order.
    assert_eq!(http.request("GET", "/", &[], b"").expect("an answer").status, 200);
    hub.signal("TERM");
    wait_until("it takes no more requests", WITHIN, || http.send("GET", "/", &[], b"").is_err());
    http.send_body(&mut to, last, true).expect("it is sent");
    assert_eq!(http.receive(answer).expect("an answer").status, 200);
    assert_eq!(http.ended(), None, "nothing is wrong");
    assert_eq!(hub.ended().code(), Some(0));
}

/// A stream that cannot be given its end does not keep the hub from ending.
#[test]
fn a_client_that_takes_nothing_does_not_hold_the_hub_up() {
    let mut hub = start(&[]);
    let mut http = Http2::connect_on(&runtime(), hub.address(), 0);
    let _stream = http.stream(EVENTS, &[]).expect("its head comes");
    let clock = Clock::start();
    assert_eq!(hub.terminate().code(), Some(0));
    let took = Duration::from_micros(clock.now().0);
    assert!(took < Duration::from_secs(20), "{took:?}");
}
