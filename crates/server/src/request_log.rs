//! A line for each request, and two for each stream, if they are asked for (`request_log`).

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::StatusCode;
use http::request::Parts;
use hyper::body::Body;
use tidewire_engine::{ClientAddress, News};
use tracing::Span;

use crate::api::Answer;
use crate::config::RequestLogging;
use crate::problem::Kind;
use crate::query;
use crate::telemetry::REQUESTS;
use crate::trace::{TRACEPARENT, TraceParent};

/// What is told of a request's target, in bytes; the rest is cut.
pub(crate) const TARGET_BYTES_MAX: usize = 1_024;

/// What is told of who asks, in bytes; the rest is cut.
pub(crate) const SUBJECT_BYTES_MAX: usize = 256;

/// The fields of a head that a line tells of.
const HEADERS_MAX: usize = tidewire_engine::HEADERS_MAX;

/// Tells of requests and streams what it is asked to.
#[derive(Debug)]
pub(crate) struct RequestLog(AtomicU8);

impl RequestLog {
    pub(crate) fn new(logging: RequestLogging) -> RequestLog {
        RequestLog(AtomicU8::new(logging as u8))
    }

    /// What is told from now on.
    pub(crate) fn set(&self, logging: RequestLogging) {
        self.0.store(logging as u8, Ordering::Relaxed);
    }

    /// Whether anything is told.
    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) != RequestLogging::None as u8
    }

    /// Whether everything is told, and not only what is refused.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.load(Ordering::Relaxed) == RequestLogging::All as u8
    }

    /// Notes what there is to say of a request that is to be answered, if it is to be told.
    pub(crate) fn request(&self, parts: &mut Parts, client: ClientAddress) -> Option<Box<Pending>> {
        if !self.is_on() {
            return None;
        }
        let subject = Subject::default();
        parts.extensions.insert(subject.clone());
        let traceparent = TraceParent::of(&parts.headers);
        Some(Box::new(Pending {
            method: parts.method.as_str().to_owned(),
            target: target(parts.uri.path_and_query().map_or("/", |target| target.as_str())),
            client,
            subject,
            trace_id: traceparent.map(|traceparent| traceparent.trace_id().to_owned()),
            begun: now(),
            is_whole: self.is_whole(),
            is_told: false,
        }))
    }

    /// Tells of a connection that is closed with an answer before it is anything.
    pub(crate) fn refused(&self, kind: Kind, bytes: usize, client: ClientAddress) {
        if self.is_on() {
            let (status, problem) = (kind.status().as_u16(), kind.name());
            tracing::info!(target: REQUESTS, status, problem, bytes, %client, "refused");
        }
    }

    /// Tells of a stream.
    pub(crate) fn stream(&self, news: &News<'_>) {
        match *news {
            News::Begun { id, client, head, subject } => with_head(head, |method, target, trace_id| {
                let subject = subject.map(subject_of);
                tracing::info!(
                    target: REQUESTS, %id, method, path = target, %client, subject, trace_id, "stream begun"
                );
            }),
            News::TurnedAway { client, head } => with_head(head, |method, target, trace_id| {
                tracing::info!(
                    target: REQUESTS, method, path = target, %client, trace_id, "stream turned away"
                );
            }),
            News::Ended { id, client, subject, why, deliveries, age_s } => {
                let (client, why) = (client.map(tracing::field::display), why.as_str());
                let subject = subject.map(subject_of);
                tracing::info!(
                    target: REQUESTS, %id, client, subject, why, deliveries, seconds = age_s, "stream ended"
                );
            }
        }
    }
}

/// Who asked, once that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject(Arc<OnceLock<String>>);

impl Subject {
    /// Notes who asks, where somebody wants to know.
    pub(crate) fn note(parts: &Parts, subject: Option<&str>) {
        if let (Some(Subject(wanted)), Some(subject)) = (parts.extensions.get(), subject) {
            // It is the same each time.
            let _ = wanted.set(subject.to_owned());
        }
    }
}

/// What there is to say of a request that is being answered. Dropped, it is told that nobody was.
pub(crate) struct Pending {
    method: String,
    target: String,
    client: ClientAddress,
    subject: Subject,
    trace_id: Option<String>,
    begun: Instant,
    is_whole: bool,
    is_told: bool,
}

impl Pending {
    /// Tells of a request what it was answered.
    pub(crate) fn answered(mut self, answer: &Answer) {
        self.is_told = true;
        let status = answer.status();
        if self.is_whole || status.is_client_error() || status.is_server_error() {
            let problem = answer.extensions().get().map(|kind: &Kind| kind.name());
            self.tell(Some(status), answer.body().size_hint().exact(), problem, "answered");
        }
    }

