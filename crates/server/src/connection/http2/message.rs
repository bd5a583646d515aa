//! Between the messages of HTTP/2 and those that the API knows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use hyper::body::{Body, Frame};

use crate::time;

/// A request's body. What is read of it makes room for more.
pub(super) struct Incoming(pub(super) RecvStream);

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(data) = ready!(self.0.poll_data(cx)) else { return Poll::Ready(None) };
        let released = data.and_then(|data| self.0.flow_control().release_capacity(data.len()).map(|()| data));
        Poll::Ready(Some(released.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// Makes a request's head what it is in HTTP/1.1, so that one decision serves both. There a request has one Host, and a
/// field says that there is a body.
pub(super) fn translate(parts: &mut Parts, has_body: bool) {
    let authority = parts.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(authority) = authority.filter(|authority| parts.headers.get(HOST) != Some(authority)) {
        // Beside another one it is one too many.
        parts.headers.append(HOST, authority);
    }
    if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Takes what is said of an HTTP/1.1 connection out of an answer's head, and dates it.
pub(super) fn finish(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    let date = time::http_date(time::now_ms() / 1_000);
    headers.insert(DATE, HeaderValue::from_str(&date).expect("a date is text"));
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn hosts(uri: &str, host: Option<&str>) -> Vec<HeaderValue> {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let mut parts = request.body(()).expect("a request").into_parts().0;
        translate(&mut parts, false);
        parts.headers.get_all(HOST).iter().cloned().collect()
    }

    #[test]
    fn a_request_has_the_host_that_it_names_and_two_if_they_differ() {
        assert_eq!(hosts("http://hub:1/x", None), ["hub:1"]);
        assert_eq!(hosts("http://hub:1/x", Some("hub:1")), ["hub:1"]);
        assert_eq!(hosts("http://hub:1/x", Some("other")), ["other", "hub:1"]);
        assert_eq!(hosts("/x", Some("hub")), ["hub"]);
        assert!(hosts("/x", None).is_empty());
    }

    #[test]
    fn a_body_of_no_told_length_is_one() {
        let mut parts = Request::get("/x").body(()).expect("a request").into_parts().0;
        translate(&mut parts, true);
        assert!(parts.headers.contains_key(TRANSFER_ENCODING));
    }

    #[test]
    fn an_answer_says_nothing_of_an_http_1_connection() {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        finish(&mut headers);
        assert!(!headers.contains_key(CONNECTION) && headers.contains_key(DATE));
    }
}
