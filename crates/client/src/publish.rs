use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};

use crate::answer;
use crate::client::Client;
use crate::connection::{ANSWER_TIMEOUT, Connection, RequestError};
use crate::update::Refusal;

/// An event to be published. The server checks it.
#[derive(Clone, Debug, Serialize)]
pub struct NewEvent {
    /// At least one.
    pub topics: Vec<String>,
    /// A JSON string is sent to subscribers as its text, any other value as compact JSON.
    pub data: Box<RawValue>,
    /// `message` if there is none.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The publisher's id, by which the server knows the event again. Without it, no try that the server may have seen
    /// is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Only for those whose token grants it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The reconnection time sent with the event, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<u64>,
}

impl NewEvent {
    /// An event with this text.
    pub fn text(topic: impl Into<String>, data: &str) -> Self {
        Self::json(topic, serde_json::value::to_raw_value(data).expect("a string is JSON"))
    }

    /// An event with this JSON value.
    pub fn json(topic: impl Into<String>, data: Box<RawValue>) -> Self {
        let topics = vec![topic.into()];
        Self { topics, data, event_type: None, id: None, private: false, retry: None }
    }

    /// Sets the publisher's id.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the type.
    pub fn with_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }
}

/// Why events were not published, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The server refused. Nothing was stored.
    #[error(transparent)]
    Refused(Refusal),
    /// No success within the time, or no further try was safe. What was sent may have been stored all the same, unless
    /// the last error says that it was never sent.
    #[error("gave up after {tries} tries: {last}")]
    GaveUp {
        /// How often it was tried.
        tries: u32,
        /// Why the last one failed.
        #[source]
        last: Failure,
    },
    /// The server answered 200, and not with an id for each event.
    #[error("answer is not one id for each event")]
    Answer,
}

/// Why one try failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server cannot now.
    #[error(transparent)]
    Busy(Refusal),
    /// There was no answer.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The most connections kept for the next publish.
const IDLE_MAX: usize = 16;

/// Connections that wait for the next publish.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<Vec<Connection>>>);

impl Idle {
    fn take(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Connection::is_open);
        idle.pop()
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}

impl Client {
    /// Publishes these events in one request, and returns the server's ids, one for each and in their order.
    ///
    /// If every event has an id, it tries again after a lost connection, a missing answer, 408, 429 and 5xx, with the
    /// same bytes, until [`publish_timeout`](Client::publish_timeout): the server stores them once. If one has none,
    /// only what cannot have been seen or was turned away unread (429, 503) is tried again.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn publish(&self, events: &[NewEvent]) -> Result<Vec<String>, PublishError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let body = Bytes::from(serde_json::to_vec(events).expect("strings, numbers and JSON are JSON"));
        let has_ids = events.iter().all(|event| event.id.is_some());
        let mut random = StdRng::seed_from_u64(self.jitter_seed.unwrap_or_else(rand::random));
        let mut backoff = self.backoff.clone();
        // `None` is beyond what a clock can count: never.
        let give_up = Instant::now().checked_add(self.publish_timeout);
        let mut tries = 0;
        loop {
            tries += 1;
            let (last, at_least) = match self.publish_once(body.clone()).await {
                Ok(ids) if ids.len() == events.len() => return Ok(ids),
                Ok(_) => return Err(PublishError::Answer),
                Err(Tried::Final(error)) => return Err(error),
                Err(Tried::Failed { failure, at_least }) => (failure, at_least),
            };
            let wait = backoff.failed(at_least, random.random());
            let is_late = give_up.is_some_and(|give_up| Instant::now() + wait > give_up);
            if is_late || !(has_ids || last.is_repeatable()) {
                return Err(PublishError::GaveUp { tries, last });
            }
            sleep(wait).await;
        }
    }

    async fn publish_once(&self, body: Bytes) -> Result<Vec<String>, Tried> {
        if let Some(mut connection) = self.idle.take() {
            match connection.send(self.publish_request(body.clone())).await {
                // The server closed it while it was idle: no failure, and no reason to wait.
                Err(error) if error.is_unsent() => {}
                answer => return self.published(connection, answer?).await,
            }
        }
        let mut connection = Connection::open(&*self.connector, &self.target).await?;
        let response = connection.send(self.publish_request(body)).await?;
        self.published(connection, response).await
    }

    async fn published(
        &self,
        connection: Connection,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Vec<String>, Tried> {
        let status = response.status();
        if status != StatusCode::OK {
            let at_least = answer::retry_after(response.headers());
            let refusal = answer::refusal(response).await;
            if answer::is_temporary(status) {
                return Err(Tried::Failed { failure: Failure::Busy(refusal), at_least });
            }
            return Err(Tried::Final(PublishError::Refused(refusal)));
        }
        let reading = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let late = |_| RequestError::AnswerTimeout { after: ANSWER_TIMEOUT };
        let body = timeout(ANSWER_TIMEOUT, reading).await.map_err(late)?.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return Tried::Final(PublishError::Answer);
            }
            let error = error.downcast::<hyper::Error>().expect("the limit or what it limits");
            RequestError::Http(*error).into()
        })?;
        let answer: Answer =
            serde_json::from_slice(&body.to_bytes()).map_err(|_| Tried::Final(PublishError::Answer))?;
        self.idle.give_back(connection);
        Ok(answer.ids)
    }

    fn publish_request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.publish_path().into();
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(HOST, self.target.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

#[derive(Deserialize)]
struct Answer {
    ids: Vec<String>,
}

/// How one try went wrong.
enum Tried {
    Final(PublishError),
    Failed { failure: Failure, at_least: Duration },
}

impl From<RequestError> for Tried {
    fn from(error: RequestError) -> Self {
        Self::Failed { failure: error.into(), at_least: Duration::ZERO }
    }
}

impl Failure {
    /// Whether another try cannot store an event twice, even without ids.
    fn is_repeatable(&self) -> bool {
        match self {
            Self::Busy(refusal) => matches!(refusal.status, 429 | 503),
            Self::Request(error) => error.is_unsent(),
        }
    }
}
