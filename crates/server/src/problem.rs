//! Every error the hub answers, as RFC 9457 problem documents. `docs/errors.md` lists the same
//! table; a test holds the two together.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode, header};
use http_body_util::Full;

/// What every problem's `type` begins with.
pub(crate) const TYPE_PREFIX: &str = "urn:tidewire:error:";

/// After how many seconds whoever is refused with 503 may try again.
const RETRY_AFTER_S: u64 = 1;

/// And with 429: what is too much is a client's own, and stays so until it gives something up.
const RETRY_OWN_AFTER_S: u64 = 10;

/// A problem as it is told, its members in the order of RFC 9457.
#[derive(serde::Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    problem_type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    /// Which event of an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    /// The event first published with the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $kind:ident => $name:literal, $status:literal, $title:literal;)+) => {
        /// A kind of error: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            /// Every kind, in the order of the table.
            #[cfg(test)]
            pub(crate) const ALL: &[Kind] = &[$(Kind::$kind,)+];

            /// The name after `urn:tidewire:error:`. It does not change.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)+ }
            }

            /// The HTTP status.
            pub(crate) fn status(self) -> StatusCode {
                let status: u16 = match self { $(Kind::$kind => $status,)+ };
                StatusCode::from_u16(status).expect("a test makes every status")
            }

            /// What it is, for people.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Kind::$kind => $title,)+ }
            }
        }
    };
}

problems! {
    /// What came is no request head of HTTP/1.
    Head => "head", 400, "The request's head cannot be read";
    /// The query string cannot be decoded.
    Query => "query", 400, "The query cannot be read";
    /// A stream was asked for without a topic, or an event by a publisher's id alone.
    TopicMissing => "topic-missing", 400, "No topic is named";
    /// A topic that cannot be one.
    Topic => "topic", 400, "A topic is not valid";
    /// More topics or types in a request than a stream may have.
    Matchers => "matchers", 400, "Too many topics or types";
    /// A type that cannot be one, or that is the hub's own.
    Type => "type", 400, "An event type is not valid";
    /// A matcher that this hub does not have yet.
    Pattern => "pattern", 400, "A pattern or template is not valid";
    /// A request that has no business with a body has one.
    BodyUnexpected => "body-unexpected", 400, "The request must not have a body";
    /// A body that is not JSON.
    Json => "json", 400, "The body is not valid JSON";
    /// A JSON value that is not an event.
    Event => "event", 400, "An event is not valid";
    /// A member that events do not have.
    Member => "member", 400, "An event has an unknown member";
    /// An array without events.
    BatchEmpty => "batch-empty", 400, "There is no event to publish";
    /// A publisher's id that cannot be one.
    Id => "id", 400, "A publisher's id is not valid";
    /// The same first topic and publisher's id twice in an array.
    IdRepeated => "id-repeated", 400, "An array has the same id twice";
    /// A number of a page that cannot be one.
    Page => "page", 400, "The page asked for is not valid";
    /// An `Authorization` header that cannot be read.
    Authorization => "authorization", 400, "The Authorization header cannot be read";
    /// No token, and one is needed.
    TokenMissing => "token-missing", 401, "A token is needed";
    /// A token that is not valid, or not any more.
    TokenInvalid => "token-invalid", 401, "The token is not valid";
    /// The token does not grant this.
    InsufficientScope => "insufficient-scope", 403, "The token does not grant this";
    /// A browser asks for a page of an origin that is not among `cors_origins`.
    Origin => "origin", 403, "Pages of this origin may not use the hub";
    /// Nothing is at this path.
    NotFound => "not-found", 404, "Nothing is here";
    /// No such event, or none the caller may read.
    EventNotFound => "event-not-found", 404, "There is no such event";
    /// Nothing that the caller may know of is on this topic.
    TopicNotFound => "topic-not-found", 404, "There is no such topic";
    /// No stream has this id.
    ConnectionNotFound => "connection-not-found", 404, "There is no such connection";
    /// The path does not take this method.
    Method => "method", 405, "The method is not allowed";
    /// None of the forms the client accepts is there.
    NotAcceptable => "not-acceptable", 406, "The form asked for is not supported";
    /// The request's body did not come in time.
    Timeout => "timeout", 408, "The request took too long";
    /// A publisher's id was published with other content.
    IdConflict => "id-conflict", 409, "The id was published with other content";
    /// The body is larger than `body_bytes`.
    BodyBytes => "body-bytes", 413, "The body is too large";
    /// The array has more events than `batch_events`.
    BatchEvents => "batch-events", 413, "There are too many events in one request";
    /// An event's data is larger than `event_bytes`.
    EventBytes => "event-bytes", 413, "An event is too large";
    /// An event has too many topics.
    EventTopics => "event-topics", 413, "An event has too many topics";
    /// The array, encoded, is larger than `segment_bytes`.
    SegmentBytes => "segment-bytes", 413, "The array does not fit in a file of the log";
    /// The body is not JSON by its own word.
    MediaType => "media-type", 415, "The body's media type is not supported";
    /// The body is compressed.
    ContentEncoding => "content-encoding", 415, "The body's encoding is not supported";
    /// The client's address has `max_streams_per_address` streams.
    StreamsPerAddress => "streams-per-address", 429, "Too many streams from one address";
    /// The head is too large.
    HeadBytes => "head-bytes", 431, "The request's head is too large";
    /// Something in the hub broke.
    Internal => "internal", 500, "The hub failed";
    /// More is waiting to be committed than `append_queue_bytes`.
    Busy => "busy", 503, "The hub is busy";
    /// There are `max_streams` streams.
    Streams => "streams", 503, "The hub has too many streams";
    /// There are `max_connections` connections.
    Connections => "connections", 503, "The hub has too many connections";
    /// The hub is starting or stopping.
    NotReady => "not-ready", 503, "The hub is not ready";
    /// A thread has work and does nothing.
    Stuck => "stuck", 503, "The hub is stuck";
    /// Writing failed with the events under way, and nothing of them will ever be shown.
    NotWritten => "not-written", 503, "The events could not be written";
    /// The log cannot be written or read.
    LogFailed => "log-failed", 503, "The log failed";
    /// A stream was asked for in HTTP/1.0, which cannot frame it.
    HttpVersion => "http-version", 505, "HTTP/1.1 is needed";
    /// There is no room for what would keep it erased.
    Tombstones => "tombstones", 507, "Too much was erased";
    /// The disk is full, or takes nothing.
    NoSpace => "no-space", 507, "The disk is full or read-only";
}

