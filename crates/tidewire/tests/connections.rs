//! Looking at the streams that are open, and ending one of them.

use std::collections::HashSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Clock, EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const PATH: &str = "/api/v1/connections";
const WITHIN: Duration = Duration::from_secs(60);

fn ask(hub: &Hub, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request(method, target, headers, b"").expect("the hub answers");
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// What is listed for a query.
fn list(hub: &Hub, query: &str) -> Vec<Value> {
    let (status, page) = ask(hub, "GET", &format!("{PATH}?{query}"), &[]);
    assert_eq!((status, &page["next"]), (200, &Value::Null), "{page}");
    page["connections"].as_array().expect("a list").clone()
}

fn id(connection: &Value) -> String {
    connection["id"].as_str().expect("an id").to_owned()
}

fn publish(hub: &Hub, event: &Value) -> String {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, event.to_string().as_bytes());
    let answer = answer.expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ids = answer.json();
    ids["id"].as_str().or_else(|| ids["ids"].as_array()?.last()?.as_str()).expect("an id").to_owned()
}

/// A stream, and its port.
fn open(hub: &Hub, query: &str, headers: &[(&str, &str)]) -> (EventStream, String) {
    let http = Http::connect(hub.address()).expect("the hub listens");
    let address = http.socket().local_addr().expect("it is connected").to_string();
    let mut stream = EventStream::open_on(http, &format!("/api/v1/events?{query}"), headers).expect("an answer");
    assert_eq!(stream.head.status, 200);
    stream.event().expect("it is no error").expect("a stream begins with a block");
    (stream, address)
}

/// A hub that asks for tokens, and how to make them.
struct Guarded {
    hub: Hub,
    key: tempfile::TempDir,
}

impl Guarded {
    fn start() -> Guarded {
        let key = tempfile::tempdir().expect("a directory can be made");
        let file = key.path().join("key").display().to_string();
        run(&["token", "new-key", &file]);
        let arguments = ["--key-file", &file, "--public-url", "https://hub.example"];
        Guarded { hub: Hub::start_with(BINARY, &arguments, &[("TIDEWIRE_SHARDS", "2")]), key }
    }

