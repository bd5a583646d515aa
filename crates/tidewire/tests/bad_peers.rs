//! Requests that are none, lie, or ask for what is not there: each has its answer, the same whether a shard reads it as
//! the first on its connection or hyper as a later one, and the hub goes on serving.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use tidewire_harness::{Clock, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const EVENT: &str = r#"{"topic":"a","data":"x"}"#;
/// Follows each case on its connection. Whoever answers it with a 404 has found the end of the case.
const MARKER: &str = "GET /marker HTTP/1.1\r\nhost: hub\r\n\r\n";

/// For how long the hub may be silent, beside a build: less than it waits for a head, so that it has not just given up.
const SILENCE: Duration = Duration::from_secs(5);

/// Who reads a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// A shard, as the first on its connection.
    Shard,
    /// hyper, as a later one.
    Hyper,
}

fn connect(address: SocketAddr, reader: Reader) -> Http {
    let mut http = Http::connect(address).expect("the hub accepts");
    http.socket().set_read_timeout(Some(SILENCE)).expect("a timeout");
    if reader == Reader::Hyper {
        let answer = http.request("GET", "/api/v1/topics", &[], b"").expect("the hub answers");
        assert_eq!(answer.status, 200);
    }
    http
}

/// All answers up to the end of the connection, or up to the marker's: their statuses with the names of problems, and
/// which of the two it was.
fn answers(http: &mut Http) -> String {
    let mut all = Vec::new();
    loop {
        let is_closed = match http.is_closed() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Some("silent"),
            closed => closed.expect("the hub answers or closes").then_some("closed"),
        };
        if let Some(end) = is_closed {
            all.push(end.to_owned());
            return all.join(", ");
        }
        let (status, headers) = http.receive_head().expect("an answer");
        if headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())) {
            all.push("stream".to_owned());
            return all.join(", ");
        }
        let answer = http.receive_body(status, headers).expect("a whole answer");
        let text = answer.text();
        if answer.header("content-type") == Some("application/problem+json") {
            let problem = answer.json();
            assert_eq!(problem["status"], answer.status, "{problem}");
            if text.contains("/marker") {
                all.push("open".to_owned());
                return all.join(", ");
            }
            let name = problem["type"].as_str().and_then(|name| name.strip_prefix("urn:tidewire:error:"));
            all.push(format!("{} {}", answer.status, name.expect("a type of ours")));
        } else {
            all.push(answer.status.to_string());
        }
    }
}

/// What becomes of these bytes and the marker behind them.
fn outcome(address: SocketAddr, reader: Reader, bytes: &[u8]) -> String {
    let mut http = connect(address, reader);
    // The hub may have closed before it has all of them.
    let _ = http.send_raw(&[bytes, MARKER.as_bytes()].concat());
    answers(&mut http)
}

