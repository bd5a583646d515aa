//! `tidewire subscribe`, as the binary does it, against a hub that says what the test tells it to.

use std::io::Write;
use std::process::Command;

use crate::support::{DEADLINE, Hub, Running};

fn subscribe(hub: &Hub, args: &[&str]) -> Running {
    Running::start(&[&["subscribe", "--url", &hub.url], args].concat())
}

#[test]
fn asks_for_what_the_arguments_say() {
    let hub = Hub::start();
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "  a.b.c\n").expect("a token");
    let token = token.to_str().expect("a path in UTF-8");
    let _running =
        subscribe(&hub, &["--topic", "a b", "--topic", "*", "--type", "x", "--from", "-5", "--token-file", token]);
    let request = hub.next_request();
    assert_eq!(request.line, "GET /api/v1/events?topic=a+b&topic=*&type=x&from=-5 HTTP/1.1");
    assert_eq!(request.header("accept"), Some("text/event-stream"));
    assert_eq!(request.header("authorization"), Some("Bearer a.b.c"));
    assert_eq!(request.header("last-event-id"), None);
}

#[test]
fn patterns_and_templates_do_without_a_topic() {
    let hub = Hub::start();
    let _running = subscribe(&hub, &["--pattern", "/a/:b+", "--template", "/{a}", "--pattern", "/c"]);
    let request = hub.next_request();
    assert_eq!(request.line, "GET /api/v1/events?pattern=%2Fa%2F%3Ab%2B&pattern=%2Fc&template=%2F%7Ba%7D HTTP/1.1");
}

