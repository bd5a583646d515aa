//! `tidewire publish`, as the binary does it, against a hub that says what the test tells it to.

use std::collections::HashSet;
use std::io::Write;

use crate::support::{DEADLINE, Hub, Request, Running};
use serde_json::{Value, json};

fn publish(hub: &Hub, args: &[&str]) -> Running {
    Running::start(&[&["publish", "--url", &hub.url], args].concat())
}

/// The events of a request, one or an array.
fn events(request: &Request) -> Vec<Value> {
    match serde_json::from_str(&request.body).expect("JSON") {
        Value::Array(events) => events,
        event => vec![event],
    }
}

/// Answers with the ids `#1-<first>` and on.
fn accept(request: Request, first: usize) {
    let count = events(&request).len();
    let ids: Vec<String> = (first..first + count).map(|n| format!("#1-{n}")).collect();
    let is_array = request.body.trim_start().starts_with('[');
    let body = if is_array { json!({ "ids": ids }) } else { json!({ "id": ids[0] }) };
    request.answer("200 OK", "application/json", &body.to_string());
}

/// An event's data and a set of the ids seen, which must be new.
fn data_of(event: &Value, seen: &mut HashSet<String>) -> Value {
    let id = event["id"].as_str().expect("every event has an id").to_owned();
    assert!(seen.insert(id), "an id came twice: {event}");
    event["data"].clone()
}

#[test]
fn one_event_is_sent_as_the_arguments_say() {
    let hub = Hub::start();
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "a.b.c\n").expect("a token");
    let mut running = publish(
        &hub,
        &[
            "--topic",
            "a",
            "--topic",
            "b",
            "--type",
            "greeting",
            "--id",
            "mine",
            "--private",
            "--token-file",
            token.to_str().expect("a path in UTF-8"),
            "Hello\nworld",
        ],
    );
    let lines = running.lines();
    let request = hub.next_request();
    assert_eq!(request.line, "POST /api/v1/events HTTP/1.1");
    assert_eq!(request.header("authorization"), Some("Bearer a.b.c"));
    let expected =
        json!({"topics": ["a", "b"], "data": "Hello\nworld", "type": "greeting", "id": "mine", "private": true});
    assert_eq!(events(&request), [expected]);
    accept(request, 7);
    let (status, stderr) = running.finish();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    assert_eq!(lines.iter().collect::<Vec<_>>(), ["#1-7"]);
}

#[test]
fn a_file_is_one_event_and_json_may_be_sent_as_json() {
    let hub = Hub::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("data");
    std::fs::write(&file, "{\"n\": 1.50}\n").expect("a file");
    let file = file.to_str().expect("a path in UTF-8");

    let running = publish(&hub, &["--topic", "a", "--file", file]);
    let request = hub.next_request();
    assert_eq!(events(&request)[0]["data"], json!("{\"n\": 1.50}\n"));
    accept(request, 0);
    assert_eq!(running.finish().0.code(), Some(0));

    let mut running = publish(&hub, &["--topic", "a", "--file", file, "--json-data", "--json"]);
    let lines = running.lines();
    let request = hub.next_request();
    let event = events(&request).remove(0);
    assert_eq!(event["data"], json!({"n": 1.50}));
    accept(request, 0);
    assert_eq!(running.finish().0.code(), Some(0));
    let printed: Value = serde_json::from_str(&lines.recv().expect("a line")).expect("JSON");
    assert_eq!(printed, json!({"id": "#1-0", "publisher_id": event["id"]}));
}

#[test]
fn lines_are_gathered_kept_in_order_and_given_ids() {
    let hub = Hub::start();
    let mut running = publish(&hub, &["--topic", "a", "-"]);
    let lines = running.lines();
    let count = 2_500;
    running.input((0..count).map(|n| format!("line {n}\n")).collect::<String>().as_bytes());
    let mut seen = HashSet::new();
    let mut requests = 0;
    while seen.len() < count {
        let request = hub.next_request();
        assert!(hub.has_no_request(), "one request at a time keeps the order");
        let first = seen.len();
        for (n, event) in events(&request).iter().enumerate() {
            assert_eq!(data_of(event, &mut seen), json!(format!("line {}", first + n)));
        }
        accept(request, first);
        requests += 1;
    }
    assert!((5..100).contains(&requests), "{requests} requests");
    let (status, stderr) = running.finish();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    assert!(lines.iter().eq((0..count).map(|n| format!("#1-{n}"))));
}

#[test]
fn a_line_is_sent_at_once_while_more_may_come() {
    let hub = Hub::start();
    let mut running = publish(&hub, &["--topic", "a", "-"]);
    let lines = running.lines();
    let mut stdin = running.0.stdin.take().expect("its input");
    for n in 0..3 {
        writeln!(stdin, "{n}").expect("it reads");
        let request = hub.next_request();
        assert_eq!(events(&request).len(), 1);
        accept(request, n);
        assert_eq!(lines.recv_timeout(DEADLINE).expect("its id"), format!("#1-{n}"));
    }
    drop(stdin);
    assert_eq!(running.finish().0.code(), Some(0));
}

