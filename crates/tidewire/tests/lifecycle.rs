//! The process: starting, refusing to start, ending, being killed, and what the admin listener says.

use std::process::{Command, Stdio};

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub, Response, free_port};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

fn publish(hub: &Hub, data: &str) -> String {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let body = json!({"topic": "a", "data": data}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn everything(hub: &Hub) -> EventStream {
    EventStream::open(hub.address(), "/api/v1/events?topic=*&from=earliest", &[]).expect("the hub answers")
}

fn admin(hub: &Hub, target: &str) -> Response {
    let mut http = Http::connect(hub.admin()).expect("the hub listens");
    http.request("GET", target, &[], b"").expect("the hub answers")
}

#[test]
fn sigterm_ends_streams_whole_and_exits_with_0() {
    let mut hub = Hub::start(BINARY);
    let id = publish(&hub, "x");
    let mut streams: Vec<EventStream> = (0..50).map(|_| everything(&hub)).collect();
    for stream in &mut streams {
        assert_eq!(stream.published().id, id);
    }
    assert_eq!(hub.terminate().code(), Some(0));
    for stream in &mut streams {
        while stream.event().expect("it ends with its last chunk").is_some() {}
    }
    hub.restart();
    assert_eq!(everything(&hub).published().id, id);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut hub = Hub::start(BINARY);
    let clock = Clock::start();
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(publish(&hub, &n.to_string()));
        hub.kill(clock);
        hub.restart();
    }
    let mut stream = everything(&hub);
    for (n, id) in ids.iter().enumerate() {
        let event = stream.published();
        assert_eq!((&event.id, event.data), (id, n.to_string()));
    }
}

#[test]
fn the_admin_listener_says_how_it_is() {
    let hub = Hub::start(BINARY);
    publish(&hub, "x");
    assert_eq!(admin(&hub, "/health/live").status, 200);
    assert_eq!(admin(&hub, "/health/ready").status, 200);
    let metrics = admin(&hub, "/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().lines().any(|line| line.starts_with("tidewire_")), "{}", metrics.text());
    assert_eq!(admin(&hub, "/nowhere").status, 404);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request("GET", "/metrics", &[], b"").expect("the hub answers");
    assert_eq!(answer.status, 404, "only the admin listener tells");
}

/// Those who watch the hub look for the figures by these names.
#[test]
fn the_figures_that_the_documentation_names_are_there() {
    let hub = Hub::start(BINARY);
    publish(&hub, "x");
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    assert_eq!(http.request("GET", "/nowhere", &[], b"").expect("the hub answers").status, 404);
    let told = admin(&hub, "/metrics").text();
    let documents = [include_str!("../../../docs/api.md"), include_str!("../../../docs/durability.md")];
    let quoted = documents.iter().flat_map(|document| document.split('`').skip(1).step_by(2));
    let names: Vec<&str> = quoted.filter(|quoted| quoted.starts_with("tidewire_")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(told.lines().any(|line| line.starts_with(name)), "{name} is not in\n{told}");
    }
}

/// Runs `tidewire serve` with these arguments in a directory of its own; it must fail. What it says.
fn refused(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let output = Command::new(BINARY)
        .arg("serve")
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be run");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_a_key_it_refuses_and_says_how_to_make_one() {
    let said = refused(&["--listen", &free_port().to_string(), "--admin-listen", &free_port().to_string()]);
    assert!(said.contains("tidewire token"), "{said}");
}

#[test]
fn dev_is_for_loopback_only() {
    let said = refused(&["--dev", "--listen", "0.0.0.0:0"]);
    assert!(said.contains("loopback"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_said() {
    let hub = Hub::start(BINARY);
    let (address, admin) = (hub.address().to_string(), free_port().to_string());
    let said = refused(&["--dev", "--listen", &address, "--admin-listen", &admin]);
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn one_connection_more_than_allowed_is_told_so() {
    let hub = Hub::start_with(BINARY, &["--dev", "--max-connections", "1"], &[]);
    let mut kept = Http::connect(hub.address()).expect("the hub listens");
    assert_eq!(kept.request("GET", "/", &[], b"").expect("the hub answers").status, 200);
    let mut one_more = Http::connect(hub.address()).expect("the hub listens");
    // The answer came and was followed by a reset while the client was still sending, so that it was lost.
    let body = vec![b' '; 200_000];
    let refused = one_more.request("POST", "/api/v1/events", &[], &body).expect("the hub answers");
    assert_eq!((refused.status, &refused.json()["type"]), (503, &json!("urn:tidewire:error:connections")));
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    everything(&hub);
    assert_eq!(kept.request("GET", "/", &[], b"").expect("the hub answers").status, 200);
}
