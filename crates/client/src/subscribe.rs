use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tidewire_sse::{DecodeError, Decoder, Item};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::answer;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::{Connection, RequestError};
use crate::update::{DisconnectReason, SubscribeError, Update, from_message};

/// A subscription: connects, reconnects and resumes as it is read. Dropping it closes the connection.
pub struct Events {
    client: Client,
    decoder: Decoder,
    backoff: Backoff,
    random: StdRng,
    state: State,
}

enum State {
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Streaming(Stream),
    Waiting { until: Instant },
    Ended,
}

/// What became of a request.
enum Opened {
    Stream(Stream),
    Later {
        reason: DisconnectReason,
        at_least: Duration,
    },
    Failed(SubscribeError),
    /// 204.
    Ended,
}

impl Events {
    pub(crate) fn new(client: Client, last_event_id: &str) -> Self {
        let decoder = Decoder::with_last_event_id(client.limits, last_event_id);
        let backoff = client.backoff.clone();
        let random = StdRng::seed_from_u64(client.jitter_seed.unwrap_or_else(rand::random));
        let state = State::opening(&client, last_event_id);
        Self { client, decoder, backoff, random, state }
    }

    /// The next update, or `None` when the subscription has ended: after 204 or [`Update::Failed`].
    ///
    /// It may be dropped at any point, as `select!` does, and nothing is lost.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            let update = match &mut self.state {
                State::Ended => return None,
                State::Waiting { until } => {
                    sleep_until(*until).await;
                    self.reopen();
                    None
                }
                State::Opening(opening) => {
                    let opened = opening.await;
                    self.opened(opened)
                }
                State::Streaming(stream) => match self.decoder.next() {
                    Some(item) => self.decoded(item),
                    None => match stream.read().await {
                        Ok(bytes) => {
                            self.decoder.feed(&bytes);
                            None
                        }
                        Err(reason) => Some(self.wait(reason, Duration::ZERO)),
                    },
                },
            };
            if update.is_some() {
                return update;
            }
        }
    }

    /// The last event id of what [`next`](Events::next) has returned: from where a later subscription goes on.
    pub fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    fn opened(&mut self, opened: Opened) -> Option<Update> {
        match opened {
            Opened::Stream(stream) => {
                self.state = State::Streaming(stream);
                Some(Update::Connected { resumed_from: self.last_event_id().to_owned() })
            }
            Opened::Later { reason, at_least } => Some(self.wait(reason, at_least)),
            Opened::Failed(error) => {
                self.state = State::Ended;
                Some(Update::Failed(error))
            }
            Opened::Ended => {
                self.state = State::Ended;
                None
            }
        }
    }

    fn decoded(&mut self, item: Result<Item, DecodeError>) -> Option<Update> {
        if let Ok(Item::Retry(ms)) = item {
            // All that an overloaded server may say before it ends the stream: not yet a success.
            self.backoff.set_floor(Duration::from_millis(ms));
            return None;
        }
        self.backoff.succeeded();
        match item {
            Ok(Item::Event(message)) => Some(from_message(message)),
            Ok(Item::Checkpoint(id)) => Some(Update::Checkpoint { id }),
            Ok(Item::Comment(_) | Item::Retry(_)) => None,
            Err(error) => Some(Update::LeftOut(error)),
        }
    }

    fn wait(&mut self, reason: DisconnectReason, at_least: Duration) -> Update {
        let retry_in = self.backoff.failed(at_least, self.random.random());
        self.state = State::Waiting { until: Instant::now() + retry_in };
        Update::Disconnected { reason, retry_in }
    }

    /// A new stream: what the last one left unfinished is dropped, and its last event id goes on.
    fn reopen(&mut self) {
        let decoder = Decoder::with_last_event_id(self.client.limits, self.decoder.last_event_id());
        self.decoder = decoder;
        self.state = State::opening(&self.client, self.decoder.last_event_id());
    }
}

impl State {
    fn opening(client: &Client, last_event_id: &str) -> Self {
        Self::Opening(Box::pin(open(client.clone(), last_event_id.to_owned())))
    }
}

/// How long a server may be silent that announces no heartbeat.
const WATCHDOG_DEFAULT: Duration = Duration::from_secs(45);

