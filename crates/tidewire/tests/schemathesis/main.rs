//! The API answers what its OpenAPI document says: schemathesis makes requests of the document, sound and unsound ones,
//! and holds the answers against it. Streams are left out, since they do not end.
//!
//! It is looked for in the search path, or where `SCHEMATHESIS` says; `cargo xtask test` installs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tidewire_harness::{EventStream, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemathesis/schemathesis.toml");

/// What it makes of the document.
struct Verdict {
    passed: bool,
    said: String,
}

fn document(hub: &Hub) -> Value {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request("GET", "/api/v1/openapi.json", &[], b"").expect("the hub answers");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// Has the hub held against a document.
fn check(hub: &Hub, document: &Value, options: &[&str]) -> Verdict {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("openapi.json");
    fs::write(&file, document.to_string()).expect("it is written");
    let program = std::env::var("SCHEMATHESIS").unwrap_or_else(|_| "schemathesis".to_owned());
    let output = Command::new(&program)
        .args(["--config-file", CONFIGURATION, "run"])
        .arg(Path::new(&file))
        .args(["--url", &hub.url(), "--exclude-operation-id", "streamEvents"])
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        .args(["--max-examples", "20", "--seed", "1", "--generation-database", "none", "--no-color"])
        .args(options)
        .current_dir(folder.path())
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // Bodies are long.
    let said = said.lines().map(|line| line.chars().take(400).collect::<String>() + "\n").collect();
    Verdict { passed: output.status.success(), said }
}

#[test]
fn the_hub_answers_what_its_document_says() {
    let hub = Hub::start(BINARY);
    // So that there are some to be ended.
    let open = |_| EventStream::open(hub.address(), "/api/v1/events?topic=watched", &[]).expect("a stream");
    let _streams: Vec<EventStream> = (0..50).map(open).collect();
    let verdict = check(&hub, &document(&hub), &["--phases", "examples,coverage,fuzzing,stateful"]);
    assert!(verdict.passed, "{}", verdict.said);
    println!("{}", verdict.said);
}

#[test]
fn who_may_not_is_answered_what_the_document_says() {
    let key = tempfile::tempdir().expect("a directory can be made");
    let file = key.path().join("key").display().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    run(&["token", "new-key", &file]);
    let hub = Hub::start_with(BINARY, &["--key-file", &file, "--public-url", "https://hub.example"], &[]);
    let reader = run(&["token", "mint", "--key-file", &file, "--subscribe", "*"]);
    let document = document(&hub);
    for authorization in ["", &format!("Authorization: Bearer {reader}"), "Authorization: Bearer x"] {
        let header = ["--header", authorization];
        let options = [&["--phases", "coverage"], &header[..if authorization.is_empty() { 0 } else { 2 }]].concat();
        // What is not allowed at all is not looked at.
        let verdict = check(&hub, &document, &options);
        assert!(verdict.passed, "{authorization:?}: {}", verdict.said);
    }
}

/// Otherwise nothing would be known of a pass.
#[test]
fn one_wrong_status_in_the_document_is_found() {
    let hub = Hub::start(BINARY);
    let whole = document(&hub);
    let topic = "/paths/~1api~1v1~1topics~1{topic}";
    let wrong = |pointer: String, from: &str, to: &str| {
        let mut document = whole.clone();
        let responses = document.pointer_mut(&pointer).and_then(Value::as_object_mut).expect("responses");
        let response = responses.remove(from).expect("it is there");
        responses.insert(to.to_owned(), response);
        document
    };
    for (method, from, to) in [("get", "404", "410"), ("delete", "204", "200"), ("get", "400", "422")] {
        let document = wrong(format!("{topic}/{method}/responses"), from, to);
        let options = ["--include-path", "/api/v1/topics/{topic}", "--phases", "coverage,fuzzing"];
        let verdict = check(&hub, &document, &options);
        assert!(!verdict.passed, "{method} {from} as {to}: {}", verdict.said);
        assert!(verdict.said.contains("Undocumented status code"), "{}", verdict.said);
    }
}
