//! Publishing to servers that answer late, badly or not at all.

use std::time::Duration;

use serde_json::value::RawValue;
use tidewire_client::{Failure, NewEvent, PublishError, RequestError};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Server, close, hold, serve, status};

fn ids(ids: &str) -> Answer {
    serve(status("200 OK", "Content-Type: application/json\r\n", &format!(r#"{{"ids":[{ids}]}}"#)))
}

fn event(id: &str) -> NewEvent {
    NewEvent::text("t", "a").with_id(id)
}

fn without_id() -> [NewEvent; 1] {
    [NewEvent::text("t", "a")]
}

#[tokio::test]
async fn events_are_sent_as_the_api_has_them() {
    let server = Server::new([ids(r##""#1-1","#1-2","#1-3""##)]);
    let json = RawValue::from_string(r#"{"b":1.10,"a":[]}"#.to_owned()).expect("JSON");
    let mut full = NewEvent::json("x", json).with_id("p2").with_type("price");
    full.topics.push("y".to_owned());
    (full.private, full.retry) = (true, Some(500));
    let events = [event("p1"), full, NewEvent::text("t", "line\n\"two\"")];
    let client = server.client().await.query("topic", "t").header("authorization", "Bearer t").expect("it can be sent");

    assert_eq!(client.publish(&events).await.expect("the server takes them"), ["#1-1", "#1-2", "#1-3"]);
    let seen = &server.seen()[0];
    assert!(seen.head.starts_with("POST /feed HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("authorization"), Some("Bearer t"));
    assert_eq!(
        seen.body,
        concat!(
            r#"[{"topics":["t"],"data":"a","id":"p1"},"#,
            r#"{"topics":["x","y"],"data":{"b":1.10,"a":[]},"type":"price","id":"p2","private":true,"retry":500},"#,
            r#"{"topics":["t"],"data":"line\n\"two\""}]"#
        )
    );
}

#[tokio::test]
async fn nothing_to_publish_is_not_asked() {
    let server = Server::new([]);
    assert!(server.client().await.publish(&[]).await.expect("there is nothing to refuse").is_empty());
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_connection_serves_many() {
    let server = Server::new((0..20).map(|_| ids("\"1\"")));
    let client = server.client().await;
    for _ in 0..20 {
        client.clone().publish(&[event("p")]).await.expect("the server takes it");
    }
    assert!(server.seen().iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn what_went_wrong_is_sent_again_with_the_same_ids() {
    let server = Server::new([
        close(""),
        close("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"ids\":["),
        close(status("500 Oops", "", "")),
        close(status("503 Busy", "Retry-After: 0\r\n", "")),
        close(status("429 Often", "", "")),
        close(status("408 Late", "", "")),
        close("garbage"),
        ids(r#""1","2""#),
    ]);
    let answer = server.client().await.publish(&[event("p1"), event("p2")]).await;
    assert_eq!(answer.expect("the last try succeeds"), ["1", "2"]);
    let seen = server.seen();
    assert_eq!(seen.len(), 8);
    assert!(seen[0].body.contains("p2") && seen.iter().all(|again| again.body == seen[0].body), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_while_idle_costs_no_try() {
    let first = status("200 OK", "", r#"{"ids":["1"]}"#);
    let server = Server::new([close(first), ids("\"2\"")]);
    let client = server.piped();
    assert_eq!(client.publish(&without_id()).await.expect("the server takes it"), ["1"]);
    // Paused time goes on only when nothing else can: the client has seen the end by then.
    sleep(Duration::from_secs(1)).await;
    assert_eq!(client.publish(&without_id()).await.expect("the server takes it"), ["2"]);
    assert_eq!(server.seen()[1].connection, 1);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let problem = r#"{"type":"urn:tidewire:error:id-conflict","detail":"p1 has other content"}"#;
    for line in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "409 Conflict", "413 Content Too Large"] {
        let server = Server::new([close(status(line, "Content-Type: application/problem+json\r\n", problem))]);
        let error = server.client().await.publish(&[event("p1")]).await.expect_err("it is refused");
        let PublishError::Refused(refusal) = &error else { panic!("{error}") };
        assert_eq!(refusal.problem.as_deref(), Some("urn:tidewire:error:id-conflict"));
        assert!(error.to_string().ends_with(": p1 has other content"), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn without_an_id_what_may_have_been_stored_is_not_sent_again() {
    let unsafe_ones =
        ["".to_owned(), status("500 Oops", "", ""), status("504 Late", "", ""), status("408 Late", "", "")];
    for answer in unsafe_ones {
        let server = Server::new([close(answer.as_str()), ids("\"1\"")]);
        let error = server.client().await.publish(&without_id()).await.expect_err("no second try");
        assert!(matches!(error, PublishError::GaveUp { tries: 1, .. }), "{answer:?}: {error}");
        assert_eq!(server.seen().len(), 1);
    }
    for line in ["429 Often", "503 Busy"] {
        let server = Server::new([close(status(line, "", "")), ids("\"1\"")]);
        assert_eq!(server.client().await.publish(&without_id()).await.expect("a second try"), ["1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_id_what_was_never_sent_is_sent() {
    let server = Server::new([ids("\"1\"")]).failing(3);
    assert_eq!(server.piped().publish(&without_id()).await.expect("the fourth connection is made"), ["1"]);
}

#[tokio::test]
async fn an_answer_that_is_not_one_id_for_each_is_an_error() {
    let long = format!("{{\"ids\":[\"{}\"]}}", "1".repeat(1 << 20));
    for body in [r#"{"ids":[]}"#, r#"{"ids":["1","2"]}"#, r#"{"id":"1"}"#, "oops", "", &long] {
        let server = Server::new([close(status("200 OK", "", body))]);
        let error = server.client().await.publish(&[event("p1")]).await.expect_err("it is no answer");
        assert!(matches!(error, PublishError::Answer), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_before_the_server_forgets_the_ids() {
    let server = Server::new([]).failing(usize::MAX);
    let start = Instant::now();
    let error = server.piped().publish(&[event("p1")]).await.expect_err("no server is there");
    let PublishError::GaveUp { tries, last: Failure::Request(RequestError::Connect(_)) } = error else {
        panic!("{error}")
    };
    assert!(tries >= 10, "{tries}");
    let taken = start.elapsed();
    assert!((Duration::from_secs(5 * 60 - 30)..=Duration::from_secs(5 * 60)).contains(&taken), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_can_go_on_for_ever() {
    let server = Server::new([ids("\"1\"")]).failing(1_000);
    let client = server.piped().publish_timeout(Duration::MAX);
    assert_eq!(client.publish(&[event("p1")]).await.expect("it goes on"), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_asked_for_again() {
    let server = Server::new([hold(""), hold("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), ids("\"1\"")]);
    let start = Instant::now();
    assert_eq!(server.piped().publish(&[event("p1")]).await.expect("the third try succeeds"), ["1"]);
    assert!(start.elapsed() >= Duration::from_secs(60), "{:?}", start.elapsed());
}
