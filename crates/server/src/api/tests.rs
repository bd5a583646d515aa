use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tidewire_auth::{Claims, mint};
use tidewire_topic::Matcher;

use super::*;
use crate::decide::EVENTS_PATH;
use crate::testing::{Bench, SECRET};

impl Bench {
    async fn ask(&self, request: http::request::Builder, body: impl Into<Bytes>) -> (Came, Value) {
        let request = request.body(Full::new(body.into())).expect("a request");
        let outcome = answer(Arc::clone(&self.hub), request).await.expect("an answer");
        let Outcome::Answer(answer) = outcome else { panic!("it is a stream") };
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (Came { status: parts.status, headers: parts.headers }, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn get(&self, target: &str) -> (StatusCode, Value) {
        let (parts, body) = self.ask(Request::get(target), "").await;
        (parts.status, body)
    }

    async fn post(&self, event: Value) -> (StatusCode, Value) {
        let (parts, body) = self.ask(post(), event.to_string()).await;
        (parts.status, body)
    }
}

/// A body of which nothing ever comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

struct Came {
    status: StatusCode,
    headers: http::HeaderMap,
}

fn post() -> http::request::Builder {
    Request::post(EVENTS_PATH).header("content-type", "application/json")
}

fn token(publish: &[&str], subscribe: &[&str]) -> String {
    let set =
        |topics: &[&str]| MatcherSet::new(topics.iter().map(|topic| Matcher::parse(topic).expect("a topic"))).ok();
    let claims = Claims { publish: set(publish), subscribe: set(subscribe), ..Claims::default() };
    format!("Bearer {}", mint(&SECRET, &claims).expect("a token"))
}

fn name(body: &Value) -> &str {
    body["type"].as_str().unwrap_or_default().trim_start_matches("urn:tidewire:error:")
}

#[tokio::test]
async fn an_event_is_published_and_read_back() {
    let bench = Bench::dev();
    let event = json!({"topic": "a", "data": {"n": 1.5}, "type": "t", "id": "mine", "private": false});
    let (status, body) = bench.post(event.clone()).await;
    assert_eq!(status, 200, "{body}");
    let id = body["id"].as_str().expect("an id").to_owned();
    for written in [id.replace('#', "%23"), id.replace('#', "")] {
        let (status, found) = bench.get(&format!("{EVENTS_PATH}/{written}")).await;
        assert_eq!(status, 200, "{found}");
        let time = found["time"].as_str().expect("a time").to_owned();
        assert!(time.ends_with('Z') && time.len() == 24, "{time}");
        let expected =
            json!({"id": id, "publisher_id": "mine", "topics": ["a"], "type": "t", "data": {"n": 1.5}, "time": time});
        assert_eq!(found, expected);
    }
    assert_eq!(bench.post(event).await.1["id"], id.as_str(), "a retry is answered with the first id");
    let (status, body) = bench.post(json!({"topic": "a", "data": 2, "id": "mine"})).await;
    assert_eq!((status.as_u16(), name(&body), &body["id"]), (409, "id-conflict", &json!(id)));
    assert_eq!(body.get("index"), None);
}

#[tokio::test]
async fn an_array_is_answered_in_its_order() {
    let bench = Bench::dev();
    let (_, body) = bench.post(json!([{"topic": "a", "data": "1"}, {"topics": ["b", "a"], "data": "2"}])).await;
    let ids: Vec<&str> = body["ids"].as_array().expect("ids").iter().filter_map(Value::as_str).collect();
    assert_eq!(ids.len(), 2);
    let (_, topics) = bench.get("/api/v1/topics").await;
    let expected = json!({"topics": [
        {"topic": "a", "events": 2, "first_id": ids[0], "last_id": ids[1], "subscribers": 0},
        {"topic": "b", "events": 1, "first_id": ids[1], "last_id": ids[1], "subscribers": 0},
    ]});
    assert_eq!(topics, expected);
    assert_eq!(bench.get("/api/v1/topics/b").await.1, expected["topics"][1]);
    let (_, page) = bench.get("/api/v1/topics?limit=1").await;
    assert_eq!((&page["topics"][0]["topic"], &page["next"]), (&json!("a"), &json!("a")));
    let (_, page) = bench.get("/api/v1/topics?limit=2&after=a").await;
    assert_eq!((&page["topics"][0]["topic"], page.get("next")), (&json!("b"), None));
    let (status, body) = bench.post(json!([{"topic": "c", "data": "1"}, {"topic": "c"}])).await;
    assert_eq!((status.as_u16(), name(&body), &body["index"]), (400, "event", &json!(1)));
    assert_eq!(bench.get("/api/v1/topics").await.1, expected, "nothing of it was published");
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused() {
    let bench = Bench::dev();
    for (method, target, status, expected) in [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/api/v1/events/", 404, "not-found"),
        ("GET", "/api/v1/events/1-0", 404, "event-not-found"),
        ("GET", "/api/v1/events/mine", 404, "event-not-found"),
        ("GET", "/api/v1/events/%FF", 404, "event-not-found"),
        ("PUT", "/api/v1/events", 405, "method"),
        ("HEAD", "/api/v1/events", 405, "method"),
        ("POST", "/api/v1/topics", 405, "method"),
        ("DELETE", "/", 405, "method"),
        ("DELETE", "/api/v1/events", 405, "method"),
        ("DELETE", "/api/v1/topics", 405, "method"),
        ("PUT", "/api/v1/events/1-0", 405, "method"),
        ("PUT", "/api/v1/topics/a", 405, "method"),
        ("GET", "/api/v1/topics/a", 404, "topic-not-found"),
        ("GET", "/api/v1/topics/%0A", 400, "topic"),
        ("GET", "/api/v1/connections/0-0-0", 405, "method"),
        ("DELETE", "/api/v1/connections/0-0-0", 404, "connection-not-found"),
        ("GET", "/api/v1/connections?after=x", 400, "page"),
        ("DELETE", "/api/v1/topics/", 404, "not-found"),
        ("DELETE", "/api/v1/topics/a/b", 404, "not-found"),
        ("DELETE", "/api/v1/topics/*", 400, "topic"),
        ("DELETE", "/api/v1/topics/%FF", 400, "topic"),
        ("DELETE", "/api/v1/events/1-0", 404, "event-not-found"),
        ("DELETE", "/api/v1/events/mine", 400, "topic-missing"),
        ("DELETE", "/api/v1/events/mine?topic=a", 404, "event-not-found"),
        ("GET", "/api/v1/events", 400, "topic-missing"),
        ("GET", "/api/v1/events?topic=a&wait=5s", 406, "not-acceptable"),
        ("GET", "/api/v1/topics?limit=0", 400, "page"),
    ] {
        let (parts, body) = bench.ask(Request::builder().method(method).uri(target), "").await;
        assert_eq!((parts.status.as_u16(), name(&body)), (status, expected), "{method} {target}");
        assert_eq!(parts.headers["content-type"], "application/problem+json");
        assert_eq!(parts.headers.contains_key("allow"), status == 405, "{method} {target}");
    }
    let (parts, _) = bench.ask(Request::get("/"), "").await;
    assert_eq!(parts.headers["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn a_body_is_json_by_its_word_and_within_its_limit() {
    let bench = Bench::with(vec![("body_bytes", "64".to_owned())]);
    let event = |bytes: usize| json!({"topic": "a", "data": "x".repeat(bytes)}).to_string();
    let sized = |bytes: usize| event(bytes - event(0).len());
    assert_eq!(bench.ask(post(), sized(64)).await.0.status, 200);
    let (parts, body) = bench.ask(post(), sized(65)).await;
    assert_eq!((parts.status.as_u16(), name(&body)), (413, "body-bytes"));
    assert_eq!(parts.headers["connection"], "close");
    let (parts, body) = bench.ask(Request::post(EVENTS_PATH), event(1)).await;
    assert_eq!((parts.status.as_u16(), name(&body)), (415, "media-type"));
    let charset = Request::post(EVENTS_PATH).header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(bench.ask(charset, event(1)).await.0.status, 200);
    let (parts, body) = bench.ask(post().header("content-encoding", "gzip"), event(1)).await;
    assert_eq!((parts.status.as_u16(), name(&body)), (415, "content-encoding"));
    let (parts, body) = bench.ask(post().header("content-length", "65"), "").await;
    assert_eq!((parts.status.as_u16(), name(&body)), (413, "body-bytes"), "refused by its length alone");
}

#[tokio::test]
async fn a_token_says_what_may_be_published_and_read() {
    let bench = Bench::closed();
    let private = json!({"topic": "a", "data": "secret", "private": true}).to_string();
    let (parts, body) = bench.ask(post(), private.clone()).await;
    assert_eq!((parts.status.as_u16(), name(&body)), (401, "token-missing"));
    assert_eq!(parts.headers["www-authenticate"], "Bearer");
    let (parts, body) = bench.ask(post().header("authorization", token(&["b"], &[])), private.clone()).await;
    assert_eq!((parts.status.as_u16(), name(&body)), (403, "insufficient-scope"));
    assert_eq!(parts.headers["www-authenticate"], "Bearer error=\"insufficient_scope\"");
    let (parts, body) = bench.ask(post().header("authorization", token(&["a"], &[])), private).await;
    assert_eq!(parts.status, 200, "{body}");

    let event = format!("{EVENTS_PATH}/{}", body["id"].as_str().expect("an id").trim_start_matches('#'));
    let read = async |target: &str, authorization: Option<String>| {
        let mut request = Request::get(target);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let (parts, body) = bench.ask(request, "").await;
        (parts.status.as_u16(), body)
    };
    assert_eq!(read(&event, None).await.0, 401);
    assert_eq!(read(&event, Some("Bearer x".to_owned())).await.0, 401);
    assert_eq!(read(&event, Some(token(&[], &["b"]))).await.0, 404);
    let (status, found) = read(&event, Some(token(&[], &["a"]))).await;
    assert_eq!((status, &found["private"]), (200, &json!(true)));
    assert_eq!(read("/api/v1/topics", Some(token(&[], &["b"]))).await.1, json!({"topics": []}));
    assert_eq!(read("/api/v1/topics", Some(token(&[], &["*"]))).await.1["topics"][0]["topic"], "a");
    let (status, topic) = read("/api/v1/topics/a", Some(token(&[], &["a"]))).await;
    assert_eq!((status, &topic["events"], topic.get("subscribers")), (200, &json!(1), None));
    assert_eq!(read("/api/v1/topics/a", Some(token(&[], &["b"]))).await.0, 404);
}

#[tokio::test]
async fn events_and_topics_are_erased() {
    let bench = Bench::dev();
    let delete = async |target: String| bench.ask(Request::delete(target), "").await.0;
    let array = json!([
        {"topic": "a/b", "data": "1", "id": "mine"},
        {"topic": "a/b", "data": "2"},
        {"topic": "c", "data": "3"},
    ]);
    let (_, body) = bench.post(array).await;
    let event = |n: usize| format!("{EVENTS_PATH}/{}", body["ids"][n].as_str().expect("an id").replace('#', "%23"));
    let came = delete(event(1)).await;
    assert_eq!((came.status.as_u16(), came.headers["cache-control"].as_bytes()), (204, &b"no-store"[..]));
    assert_eq!(bench.get(&event(1)).await.0, 404);
    assert_eq!(delete(event(1)).await.status, 404, "it is not there any more");
    assert_eq!(delete(format!("{EVENTS_PATH}/mine?topic=c")).await.status, 404);
    assert_eq!(delete(format!("{EVENTS_PATH}/mine?topic=a%2Fb")).await.status, 204);
    assert_eq!(bench.get(&event(0)).await.0, 404);
    assert_eq!(bench.get("/api/v1/topics").await.1["topics"].as_array().map(Vec::len), Some(1));
    bench.post(json!({"topic": "a/b", "data": "4"})).await;
    for _ in 0..2 {
        assert_eq!(delete("/api/v1/topics/a%2Fb".to_owned()).await.status, 204, "also if nothing is there");
    }
    assert_eq!(bench.get(&event(2)).await.0, 200);
    let (_, topics) = bench.get("/api/v1/topics").await;
    assert_eq!((topics["topics"].as_array().map(Vec::len), &topics["topics"][0]["topic"]), (Some(1), &json!("c")));
    let told = crate::metrics::render(&bench.hub, crate::metrics::Format::OpenMetrics);
    for line in ["tidewire_log_erased_total 4", "tidewire_log_tombstones 3", "tidewire_overwrite_failures_total 0"] {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }
}

#[tokio::test]
async fn erasing_takes_the_admin_grant() {
    let bench = Bench::closed();
    let claims = Claims { admin: true, ..Claims::default() };
    let admin = format!("Bearer {}", mint(&SECRET, &claims).expect("a token"));
    for target in ["/api/v1/topics/a", "/api/v1/events/1-0", "/api/v1/events/x?topic=a"] {
        let delete = async |authorization: Option<String>| {
            let request = Request::delete(target);
            let request = match authorization {
                Some(value) => request.header("authorization", value),
                None => request,
            };
            let (came, body) = bench.ask(request, "").await;
            (came.status.as_u16(), name(&body).to_owned())
        };
        assert_eq!(delete(None).await, (401, "token-missing".to_owned()), "{target}");
        assert_eq!(delete(Some("Bearer x".to_owned())).await, (401, "token-invalid".to_owned()), "{target}");
        let everything = token(&["*"], &["*"]);
        assert_eq!(delete(Some(everything)).await, (403, "insufficient-scope".to_owned()), "{target}");
        let status = if target.contains("topics") { 204 } else { 404 };
        assert_eq!(delete(Some(admin.clone())).await.0, status, "{target}");
    }
    bench.hub.log.close();
    let (came, body) = bench.ask(Request::delete("/api/v1/topics/a").header("authorization", admin), "").await;
    assert_eq!((came.status.as_u16(), name(&body)), (503, "not-ready"));
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let bench = Bench::closed();
    bench.post(json!({"topic": "a", "data": 1})).await;
    bench.ask(post().header("authorization", "Bearer x"), "{}").await;
    bench
        .ask(post().header("authorization", token(&["*"], &[])), r#"[{"topic":"a","data":1},{"topic":"a","data":2}]"#)
        .await;
    let told = crate::metrics::render(&bench.hub, crate::metrics::Format::OpenMetrics);
    for line in [
        "tidewire_problems_total{problem=\"token-missing\"} 1",
        "tidewire_tokens_refused_total{reason=\"malformed\"} 1",
        "tidewire_published_events_total 2",
        "tidewire_appended_events_total 2",
        "tidewire_http_requests_total{status=\"401\"} 2",
        "tidewire_tail_events 2",
        "# UNIT tidewire_tail_bytes bytes",
        "# UNIT tidewire_log_bytes bytes",
        "tidewire_commit_seconds_bucket{le=\"+Inf\"}",
        "# EOF",
    ] {
        assert!(told.lines().any(|told| told.starts_with(line)), "{line} is not in\n{told}");
    }
}

#[tokio::test]
async fn a_closed_log_publishes_nothing() {
    let bench = Bench::dev();
    bench.hub.log.close();
    let (status, body) = bench.post(json!({"topic": "a", "data": 1})).await;
    assert_eq!((status.as_u16(), name(&body)), (503, "not-ready"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_refused() {
    let bench = Bench::dev();
    let request = post().body(Never).expect("a request");
    let refused = answer(Arc::clone(&bench.hub), request).await.expect("an answer");
    let Outcome::Answer(refused) = refused else { panic!("it is a stream") };
    assert_eq!(refused.status(), 408);
    assert_eq!(refused.headers()["connection"], "close");
}