#[test]
fn several_requests_may_be_under_way_and_the_ids_keep_their_order() {
    let hub = Hub::start();
    let mut running = publish(&hub, &["--topic", "a", "--in-flight", "4", "-"]);
    let lines = running.lines();
    let count = 2_000;
    running.input("x\n".repeat(count).as_bytes());
    // The first is answered last of all that it lets through.
    let mut held: Vec<Request> = (0..4).map(|_| hub.next_request()).collect();
    let number = |request: &Request| -> u64 {
        let id = events(request)[0]["id"].as_str().expect("an id").to_owned();
        id.rsplit_once('-').expect("a number").1.parse().expect("a number")
    };
    held.sort_by_key(|request| std::cmp::Reverse(number(request)));
    for request in held {
        let first = number(&request) as usize - 1;
        accept(request, first);
    }
    let mut printed = Vec::new();
    while printed.len() < count {
        if let Ok(line) = lines.try_recv() {
            printed.push(line);
        } else if let Some(request) = hub.request_within_a_moment() {
            let first = number(&request) as usize - 1;
            accept(request, first);
        }
    }
    assert!(printed.into_iter().eq((0..count).map(|n| format!("#1-{n}"))));
    assert_eq!(running.finish().0.code(), Some(0));
}

#[test]
fn what_was_not_answered_is_sent_again_under_the_same_id() {
    let hub = Hub::start();
    let mut running = publish(&hub, &["--topic", "a", "-"]);
    let lines = running.lines();
    running.input(b"one\ntwo\n");
    let first = hub.next_request();
    let body = first.body.clone();
    drop(first);
    let busy = hub.next_request();
    assert_eq!(busy.body, body);
    busy.answer("503 Service Unavailable", "text/plain", "");
    let third = hub.next_request();
    assert_eq!(third.body, body);
    accept(third, 0);
    let (status, stderr) = running.finish();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
    assert_eq!(lines.iter().collect::<Vec<_>>(), ["#1-0", "#1-1"]);
}

#[test]
fn a_prefix_makes_a_run_repeatable() {
    let hub = Hub::start();
    for _ in 0..2 {
        let mut running = publish(&hub, &["--topic", "a", "--id-prefix", "import", "--json-data", "-"]);
        running.input(b"1\n\n[2]\n");
        let request = hub.next_request();
        let sent: Vec<(Value, Value)> =
            events(&request).iter().map(|event| (event["id"].clone(), event["data"].clone())).collect();
        assert_eq!(sent, [(json!("import-1"), json!(1)), (json!("import-3"), json!([2]))]);
        accept(request, 0);
        assert_eq!(running.finish().0.code(), Some(0));
    }
}

#[test]
fn what_comes_before_a_bad_line_is_published() {
    for (args, input, says) in [
        (&["--json-data", "-"][..], &b"1\n2\nthree\n4\n"[..], "line 3 is not JSON"),
        (&["-"], b"1\n2\n\xFF\n4\n", "line 3 is not UTF-8"),
    ] {
        let hub = Hub::start();
        let mut running = publish(&hub, &[&["--topic", "a"], args].concat());
        running.input(input);
        let request = hub.next_request();
        assert_eq!(events(&request).len(), 2);
        accept(request, 0);
        let (status, stderr) = running.finish();
        assert_eq!(status.code(), Some(1));
        assert!(stderr.contains(says), "{stderr}");
        assert!(hub.has_no_request());
    }
}

#[test]
fn a_refusal_ends_it_and_names_the_lines() {
    let hub = Hub::start();
    let mut running = publish(&hub, &["--topic", "a", "-"]);
    running.input(b"one\ntwo\n");
    let problem = r#"{"type":"urn:tidewire:error:forbidden","title":"topic a is not granted"}"#;
    hub.next_request().answer("403 Forbidden", "application/problem+json", problem);
    let (status, stderr) = running.finish();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("lines 1 to 2") && stderr.contains("topic a is not granted"), "{stderr}");
}

#[test]
fn it_gives_up_after_the_time_that_it_was_given() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let url = format!("http://{unused}");
    let running = Running::start(&["publish", "--url", &url, "--topic", "a", "--retry-for", "0", "x"]);
    let (status, stderr) = running.finish();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("failed to publish"), "{stderr}");
}

#[test]
fn wrong_usage_is_2() {
    let hub = Hub::start();
    for usage in [
        &["--topic", "a"][..],
        &["x"],
        &["--topic", "", "x"],
        &["--topic", "*", "x"],
        &["--topic", "a", "--file", "f", "x"],
        &["--topic", "a", "--id", "i", "-"],
        &["--topic", "a", "--id-prefix", "i", "x"],
        &["--topic", "a", "--in-flight", "0", "-"],
        &["--topic", "a", "--in-flight", "65", "-"],
    ] {
        let (status, stderr) = publish(&hub, usage).finish();
        assert_eq!(status.code(), Some(2), "{usage:?}: {stderr}");
    }
    assert_eq!(publish(&hub, &["--topic", "a", "--json-data", "x"]).finish().0.code(), Some(1));
    assert!(hub.has_no_request());
}