struct Stream {
    body: Incoming,
    watchdog: Duration,
    /// Bytes are due by then.
    deadline: Instant,
    /// Held, since dropping it closes the socket.
    _connection: Connection,
}

impl Stream {
    fn new(body: Incoming, connection: Connection, heartbeat: Option<Duration>) -> Self {
        let watchdog = heartbeat.map_or(WATCHDOG_DEFAULT, |heartbeat| heartbeat * 2);
        Self { body, watchdog, deadline: Instant::now() + watchdog, _connection: connection }
    }

    async fn read(&mut self) -> Result<Bytes, DisconnectReason> {
        if self.deadline <= Instant::now() {
            // Nobody has listened: the silence may have been ours.
            self.deadline = Instant::now() + self.watchdog;
        }
        loop {
            let frame = timeout_at(self.deadline, self.body.frame()).await;
            let frame = frame.map_err(|_| DisconnectReason::Silent { after: self.watchdog })?;
            let frame = frame.ok_or(DisconnectReason::Ended)?.map_err(RequestError::Http)?;
            self.deadline = Instant::now() + self.watchdog;
            if let Ok(bytes) = frame.into_data() {
                return Ok(bytes);
            }
        }
    }
}

async fn open(client: Client, last_event_id: String) -> Opened {
    let answer = async {
        let mut connection = Connection::open(&*client.connector, &client.target).await?;
        let response = connection.send(request(&client, &last_event_id)).await?;
        Ok::<_, RequestError>((connection, response))
    };
    let (connection, response) = match answer.await {
        Ok(answer) => answer,
        Err(error) => return Opened::Later { reason: error.into(), at_least: Duration::ZERO },
    };
    match response.status() {
        StatusCode::OK if answer::is_event_stream(response.headers()) => {
            let heartbeat = answer::heartbeat(response.headers());
            Opened::Stream(Stream::new(response.into_body(), connection, heartbeat))
        }
        StatusCode::OK => {
            let found = answer::content_type(response.headers()).to_owned();
            Opened::Failed(SubscribeError::ContentType { found })
        }
        StatusCode::NO_CONTENT => Opened::Ended,
        status if answer::is_temporary(status) => {
            let at_least = answer::retry_after(response.headers());
            Opened::Later { reason: DisconnectReason::Busy(answer::refusal(response).await), at_least }
        }
        _ => Opened::Failed(SubscribeError::Refused(answer::refusal(response).await)),
    }
}

fn request(client: &Client, last_event_id: &str) -> Request<Full<Bytes>> {
    let mut target = client.target.clone();
    let id_header = last_event_id_header(last_event_id);
    if id_header.is_none() && !last_event_id.is_empty() {
        target.push_query("last_event_id", last_event_id);
    }
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.stream_path().into();
    let headers = request.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.extend(client.headers.clone());
    headers.insert(HOST, target.authority);
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(id) = id_header {
        headers.insert("last-event-id", id);
    }
    request
}

/// The id as a header, if it is not empty and arrives there as it is: control characters cannot be sent, and spaces at
/// the ends do not survive.
fn last_event_id_header(id: &str) -> Option<HeaderValue> {
    let survives = !id.is_empty() && id.trim_matches([' ', '\t']) == id;
    survives.then(|| HeaderValue::from_bytes(id.as_bytes()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(last_event_id: &str) -> (String, Option<Vec<u8>>) {
        let client = Client::new("http://localhost/feed?topic=a").expect("a URL");
        let request = request(&client, last_event_id);
        let header = request.headers().get("last-event-id").map(|value| value.as_bytes().to_vec());
        (request.uri().to_string(), header)
    }

    #[test]
    fn the_last_event_id_is_sent_as_its_bytes() {
        assert_eq!(sent(""), ("/feed?topic=a".to_owned(), None));
        assert_eq!(sent("#1-2"), ("/feed?topic=a".to_owned(), Some(b"#1-2".to_vec())));
        assert_eq!(sent("å b"), ("/feed?topic=a".to_owned(), Some("å b".as_bytes().to_vec())));
    }

    #[test]
    fn an_id_that_no_header_carries_goes_into_the_query() {
        assert_eq!(sent(" 1"), ("/feed?topic=a&last_event_id=+1".to_owned(), None));
        assert_eq!(sent("1\u{1}"), ("/feed?topic=a&last_event_id=1%01".to_owned(), None));
    }
}
