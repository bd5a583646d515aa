//! Chromium keeps every event once and in order while the hub is killed over and over, and lets pages of other origins
//! use the hub where that is allowed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidewire_harness::browser::{Browser, Kind, Page};
use tidewire_harness::{Campaign, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

#[test]
fn every_number_once_and_in_order_over_kills() {
    let campaign = Campaign::of_ten_thousand("browser_chromium");
    campaign.run(BINARY, |hub, clock, numbers| Page::open(Browser::start(Kind::Chromium), &hub.url(), clock, numbers));
}

/// Watches with credentials, publishes once it does, and writes down what came of both.
const FROM_ELSEWHERE: &str = "
    const [url] = arguments, seen = window.fromElsewhere = {watched: null, published: null};
    const source = new EventSource(`${url}/api/v1/events?topic=a`, {withCredentials: true});
    const publish = () => fetch(`${url}/api/v1/events`, {
        method: 'POST', credentials: 'include', headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({topic: 'a', data: 'hello'}),
    }).then(answer => seen.published = answer.status, error => seen.published = 'refused');
    source.onopen = publish;
    source.onmessage = event => seen.watched = event.data;
    source.onerror = () => { if (source.readyState === 2) { seen.watched = 'refused'; publish(); } };";

#[test]
#[expect(clippy::disallowed_methods, reason = "a test waits with a deadline")]
fn a_page_of_another_origin_may_use_the_hub_where_that_is_allowed() {
    let home = Hub::start(BINARY);
    let open = Hub::start_with(BINARY, &["--dev", "--cors-origins", &home.url()], &[]);
    let closed = Hub::start_with(BINARY, &["--dev", "--cors-origins", "https://other.example"], &[]);
    let mut browser = Browser::start(Kind::Chromium);
    for (hub, expected) in [
        (&open, json!({"watched": "hello", "published": 200})),
        (&closed, json!({"watched": "refused", "published": "refused"})),
    ] {
        // The page at `/` says of itself that it talks to its own hub only.
        browser.open(&format!("{}/api/v1/topics", home.url()));
        browser.run(FROM_ELSEWHERE, &[json!(hub.url())]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = Value::Null;
        while seen != expected && Instant::now() < deadline {
            seen = browser.run("return window.fromElsewhere", &[]);
        }
        assert_eq!(seen, expected);
    }
}