#[test]
fn each_event_is_printed_as_it_arrives_until_the_count() {
    let hub = Hub::start();
    let mut running = subscribe(&hub, &["--topic", "a", "--count", "2"]);
    let lines = running.lines();
    let request = hub.next_request();
    assert_eq!(request.line, "GET /api/v1/events?topic=a HTTP/1.1");
    let mut stream = request.stream("retry: 1\n\nid: #1-0\nevent: tidewire.checkpoint\ndata:\n\n");
    for data in ["one", "two"] {
        write!(stream, "id: #1-1\ndata: {data}\n\n").expect("the command reads");
        assert_eq!(lines.recv_timeout(DEADLINE).expect("the event"), data);
    }
    let (status, stderr) = running.finish();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_stream_that_is_cut_is_resumed_and_it_is_told() {
    let hub = Hub::start();
    let mut running = subscribe(&hub, &["--topic", "a", "--json", "--count", "2", "--from", "earliest"]);
    let lines = running.lines();
    drop(hub.next_request().stream("retry: 1\n\nid: #1-0\ndata: one\n\n"));
    let again = hub.next_request();
    assert_eq!(again.line, "GET /api/v1/events?topic=a&from=earliest HTTP/1.1");
    assert_eq!(again.header("last-event-id"), Some("#1-0"));
    let gap = r##"{"requested":"#1-0","resumed_from":"#4-0","reason":"expired"}"##;
    let _stream = again
        .stream(&format!("id: #4-0\nevent: tidewire.gap\ndata: {gap}\n\nid: #5-0\nevent: x\ndata: a\ndata: b\n\n"));
    let (status, stderr) = running.finish();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    let printed: Vec<String> = lines.iter().collect();
    assert_eq!(printed[0], r#"{"connected":{"resumed_from":""}}"#);
    assert_eq!(printed[1], r##"{"event":{"id":"#1-0","type":"message","data":"one"}}"##);
    assert!(printed[2].starts_with(r#"{"disconnected":{"reason":""#), "{}", printed[2]);
    assert_eq!(printed[3], r##"{"connected":{"resumed_from":"#1-0"}}"##);
    assert_eq!(printed[4], format!(r#"{{"gap":{gap}}}"#));
    assert_eq!(printed[5], r##"{"event":{"id":"#5-0","type":"x","data":"a\nb"}}"##);
    assert_eq!(printed.len(), 6);
}

#[test]
fn without_json_gaps_and_reconnections_are_told_on_standard_error() {
    let hub = Hub::start();
    let running = subscribe(&hub, &["--topic", "a", "--count", "2"]);
    drop(hub.next_request().stream("retry: 1\n\nid: #1-0\ndata: one\n\n"));
    let gap = r##"{"requested":"#1-0","resumed_from":"#4-0","reason":"expired"}"##;
    let events = format!("id: #4-0\nevent: tidewire.gap\ndata: {gap}\n\nid: #5-0\ndata: two\n\n");
    let _stream = hub.next_request().stream(&events);
    let (status, stderr) = running.finish();
    assert_eq!(status.code(), Some(0));
    let told: Vec<&str> = stderr.lines().collect();
    assert!(told[0].starts_with("disconnected: ") && told[0].contains("; trying again in "), "{stderr}");
    assert_eq!(told[1], "connected again");
    assert_eq!(told[2], "gap: something after #1-0 is missing (expired); it goes on after #4-0");
    assert_eq!(told.len(), 3);
}

#[test]
fn a_signal_ends_it_cleanly() {
    for signal in ["INT", "TERM"] {
        let hub = Hub::start();
        let mut running = subscribe(&hub, &["--topic", "a"]);
        let lines = running.lines();
        let _stream = hub.next_request().stream("id: #1-0\ndata: one\n\n");
        assert_eq!(lines.recv_timeout(DEADLINE).expect("the event"), "one");
        let sent = Command::new("kill").args(["-s", signal, &running.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        let (status, stderr) = running.finish();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{signal}");
    }
}

/// Once, a reader who did not read kept the signal from being seen: the write that waited for
/// him held the whole command.
#[test]
fn a_signal_ends_it_while_nobody_reads() {
    let hub = Hub::start();
    let running = subscribe(&hub, &["--topic", "a"]);
    let mut stream = hub.next_request().stream("");
    stream.set_write_timeout(Some(std::time::Duration::from_secs(1))).expect("a timeout");
    let event = format!("id: #1-0\ndata: {}\n\n", "a".repeat(64 * 1_024));
    // Pipe, queue and sockets are full once the hub can write no more.
    while stream.write_all(event.as_bytes()).is_ok() {}
    let sent = Command::new("kill").args(["-s", "TERM", &running.0.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let (status, _) = running.finish();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_closed_pipe_ends_it_cleanly() {
    let hub = Hub::start();
    let mut running = subscribe(&hub, &["--topic", "a"]);
    drop(running.0.stdout.take());
    let _stream = hub.next_request().stream("id: #1-0\ndata: one\n\nid: #2-0\ndata: two\n\n");
    let (status, stderr) = running.finish();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn no_more_content_is_the_end_and_a_refusal_a_failure() {
    let hub = Hub::start();
    let running = subscribe(&hub, &["--topic", "a"]);
    hub.next_request().answer("204 No Content", "text/plain", "");
    assert_eq!(running.finish().0.code(), Some(0));

    let running = subscribe(&hub, &["--topic", "a"]);
    let problem = r#"{"type":"urn:tidewire:error:token","title":"the token is not good"}"#;
    hub.next_request().answer("401 Unauthorized", "application/problem+json", problem);
    let (status, stderr) = running.finish();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("401") && stderr.contains("the token is not good"), "{stderr}");
}

#[test]
fn wrong_usage_is_2() {
    let hub = Hub::start();
    for usage in [&[][..], &["--topic", ""], &["--topic", "a", "--count", "0"], &["--topic", "a", "--frm", "1"]] {
        assert_eq!(subscribe(&hub, usage).finish().0.code(), Some(2), "{usage:?}");
    }
    assert_eq!(Running::start(&["subscribe", "--topic", "a", "--url", "nonsense"]).finish().0.code(), Some(1));
    assert!(hub.has_no_request());
}
