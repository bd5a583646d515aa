//! HTTP/2 connections: every request is a task, and event streams are subscribers of a shard like any other.
//!
//! hyper's server is not used: it cannot end a stream whose client takes nothing, since it looks at a body only while
//! there is room, nor a connection on which nothing is asked (`docs/adr/0009`).

mod answer;
mod events;
mod message;
mod pace;
mod place;
mod rewound;
mod room;

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tidewire_engine::ClientAddress;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinSet};

use super::HEAD_BYTES_MAX;
use crate::hub::Hub;
use crate::shutdown::Shutdown;
use pace::{Due, Pace};
use place::Place;
pub(super) use rewound::Rewound;

/// What a client may send of a request's body before it is read, in bytes.
pub(crate) const WINDOW_BYTES: u32 = 64 * 1024 - 1;

/// The same for all requests of a connection together.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;

/// What of an answer may wait to be written, in bytes: as much as a pipe holds.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// Requests that may be reset before anybody has looked at them. Whoever goes on so is cut off.
pub(crate) const PENDING_RESETS_MAX: usize = 20;

/// Requests on a connection that the hub may find malformed. Whoever goes on so is cut off.
pub(crate) const MALFORMED_MAX: usize = 1_000;

/// Serves the requests on a connection until it ends. Its first bytes are a client's preface. It has a place among
/// `max_connections`.
pub(crate) async fn serve<IO>(
    hub: Arc<Hub>,
    io: IO,
    peer: ClientAddress,
    permit: OwnedSemaphorePermit,
    shutdown: &Shutdown,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // What this leaves is small, however long the connection lasts: the handshake's memory goes with its box.
    let Some(connection) = Box::pin(begin(&hub, io)).await else { return };
    if let Err(error) = Serving::new(connection, hub, peer, permit).run(shutdown).await {
        tracing::debug!(%error, "an HTTP/2 connection ended early");
    }
}

async fn begin<IO>(hub: &Hub, io: IO) -> Option<Box<Connection<IO, Bytes>>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(hub.http2_max_streams)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("it is small"))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(MALFORMED_MAX))
        .handshake(io);
    match tokio::time::timeout(hub.body_timeout, handshake).await {
        Ok(Ok(connection)) => return Some(Box::new(connection)),
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP/2 connection did not begin"),
        Err(_) => tracing::debug!("an HTTP/2 connection did not begin in time (head_timeout)"),
    }
    None
}

/// A connection, and the requests that are being answered on it.
struct Serving<IO> {
    connection: Box<Connection<IO, Bytes>>,
    /// Dropped with the connection, and their streams with them.
    requests: JoinSet<()>,
    pace: Pace,
    place: Arc<Place>,
    /// How many requests have come.
    asked: usize,
    hub: Arc<Hub>,
    peer: ClientAddress,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Serving<IO> {
    fn new(
        mut connection: Box<Connection<IO, Bytes>>,
        hub: Arc<Hub>,
        peer: ClientAddress,
        permit: OwnedSemaphorePermit,
    ) -> Serving<IO> {
        let pace = Pace::new(&hub, connection.ping_pong().expect("it is taken once"));
        let (requests, place) = (JoinSet::new(), Arc::new(Place::new(permit)));
        Serving { connection, requests, pace, place, asked: 0, hub, peer }
    }

    async fn run(&mut self, shutdown: &Shutdown) -> Result<(), h2::Error> {
        let (mut draining, mut begun) = (Box::pin(shutdown.draining()), Box::pin(shutdown.begun()));
        let mut timer = Box::pin(tokio::time::sleep_until(self.pace.due()));
        loop {
            tokio::select! {
                // Requests first: what has come of one before the hub stops is answered.
                biased;
                accepted = next_request(&mut self.connection, self.requests.len() >= self.hub.http2_max_streams as usize) => {
                    match accepted {
                        Some(Ok((request, respond))) => self.begin(request, respond),
                        Some(Err(error)) => return Err(error),
                        None => return Ok(()),
                    }
                }
                Some(ended) = self.requests.join_next() => self.ended(ended),
                () = self.pace.pong() => {}
                // Whoever comes while the hub stops has an answer before they go.
                () = draining.as_mut(), if self.asked > 0 && !self.pace.is_going() => self.say_goodbye(),
                () = begun.as_mut(), if !self.pace.is_going() => self.say_goodbye(),
                () = timer.as_mut() => match self.pace.look() {
                    Due::Nothing => {}
                    Due::Goodbye => self.say_goodbye(),
                    Due::End(why) => {
                        tracing::debug!(why, "an HTTP/2 connection was given up");
                        return Ok(());
                    }
                },
            }
            let due = self.pace.due();
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        if self.pace.is_overdue() {
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.requests.spawn(answer::answer(
            Arc::clone(&self.hub),
            request,
            respond,
            self.peer,
            Arc::clone(&self.place),
        ));
        self.pace.note_busy();
        self.asked += 1;
        if self.asked >= self.hub.connection_requests && !self.pace.is_going() {
            self.hub.metrics.connections_used_up.inc();
            self.say_goodbye();
        }
    }

    fn ended(&mut self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "a request was not answered");
        }
        if self.requests.is_empty() {
            self.pace.note_idle();
        }
        if self.place.is_lost() && !self.pace.is_going() {
            self.say_goodbye();
        }
    }

    /// What is under way is finished, and other requests go elsewhere.
    fn say_goodbye(&mut self) {
        self.connection.graceful_shutdown();
        self.pace.note_going(self.requests.is_empty());
    }
}

/// The next request; while there are as many as there may be, none is looked at, and they wait.
async fn next_request<IO: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<IO, Bytes>,
    is_full: bool,
) -> Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>> {
    poll_fn(|context| {
        if is_full {
            return connection.poll_closed(context).map(|closed| closed.err().map(Err));
        }
        connection.poll_accept(context)
    })
    .await
}

#[cfg(test)]
mod tests;
