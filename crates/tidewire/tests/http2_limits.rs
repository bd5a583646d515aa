//! HTTP/2 clients that want too much, and such as want nothing any more.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Clock, Http, Http2, Hub, runtime, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const EVENTS: &str = "/api/v1/events?topic=a";

/// Kinds of frames, flags and errors (RFC 9113, sections 6 and 7).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn start(settings: &[(&str, &str)]) -> Hub {
    Hub::start_with(BINARY, &["--dev"], settings)
}

/// A client that writes frames as it likes.
struct Raw {
    socket: TcpStream,
    answers_pings: bool,
}

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error that it tells.
    fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The head of a `GET`: two fields of the static table, and two literals (RFC 7541, appendix A and section 6.2.2).
fn get(stream: u32, target: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (field, value) in [(0x04, target), (0x01, "hub")] {
        block.extend_from_slice(&[field, u8::try_from(value.len()).expect("it is short")]);
        block.extend_from_slice(value.as_bytes());
    }
    frame(HEADERS, END_STREAM_AND_HEADERS, stream, &block)
}

impl Raw {
    fn connect(hub: &Hub) -> Raw {
        let mut socket = TcpStream::connect(hub.address()).expect("the hub accepts");
        socket.set_read_timeout(Some(WITHIN)).expect("a timeout");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it is read");
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).expect("it is read");
        Raw { socket, answers_pings: true }
    }

    fn send(&mut self, bytes: &[u8]) {
        match self.socket.write_all(bytes) {
            // It was cut off before it had said everything.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            sent => sent.expect("the hub reads"),
        }
    }

    /// The next frame; `None` at the end of the connection.
    fn receive(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.socket.read_exact(&mut head) {
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                return None;
            }
            read => read.expect("something comes"),
        }
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.socket.read_exact(&mut payload).expect("a whole frame");
        if kind == SETTINGS && flags == 0 {
            self.send(&frame(SETTINGS, ACK, 0, &[]));
        } else if kind == PING && flags == 0 && self.answers_pings {
            self.send(&frame(PING, ACK, 0, &payload));
        }
        Some(Frame { kind, stream: u32::from_be_bytes(stream), payload })
    }

    /// The next frame of this kind for this stream; `None` at the end of the connection.
    fn receive_for(&mut self, kind: u8, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.receive()?;
            if (frame.kind, frame.stream) == (kind, stream) {
                return Some(frame);
            }
        }
    }
}

