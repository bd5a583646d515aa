//! Private events reach those whose token grants them, and nobody else.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use tidewire_harness::{EventStream, Http, Hub, Response};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// A hub that asks for tokens, and the directory with its key.
struct Guarded {
    hub: Hub,
    directory: TempDir,
}

impl Guarded {
    fn start() -> Guarded {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let key = directory.path().join("key").display().to_string();
        run(&["token", "new-key", &key]);
        let arguments = ["--key-file", &key, "--public-url", "https://hub.example"];
        Guarded { hub: Hub::start_with(BINARY, &arguments, &[]), directory }
    }

    /// The value of an `Authorization` header with these rights.
    fn token(&self, rights: &[&str]) -> String {
        let key = self.directory.path().join("key").display().to_string();
        let mut arguments = vec!["token", "mint", "--key-file", &key];
        arguments.extend(rights);
        format!("Bearer {}", run(&arguments).trim())
    }

    fn publish(&self, token: &str, data: &str, private: bool) -> Response {
        let mut http = Http::connect(self.hub.address()).expect("the hub listens");
        let body = json!({"topic": "a", "data": data, "private": private}).to_string();
        let headers = [("content-type", "application/json"), ("authorization", token)];
        http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers")
    }

    fn stream(&self, token: &str) -> EventStream {
        let headers = [("authorization", token)];
        EventStream::open(self.hub.address(), "/api/v1/events?topic=*&from=earliest", &headers)
            .expect("the hub answers")
    }
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_private_event_reaches_only_those_with_a_grant() {
    let guarded = Guarded::start();
    let publisher = guarded.token(&["--publish", "*"]);
    for (n, private) in [(0, false), (1, true), (2, false), (3, true)] {
        let answer = guarded.publish(&publisher, &n.to_string(), private);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for (rights, numbers) in [
        (["--subscribe", "*"], vec!["0", "1", "2", "3"]),
        (["--subscribe", "a"], vec!["0", "1", "2", "3"]),
        (["--subscribe", "b"], vec!["0", "2"]),
        (["--publish", "a"], vec!["0", "2"]),
    ] {
        let mut stream = guarded.stream(&guarded.token(&rights));
        assert_eq!(stream.head.status, 200);
        for number in numbers {
            assert_eq!(stream.published().data, number, "with {rights:?}");
        }
    }
    let mut http = Http::connect(guarded.hub.address()).expect("the hub listens");
    let id = guarded.publish(&publisher, "4", true).json()["id"].as_str().expect("an id").replace('#', "%23");
    for (rights, status) in [(["--subscribe", "a"], 200), (["--subscribe", "b"], 404)] {
        let token = guarded.token(&rights);
        let answer = http.request("GET", &format!("/api/v1/events/{id}"), &[("authorization", &token)], b"");
        assert_eq!(answer.expect("the hub answers").status, status);
    }
}

#[test]
fn publishing_and_reading_need_a_token() {
    let guarded = Guarded::start();
    let stranger = guarded.token(&["--subscribe", "*"]);
    assert_eq!(guarded.publish(&stranger, "x", false).status, 403);
    let elsewhere = guarded.token(&["--publish", "b"]);
    assert_eq!(guarded.publish(&elsewhere, "x", false).status, 403);
    assert_eq!(guarded.publish("Bearer nonsense", "x", false).status, 401);
    assert_eq!(guarded.publish(&format!("{}x", guarded.token(&["--publish", "a"])), "x", false).status, 401);
    assert_eq!(guarded.publish(&guarded.token(&["--publish", "a"]), "x", false).status, 200);

    // What was published under an id is looked for once it is known who asks: to others, it does not exist.
    let publish = |token: &str, data: &str| {
        let mut http = Http::connect(guarded.hub.address()).expect("the hub listens");
        let body = json!({"topic": "a", "data": data, "id": "order-17"}).to_string();
        let headers = [("content-type", "application/json"), ("authorization", token)];
        http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers")
    };
    assert_eq!(publish(&guarded.token(&["--publish", "a"]), "same").status, 200);
    for data in ["same", "other"] {
        let refused = publish(&elsewhere, data);
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(!refused.text().contains("order-17"), "{}", refused.text());
    }

    let nobody = EventStream::open(guarded.hub.address(), "/api/v1/events?topic=a", &[]).expect("the hub answers");
    assert_eq!(nobody.head.status, 401);
}
