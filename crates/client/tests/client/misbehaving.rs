//! The client against servers over TCP that say too little, too much, or the wrong thing.

use std::time::Duration;

use crate::support::{STREAM, Server, all, close, hold, messages, status};
use tidewire_client::{DisconnectReason, RequestError, SubscribeError, Update};
use tidewire_sse::{DecodeError, Limits};
use tokio::time::timeout;

fn stream(body: &str) -> String {
    format!("{STREAM}{body}")
}

#[tokio::test]
async fn it_resumes_after_a_clean_end_and_keeps_the_id() {
    let server = Server::new([
        close(stream("id: 1\ndata: a\n\nid: 2\ndata: unfinished\n")),
        close(stream("data: b\n\n")),
        close(stream("id: 3\ndata: c\n\n")),
    ]);
    let mut events = server.client().await.subscribe();
    let updates = all(&mut events).await;

    assert_eq!(messages(&updates), [("1", "a"), ("1", "b"), ("3", "c")]);
    assert_eq!(server.seen_ids(), [None, Some("1".into()), Some("1".into()), Some("3".into())]);
    let ended = |update: &&Update| matches!(update, Update::Disconnected { reason: DisconnectReason::Ended, .. });
    assert_eq!(updates.iter().filter(ended).count(), 3);
    assert_eq!(events.last_event_id(), "3");
}

#[tokio::test]
async fn a_subscription_goes_on_where_an_earlier_one_was() {
    let server = Server::new([close(stream("data: a\n\n"))]);
    let mut events = server.client().await.subscribe_after("#7-1");
    let updates = all(&mut events).await;

    assert!(matches!(&updates[0], Update::Connected { resumed_from } if resumed_from == "#7-1"));
    assert_eq!(messages(&updates), [("#7-1", "a")]);
    assert_eq!(server.seen_ids(), [Some("#7-1".into()), Some("#7-1".into())]);
}