/// Another client is served.
fn is_well(hub: &Hub) {
    let mut http = Http2::connect(hub.address());
    let mut stream = http.stream(EVENTS, &[]).expect("it begins");
    let body = json!({"topic": "a", "data": "to all"}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(stream.published().data, "to all");
}

/// CVE-2023-44487: requests that are reset as soon as they are made are within every limit of those that are open.
#[test]
fn who_resets_request_after_request_is_cut_off() {
    let hub = start(&[]);
    let mut raw = Raw::connect(&hub);
    let mut flood = Vec::new();
    for stream in (1..20_001).step_by(2) {
        flood.extend_from_slice(&get(stream, EVENTS));
        flood.extend_from_slice(&frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    raw.send(&flood);
    let goodbye = raw.receive_for(GOAWAY, 0).expect("it is told why");
    assert_eq!(goodbye.error(), ENHANCE_YOUR_CALM);
    drop(raw);
    wait_until("their streams are gone", WITHIN, || hub.figure("tidewire_streams") == 0);
    is_well(&hub);
}

/// The same a little slower: every request is looked at before it is reset.
#[test]
fn streams_that_are_reset_as_they_begin_leave_nothing() {
    let hub = start(&[]);
    let mut raw = Raw::connect(&hub);
    for stream in (1..1_001).step_by(2) {
        raw.send(&get(stream, EVENTS));
        assert!(raw.receive_for(HEADERS, stream).is_some());
        raw.send(&frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }
    wait_until("their streams are gone", WITHIN, || hub.figure("tidewire_streams") == 0);
    assert_eq!(hub.figure("tidewire_streams_begun_total"), 500);
    is_well(&hub);
}

#[test]
fn one_stream_more_than_a_connection_may_have_is_refused_and_the_others_go_on() {
    let hub = start(&[("TIDEWIRE_HTTP2_MAX_STREAMS", "2")]);
    let mut raw = Raw::connect(&hub);
    // The limit is told in the settings, which this client acknowledges, and does not heed.
    assert!(
        raw.receive_for(SETTINGS, 0)
            .is_some_and(|settings| settings.payload.windows(6).any(|setting| setting == [0, 3, 0, 0, 0, 2]))
    );
    for stream in [1, 3] {
        raw.send(&get(stream, EVENTS));
        assert!(raw.receive_for(HEADERS, stream).is_some());
    }
    raw.send(&get(5, EVENTS));
    assert_eq!(raw.receive_for(RST_STREAM, 5).map(|reset| reset.error()), Some(REFUSED_STREAM));
    raw.send(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()));
    wait_until("there is room", WITHIN, || hub.figure("tidewire_streams") == 1);
    raw.send(&get(7, EVENTS));
    assert!(raw.receive_for(HEADERS, 7).is_some());
}

#[test]
fn a_head_of_too_many_bytes_is_431_and_the_connection_stays() {
    let hub = start(&[]);
    let mut http = Http2::connect(hub.address());
    let long = "x".repeat(15_000);
    let fields: Vec<(String, &str)> = (0..5).map(|n| (format!("x-{n}"), &*long)).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, *value)).collect();
    assert_eq!(http.request("GET", "/", &fields[..4], b"").expect("an answer").status, 200);
    assert_eq!(http.request("GET", "/", &fields, b"").expect("an answer").status, 431);
    assert_eq!(http.request("GET", "/", &[], b"").expect("an answer").status, 200);
}

#[test]
fn a_window_that_was_never_open_is_a_stall() {
    let hub = start(&[("TIDEWIRE_STALL_TIMEOUT", "3s"), ("TIDEWIRE_HEARTBEAT", "2s")]);
    let mut http = Http2::connect_on(&runtime(), hub.address(), 0);
    let clock = Clock::start();
    let mut stream = http.stream(EVENTS, &[]).expect("its head comes");
    wait_until("it is closed", WITHIN, || hub.figure("tidewire_streams") == 0);
    assert!(clock.now().0 >= 3_000_000, "it was closed early");
    assert_eq!(hub.figure("tidewire_stalls_total"), 1);
    assert!(stream.event().is_err_and(|error| error.reason() == Some(h2::Reason::CANCEL)));
    // An answer that has an end is not waited for either.
    let page = http.send("GET", "/", &[], b"").expect("it is sent");
    assert!(http.receive(page).is_err_and(|error| error.reason() == Some(h2::Reason::CANCEL)));
}

/// Its system takes what is sent to it, so that no write ever fails.
#[test]
fn a_client_that_is_there_and_answers_nothing_is_given_up() {
    let hub = start(&[("TIDEWIRE_STALL_TIMEOUT", "3s"), ("TIDEWIRE_HEARTBEAT", "2s")]);
    let (mut frozen, mut lively) = (Raw::connect(&hub), Http2::connect(hub.address()));
    let mut stays = lively.stream(EVENTS, &[]).expect("it begins");
    frozen.answers_pings = false;
    let clock = Clock::start();
    frozen.send(&get(1, EVENTS));
    assert!(frozen.receive_for(HEADERS, 1).is_some());
    while frozen.receive().is_some() {}
    let took = Duration::from_micros(clock.now().0);
    // A heartbeat and the time of a stall, and a little for a machine that is busy.
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(15), "{took:?}");
    wait_until("it has left", WITHIN, || hub.figure("tidewire_streams") == 1);
    while stays.item().expect("it goes on") != Some(tidewire_sse::Item::Comment(String::new())) {}
}

#[test]
fn a_connection_takes_a_place_only_while_it_has_no_stream() {
    let hub = start(&[("TIDEWIRE_MAX_CONNECTIONS", "1")]);
    let free = || hub.figure("tidewire_connection_places_free");
    let mut first = Http2::connect(hub.address());
    assert_eq!(first.request("GET", "/", &[], b"").expect("an answer").status, 200);
    let refused = Http::connect(hub.address()).expect("it accepts").request("GET", "/", &[], b"").expect("an answer");
    let problem: Value = refused.json();
    assert_eq!((refused.status, &problem["type"]), (503, &json!("urn:tidewire:error:connections")));
    let stream = first.stream(EVENTS, &[]).expect("it begins");
    wait_until("it gives its place back", WITHIN, || free() == 1);
    let mut second = Http2::connect(hub.address());
    assert_eq!(second.request("GET", "/", &[], b"").expect("an answer").status, 200);
    // Now there is none for the first.
    drop(stream);
    assert_eq!(first.ended(), None, "it is told to go, and that nothing is wrong");
    assert_eq!(second.request("GET", "/", &[], b"").expect("an answer").status, 200);
    drop(second);
    wait_until("its place is free", WITHIN, || free() == 1);
}