/// An error to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    index: Option<usize>,
    first_id: Option<String>,
    allow: Option<String>,
    token_reason: Option<&'static str>,
}

impl Problem {
    /// A problem of this kind; `detail` says what happened and what to do.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), index: None, first_id: None, allow: None, token_reason: None }
    }

    /// Names the event of the array that is at fault, counted from 0.
    pub(crate) fn at_index(mut self, index: usize) -> Problem {
        self.index = Some(index);
        self
    }

    /// Names the event that was published first.
    pub(crate) fn with_first_id(mut self, id: String) -> Problem {
        self.first_id = Some(id);
        self
    }

    /// Names the methods that the path takes.
    pub(crate) fn allowing(mut self, methods: impl Into<String>) -> Problem {
        self.allow = Some(methods.into());
        self
    }

    /// Says in a word why a token was refused, for a metric's label.
    pub(crate) fn with_token_reason(mut self, reason: &'static str) -> Problem {
        self.token_reason = Some(reason);
        self
    }

    /// Why a token was refused: one of a fixed set of words.
    pub(crate) fn token_reason(&self) -> Option<&'static str> {
        self.token_reason
    }

    /// The row of the table.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened, for people.
    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The event at fault.
    #[cfg(test)]
    pub(crate) fn index(&self) -> Option<usize> {
        self.index
    }

    /// The document, as JSON.
    pub(crate) fn to_json(&self) -> String {
        let document = Document {
            problem_type: format!("{TYPE_PREFIX}{}", self.kind.name()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            index: self.index,
            id: self.first_id.as_deref(),
        };
        serde_json::to_string(&document).expect("strings and numbers are always JSON")
    }

    /// The answer.
    pub(crate) fn to_response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.to_json())));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(self.kind, Kind::BodyBytes | Kind::Timeout) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(methods) = &self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_str(methods).expect("methods are words"));
        }
        match self.kind.status() {
            StatusCode::SERVICE_UNAVAILABLE => headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S)),
            StatusCode::TOO_MANY_REQUESTS => headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_OWN_AFTER_S)),
            _ => None,
        };
        response
    }

    /// The answer as bytes, for a connection that no HTTP library serves. It asks for the
    /// connection to be closed.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let response = self.to_response();
        let body = self.to_json();
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let mut out = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
        for (name, value) in response.headers().iter().filter(|(name, _)| *name != header::CONNECTION) {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).as_bytes());
        out
    }

    fn challenge(&self) -> Option<&'static str> {
        match self.kind {
            Kind::TokenMissing => Some("Bearer"),
            Kind::TokenInvalid => Some("Bearer error=\"invalid_token\""),
            Kind::InsufficientScope => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_an_error_and_every_name_is_its_own() {
        for (index, kind) in Kind::ALL.iter().enumerate() {
            assert!(kind.status().is_client_error() || kind.status().is_server_error());
            assert!(Kind::ALL[..index].iter().all(|other| other.name() != kind.name()), "{}", kind.name());
        }
    }

    #[test]
    fn the_documentation_lists_the_same_table() {
        let documented: Vec<(String, String, String)> = include_str!("../../../docs/errors.md")
            .lines()
            .filter_map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                let [_, name, status, title, _, _] = cells[..] else { return None };
                let name = name.strip_prefix('`')?.strip_suffix('`')?;
                Some((name.to_owned(), status.to_owned(), title.to_owned()))
            })
            .collect();
        let table: Vec<(String, String, String)> = Kind::ALL
            .iter()
            .map(|kind| (kind.name().to_owned(), kind.status().as_u16().to_string(), kind.title().to_owned()))
            .collect();
        assert_eq!(documented, table);
    }

    #[test]
    fn a_problem_is_a_document_with_the_headers_of_its_status() {
        let problem = Problem::new(Kind::TokenInvalid, "expired").at_index(3);
        let response = problem.to_response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
        let document: serde_json::Value = serde_json::from_str(&problem.to_json()).expect("JSON");
        assert_eq!(document["type"], "urn:tidewire:error:token-invalid");
        assert_eq!(document["status"], 401);
        assert_eq!(document["index"], 3);
        assert_eq!(Problem::new(Kind::Busy, "").to_response().headers()["retry-after"], "1");
        assert_eq!(Problem::new(Kind::StreamsPerAddress, "").to_response().headers()["retry-after"], "10");
        let refused = Problem::new(Kind::Method, "").allowing("GET, POST").to_response();
        assert_eq!(refused.headers()["allow"], "GET, POST");
    }

    #[test]
    fn an_answer_as_bytes_has_its_length() {
        let bytes = Problem::new(Kind::Connections, "no room").to_bytes();
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    }
}