    fn token(&self, rights: &[&str]) -> String {
        let file = self.key.path().join("key").display().to_string();
        format!("Bearer {}", run(&[&["token", "mint", "--key-file", &file], rights].concat()).trim())
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_stream_is_listed_with_who_has_it_and_what_it_asks_for() {
    let guarded = Guarded::start();
    let hub = &guarded.hub;
    let admin = guarded.token(&["--admin", "--publish", "*"]);
    let named = |name| guarded.token(&["--sub", name, "--subscribe", "x"]);
    let (alice, bob) = (named("alice"), named("bob"));
    let (_first, address) =
        open(hub, "topic=b&topic=a&pattern=/x/*&template=/y/{z}&type=t", &[("authorization", &alice)]);
    let (_second, _) = open(hub, "topic=*", &[("authorization", &bob)]);
    // One on a connection that was used before comes back from elsewhere.
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let later = http.socket().local_addr().expect("it is connected").to_string();
    http.request("GET", "/nothing", &[], b"").expect("an answer");
    let nameless = guarded.token(&["--subscribe", "a"]);
    let _third =
        EventStream::open_on(http, "/api/v1/events?topic=c", &[("authorization", &nameless)]).expect("a stream");
    let listed = |query: &str| {
        let (status, page) = ask(hub, "GET", &format!("{PATH}?{query}"), &[("authorization", &admin)]);
        assert_eq!(status, 200, "{page}");
        page["connections"].as_array().expect("a list").clone()
    };
    wait_until("all three are listed", WITHIN, || listed("").len() == 3);
    let of_alice = listed("subject=alice");
    assert_eq!(of_alice.len(), 1);
    let mut shown = of_alice[0].clone();
    let age = shown["age_seconds"].take().as_u64().expect("an age");
    assert!(age < 60, "{age}");
    shown["position"].as_str().and_then(|id| id.strip_prefix('#')).expect("an id");
    shown.as_object_mut().expect("an object").remove("position");
    let id_of_alice = id(&of_alice[0]);
    let lag = json!({"events": 0, "milliseconds": 0});
    assert_eq!(
        shown,
        json!({
            "id": id_of_alice, "subject": "alice", "address": address, "topics": ["a", "b"], "patterns": ["/x/*"],
            "templates": ["/y/{z}"], "types": ["t"], "transport": "sse", "lag": lag, "age_seconds": null
        })
    );
    let ids = |query: &str| listed(query).iter().map(id).collect::<HashSet<_>>();
    let all = ids("");
    assert_eq!((all.len(), ids("subject=carol").len()), (3, 0));
    let (of_bob, of_nobody) = (ids("subject=bob"), ids(&format!("address={later}")));
    assert_eq!(of_nobody.len(), 1);
    assert!(listed(&format!("address={later}"))[0].get("subject").is_none());
    assert_eq!(ids(&format!("address={address}")), HashSet::from([id_of_alice.clone()]));
    assert_eq!(ids("address=127.0.0.1"), all);
    assert_eq!(ids("address=127.0.0.2"), HashSet::new());
    // Who would get an event on the topic.
    let with_alice = |others: &HashSet<String>| others | &HashSet::from([id_of_alice.clone()]);
    assert_eq!(ids("topic=a"), with_alice(&of_bob));
    assert_eq!(ids("topic=/x/1"), with_alice(&of_bob));
    assert_eq!(ids("topic=c"), &of_bob | &of_nobody);
    assert_eq!(ids("topic=a&subject=bob"), of_bob);
    // The position follows what is delivered.
    let body = json!({"topic": "a", "data": 1, "type": "t"}).to_string();
    let headers = [("content-type", "application/json"), ("authorization", &*admin)];
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    let published = answer.json()["id"].clone();
    wait_until("all are there", WITHIN, || listed("").iter().all(|shown| shown["position"] == published));
}

#[test]
fn only_who_manages_the_hub_may_look_and_end() {
    let guarded = Guarded::start();
    let hub = &guarded.hub;
    let (reader, admin) = (guarded.token(&["--subscribe", "*", "--publish", "*"]), guarded.token(&["--admin"]));
    for (headers, listed, ended) in [
        (vec![], 401, 401),
        (vec![("authorization", &*reader)], 403, 403),
        (vec![("authorization", &*admin)], 200, 404),
    ] {
        assert_eq!(ask(hub, "GET", PATH, &headers).0, listed);
        assert_eq!(ask(hub, "DELETE", &format!("{PATH}/0-0-0"), &headers).0, ended);
    }
}

#[test]
fn a_stream_is_ended_with_its_last_chunk_and_others_go_on() {
    let hub = Hub::start(BINARY);
    let ((mut ended, address), (mut stays, _)) = (open(&hub, "topic=a", &[]), open(&hub, "topic=a", &[]));
    let id_of_it = id(&list(&hub, &format!("address={address}"))[0]);
    let path = format!("{PATH}/{id_of_it}");
    assert_eq!(ask(&hub, "DELETE", &path, &[]).0, 204);
    assert!(ended.event().expect("the last chunk comes, and nothing is cut").is_none());
    wait_until("it is gone", WITHIN, || list(&hub, "").len() == 1);
    let (status, problem) = ask(&hub, "DELETE", &path, &[]);
    assert_eq!((status, &problem["type"]), (404, &json!("urn:tidewire:error:connection-not-found")));
    // Its place is given to another, under another name.
    let (_next, address) = open(&hub, "topic=a", &[]);
    assert_ne!(id(&list(&hub, &format!("address={address}"))[0]), id_of_it);
    assert_eq!(ask(&hub, "DELETE", &path, &[]).0, 404);
    publish(&hub, &json!({"topic": "a", "data": "for those who stay"}));
    assert_eq!(stays.published().data, "for those who stay");
    for (method, target) in [("POST", PATH), ("DELETE", PATH), ("GET", &*path)] {
        assert_eq!(ask(&hub, method, target, &[]).0, 405, "{method} {target}");
    }
    for id in ["x", "9-0-0", "0-99999999-0", "0-0-0-0", "%FF"] {
        assert_eq!(ask(&hub, "DELETE", &format!("{PATH}/{id}"), &[]).0, 404, "{id}");
    }
}

#[test]
fn a_slow_reader_lags_and_is_ended_behind_the_event_that_it_has_half_of() {
    const EVENTS: usize = 400;
    let hub = Hub::start(BINARY);
    let (mut slow, _) = open(&hub, "topic=a", &[]);
    let before = list(&hub, "")[0]["position"].clone();
    let data = "x".repeat(100_000);
    let mut last = String::new();
    for _ in 0..EVENTS / 20 {
        let array: Vec<Value> = (0..20).map(|_| json!({"topic": "a", "data": data})).collect();
        last = publish(&hub, &json!(array));
    }
    // What the sockets hold is less than was published.
    let mut shown = Value::Null;
    let mut settled = String::new();
    wait_until("its socket takes nothing more", WITHIN, || {
        shown = list(&hub, "")[0].clone();
        let now = shown.to_string();
        std::mem::replace(&mut settled, now.clone()) == now && hub.figure("tidewire_short_writes_total") > 0
    });
    let lag = shown["lag"]["events"].as_u64().expect("a number");
    assert!((1..=EVENTS as u64).contains(&lag), "{shown}");
    assert!(shown["position"] != json!(last) && shown["position"].as_str() >= before.as_str(), "{shown}");
    assert_eq!(ask(&hub, "DELETE", &format!("{PATH}/{}", id(&shown)), &[]).0, 204);
    let mut whole = 0;
    while let Some(event) = slow.event().expect("it is not cut") {
        if event.event_type == "message" {
            assert_eq!(event.data.len(), data.len());
            whole += 1;
        }
    }
    assert!(whole < EVENTS, "it was ended before the end: {whole}");
    wait_until("it is gone", WITHIN, || list(&hub, "").is_empty());
}

#[test]
fn pages_show_each_of_many_streams_once() {
    const STREAMS: usize = 2_300;
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_SHARDS", "2")]);
    let streams: Vec<EventStream> = (0..STREAMS).map(|n| open(&hub, &format!("topic=t{}", n % 7), &[]).0).collect();
    for (query, count) in [("limit=1000", STREAMS), ("limit=333", STREAMS), ("topic=t3&limit=100", STREAMS.div_ceil(7))]
    {
        let mut seen = HashSet::new();
        let (mut after, mut shown) = (String::new(), 0);
        loop {
            let (status, page) = ask(&hub, "GET", &format!("{PATH}?{query}{after}"), &[]);
            assert_eq!(status, 200, "{page}");
            let connections = page["connections"].as_array().expect("a list");
            shown += connections.len();
            seen.extend(connections.iter().map(id));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!((seen.len(), shown), (count, count), "{query}");
    }
    drop(streams);
}

/// How long the slowest of many events took from its publisher's request to its reader.
fn slowest(hub: &Hub, reader: &mut EventStream) -> Duration {
    let clock = Clock::start();
    let took = (0..100).map(|_| {
        let sent = clock.now().0;
        publish(hub, &json!({"topic": "ticks", "data": ""}));
        reader.published();
        clock.now().0 - sent
    });
    Duration::from_micros(took.max().expect("there are events"))
}

#[test]
fn who_lists_all_streams_over_and_over_holds_nobody_up() {
    const STREAMS: usize = 3_000;
    const MORE_MAX: Duration = Duration::from_millis(100);
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_SHARDS", "1")]);
    let patterns: String = (0..10).map(|n| format!("&pattern=/{n}/:a/*")).collect();
    let _streams: Vec<EventStream> =
        (0..STREAMS).map(|n| open(&hub, &format!("topic=t{n}{patterns}"), &[]).0).collect();
    let (mut reader, _) = open(&hub, "topic=ticks", &[]);
    let mut told = Vec::new();
    let holds = (0..3).any(|_| {
        let alone = slowest(&hub, &mut reader);
        let is_over = AtomicBool::new(false);
        let (beside, pages) = std::thread::scope(|scope| {
            let list = || {
                let mut pages = 0;
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(ask(&hub, "GET", &format!("{PATH}?topic=/9/x/y&limit=1000"), &[]).0, 200);
                    pages += 1;
                }
                pages
            };
            let listing = scope.spawn(list);
            let beside = slowest(&hub, &mut reader);
            is_over.store(true, Ordering::Relaxed);
            (beside, listing.join().expect("it lists"))
        });
        told.push(format!("{alone:?} alone, {beside:?} beside {pages} pages"));
        pages > 0 && beside <= alone + MORE_MAX
    });
    println!("{told:?}");
    assert!(holds, "{told:?}");
}
