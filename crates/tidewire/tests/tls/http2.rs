//! HTTP/2 over TLS.

use tidewire_harness::{Cost, Http2, Http2Stream, runtime, wait_until};

use super::*;

/// Before these are open, buffers are made that all share.
const FIRST: usize = 100;
const MORE: usize = 500;
/// What a connection with an idle stream may take of the hub's memory, in bytes.
const BYTES_MAX: u64 = 32 * 1024;

fn begin(http: &mut Http2) -> Http2Stream {
    let mut stream = http.stream("/api/v1/events?topic=a", &[]).expect("a stream");
    assert_eq!(stream.head.status, 200);
    let first = stream.event().expect("it begins").expect("it begins");
    assert_eq!(first.event_type, "tidewire.checkpoint");
    stream
}

#[test]
fn streams_and_requests_share_a_connection_and_resume() {
    let tls = TlsHub::start();
    let runtime = runtime();
    for version in VERSIONS {
        let mut http = Http2::connect_tls(&runtime, tls.hub.address(), &tls.authority.client(&[*version]));
        let mut streams = [begin(&mut http), begin(&mut http)];
        let body = json!({"topic": "a", "data": "x".repeat(100_000)}).to_string();
        let headers = [("content-type", "application/json")];
        let mut ids = Vec::new();
        for _ in 0..5 {
            let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
            ids.push(answer.json()["id"].as_str().expect("an id").to_owned());
        }
        for stream in &mut streams {
            let seen: Vec<String> = (0..5).map(|_| stream.published().id).collect();
            assert_eq!(seen, ids);
        }
        let headers = [("last-event-id", ids[2].as_str())];
        let mut again = http.stream("/api/v1/events?topic=a", &headers).expect("a stream");
        assert_eq!([again.published().id, again.published().id], ids[3..]);
        let answer = http.request("GET", "/api/v1/connections", &[], b"").expect("an answer").json();
        let list = answer["connections"].as_array().expect("a list");
        assert!(list.len() == 3 && list.iter().all(|stream| stream["transport"] == "sse-h2"), "{answer}");
        drop((streams, again, http));
        wait_until("the streams are gone", WITHIN, || tls.hub.figure("tidewire_streams") == 0);
    }
}

#[test]
fn streams_end_with_the_hub() {
    let mut tls = TlsHub::start();
    let runtime = runtime();
    let mut http = Http2::connect_tls(&runtime, tls.hub.address(), &tls.client);
    let mut stream = begin(&mut http);
    tls.hub.signal("TERM");
    while stream.item().expect("it is not broken off").is_some() {}
    assert_eq!(http.ended(), None);
    assert!(tls.hub.ended().success());
}

#[test]
fn streams_stay_when_the_certificate_changes() {
    let tls = TlsHub::start();
    let mut http = Http2::connect_tls(&runtime(), tls.hub.address(), &tls.client);
    let mut stream = begin(&mut http);
    let pair = tls.authority.issue(2050);
    tls.authority.put_cert(&pair.cert);
    tls.authority.put_key(&pair.key);
    wait_until("it is read again", WITHIN, || tls.hub.figure("tidewire_tls_reloads_total") == 1);
    let id = tls.publish("after it");
    assert_eq!(stream.published().id, id);
}

#[test]
fn an_idle_stream_on_a_connection_of_its_own_weighs_what_it_may() {
    let tls = TlsHub::start();
    let runtime = runtime();
    let open = |_| {
        let mut http = Http2::connect_tls(&runtime, tls.hub.address(), &tls.client);
        let stream = begin(&mut http);
        (http, stream)
    };
    let mut all: Vec<(Http2, Http2Stream)> = (0..FIRST).map(open).collect();
    let before = Cost::of(tls.hub.process()).resident;
    all.extend((0..MORE).map(open));
    tls.publish("to all");
    all.iter_mut().for_each(|(_, stream)| assert_eq!(stream.published().data, "to all"));
    let weight = Cost::of(tls.hub.process()).resident.saturating_sub(before) / MORE as u64;
    println!("HTTP/2 over TLS: {weight} bytes a connection with a stream");
    assert!(weight <= BYTES_MAX, "{weight} bytes");
}