#[tokio::test]
async fn a_stream_cut_at_any_byte_loses_and_doubles_nothing() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let first = format!("{head}f\r\nid: 1\ndata: a\n\n\r\nf\r\nid: 2\ndata: b\n\n\r\n");
    for cut in 0..first.len() {
        // What the second connection owes depends on what the first could finish, as with a real server.
        let frames: Vec<usize> = first.match_indices("\n\n").map(|(at, end)| at + end.len()).collect();
        let seen = frames.iter().filter(|&&end| cut >= end).count();
        let rest = ["id: 1\ndata: a\n\nid: 2\ndata: b\n\n", "id: 2\ndata: b\n\n", ""][seen];
        let server = Server::new([close(&first[..cut]), close(stream(rest))]);
        let mut events = server.client().await.subscribe();
        let updates = all(&mut events).await;

        assert_eq!(messages(&updates), [("1", "a"), ("2", "b")], "cut at {cut}: {updates:?}");
        let asked = server.seen_ids().into_iter().nth(1).expect("a second request");
        assert_eq!(asked.as_deref(), [None, Some("1"), Some("2")][seen], "cut at {cut}");
        let cut_short = |update: &Update| {
            matches!(update, Update::Disconnected { reason: DisconnectReason::Request(RequestError::Http(_)), .. })
        };
        assert!(updates.iter().any(cut_short), "cut at {cut}: {updates:?}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_tried_again() {
    let broken =
        ["", "\0\0\0", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 999999 \r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"];
    let server = Server::new(broken.map(close).into_iter().chain([close(stream("data: a\n\n"))]));
    let updates = all(&mut server.client().await.subscribe()).await;

    assert_eq!(messages(&updates), [("", "a")]);
    assert_eq!(server.seen().len(), broken.len() + 2);
}

#[tokio::test]
async fn a_byte_at_a_time_is_a_stream_too() {
    let text = stream("\u{feff}: hi\r\nid: 1\rdata: \u{e9}\r\n\r\nevent: t\ndata\n\n");
    let answer = text.bytes().fold(close(""), |answer, byte| answer.later(Duration::from_micros(1), [byte]));
    let updates = all(&mut Server::new([answer]).client().await.subscribe()).await;

    assert_eq!(messages(&updates), [("1", "\u{e9}"), ("1", "")]);
}

#[tokio::test]
async fn any_framing_of_http_will_do() {
    let event = "id: 1\ndata: a\n\n";
    let typed = "Content-Type: text/event-stream; charset=utf-8\r\n";
    for answer in [
        format!("HTTP/1.0 200 OK\r\n{typed}\r\n{event}"),
        status("200 OK", typed, event),
        format!(
            "HTTP/1.1 200 OK\r\n{typed}Transfer-Encoding: chunked\r\n\r\n1\r\ni\r\ne\r\n{}\r\n0\r\n\r\n",
            &event[1..]
        ),
    ] {
        let updates = all(&mut Server::new([close(answer.as_str())]).client().await.subscribe()).await;
        assert_eq!(messages(&updates), [("1", "a")], "{answer}");
        let ended = |update: &Update| matches!(update, Update::Disconnected { reason: DisconnectReason::Ended, .. });
        assert!(updates.iter().any(ended), "{answer}: {updates:?}");
    }
}

#[tokio::test]
async fn after_204_nothing_is_asked_any_more() {
    let server = Server::new([]);
    let mut events = server.client().await.subscribe();
    assert!(all(&mut events).await.is_empty());
    assert!(events.next().await.is_none());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_refusal_ends_it_and_says_why() {
    let problem = r#"{"type":"urn:tidewire:error:forbidden","title":"Forbidden","status":403,"detail":"not\ngranted"}"#;
    let json = "Content-Type: application/problem+json\r\n";
    for line in
        ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "406 Not Acceptable", "410 Gone"]
    {
        let server = Server::new([close(status(line, json, problem))]);
        let updates = all(&mut server.client().await.subscribe()).await;
        let [Update::Failed(SubscribeError::Refused(refusal))] = &updates[..] else { panic!("{line}: {updates:?}") };
        assert_eq!(refusal.status.to_string(), line[..3]);
        assert_eq!(refusal.problem.as_deref(), Some("urn:tidewire:error:forbidden"));
        assert_eq!(refusal.detail.as_deref(), Some("not granted"));
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_without_a_readable_body_is_a_refusal() {
    let endless = format!("HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n{}", " ".repeat(20_000));
    let cut = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{".to_owned();
    let html = status("404 Not Found", "Content-Type: text/html\r\n", "<p>{}");
    for answer in [endless, cut, html] {
        let updates = all(&mut Server::new([close(answer)]).client().await.subscribe()).await;
        let [Update::Failed(SubscribeError::Refused(refusal))] = &updates[..] else { panic!("{updates:?}") };
        assert_eq!((refusal.status, refusal.detail.as_deref()), (404, None));
    }
}

#[tokio::test]
async fn a_redirect_ends_it_and_says_where_to() {
    let server = Server::new([close(status("307 Temporary Redirect", "Location: https://b.example/\r\n", ""))]);
    let updates = all(&mut server.client().await.subscribe()).await;
    let [Update::Failed(error)] = &updates[..] else { panic!("{updates:?}") };
    assert_eq!(error.to_string(), "307 temporary redirect: it is at https://b.example/");
}

#[tokio::test]
async fn what_the_server_may_yet_do_is_tried_again() {
    let lines =
        ["500 Oops", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout", "408 Late", "429 Often"];
    let busy = lines.map(|line| close(status(line, "", "")));
    let server = Server::new(busy.into_iter().chain([close(stream("data: a\n\n"))]));
    let updates = all(&mut server.client().await.subscribe()).await;

    let busy = |update: &Update| match update {
        Update::Disconnected { reason: DisconnectReason::Busy(refusal), .. } => Some(refusal.status),
        _ => None,
    };
    assert_eq!(updates.iter().filter_map(busy).collect::<Vec<_>>(), [500, 502, 503, 504, 408, 429]);
    assert_eq!(messages(&updates), [("", "a")]);
}

#[tokio::test]
async fn a_wrong_content_type_ends_it() {
    for (header, expected) in [("Content-Type: text/html\r\n", "text/html"), ("", "")] {
        let server = Server::new([close(status("200 OK", header, "data: a\n\n"))]);
        let updates = all(&mut server.client().await.subscribe()).await;
        let [Update::Failed(SubscribeError::ContentType { found })] = &updates[..] else { panic!("{updates:?}") };
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn gaps_and_checkpoints_are_told_apart_from_events_and_move_the_place() {
    let gap = r##"{"requested":"#1-1","resumed_from":"#4-0","reason":"expired"}"##;
    let body = format!(
        "retry: 1\n\nid: #4-0\nevent: tidewire.gap\ndata: {gap}\n\nid: #5-1\ndata: a\n\n\
         id: #9-0\nevent: tidewire.checkpoint\ndata: \n\n:\n"
    );
    let server = Server::new([close(stream(&body)), close(stream("id: #9-7\n\n"))]);
    let mut events = server.client().await.subscribe_after("#1-1");
    let updates = all(&mut events).await;

    let [_, Update::Gap { requested, resumed_from, reason }, Update::Event(event), Update::Checkpoint { id }, ..] =
        &updates[..]
    else {
        panic!("{updates:?}")
    };
    assert_eq!([requested, resumed_from, reason], ["#1-1", "#4-0", "expired"]);
    assert_eq!([&event.id, id], ["#5-1", "#9-0"]);
    assert!(updates.iter().any(|update| matches!(update, Update::Checkpoint { id } if id == "#9-7")));
    assert_eq!(server.seen_ids(), [Some("#1-1".into()), Some("#9-0".into()), Some("#9-7".into())]);
}

#[tokio::test]
async fn what_is_over_a_limit_is_told_and_passed() {
    let long = "x".repeat(100);
    let server = Server::new([close(stream(&format!("id: 1\ndata: {long}\n\ndata: b\n\n")))]);
    let client = server.client().await.limits(Limits { line_bytes_max: 50, event_bytes_max: 50 });
    let updates = all(&mut client.subscribe()).await;

    assert!(matches!(updates[1], Update::LeftOut(DecodeError::LineTooLong { limit: 50 })), "{updates:?}");
    assert!(matches!(&updates[2], Update::Checkpoint { id } if id == "1"), "{updates:?}");
    assert_eq!(messages(&updates), [("1", "b")]);
}

#[tokio::test]
async fn the_request_is_what_it_should_be() {
    let server = Server::new([]);
    let client = server.client().await.query("topic", "a&b").query("topic", "c");
    let client =
        client.header("Authorization", "Bearer t").and_then(|client| client.header("cache-control", "no-store"));
    all(&mut client.expect("both can be sent").subscribe()).await;

    let seen = &server.seen()[0];
    assert!(seen.head.starts_with("GET /feed?topic=a%26b&topic=c HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("accept"), Some("text/event-stream"));
    assert_eq!(seen.header("authorization"), Some("Bearer t"));
    assert_eq!(seen.header("cache-control"), Some("no-store"));
    assert!(seen.header("host").is_some_and(|host| host.starts_with("127.0.0.1:")));
}

#[tokio::test]
async fn next_can_be_dropped_at_any_point() {
    let pause = Duration::from_millis(2);
    let slow = |from: u32, to: u32| {
        let event = |number| format!("id: {number}\ndata: {number}\n\n");
        (from..to).fold(close("").later(pause, STREAM), |answer, number| {
            let text = event(number);
            let (first, second) = text.split_at(text.len() / 2);
            answer.later(pause, first).later(pause, second)
        })
    };
    let server = Server::new([slow(0, 5), slow(5, 10)]);
    let mut events = server.client().await.subscribe();
    let mut data = Vec::new();
    let mut dropped = 0;
    loop {
        match timeout(Duration::from_millis(1), events.next()).await {
            Err(_) => dropped += 1,
            Ok(None) => break,
            Ok(Some(Update::Event(message))) => data.push(message.data),
            Ok(Some(_)) => {}
        }
        assert!(dropped < 10_000, "it comes to an end");
    }
    assert_eq!(data, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(dropped > 0, "the server pauses for longer than next is given");
    assert_eq!(server.seen().len(), 3, "a dropped next begins no request anew");
}

#[tokio::test]
async fn dropping_the_subscription_closes_the_connection() {
    let server = Server::new([hold(stream("data: a\n\n"))]);
    let mut events = server.client().await.subscribe();
    while !matches!(events.next().await, Some(Update::Event(_))) {}
    drop(events);
    timeout(Duration::from_secs(10), server.closed_by_client()).await.expect("the server sees the end");
}
