//! Connections that a proxy passes on with a header of the PROXY protocol.

use std::time::Duration;

use rustls::version::TLS13;
use serde_json::Value;
use tidewire_harness::{Authority, EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const WITHIN: Duration = Duration::from_secs(60);

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, of this client over IPv6, with an extension.
fn binary() -> Vec<u8> {
    let addresses =
        [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[9; 16], &[0x12, 0x67, 1, 187]].concat();
    [SIGNATURE, &[0x21, 0x21, 0, 41], &addresses, &[4, 0, 2, b'\r', b'\n']].concat()
}

fn start(trusted: &str, more: &[(&str, &str)]) -> Hub {
    let environment = [&[("TIDEWIRE_TRUSTED_PROXIES", trusted), ("TIDEWIRE_PROXY_PROTOCOL", "true")], more].concat();
    Hub::start_with(BINARY, &["--dev"], &environment)
}

/// A connection that begins with these bytes.
fn connect(hub: &Hub, first: &[u8]) -> Http {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    http.send_raw(first).expect("it is taken");
    http
}

/// The address of the only stream on a topic.
fn address(hub: &Hub, first: &[u8], topic: &str) -> String {
    let mut address = None;
    wait_until("the stream is listed", WITHIN, || {
        let mut http = connect(hub, first);
        let page =
            http.request("GET", &format!("/api/v1/connections?topic={topic}"), &[], b"").expect("an answer").json();
        address = page["connections"][0]["address"].as_str().map(str::to_owned);
        address.is_some()
    });
    address.expect("just seen")
}

fn stream(http: Http, topic: &str, headers: &[(&str, &str)]) -> EventStream {
    let mut stream = EventStream::open_on(http, &format!("/api/v1/events?topic={topic}"), headers).expect("an answer");
    assert_eq!(stream.head.status, 200);
    stream.event().expect("it is no error").expect("a stream begins with a block");
    stream
}

#[test]
fn a_stream_is_listed_with_the_address_of_both_versions() {
    let hub = start("127.0.0.1", &[]);
    let own = [SIGNATURE, &[0x20, 0, 0, 3, 1, 2, 3]].concat();
    for (topic, header, expected) in [
        ("line", LINE, Some("192.0.2.7:4711")),
        ("binary", &*binary(), Some("[2001:db8::7]:4711")),
        ("unknown", b"PROXY UNKNOWN who knows\r\n", None),
        ("own", &own, None),
    ] {
        for is_kept_alive in [false, true] {
            let topic = format!("{topic}-{is_kept_alive}");
            let mut http = connect(&hub, header);
            let socket = http.socket().local_addr().expect("it is connected").to_string();
            if is_kept_alive {
                // It goes to hyper and comes back.
                let body = format!(r#"{{"topic": "{topic}", "data": "first"}}"#);
                let headers = [("content-type", "application/json")];
                assert_eq!(
                    http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("an answer").status,
                    200
                );
            }
            let mut stream = stream(http, &format!("{topic}&from=earliest"), &[]);
            assert_eq!(address(&hub, LINE, &topic), expected.unwrap_or(&socket));
            if is_kept_alive {
                assert_eq!(stream.published().data, "first");
            }
        }
    }
}

#[test]
fn a_header_may_come_byte_by_byte_or_with_the_request() {
    let hub = start("127.0.0.1", &[("TIDEWIRE_SHARDS", "1")]);
    for (topic, header, expected) in [("a", LINE.to_vec(), "192.0.2.7:4711"), ("b", binary(), "[2001:db8::7]:4711")] {
        let request = format!("GET /api/v1/events?topic={topic} HTTP/1.1\r\nHost: hub\r\n\r\n");
        let bytes = [&header[..], request.as_bytes()].concat();
        let at_once = connect(&hub, &bytes);
        let mut byte_by_byte = connect(&hub, b"");
        for byte in bytes {
            byte_by_byte.send_raw(&[byte]).expect("it is taken");
            std::thread::yield_now();
        }
        for http in [at_once, byte_by_byte] {
            let mut stream = EventStream::receive_on(http).expect("an answer");
            stream.event().expect("it is no error").expect("a stream begins with a block");
            assert_eq!(address(&hub, LINE, topic), expected);
        }
    }
}

#[test]
fn a_client_may_itself_be_a_proxy_that_is_trusted() {
    let hub = start("127.0.0.1, 192.0.2.7", &[]);
    let _stream = stream(connect(&hub, LINE), "a", &[("x-forwarded-for", "203.0.113.9, 198.51.100.1")]);
    assert_eq!(address(&hub, LINE, "a"), "198.51.100.1");
    let unix = [SIGNATURE, &[0x21, 0x31, 0, 216], &[b'/'; 216]].concat();
    let _stream = stream(connect(&hub, &unix), "b", &[("x-forwarded-for", "198.51.100.1")]);
    assert_eq!(address(&hub, LINE, "b"), "unix:");
}

#[test]
fn who_is_trusted_and_sends_no_header_is_refused() {
    let hub = start("127.0.0.1", &[]);
    let too_long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    let no_extension = [SIGNATURE, &[0x21, 0x11, 0, 13], &[1; 13]].concat();
    for first in [
        &b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"[..],
        b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 99999\r\n",
        b"PROXY TCP4 192.0.2.7\r\n",
        &[b'P'; 200],
        &too_long,
        &no_extension,
        b"\x16\x03\x01",
    ] {
        let answer = connect(&hub, first).receive().expect("an answer");
        let problem: Value = serde_json::from_slice(&answer.body).expect("a problem");
        assert_eq!((answer.status, problem["type"].as_str()), (400, Some("urn:tidewire:error:head")), "{first:?}");
        assert!(problem["detail"].as_str().expect("a detail").contains("proxy_protocol"), "{problem}");
    }
    assert_eq!(connect(&hub, LINE).request("GET", "/", &[], b"").expect("an answer").status, 200);
}

#[test]
fn whoever_is_not_trusted_needs_no_header_and_may_send_none() {
    let hub = start("192.0.2.0/24", &[]);
    assert_eq!(connect(&hub, b"").request("GET", "/", &[], b"").expect("an answer").status, 200);
    for header in [LINE, &binary()] {
        let mut http = connect(&hub, header);
        http.send_raw(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").expect("it is taken");
        assert_eq!(http.receive().expect("an answer").status, 400);
    }
}

#[test]
fn a_header_that_does_not_end_ends_with_the_time_of_a_head() {
    let hub = start("127.0.0.1", &[("TIDEWIRE_HEAD_TIMEOUT", "1s")]);
    for part in [&b""[..], b"PROXY TCP4", &SIGNATURE[..6], &binary()[..30]] {
        let mut http = connect(&hub, part);
        assert!(http.receive().is_err(), "it is closed");
    }
}

#[test]
fn a_handshake_comes_behind_the_header() {
    let authority = Authority::new();
    let files = authority.arguments();
    let arguments: Vec<&str> = ["--dev"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let environment = [("TIDEWIRE_TRUSTED_PROXIES", "127.0.0.1"), ("TIDEWIRE_PROXY_PROTOCOL", "true")];
    let hub = Hub::start_with(BINARY, &arguments, &environment);
    let client = authority.client(&[&TLS13]);
    let connect = |first: &[u8]| connect(&hub, first).greet(&client).expect("TLS is agreed on");
    let mut manager = connect(LINE);
    for (topic, header, expected) in [("a", LINE.to_vec(), "192.0.2.7:4711"), ("b", binary(), "[2001:db8::7]:4711")] {
        let mut again = connect(&header);
        assert_eq!(again.request("GET", "/", &[], b"").expect("an answer").status, 200);
        for http in [connect(&header), again] {
            let _stream = stream(http, topic, &[]);
            let page = manager.request("GET", &format!("/api/v1/connections?topic={topic}"), &[], b"");
            let page = page.expect("an answer").json();
            let shown: Vec<&Value> = page["connections"].as_array().expect("a list").iter().collect();
            assert!(!shown.is_empty() && shown.iter().all(|shown| shown["address"] == expected), "{page}");
        }
    }
    let answer = self::connect(&hub, b"\x16\x03\x01\x02").receive().expect("an answer");
    assert_eq!(answer.status, 400, "a handshake is no header");
}
