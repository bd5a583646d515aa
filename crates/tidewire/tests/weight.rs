//! What a stream weighs, however its connection began.

use std::net::SocketAddr;
use std::process::Command;

use tidewire_auth::{Claims, Secret, mint};
use tidewire_harness::{Cost, EventStream, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// Before these are open, buffers are made that all share.
const FIRST: usize = 1_000;
const MORE: usize = 4_000;
/// What a stream may take of the hub's memory: a slot, and its share of blocks and lists that are not full.
const BYTES_MAX: u64 = 256;
/// What one may take that has a subject and a topic of its own.
const OWN_BYTES_MAX: u64 = 512;
/// The steps by which a process takes memory, spread over the streams.
const STEPS: u64 = 128;

const FORM: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

/// How a stream's connection begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    WithTheStream,
    /// As a browser's: it loads the page, and asks for the stream on the connection that is there.
    WithThePage,
    /// By a form, which those read who serve requests.
    ByForm,
}

fn open(address: SocketAddr, begin: Begin) -> EventStream {
    let mut http = Http::connect(address).expect("the hub accepts");
    if let Begin::WithThePage = begin {
        for target in ["/", "/assets/app.js"] {
            assert_eq!(http.request("GET", target, &[], b"").expect("the page").status, 200);
        }
    }
    let (method, target, headers, form) = match begin {
        Begin::ByForm => ("QUERY", "/api/v1/events", FORM, &b"topic=a"[..]),
        _ => ("GET", "/api/v1/events?topic=a", &[][..], &b""[..]),
    };
    http.send(method, target, headers, form).expect("the hub reads");
    let mut stream = EventStream::receive_on(http).expect("a stream");
    assert_eq!(stream.head.status, 200);
    assert_eq!(stream.event().expect("it begins").expect("it begins").event_type, "tidewire.checkpoint");
    stream
}

/// Bytes of the hub's resident memory a stream.
fn weight(begin: Begin) -> u64 {
    let hub = Hub::start(BINARY);
    let mut streams: Vec<EventStream> = (0..FIRST).map(|_| open(hub.address(), begin)).collect();
    let before = Cost::of(hub.process()).resident;
    streams.extend((0..MORE).map(|_| open(hub.address(), begin)));
    let after = Cost::of(hub.process()).resident;
    let adopted = hub.figure("tidewire_connections_adopted_total");
    assert_eq!(adopted, if let Begin::WithTheStream = begin { 0 } else { streams.len() as u64 });
    let weight = after.saturating_sub(before) / MORE as u64;
    println!("{begin:?}: {weight} bytes a stream");
    weight
}

#[test]
fn a_stream_on_the_connection_that_loaded_the_page_or_asked_for_by_form_weighs_what_any_other_does() {
    for begin in [Begin::WithTheStream, Begin::WithThePage, Begin::ByForm] {
        let weight = weight(begin);
        assert!(weight <= BYTES_MAX + STEPS, "{begin:?}: {weight} bytes a stream");
    }
}

#[test]
fn a_stream_with_a_subject_and_a_topic_of_its_own_weighs_what_it_may() {
    let key = tempfile::tempdir().expect("a directory can be made");
    let file = key.path().join("key").display().to_string();
    let made = Command::new(BINARY).args(["token", "new-key", &file]).status().expect("the binary can be run");
    assert!(made.success());
    let secret = Secret::parse(&std::fs::read_to_string(&file).expect("a key")).expect("a key");
    let hub = Hub::start_with(BINARY, &["--key-file", &file, "--public-url", "https://hub.example"], &[]);
    let open = |n: usize| {
        let claims = Claims { subject: Some(format!("reader-{n}")), admin: true, ..Claims::default() };
        let token = format!("Bearer {}", mint(secret.as_bytes(), &claims).expect("a token"));
        let target = format!("/api/v1/events?topic=topic-{n}");
        let stream = EventStream::open(hub.address(), &target, &[("authorization", &token)]);
        let mut stream = stream.expect("an answer");
        stream.event().expect("it begins").expect("it begins");
        stream
    };
    let mut streams: Vec<EventStream> = (0..FIRST).map(open).collect();
    let before = Cost::of(hub.process()).resident;
    streams.extend((FIRST..FIRST + MORE).map(open));
    let weight = Cost::of(hub.process()).resident.saturating_sub(before) / MORE as u64;
    println!("{weight} bytes a stream");
    assert!(weight <= OWN_BYTES_MAX + STEPS, "{weight} bytes a stream");
}
