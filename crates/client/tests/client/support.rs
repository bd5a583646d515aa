//! Servers that say what they are told, byte by byte, over TCP or a pipe.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewire_client::{Backoff, Client, Connect, Connecting, Events, Io, Target, Update};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// No test over TCP takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// The head of an event stream that ends with its connection.
pub(crate) const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// What a server does with one request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// What is written, each piece after its pause.
    pieces: Vec<(Duration, Vec<u8>)>,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    Hold,
    Serve,
}

/// Writes this and closes the connection.
pub(crate) fn close(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer { pieces: vec![(Duration::ZERO, bytes.into())], then: Then::Close }
}

/// Writes this and is silent.
pub(crate) fn hold(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer { then: Then::Hold, ..close(bytes) }
}

/// Writes this and waits for the next request.
pub(crate) fn serve(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer { then: Then::Serve, ..close(bytes) }
}

impl Answer {
    /// Writes this too, later.
    pub(crate) fn later(mut self, pause: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        self.pieces.push((pause, bytes.into()));
        self
    }
}

/// An answer with a status, some headers and a body.
pub(crate) fn status(line: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// From the request line to the empty line.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Seen {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Answers each request by the next answer of its script, and by 204 when there is none left.
#[derive(Clone)]
pub(crate) struct Server(Arc<Script>);

struct Script {
    answers: Mutex<VecDeque<Answer>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    /// Connections that fail before one is made.
    failing: AtomicUsize,
    closed_by_client: Notify,
}

impl Server {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(Arc::new(Script {
            answers: Mutex::new(answers.into_iter().collect()),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            failing: AtomicUsize::new(0),
            closed_by_client: Notify::new(),
        }))
    }

    /// The first connections over a pipe fail.
    pub(crate) fn failing(self, count: usize) -> Self {
        self.0.failing.store(count, Ordering::Relaxed);
        self
    }

    /// Listens on a port of its own, and returns the URL.
    pub(crate) async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("http://{}/feed", listener.local_addr().expect("a listener has an address"));
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(server.clone().serve(stream));
            }
        });
        url
    }

    /// A client of this server over TCP that waits at most a few milliseconds.
    pub(crate) async fn client(&self) -> Client {
        quick(Client::new(&self.listen().await).expect("a URL"))
    }

    /// A client of this server through pipes, for paused time, with the default rules and no jitter left to chance.
    pub(crate) fn piped(&self) -> Client {
        Client::with_connector("http://hub/feed", Arc::new(self.clone())).expect("a URL").jitter_seed(1)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().expect("no test panics with it").clone()
    }

    /// The last event id of each request.
    pub(crate) fn seen_ids(&self) -> Vec<Option<String>> {
        self.seen().iter().map(|seen| seen.header("last-event-id").map(str::to_owned)).collect()
    }

    /// Waits until a client has closed a connection that was held.
    pub(crate) async fn closed_by_client(&self) {
        self.0.closed_by_client.notified().await;
    }

    pub(crate) async fn serve(self, mut io: impl Io) {
        let connection = self.0.connections.fetch_add(1, Ordering::Relaxed);
        while let Some(seen) = read_request(&mut io, connection).await {
            self.0.seen.lock().expect("no test panics with it").push(seen);
            let next = self.0.answers.lock().expect("no test panics with it").pop_front();
            let answer = next.unwrap_or_else(|| close("HTTP/1.1 204 No Content\r\n\r\n"));
            for (pause, bytes) in answer.pieces {
                if !pause.is_zero() {
                    // A scripted server that is slow on purpose; with paused time it costs nothing.
                    sleep(pause).await;
                }
                if io.write_all(&bytes).await.is_err() || io.flush().await.is_err() {
                    self.0.closed_by_client.notify_one();
                    return;
                }
            }
            match answer.then {
                Then::Serve => {}
                Then::Close => {
                    let _ = io.shutdown().await;
                    return;
                }
                Then::Hold => {
                    let _ = io.read(&mut [0]).await;
                    self.0.closed_by_client.notify_one();
                    return;
                }
            }
        }
    }
}

impl Connect for Server {
    fn connect(&self, _: &Target) -> Connecting {
        let fails = |left: usize| left.checked_sub(1);
        if self.0.failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fails).is_ok() {
            return Box::pin(async { Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused")) });
        }
        let (client, server) = tokio::io::duplex(64 << 10);
        tokio::spawn(self.clone().serve(server));
        Box::pin(async { Ok(Box::new(client) as Box<dyn Io>) })
    }
}

async fn read_request(io: &mut impl Io, connection: usize) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("the tests send text");
    let mut seen = Seen { connection, head, body: String::new() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    io.read_exact(&mut body).await.ok()?;
    seen.body = String::from_utf8(body).expect("the tests send text");
    Some(seen)
}

/// The same client, quick to try again.
pub(crate) fn quick(client: Client) -> Client {
    client.backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(4)))
}

/// Everything to the end of the subscription.
pub(crate) async fn all(events: &mut Events) -> Vec<Update> {
    timeout(DEADLINE, to_end(events)).await.expect("the subscription ends in time")
}

/// The same in paused time, which a deadline would only move.
pub(crate) async fn to_end(events: &mut Events) -> Vec<Update> {
    let mut updates = Vec::new();
    while let Some(update) = events.next().await {
        updates.push(update);
    }
    updates
}

/// The id and data of the events among them.
pub(crate) fn messages(updates: &[Update]) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for update in updates {
        if let Update::Event(message) = update {
            found.push((message.id.as_str(), message.data.as_str()));
        }
    }
    found
}