    /// Tells of a request that a stream is its answer, on its way to the shard that tells of the stream.
    pub(crate) fn streams(mut self, subject: Option<&str>) {
        self.is_told = true;
        if let Some(subject) = subject {
            // There was nobody before.
            let _ = self.subject.0.set(subject.to_owned());
        }
        if self.is_whole {
            self.tell(None, None, None, "stream asked for");
        }
    }

    fn tell(&self, status: Option<StatusCode>, bytes: Option<u64>, problem: Option<&str>, what: &str) {
        let Pending { method, target, client, subject: Subject(subject), trace_id, begun, .. } = self;
        let (status, subject) =
            (status.map(|status| status.as_u16()), subject.get().map(|subject| subject_of(subject)));
        let milliseconds = now().duration_since(*begun).as_micros() as f64 / 1e3;
        // Not within its own span, which says half of this.
        tracing::info!(
            target: REQUESTS, parent: None, method, path = target, status, problem, bytes, milliseconds, %client, subject,
            trace_id = trace_id.as_deref(), "{what}"
        );
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(None, None, None, "not answered");
        }
    }
}

/// A span for what is told while a request is answered, if that is told.
pub(crate) fn span(pending: Option<&Pending>) -> Span {
    let Some(Pending { method, target, client, trace_id, .. }) = pending else { return Span::none() };
    tracing::info_span!(
        target: REQUESTS, "request", method = &**method, path = &**target, %client, trace_id = trace_id.as_deref()
    )
}

/// Reads of a head that was good enough to admit what a line tells of it.
fn with_head(head: &[u8], tell: impl FnOnce(Option<&str>, Option<&str>, Option<&str>)) {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    // Of what cannot be read nothing is told: the stream was asked for elsewhere.
    let _ = request.parse(head);
    let traceparent = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(TRACEPARENT));
    let traceparent = traceparent.and_then(|header| TraceParent::parse(header.value));
    let target = request.path.map(target);
    tell(request.method, target.as_deref(), traceparent.map(TraceParent::trace_id));
}

/// A subject, not for ever long.
fn subject_of(subject: &str) -> &str {
    &subject[..subject.floor_char_boundary(SUBJECT_BYTES_MAX)]
}

/// A request's target without secrets, and not for ever long.
fn target(target: &str) -> String {
    let mut told = match target.split_once('?') {
        None => target.to_owned(),
        Some((path, query)) => format!("{path}?{}", query::masked(query)),
    };
    if told.len() > TARGET_BYTES_MAX {
        let end = (0..=TARGET_BYTES_MAX).rev().find(|&end| told.is_char_boundary(end)).unwrap_or_default();
        told.truncate(end);
        told.push('…');
    }
    told
}

#[expect(clippy::disallowed_methods, reason = "how long an answer takes is measured in the shell")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_told_and_what_is_long_is_cut() {
        assert_eq!(target("/a?topic=b"), "/a?topic=b");
        assert_eq!(target("/a?authorization=abc&topic=b"), "/a?authorization=***&topic=b");
        assert_eq!(target("/a?x=1&%61ccess_token=abc"), "/a?x=1&%61ccess_token=***");
        assert_eq!(target("/a?Authorization=abc&access_token"), "/a?Authorization=***&access_token");
        assert_eq!(target(&"x".repeat(TARGET_BYTES_MAX)), "x".repeat(TARGET_BYTES_MAX));
        assert_eq!(target(&"x".repeat(TARGET_BYTES_MAX + 1)), format!("{}…", "x".repeat(TARGET_BYTES_MAX)));
        assert_eq!(target(&"é".repeat(TARGET_BYTES_MAX)).chars().count(), TARGET_BYTES_MAX / 2 + 1);
        assert_eq!(subject_of(&"x".repeat(SUBJECT_BYTES_MAX + 1)).len(), SUBJECT_BYTES_MAX);
        assert_eq!((subject_of(&"é".repeat(SUBJECT_BYTES_MAX)).len(), subject_of("a")), (SUBJECT_BYTES_MAX, "a"));
    }

    #[test]
    fn a_head_is_read_for_what_is_told_of_it() {
        let head = b"GET /a?access_token=b HTTP/1.1\r\nTraceParent: \
                     00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\nmore";
        with_head(head, |method, target, trace_id| {
            assert_eq!((method, target), (Some("GET"), Some("/a?access_token=***")));
            assert_eq!(trace_id, Some("0af7651916cd43dd8448eb211c80319c"));
        });
        with_head(b"", |method, target, trace_id| assert_eq!((method, target, trace_id), (None, None, None)));
    }
}
