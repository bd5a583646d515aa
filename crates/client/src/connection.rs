use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connect::Connect;
use crate::target::Target;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing was sent: no route, no listener, no such name, a certificate that is not trusted.
    #[error("failed to connect: {0}")]
    Connect(#[source] std::io::Error),
    /// Nothing was sent: the connection was not made in time.
    #[error("not connected after {} s", after.as_secs())]
    ConnectTimeout {
        /// The limit.
        after: Duration,
    },
    /// The answer did not begin, or was not whole, in time.
    #[error("no answer after {} s", after.as_secs())]
    AnswerTimeout {
        /// The limit.
        after: Duration,
    },
    /// The connection broke, or what came was not HTTP/1.1.
    #[error("connection failed: {}", causes(.0))]
    Http(#[source] hyper::Error),
}

impl RequestError {
    /// Whether the server cannot have seen the request.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Connect(_) | Self::ConnectTimeout { .. } => true,
            Self::AnswerTimeout { .. } => false,
            Self::Http(error) => error.is_canceled() || error.is_closed(),
        }
    }
}

/// The most that making a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that a server may take to begin its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// One HTTP/1.1 connection. Dropping it closes the socket.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// One task, which moves the bytes. What breaks it is told by the request or the body it breaks.
    _driver: JoinSet<()>,
}

impl Connection {
    pub(crate) async fn open(connector: &dyn Connect, target: &Target) -> Result<Self, RequestError> {
        let opening = async {
            let io = connector.connect(target).await.map_err(RequestError::Connect)?;
            let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(RequestError::Http)?;
            let mut driver = JoinSet::new();
            driver.spawn(async move {
                let _ = connection.await;
            });
            Ok(Self { sender, _driver: driver })
        };
        let late = |_| Err(RequestError::ConnectTimeout { after: CONNECT_TIMEOUT });
        timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(late)
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, RequestError> {
        let late = |_| Err(RequestError::AnswerTimeout { after: ANSWER_TIMEOUT });
        let answer = async {
            self.sender.ready().await.map_err(RequestError::Http)?;
            self.sender.send_request(request).await.map_err(RequestError::Http)
        };
        timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(late)
    }

    /// Whether another request can be sent, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// hyper's errors name their cause only as their source.
fn causes(error: &hyper::Error) -> String {
    let first: &dyn std::error::Error = error;
    let chain = std::iter::successors(Some(first), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
