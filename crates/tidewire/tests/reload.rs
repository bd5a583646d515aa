//! SIGHUP: the configuration is read again. What can change does, what cannot is named, and what is wrong changes nothing.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tidewire_harness::{EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long a hub may take to do as it is told, beside a build.
const WITHIN: Duration = Duration::from_secs(60);

/// A hub that asks for tokens, its file and its key.
struct Configured {
    hub: Hub,
    folder: TempDir,
}

impl Configured {
    fn start(file: &str, arguments: &[&str]) -> Configured {
        let folder = tempfile::tempdir().expect("a folder");
        let (key, path) = (folder.path().join("key"), folder.path().join("hub.toml"));
        run(&["token", "new-key", &key.display().to_string()]);
        std::fs::write(&path, format!("key_file = {key:?}\n{file}")).expect("a file");
        let path = path.display().to_string();
        let arguments = [&["--public-url", "https://hub.example", "--config", &path], arguments].concat();
        Configured { hub: Hub::start_with(BINARY, &arguments, &[]), folder }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn token(&self) -> String {
        let key = self.key().display().to_string();
        format!("Bearer {}", run(&["token", "mint", "--key-file", &key, "--publish", "*", "--subscribe", "*"]).trim())
    }

    /// Writes the file anew, says so to the hub, and waits until it has told this.
    fn reload(&self, file: &str, told: &str) -> String {
        let before = self.hub.told().len();
        std::fs::write(self.folder.path().join("hub.toml"), format!("key_file = {:?}\n{file}", self.key()))
            .expect("written");
        self.hub.signal("HUP");
        wait_until(told, WITHIN, || self.hub.told()[before..].contains(told));
        self.hub.told()[before..].to_owned()
    }

    fn publish(&self, token: &str, bytes: usize) -> u16 {
        let mut http = Http::connect(self.hub.address()).expect("the hub accepts");
        let headers = [("content-type", "application/json"), ("authorization", token)];
        let body = json!({"topic": "a", "data": "x".repeat(bytes)}).to_string();
        http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("it answers").status
    }

    fn allowed_origin(&self) -> Option<String> {
        let mut http = Http::connect(self.hub.address()).expect("the hub accepts");
        let headers = [("origin", "https://app.example")];
        let answer = http.request("GET", "/api/v1/events/1-0", &headers, b"").expect("it answers");
        answer.header("access-control-allow-origin").map(str::to_owned)
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

const AGAIN: &str = "the configuration was read again changes=";

#[test]
fn what_can_change_does_and_streams_go_on() {
    let configured = Configured::start("", &[]);
    let token = configured.token();
    let authorized = [("authorization", &*token)];
    let mut stream =
        EventStream::open(configured.hub.address(), "/api/v1/events?topic=a", &authorized).expect("it answers");
    assert_eq!((configured.publish(&token, 100), configured.allowed_origin()), (200, None));
    stream.published();
    let file =
        "event_bytes = 50\ncors_origins = [\"https://app.example\"]\nrequest_log = \"refused\"\nretry = \"1h\"\n";
    let told = configured.reload(file, AGAIN);
    for line in ["changed key=\"event_bytes\" from=\"the default\" to=\"50\"", "changes=4"] {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }
    assert_eq!((configured.publish(&token, 51), configured.publish(&token, 50)), (413, 200));
    assert_eq!(configured.allowed_origin().as_deref(), Some("https://app.example"));
    wait_until("the refusal is told", WITHIN, || configured.hub.has_told("problem=\"event-bytes\""));
    stream.published();
    let again = EventStream::open(configured.hub.address(), "/api/v1/events?topic=a", &authorized);
    let mut again = again.expect("it answers");
    let first = again.item().expect("it begins");
    let retry = match first {
        Some(tidewire_sse::Item::Retry(ms)) => ms,
        other => panic!("not a retry: {other:?}"),
    };
    assert!((2_700_000..=4_500_000).contains(&retry), "{retry}");
    let told = configured.reload("", AGAIN);
    assert!(told.contains("key=\"event_bytes\" from=\"50\" to=\"the default\""), "{told}");
    assert_eq!(configured.publish(&token, 100), 200);
    stream.published();
}

#[test]
fn another_key_is_taken_from_the_same_file() {
    let configured = Configured::start("", &[]);
    let old = configured.token();
    assert_eq!(configured.publish(&old, 1), 200);
    std::fs::remove_file(configured.key()).expect("it is there");
    run(&["token", "new-key", &configured.key().display().to_string()]);
    let new = configured.token();
    assert_eq!(configured.publish(&new, 1), 401, "it is not looked at before it is asked for");
    configured.reload("", "tokens are verified with a new key");
    assert_eq!((configured.publish(&old, 1), configured.publish(&new, 1)), (401, 200));
}

#[test]
fn what_needs_a_restart_is_named_with_what_runs_and_what_is_wanted() {
    let configured = Configured::start("shards = 1\nevent_bytes = 50\n", &["--heartbeat", "30s"]);
    let told = configured.reload("shards = 2\nsegment_bytes = \"1MiB\"\nheartbeat = \"5s\"\nevent_bytes = 60\n", AGAIN);
    for line in [
        "not changed: this key needs a restart key=\"shards\" running=\"1\" wanted=\"2\"",
        "not changed: this key needs a restart key=\"segment_bytes\" running=\"the default\" wanted=\"1MiB\"",
        "changed key=\"event_bytes\" from=\"50\" to=\"60\"",
        "changes=1 need_restart=\"segment_bytes, shards\"",
    ] {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }
    assert!(!told.contains("heartbeat"), "the flag beats the file: {told}");
    let token = configured.token();
    assert_eq!((configured.publish(&token, 60), configured.publish(&token, 61)), (200, 413));
    // It is named for as long as it differs from what runs.
    let told = configured.reload("shards = 2\nevent_bytes = 60\n", AGAIN);
    assert!(told.contains("key=\"shards\" running=\"1\"") && !told.contains("segment_bytes"), "{told}");
}

#[test]
fn what_is_wrong_changes_nothing_and_says_why() {
    let mut configured = Configured::start("event_bytes = 50\n", &[]);
    let token = configured.token();
    for (file, why) in [
        ("event_bytes = 100\nevent_byte = 5\n", "did you mean event_bytes"),
        ("event_bytes = 100\nretention_age = \"1 parsec\"\n", "retention_age in"),
        ("event_bytes = 0\n", "expected 1 at least, not 0"),
        ("event_bytes = 100\n[[\n", "is not TOML"),
        // Its segments are still as large as they were.
        (
            "event_bytes = 100\nsegment_bytes = \"1MiB\"\nretention_bytes = \"2MiB\"\n",
            "expected segment_bytes (67108864)",
        ),
    ] {
        let told = configured.reload(file, "is not valid, and nothing was changed");
        assert!(told.contains(why), "{why:?} is not in {told}");
        assert_eq!((configured.publish(&token, 50), configured.publish(&token, 51)), (200, 413), "{file}");
    }
    std::fs::write(configured.key(), "no key").expect("written");
    configured.reload("event_bytes = 100\n", "is not valid, and nothing was changed");
    assert_eq!((configured.publish(&token, 50), configured.publish(&token, 51)), (200, 413));
    assert!(configured.hub.terminate().success());
}

#[test]
fn what_the_log_keeps_follows_the_file() {
    let configured = Configured::start("segment_bytes = \"64KiB\"\nretention_bytes = \"10MiB\"\n", &[]);
    let token = configured.token();
    for _ in 0..20 {
        assert_eq!(configured.publish(&token, 50_000), 200);
    }
    assert!(configured.hub.figure("tidewire_log_bytes") > 1_000_000);
    configured.reload("segment_bytes = \"64KiB\"\nretention_bytes = \"300KiB\"\n", AGAIN);
    wait_until("old files go", WITHIN, || configured.hub.figure("tidewire_log_bytes") <= 300 << 10);
}

/// The story: the hub looked at no other signal until it had read its configuration again, which may wait for a disk.
#[test]
fn a_hub_that_reads_what_never_comes_stops_when_it_is_told_to() {
    let mut configured = Configured::start("drain_delay = \"0s\"\n", &[]);
    std::fs::remove_file(configured.key()).expect("a file");
    // Whoever opens it waits for somebody who writes.
    assert!(Command::new("mkfifo").arg(configured.key()).status().expect("mkfifo can be run").success());
    configured.hub.signal("HUP");
    let token = "Bearer none";
    // It is being read once it has been opened, which nobody sees from here; the hub serves meanwhile.
    assert_eq!(configured.publish(token, 1), 401);
    configured.hub.signal("TERM");
    assert_eq!(configured.hub.ended().code(), Some(0));
    assert!(!configured.hub.told().contains(AGAIN));
}
