//! What `cargo xtask instructions` counts the instructions of: the heads of readers who come back after a storm, each with
//! 100 events missed. A head is parsed and admitted, its token verified, its place found, its group looked up, and its
//! first visit made. It is to take at most 60 µs, or those who wait for their turn wait for too long; run by itself, this
//! says how long it took here.

use std::net::SocketAddr;
use std::time::Instant;

use tidewire_auth::{Claims, mint};
use tidewire_core::{Limits, Owed, Shard};
use tidewire_engine::{Admission, Admit, ClientAddress, Head};
use tidewire_log::{Data, EVENT_BYTES, EventLog, NewEvent};
use tidewire_server::Measuring;
use tidewire_topic::{MatcherSet, Topic};

const HEADS: u32 = 1_000;
/// The topics that readers take turns on. What was missed of all of them is in the tail.
const TOPICS: u32 = 20;
const MISSED: usize = 100;
const DATA: &str =
    "an event of about the length that most events have, which is a hundred bytes or so, and not much more";
const NOW_MS: u64 = 1_000;

fn main() {
    let hub = Measuring::closed();
    let (log, tail, admissions) = (hub.log(), hub.tail(), hub.admissions());
    publish(&*log, "elsewhere");
    let last_id = log.head().to_string();
    for topic in 0..TOPICS {
        (0..MISSED).for_each(|_| publish(&*log, &format!("users/{topic}")));
    }
    let heads: Vec<String> = (0..HEADS).map(|reader| head(reader, &last_id)).collect();
    let mut shard = Shard::new(Limits { heartbeat_ms: 20_000, stall_ms: 120_000 });
    #[expect(clippy::disallowed_methods, reason = "it says how long it took")]
    let begun = Instant::now();
    for head in &heads {
        let mut missed = 0;
        measured(&mut || {
            let Admission::Stream(stream) = admit(&admissions, head) else { panic!("it is a stream") };
            let key = shard.join((), stream, &tail, NOW_MS);
            let Owed::Write(bytes, ()) = shard.owed(key, &tail) else { panic!("it missed something") };
            let written = bytes.len();
            missed = shard.wrote(key, written, NOW_MS).frames;
        });
        assert_eq!(missed, MISSED);
    }
    println!("{:?} a head", begun.elapsed() / HEADS);
}

/// What callgrind looks for: it must be there, under this name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn admit(admissions: &impl Admit, head: &str) -> Admission {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    assert!(request.parse(head.as_bytes()).expect("a head").is_complete());
    let (Some(method), Some(target)) = (request.method, request.path) else { panic!("it is whole") };
    let peer = ClientAddress::from(SocketAddr::from(([127, 0, 0, 1], 1)));
    admissions.admit(&Head { method, target, version_minor: 1, headers: request.headers, peer })
}

/// As a browser's fetch sends it.
fn head(reader: u32, last_id: &str) -> String {
    let claims =
        Claims { subject: Some(format!("reader-{reader}")), subscribe: Some(MatcherSet::any()), ..Claims::default() };
    let token = mint(&Measuring::SECRET, &claims).expect("a token");
    format!(
        "GET /api/v1/events?topic=users%2F{topic} HTTP/1.1\r\n\
         Host: hub.example\r\n\
         Connection: keep-alive\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
         Accept: text/event-stream\r\n\
         Authorization: Bearer {token}\r\n\
         Last-Event-ID: {last_id}\r\n\
         Sec-Fetch-Site: same-origin\r\n\
         Sec-Fetch-Mode: cors\r\n\
         Sec-Fetch-Dest: empty\r\n\
         Referer: https://hub.example/\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9\r\n\r\n",
        topic = reader % TOPICS
    )
}

fn publish(log: &dyn EventLog, topic: &str) {
    let topics = vec![Topic::parse(topic).expect("a topic")];
    let event = NewEvent::new(topics, &Data::Text(DATA.into()), EVENT_BYTES).expect("an event");
    // Who waits is here.
    log.append(vec![event], Box::new(|fate| assert!(fate.is_ok())));
}
