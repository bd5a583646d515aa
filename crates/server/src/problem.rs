//! Every error the hub answers, as RFC 9457 problem documents.

mod kinds;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode, header};
use http_body_util::Full;

use crate::limits::Limit;

pub(crate) use kinds::Kind;

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

/// An error to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    index: Option<usize>,
    first_id: Option<String>,
    allow: Option<String>,
    token_reason: Option<&'static str>,
    limit: Option<Limit>,
}

impl Problem {
    /// A problem of this kind; `detail` says what happened and what to do.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        let (detail, limit) = (detail.into(), kind.limit());
        Problem { kind, detail, index: None, first_id: None, allow: None, token_reason: None, limit }
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

    /// Names the limit that was passed, where the kind does not say it.
    pub(crate) fn past(mut self, limit: impl Into<Option<Limit>>) -> Problem {
        self.limit = limit.into().or(self.limit);
        self
    }

    /// The limit that was passed, if it was that.
    pub(crate) fn limit(&self) -> Option<Limit> {
        self.limit
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
        response.extensions_mut().insert(self.kind);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(self.kind, Kind::BodyBytes | Kind::BodyFraming | Kind::Timeout) {
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
