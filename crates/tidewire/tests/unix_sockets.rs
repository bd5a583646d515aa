//! The hub on Unix sockets.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Clock, EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const WITHIN: Duration = Duration::from_secs(60);

/// A hub that listens on a Unix socket as well, not started yet.
struct OnUnix {
    folder: tempfile::TempDir,
    hub: Hub,
}

impl OnUnix {
    fn new(environment: &[(&str, &str)]) -> OnUnix {
        let folder = tempfile::tempdir().expect("a directory can be made");
        let place = format!("unix:{}", folder.path().join("hub.sock").display());
        let hub = Hub::new(&folder.path().join("data"), BINARY, &["--dev"], environment).also_at(&place);
        OnUnix { folder, hub }
    }

    fn start(environment: &[(&str, &str)]) -> OnUnix {
        let mut it = OnUnix::new(environment);
        it.hub.restart();
        it
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hub.sock")
    }

    fn connect(&self) -> Http {
        Http::connect_unix(&self.path()).expect("the hub listens")
    }

    fn open(&self, topic: &str, headers: &[(&str, &str)]) -> EventStream {
        stream(self.connect(), topic, headers)
    }

    fn list(&self, query: &str) -> Vec<Value> {
        let answer = self.connect_tcp().request("GET", &format!("/api/v1/connections?{query}"), &[], b"");
        answer.expect("an answer").json()["connections"].as_array().expect("a list").clone()
    }

    fn connect_tcp(&self) -> Http {
        Http::connect(self.hub.address()).expect("the hub listens")
    }
}

fn stream(http: Http, topic: &str, headers: &[(&str, &str)]) -> EventStream {
    let mut stream = EventStream::open_on(http, &format!("/api/v1/events?topic={topic}"), headers).expect("an answer");
    assert_eq!(stream.head.status, 200);
    stream.event().expect("it is no error").expect("a stream begins with a block");
    stream
}

