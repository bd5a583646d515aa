//! Which pages of other origins may use the hub: the CORS protocol of the Fetch standard, section 3.3.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;

use crate::api::Answer;
use crate::problem::{Kind, Problem};

/// There may be so many origins.
pub(crate) const ORIGINS_MAX: usize = 1_000;

/// What may be asked of the hub from elsewhere.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, QUERY, DELETE");

/// What a page may read of an answer beside what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static("Tidewire-Heartbeat, Retry-After, WWW-Authenticate, Allow");

/// What the head of a stream says to all others, where some origins are allowed.
static NOT_ALLOWED: LazyLock<Arc<str>> = LazyLock::new(|| "Vary: Origin\r\n".into());

/// For how long a browser need not ask again, in seconds: more than that none remembers.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// The origins whose pages may use the hub. A page of the hub's own needs no leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    allowed: Vec<Allowed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    /// `None`: any, and then without credentials.
    origin: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The same, as an HTTP/1.1 head has them.
    lines: Arc<str>,
}

impl AllowedOrigins {
    /// Origins with commas between them, or `*`. The error says what is wrong with which.
    pub(crate) fn parse(text: &str) -> Result<AllowedOrigins, String> {
        let origins: Vec<&str> = text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
        if origins.contains(&"*") {
            let others = origins.len() > 1;
            return if others { Err("expected * alone".to_owned()) } else { Ok(Allowed::any().into()) };
        }
        if origins.len() > ORIGINS_MAX {
            return Err(format!("expected at most {ORIGINS_MAX} origins"));
        }
        let allowed = origins.into_iter().map(Allowed::origin).collect::<Result<_, _>>()?;
        Ok(AllowedOrigins { allowed })
    }

    fn find(&self, origin: &[u8]) -> Option<&Allowed> {
        let is = |allowed: &&Allowed| allowed.origin.as_ref().is_none_or(|allowed| allowed.as_bytes() == origin);
        self.allowed.iter().find(is)
    }

    /// What the head of a stream says to a page of this origin, in lines of HTTP/1.1.
    pub(crate) fn lines(&self, origin: Option<&[u8]>) -> Option<Arc<str>> {
        match origin.and_then(|origin| self.find(origin)) {
            Some(allowed) => Some(Arc::clone(&allowed.lines)),
            None if self.allowed.is_empty() => None,
            None => Some(Arc::clone(&NOT_ALLOWED)),
        }
    }

    /// Says in an answer whether a page of the request's origin may read it.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        match origin.and_then(|origin| self.find(origin.as_bytes())) {
            Some(allowed) => answer.extend(allowed.headers.iter().cloned()),
            None if self.allowed.is_empty() => {}
            None => answer.extend([(VARY, HeaderValue::from_static("Origin"))]),
        }
    }

    /// The answer to a browser that asks before it sends a page's request, if this is that.
    pub(crate) fn preflight(&self, parts: &Parts) -> Option<Result<Answer, Problem>> {
        let asks = parts.method == Method::OPTIONS && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let origin = parts.headers.get(ORIGIN).filter(|_| asks)?;
        if self.find(origin.as_bytes()).is_none() {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            return Some(Err(Problem::new(Kind::Origin, format!("{origin} is not among cors_origins"))));
        }
        let mut answer = Response::new(Full::new(Bytes::new()));
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        if let Some(asked) = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        Some(Ok(answer))
    }
}

impl From<Allowed> for AllowedOrigins {
    fn from(allowed: Allowed) -> AllowedOrigins {
        AllowedOrigins { allowed: vec![allowed] }
    }
}

impl Allowed {
    /// A browser sends no cookies where any origin is allowed, so that no page acts for a user who does not know.
    fn any() -> Allowed {
        let headers = vec![
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
        ];
        Allowed { origin: None, lines: lines(&headers), headers }
    }

    fn origin(text: &str) -> Result<Allowed, String> {
        let expected = || format!("expected origins as https://app.example or http://localhost:5173, not {text:?}");
        // As a browser writes it: no path, no default port, in lower case.
        let url = url::Url::parse(text).map_err(|_| expected())?;
        let origin = url.origin().ascii_serialization();
        // Which no browser sends, and which would look as if it stood for several.
        let has_star = text.contains('*');
        if has_star || !url.origin().is_tuple() || origin != text {
            return Err(expected());
        }
        let headers = vec![
            (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_str(&origin).map_err(|_| expected())?),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")),
            (ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED),
            (VARY, HeaderValue::from_static("Origin")),
        ];
        Ok(Allowed { origin: Some(origin), lines: lines(&headers), headers })
    }
}

