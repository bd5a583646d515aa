//! What the head of an answer says, and why it refuses.

use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE, HeaderMap, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::timeout;

use crate::update::Refusal;

/// The most that is read of the body of a refusal: it is a few words.
const PROBLEM_BYTES_MAX: usize = 16 << 10;

/// The most that a refusal's body may take. It is a courtesy, and must not hold up a retry.
const PROBLEM_TIMEOUT: Duration = Duration::from_secs(2);

/// The most that an announced heartbeat counts for.
const HEARTBEAT_MAX: Duration = Duration::from_secs(60 * 60);

/// Whether another try may succeed though nothing is changed: too slow, too many, or the server's own fault.
pub(crate) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Whether the body is an event stream. The parameters do not count: it is UTF-8 whatever they say.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    let essence = content_type(headers).split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("text/event-stream")
}

/// The content type as it was sent, or nothing.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `Tidewire-Heartbeat`, in whole seconds.
pub(crate) fn heartbeat(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get("tidewire-heartbeat")?.to_str().ok()?.trim().parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds).min(HEARTBEAT_MAX))
}

/// `Retry-After`: seconds, or a date. A date is held against the answer's own `Date`, so that our clock does not count.
pub(crate) fn retry_after(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let Some(value) = text(RETRY_AFTER) else { return Duration::ZERO };
    if let Ok(seconds) = value.parse() {
        return Duration::from_secs(seconds);
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let (then, now) = (date(value), text(DATE).and_then(date));
    then.zip(now).and_then(|(then, now)| then.duration_since(now).ok()).unwrap_or_default()
}

/// An RFC 9457 problem document, as far as it is of use here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: Option<String>,
    title: Option<String>,
    detail: Option<String>,
}

/// Reads what a refusal says about itself.
pub(crate) async fn refusal(response: Response<Incoming>) -> Refusal {
    let (head, body) = response.into_parts();
    let reading = Limited::new(body, PROBLEM_BYTES_MAX).collect();
    let body = match timeout(PROBLEM_TIMEOUT, reading).await {
        Ok(Ok(body)) => body.to_bytes(),
        // What is too long, too slow or cut is no worse than none.
        Ok(Err(_)) | Err(_) => bytes::Bytes::new(),
    };
    let is_json = content_type(&head.headers).contains("json");
    let Problem { kind, title, detail } =
        if is_json { serde_json::from_slice(&body).unwrap_or_default() } else { Problem::default() };
    let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let detail = detail.or(title).or_else(|| location.map(|location| format!("it is at {location}")));
    Refusal { status: head.status.as_u16(), problem: kind.map(one_line), detail: detail.map(one_line) }
}

/// A server's words end up in terminals and logs: no control characters.
fn one_line(text: String) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_parameters_of_the_content_type_do_not_count() {
        for value in ["text/event-stream", "Text/Event-Stream;charset=utf-8", "text/event-stream ; charset=latin1"] {
            assert!(is_event_stream(&headers(&[("content-type", value)])), "{value}");
        }
        for value in ["text/plain", "text/event-streams", "application/json; a=text/event-stream", ""] {
            assert!(!is_event_stream(&headers(&[("content-type", value)])), "{value}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }

    #[test]
    fn a_heartbeat_is_whole_seconds() {
        let read = |value| heartbeat(&headers(&[("tidewire-heartbeat", value)]));
        assert_eq!(read("20"), Some(Duration::from_secs(20)));
        assert_eq!([read("0"), read("-1"), read("20s"), read("")], [None; 4]);
        assert_eq!(read("3601"), Some(HEARTBEAT_MAX));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_after_the_servers_own() {
        let later = ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT");
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after(&headers(&[("retry-after", "120")])), Duration::from_secs(120));
        assert_eq!(retry_after(&headers(&[later, date])), Duration::from_secs(30));
        assert_eq!(retry_after(&headers(&[("retry-after", date.1), ("date", later.1)])), Duration::ZERO);
        for unclear in [&[later][..], &[("retry-after", "soon")], &[("retry-after", "-1")], &[date]] {
            assert_eq!(retry_after(&headers(unclear)), Duration::ZERO, "{unclear:?}");
        }
    }
}
