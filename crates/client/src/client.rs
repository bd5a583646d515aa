use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tidewire_sse::Limits;

use crate::backoff::Backoff;
use crate::connect::{Connect, TcpConnector};
use crate::publish::Idle;
use crate::subscribe::Events;
use crate::target::{Target, UrlError};

/// A server, and how to ask it. Cheap to clone; clones share their idle connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) connector: Arc<dyn Connect>,
    pub(crate) limits: Limits,
    pub(crate) backoff: Backoff,
    pub(crate) jitter_seed: Option<u64>,
    pub(crate) publish_timeout: Duration,
    pub(crate) idle: Idle,
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one of a server.
    #[error("bad URL: {0}")]
    Url(#[from] UrlError),
    /// `https`, and no certificate to trust.
    #[error("failed to read the system's certificates")]
    Roots(#[source] io::Error),
    /// A name or value that cannot be sent as a header, or a header that the client sets itself.
    #[error("header {name:?} cannot be sent")]
    Header {
        /// The name as it was given. The value may be a secret.
        name: String,
    },
}

/// What the client says itself, and what would break the framing.
const OWN_HEADERS: [HeaderName; 8] = [
    header::HOST,
    header::ACCEPT,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("last-event-id"),
];

impl Client {
    /// For how long [`Client::publish`](Client::publish) tries again by default: 5 min. Half of the time for which
    /// the hub by default knows a publisher's id again, beyond which another try could store an event twice.
    pub const PUBLISH_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5 * 60);

    /// A client of the server at `url`, `http` or `https`. Topics, types and `from` stand in its query. Without a path,
    /// `/api/v1/events` is meant.
    ///
    /// # Errors
    /// [`ClientError::Url`], and for `https` [`ClientError::Roots`].
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let is_tls = Target::parse(url)?.is_tls;
        let tls = || TcpConnector::with_system_roots().map_err(ClientError::Roots);
        let connector = if is_tls { tls()? } else { TcpConnector::plain() };
        Self::with_connector(url, Arc::new(connector))
    }

    /// A client that makes its connections so: with certificates of one's own, or through a pipe.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn with_connector(url: &str, connector: Arc<dyn Connect>) -> Result<Self, ClientError> {
        Ok(Self {
            target: Target::parse(url)?,
            headers: HeaderMap::new(),
            connector,
            limits: Limits::default(),
            backoff: Backoff::default(),
            jitter_seed: None,
            publish_timeout: Self::PUBLISH_TIMEOUT_DEFAULT,
            idle: Idle::default(),
        })
    }

    /// Adds a parameter to the query of the stream, such as `topic`; it may come again.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.target.push_query(name, value);
        self
    }

    /// Sends this header with every request. The same name again replaces it.
    ///
    /// # Errors
    /// [`ClientError::Header`] if it cannot be sent, or is one of the client's own (`accept`, `last-event-id`, …).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, ClientError> {
        let refused = || ClientError::Header { name: name.to_owned() };
        let header: HeaderName = name.parse().map_err(|_| refused())?;
        let mut value: HeaderValue = value.parse().map_err(|_| refused())?;
        if OWN_HEADERS.contains(&header) {
            return Err(refused());
        }
        value.set_sensitive(header == header::AUTHORIZATION);
        self.headers.insert(header, value);
        Ok(self)
    }

    /// Decodes within these limits instead of the default ones.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Waits by this rule between two tries.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Draws the jitter from this seed, so that a test or a simulation can be repeated. By default every subscription
    /// draws its own from the system.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.jitter_seed = Some(seed);
        self
    }

    /// Gives up publishing after this time. Keep it below the server's `idempotence_window`.
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.publish_timeout = timeout;
        self
    }

    /// Subscribes as a new reader. The connection is made by the first [`Events::next`].
    pub fn subscribe(&self) -> Events {
        self.subscribe_after("")
    }

    /// Subscribes behind this last event id, which an earlier subscription left (see [`Events::last_event_id`]).
    pub fn subscribe_after(&self, last_event_id: &str) -> Events {
        Events::new(self.clone(), last_event_id)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target).field("headers", &self.headers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_cannot_be_sent_is_refused_without_its_value() {
        let refused = [("authorization", "secret\n"), ("bad name", "secret"), ("Last-Event-ID", "secret")];
        for (name, value) in refused {
            let client = Client::new("http://localhost").expect("a URL");
            let error = client.header(name, value).expect_err("it cannot be sent");
            assert!(matches!(&error, ClientError::Header { name: refused } if refused == name), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let client = Client::new("http://localhost").expect("a URL").header("Authorization", "Bearer secret");
        assert!(!format!("{:?}", client.expect("it can be sent")).contains("secret"));
    }
}
