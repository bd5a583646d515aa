//! Patterns and templates over the API: what is live, what is resumed from memory and from disk, private events, and
//! what is refused.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidewire_harness::{EventStream, Http, Hub, Response};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// One user's topics, in the ways in which they may be written, and others.
const TOPICS: [&str; 6] = [
    "/users/alice/a",
    "users/alice/b/c",
    "https://hub.example/users/alice/d",
    "/users/alice",
    "/users/bob/a",
    "urn:users:alice",
];

/// How `TOPICS` of alice are asked for; the numbers are those of the topics that match.
const QUERIES: [(&str, &[usize]); 8] = [
    ("pattern=/users/alice/*", &[0, 1, 2]),
    ("pattern=/users/:user", &[3]),
    ("pattern=/users/:user/a", &[0, 4]),
    ("pattern=/users/alice/(a|d)", &[0, 2]),
    ("pattern=urn%5C:users%5C:*&pattern=/users/bob/*", &[4, 5]),
    ("template=/users/{user}/a", &[0, 4]),
    ("template={%2Bbase}/users/alice{/rest*}", &[0, 2, 3]),
    ("template=urn:users:{user}&pattern=/users/bob/*&topic=users/alice/b/c", &[1, 4, 5]),
];

fn post(hub: &Hub, headers: &[(&str, &str)], events: &Value) -> Response {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let headers = [&[("content-type", "application/json")], headers].concat();
    http.request("POST", "/api/v1/events", &headers, events.to_string().as_bytes()).expect("the hub answers")
}

/// Publishes an event on each topic, and another on a topic of its own behind each, so that much lies between.
fn publish(hub: &Hub, from: usize, rounds: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for round in from..from + rounds {
        let events = TOPICS.iter().enumerate().flat_map(|(n, topic)| {
            let data = format!("{n} {round}");
            [
                json!({"topic": topic, "data": data}),
                json!({"topic": format!("/other/{n}/{round}"), "data": "x".repeat(500)}),
            ]
        });
        let answer = post(hub, &[], &events.collect());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let of_round = answer.json()["ids"].take();
        ids.extend(of_round.as_array().expect("ids").iter().map(|id| id.as_str().expect("text").to_owned()));
    }
    ids
}

fn open(hub: &Hub, query: &str, headers: &[(&str, &str)]) -> EventStream {
    let stream = EventStream::open(hub.address(), &format!("/api/v1/events?{query}"), headers);
    let stream = stream.expect("the hub answers");
    assert_eq!(stream.head.status, 200, "{query}");
    stream
}

#[track_caller]
fn assert_shows(stream: &mut EventStream, query: &str, numbers: &[usize], rounds: std::ops::Range<usize>) {
    for round in rounds {
        for number in numbers {
            assert_eq!(stream.published().data, format!("{number} {round}"), "{query}");
        }
    }
}

fn start(environment: &[(&str, &str)]) -> Hub {
    Hub::start_with(BINARY, &["--dev", "--public-url", "https://hub.example"], environment)
}

#[test]
fn live_events_reach_whom_a_pattern_or_template_says() {
    let hub = start(&[]);
    let mut streams: Vec<_> = QUERIES.iter().map(|(query, _)| open(&hub, query, &[])).collect();
    publish(&hub, 0, 40);
    for (stream, (query, numbers)) in streams.iter_mut().zip(QUERIES) {
        assert_shows(stream, query, numbers, 0..40);
    }
}

#[test]
fn what_was_missed_comes_from_memory() {
    let hub = start(&[]);
    let ids = publish(&hub, 0, 10);
    for (query, numbers) in QUERIES {
        let mut stream = open(&hub, query, &[("last-event-id", &ids[3 * 2 * TOPICS.len() - 1])]);
        assert_shows(&mut stream, query, numbers, 3..10);
        let last = format!("{query}&from=-{}", 2 * numbers.len());
        assert_shows(&mut open(&hub, &last, &[]), &last, numbers, 8..10);
    }
}

#[test]
fn what_was_missed_comes_from_disk_and_goes_on_live() {
    let hub = start(&[("TIDEWIRE_TAIL_BYTES", "256KiB"), ("TIDEWIRE_SEGMENT_BYTES", "1MiB")]);
    let rounds = 500;
    let ids = publish(&hub, 0, rounds);
    let mut streams = Vec::new();
    for (query, numbers) in QUERIES {
        let mut stream = open(&hub, query, &[("last-event-id", &ids[3 * 2 * TOPICS.len() - 1])]);
        assert_shows(&mut stream, query, numbers, 3..rounds);
        let all = format!("{query}&from=earliest");
        assert_shows(&mut open(&hub, &all, &[]), &all, numbers, 0..rounds);
        let last = format!("{query}&from=-{}", 400 * numbers.len());
        assert_shows(&mut open(&hub, &last, &[]), &last, numbers, 100..rounds);
        streams.push(stream);
    }
    publish(&hub, rounds, 3);
    for (stream, (query, numbers)) in streams.iter_mut().zip(QUERIES) {
        assert_shows(stream, query, numbers, rounds..rounds + 3);
    }
}

