//! The hub over TLS, as its clients meet it.

mod http2;
mod reload;
mod starts;
mod streams;
mod ticker;
mod weight;
mod wrong;

use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use serde_json::json;
use tidewire_harness::{Authority, EventStream, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// A hub over TLS, and who certifies it.
struct TlsHub {
    authority: Authority,
    hub: Hub,
    client: Arc<ClientConfig>,
}

impl TlsHub {
    fn start() -> TlsHub {
        TlsHub::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> TlsHub {
        let authority = Authority::new();
        let files = authority.arguments();
        let all: Vec<&str> = ["--dev"].into_iter().chain(files.iter().map(String::as_str)).collect();
        let hub = Hub::start_with(BINARY, &[&all, arguments].concat(), &[]);
        let client = authority.client(VERSIONS);
        TlsHub { authority, hub, client }
    }

    fn connect(&self) -> Http {
        Http::connect_tls(self.hub.address(), &self.client).expect("TLS is agreed on")
    }

    /// A stream of a topic, from here on or from a place, that has begun.
    fn open(&self, more: &str) -> EventStream {
        begin(self.connect(), more)
    }

    /// Publishes on a connection of its own, and answers with the id.
    fn publish(&self, data: &str) -> String {
        publish(&mut self.connect(), data)
    }
}

fn begin(http: Http, more: &str) -> EventStream {
    let mut stream = EventStream::open_on(http, &format!("/api/v1/events?topic=a{more}"), &[]).expect("an answer");
    assert_eq!(stream.head.status, 200);
    let first = stream.event().expect("it begins").expect("it begins");
    assert_eq!(first.event_type, "tidewire.checkpoint");
    stream
}

fn publish(http: &mut Http, data: &str) -> String {
    let body = json!({"topic": "a", "data": data}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}