/// Has each case answered as expected, by both readers.
#[track_caller]
fn check(cases: &[(&str, String, &str)]) {
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory"], &[]);
    let mut wrong = Vec::new();
    for (name, bytes, expected) in cases {
        for reader in [Reader::Shard, Reader::Hyper] {
            let outcome = outcome(hub.address(), reader, bytes.as_bytes());
            if outcome != *expected {
                wrong.push(format!("{name}, read by {reader:?}: {outcome}, not {expected}"));
            }
        }
        // It serves on: this asks, and has an answer.
        connect(hub.address(), Reader::Hyper);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: hub\r\n{fields}\r\n")
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n{fields}\r\n{body}")
}

#[test]
fn lengths_that_lie() {
    let event = |fields: &str| post(fields, EVENT);
    let chunks = format!("18\r\n{EVENT}\r\n0\r\n\r\n");
    let chunked = |fields: &str| post(&format!("{fields}transfer-encoding: chunked\r\n"), &chunks);
    check(&[
        ("the length", event("content-length: 24\r\n"), "200, open"),
        ("a shorter one", event("content-length: 5\r\n"), "400 json, 400 head, closed"),
        ("none", event(""), "400 json, 400 head, closed"),
        ("a negative one", event("content-length: -5\r\n"), "400 head, closed"),
        ("one with a sign", event("content-length: +24\r\n"), "400 head, closed"),
        ("one in hexadecimals", event("content-length: 0x18\r\n"), "400 head, closed"),
        ("an empty one", event("content-length:\r\n"), "400 head, closed"),
        ("one with a unit", event("content-length: 24b\r\n"), "400 head, closed"),
        ("two in a line", event("content-length: 24, 24\r\n"), "400 head, closed"),
        ("two that differ", event("content-length: 24\r\ncontent-length: 5\r\n"), "400 head, closed"),
        ("two alike", event("content-length: 24\r\ncontent-length: 24\r\n"), "200, open"),
        ("one beyond 64 bits", event("content-length: 18446744073709551640\r\n"), "400 head, closed"),
        ("one of nearly 64 bits", event("content-length: 18446744073709551613\r\n"), "413 body-bytes, silent"),
        // It reads on for a while, so that the answer is not lost.
        ("a large one", event("content-length: 9223372036854775807\r\n"), "413 body-bytes, silent"),
        ("chunks", chunked(""), "200, open"),
        // What a proxy took for the body by its length would be a request of somebody else's.
        ("chunks and a length", chunked("content-length: 5\r\n"), "200, closed"),
        ("chunks and a length after", chunked("content-length: 24\r\n"), "200, closed"),
        ("chunks of HTTP/1.0", chunked("").replace("HTTP/1.1", "HTTP/1.0"), "400 head, closed"),
        ("chunks by another name", post("transfer-encoding: xchunked\r\n", &chunks), "400 head, closed"),
        ("chunks, compressed", post("transfer-encoding: chunked, gzip\r\n", &chunks), "400 head, closed"),
        ("chunks that are none", post("transfer-encoding: identity\r\n", &chunks), "400 head, closed"),
        ("chunks after a tabulator", post("transfer-encoding:\x0bchunked\r\n", &chunks), "400 head, closed"),
        (
            "a stream with a body",
            get("/api/v1/events?topic=a", "content-length: 5\r\n") + "abcde",
            "400 body-unexpected, open",
        ),
        ("a stream with no body", get("/api/v1/events?topic=a", "content-length: 0\r\n"), "stream"),
        (
            "a stream with two lengths",
            get("/api/v1/events?topic=a", "content-length: 0\r\ncontent-length: 5\r\n"),
            "400 head, closed",
        ),
        (
            "a stream with chunks and a length",
            get("/api/v1/events?topic=a", "content-length: 0\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n",
            "400 body-unexpected, closed",
        ),
    ]);
}

#[test]
fn chunks_that_are_none() {
    let chunked = |body: &str| post("transfer-encoding: chunked\r\n", body);
    check(&[
        ("a size that is no number", chunked("zz\r\n"), "400 body-framing, closed"),
        ("a negative size", chunked("-1\r\n"), "400 body-framing, closed"),
        ("a size with a prefix", chunked("0x18\r\n"), "400 body-framing, closed"),
        ("a size beyond 64 bits", chunked("fffffffffffffffff\r\n"), "400 body-framing, closed"),
        ("no size", chunked("\r\n"), "400 body-framing, closed"),
        ("a longer chunk", chunked(&format!("5\r\n{EVENT}\r\n0\r\n\r\n")), "400 body-framing, closed"),
        (
            "a long extension",
            chunked(&format!("18;{}\r\n{EVENT}\r\n0\r\n\r\n", "x".repeat(20_000))),
            "400 body-framing, closed",
        ),
        ("an extension", chunked(&format!("18;x=y\r\n{EVENT}\r\n0\r\n\r\n")), "200, open"),
        ("trailers", chunked(&format!("18\r\n{EVENT}\r\n0\r\nx: y\r\n\r\n")), "200, open"),
        ("a trailer that is none", chunked(&format!("18\r\n{EVENT}\r\n0\r\nx y\r\n\r\n")), "400 body-framing, closed"),
    ]);
}

#[test]
fn heads_that_are_none() {
    let topics = |fields: &str| get("/api/v1/topics", fields);
    let line = |line: &str| format!("{line}\r\nhost: hub\r\n\r\n");
    check(&[
        ("lines that end with a newline alone", topics("").replace('\r', ""), "200, open"),
        ("a line that is folded", topics("x: a\r\n b\r\n"), "400 head, closed"),
        ("a fold before all fields", line("GET / HTTP/1.1\r\n x: y"), "400 head, closed"),
        ("a space before the colon", topics("x : y\r\n"), "400 head, closed"),
        ("a field without a colon", topics("x\r\n"), "400 head, closed"),
        ("a field without a name", topics(": y\r\n"), "400 head, closed"),
        ("a name with a space", topics("a b: y\r\n"), "400 head, closed"),
        ("a value with a bare carriage return", topics("x: a\rb: c\r\n"), "400 head, closed"),
        ("a value with NUL", topics("x: a\0b\r\n"), "400 head, closed"),
        ("a value beyond ASCII", topics("x: ä\r\n"), "200, open"),
        ("a name beyond ASCII", topics("ä: x\r\n"), "400 head, closed"),
        ("a method that is none", line("G(T / HTTP/1.1"), "400 head, closed"),
        ("no method", line("/ HTTP/1.1"), "400 head, closed"),
        ("no target", line("GET HTTP/1.1"), "400 head, closed"),
        ("two spaces", line("GET  / HTTP/1.1"), "400 head, closed"),
        ("a target with a space", line("GET /a b HTTP/1.1"), "400 head, closed"),
        ("a target with NUL", line("GET /a\0b HTTP/1.1"), "400 head, closed"),
        ("another protocol", line("GET / HTTPS/1.1"), "400 head, closed"),
        ("an HTTP that is not yet", line("GET / HTTP/1.9"), "400 head, closed"),
        ("an HTTP without a version", line("GET / HTTP"), "400 head, closed"),
        ("HTTP/0.9", "GET /\r\n".to_owned(), "400 head, closed"),
        ("what is nearly HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n".to_owned(), "400 head, closed"),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03".to_owned(), "400 head, closed"),
        ("another protocol's greeting", "SSH-2.0-OpenSSH_9.2\r\n".to_owned(), "400 head, closed"),
        ("two empty lines before", format!("\r\n\r\n{}", topics("")), "200, open"),
    ]);
}

#[test]
fn heads_that_are_too_large() {
    let topics = |fields: &str| get("/api/v1/topics", fields);
    let fields = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    check(&[
        ("as many fields as may be", topics(&fields(99)), "200, open"),
        ("one more", topics(&fields(100)), "431 head-bytes, closed"),
        ("a thousand", topics(&fields(1_000)), "431 head-bytes, closed"),
        ("a megabyte of fields", topics(&format!("x: {}\r\n", "y".repeat(1 << 20))), "431 head-bytes, closed"),
        ("a megabyte of lines", topics(&fields(100_000)), "431 head-bytes, closed"),
        ("a megabyte of a name", topics(&"y".repeat(1 << 20)), "431 head-bytes, closed"),
        ("a target of a megabyte", get(&format!("/{}", "x".repeat(1 << 20)), ""), "431 head-bytes, closed"),
    ]);
}

#[test]
fn hosts() {
    let ask = |target: &str, version: &str, hosts: &str| format!("GET {target} {version}\r\n{hosts}\r\n");
    let (stream, topics) = ("/api/v1/events?topic=a", "/api/v1/topics");
    let (old, new) = ("HTTP/1.0", "HTTP/1.1");
    check(&[
        ("no host", ask(topics, new, ""), "400 head, closed"),
        ("no host for a stream", ask(stream, new, ""), "400 head, closed"),
        ("two hosts", ask(topics, new, "host: a\r\nhost: a\r\n"), "400 head, closed"),
        ("two hosts for a stream", ask(stream, new, "host: a\r\nhost: b\r\n"), "400 head, closed"),
        ("a host that is none", ask(topics, new, "host: a b\r\n"), "400 head, closed"),
        ("a host that is none for a stream", ask(stream, new, "host: a/b\r\n"), "400 head, closed"),
        ("an empty host", ask(topics, new, "host:\r\n"), "200, open"),
        ("an address", ask(stream, new, "host: [::1]:7788\r\n"), "stream"),
        ("no host, absolute", ask("http://hub/api/v1/topics", new, ""), "400 head, closed"),
        ("no host in HTTP/1.0", ask(topics, old, ""), "200, closed"),
        ("two hosts in HTTP/1.0", ask(topics, old, "host: a\r\nhost: b\r\n"), "400 head, closed"),
        ("HTTP/1.0 that stays", ask(topics, old, "connection: keep-alive\r\n"), "200, open"),
        ("a stream in HTTP/1.0", ask(stream, old, "connection: keep-alive\r\n"), "505 http-version, open"),
    ]);
}

#[test]
fn targets_methods_and_wishes() {
    let line = |line: &str| format!("{line}\r\nhost: hub\r\n\r\n");
    check(&[
        ("an absolute target", line("GET http://elsewhere.example/api/v1/topics HTTP/1.1"), "200, open"),
        ("an absolute stream", line("GET http://elsewhere.example/api/v1/events?topic=a HTTP/1.1"), "stream"),
        ("another scheme", line("GET https://hub/api/v1/topics HTTP/1.1"), "200, open"),
        ("an absolute target without a path", line("GET http://hub HTTP/1.1"), "200, open"),
        ("an absolute target without a host", line("GET http:// HTTP/1.1"), "400 head, closed"),
        ("the asterisk", line("OPTIONS * HTTP/1.1"), "204, open"),
        ("the asterisk for another method", line("GET * HTTP/1.1"), "404 not-found, open"),
        ("a target without a slash", line("GET api/v1/topics HTTP/1.1"), "400 head, closed"),
        ("a tunnel", line("CONNECT hub:443 HTTP/1.1"), "405 method, closed"),
        ("a tunnel to a path", line("CONNECT /api/v1/topics HTTP/1.1"), "405 method, closed"),
        ("a trace", line("TRACE / HTTP/1.1"), "405 method, open"),
        ("a trace of events", line("TRACE /api/v1/events HTTP/1.1"), "405 method, open"),
        ("an unknown method", line("BREW / HTTP/1.1"), "405 method, open"),
        ("a method in small letters", line("get / HTTP/1.1"), "405 method, open"),
        ("an unknown upgrade", get("/api/v1/topics", "connection: upgrade\r\nupgrade: foo/2\r\n"), "200, open"),
        (
            "a stream and an unknown upgrade",
            get("/api/v1/events?topic=a", "connection: upgrade\r\nupgrade: foo\r\n"),
            "stream",
        ),
        (
            "HTTP/2 by an upgrade",
            get("/api/v1/topics", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\n"),
            "200, open",
        ),
        (
            "WebSocket",
            get("/api/v1/events?topic=a", "connection: upgrade\r\nupgrade: websocket\r\n"),
            "406 not-acceptable, open",
        ),
        ("a wish to go on", post("content-length: 24\r\nexpect: 100-continue\r\n", EVENT), "100, 200, open"),
        ("another wish", post("content-length: 24\r\nexpect: miracles\r\n", EVENT), "200, open"),
        ("a wish without a body", get("/api/v1/topics", "expect: 100-continue\r\n"), "200, open"),
        ("a connection to be closed", get("/api/v1/topics", "connection: close\r\n"), "200, closed"),
    ]);
}

/// Who closes the half on which requests come has asked for nothing more; what it has asked for is answered.
#[test]
fn connections_of_which_a_half_is_closed() {
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory"], &[]);
    let head = get("/api/v1/topics", "");
    for (name, bytes, expected) in [
        ("at once", "", "closed"),
        ("in the request line", "GET /api", "closed"),
        ("in a head", &head[..head.len() - 2], "closed"),
        ("behind a request", &head, "200, closed"),
        ("behind two", &head.repeat(2), "200, 200, closed"),
        ("in a body", &post("content-length: 24\r\n", &EVENT[..20]), "400 body-framing, closed"),
        ("in a chunk", &post("transfer-encoding: chunked\r\n", "18\r\n{"), "400 body-framing, closed"),
        (
            "before the last chunk",
            &post("transfer-encoding: chunked\r\n", &format!("18\r\n{EVENT}\r\n")),
            "400 body-framing, closed",
        ),
        ("behind a body", &post("content-length: 24\r\n", EVENT), "200, closed"),
        ("in what is no head", "GET /\r\n", "400 head, closed"),
    ] {
        for reader in [Reader::Shard, Reader::Hyper] {
            let mut http = connect(hub.address(), reader);
            http.send_raw(bytes.as_bytes()).expect("the hub reads");
            http.socket().shutdown(Shutdown::Write).expect("it was open");
            assert_eq!(answers(&mut http), expected, "closed {name}, read by {reader:?}");
        }
    }
}

/// Heads byte by byte, and clients that say nothing: they are told in time, and hold nobody else up.
#[test]
fn heads_that_do_not_come_to_their_end() {
    const SLOW: usize = 50;
    let settings = ["--dev", "--durability", "memory", "--head-timeout", "2s"];
    let hub = Hub::start_with(BINARY, &settings, &[]);
    let silent: Vec<Http> = (0..SLOW).map(|_| connect(hub.address(), Reader::Shard)).collect();
    let mut slow: Vec<Http> = (0..SLOW).map(|_| connect(hub.address(), Reader::Shard)).collect();
    let head = get("/api/v1/events?topic=a", "x-and-so-on: 1234567890\r\n");
    let clock = Clock::start();
    // Two bytes a second would take half a minute.
    for bytes in head.as_bytes().chunks(1).take(3) {
        for http in &mut slow {
            // Beside a build it may have been told already.
            let _ = http.send_raw(bytes);
        }
        let before = clock.now();
        assert_eq!(outcome(hub.address(), Reader::Hyper, get("/api/v1/topics", "").as_bytes()), "200, open");
        assert!(clock.now().0 - before.0 < 1_000_000, "others are held up");
        std::thread::park_timeout(Duration::from_millis(500));
    }
    for mut http in slow {
        http.socket().set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        assert_eq!(answers(&mut http), "408 timeout, closed");
    }
    for mut http in silent {
        http.socket().set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        assert_eq!(answers(&mut http), "closed");
    }
    assert!(clock.now().0 < 20_000_000, "it took {:?} to tell them", clock.now());
    connect(hub.address(), Reader::Hyper);
}

/// A connection whose answers are waited for longer.
fn patient(hub: &Hub, reader: Reader) -> Http {
    let http = connect(hub.address(), reader);
    http.socket().set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    http
}

/// The story: a first head had `head_timeout`, and a later one on the same connection over a minute, at whose end the
/// connection was closed without a word.
#[test]
fn a_later_head_has_as_long_as_the_first() {
    let settings = [("TIDEWIRE_HEAD_TIMEOUT", "1s"), ("TIDEWIRE_IDLE_TIMEOUT", "10min")];
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory"], &settings);
    let mut slow: Vec<Http> = [Reader::Shard, Reader::Hyper].map(|reader| patient(&hub, reader)).into();
    let mut idle = connect(hub.address(), Reader::Hyper);
    // So slowly that it would take a minute.
    let head = get("/api/v1/topics", &format!("x: {}\r\n", "y".repeat(100)));
    for byte in head.as_bytes().chunks(1).take(4) {
        for http in &mut slow {
            let _ = http.send_raw(byte);
        }
        std::thread::park_timeout(Duration::from_millis(400));
    }
    for http in &mut slow {
        assert_eq!(answers(http), "408 timeout, closed");
    }
    // Where nothing of a head has come, it is not late.
    assert_eq!(idle.request("GET", "/api/v1/topics", &[], b"").expect("an answer").status, 200);
}

#[test]
fn idle_connections_have_a_time_between_two_requests() {
    let settings = [("TIDEWIRE_HEAD_TIMEOUT", "10min"), ("TIDEWIRE_IDLE_TIMEOUT", "3s")];
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory"], &settings);
    let clock = Clock::start();
    // What has come of a head behind a whole request, in the same bytes, is answered.
    let mut behind = patient(&hub, Reader::Hyper);
    behind.send_raw(&get("/api/v1/topics", "").repeat(2).as_bytes()[..60]).expect("the hub reads");
    let mut idle = patient(&hub, Reader::Hyper);
    assert_eq!(answers(&mut idle), "closed");
    assert!(clock.now().0 > 2_900_000, "after {:?}", clock.now());
    assert_eq!(answers(&mut behind), "200, 408 timeout, closed");
    // It begins anew with each request.
    let mut busy = patient(&hub, Reader::Hyper);
    for _ in 0..4 {
        std::thread::park_timeout(Duration::from_secs(1));
        assert_eq!(busy.request("GET", "/api/v1/topics", &[], b"").expect("an answer").status, 200);
    }
}

/// Bodies byte by byte, each one in time: whoever sends so is told before long.
#[test]
fn bodies_that_do_not_come_to_their_end() {
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory", "--head-timeout", "1s"], &[]);
    let heads = [post("content-length: 10000\r\n", ""), post("transfer-encoding: chunked\r\n", "2710\r\n")];
    let mut slow: Vec<Http> = Vec::new();
    for head in &heads {
        for reader in [Reader::Shard, Reader::Hyper] {
            let mut http = connect(hub.address(), reader);
            http.send_raw(head.as_bytes()).expect("the hub reads");
            slow.push(http);
        }
    }
    for _ in 0..15 {
        for http in &mut slow {
            let _ = http.send_raw(b" ");
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    for http in &mut slow {
        assert_eq!(answers(http), "408 timeout, closed");
    }
    assert_eq!(outcome(hub.address(), Reader::Hyper, post("content-length: 24\r\n", EVENT).as_bytes()), "200, open");
}

/// Clients that ask on and on, and take no answer: they hold what they have for `stall_timeout`, and nobody else up.
#[test]
fn clients_that_never_read() {
    let settings = [("TIDEWIRE_STALL_TIMEOUT", "2s"), ("TIDEWIRE_IDLE_TIMEOUT", "10min")];
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory"], &settings);
    let places = hub.figure("tidewire_connection_places_free");
    let request = get("/assets/app.js", "");
    let deaf: Vec<Http> = (0..5)
        .map(|_| {
            let mut http = connect(hub.address(), Reader::Shard);
            http.socket().set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout");
            // Until nobody reads it any more.
            while http.send_raw(request.repeat(100).as_bytes()).is_ok() {}
            http
        })
        .collect();
    assert_eq!(outcome(hub.address(), Reader::Hyper, get("/api/v1/topics", "").as_bytes()), "200, open");
    let free = || hub.figure("tidewire_connection_places_free") == places;
    wait_until("what they hold is free", Duration::from_secs(60), free);
    drop(deaf);
}

/// The story: whoever went on sending after it was refused was read for ever.
#[test]
fn who_is_refused_and_sends_on_and_on_is_reset() {
    let hub = Hub::start(BINARY);
    let megabyte = vec![b'x'; 1 << 20];
    for reader in [Reader::Shard, Reader::Hyper] {
        let mut http = connect(hub.address(), reader);
        http.send_raw(b"nonsense\r\n\r\n").expect("the hub reads");
        assert!((0..64).any(|_| http.send_raw(&megabyte).is_err()), "the hub has read 64 MiB: {reader:?}");
    }
}