fn lines(headers: &[(HeaderName, HeaderValue)]) -> Arc<str> {
    let line = |(name, value): &(HeaderName, HeaderValue)| {
        format!("{name}: {}\r\n", value.to_str().expect("they were made from text"))
    };
    headers.iter().map(line).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let request = http::Request::builder().method(method).uri("/api/v1/events");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn origins_are_as_a_browser_writes_them() {
        for text in
            ["https://app.example", "http://localhost:5173, https://a.example:8443", "", "http://[::1]:8080", "*"]
        {
            assert!(AllowedOrigins::parse(text).is_ok(), "{text}");
        }
        for text in [
            "https://app.example/",
            "https://app.example:443",
            "https://App.example",
            "app.example",
            "null",
            "file:///x",
            "*, https://app.example",
            "https://*.example",
            "https://a.example https://b.example",
            "https://user@a.example",
        ] {
            assert!(AllowedOrigins::parse(text).is_err(), "{text}");
        }
        let many = |count| (0..count).map(|n| format!("https://a{n}.example")).collect::<Vec<_>>().join(",");
        assert!(AllowedOrigins::parse(&many(ORIGINS_MAX)).is_ok());
        assert!(AllowedOrigins::parse(&many(ORIGINS_MAX + 1)).is_err());
    }

    #[test]
    fn only_an_allowed_origin_may_read_and_credentials_are_for_named_ones() {
        let named = AllowedOrigins::parse("https://a.example, https://b.example").expect("origins");
        let any = AllowedOrigins::parse("*").expect("any");
        let marks = |origins: &AllowedOrigins, origin: Option<&'static str>| {
            let mut answer = HeaderMap::new();
            let origin = origin.map(HeaderValue::from_static);
            origins.mark(origin.as_ref(), &mut answer);
            let lines = origins.lines(origin.as_ref().map(HeaderValue::as_bytes));
            assert_eq!(lines.as_deref().unwrap_or_default().lines().count(), answer.len());
            let text = |name| answer.get(name).map(|value: &HeaderValue| value.to_str().expect("text").to_owned());
            (text(ACCESS_CONTROL_ALLOW_ORIGIN), text(ACCESS_CONTROL_ALLOW_CREDENTIALS), text(VARY))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(marks(&named, Some("https://b.example")), (some("https://b.example"), some("true"), some("Origin")));
        for other in ["https://c.example", "http://a.example", "https://a.example:8443", "null", ""] {
            assert_eq!(marks(&named, Some(other)), (None, None, some("Origin")), "{other}");
        }
        assert_eq!(marks(&named, None), (None, None, some("Origin")));
        assert_eq!(marks(&any, Some("https://c.example")), (some("*"), None, None));
        assert_eq!(marks(&AllowedOrigins::default(), Some("https://a.example")), (None, None, None));
    }

    #[test]
    fn a_preflight_is_answered_and_nothing_else_is_one() {
        let origins = AllowedOrigins::parse("https://a.example").expect("origins");
        let asks = |origin| {
            [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "authorization,content-type"),
            ]
        };
        let answer =
            origins.preflight(&parts("OPTIONS", &asks("https://a.example"))).expect("a preflight").expect("leave");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "authorization,content-type");
        assert_eq!(answer.headers()[ACCESS_CONTROL_MAX_AGE], "7200");
        let refused = origins.preflight(&parts("OPTIONS", &asks("https://c.example"))).expect("a preflight");
        assert_eq!(refused.expect_err("no leave").kind(), Kind::Origin);
        assert!(origins.preflight(&parts("POST", &asks("https://a.example"))).is_none());
        assert!(origins.preflight(&parts("OPTIONS", &[("origin", "https://a.example")])).is_none());
        assert!(origins.preflight(&parts("OPTIONS", &[("access-control-request-method", "POST")])).is_none());
    }
}
