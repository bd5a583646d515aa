//! Pages of other origins: those that are allowed may use the hub, and no others.

use tidewire_harness::{EventStream, Http, Hub, Response};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const ALLOWED: &str = "https://app.example";

fn ask(http: &mut Http, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    http.request(method, target, headers, b"").expect("the hub answers")
}

#[test]
fn answers_say_which_pages_may_read_them_streams_and_errors_included() {
    let hub = Hub::start_with(BINARY, &["--dev", "--cors-origins", "https://app.example, http://localhost:5173"], &[]);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    for (target, status) in [("/api/v1/topics", 200), ("/api/v1/nothing", 404), ("/api/v1/events", 400)] {
        let answer = ask(&mut http, "GET", target, &[("origin", ALLOWED)]);
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED), "{target}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{target}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{target}");
        for headers in [&[("origin", "https://other.example")][..], &[]] {
            let answer = ask(&mut http, "GET", target, headers);
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, None), "{target}");
            assert_eq!(answer.header("vary"), Some("Origin"), "{target}");
        }
    }
    let target = "/api/v1/events?topic=a";
    for (origin, expected) in [(ALLOWED, Some(ALLOWED)), ("https://app.example.evil", None)] {
        let mut stream = Http::connect(hub.address()).expect("the hub listens");
        stream.send("GET", target, &[("origin", origin)], b"").expect("the hub reads");
        let (status, head) = stream.receive_head().expect("the hub answers");
        let of = |name: &str| head.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        assert_eq!((status, of("access-control-allow-origin"), of("vary")), (200, expected, Some("Origin")));
    }
    // What follows the head is a stream as any other.
    let mut stream = EventStream::open(hub.address(), target, &[("origin", ALLOWED)]).expect("the hub answers");
    let body = br#"{"topic": "a", "data": "for the page"}"#;
    let published = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body);
    assert_eq!(published.expect("the hub answers").status, 200);
    assert_eq!(stream.published().data, "for the page");
}

/// A preflight has no token: it is answered before anybody is asked for one.
#[test]
fn a_preflight_is_answered_before_admission_and_says_for_how_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key").display().to_string();
    let made = std::process::Command::new(BINARY).args(["token", "new-key", &key]).status();
    assert!(made.expect("the binary runs").success());
    let arguments = ["--key-file", &key, "--public-url", "https://hub.example", "--cors-origins", ALLOWED];
    let hub = Hub::start_with(BINARY, &arguments, &[]);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let asks = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ]
    };
    let leave = ask(&mut http, "OPTIONS", "/api/v1/events", &asks(ALLOWED));
    assert_eq!((leave.status, leave.text()), (204, String::new()));
    assert_eq!(leave.header("access-control-allow-origin"), Some(ALLOWED));
    assert_eq!(leave.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert_eq!(leave.header("access-control-max-age"), Some("7200"));
    assert!(leave.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let refused = ask(&mut http, "OPTIONS", "/api/v1/events", &asks("https://other.example"));
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    assert_eq!(refused.json()["type"], "urn:tidewire:error:origin");
    // What is no preflight needs a token as ever.
    assert_eq!(ask(&mut http, "GET", "/api/v1/events?topic=a", &[("origin", ALLOWED)]).status, 401);
}