fn publish(http: &mut Http, topic: &str, data: &str) {
    let body = json!({"topic": topic, "data": data}).to_string();
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn streams_and_requests_are_served_as_on_tcp() {
    let it = OnUnix::start(&[("TIDEWIRE_SHARDS", "2")]);
    assert!(it.hub.has_told(&format!("listening on unix:{}", it.path().display())));
    let mut streams: Vec<EventStream> = (0..6).map(|_| it.open("a", &[])).collect();
    // One on a connection that was used before, from elsewhere and back.
    let mut again = it.connect();
    publish(&mut again, "other", "x");
    streams.push(stream(again, "a", &[]));
    streams.push(stream(it.connect_tcp(), "a", &[]));
    publish(&mut it.connect(), "a", "news");
    publish(&mut it.connect_tcp(), "a", "more");
    for stream in &mut streams {
        assert_eq!([stream.published().data, stream.published().data], ["news", "more"]);
    }
    let listed = it.list("address=unix:");
    assert!(listed.len() == 7 && listed.iter().all(|shown| shown["address"] == "unix:"), "{listed:?}");
    let shards: HashSet<&str> = listed.iter().filter_map(|shown| shown["id"].as_str()?.split('-').next()).collect();
    assert_eq!(shards, HashSet::from(["0", "1"]), "one shard accepts, and deals them out");
    drop(streams);
    wait_until("they are gone", WITHIN, || it.list("").is_empty());
}

#[test]
fn whoever_is_on_the_socket_is_believed_if_unix_is_trusted() {
    for (trusted, shown) in [("127.0.0.1", "unix:"), ("unix:", "192.0.2.7")] {
        let it = OnUnix::start(&[("TIDEWIRE_TRUSTED_PROXIES", trusted)]);
        let _stream = it.open("a", &[("x-forwarded-for", "192.0.2.7")]);
        assert_eq!(it.list("")[0]["address"], shown);
    }
    let it = OnUnix::start(&[("TIDEWIRE_TRUSTED_PROXIES", "unix:"), ("TIDEWIRE_PROXY_PROTOCOL", "true")]);
    assert_eq!(it.connect().request("GET", "/", &[], b"").expect("an answer").status, 400);
    let mut http = it.connect();
    http.send_raw(b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 443\r\n").expect("it is taken");
    let _stream = stream(http, "a", &[]);
    assert_eq!(it.list("")[0]["address"], "[2001:db8::7]:4711");
}

#[test]
fn the_file_has_its_permissions_and_goes_with_the_hub() {
    for (environment, expected) in [(&[][..], 0o660), (&[("TIDEWIRE_LISTEN_MODE", "0606")], 0o606)] {
        let mut it = OnUnix::start(environment);
        let mode = std::fs::metadata(it.path()).expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, expected, "{mode:o}");
        assert!(it.hub.terminate().success());
        assert!(!it.path().exists());
    }
}

#[test]
fn what_a_kill_leaves_is_removed_and_what_others_have_is_not() {
    let mut it = OnUnix::start(&[]);
    it.hub.kill(Clock::start());
    assert!(it.path().exists(), "nobody could remove it");
    it.hub.restart();
    let mut stream = it.open("a", &[]);
    // Another hub on the same path.
    let place = format!("unix:{}", it.path().display());
    let other = it.folder.path().join("other");
    let mut other = Hub::new(&other, BINARY, &["--dev"], &[]).also_at(&place);
    let refusal = other.refuse();
    let expected = format!("failed to listen on {place} (listen)");
    assert!(refusal.said.contains(&expected) && refusal.said.contains("somebody listens on it"), "{}", refusal.said);
    publish(&mut it.connect(), "a", "still here");
    assert_eq!(stream.published().data, "still here");
    assert!(it.hub.terminate().success());
    std::fs::write(it.path(), "mine").expect("a file can be written");
    assert!(it.hub.refuse().said.contains("there is a file, which is no socket"));
    assert_eq!(std::fs::read(it.path()).expect("the file is there"), b"mine");
}

#[test]
fn health_and_metrics_may_be_on_one_as_well() {
    let mut it = OnUnix::new(&[]);
    let path = it.folder.path().join("admin.sock");
    it.hub = it.hub.with_admin_at(&format!("unix:{}", path.display()));
    it.hub.restart();
    assert!(it.hub.has_told(&format!("admin on unix:{}", path.display())));
    let get = |path: &Path, target: &str| {
        let mut http = Http::connect_unix(path).expect("the hub listens");
        http.request("GET", target, &[], b"").expect("an answer").status
    };
    assert_eq!((get(&path, "/health/ready"), get(&path, "/metrics"), get(&path, "/")), (200, 200, 404));
    assert_eq!(get(&it.path(), "/metrics"), 404);
    assert!(it.hub.terminate().success());
    assert!(!path.exists());
}

#[test]
fn a_reader_that_takes_nothing_is_found_without_the_help_of_tcp() {
    let it = OnUnix::start(&[("TIDEWIRE_STALL_TIMEOUT", "2s"), ("TIDEWIRE_HEARTBEAT", "2s")]);
    let stalled = it.open("a", &[]);
    let mut publisher = it.connect();
    let data = "x".repeat(200_000);
    wait_until("its socket takes nothing more", WITHIN, || {
        publish(&mut publisher, "a", &data);
        it.hub.figure("tidewire_short_writes_total") > 0
    });
    wait_until("it is closed", WITHIN, || it.list("").is_empty());
    assert_eq!(it.hub.figure("tidewire_stalls_total"), 1);
    drop(stalled);
}

#[test]
fn a_socket_that_cannot_be_is_refused() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let long = format!("unix:/{}", "x".repeat(200));
    for (place, expected) in [
        ("unix:relative.sock", "--listen: expected a path from the root"),
        ("unix:/nowhere/at/all/hub.sock", "failed to listen on unix:/nowhere/at/all/hub.sock (listen)"),
        (&*long, "--listen: expected a path that a socket may have"),
    ] {
        let refusal = Hub::new(folder.path(), BINARY, &["--dev"], &[]).also_at(place).refuse();
        assert!(refusal.said.contains(expected), "{}", refusal.said);
    }
    let refusal = Hub::new(folder.path(), BINARY, &["--dev"], &[("TIDEWIRE_LISTEN_MODE", "rw")]).refuse();
    assert!(refusal.said.contains("TIDEWIRE_LISTEN_MODE: expected permissions in octal"), "{}", refusal.said);
}
