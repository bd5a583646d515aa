//! Prometheus' own rules for metrics, by its own program.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use tidewire_harness::{EventStream, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

#[test]
fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let hub = Hub::start(BINARY);
    let mut stream = EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("the hub answers");
    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    let body = json!({"topic": "a", "data": 1}).to_string();
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(answer.expect("it answers").status, 200);
    stream.published();
    let mut admin = Http::connect(hub.admin()).expect("the admin listener accepts");
    let text = admin.request("GET", "/metrics", &[], b"").expect("it answers").text();
    let program = Command::new("promtool")
        .args(["check", "metrics", "--extended"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut program = program.expect("promtool runs (Debian: prometheus)");
    program.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let output = program.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("tidewire_commit_seconds"), "it has read them: {said}");
}
