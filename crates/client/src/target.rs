use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// Where the events are: the parts of an `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether the connection is to be TLS.
    pub is_tls: bool,
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port, 80 or 443 if the URL has none.
    pub port: u16,
    /// As it stands in the URL, for the `Host` header.
    pub(crate) authority: HeaderValue,
    pub(crate) path: String,
    /// Without its question mark.
    pub(crate) query: String,
}

/// Why a text is not the URL of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL at all.
    #[error("not a URL: {0}")]
    Malformed(String),
    /// It begins with neither `http://` nor `https://`.
    #[error("scheme is neither http nor https")]
    Scheme,
    /// User and password belong into an `authorization` header, where they are not logged.
    #[error("URL names a user")]
    User,
}

/// Where the hub has its events, for a URL without a path.
const EVENTS_PATH: &str = "/api/v1/events";

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let malformed = |error: &dyn std::fmt::Display| UrlError::Malformed(error.to_string());
        let uri: Uri = url.trim().parse().map_err(|error| malformed(&error))?;
        let is_tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or_else(|| malformed(&"no host"))?;
        if authority.as_str().contains('@') {
            return Err(UrlError::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(malformed(&"no host"));
        }
        let after_host = &authority.as_str()[authority.host().len()..];
        let port = match after_host {
            "" | ":" if is_tls => 443,
            "" | ":" => 80,
            _ => authority.port_u16().ok_or_else(|| malformed(&"bad port"))?,
        };
        let path = match uri.path() {
            "" | "/" => EVENTS_PATH,
            path => path,
        };
        let query = uri.query().unwrap_or_default().to_owned();
        let authority = authority.as_str().parse().map_err(|error| malformed(&error))?;
        Ok(Self { is_tls, host, port, authority, path: path.to_owned(), query })
    }

    /// Adds a parameter to the query.
    pub(crate) fn push_query(&mut self, name: &str, value: &str) {
        let query = std::mem::take(&mut self.query);
        self.query = form_urlencoded::Serializer::new(query).append_pair(name, value).finish();
    }

    /// Where events are read.
    pub(crate) fn stream_path(&self) -> PathAndQuery {
        let separator = if self.query.is_empty() { "" } else { "?" };
        let text = format!("{}{separator}{}", self.path, self.query);
        PathAndQuery::try_from(text).expect("path and query were parsed, what was added is percent-encoded")
    }

    /// Where events are published: the same resource, and the query is the reader's.
    pub(crate) fn publish_path(&self) -> PathAndQuery {
        PathAndQuery::try_from(self.path.as_str()).expect("the path was parsed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_without_a_path_means_the_events() {
        let target = Target::parse("http://127.0.0.1:7788").expect("a URL");
        assert_eq!((target.is_tls, target.host.as_str(), target.port), (false, "127.0.0.1", 7788));
        assert_eq!(target.stream_path().as_str(), "/api/v1/events");
    }

    #[test]
    fn path_and_query_stay() {
        let mut target = Target::parse("https://example.com/feed?topic=a%20b").expect("a URL");
        assert_eq!((target.is_tls, target.port), (true, 443));
        target.push_query("from", "#1-2");
        assert_eq!(target.stream_path().as_str(), "/feed?topic=a%20b&from=%231-2");
        assert_eq!(target.publish_path().as_str(), "/feed");
    }

    #[test]
    fn a_query_can_begin_with_what_is_added() {
        let mut target = Target::parse("http://[::1]:1?").expect("a URL");
        target.push_query("topic", "å&b");
        assert_eq!((target.host.as_str(), target.authority.as_bytes()), ("::1", &b"[::1]:1"[..]));
        assert_eq!(target.stream_path().as_str(), "/api/v1/events?topic=%C3%A5%26b");
    }

    #[test]
    fn what_is_not_a_server_is_refused() {
        assert_eq!(Target::parse("ftp://a/"), Err(UrlError::Scheme));
        assert_eq!(Target::parse("/api/v1/events"), Err(UrlError::Scheme));
        assert_eq!(Target::parse("http://me:secret@a/"), Err(UrlError::User));
        for url in ["", "http://", "http://a:99999/", "http://a b/", "http://:80/", "http://[]/"] {
            assert!(matches!(Target::parse(url), Err(UrlError::Malformed(_))), "{url:?}");
        }
    }
}
