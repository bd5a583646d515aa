//! Requests sent without waiting for answers, over connections that pass from a shard to hyper and back: each answer is
//! its own request's, and nothing of another's is in it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub, Seed};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const THREADS: usize = 8;
const CONNECTIONS_A_THREAD: usize = 280;
const REQUESTS_A_CONNECTION: usize = 50;
/// Every so many connections one is a stream from its first request on, and never leaves the shard.
const STREAM_AT_ONCE_EVERY: usize = 10;
const REQUESTS_MIN: usize = 100_000;
/// Events in one request: the hub's limit.
const BATCH: usize = 1_000;
/// What a tag begins with, and how long it is in all.
const TAG: &str = "tag-";
const TAG_LENGTH: usize = 20;

/// What is asked.
enum Kind {
    /// What is not there: the answer quotes the path.
    Nothing,
    /// What is not there, with a body.
    NothingWithBody,
    /// An event: the answer is an id of the hub's.
    Publish,
    /// A stream, which quotes its last id in a gap, and on whose connection nothing else is answered.
    Stream,
}

struct Asked {
    kind: Kind,
    tag: String,
}

impl Asked {
    fn random(seed: &Seed) -> Asked {
        let kind = match seed.below(10) {
            0..6 => Kind::Nothing,
            6..9 => Kind::NothingWithBody,
            _ => Kind::Publish,
        };
        Asked { kind, tag: tag(seed) }
    }

    fn bytes(&self) -> Vec<u8> {
        let tag = &self.tag;
        let with_body = |target: &str, body: String| {
            let length = body.len();
            format!(
                "POST {target} HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        };
        let text = match self.kind {
            Kind::Nothing => format!("GET /nothing/{tag} HTTP/1.1\r\nhost: hub\r\n\r\n"),
            Kind::NothingWithBody => with_body(&format!("/nothing/{tag}"), tag.repeat(20)),
            Kind::Publish => with_body("/api/v1/events", json!({"topic": "tags", "data": tag, "id": tag}).to_string()),
            // The same tag twice: the next request on the connection is none of its answer's business.
            Kind::Stream => format!(
                "GET /api/v1/events?topic={tag} HTTP/1.1\r\nhost: hub\r\nlast-event-id: {tag}\r\n\r\n\
                 GET /nothing/{TAG}0000000000000000 HTTP/1.1\r\nhost: hub\r\n\r\n"
            ),
        };
        text.into_bytes()
    }
}

fn tag(seed: &Seed) -> String {
    format!("{TAG}{:08x}{:08x}", seed.below(1 << 32), seed.below(1 << 32))
}

/// Every tag in a text.
fn tags(text: &str) -> Vec<&str> {
    text.match_indices(TAG).map(|(at, _)| text.get(at..at + TAG_LENGTH).unwrap_or("a tag that is cut")).collect()
}

/// Sends bytes in up to four pieces.
fn send(http: &mut Http, bytes: &[u8], seed: &Seed) -> io::Result<()> {
    let mut cuts: Vec<usize> = (0..seed.below(4)).map(|_| seed.below(bytes.len())).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        http.socket().write_all(&bytes[piece[0]..piece[1]])?;
        std::thread::yield_now();
    }
    Ok(())
}

/// One connection's requests, which end with a stream. Answers its tag, and the stream.
fn ask_all(address: SocketAddr, requests: usize, seed: &Seed) -> (String, EventStream) {
    let mut asked: Vec<Asked> = (1..requests).map(|_| Asked::random(seed)).collect();
    let last = Asked { kind: Kind::Stream, tag: tag(seed) };
    let bytes: Vec<u8> = asked.iter().chain([&last]).flat_map(Asked::bytes).collect();
    let mut http = Http::connect(address).expect("the hub accepts");
    send(&mut http, &bytes, seed).expect("the hub reads");
    for Asked { kind, tag } in asked.drain(..) {
        let answer = http.receive().expect("an answer");
        let text = format!("{:?} {}", answer.headers, answer.text());
        assert!(tags(&text).iter().all(|found| *found == tag), "{tag} was asked: {text}");
        let (status, quotes) = if let Kind::Publish = kind { (200, 0) } else { (404, 1) };
        assert_eq!((answer.status, tags(&text).len() >= quotes), (status, true), "{tag} was asked: {text}");
    }
    let mut stream = EventStream::receive_on(http).expect("a stream");
    assert_eq!(stream.head.status, 200);
    let gap = stream.event().expect("it begins").expect("it begins");
    assert_eq!((gap.event_type.as_str(), tags(&gap.data)), ("tidewire.gap", vec![last.tag.as_str()]), "{}", gap.data);
    (last.tag, stream)
}

fn requests_on(connection: usize) -> usize {
    if connection.is_multiple_of(STREAM_AT_ONCE_EVERY) { 1 } else { REQUESTS_A_CONNECTION }
}

#[test]
fn every_one_of_a_hundred_thousand_answers_is_its_own_requests() {
    let requests = THREADS * (0..CONNECTIONS_A_THREAD).map(requests_on).sum::<usize>();
    assert!(requests >= REQUESTS_MIN);
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_DURABILITY", "os"), ("TIDEWIRE_SHARDS", "2")]);
    let (address, clock) = (hub.address(), Clock::start());
    let seed = Seed::new("pipelined");
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let seed = seed.fork();
            std::thread::spawn(move || {
                let connections = 0..CONNECTIONS_A_THREAD;
                let streams = connections.map(|number| ask_all(address, requests_on(number), &seed));
                streams.collect::<Vec<_>>()
            })
        })
        .collect();
    let mut streams: Vec<(String, EventStream)> = Vec::new();
    for thread in threads {
        streams.extend(thread.join().expect("every answer is its request's"));
    }
    println!("{requests} answered after {:?}", Duration::from_micros(clock.now().0));
    assert!(hub.figure("tidewire_connections_adopted_total") > 0);

    // Each stream has its own event, and on its connection there is nothing else.
    let mut http = Http::connect(address).expect("the hub accepts");
    for some in streams.chunks(BATCH) {
        let body: Vec<_> = some.iter().map(|(tag, _)| json!({"topic": tag, "data": tag})).collect();
        let headers = [("content-type", "application/json")];
        let answer = http.request("POST", "/api/v1/events", &headers, json!(body).to_string().as_bytes());
        assert_eq!(answer.expect("the hub answers").status, 200);
    }
    for (tag, stream) in &mut streams {
        let shown = stream.shows(1);
        assert_eq!(shown, [("event".to_owned(), tag.clone())]);
    }
}
