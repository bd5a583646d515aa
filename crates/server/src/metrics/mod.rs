//! What the hub counts, and how it tells it: `docs/metrics.md` is made of what is registered here.

mod figures;
mod format;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::hub::Hub;
use crate::limits::{Beyond, Limit};
use crate::problem::{Kind, Problem};

pub(crate) use format::Format;

/// One label.
type Label = [(&'static str, String); 1];

/// What HTTP counts itself. The engine and the log count their own.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Label, Counter>,
    /// Of `requests`, those answered with 200: most are.
    requests_ok: Counter,
    problems: Family<Label, Counter>,
    limits_passed: Family<Label, Counter>,
    tokens_refused: Family<Label, Counter>,
    published: Counter,
    /// Connections that had their last request.
    pub(crate) connections_used_up: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("tidewire");
        let requests: Family<Label, Counter> = Family::default();
        let requests_ok = requests.get_or_create(&status(http::StatusCode::OK)).clone();
        let problems: Family<Label, Counter> = Family::default();
        let limits_passed: Family<Label, Counter> = Family::default();
        let tokens_refused: Family<Label, Counter> = Family::default();
        let published = Counter::default();
        let connections_used_up = Counter::default();
        registry.register("http_requests", "Requests answered, streams aside, by status", requests.clone());
        registry.register("problems", "Requests refused, by the problem's name", problems.clone());
        let help = "Requests refused since a limit was passed, by the limit's name";
        registry.register("limits_passed", help, limits_passed.clone());
        registry.register("tokens_refused", "Tokens refused, by what was wrong with them", tokens_refused.clone());
        registry.register("published_events", "Events committed for publishers, repeats included", published.clone());
        let help = "Connections closed since they had connection_requests requests";
        registry.register("connections_used_up", help, connections_used_up.clone());
        // Before it happens for the first time it has happened never: else a rate misses the first one.
        for kind in Kind::ALL {
            let _ = problems.get_or_create(&[("problem", kind.name().to_owned())]);
        }
        for limit in Limit::ALL.iter().filter(|limit| matches!(limit.beyond(), Beyond::Refused(_))) {
            let _ = limits_passed.get_or_create(&[("limit", limit.name().to_owned())]);
        }
        Metrics {
            registry,
            requests,
            requests_ok,
            problems,
            limits_passed,
            tokens_refused,
            published,
            connections_used_up,
        }
    }
}

impl Metrics {
    pub(crate) fn count_answer(&self, status: http::StatusCode) {
        if status == http::StatusCode::OK {
            self.requests_ok.inc();
        } else {
            self.requests.get_or_create(&self::status(status)).inc();
        }
    }

    pub(crate) fn count_problem(&self, problem: &Problem) {
        self.problems.get_or_create(&[("problem", problem.kind().name().to_owned())]).inc();
        if let Some(limit) = problem.limit() {
            self.limits_passed.get_or_create(&[("limit", limit.name().to_owned())]).inc();
        }
        if let Some(reason) = problem.token_reason() {
            self.tokens_refused.get_or_create(&[("reason", reason.to_owned())]).inc();
        }
    }

    pub(crate) fn count_published(&self, events: usize) {
        self.published.inc_by(events as u64);
    }
}

fn status(status: http::StatusCode) -> Label {
    [("status", status.as_str().to_owned())]
}

/// The hub's figures.
pub(crate) fn render(hub: &Hub, format: Format) -> String {
    let mut out = String::new();
    let written = text::encode_registry(&mut out, &hub.metrics.registry)
        .and_then(|()| text::encode_registry(&mut out, &figures::of(hub)))
        .and_then(|()| text::encode_eof(&mut out));
    written.expect("a String takes everything that is written to it");
    format.of(out)
}
