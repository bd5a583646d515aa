//! Erasing: at once for everyone, told to those who were away, and gone from the disk.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

fn publish(hub: &Hub, event: &serde_json::Value, headers: &[(&str, &str)]) -> String {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let headers = [&[("content-type", "application/json")], headers].concat();
    let body = event.to_string();
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn ask(hub: &Hub, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, serde_json::Value) {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request(method, target, headers, b"").expect("the hub answers");
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn event_path(id: &str) -> String {
    format!("/api/v1/events/{}", id.replace('#', "%23"))
}

fn stream_after(hub: &Hub, topic: &str, id: &str, headers: &[(&str, &str)]) -> EventStream {
    let headers = [&[("last-event-id", id)], headers].concat();
    let target = format!("/api/v1/events?topic={topic}");
    EventStream::open(hub.address(), &target, &headers).expect("the hub answers")
}

/// The types and data of the next events, but for checkpoints.
fn next(stream: &mut EventStream, count: usize) -> Vec<(String, String)> {
    let mut events = Vec::new();
    while events.len() < count {
        let event = stream.event().expect("the stream goes on").expect("the stream goes on");
        match event.event_type.as_str() {
            "tidewire.checkpoint" => {}
            "tidewire.gap" => {
                let gap: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
                events.push((event.event_type, gap["reason"].as_str().expect("a reason").to_owned()));
            }
            _ => events.push((event.event_type, event.data)),
        }
    }
    events
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(kind, data)| (kind.to_string(), data.to_string())).collect()
}

fn holds(folder: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(folder).expect("the folder can be read").map(|file| file.expect("a file").path());
    // A file may be renamed meanwhile.
    files
        .filter_map(|file| std::fs::read(file).ok())
        .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn what_is_erased_is_gone_for_everyone_also_after_a_kill_and_from_the_disk() {
    let mut hub = Hub::start_with(BINARY, &["--dev", "--erase-within", "1s", "--segment-bytes", "64KiB"], &[]);
    let first = publish(&hub, &json!({"topic": "a", "data": "first"}), &[]);
    let mut watching = stream_after(&hub, "a", &first, &[]);
    let secret = publish(&hub, &json!({"topic": "a", "data": "secret-17"}), &[]);
    publish(&hub, &json!({"topic": "a/b", "data": "secret-18", "id": "mine"}), &[]);
    publish(&hub, &json!({"topics": ["a", "c"], "data": "secret-19"}), &[]);
    publish(&hub, &json!({"topic": "a", "data": "last"}), &[]);
    assert_eq!(
        next(&mut watching, 3),
        pairs(&[("message", "secret-17"), ("message", "secret-19"), ("message", "last")])
    );
    assert!(holds(hub.data(), "secret-17"));

    assert_eq!(ask(&hub, "DELETE", &event_path(&secret), &[]).0, 204);
    assert_eq!(ask(&hub, "DELETE", "/api/v1/events/mine?topic=a%2Fb", &[]).0, 204);
    assert_eq!(ask(&hub, "DELETE", "/api/v1/topics/c", &[]).0, 204);
    let look = |hub: &Hub| {
        let (status, problem) = ask(hub, "GET", &event_path(&secret), &[]);
        assert_eq!((status, &problem["type"]), (404, &json!("urn:tidewire:error:event-not-found")));
        let (_, topics) = ask(hub, "GET", "/api/v1/topics", &[]);
        assert_eq!(topics["topics"].as_array().map(Vec::len), Some(1), "{topics}");
        assert_eq!((&topics["topics"][0]["topic"], &topics["topics"][0]["events"]), (&json!("a"), &json!(2)));
        let mut resumed = stream_after(hub, "a", &first, &[]);
        assert_eq!(next(&mut resumed, 2), pairs(&[("tidewire.gap", "erased"), ("message", "last")]));
        let mut anew = EventStream::open(hub.address(), "/api/v1/events?topic=*&from=-2", &[]).expect("an answer");
        let seen = next(&mut anew, 3);
        assert_eq!(seen, pairs(&[("message", "first"), ("tidewire.gap", "erased"), ("message", "last")]));
    };
    look(&hub);
    hub.kill(Clock::start());
    hub.restart();
    look(&hub);
    wait_until("the bytes are overwritten", Duration::from_secs(60), || {
        !["secret-17", "secret-18", "secret-19"].iter().any(|secret| holds(hub.data(), secret))
    });
    assert!(holds(hub.data(), "first") && holds(hub.data(), "last"));
    look(&hub);
    hub.kill(Clock::start());
    hub.restart();
    look(&hub);
    let again = publish(&hub, &json!({"topic": "a/b", "data": "other", "id": "mine"}), &[]);
    assert_eq!(ask(&hub, "GET", &event_path(&again), &[]).0, 200, "its id is free again");
}

#[test]
fn an_erased_private_event_is_told_to_nobody_who_might_not_have_read_it() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let key = directory.path().join("key").display().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    run(&["token", "new-key", &key]);
    let hub = Hub::start_with(BINARY, &["--key-file", &key, "--public-url", "https://hub.example"], &[]);
    let token = |rights: &[&str]| {
        let arguments = [&["token", "mint", "--key-file", &key], rights].concat();
        format!("Bearer {}", run(&arguments).trim())
    };
    let (publisher, admin) = (token(&["--publish", "*", "--subscribe", "*"]), token(&["--admin"]));
    let with = |token: &str| [("authorization".to_owned(), token.to_owned())];
    let publisher = with(&publisher);
    let publisher: Vec<(&str, &str)> = publisher.iter().map(|(name, value)| (&**name, &**value)).collect();
    let first = publish(&hub, &json!({"topic": "a", "data": "first"}), &publisher);
    let secret = publish(&hub, &json!({"topic": "a", "data": "secret", "private": true}), &publisher);
    publish(&hub, &json!({"topic": "a", "data": "last"}), &publisher);
    assert_eq!(ask(&hub, "DELETE", &event_path(&secret), &publisher).0, 403);
    assert_eq!(ask(&hub, "DELETE", &event_path(&secret), &[]).0, 401);
    assert_eq!(ask(&hub, "DELETE", &event_path(&secret), &[("authorization", &admin)]).0, 204);
    for (rights, expected) in [
        (["--subscribe", "a"], pairs(&[("tidewire.gap", "erased"), ("message", "last")])),
        (["--subscribe", "b"], pairs(&[("message", "last")])),
    ] {
        let token = token(&rights);
        let mut stream = stream_after(&hub, "a", &first, &[("authorization", &token)]);
        assert_eq!(next(&mut stream, expected.len()), expected, "{rights:?}");
    }
}

/// What is kept of erased topics has a limit in bytes, which a few thousand long names reach.
#[test]
fn who_erases_too_much_is_told_and_can_erase_again_once_retention_has_passed_it() {
    /// Of a topic's name, in bytes.
    const NAME: usize = 4096;
    /// So many names of this length are kept.
    const KEPT: usize = (16 << 20) / NAME;
    let settings = ["--dev", "--segment-bytes", "64KiB", "--retention-bytes", "256KiB"];
    let mut hub = Hub::start_with(BINARY, &settings, &[]);
    let event = json!({"topic": "a", "data": "x".repeat(20_000)});
    let first = publish(&hub, &event, &[]);
    let secret = publish(&hub, &event, &[]);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    for n in 0..KEPT {
        let answer = http.request("DELETE", &format!("/api/v1/topics/{n:0NAME$}"), &[], b"").expect("an answer");
        assert_eq!(answer.status, 204, "{n}: {}", answer.text());
    }
    let check = |hub: &Hub| {
        for target in ["/api/v1/topics/a", "/api/v1/topics/b"] {
            let (status, problem) = ask(hub, "DELETE", target, &[]);
            assert_eq!((status, &problem["type"]), (507, &json!("urn:tidewire:error:tombstones")), "{problem}");
        }
        assert_eq!(ask(hub, "DELETE", &format!("/api/v1/topics/{:0NAME$}", 7), &[]).0, 204, "it is kept already");
        for id in [&first, &secret] {
            assert_eq!(ask(hub, "GET", &event_path(id), &[]).0, 200, "nothing was erased");
        }
    };
    check(&hub);
    // An event has no name, and takes no room there.
    assert_eq!(ask(&hub, "DELETE", &event_path(&publish(&hub, &event, &[])), &[]).0, 204);
    hub.kill(Clock::start());
    hub.restart();
    check(&hub);
    wait_until("retention passes what was erased", Duration::from_secs(60), || {
        publish(&hub, &event, &[]);
        ask(&hub, "DELETE", "/api/v1/topics/b", &[]).0 == 204
    });
}
