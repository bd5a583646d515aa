//! What an operator sees of each promise: its figure moves when the promise is touched, and says how far.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const JSON: (&str, &str) = ("content-type", "application/json");

fn scrape(hub: &Hub, accept: &str) -> (String, String) {
    let mut admin = Http::connect(hub.admin()).expect("the admin listener accepts");
    let answer = admin.request("GET", "/metrics", &[("accept", accept)], b"").expect("it answers");
    (answer.header("content-type").expect("a media type").to_owned(), answer.text())
}

fn figures(hub: &Hub) -> HashMap<String, f64> {
    let (_, text) = scrape(hub, "*/*");
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

fn post(hub: &Hub, body: &Value) -> u16 {
    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    http.request("POST", "/api/v1/events", &[JSON], body.to_string().as_bytes()).expect("it answers").status
}

/// What a request adds to a figure, once it has.
#[track_caller]
fn adds(hub: &Hub, figure: &str, by: f64, mut act: impl FnMut()) {
    let before = *figures(hub).get(figure).unwrap_or_else(|| panic!("no {figure} before it moves"));
    act();
    wait_until(figure, WITHIN, || figures(hub)[figure] == before + by);
}

#[test]
fn each_limit_of_a_request_counts_who_passes_it_under_its_name() {
    let hub = Hub::start_with(
        BINARY,
        &["--dev", "--event-bytes", "100", "--batch-events", "2", "--body-bytes", "20000"],
        &[("TIDEWIRE_MAX_STREAMS", "1")],
    );
    let event = |data: String| json!({"topic": "a", "data": data});
    let passes = |limit: &str, status: u16, act: &dyn Fn() -> u16| {
        let figure = format!("tidewire_limits_passed_total{{limit=\"{limit}\"}}");
        adds(&hub, &figure, 1.0, || assert_eq!(act(), status, "{limit}"));
    };
    assert_eq!(post(&hub, &event("x".repeat(100))), 200);
    passes("event_bytes", 413, &|| post(&hub, &event("x".repeat(101))));
    passes("body_bytes", 413, &|| post(&hub, &event("x".repeat(20_001))));
    passes("batch_events", 413, &|| post(&hub, &json!([event("1".into()), event("2".into()), event("3".into())])));
    passes("topic_bytes", 400, &|| post(&hub, &json!({"topic": "x".repeat(4_097), "data": 1})));
    passes("type_bytes", 400, &|| post(&hub, &json!({"topic": "a", "data": 1, "type": "x".repeat(129)})));
    passes("publisher_id_bytes", 400, &|| post(&hub, &json!({"topic": "a", "data": 1, "id": "x".repeat(129)})));
    let topics: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    passes("event_topics", 413, &|| post(&hub, &json!({"topics": topics, "data": 1})));
    let ask = |query: String| {
        let target = format!("/api/v1/events?{query}");
        EventStream::open(hub.address(), &target, &[]).expect("it answers").head.status
    };
    let many = |name: &str, count: usize| (0..count).map(|n| format!("{name}={n}&")).collect::<String>();
    passes("matchers", 400, &|| ask(many("topic", 101)));
    passes("types", 400, &|| ask(many("type", 101) + "topic=a"));
    passes("matcher_weight", 400, &|| ask((0..6).map(|n| format!("pattern=/{n}/(a|b)&")).collect()));
    passes("pattern_bytes", 400, &|| ask(format!("pattern=/{}", "x".repeat(1_024))));
    passes("template_bytes", 400, &|| ask(format!("template={}", "x".repeat(1_025))));
    passes("query_parameters", 400, &|| ask(many("a", 1_001)));
    let held = EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("it answers");
    assert_eq!(held.head.status, 200);
    passes("max_streams", 503, &|| ask("topic=a".into()));
    adds(&hub, "tidewire_problems_total{problem=\"topic\"}", 1.0, || {
        assert_eq!(post(&hub, &json!({"topic": "", "data": 1})), 400);
    });
}

#[test]
fn an_event_moves_the_figures_of_its_way() {
    let hub = Hub::start(BINARY);
    let mut stream = EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("the hub answers");
    let before = figures(&hub);
    assert_eq!(post(&hub, &json!({"topic": "a", "data": "hello"})), 200);
    stream.published();
    wait_until("it is counted", WITHIN, || figures(&hub)["tidewire_deliveries_total"] == 1.0);
    let after = figures(&hub);
    let grew = |name: &str| assert!(after[name] > before[name], "{name}: {} to {}", before[name], after[name]);
    for name in ["sent_bytes_total", "published_events_total", "appended_events_total", "tail_events", "tail_bytes"] {
        grew(&format!("tidewire_{name}"));
    }
    grew("tidewire_commit_seconds_count");
    grew("tidewire_sync_seconds_count");
    grew("tidewire_commit_seconds_bucket{le=\"+Inf\"}");
    grew("tidewire_http_requests_total{status=\"200\"}");
    assert_eq!((after["tidewire_streams"], after["tidewire_streams_behind"]), (1.0, 0.0));
    assert!(after["tidewire_disk_bytes"] > after["tidewire_disk_free_bytes"]);
    assert!(after["tidewire_disk_free_bytes"] > 0.0 && after["tidewire_log_bytes"] > 0.0);
    for (query, reason) in [("lastId=nobodys", "unknown"), ("lastId=1-0", "epoch")] {
        adds(&hub, &format!("tidewire_gaps_total{{reason=\"{reason}\"}}"), 1.0, || {
            let target = format!("/api/v1/events?topic=a&{query}");
            EventStream::open(hub.address(), &target, &[]).expect("the hub answers");
        });
    }
    let headers = [("authorization", "Bearer abc")];
    let head = EventStream::open(hub.address(), "/api/v1/events?topic=a", &headers).expect("it answers").head;
    assert_eq!(head.status, 401);
    assert_eq!(figures(&hub)["tidewire_tokens_refused_total{reason=\"no_key\"}"], 1.0);
}

#[test]
fn who_takes_nothing_is_seen_to_be_behind_and_then_to_stall_and_who_is_silent_to_get_heartbeats() {
    let hub =
        Hub::start_with(BINARY, &["--dev", "--heartbeat", "2s", "--stall-timeout", "20s", "--tail-bytes", "1MiB"], &[]);
    let mut silent = EventStream::open(hub.address(), "/api/v1/events?topic=silent", &[]).expect("the hub answers");
    silent.event().expect("it begins");
    wait_until("a heartbeat", WITHIN, || figures(&hub)["tidewire_heartbeats_total"] > 0.0);
    let slow = EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("the hub answers");
    let data = "x".repeat(500_000);
    let behind = |name: &str| figures(&hub)[name];
    wait_until("it is behind the tail", WITHIN, || {
        assert_eq!(post(&hub, &json!({"topic": "a", "data": data})), 200);
        behind("tidewire_streams_behind_tail") == 1.0
    });
    // Each is looked at in its turn, perhaps just before the shard has matched the last event.
    wait_until("the silent one is owed nothing", WITHIN, || behind("tidewire_streams_behind") == 1.0);
    assert!(behind("tidewire_stream_lag_events_max") >= 1.0);
    assert!(behind("tidewire_stream_lag_max_seconds") > 0.0);
    wait_until("it stalls", WITHIN, || figures(&hub)["tidewire_stalls_total"] == 1.0);
    wait_until("nobody is behind", WITHIN, || behind("tidewire_streams_behind") == 0.0);
    assert_eq!(behind("tidewire_stream_lag_max_seconds"), 0.0);
    drop(slow);
}

#[test]
fn figures_are_told_as_who_asks_understands_them() {
    let hub = Hub::start(BINARY);
    let (media_type, text) = scrape(&hub, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(media_type.starts_with("application/openmetrics-text") && text.ends_with("# EOF\n"), "{media_type}");
    let (media_type, text) = scrape(&hub, "*/*");
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("# TYPE tidewire_deliveries_total counter\ntidewire_deliveries_total 0\n"), "{text}");
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
}