#[test]
fn a_place_that_is_not_known_is_a_gap_with_a_pattern_as_with_a_topic() {
    let hub = start(&[]);
    publish(&hub, 0, 2);
    let mut stream = open(&hub, "pattern=/users/alice/*&last_event_id=1-0", &[]);
    assert_eq!(stream.shows(1), [("epoch".to_owned(), "#1-0".to_owned())]);
    assert_shows(&mut stream, "after the gap", &[0, 1, 2], 0..2);
}

#[test]
fn what_is_no_pattern_or_template_is_refused_with_its_place() {
    let hub = start(&[]);
    let many = |name: &str, count| (0..count).map(|n| format!("&{name}=/x{n}/*")).collect::<String>();
    let too_many = (many("pattern", 101), many("pattern", 60) + &many("template", 41));
    let expressions: String = (0..6).map(|n| format!("&pattern=/({n}|x)")).collect();
    let large = "a".repeat(1_025);
    for (query, name, says) in [
        ("pattern=", "pattern", "must not be empty"),
        ("topic=a&pattern=/users/(a", "pattern", "(at byte 7)"),
        ("pattern=/a&pattern=/b/([a-z)", "pattern", "`pattern=/b/([a-z)`"),
        ("pattern=/([a-z]{100000})", "pattern", "8192 bytes"),
        ("pattern=https://]:80/", "pattern", "(at byte 9)"),
        ("pattern=/a%0Ab", "pattern", "U+000A"),
        ("pattern=%FF", "query", "UTF-8"),
        (&format!("pattern={large}"), "pattern", "1025 bytes"),
        (&format!("template={large}"), "pattern", "1025 bytes"),
        ("template=/users/{id", "pattern", "(at byte 7)"),
        ("template=/users/{}", "pattern", "(at byte 8)"),
        ("template=/{a:9999}", "pattern", "8192 bytes"),
        (&too_many.0, "matchers", "100"),
        (&too_many.1, "matchers", "100"),
        (&expressions, "matchers", "1000"),
        ("patern=/a", "topic-missing", "pattern"),
    ] {
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let answer = http.request("GET", &format!("/api/v1/events?{query}"), &[], b"").expect("the hub answers");
        let problem = answer.json();
        assert_eq!((answer.status, &problem["type"]), (400, &json!(format!("urn:tidewire:error:{name}"))), "{query}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{query}: {problem}");
    }
}

/// A hub that asks for tokens, and the folder with its key.
struct Guarded {
    hub: Hub,
    folder: TempDir,
}

impl Guarded {
    fn start() -> Guarded {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let key = folder.path().join("key").display().to_string();
        run(&["token", "new-key", &key]);
        let arguments = ["--key-file", &key, "--public-url", "https://hub.example"];
        Guarded { hub: Hub::start_with(BINARY, &arguments, &[]), folder }
    }

    /// The value of an `Authorization` header with these rights.
    fn token(&self, rights: &[&str]) -> String {
        let key = self.folder.path().join("key").display().to_string();
        let arguments = [&["token", "mint", "--key-file", &key], rights].concat();
        format!("Bearer {}", run(&arguments).trim())
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_grant_may_be_a_pattern_or_a_template() {
    let guarded = Guarded::start();
    let publisher = guarded.token(&["--publish-pattern", "/users/*", "--publish-template", "urn:users:{user}"]);
    let publish = |topic: &str, data: &str| {
        let event = json!({"topic": topic, "data": data, "private": true});
        post(&guarded.hub, &[("authorization", &publisher)], &event).status
    };
    let readers: [(&[&str], &[usize]); 5] = [
        (&["--subscribe-pattern", "/users/alice/*"], &[0, 1, 2]),
        (&["--subscribe-template", "/users/{user}/a"], &[0, 4]),
        (&["--subscribe-pattern", "/users/:x/a", "--subscribe", "urn:users:alice"], &[0, 4, 5]),
        (&["--subscribe-pattern", "https://elsewhere.example/*"], &[]),
        (&["--subscribe", "/users/alice/*"], &[]),
    ];
    let tokens = readers.map(|(rights, _)| guarded.token(rights));
    let mut live: Vec<_> =
        tokens.iter().map(|token| open(&guarded.hub, "pattern=*&topic=*", &[("authorization", token)])).collect();
    for (n, topic) in TOPICS.iter().enumerate() {
        assert_eq!(publish(topic, &format!("{n} 0")), 200, "{topic}");
    }
    assert_eq!(publish("/elsewhere", ""), 403);
    assert_eq!(publish("urn:users:a/b", ""), 403);
    // A public event tells that nothing comes in between.
    let end = guarded.token(&["--publish", "end"]);
    assert_eq!(post(&guarded.hub, &[("authorization", &end)], &json!({"topic": "end", "data": "end"})).status, 200);
    for ((stream, token), (rights, numbers)) in live.iter_mut().zip(&tokens).zip(readers) {
        let resumed = open(&guarded.hub, "topic=*&from=earliest", &[("authorization", token)]);
        let by_pattern =
            open(&guarded.hub, "pattern=*&pattern=*://*&pattern=urn%5C:*&from=earliest", &[("authorization", token)]);
        for stream in [stream, &mut { resumed }, &mut { by_pattern }] {
            assert_shows(stream, &format!("{rights:?}"), numbers, 0..1);
            assert_eq!(stream.published().data, "end", "{rights:?}");
        }
    }
}
