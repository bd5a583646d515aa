//! A hub that is told to stop: what becomes of its streams, of new ones, and of publishers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub, wait_until};
use tidewire_sse::Item;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const WHY: &str = "the hub is stopping";

fn start(settings: &[(&str, &str)]) -> Hub {
    Hub::start_with(BINARY, &["--dev"], settings)
}

fn publish(address: SocketAddr, data: &str) -> io::Result<u16> {
    let body = json!({"topic": "a", "data": data}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = Http::connect(address)?.request("POST", "/api/v1/events", &headers, body.as_bytes());
    answer.map(|answer| answer.status)
}

fn stream(hub: &Hub) -> EventStream {
    EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("the hub answers")
}

/// A stream that has begun.
fn begun(hub: &Hub) -> EventStream {
    let mut stream = stream(hub);
    assert_eq!(stream.event().expect("it begins").expect("it begins").event_type, "tidewire.checkpoint");
    stream
}

fn health(hub: &Hub, what: &str) -> u16 {
    let mut http = Http::connect(hub.admin()).expect("the admin listener accepts");
    http.request("GET", what, &[], b"").expect("the hub answers").status
}

/// What a stream shows from here to its last chunk: the data of events, comments, and times to come back.
fn rest(stream: &mut EventStream) -> (Vec<String>, Vec<String>, Vec<u64>) {
    let (mut events, mut comments, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(item) = stream.item().expect("it ends with its last chunk") {
        match item {
            Item::Checkpoint(_) => {}
            Item::Event(event) if event.event_type.starts_with("tidewire.") => {}
            Item::Event(event) => events.push(event.data),
            Item::Comment(text) => comments.push(text),
            Item::Retry(ms) => retries.push(ms),
        }
    }
    (events, comments, retries)
}

#[test]
fn a_hub_told_to_stop_goes_on_as_before_for_the_delay_and_says_that_it_is_not_ready() {
    let mut hub = start(&[("TIDEWIRE_DRAIN_DELAY", "5s")]);
    let mut early = begun(&hub);
    assert_eq!(health(&hub, "/health/ready"), 200);
    let clock = Clock::start();
    hub.signal("TERM");
    wait_until("it is not ready", WITHIN, || health(&hub, "/health/ready") == 503);
    assert_eq!(health(&hub, "/health/live"), 200);
    let mut late = begun(&hub);
    let mut kept = Http::connect(hub.address()).expect("the hub listens");
    for n in ["1", "2"] {
        assert_eq!(publish(hub.address(), n).expect("the hub answers"), 200);
        let page = kept.request("GET", "/", &[], b"").expect("the hub answers");
        assert_eq!((page.status, page.header("connection")), (200, None));
    }
    let seen_at = Duration::from_micros(clock.now().0);
    assert!(seen_at < Duration::from_secs(5), "too slow to tell: {seen_at:?}");
    assert_eq!(hub.ended().code(), Some(0));
    assert!(clock.now().0 >= 5_000_000, "it did not wait for the delay");
    for stream in [&mut early, &mut late] {
        let (events, comments, retries) = rest(stream);
        assert_eq!((events, comments), (vec!["1".to_owned(), "2".to_owned()], vec![WHY.to_owned()]));
        assert!(matches!(retries[..], [1_500..=2_500]), "{retries:?}");
    }
}
